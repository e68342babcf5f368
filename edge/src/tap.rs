//! What somebody follows live: samples, log lines and verdicts as the pipeline sees them, chosen by name.
//!
//! Everything in it is masked before it comes here. A tap holds a bounded number of bytes until the shell takes them; what
//! finds no room is counted and told, so whoever reads slowly misses something and delays nobody.

use crate::{glob, room};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use vedette_protocol::ids::SeriesKey;
use vedette_protocol::time::WallTime;

/// Patterns of one tap.
pub const PATTERNS_MAX: usize = 16;
/// Bytes of one pattern.
pub const PATTERN_BYTES_MAX: usize = 256;
/// Bytes that one tap holds.
pub const TAP_BYTES_MAX: usize = 256 << 10;
/// What an event takes beside its texts.
const EVENT_BYTES: usize = 160;

/// What is followed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Patterns {
    series: Vec<String>,
    logs: Vec<String>,
    verdicts: Vec<String>,
}

impl Patterns {
    /// `GLOB` for samples of series by name with attributes, `log:GLOB` for lines by the path of their log,
    /// `verdict:GLOB` for verdicts by series or by detector. None at all is every sample.
    ///
    /// # Errors
    ///
    /// What is wrong with them, for people.
    pub fn parse<'a>(globs: impl IntoIterator<Item = &'a str>) -> Result<Self, String> {
        let mut patterns = Self::default();
        for (number, glob) in globs.into_iter().enumerate() {
            if number == PATTERNS_MAX {
                return Err(format!("at most {PATTERNS_MAX} patterns can be followed at once"));
            }
            if glob.is_empty() || glob.len() > PATTERN_BYTES_MAX {
                return Err(format!("a pattern has 1 to {PATTERN_BYTES_MAX} bytes, not {}", glob.len()));
            }
            let (list, glob) = match (glob.strip_prefix("log:"), glob.strip_prefix("verdict:")) {
                (Some(path), _) => (&mut patterns.logs, path),
                (_, Some(series)) => (&mut patterns.verdicts, series),
                _ => (&mut patterns.series, glob),
            };
            list.push(glob.to_owned());
        }
        if patterns == Self::default() {
            patterns.series.push("*".to_owned());
        }
        Ok(patterns)
    }
}

/// One thing that was seen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Seen {
    /// A sample, as detectors and recorder get it.
    Sample {
        /// When, RFC 3339.
        at: String,
        /// Name with attributes.
        series: String,
        /// Value.
        value: f64,
        /// Its unit.
        unit: String,
        /// Values were missed before it.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        gap: bool,
        /// The counter behind it began anew.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        reset: bool,
    },
    /// A log line.
    Log {
        /// When it was read, RFC 3339.
        at: String,
        /// Path of its log.
        source: String,
        /// Id of its template, 16 hexadecimal digits.
        template: String,
        /// Text of its template.
        text: String,
        /// The line.
        line: String,
        /// It is the first of its template.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        new: bool,
    },
    /// What a detector says of a series.
    Verdict {
        /// When, RFC 3339.
        at: String,
        /// Detector.
        detector: String,
        /// Name with attributes; for a template, its text.
        series: String,
        /// Raw score.
        score: f32,
        /// −log10 of the probability that a healthy series shows such a score.
        surprise: f32,
        /// −log10 of the probability that a verdict begins a bout as high as the one that is on; 0 for none.
        evidence: f32,
    },
    /// Things that found no room since the last one of these.
    Missed {
        /// How many.
        count: u64,
    },
}

impl Seen {
    fn bytes(&self) -> usize {
        let texts = match self {
            Self::Sample { at, series, unit, .. } => at.len() + series.len() + unit.len(),
            Self::Log { at, source, template, text, line, .. } => {
                at.len() + source.len() + template.len() + text.len() + line.len()
            }
            Self::Verdict { at, detector, series, .. } => at.len() + detector.len() + series.len(),
            Self::Missed { .. } => 0,
        };
        texts + EVENT_BYTES
    }
}

/// One reader's events until they are taken.
#[derive(Debug)]
pub struct Tap {
    id: u32,
    patterns: Patterns,
    /// Whether the series in a slot is followed; asked again when another one is there.
    known: Vec<Option<(SeriesKey, bool)>>,
    queue: VecDeque<Seen>,
    bytes: usize,
    missed: u64,
    missed_total: u64,
}

impl Tap {
    /// Follows these from now on.
    pub fn new(id: u32, patterns: Patterns) -> Self {
        Self { id, patterns, known: Vec::new(), queue: VecDeque::new(), bytes: 0, missed: 0, missed_total: 0 }
    }

    /// Number by which the shell knows it.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Bytes that a tap on so many series takes at most.
    pub const fn bytes_max(series_max: usize) -> usize {
        // The queue's list doubles.
        2 * TAP_BYTES_MAX + room::list::<Option<(SeriesKey, bool)>>(series_max)
    }

    /// What is there, with what was missed told last.
    pub fn take(&mut self) -> Vec<Seen> {
        self.bytes = 0;
        let mut seen: Vec<_> = std::mem::take(&mut self.queue).into();
        let count = std::mem::take(&mut self.missed);
        seen.extend((count > 0).then_some(Seen::Missed { count }));
        seen
    }

    /// Things that found no room so far.
    pub fn missed_total(&self) -> u64 {
        self.missed_total
    }

    /// Whether samples of the series in a slot are followed. Its name is asked for once.
    pub(crate) fn follows_series(&mut self, slot: u32, key: SeriesKey, name: impl FnOnce() -> String) -> bool {
        if self.patterns.series.is_empty() {
            return false;
        }
        let at = slot as usize;
        if self.known.len() <= at {
            self.known.resize(at + 1, None);
        }
        let (_, follows) = match self.known[at].filter(|(known, _)| *known == key) {
            Some(known) => known,
            None => *self.known[at].insert((key, fits(&self.patterns.series, &name()))),
        };
        follows
    }

    /// Whether lines of a log are followed.
    pub(crate) fn follows_log(&self, path: &str) -> bool {
        fits(&self.patterns.logs, path)
    }

    /// Whether verdicts are followed at all.
    pub(crate) fn follows_verdicts(&self) -> bool {
        !self.patterns.verdicts.is_empty()
    }

    /// Whether a detector's verdicts on a series are followed.
    pub(crate) fn follows_verdict(&self, detector: &str, series: &str) -> bool {
        fits(&self.patterns.verdicts, detector) || fits(&self.patterns.verdicts, series)
    }

    pub(crate) fn push(&mut self, seen: Seen) {
        let bytes = seen.bytes();
        if self.bytes + bytes > TAP_BYTES_MAX {
            self.missed += 1;
            self.missed_total += 1;
            return;
        }
        self.bytes += bytes;
        self.queue.push_back(seen);
    }
}

/// Taps of a pipeline.
#[derive(Debug, Default)]
pub(crate) struct Taps {
    pub(crate) open: Vec<Tap>,
}

impl Taps {
    /// Somebody follows something.
    pub(crate) fn any(&self) -> bool {
        !self.open.is_empty()
    }
}

pub(crate) fn time(at_ms: i64) -> String {
    WallTime::from_unix_ms(at_ms).to_string()
}

fn fits(patterns: &[String], name: &str) -> bool {
    patterns.iter().any(|pattern| glob::matches(pattern, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(n: u32) -> Seen {
        Seen::Sample {
            at: time(i64::from(n)),
            series: "system.cpu.utilization".to_owned(),
            value: 1.0,
            unit: "1".to_owned(),
            gap: false,
            reset: false,
        }
    }

    #[test]
    fn slow_reader_misses_what_finds_no_room_and_is_told_how_much() {
        let mut tap = Tap::new(0, Patterns::default());
        (0..10_000).for_each(|n| tap.push(seen(n)));
        let taken = tap.take();
        let Some(Seen::Missed { count }) = taken.last() else { panic!("{:?}", taken.last()) };
        assert_eq!((taken.len() as u64 - 1 + count, tap.missed_total()), (10_000, *count));
        assert!(taken.iter().map(Seen::bytes).sum::<usize>() <= TAP_BYTES_MAX + EVENT_BYTES);
        assert_eq!(taken[0], seen(0), "the oldest is kept: what comes later is what is missed");
        tap.push(seen(1));
        assert_eq!(tap.take(), [seen(1)], "it is told once");
    }

    #[test]
    fn patterns_are_sorted_by_what_they_follow_and_limited() {
        let patterns = Patterns::parse(["system.cpu.*", "log:/var/log/*", "verdict:level"]).expect("fine");
        let mut tap = Tap::new(0, patterns);
        assert!(tap.follows_series(3, SeriesKey(1), || "system.cpu.time".to_owned()));
        assert!(tap.follows_series(3, SeriesKey(1), || unreachable!("it is known")));
        assert!(!tap.follows_series(3, SeriesKey(2), || "system.memory.usage".to_owned()));
        assert!(tap.follows_log("/var/log/syslog") && !tap.follows_log("/srv/x"));
        assert!(tap.follows_verdict("level", "x") && !tap.follows_verdict("novelty", "x"));
        let all = Patterns::parse([]).expect("fine");
        assert!(Tap::new(0, all).follows_series(0, SeriesKey(1), || "any".to_owned()));
        let long = "x".repeat(PATTERN_BYTES_MAX + 1);
        for bad in [vec![""], vec![long.as_str()], vec!["*"; PATTERNS_MAX + 1]] {
            assert!(Patterns::parse(bad.iter().copied()).is_err(), "{bad:?}");
        }
    }
}
