//! Log lines to counts per template, in step with the cursors of their sources.
//!
//! A cursor says where a source stood after the lines handed in so far. Only lines that a cursor covers are shipped,
//! together with that cursor: whoever restarts from it repeats nothing and misses nothing. Sums of counts equal the
//! lines, whatever templates make room or become one: when templates become one, the counts not yet shipped go to the
//! survivor, and the ids that the collector knows are announced once more with the survivor's text. Ids of a source
//! with one text are one template.

pub mod sequences;

use crate::ledger::Ledger;
use crate::mask::{KeyBlock, Masks};
use crate::multiline;
use crate::room;
use crate::templates::{EXEMPLAR_BYTES_MAX, Mined, Miner, Novelty};
use vedette_protocol::ids::{SeriesKey, TemplateId};
use vedette_protocol::series::{SeriesKind, SeriesMeta};
use vedette_protocol::time::WallTime;
use vedette_protocol::v1::limits::POSITION_BYTES_MAX;
use vedette_protocol::v1::{Cursor, LogWindow, Template};

/// Metric name under which detectors see a template.
pub const TEMPLATE_METRIC: &str = "vedette.log.template";
/// Detectors' row of all lines of the host. Never judged: its templates are.
pub const TOTAL_ROW: u32 = 0;
/// Bytes of a line that are looked at; what is longer is cut and counted.
pub const LINE_BYTES_MAX: usize = 8_192;
/// Log sources that are told apart.
pub const LOG_SOURCES_MAX: usize = 128;
/// A line with more than one control byte in this many is binary.
const BINARY_SHARE: usize = 8;
/// Aliases that wait to be told, of all sources. Beyond that an id keeps its last text at the collector; no count is lost.
const ALIASES_MAX: usize = 1_024;
/// Templates, of all sources, that made room before they were shipped; the lines of further ones are counted as [`REST`].
const ORPHANS_MAX: usize = 1_024;
/// Lines' worth of buffers: as text, masked, joined, and what their room doubled to.
const READER_LINES: usize = 16;
/// A row's metric, unit and three attributes, without path and service.
const ROW_NAMES_BYTES: usize = 512;
/// Text of the template that stands for those without room.
const REST: &str = "<other>";
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
    /// As told to others.
    masked_path: String,
    masked_service: String,
    key_block: KeyBlock,
    cursor: Option<Cursor>,
    has_cursors: bool,
    /// Counts of templates that made room before they were shipped, with what is needed to announce them.
    orphans: Vec<(Template, Counts)>,
    /// Lines of templates that made room when there were too many of those.
    rest: Counts,
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

/// Bytes of a line to masked text: what every line goes through before anything is made of it.
#[derive(Debug, Default)]
pub struct LineReader {
    masks: Masks,
    text: String,
    masked: String,
}

impl LineReader {
    /// The text of one line, without its line end, with secrets and personal data masked. Allocates nothing once it
    /// has seen a line as long.
    pub fn read(&mut self, line: &[u8], ledger: &mut Ledger) -> &str {
        self.read_text(line, ledger);
        self.masked.clear();
        ledger.masked += u64::from(self.masks.mask_into(&self.text, &mut self.masked));
        &self.masked
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
    total_key: SeriesKey,
    generation: u64,
    reader: LineReader,
    /// Source of the last line.
    last: Option<usize>,
    /// Slot of its template, and whether it is the first of that.
    last_slot: (u32, bool),
    /// Where the source of the last line is: most lines come in runs.
    last_source: usize,
}

impl LogBook {
    /// An empty book for at most `templates_max` templates over all sources.
    pub fn new(templates_max: usize) -> Self {
        Self {
            sources: Vec::new(),
            miner: Miner::new(templates_max),
            counts: Vec::new(),
            tick_lines: 0,
            total_key: line_series(Vec::new()).key(),
            generation: 0,
            reader: LineReader::default(),
            last: None,
            last_slot: (0, false),
            last_source: 0,
        }
    }

    /// Bytes of the heap that a book takes at most, of so many templates and sources whose path and service together are of
    /// at most `name_bytes`; windows on their way out are part of it.
    pub(crate) fn bytes_max(templates_max: usize, sources: usize, name_bytes: usize) -> usize {
        let (texts, exemplar) = (Miner::texts_bytes_max(), room::text(EXEMPLAR_BYTES_MAX));
        let source = 3 * room::text(name_bytes) + room::text(POSITION_BYTES_MAX);
        let on_their_way = (templates_max + ORPHANS_MAX) * (size_of::<(Template, Counts)>() + texts);
        Miner::bytes_max(templates_max)
            + 2 * room::list::<Counts>(templates_max)
            + room::list::<Source>(sources)
            + sources * source
            + room::list::<(Template, Counts)>(ORPHANS_MAX)
            + ORPHANS_MAX * texts
            + room::list::<Alias>(ALIASES_MAX)
            + ALIASES_MAX * exemplar
            + on_their_way
            + READER_LINES * LINE_BYTES_MAX
    }

    /// Bytes that the meaning of a row has beside its own size.
    pub(crate) fn name_bytes_max(name_bytes: usize) -> usize {
        name_bytes + ROW_NAMES_BYTES
    }

    /// Masks more than what always is. Ask for it before the first line.
    pub fn set_masks(&mut self, masks: Masks) {
        self.reader.masks = masks;
    }

    /// Takes one line or event of several, without its line end.
    pub fn accept(&mut self, path: &str, service: &str, line: &[u8], ledger: &mut Ledger) {
        ledger.lines += 1;
        self.last = self.source(path, service);
        let Some(source) = self.last else {
            ledger.lines_refused += 1;
            return;
        };
        self.reader.read(line, ledger);
        let key_block = &mut self.sources[source].key_block;
        ledger.masked += u64::from(key_block.mask(&self.reader.text, &mut self.reader.masked));
        self.count(source, ledger);
    }

    /// What may be kept of the line that came last: its log's path and its text, both masked; `None` if it was refused.
    pub fn last_line(&self) -> Option<(&str, &str)> {
        Some((&self.sources[self.last?].masked_path, &self.reader.masked))
    }

    /// The template of the line that came last, and whether that is new.
    pub(crate) fn last_template(&self) -> Option<(&Mined, bool)> {
        let (slot, is_new) = self.last_slot;
        Some((self.miner.get(slot)?, is_new))
    }

    fn count(&mut self, source: usize, ledger: &mut Ledger) {
        let ordinal = u32::try_from(source).expect("log sources are limited");
        let event = &self.reader.masked;
        let outcome = match multiline::headline(event) {
            None => self.miner.accept(ordinal, event),
            Some(line) => {
                ledger.lines_joined += event.matches('\n').count() as u64;
                self.miner.accept_event(ordinal, &line, &multiline::in_one_line(event))
            }
        };
        let slot = outcome.slot as usize;
        self.last_slot = (outcome.slot, outcome.novelty == Novelty::New);
        if slot >= self.counts.len() {
            self.counts.resize(slot + 1, Counts::default());
        }
        if let Some(evicted) = outcome.evicted {
            ledger.templates_evicted += 1;
            let counts = std::mem::take(&mut self.counts[slot]);
            let orphans: usize = self.sources.iter().map(|source| source.orphans.len()).sum();
            let source = &mut self.sources[evicted.source as usize];
            // There will be no text to tell of what is gone: the ids keep their last one.
            source.aliases.retain(|alias| alias.survivor != evicted.ordinal);
            if counts.open + counts.sealed > 0 && orphans < ORPHANS_MAX {
                source.orphans.push((template(&evicted), counts));
            } else {
                ledger.lines_folded += counts.open + counts.sealed;
                source.rest.add(&counts);
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
        counts.add(&gone);
        self.generation += 1;
        let Some(survivor) = self.miner.get(u32::try_from(slot).unwrap_or(u32::MAX)) else { return };
        let waiting: usize = self.sources.iter().map(|source| source.aliases.len()).sum();
        let aliases = &mut self.sources[source].aliases;
        aliases
            .iter_mut()
            .filter(|alias| alias.survivor == mined.ordinal)
            .for_each(|alias| alias.survivor = survivor.ordinal);
        if gone.named && waiting < ALIASES_MAX {
            aliases.push(Alias { id: mined.id, exemplar: mined.exemplar, survivor: survivor.ordinal });
        }
    }

    fn source(&mut self, path: &str, service: &str) -> Option<usize> {
        if self.sources.get(self.last_source).is_some_and(|source| source.path == path) {
            return Some(self.last_source);
        }
        if let Some(at) = self.sources.iter().position(|source| source.path == path) {
            self.last_source = at;
            return Some(at);
        }
        if self.sources.len() >= LOG_SOURCES_MAX {
            return None;
        }
        self.sources.push(Source {
            path: path.to_owned(),
            masked_path: self.reader.masks.masked(path),
            masked_service: self.reader.masks.masked(service),
            key_block: KeyBlock::default(),
            cursor: None,
            has_cursors: false,
            orphans: Vec::new(),
            rest: Counts::default(),
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
        source.rest.seal();
        source.cursor = Some(cursor);
        source.has_cursors = true;
    }

    /// Takes what may be shipped of each source: windows with their cursors, those with nothing but a cursor last, since
    /// it may be that of others together. Nothing for a source with no news.
    pub fn take_windows(&mut self, end: WallTime, window_ms: u32) -> Vec<(LogWindow, Vec<Cursor>)> {
        let mut windows: Vec<_> =
            (0..self.sources.len()).filter_map(|source| self.take_window(source, end, window_ms)).collect();
        windows.sort_by_key(|(window, _)| window.counts.is_empty());
        windows
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
        let rest = source.rest.take(unbounded);
        let name = || Template { id: TemplateId::of(REST), text: REST.to_owned(), exemplar: String::new() };
        window.add(TemplateId::of(REST), rest, (!source.rest.announced && rest > 0).then(name));
        source.rest.told(rest);
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
        std::iter::once((TOTAL_ROW, self.total_key)).chain(templates)
    }

    /// The stable key of a row.
    pub fn key(&self, row: u32) -> Option<SeriesKey> {
        match row.checked_sub(1) {
            None => Some(self.total_key),
            Some(slot) => self.counts.get(slot as usize)?.key,
        }
    }

    /// A row as a series, for detectors.
    pub fn meta(&self, row: u32) -> Option<SeriesMeta> {
        let Some(slot) = row.checked_sub(1) else { return Some(line_series(Vec::new())) };
        let mined = self.miner.get(slot)?;
        let source = &self.sources[mined.source as usize];
        let attributes = [
            ("log.file.path", source.masked_path.clone()),
            ("service.name", source.masked_service.clone()),
            ("vedette.template.id", format!("{:016x}", mined.id.0)),
        ];
        Some(line_series(attributes.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()))
    }

    /// A row's template with its source's path and service.
    pub fn template(&self, row: u32) -> Option<(&str, &str, Template)> {
        let mined = self.miner.get(row.checked_sub(1)?)?;
        let source = self.sources.get(mined.source as usize)?;
        Some((&source.masked_path, &source.masked_service, template(mined)))
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
    /// Takes over lines that were not shipped yet.
    fn add(&mut self, other: &Self) {
        self.open += other.open;
        self.sealed += other.sealed;
    }

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
mod tests;
