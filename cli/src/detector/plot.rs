//! Values and scores of a series as a picture: bounded memory however long the series is, as SVG and in the terminal.

mod svg;
mod terminal;

pub(crate) use svg::svg;
pub(crate) use terminal::terminal;

/// Most buckets; with one more, pairs are merged, so that between half as many and all are in use.
const BUCKETS_MAX: usize = 2_048;

/// A series to draw.
pub(crate) struct Panel<'a> {
    /// What it is called.
    pub(crate) name: &'a str,
    /// What was seen of it.
    pub(crate) strip: &'a Strip,
    /// Times to shade, such as labelled faults: begin and end in milliseconds since 1970.
    pub(crate) windows: &'a [(u64, u64)],
}

/// What is kept of one series: for each stretch of time the range of the values and the highest score.
#[derive(Clone, Debug)]
pub(crate) struct Strip {
    begin_ms: u64,
    width_ms: u64,
    buckets: Vec<Bucket>,
}

/// A stretch of time. Numbers are NaN where there were none.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Bucket {
    low: f64,
    high: f64,
    score: f32,
}

impl Bucket {
    const EMPTY: Self = Self { low: f64::NAN, high: f64::NAN, score: f32::NAN };

    /// `f64::min` and `max` take the number beside a NaN.
    fn joined(self, other: Self) -> Self {
        Self { low: self.low.min(other.low), high: self.high.max(other.high), score: self.score.max(other.score) }
    }
}

impl Strip {
    /// Nothing yet; `interval_ms` is the shortest time that the picture tells apart.
    pub(crate) fn new(interval_ms: u32) -> Self {
        Self { begin_ms: 0, width_ms: u64::from(interval_ms.max(1)), buckets: Vec::new() }
    }

    /// A value and its score. Times before the first are drawn with it.
    pub(crate) fn push(&mut self, at_ms: u64, value: f64, score: f32) {
        if self.buckets.is_empty() {
            self.begin_ms = at_ms;
        }
        let since_ms = at_ms.saturating_sub(self.begin_ms);
        while since_ms / self.width_ms >= BUCKETS_MAX as u64 {
            self.buckets =
                self.buckets.chunks(2).map(|pair| pair.iter().fold(Bucket::EMPTY, |a, b| a.joined(*b))).collect();
            self.width_ms = self.width_ms.saturating_mul(2);
        }
        let at = usize::try_from(since_ms / self.width_ms).unwrap_or(BUCKETS_MAX);
        if at >= self.buckets.len() {
            self.buckets.resize(at + 1, Bucket::EMPTY);
        }
        self.buckets[at] = self.buckets[at].joined(Bucket { low: value, high: value, score });
    }

    /// First and last time.
    fn span_ms(&self) -> (u64, u64) {
        (self.begin_ms, self.begin_ms + self.width_ms * self.buckets.len() as u64)
    }

    /// Lowest and highest value, made to differ; `None` without a finite one.
    fn range(&self) -> Option<(f64, f64)> {
        let finite = self.buckets.iter().filter(|bucket| bucket.low.is_finite() && bucket.high.is_finite());
        let (low, high) = finite.fold((f64::NAN, f64::NAN), |(low, high), one| (low.min(one.low), high.max(one.high)));
        let room = (high - low).max(high.abs().max(low.abs()) * 1e-9).max(f64::MIN_POSITIVE);
        low.is_finite().then_some(if high > low { (low, high) } else { (low - room, high + room) })
    }

    /// Highest finite score, 0 if there is none.
    pub(crate) fn highest_score(&self) -> f32 {
        self.buckets.iter().map(|bucket| bucket.score).filter(|score| score.is_finite()).fold(0.0, f32::max)
    }
}

/// About three significant digits, without zeros at the end.
pub(crate) fn short(number: f64) -> String {
    let magnitude = number.abs();
    let digits = match magnitude {
        0.0 => return "0".to_owned(),
        m if !(1e-3..1e6).contains(&m) => return format!("{number:.2e}"),
        m if m >= 100.0 => 0,
        m if m >= 10.0 => 1,
        m if m >= 1.0 => 2,
        _ => 4,
    };
    let text = format!("{number:.digits$}");
    if digits == 0 { text } else { text.trim_end_matches('0').trim_end_matches('.').to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_series_fits_and_keeps_its_extremes() {
        let mut strip = Strip::new(1_000);
        for second in 0..100_000_u32 {
            let spike = second == 54_321;
            strip.push(u64::from(second) * 1_000, if spike { 9.0 } else { 1.0 }, if spike { 7.0 } else { 0.5 });
        }
        assert!(strip.buckets.len() <= BUCKETS_MAX && strip.buckets.len() > BUCKETS_MAX / 2);
        assert_eq!((strip.range(), strip.highest_score()), (Some((1.0, 9.0)), 7.0));
    }

    #[test]
    fn numbers_are_short() {
        let numbers = [0.0, 0.06453, 1.5, 14.684, 8.0, 100.0, 123_456.7, 2.29e7, -0.004, f64::INFINITY];
        let told = ["0", "0.0645", "1.5", "14.7", "8", "100", "123457", "2.29e7", "-0.004", "inf"];
        assert_eq!(numbers.map(short), told);
    }

    #[test]
    fn odd_series_have_a_range_or_none() {
        let mut strip = Strip::new(1_000);
        assert_eq!(strip.range(), None);
        strip.push(5, f64::NAN, f32::NAN);
        assert_eq!(strip.range(), None);
        strip.push(2, 3.0, f32::INFINITY);
        let (low, high) = strip.range().unwrap();
        assert!(low < 3.0 && high > 3.0);
        assert_eq!(strip.highest_score(), 0.0);
    }
}
