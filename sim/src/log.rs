//! A service's log: lines from templates at their rates, so the truth of every count is known.

use crate::rng::Rng;
use std::fmt::Write as _;
use std::time::Duration;

/// A kind of line. In `text` these marks stand for something that differs from line to line: `{int}`, `{hex}`, `{ip}`,
/// `{uuid}`, `{ms}`, `{user}`.
#[derive(Clone, Debug, PartialEq)]
pub struct LineTemplate {
    /// The line with its marks.
    pub text: String,
    /// Lines a second on average (Poisson).
    pub rate: f64,
    /// Written only from then on, since the start of the simulation.
    pub from: Duration,
    /// Written only until then.
    pub until: Duration,
}

/// A line with the number of its template in its source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// Index into [`LogSource::templates`].
    pub template: usize,
    /// The line without its end.
    pub text: String,
}

/// A log file.
///
/// ```
/// use std::time::Duration;
/// use vedette_sim::{LineTemplate, LogSource, Seed};
///
/// let mut log = LogSource::new("/var/log/app.log", "app", Seed(1).rng("app.log"))
///     .with(LineTemplate::always("GET /cart/{int} took {ms} ms", 20.0))
///     .with(LineTemplate::between("ERROR upstream {ip} refused", 50.0, Duration::from_secs(60), Duration::from_secs(90)));
/// let lines = log.lines(Duration::from_secs(61), Duration::from_secs(1));
/// assert!(lines.iter().any(|line| line.text.starts_with("ERROR upstream")));
/// ```
#[derive(Clone, Debug)]
pub struct LogSource {
    path: String,
    service: String,
    templates: Vec<LineTemplate>,
    rng: Rng,
    written: Vec<u64>,
}

impl LineTemplate {
    /// A line that is always written.
    pub fn always(text: &str, rate: f64) -> Self {
        Self::between(text, rate, Duration::ZERO, Duration::MAX)
    }

    /// A line that is written for a while only: a burst that nobody saw before.
    pub fn between(text: &str, rate: f64, from: Duration, until: Duration) -> Self {
        Self { text: text.to_owned(), rate, from, until }
    }

    /// Whether `line` may come from this template: its fixed parts stand in it, in their order.
    pub fn covers(&self, line: &str) -> bool {
        let fixed = self.text.split('{').enumerate().map(|(index, part)| match part.split_once('}') {
            Some((_, after)) if index > 0 => after,
            _ => part,
        });
        let mut rest = Some(line);
        for part in fixed {
            rest = rest.and_then(|rest| rest.split_once(part)).map(|(_, after)| after);
        }
        rest.is_some()
    }
}

impl LogSource {
    /// An empty log.
    pub fn new(path: &str, service: &str, rng: Rng) -> Self {
        Self { path: path.to_owned(), service: service.to_owned(), templates: Vec::new(), rng, written: Vec::new() }
    }

    /// One more kind of line.
    #[must_use]
    pub fn with(mut self, template: LineTemplate) -> Self {
        self.templates.push(template);
        self.written.push(0);
        self
    }

    /// Path of the file.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Declared service.
    pub fn service(&self) -> &str {
        &self.service
    }

    /// Kinds of lines.
    pub fn templates(&self) -> &[LineTemplate] {
        &self.templates
    }

    /// Lines written so far, by template.
    pub fn written(&self) -> &[u64] {
        &self.written
    }

    /// The lines of the `dt` before `elapsed`, in a random order.
    pub fn lines(&mut self, elapsed: Duration, dt: Duration) -> Vec<LogLine> {
        let mut lines = Vec::new();
        for (index, template) in self.templates.iter().enumerate() {
            if elapsed < template.from || elapsed >= template.until {
                continue;
            }
            let count = self.rng.poisson(template.rate * dt.as_secs_f64());
            self.written[index] += count;
            for _ in 0..count {
                lines.push(LogLine { template: index, text: fill(&template.text, &mut self.rng) });
            }
        }
        shuffle(&mut lines, &mut self.rng);
        lines
    }
}

/// Fisher and Yates.
fn shuffle(lines: &mut [LogLine], rng: &mut Rng) {
    for last in (1..lines.len()).rev() {
        let other = usize::try_from(rng.below(last as u64 + 1)).expect("an index into a slice fits usize");
        lines.swap(last, other);
    }
}

/// Puts something at every mark.
fn fill(template: &str, rng: &mut Rng) -> String {
    let mut line = String::with_capacity(template.len() + 32);
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        line.push_str(before);
        let Some((mark, after)) = after.split_once('}') else {
            line.push('{');
            rest = after;
            continue;
        };
        variable(&mut line, mark, rng);
        rest = after;
    }
    line.push_str(rest);
    line
}

fn variable(line: &mut String, mark: &str, rng: &mut Rng) {
    let written = match mark {
        "int" => write!(line, "{}", rng.below(1_000_000)),
        "hex" => write!(line, "0x{:08x}", rng.bits() >> 32),
        "ms" => write!(line, "{:.1}", rng.exponential(40.0)),
        "ip" => write!(line, "10.{}.{}.{}", rng.below(256), rng.below(256), 1 + rng.below(254)),
        "user" => write!(line, "user{}", rng.below(5_000)),
        "uuid" => {
            let (high, low) = (rng.bits(), rng.bits());
            let groups = (high >> 32, (high >> 16) & 0xffff, high & 0xfff, (low >> 48) & 0x3fff | 0x8000);
            let node = low & 0xffff_ffff_ffff;
            write!(line, "{:08x}-{:04x}-4{:03x}-{:04x}-{node:012x}", groups.0, groups.1, groups.2, groups.3)
        }
        unknown => panic!("a line template knows no mark {{{unknown}}}"),
    };
    written.expect("a string takes what is written to it");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Seed;

    const SECOND: Duration = Duration::from_secs(1);

    fn log(seed: u64) -> LogSource {
        LogSource::new("/var/log/app.log", "app", Seed(seed).rng("log"))
            .with(LineTemplate::always("request {uuid} of {user} from {ip} took {ms} ms", 30.0))
            .with(LineTemplate::between("ERROR {hex} at {int}", 100.0, SECOND * 10, SECOND * 20))
    }

    #[test]
    fn every_line_is_counted_under_its_template_and_errors_keep_their_time() {
        let mut log = log(1);
        let mut seen = [0, 0];
        for second in 1..=100 {
            for line in log.lines(SECOND * second, SECOND) {
                seen[line.template] += 1;
                let error = line.text.starts_with("ERROR");
                assert_eq!(error, line.template == 1);
                assert!(!error || (10..20).contains(&second), "an error line at second {second}");
                assert!(!line.text.contains(['{', '}']), "{}", line.text);
            }
        }
        assert_eq!(log.written(), seen);
        assert!((2_700..3_300).contains(&seen[0]) && (850..1_150).contains(&seen[1]), "{seen:?}");
    }

    #[test]
    fn a_template_covers_its_own_lines_only() {
        let mut log = log(2);
        let templates = log.templates().to_vec();
        for line in log.lines(SECOND * 12, SECOND) {
            let covering: Vec<_> = (0..2).filter(|&index| templates[index].covers(&line.text)).collect();
            assert_eq!(covering, [line.template], "{}", line.text);
        }
    }

    #[test]
    fn a_seed_writes_the_same_log() {
        assert_eq!(log(5).lines(SECOND * 12, SECOND), log(5).lines(SECOND * 12, SECOND));
        assert_ne!(log(5).lines(SECOND * 12, SECOND), log(6).lines(SECOND * 12, SECOND));
    }
}
