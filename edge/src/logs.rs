//! Log lines to counts per template, in step with the cursors of their sources.
//!
//! A cursor says where a source stood after the lines handed in so far. Only lines that a cursor covers are shipped,
//! together with that cursor: whoever restarts from it repeats nothing and misses nothing. Sums of counts equal the
//! lines, whatever templates make room or become one: when templates become one, the counts not yet shipped go to the
//! survivor, and the ids that the collector knows are announced once more with the survivor's text. Ids of a source
//! with one text are one template.

use crate::ledger::Ledger;
use crate::mask;
use crate::templates::{Mined, Miner, Novelty};
use vedette_protocol::ids::{SeriesKey, TemplateId};
use vedette_protocol::series::{SeriesKind, SeriesMeta};
use vedette_protocol::time::WallTime;
use vedette_protocol::v1::{Cursor, LogWindow, Template};

/// Metric name under which detectors see a template.
pub const TEMPLATE_METRIC: &str = "vedette.log.template";
/// Detectors' row of all lines of the host. Never judged: its templates are.
pub const TOTAL_ROW: u32 = 0;
/// Bytes of a line that are looked at; what is longer is cut and counted.
pub const LINE_BYTES_MAX: usize = 8_192;
/// Log sources that are told apart.
pub const LOG_SOURCES_MAX: usize = 64;
/// A line with more than one control byte in this many is binary.
const BINARY_SHARE: usize = 8;
/// Aliases of a source that wait to be told. Beyond that an id keeps its last text at the collector; no count is lost.
const ALIASES_MAX: usize = 1_024;
const BINARY: &str = "<binary>";

/// Counts of one template.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    /// Lines since the last tick.
    tick: u32,
    /// Lines after the last cursor.
    open: u64,
    /// Lines that the last cursor covers, not yet shipped.
    sealed: u64,
    /// The collector knows its present text.
    announced: bool,
    /// The collector knows its id.
    named: bool,
    /// Stable key of it as a series.
    key: Option<SeriesKey>,
}

#[derive(Debug)]
struct Source {
    path: String,
    service: String,
    /// As told to others.
    masked_path: String,
    cursor: Option<Cursor>,
    has_cursors: bool,
    /// Counts of templates that made room before they were shipped, with what is needed to announce them.
    orphans: Vec<(Template, Counts)>,
    /// Ids that the collector knows and that stand for other templates by now.
    aliases: Vec<Alias>,
}

#[derive(Debug)]
struct Alias {
    id: TemplateId,
    exemplar: String,
    /// The ordinal of the template that it stands for.
    survivor: u64,
}

/// All log sources of a host.
///
/// Detectors know a template by its slot plus one. Their row 0 counts all lines of the host and is there from the
/// start: it shows a detector of new templates that time passes while every log is silent.
#[derive(Debug)]
pub struct LogBook {
    sources: Vec<Source>,
    miner: Miner,
    counts: Vec<Counts>,
    tick_lines: u32,
    generation: u64,
    text: String,
    masked: String,
}

impl LogBook {
    /// An empty book for at most `templates_max` templates over all sources.
    pub fn new(templates_max: usize) -> Self {
        Self {
            sources: Vec::new(),
            miner: Miner::new(templates_max),
            counts: Vec::new(),
            tick_lines: 0,
            generation: 0,
            text: String::new(),
            masked: String::new(),
        }
    }

    /// Takes one line, without its line end.
    pub fn accept(&mut self, path: &str, service: &str, line: &[u8], ledger: &mut Ledger) {
        ledger.lines += 1;
        let Some(source) = self.source(path, service) else {
            ledger.lines_refused += 1;
            return;
        };
        self.read_text(line, ledger);
        self.masked.clear();
        ledger.masked += u64::from(mask::mask_into(&self.text, &mut self.masked));
        self.count(source, ledger);
    }

    fn count(&mut self, source: usize, ledger: &mut Ledger) {
        let ordinal = u32::try_from(source).expect("log sources are limited");
        let outcome = self.miner.accept(ordinal, &self.masked);
        let slot = outcome.slot as usize;
        if slot >= self.counts.len() {
            self.counts.resize(slot + 1, Counts::default());
        }
        if let Some(evicted) = outcome.evicted {
            ledger.templates_evicted += 1;
            let counts = std::mem::take(&mut self.counts[slot]);
            if counts.open + counts.sealed > 0 {
                self.sources[evicted.source as usize].orphans.push((template(&evicted), counts));
            }
        }
        for (absorbed, mined) in outcome.absorbed {
            self.absorb(source, slot, absorbed as usize, mined);
            ledger.templates_absorbed += 1;
        }
        let counts = &mut self.counts[slot];
        counts.tick = counts.tick.saturating_add(1);
        self.tick_lines = self.tick_lines.saturating_add(1);
        counts.open += 1;
        if outcome.novelty != Novelty::Known {
            counts.announced = false;
        }
        if outcome.novelty == Novelty::New {
            self.generation += 1;
            self.counts[slot].key = self.meta(outcome.slot + 1).map(|meta| meta.key());
        }
    }

    /// The template in slot `absorbed` is that in `slot` from now on.
    fn absorb(&mut self, source: usize, slot: usize, absorbed: usize, mined: Mined) {
        let gone = std::mem::take(&mut self.counts[absorbed]);
        let counts = &mut self.counts[slot];
        counts.tick = counts.tick.saturating_add(gone.tick);
        counts.open += gone.open;
        counts.sealed += gone.sealed;
        self.generation += 1;
        let Some(survivor) = self.miner.get(u32::try_from(slot).unwrap_or(u32::MAX)) else { return };
        let aliases = &mut self.sources[source].aliases;
        aliases
            .iter_mut()
            .filter(|alias| alias.survivor == mined.ordinal)
            .for_each(|alias| alias.survivor = survivor.ordinal);
        if gone.named && aliases.len() < ALIASES_MAX {
            aliases.push(Alias { id: mined.id, exemplar: mined.exemplar, survivor: survivor.ordinal });
        }
    }

    /// Leaves in `text` what of a line can be read as text.
    fn read_text(&mut self, line: &[u8], ledger: &mut Ledger) {
        ledger.lines_cut += u64::from(line.len() > LINE_BYTES_MAX);
        let line = &line[..line.len().min(LINE_BYTES_MAX)];
        self.text.clear();
        let control = line.iter().filter(|byte| byte.is_ascii_control() && **byte != b'\t').count();
        if control * BINARY_SHARE > line.len() {
            ledger.lines_binary += 1;
            self.text.push_str(BINARY);
            return;
        }
        let mut valid = true;
        for chunk in line.utf8_chunks() {
            self.text.push_str(chunk.valid());
            if !chunk.invalid().is_empty() {
                self.text.push(char::REPLACEMENT_CHARACTER);
                valid = false;
            }
        }
        ledger.lines_not_utf8 += u64::from(!valid);
    }

    fn source(&mut self, path: &str, service: &str) -> Option<usize> {
        if let Some(at) = self.sources.iter().position(|source| source.path == path) {
            return Some(at);
        }
        if self.sources.len() >= LOG_SOURCES_MAX {
            return None;
        }
        self.sources.push(Source {
            path: path.to_owned(),
            service: service.to_owned(),
            masked_path: mask::masked(path),
            cursor: None,
            has_cursors: false,
            orphans: Vec::new(),
            aliases: Vec::new(),
        });
        Some(self.sources.len() - 1)
    }

    /// The position of a source after all of its lines handed in so far.
    pub fn set_cursor(&mut self, cursor: Cursor) {
        let Some(at) = self.source(&cursor.source, "") else { return };
        for (slot, _) in self.miner.iter().filter(|(_, mined)| mined.source as usize == at) {
            self.counts[slot as usize].seal();
        }
        let source = &mut self.sources[at];
        source.orphans.iter_mut().for_each(|(_, counts)| counts.seal());
        source.cursor = Some(cursor);
        source.has_cursors = true;
    }

    /// Takes what may be shipped of each source: windows with their cursors. Nothing for a source with no news.
    pub fn take_windows(&mut self, end: WallTime, window_ms: u32) -> Vec<(LogWindow, Vec<Cursor>)> {
        (0..self.sources.len()).filter_map(|source| self.take_window(source, end, window_ms)).collect()
    }

    fn take_window(&mut self, at: usize, end: WallTime, window_ms: u32) -> Option<(LogWindow, Vec<Cursor>)> {
        let source = &mut self.sources[at];
        let mut window =
            LogWindow { source: source.masked_path.clone(), end, window_ms, counts: Vec::new(), templates: Vec::new() };
        let unbounded = !source.has_cursors;
        for (template, mut counts) in std::mem::take(&mut source.orphans) {
            let lines = counts.take(unbounded);
            window.add(template.id, lines, (!counts.announced && lines > 0).then(|| template.clone()));
            counts.told(lines);
            if counts.open > 0 {
                source.orphans.push((template, counts));
            }
        }
        for (slot, mined) in self.miner.iter().filter(|(_, mined)| mined.source as usize == at) {
            let counts = &mut self.counts[slot as usize];
            let lines = counts.take(unbounded);
            window.add(mined.id, lines, (!counts.announced && lines > 0).then(|| template(mined)));
            counts.told(lines);
            if counts.announced && !source.aliases.is_empty() {
                for alias in source.aliases.extract_if(.., |alias| alias.survivor == mined.ordinal) {
                    window.templates.push(Template {
                        id: alias.id,
                        text: mined.text.clone(),
                        exemplar: alias.exemplar,
                    });
                }
            }
        }
        let cursors: Vec<_> = source.cursor.take().into_iter().collect();
        (!window.counts.is_empty() || !cursors.is_empty()).then_some((window, cursors))
    }

    /// Changes whenever a slot got another template.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// Lines since the last call, in row order: of the host, then of each template, zeros included.
    pub fn take_tick(&mut self) -> impl Iterator<Item = u32> {
        let total = std::mem::take(&mut self.tick_lines);
        std::iter::once(total).chain(self.counts.iter_mut().map(|counts| std::mem::take(&mut counts.tick)))
    }

    /// Rows and their stable keys as series.
    pub fn keys(&self) -> impl Iterator<Item = (u32, SeriesKey)> {
        let templates = (1u32..).zip(&self.counts).filter_map(|(row, counts)| Some((row, counts.key?)));
        std::iter::once((TOTAL_ROW, line_series(Vec::new()).key())).chain(templates)
    }

    /// A row as a series, for detectors.
    pub fn meta(&self, row: u32) -> Option<SeriesMeta> {
        let Some(slot) = row.checked_sub(1) else { return Some(line_series(Vec::new())) };
        let mined = self.miner.get(slot)?;
        let source = &self.sources[mined.source as usize];
        let attributes = [
            ("log.file.path", source.masked_path.clone()),
            ("service.name", mask::masked(&source.service)),
            ("vedette.template.id", format!("{:016x}", mined.id.0)),
        ];
        Some(line_series(attributes.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()))
    }

    /// A row's template with its source's path and service.
    pub fn template(&self, row: u32) -> Option<(&str, &str, Template)> {
        let mined = self.miner.get(row.checked_sub(1)?)?;
        let source = self.sources.get(mined.source as usize)?;
        Some((&source.masked_path, &source.service, template(mined)))
    }

    /// Number of templates.
    pub fn len(&self) -> usize {
        self.miner.len()
    }

    /// Whether no line was seen yet.
    pub fn is_empty(&self) -> bool {
        self.miner.is_empty()
    }
}

impl Counts {
    fn seal(&mut self) {
        self.sealed += std::mem::take(&mut self.open);
    }

    /// A window takes along what is to be known of it, if it has lines in there.
    fn told(&mut self, lines: u64) {
        self.announced |= lines > 0;
        self.named |= lines > 0;
    }

    /// The lines that may be shipped: all of them from a source that has no positions.
    fn take(&mut self, unbounded: bool) -> u64 {
        if unbounded {
            self.seal();
        }
        std::mem::take(&mut self.sealed)
    }
}

fn line_series(attributes: Vec<(String, String)>) -> SeriesMeta {
    SeriesMeta {
        metric: TEMPLATE_METRIC.to_owned(),
        unit: "{line}".to_owned(),
        kind: SeriesKind::Count,
        attributes,
        resolution: 1.0,
        lower: 0.0,
        upper: f64::NAN,
    }
}

/// Adds to a window under construction; templates of one id (joined by eviction and return) are one row.
trait Rows {
    fn add(&mut self, id: TemplateId, lines: u64, news: Option<Template>);
}

impl Rows for LogWindow {
    fn add(&mut self, id: TemplateId, lines: u64, news: Option<Template>) {
        if lines == 0 {
            return;
        }
        match self.counts.iter_mut().find(|(other, _)| *other == id) {
            Some((_, count)) => *count += lines,
            None => self.counts.push((id, lines)),
        }
        self.templates.extend(news);
    }
}

fn template(mined: &Mined) -> Template {
    Template { id: mined.id, text: mined.text.clone(), exemplar: mined.exemplar.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cursor(position: u8) -> Cursor {
        Cursor { source: "/log".to_owned(), position: vec![position] }
    }

    fn lines_of(windows: &[(LogWindow, Vec<Cursor>)]) -> u64 {
        windows.iter().flat_map(|(window, _)| &window.counts).map(|(_, lines)| lines).sum()
    }

    #[test]
    fn window_holds_exactly_the_lines_that_its_cursor_covers() {
        let (mut book, mut ledger) = (LogBook::new(10), Ledger::default());
        book.accept("/log", "app", b"one two three", &mut ledger);
        book.set_cursor(cursor(1));
        book.accept("/log", "app", b"one two three", &mut ledger);
        let windows = book.take_windows(WallTime::default(), 10_000);
        assert_eq!((lines_of(&windows), &windows[0].1), (1, &vec![cursor(1)]));
        assert_eq!(windows[0].0.templates.len(), 1);
        assert!(book.take_windows(WallTime::default(), 10_000).is_empty(), "the second line waits for its cursor");
        book.set_cursor(cursor(2));
        let windows = book.take_windows(WallTime::default(), 10_000);
        assert_eq!((lines_of(&windows), windows[0].0.templates.len()), (1, 0));
    }

    #[test]
    fn hostile_lines_are_counted_and_have_a_template() {
        let (mut book, mut ledger) = (LogBook::new(10), Ledger::default());
        book.accept("/log", "", &[0; 100], &mut ledger);
        book.accept("/log", "", b"caf\xe9 closed", &mut ledger);
        book.accept("/log", "", &[b'x'; LINE_BYTES_MAX + 1], &mut ledger);
        book.accept("/log", "", b"", &mut ledger);
        assert_eq!((ledger.lines_binary, ledger.lines_not_utf8, ledger.lines_cut), (1, 1, 1));
        assert_eq!(lines_of(&book.take_windows(WallTime::default(), 1)), 4);
    }

    #[test]
    fn secrets_reach_neither_template_nor_exemplar() {
        let (mut book, mut ledger) = (LogBook::new(10), Ledger::default());
        book.accept("/log", "", b"login failed password=hunter2", &mut ledger);
        let (_, _, template) = book.template(1).unwrap();
        assert_eq!((template.text.as_str(), ledger.masked), ("login failed password=<secret>", 1));
        assert_eq!(template.exemplar, template.text);
    }

    #[test]
    fn ids_that_the_collector_knows_are_told_what_they_stand_for() {
        let (mut book, mut ledger) = (LogBook::new(10), Ledger::default());
        let mut line =
            |book: &mut LogBook, name: &str| book.accept("/log", "", format!("hi from {name}").as_bytes(), &mut ledger);
        ["ann", "bob"].iter().for_each(|name| line(&mut book, name));
        let first = book.take_windows(WallTime::default(), 1);
        line(&mut book, "eve");
        assert_eq!((book.len(), book.take_tick().collect::<Vec<_>>()), (3, vec![3, 1, 1, 1]));
        line(&mut book, "sue");
        assert_eq!((book.len(), book.take_tick().collect::<Vec<_>>()), (1, vec![1, 1, 0, 0]));
        assert_eq!(book.keys().count(), 2, "only the row of all lines and the survivor's are left");
        let second = book.take_windows(WallTime::default(), 1);
        assert_eq!(
            second[0].0.counts,
            [(first[0].0.counts[0].0, 2)],
            "the third went to the survivor before it was told"
        );
        let known: Vec<_> = first[0].0.templates.iter().map(|template| template.id).collect();
        let told: Vec<_> = second[0].0.templates.iter().map(|template| (template.id, template.text.as_str())).collect();
        assert_eq!(told, [(known[0], "hi from <*>"), (known[1], "hi from <*>")]);
        line(&mut book, "zoe");
        assert!(book.take_windows(WallTime::default(), 1)[0].0.templates.is_empty(), "nothing is told twice");
        assert_eq!(ledger.templates_absorbed, 2);
    }

    #[test]
    fn too_many_sources_are_refused_and_counted() {
        let (mut book, mut ledger) = (LogBook::new(10), Ledger::default());
        (0..=LOG_SOURCES_MAX).for_each(|n| book.accept(&n.to_string(), "", b"line", &mut ledger));
        assert_eq!(ledger.lines_refused, 1);
    }

    fn line() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..12),
            "(hi from|session of user|see) [a-e] (at [a-c] )?(again|[0-9]{1,3})".prop_map(String::into_bytes),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]

        #[test]
        fn sums_of_counts_equal_the_lines_whatever_is_evicted_or_becomes_one(
            room in 1usize..12,
            steps in proptest::collection::vec((0u8..20, 0usize..2, line()), 1..200)
        ) {
            let (mut book, mut ledger) = (LogBook::new(room), Ledger::default());
            let (mut shipped, mut ticked) = (0, 0);
            for (step, source, line) in &steps {
                match step {
                    0 => book.set_cursor(cursor(1)),
                    1 => shipped += lines_of(&book.take_windows(WallTime::default(), 1)),
                    2 => {
                        let rows: Vec<_> = book.take_tick().collect();
                        ticked += u64::from(rows[0]);
                        prop_assert!(rows[1..].iter().sum::<u32>() <= rows[0]);
                    }
                    _ => book.accept(["/log", "/other"][*source], "", line, &mut ledger),
                }
            }
            ["/log", "/other"].map(|source| book.set_cursor(Cursor { source: source.to_owned(), position: vec![2] }));
            shipped += lines_of(&book.take_windows(WallTime::default(), 1));
            ticked += u64::from(book.take_tick().next().unwrap());
            prop_assert_eq!((shipped, ticked), (ledger.lines, ledger.lines));
        }

        #[test]
        fn each_id_that_was_told_ends_with_the_text_of_its_lines(
            lines in proptest::collection::vec("(hi from|session of user|see) [a-e] (at [a-c] )?again", 1..60)
        ) {
            let (mut book, mut ledger) = (LogBook::new(100), Ledger::default());
            let mut known = std::collections::BTreeMap::new();
            for line in &lines {
                book.accept("/log", "", line.as_bytes(), &mut ledger);
                for (window, _) in book.take_windows(WallTime::default(), 1) {
                    known.extend(window.templates.into_iter().map(|template| (template.id, template.text)));
                }
            }
            let now: std::collections::BTreeSet<_> = (1..200).filter_map(|row| book.template(row)).map(|(_, _, template)| template.text).collect();
            for text in known.values() {
                prop_assert!(now.contains(text), "{text} is no template any more");
            }
        }
    }
}
