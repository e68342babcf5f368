//! A picture for a terminal: values in braille dots, scores as a row of bars.

use super::{Bucket, Strip, short};
use crate::detector::window::time_text;
use std::fmt::Write as _;

/// Rows of characters for the values; each is four dots high.
const ROWS: usize = 6;
const DOTS: usize = ROWS * 4;
/// Bits of a braille character, by column and row from the top (Unicode 2800 and following).
const BRAILLE: [[u32; 4]; 2] = [[0x01, 0x02, 0x04, 0x40], [0x08, 0x10, 0x20, 0x80]];
const BARS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// The picture, `width` characters wide without its labels.
pub(crate) fn terminal(name: &str, strip: &Strip, width: usize) -> String {
    let width = width.clamp(10, 400);
    let columns = resampled(strip, 2 * width);
    let mut text = format!("{name}\n");
    if let Some((low, high)) = strip.range() {
        for (row, line) in braille(&columns, width, low, high).iter().enumerate() {
            let label = match row {
                0 => short(high),
                row if row == ROWS - 1 => short(low),
                _ => String::new(),
            };
            let _ = writeln!(text, "{label:>10} │{}", line.trim_end());
        }
    }
    let highest = strip.highest_score();
    let bars: String = columns.chunks(2).map(|pair| bar(pair, highest)).collect();
    let _ = writeln!(text, "{:>10} │{}", format!("≤ {}", short(f64::from(highest))), bars.trim_end());
    let (begin, end) = strip.span_ms();
    let (begin, end) = (time_text(begin), time_text(end));
    let between = (width).saturating_sub(begin.len() + end.len());
    let _ = writeln!(text, "{:>10} └{begin}{}{end}", "score", " ".repeat(between));
    text
}

/// One bucket a column of dots.
fn resampled(strip: &Strip, columns: usize) -> Vec<Bucket> {
    let count = strip.buckets.len();
    let column = |at: usize| {
        let (from, to) = (at * count / columns, ((at + 1) * count).div_ceil(columns));
        strip.buckets[from..to.min(count)].iter().fold(Bucket::EMPTY, |a, b| a.joined(*b))
    };
    (0..columns).map(column).collect()
}

fn braille(columns: &[Bucket], width: usize, low: f64, high: f64) -> Vec<String> {
    let mut cells = vec![vec![0_u32; width]; ROWS];
    for (at, bucket) in
        columns.iter().enumerate().filter(|(_, bucket)| bucket.high.is_finite() && bucket.low.is_finite())
    {
        for dot in dot(bucket.high, low, high)..=dot(bucket.low, low, high) {
            cells[dot / 4][at / 2] |= BRAILLE[at % 2][dot % 4];
        }
    }
    let character = |bits: &u32| if *bits == 0 { ' ' } else { char::from_u32(0x2800 + bits).unwrap_or(' ') };
    cells.iter().map(|row| row.iter().map(character).collect()).collect()
}

/// The row of dots of a value, from the top.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "clamped to a few dots"
)]
fn dot(value: f64, low: f64, high: f64) -> usize {
    let share = ((high - value) / (high - low)).clamp(0.0, 1.0);
    (share * (DOTS - 1) as f64).round() as usize
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to the bars that there are")]
fn bar(pair: &[Bucket], highest: f32) -> char {
    let score = pair.iter().map(|bucket| bucket.score).fold(f32::NAN, f32::max);
    if score.is_nan() {
        // Learning, or no value.
        return '·';
    }
    BARS[(score / highest.max(f32::MIN_POSITIVE) * 8.0).clamp(0.0, 8.0).round() as usize]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_low_then_high_with_its_score_where_it_happens() {
        let mut strip = Strip::new(1_000);
        for second in 0..40_u32 {
            let score = if second < 10 { f32::NAN } else { f32::from(u8::from(second == 20)) * 8.0 };
            strip.push(u64::from(second) * 1_000, if second < 20 { 0.0 } else { 1.0 }, score);
        }
        let picture = terminal("step", &strip, 20);
        let lines: Vec<_> = picture.lines().collect();
        assert_eq!(lines.len(), 1 + ROWS + 2, "{picture}");
        assert_eq!(lines[1], "         1 │          ⠉⠉⠉⠉⠉⠉⠉⠉⠉⠉");
        assert_eq!(lines[6], "         0 │⣀⣀⣀⣀⣀⣀⣀⣀⣀⣀");
        assert_eq!(lines[7], "       ≤ 8 │·····     █");
    }

    #[test]
    fn a_short_series_fills_the_width() {
        let mut strip = Strip::new(1_000);
        strip.push(0, 1.0, 1.0);
        strip.push(1_000, 2.0, 2.0);
        assert!(terminal("two", &strip, 10).lines().nth(7).unwrap().ends_with("▄▄▄▄▄█████"));
        assert!(terminal("none", &Strip::new(1), 10).starts_with("none\n"));
    }
}
