//! Log templates of the loghub sets, `loghub-2k/<system>/<system>_2k.log` with `…_structured.csv` beside it, mined as the
//! agent mines: on the Content column, the published convention, and once more on raw lines. Corrected wordings come
//! from `loghub-2k-corrected` where it is there.

mod csv;
mod score;

use super::bench::{Bench, Missing, Report, number};
use crate::detector::keys::unusable;
use crate::output::table;
use score::Score;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use vedette_edge::ledger::Ledger;
use vedette_edge::logs::LineReader;
use vedette_edge::templates::Miner;

/// Templates that an agent keeps unless it is configured otherwise.
const TEMPLATES_MAX: usize = 1_000;
const FILE_BYTES_MAX: u64 = 1 << 30;
/// CPU time is measured over at least so many lines.
const TIMED_LINES: usize = 1_000_000;
/// Published grouping accuracy and F1 over groups, and over how many systems of which halves.
const PUBLISHED: &[(&str, &str, &str, &str)] = &[
    ("Brain, tuned per system", "0.983", "-", "all 16"),
    ("Drain, tuned per system", "0.865", "-", "all 16"),
    ("Drain3, one configuration", "0.786", "0.807", "these 8"),
    ("Drain3, one configuration", "0.748", "0.753", "the other 8"),
];

/// One system's files.
#[derive(Debug)]
struct System {
    name: String,
    raw: Option<PathBuf>,
    structured: Option<PathBuf>,
    corrected: Option<PathBuf>,
}

/// Lines of one system, mined.
struct Mined {
    /// Final template of each line.
    lines: Vec<u64>,
    templates: HashMap<u64, (String, String)>,
}

/// What was found of one system.
struct Done {
    name: String,
    content: Option<Vec<String>>,
    raw: Option<Vec<Vec<u8>>>,
    row: Vec<String>,
    scores: BTreeMap<&'static str, Score>,
    summary: Value,
}

pub(crate) fn run(bench: &Bench<'_>) -> anyhow::Result<Report> {
    let systems = find(bench.data)?;
    let (done, failure) = bench.each("logs", &systems, |system| system.name.clone(), |system| evaluate(bench, system));
    let mut rows = vec![
        ["system", "GA", "FGA", "GA c.", "FGA c.", "PA", "FTA", "raw GA", "raw FGA", "templates", "raw"]
            .map(str::to_owned)
            .to_vec(),
    ];
    rows.extend(done.iter().map(|one| one.row.clone()));
    let mut mean = Map::new();
    let mut last = vec!["mean".to_owned()];
    for measure in MEASURES {
        let scores: Vec<Score> = done.iter().filter_map(|one| one.scores.get(measure).copied()).collect();
        let cells = if scores.is_empty() { ["-".to_owned(), "-".to_owned()] } else { Score::mean(&scores).cells() };
        last.extend(cells);
        if !scores.is_empty() {
            mean.insert(measure.to_owned(), Score::mean(&scores).to_json("lines", "groups"));
        }
    }
    rows.push(last);
    let mut text = format!("logs: {} systems, one configuration\n{}", done.len(), table(&rows));
    text += "GA, FGA: lines and groups that are exactly right; c.: by the corrected templates; PA, FTA: by wording\n";
    let mut published = vec![["published", "GA", "FGA", "systems"].map(str::to_owned).to_vec()];
    published.extend(PUBLISHED.iter().map(|row| [row.0, row.1, row.2, row.3].map(str::to_owned).to_vec()));
    text += &table(&published);
    let content: Vec<Vec<u8>> =
        done.iter().filter_map(|one| one.content.as_ref()).flatten().map(|line| line.clone().into_bytes()).collect();
    let raw: Vec<Vec<u8>> = done.iter().filter_map(|one| one.raw.as_ref()).flatten().cloned().collect();
    let mut speed = Map::new();
    for (name, lines) in [("content", &content), ("raw", &raw)] {
        if let Some((mined, masked)) = lines_per_cpu_second(lines) {
            let _ = writeln!(text, "{name}: {mined:.0} lines per CPU second mined, {masked:.0} read, masked and mined");
            speed.insert(name.to_owned(), json!({"mined": mined, "masked_and_mined": masked}));
        }
    }
    let per_system: Map<String, Value> = done.into_iter().map(|one| (one.name, one.summary)).collect();
    let summary = json!({"systems": per_system, "mean": mean, "lines_per_cpu_second": speed});
    Ok(Report { summary, text, failure })
}

/// Measures in the order of the table's columns.
const MEASURES: [&str; 4] = ["content", "content_corrected", "wording", "raw"];

fn evaluate(bench: &Bench<'_>, system: &System) -> anyhow::Result<Done> {
    let (mut scores, mut summary) = (BTreeMap::new(), Map::new());
    let structured = system.structured.as_deref().map(read_csv).transpose()?.unwrap_or_default();
    let corrected = system.corrected.as_deref().map(read_csv).transpose()?.unwrap_or_default();
    let column =
        |rows: &[Vec<String>], name: &str, lines: usize| csv::column(rows, name).filter(|column| column.len() == lines);
    let content = csv::column(&structured, "Content").or_else(|| csv::column(&corrected, "Content"));
    let mut templates = ["-".to_owned(), "-".to_owned()];
    let mut events = None;
    if let Some(content) = &content {
        let mined = mine(content.iter().map(String::as_bytes));
        write(bench, "logs", &system.name, &mined)?;
        events = column(&structured, "EventId", content.len());
        let corrected = column(&corrected, "EventTemplate", content.len());
        if let Some(events) = &events {
            scores.insert("content", score::grouping(&mined.lines, events));
            summary.insert("missed".into(), json!(score::missed(&mined.lines, events)));
        }
        if let Some(corrected) = &corrected {
            scores.insert("content_corrected", score::grouping(&mined.lines, corrected));
        }
        if let Some(wording) = corrected.or_else(|| column(&structured, "EventTemplate", content.len())) {
            scores.insert("wording", score::wording(&mined.texts(), &wording));
        }
        templates[0] = mined.templates.len().to_string();
    }
    let raw = system.raw.as_deref().map(read_lines).transpose()?;
    if let Some(raw) = &raw {
        let mined = mine(raw.iter().map(Vec::as_slice));
        write(bench, "logs-raw", &system.name, &mined)?;
        if let Some(events) = events.filter(|events| events.len() == raw.len()) {
            scores.insert("raw", score::grouping(&mined.lines, &events));
        }
        templates[1] = mined.templates.len().to_string();
    }
    let mut row = vec![system.name.clone()];
    for measure in MEASURES {
        row.extend(scores.get(measure).map_or(["-".to_owned(), "-".to_owned()], |score| score.cells()));
        if let Some(score) = scores.get(measure) {
            summary.insert(measure.into(), score.to_json("lines", "groups"));
        }
    }
    row.extend(templates);
    Ok(Done { name: system.name.clone(), content, raw, row, scores, summary: Value::Object(summary) })
}

/// Mines lines in order, as the agent does. A line's template is what it belongs to in the end: templates that became
/// one later are one for the lines before, too.
fn mine<'a>(lines: impl Iterator<Item = &'a [u8]>) -> Mined {
    let (mut miner, mut reader, mut ledger) = (Miner::new(TEMPLATES_MAX), LineReader::default(), Ledger::default());
    let (mut of_lines, mut aliases, mut templates) = (Vec::new(), HashMap::new(), HashMap::new());
    for line in lines {
        let outcome = miner.accept(0, reader.read(line, &mut ledger));
        let Some(mined) = miner.get(outcome.slot) else { continue };
        of_lines.push(mined.ordinal);
        aliases.extend(outcome.absorbed.iter().map(|(_, absorbed)| (absorbed.ordinal, mined.ordinal)));
        templates.extend(outcome.evicted.map(|gone| (gone.ordinal, (gone.id.0, gone.text))));
    }
    templates.extend(miner.iter().map(|(_, mined)| (mined.ordinal, (mined.id.0, mined.text.clone()))));
    let survivor = |mut ordinal: u64| {
        while let Some(next) = aliases.get(&ordinal) {
            ordinal = *next;
        }
        ordinal
    };
    let templates = templates.into_iter().map(|(ordinal, (id, text))| (ordinal, (format!("{id:016x}"), text)));
    Mined { lines: of_lines.into_iter().map(survivor).collect(), templates: templates.collect() }
}

impl Mined {
    fn template(&self, line: u64) -> (&str, &str) {
        self.templates.get(&line).map_or(("", ""), |(id, text)| (id, text))
    }

    fn texts(&self) -> Vec<&str> {
        self.lines.iter().map(|line| self.template(*line).1).collect()
    }
}

fn write(bench: &Bench<'_>, folder: &str, system: &str, mined: &Mined) -> anyhow::Result<()> {
    let mut text = String::from("line,template_id,template\n");
    for (at, line) in mined.lines.iter().enumerate() {
        let (id, template) = mined.template(*line);
        let _ = writeln!(text, "{},{id},{}", at + 1, csv::field(template));
    }
    bench.write(Path::new(folder).join(format!("{system}.csv")), &text)
}

/// Lines per second of CPU time of this thread: of the miner alone, and with reading and masking. `None` without lines,
/// or where the system does not tell CPU time.
fn lines_per_cpu_second(lines: &[Vec<u8>]) -> Option<(f64, f64)> {
    let rounds = TIMED_LINES.div_ceil(lines.len().max(1));
    let (mut reader, mut ledger) = (LineReader::default(), Ledger::default());
    let masked: Vec<String> = lines.iter().map(|line| reader.read(line, &mut ledger).to_owned()).collect();
    let mut miner = Miner::new(TEMPLATES_MAX);
    let begin = cpu_s()?;
    for line in std::iter::repeat_n(&masked, rounds).flatten() {
        black_box(miner.accept(0, line).slot);
    }
    let between = cpu_s()?;
    let mut miner = Miner::new(TEMPLATES_MAX);
    let second = cpu_s()?;
    for line in std::iter::repeat_n(lines, rounds).flatten() {
        black_box(miner.accept(0, reader.read(line, &mut ledger)).slot);
    }
    let count = number(lines.len() * rounds);
    (count > 0.0).then_some((count / (between - begin), count / (cpu_s()? - second)))
}

/// CPU time of this thread in seconds (proc(5), schedstat).
fn cpu_s() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split_ascii_whitespace().next()?.parse::<f64>().ok().map(|ns| ns / 1e9)
}

fn read_csv(path: &Path) -> anyhow::Result<Vec<Vec<String>>> {
    Ok(csv::parse(&String::from_utf8_lossy(&read(path)?)))
}

/// Lines without their ends; a last one without a line end counts.
fn read_lines(path: &Path) -> anyhow::Result<Vec<Vec<u8>>> {
    let bytes = read(path)?;
    let mut lines: Vec<_> =
        bytes.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line).to_vec()).collect();
    lines.pop_if(|last| last.is_empty());
    Ok(lines)
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    let size = std::fs::metadata(path).map_err(|error| unusable(path, &error))?.len();
    if size > FILE_BYTES_MAX {
        return Err(unusable(path, &format!("{size} bytes are over the limit of {FILE_BYTES_MAX}")).into());
    }
    Ok(std::fs::read(path).map_err(|error| unusable(path, &error))?)
}

/// Folders with a log or its table, by name.
fn find(data: &Path) -> anyhow::Result<Vec<System>> {
    let places = [data.join("loghub-2k"), data.to_owned()];
    let corrected =
        ["loghub-2k-corrected/data/loghub_2k_corrected", "loghub-2k-corrected"].map(|place| data.join(place));
    for place in &places {
        let mut names: Vec<String> = folders(place);
        names.sort();
        let systems: Vec<System> = names
            .into_iter()
            .map(|name| System {
                raw: file(&place.join(&name), |file| file.ends_with(".log")),
                structured: file(&place.join(&name), |file| file.ends_with("_structured.csv")),
                corrected: corrected.iter().find_map(|set| file(&set.join(&name), |file| file.contains("_structured"))),
                name,
            })
            .filter(|system| system.raw.is_some() || system.structured.is_some())
            .collect();
        if !systems.is_empty() {
            return Ok(systems);
        }
    }
    Err(Missing { what: "logs of loghub", looked: places.iter().map(|place| place.join("*/*.log")).collect() }.into())
}

fn folders(place: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(place).into_iter().flatten().flatten();
    entries.filter(|entry| entry.path().is_dir()).filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

/// The first file of a folder, by name, that is wanted.
fn file(folder: &Path, wanted: impl Fn(&str) -> bool) -> Option<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let names = entries.filter(|entry| entry.path().is_file()).filter_map(|entry| entry.file_name().into_string().ok());
    names.filter(|name| wanted(name)).min().map(|name| folder.join(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_the_template_that_it_belongs_to_in_the_end() {
        let lines = ["hi from ann", "bye", "hi from bob", "hi from eve", "hi from sue", "bye"];
        let mined = mine(lines.iter().map(|line| line.as_bytes()));
        assert_eq!(mined.texts(), ["hi from <*>", "bye", "hi from <*>", "hi from <*>", "hi from <*>", "bye"]);
        assert_eq!(mined.templates.len(), 2);
        assert_eq!(mined.template(mined.lines[0]).0.len(), 16);
    }

    #[test]
    fn every_line_of_a_file_counts_the_last_without_an_end_too() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), b"one\r\n\ntwo\xff\nlast").unwrap();
        let lines = read_lines(file.path()).unwrap();
        assert_eq!(lines, [&b"one"[..], b"", b"two\xff", b"last"]);
        assert_eq!(mine(lines.iter().map(Vec::as_slice)).lines.len(), 4);
        std::fs::write(file.path(), b"one\n").unwrap();
        assert_eq!(read_lines(file.path()).unwrap().len(), 1);
    }
}
