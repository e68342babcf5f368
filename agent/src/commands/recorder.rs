//! `recorder`: what the flight recorder holds: on disk, whether the agent runs or not, and in a running agent's memory
//! what is not there yet. Reads, never writes there.

mod missing;
mod picture;

use super::{Failure, load_config, print, printed, without_controls};
use crate::args::{ExportForm, ExportRecorderArguments, Output, RecorderCommand, ShowRecorderArguments};
use crate::clock::wall_now;
use crate::recorder::read::{RecordedSeries, Recording, Told, Wanted, read};
use crate::recorder::{DiskView, FOLDER};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs::{OpenOptions, Permissions};
use std::io::{self, BufWriter, Write as _};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use vedette_protocol::document::parse_duration_ms;
use vedette_protocol::time::WallTime;

/// Series that `recorder show` draws.
const SHOWN_MAX: usize = 40;

pub(super) fn run(command: &RecorderCommand) -> Result<(), Failure> {
    match command {
        RecorderCommand::Status { config, output } => status(&config.config, *output),
        RecorderCommand::Show(arguments) => show(arguments),
        RecorderCommand::Export(arguments) => export(arguments),
    }
}

fn status(config: &Path, output: Output) -> Result<(), Failure> {
    // No sample, but of all blocks when they begin and end.
    let asked = Wanted { lines: false, ..Wanted::ALL };
    let mut found = recorded(config, &Wanted { begin_ms: i64::MAX, ..asked.clone() }, asked)?;
    let Found { folder, recording, .. } = &found;
    let span = recording.span_ms.map(|(begin, end)| (time(begin), time(end)));
    match output {
        Output::Json => {
            let (begin, end) = span.unzip();
            let told = json!({ "folder": folder, "bytes": recording.bytes, "begin": begin, "end": end,
                               "segments_damaged": recording.damaged, "missing": found.missing(&Wanted::ALL) });
            print(&format!("{told}\n"))?;
        }
        Output::Human => {
            let mut text = match span {
                Some((begin, end)) => format!("recorded    {begin} to {end}\n"),
                None => "recorded    nothing yet\n".to_owned(),
            };
            let _ = writeln!(text, "on disk     {} KiB in {}", recording.bytes.div_ceil(1024), folder.display());
            if recording.damaged > 0 {
                let _ = writeln!(text, "DAMAGED     {} segments could not be read to their end", recording.damaged);
            }
            for why in found.missing(&Wanted::ALL) {
                let _ = writeln!(text, "MISSING     {why}");
            }
            text.push_str("see         vedette-agent recorder show, vedette-agent recorder export\n");
            print(&without_controls(&text))?;
        }
    }
    found.report()
}

fn show(arguments: &ShowRecorderArguments) -> Result<(), Failure> {
    let wanted = wanted(&arguments.window)?;
    let found = recorded(&arguments.window.config.config, &wanted, wanted.clone())?;
    let mut found = found.with_samples(&wanted)?;
    print(&without_controls(&drawn(&found.recording.series, arguments.width)))?;
    found.report()
}

/// Pictures of the first series that have points, and how many more there are.
fn drawn(series: &[RecordedSeries], width: usize) -> String {
    let with_points = || series.iter().filter(|one| !one.points.is_empty());
    let mut text: String = with_points().take(SHOWN_MAX).map(|one| picture::picture(one, width)).collect();
    let more = with_points().count().saturating_sub(SHOWN_MAX);
    if more > 0 {
        let _ = writeln!(text, "and {more} more series: narrow them with `--series`");
    }
    text
}

fn export(arguments: &ExportRecorderArguments) -> Result<(), Failure> {
    let wanted = Wanted { lines: matches!(arguments.format, ExportForm::Json), ..wanted(&arguments.window)? };
    let found = recorded(&arguments.window.config.config, &wanted, wanted.clone())?;
    let mut found = found.with_samples(&wanted)?;
    let recording = &found.recording;
    let write = |out: &mut dyn io::Write| match arguments.format {
        ExportForm::Csv => write_csv(out, &recording.series),
        ExportForm::Json => writeln!(out, "{}", as_json(recording)),
    };
    match &arguments.out {
        None => printed(write(&mut BufWriter::new(io::stdout().lock())))?,
        Some(out) => write_private(out, write).map_err(|error| Failure::io(out.display(), &error))?,
    }
    found.report()
}

/// What was recorded is for the eyes of who exports it, whoever could read the file that was there before. A pipe or a
/// device stays as it is.
fn write_private(out: &Path, write: impl FnOnce(&mut dyn io::Write) -> io::Result<()>) -> io::Result<()> {
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(out)?;
    if file.metadata()?.is_file() {
        file.set_permissions(Permissions::from_mode(0o600))?;
    }
    let mut file = BufWriter::new(file);
    write(&mut file)?;
    file.flush()
}

/// What there is of what was wanted.
#[derive(Debug)]
struct Found {
    folder: PathBuf,
    recording: Recording,
    /// What a running agent says of its disk.
    disk: Option<DiskView>,
    /// Why what the disk holds, or what a running agent has in memory alone, is not there.
    failed: Vec<Failure>,
}

/// What the disk holds of what is wanted, and what a running agent has of what it is `asked` for.
fn recorded(config: &Path, wanted: &Wanted, asked: Wanted) -> Result<Found, Failure> {
    let config = load_config(config)?;
    let folder = config.data_dir.join(FOLDER);
    // A block that comes to disk between the two is in both.
    let mut failed = Vec::new();
    let told = missing::ask(&config.socket, asked).unwrap_or_else(|failure| {
        failed.push(failure);
        None
    });
    if let Some(told) = &told {
        failed.extend(missing::untold(told, wanted, &config.socket));
    }
    let told = told.unwrap_or_default();
    let mut recording = match read(&folder, wanted) {
        Ok(recording) => recording,
        Err(error) if error.kind() == io::ErrorKind::FileTooLarge => return Err(Failure::io(folder.display(), &error)),
        Err(error) => {
            failed.extend((error.kind() != io::ErrorKind::NotFound).then(|| Failure::io(folder.display(), &error)));
            Recording::default()
        }
    };
    if told.left_out > 0 && wanted.begin_ms < i64::MAX {
        let left_out = told.left_out;
        say(&format!(
            "the oldest {left_out} samples that are in the agent's memory alone are left out: ask for fewer series or a \
             shorter time"
        ));
    }
    if told.lines_left_out > 0 {
        let left_out = told.lines_left_out;
        say(&format!(
            "the oldest {left_out} log lines that are in the agent's memory alone are left out: ask for a shorter time"
        ));
    }
    recording.add(told.series, wanted);
    recording.add_lines(told.lines.unwrap_or_default());
    Ok(Found { folder, recording, disk: told.disk, failed })
}

impl Found {
    /// Why samples of this time are missing, a sentence each.
    fn missing(&self, wanted: &Wanted) -> Vec<String> {
        self.disk.iter().flat_map(|disk| missing::reasons(disk, (wanted.begin_ms, wanted.end_ms))).collect()
    }

    /// Says why some are missing; an error if there are none at all.
    fn with_samples(mut self, wanted: &Wanted) -> Result<Self, Failure> {
        self.missing(wanted).iter().for_each(|why| say(why));
        if self.recording.series.iter().any(|one| !one.points.is_empty()) {
            return Ok(self);
        }
        self.report()?;
        let there = match self.recording.span_ms {
            Some((begin, end)) => format!("it holds {} to {}", time(begin), time(end)),
            None => "it holds nothing: does the agent run, with `[recorder] disk-bytes` above 0?".to_owned(),
        };
        let folder = self.folder.display();
        Err(Failure::failed(format!("no sample in {folder} is of that time and those series\n{there}")))
    }

    /// Once what there is was shown: a part of it that could not be had is a failure.
    fn report(&mut self) -> Result<(), Failure> {
        let last = self.failed.pop();
        self.failed.iter().for_each(|failure| say(&failure.text));
        last.map_or(Ok(()), Err)
    }
}

/// Not among the samples, which may go to a file.
fn say(text: &str) {
    // Without stderr nobody wants to know.
    let _ = writeln!(io::stderr(), "{}", without_controls(text));
}

fn wanted(window: &crate::args::RecordedWindow) -> Result<Wanted, Failure> {
    let now_ms = wall_now().unix_ms();
    let (begin_ms, end_ms) = (moment(&window.from, now_ms)?, moment(&window.to, now_ms)?);
    if begin_ms > end_ms {
        return Err(Failure::usage("`--from` is after `--to`"));
    }
    Ok(Wanted { begin_ms, end_ms, series: window.series.clone(), lines: false })
}

/// `now`, a time after RFC 3339, or how long ago.
fn moment(text: &str, now_ms: i64) -> Result<i64, Failure> {
    if text == "now" {
        return Ok(now_ms);
    }
    let ago = parse_duration_ms(text).and_then(|ms| Some(now_ms.saturating_sub(i64::try_from(ms).ok()?)));
    let at = || text.parse::<WallTime>().ok().map(WallTime::unix_ms);
    ago.or_else(at).ok_or_else(|| {
        Failure::usage(format!(
            "{text:?} is no time: write how long ago (\"30m\", \"6h\"), \"now\", or 2026-11-20T10:00:00Z"
        ))
    })
}

fn time(ms: i64) -> String {
    WallTime::from_unix_ms(ms).to_string()
}

/// One row a second, as `vedette detector run` reads it: sources are read within a second of each other, and none more
/// often. The last value of a second counts. Points are in the order of their times.
fn write_csv(out: &mut dyn io::Write, series: &[RecordedSeries]) -> io::Result<()> {
    let series: Vec<_> = series.iter().filter(|one| !one.points.is_empty()).collect();
    let mut taken = BTreeSet::new();
    write!(out, "timestamp")?;
    series.iter().try_for_each(|one| write!(out, ",{}", column(one, &mut taken)))?;
    writeln!(out)?;
    let mut left: Vec<&[(i64, f64)]> = series.iter().map(|one| one.points.as_slice()).collect();
    let second_of = |point: &(i64, f64)| point.0.div_euclid(1_000);
    while let Some(second) = left.iter().filter_map(|points| points.first().map(second_of)).min() {
        write!(out, "{second}")?;
        for points in &mut left {
            let within = points.iter().take_while(|point| second_of(point) <= second).count();
            let (row, later) = points.split_at(within);
            *points = later;
            match row.last() {
                Some((_, value)) => write!(out, ",{value}")?,
                None => write!(out, ",")?,
            }
        }
        writeln!(out)?;
    }
    out.flush()
}

/// A name without what separates columns or rows, unlike every other.
fn column(one: &RecordedSeries, taken: &mut BTreeSet<String>) -> String {
    let plain = |c: char| if c == ',' { ';' } else { c };
    let name = one.meta.display_name();
    let name: String = name.chars().filter(|c| !c.is_control()).map(plain).collect();
    let other = (2..).map(|n| format!("{name}#{n}"));
    let name = std::iter::once(name.clone()).chain(other).find(|name| !taken.contains(name)).unwrap_or_default();
    taken.insert(name.clone());
    name
}

fn as_json(recording: &Recording) -> Value {
    let series = recording.series.iter().filter(|one| !one.points.is_empty()).map(|one| {
        let attributes: serde_json::Map<_, _> =
            one.meta.attributes.iter().map(|(key, value)| (key.clone(), value.as_str().into())).collect();
        json!({ "name": one.meta.metric, "unit": one.meta.unit, "attributes": attributes, "points": one.points })
    });
    let lines =
        recording.lines.iter().map(|line| json!({ "at": time(line.at_ms), "log": line.source, "text": line.text }));
    json!({ "series": series.collect::<Vec<_>>(), "lines": lines.collect::<Vec<_>>(),
            "segments_damaged": recording.damaged })
}

#[cfg(test)]
mod tests {
    use super::*;
    use vedette_protocol::series::{SeriesKind, SeriesMeta};

    fn series(name: &str, attributes: &[(&str, &str)], points: &[(i64, f64)]) -> RecordedSeries {
        let attributes = attributes.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let meta = SeriesMeta {
            metric: name.to_owned(),
            unit: "1".to_owned(),
            kind: SeriesKind::Gauge,
            attributes,
            resolution: 0.01,
            lower: f64::NAN,
            upper: f64::NAN,
        };
        RecordedSeries { meta, points: points.to_vec() }
    }

    #[test]
    fn csv_has_a_row_a_second_and_no_comma_in_a_name() {
        let cpu = [("cpu", "0"), ("mode", "user")];
        let all = [
            series("cpu", &cpu, &[(1_000, 0.25), (2_003, 0.5)]),
            series("load", &[], &[(1_999, 1.5)]),
            series("none", &[], &[]),
        ];
        let mut csv = Vec::new();
        write_csv(&mut csv, &all).expect("memory takes it");
        assert_eq!(String::from_utf8_lossy(&csv), "timestamp,cpu{cpu=\"0\";mode=\"user\"},load\n1,0.25,1.5\n2,0.5,\n");
        let mut taken = BTreeSet::new();
        assert_eq!([column(&all[1], &mut taken), column(&all[1], &mut taken)], ["load", "load#2"]);
    }

    #[test]
    fn an_export_is_private_whatever_was_there() {
        let folder = tempfile::tempdir().expect("folder");
        let out = folder.path().join("export.csv");
        std::fs::write(&out, "a longer text of before").expect("written");
        std::fs::set_permissions(&out, Permissions::from_mode(0o644)).expect("set");
        write_private(&out, |file| file.write_all(b"new")).expect("written");
        assert_eq!(std::fs::read_to_string(&out).expect("read"), "new");
        assert_eq!(std::fs::metadata(&out).expect("there").permissions().mode() & 0o777, 0o600);
        write_private(Path::new("/dev/null"), |file| file.write_all(b"new")).expect("written");
    }

    #[test]
    fn only_series_that_could_be_drawn_are_counted() {
        let mut all: Vec<_> = (0..SHOWN_MAX).map(|_| series("load", &[], &[(1_000, 1.0)])).collect();
        all.extend((0..9).map(|_| series("none", &[], &[])));
        assert!(!drawn(&all, 40).contains("more series"));
        all.push(series("late", &[], &[(1_000, 1.0)]));
        assert!(drawn(&all, 40).ends_with("and 1 more series: narrow them with `--series`\n"));
    }

    #[test]
    fn moments_are_ago_or_absolute() {
        let now_ms = 1_795_168_800_000;
        let at = |text: &str| moment(text, now_ms).ok();
        assert_eq!(at("now"), Some(now_ms));
        assert_eq!(at("90s"), Some(now_ms - 90_000));
        assert_eq!(at("2026-11-20T10:00:00Z"), Some(now_ms));
        assert_eq!(at("yesterday"), None);
        assert_eq!(at(""), None);
    }
}
