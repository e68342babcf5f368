//! The highest scores of a file, each of another moment, with what the detector says of them.

use crate::detector::plot::short;
use crate::output::table;
use vedette_protocol::worker::Explanation;

const COUNT: usize = 5;
/// Scores of one series within this time are one moment.
const APART_MS: u64 = 60_000;

/// A high score.
pub(super) struct Top {
    pub(super) series: usize,
    pub(super) at_ms: u64,
    pub(super) time: String,
    pub(super) value: f64,
    pub(super) score: f32,
    pub(super) why: Option<Explanation>,
}

/// The highest, highest first.
#[derive(Default)]
pub(super) struct Tops(Vec<Top>);

impl Tops {
    /// Whether a score belongs among them.
    pub(super) fn wants(&self, series: usize, at_ms: u64, score: f32) -> bool {
        let beats = |top: &Top| score > top.score;
        match self.same_moment(series, at_ms) {
            Some(place) => beats(&self.0[place]),
            None => score > 0.0 && (self.0.len() < COUNT || self.0.last().is_some_and(beats)),
        }
    }

    fn same_moment(&self, series: usize, at_ms: u64) -> Option<usize> {
        self.0.iter().position(|top| top.series == series && top.at_ms.abs_diff(at_ms) < APART_MS)
    }

    /// Puts it in its place.
    pub(super) fn take(&mut self, top: Top) {
        if let Some(place) = self.same_moment(top.series, top.at_ms) {
            self.0.remove(place);
        }
        let place = self.0.partition_point(|other| other.score >= top.score);
        self.0.insert(place, top);
        self.0.truncate(COUNT);
    }

    /// For people.
    pub(super) fn table(&self, names: &[String]) -> String {
        if self.0.is_empty() {
            return String::new();
        }
        let mut rows = vec![["SCORE", "WHEN", "SERIES", "VALUE", "EXPECTED"].map(str::to_owned).to_vec()];
        for top in &self.0 {
            let expected = top.why.filter(|why| !why.expected.is_nan()).map_or("-".to_owned(), |why| {
                format!("{} ({} to {})", short(why.expected), short(why.lower), short(why.upper))
            });
            rows.push(vec![
                format!("{:.2}", top.score),
                top.time.clone(),
                names[top.series].clone(),
                top.value.to_string(),
                expected,
            ]);
        }
        table(&rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_of_each_moment_stay() {
        let mut tops = Tops::default();
        let mut offer = |series: usize, at_s: u64, score: f32| {
            if tops.wants(series, at_s * 1_000, score) {
                let time = at_s.to_string();
                tops.take(Top { series, at_ms: at_s * 1_000, time, value: 1.0, score, why: None });
            }
        };
        for (series, at_s, score) in
            [(0, 0, 1.0), (0, 1, 3.0), (0, 2, 2.0), (1, 2, 2.5), (0, 100, f32::NAN), (0, 200, 9.0)]
        {
            offer(series, at_s, score);
        }
        for late in 0_u8..10 {
            offer(0, 1_000 + 100 * u64::from(late), 0.5 + f32::from(late) * 0.01);
        }
        let scores: Vec<_> = tops.0.iter().map(|top| top.score).collect();
        assert_eq!(scores, [9.0, 3.0, 2.5, 0.59, 0.58]);
        assert!(tops.table(&["a".into(), "b".into()]).starts_with("SCORE  WHEN"));
    }
}
