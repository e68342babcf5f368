//! A detector over a file: scores out row by row, and pictures. As an agent would judge it, in a confined worker.

mod sheet;
mod tops;

use super::keys::unusable;
use super::module::{Module, ModuleArgs};
use super::plot::{self, Panel, Strip};
use super::replay::parameter;
use super::runner::{self, Guest, Place, Runner as _};
use super::window::{Row, Rows, SeriesForm, descriptor, interval_ms};
use anyhow::{Context as _, ensure};
use sheet::{Format, Sheet};
use std::collections::VecDeque;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::ExitCode;
use tops::{Top, Tops};
use vedette_protocol::worker::{Columns, DetectorDescription, DetectorInput, flags};

const EXAMPLES: &str = "Examples:
  vedette detector run spike.wasm --input cpu.csv --draw --out scores.csv
  vedette detector run pairs/spike --input cpu.csv --plot cpu.svg --output json > scores.jsonl
  vedette detector run spike.wasm --input - --unit By/s --lower 0 --parameter memory-s=60 < net.csv

The input is CSV: `timestamp` (RFC 3339 in UTC, or seconds or milliseconds since 1970), then a column for each series; an
empty cell is a missed value. Scores as CSV: each column, then NAME_score, `NaN` while learning. As JSON: one object a
line. Files are streamed: their length has no limit.";

/// Most series with a picture of their own: those with the highest scores.
const PANELS_MAX: usize = 24;
/// Most series of a picture in the terminal.
const DRAWN_MAX: usize = 4;
const DRAWN_WIDTH: usize = 100;
/// Rows that are looked at to find the interval.
const PEEKED_ROWS: usize = 64;
/// A picture's memory for each of many columns adds up.
const SERIES_MAX: usize = 1_000;

/// Arguments of `detector run`.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    module: ModuleArgs,
    /// CSV with `timestamp` and a column for each series; `-` reads standard input.
    #[arg(long, value_name = "FILE")]
    input: PathBuf,
    #[command(flatten)]
    form: SeriesForm,
    /// A parameter; the rest keep their defaults. Can be repeated.
    #[arg(long = "parameter", value_name = "NAME=NUMBER", value_parser = parameter)]
    parameters: Vec<(String, f64)>,
    /// File for the scores; by default standard output.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Form of the scores.
    #[arg(long, value_enum, default_value_t = Format::Csv)]
    output: Format,
    /// Draws values and scores into this SVG file.
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
    /// Draws values and scores on standard error, for a terminal.
    #[arg(long)]
    draw: bool,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let module = Module::load(&args.module)?;
    let place = Place::Confined(&module.cwasm);
    let described = runner::describe(&module.cwasm, &args.parameters)?;
    let bad = |problem: String| unusable(&args.input, &problem);
    let mut rows = Rows::new(input(args)?).map_err(bad)?;
    ensure!(rows.names().len() <= SERIES_MAX, bad(format!("over the limit of {SERIES_MAX} columns")));
    let mut peeked = VecDeque::new();
    while peeked.len() < PEEKED_ROWS {
        let Some(row) = rows.next_row().map_err(bad)? else { break };
        peeked.push_back(row);
    }
    ensure!(!peeked.is_empty(), bad("there is no row after the header".to_owned()));
    let interval_ms = interval_ms(&peeked.iter().map(|row| row.at_ms).collect::<Vec<_>>()).max(1);
    let mut guest = place.module(&args.parameters)?;
    let told: Vec<_> =
        (0_u32..).zip(rows.names()).map(|(id, name)| descriptor(id, name, interval_ms, &args.form)).collect();
    guest.add(&told)?;
    let mut sheet = Sheet::create(args.out.as_deref(), args.output, rows.names())?;
    let mut judge = Judge::new(guest, rows.names().len(), interval_ms, described.input);
    loop {
        let row = match peeked.pop_front() {
            Some(row) => Some(row),
            None => rows.next_row().map_err(bad)?,
        };
        let Some(row) = row else { break };
        let scores = judge.row(&row)?;
        if !sheet.row(&row, &scores)? {
            // Whoever read the scores has seen enough.
            return Ok(ExitCode::SUCCESS);
        }
    }
    sheet.finish()?;
    picture(args, &described, rows.names(), &judge)?;
    eprint!("{}", judge.summary(&described, rows.names()));
    Ok(ExitCode::SUCCESS)
}

fn input(args: &Args) -> anyhow::Result<Box<dyn BufRead>> {
    if args.input.as_os_str() == "-" {
        return Ok(Box::new(BufReader::new(std::io::stdin())));
    }
    let file = std::fs::File::open(&args.input).map_err(|error| unusable(&args.input, &error))?;
    Ok(Box::new(BufReader::with_capacity(1 << 16, file)))
}

/// The series with the highest scores, highest first.
fn most_surprising(strips: &[Strip], count: usize) -> Vec<usize> {
    let mut order: Vec<_> = (0..strips.len()).collect();
    order.sort_by(|a, b| strips[*b].highest_score().total_cmp(&strips[*a].highest_score()));
    order.truncate(count);
    order
}

fn picture(args: &Args, described: &DetectorDescription, names: &[String], judge: &Judge) -> anyhow::Result<()> {
    if let Some(path) = &args.plot {
        let order = most_surprising(&judge.strips, PANELS_MAX);
        let panels: Vec<_> =
            order.iter().map(|at| Panel { name: &names[*at], strip: &judge.strips[*at], windows: &[] }).collect();
        let more = names.len().saturating_sub(PANELS_MAX);
        let more = if more > 0 { format!(" ({more} quieter series are not drawn)") } else { String::new() };
        let title = format!("{} {} on {}{more}", described.name, described.version, args.input.display());
        std::fs::write(path, plot::svg(&title, &panels)).map_err(|error| unusable(path, &error))?;
    }
    if args.draw {
        for at in most_surprising(&judge.strips, DRAWN_MAX) {
            eprintln!("{}", plot::terminal(&names[at], &judge.strips[at], DRAWN_WIDTH));
        }
    }
    Ok(())
}

/// The detector and what is remembered for the end.
struct Judge {
    guest: Guest,
    interval_ms: u32,
    input: DetectorInput,
    last_ms: Vec<Option<u64>>,
    strips: Vec<Strip>,
    tops: Tops,
    rows: u64,
    values: u64,
    judged: u64,
    guest_ns: u64,
    /// Rows whose time is not after that of the row before, and the first one's line.
    clock_steps: (u64, u64),
    /// Cells that hold no finite number, taken as missed.
    not_finite: u64,
}

impl Judge {
    fn new(guest: Guest, series: usize, interval_ms: u32, input: DetectorInput) -> Self {
        Self {
            guest,
            interval_ms,
            input,
            last_ms: vec![None; series],
            strips: vec![Strip::new(interval_ms); series],
            tops: Tops::default(),
            rows: 0,
            values: 0,
            judged: 0,
            guest_ns: 0,
            clock_steps: (0, 0),
            not_finite: 0,
        }
    }

    /// Scores of a row: none where there was no value.
    fn row(&mut self, row: &Row) -> anyhow::Result<Vec<Option<f32>>> {
        let columns = self.columns(row);
        let (scores, guest_ns) =
            self.guest.observe(&columns).with_context(|| format!("at line {} of the input", row.line))?;
        self.rows += 1;
        self.values += scores.len() as u64;
        self.judged += scores.iter().filter(|score| !score.is_nan()).count() as u64;
        self.guest_ns += guest_ns.unwrap_or(0);
        let mut all = vec![None; row.cells.len()];
        for ((id, value), score) in columns.ids.iter().zip(&columns.values).zip(&scores) {
            let series = *id as usize;
            all[series] = Some(*score);
            self.strips[series].push(row.at_ms, *value, *score);
            if self.tops.wants(series, row.at_ms, *score) {
                let why = self.guest.explain(&[*id])?.first().copied();
                let top = Top { series, at_ms: row.at_ms, time: row.time.clone(), value: *value, score: *score, why };
                self.tops.take(top);
            }
        }
        Ok(all)
    }

    fn columns(&mut self, row: &Row) -> Columns {
        let mut columns = Columns::default();
        let mut stepped = false;
        for (id, (cell, last_ms)) in (0_u32..).zip(row.cells.iter().zip(&mut self.last_ms)) {
            let Some(value) = cell else { continue };
            if !value.is_finite() {
                self.not_finite += 1;
                continue;
            }
            let dt_ms = last_ms.map_or(0, |last| row.at_ms.saturating_sub(last));
            stepped |= last_ms.is_some_and(|last| row.at_ms <= last);
            *last_ms = Some(row.at_ms);
            columns.ids.push(id);
            columns.dt_ms.push(u32::try_from(dt_ms).unwrap_or(u32::MAX));
            // Half an interval late is jitter.
            let gap = dt_ms > u64::from(self.interval_ms) * 3 / 2;
            columns.flags.push(if gap { flags::GAP } else { 0 });
            columns.values.push(match self.input {
                DetectorInput::Metrics | DetectorInput::Votes | DetectorInput::Seasonal | DetectorInput::Timeless => {
                    *value
                }
                DetectorInput::LogTemplates => value.max(0.0).round(),
            });
        }
        if stepped {
            self.clock_steps =
                (self.clock_steps.0 + 1, if self.clock_steps.0 == 0 { row.line } else { self.clock_steps.1 });
        }
        columns
    }

    fn summary(&self, described: &DetectorDescription, names: &[String]) -> String {
        let mut text = format!(
            "{} {}: {} rows, {} values, {} judged, interval {} ms",
            described.name, described.version, self.rows, self.values, self.judged, self.interval_ms
        );
        if let Some(ns) = self.guest_ns.checked_div(self.values) {
            text.push_str(&format!(", {ns} ns a value inside the module"));
        }
        text.push('\n');
        if self.clock_steps.0 > 0 {
            let (count, line) = self.clock_steps;
            text.push_str(&format!(
                "{count} row(s), the first in line {line}, are not after the row before: judged with no time between\n"
            ));
        }
        if self.not_finite > 0 {
            text.push_str(&format!("{} cell(s) hold no finite number: taken as missed\n", self.not_finite));
        }
        text + &self.tops.table(names)
    }
}
