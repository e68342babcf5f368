//! What every suite is given, and what it gives back.

use super::detectors::Detectors;
use anyhow::Context as _;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Most threads that series are spread over.
const THREADS_MAX: usize = 8;

/// A run of the evaluation.
pub(crate) struct Bench<'a> {
    /// Where the data lie.
    pub(crate) data: &'a Path,
    /// Where scores go.
    pub(crate) out: &'a Path,
    /// What is evaluated.
    pub(crate) detectors: &'a Detectors,
    /// Whether to draw.
    pub(crate) plots: bool,
}

/// What a suite found.
pub(crate) struct Report {
    /// All measures, for machines.
    pub(crate) summary: Value,
    /// The table, for people.
    pub(crate) text: String,
    /// The first file that could not be evaluated; the others were.
    pub(crate) failure: Option<anyhow::Error>,
}

/// A suite's data are not there.
#[derive(Debug, thiserror::Error)]
#[error("no {what}; looked for {}", .looked.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", "))]
pub(crate) struct Missing {
    /// What was wanted.
    pub(crate) what: &'static str,
    /// Where it was looked for.
    pub(crate) looked: Vec<PathBuf>,
}

impl Bench<'_> {
    /// Says on standard error what is under way.
    pub(crate) fn say(&self, what: &str) {
        eprintln!("eval: {what}");
    }

    /// Does `work` on every item, spread over the machine's cores, and says when each is done. What fails is left out;
    /// the first failure is given back.
    pub(crate) fn each<T: Sync, R: Send>(
        &self,
        suite: &str,
        items: &[T],
        name: impl Fn(&T) -> String + Sync,
        work: impl Fn(&T) -> anyhow::Result<R> + Sync,
    ) -> (Vec<R>, Option<anyhow::Error>) {
        let (next, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let results: Vec<Mutex<Option<anyhow::Result<R>>>> = items.iter().map(|_| Mutex::new(None)).collect();
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(THREADS_MAX);
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    loop {
                        let index = next.fetch_add(1, Ordering::Relaxed);
                        let Some(item) = items.get(index) else { return };
                        let result = work(item).with_context(|| name(item));
                        let count = done.fetch_add(1, Ordering::Relaxed) + 1;
                        self.say(&format!("{suite} {count}/{} {}", items.len(), name(item)));
                        if let Ok(mut place) = results[index].lock() {
                            *place = Some(result);
                        }
                    }
                });
            }
        });
        let (mut good, mut failure) = (Vec::new(), None);
        for result in results.into_iter().filter_map(|place| place.into_inner().ok().flatten()) {
            match result {
                Ok(one) => good.push(one),
                Err(error) => {
                    self.say(&format!("{suite}: left out: {error:#}"));
                    failure = failure.or(Some(error));
                }
            }
        }
        (good, failure)
    }

    /// Writes `text` to a file under the output folder, whose folders are made.
    pub(crate) fn write(&self, path: impl AsRef<Path>, text: &str) -> anyhow::Result<()> {
        let path = self.out.join(path);
        let cannot = || format!("{} cannot be written", path.display());
        std::fs::create_dir_all(path.parent().unwrap_or(self.out)).with_context(cannot)?;
        std::fs::write(&path, text).with_context(cannot)
    }
}

/// Stretches in which nothing is labelled, after a file's first rows, and the episodes that opened in them.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Clean {
    /// Days, all series or hosts added up.
    pub(crate) series_days: f64,
    /// Episodes.
    pub(crate) episodes: f64,
}

impl Clean {
    /// Adds those of another series.
    pub(crate) fn add(&mut self, other: Self) {
        self.series_days += other.series_days;
        self.episodes += other.episodes;
    }

    /// Adds what [`Clean::to_json`] gave; anything else is nothing.
    pub(crate) fn add_json(&mut self, json: &Value) {
        let number = |field: &str| json[field].as_f64().unwrap_or(0.0);
        self.add(Self { series_days: number("series_days"), episodes: number("episodes") });
    }

    /// Episodes a day; 0 where there was no day.
    pub(crate) fn per_day(&self) -> f64 {
        if self.series_days > 0.0 { self.episodes / self.series_days } else { 0.0 }
    }

    pub(crate) fn to_json(self) -> Value {
        json!({"series_days": self.series_days, "episodes": self.episodes, "per_day": self.per_day()})
    }

    pub(crate) fn text(&self) -> String {
        format!("{:.0} false episodes in {:.1} days, {:.4} a day", self.episodes, self.series_days, self.per_day())
    }
}

/// A count as a number to reckon with.
#[expect(clippy::cast_precision_loss, reason = "rows of a file are far fewer than 2^53")]
pub(crate) fn number(count: usize) -> f64 {
    count as f64
}

/// Middle value; NaN of none.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        len if len % 2 == 1 => values[len / 2],
        len => (values[len / 2 - 1] + values[len / 2]) / 2.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_is_the_middle() {
        assert_eq!((median(vec![3.0, 1.0, 2.0]), median(vec![4.0, 1.0, 2.0, 3.0])), (2.0, 2.5));
        assert!(median(Vec::new()).is_nan());
    }

    #[test]
    fn clean_days_add_up_through_json() {
        let mut sum = Clean::default();
        sum.add_json(&Clean { series_days: 2.0, episodes: 1.0 }.to_json());
        sum.add_json(&Value::Null);
        sum.add(Clean { series_days: 2.0, episodes: 0.0 });
        assert_eq!(sum.per_day(), 0.25);
    }
}
