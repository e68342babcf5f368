//! Where scores go, row by row.

use crate::detector::keys::unusable;
use crate::detector::window::Row;
use anyhow::Context as _;
use serde_json::{Map, Value, json};
use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufWriter, ErrorKind, Write};
use std::path::Path;

/// Form of the scores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Format {
    /// Comma-separated values.
    Csv,
    /// One JSON object a line.
    Json,
}

/// A file or standard output.
pub(super) struct Sheet {
    out: BufWriter<Box<dyn Write>>,
    format: Format,
    names: Vec<String>,
    line: String,
}

impl Sheet {
    /// Begins with the header.
    pub(super) fn create(path: Option<&Path>, format: Format, names: &[String]) -> anyhow::Result<Self> {
        let out: Box<dyn Write> = match path {
            Some(path) => Box::new(File::create(path).map_err(|error| unusable(path, &error))?),
            None => Box::new(std::io::stdout()),
        };
        let mut sheet = Self { out: BufWriter::new(out), format, names: names.to_vec(), line: String::new() };
        if format == Format::Csv {
            let names: Vec<_> = names.iter().map(|name| format!("{name},{name}_score")).collect();
            writeln!(sheet.out, "timestamp,{}", names.join(","))?;
        }
        Ok(sheet)
    }

    /// One row; false when nobody reads any more.
    pub(super) fn row(&mut self, row: &Row, scores: &[Option<f32>]) -> anyhow::Result<bool> {
        self.line.clear();
        match self.format {
            Format::Csv => csv(&mut self.line, row, scores),
            Format::Json => json_line(&mut self.line, &self.names, row, scores),
        }
        self.line.push('\n');
        match self.out.write_all(self.line.as_bytes()) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
            written => written.map(|()| true).context("the scores could not be written"),
        }
    }

    /// Writes what is left.
    pub(super) fn finish(mut self) -> anyhow::Result<()> {
        match self.out.flush() {
            Err(error) if error.kind() != ErrorKind::BrokenPipe => {
                Err(error).context("the scores could not be written")
            }
            _ => Ok(()),
        }
    }
}

fn csv(line: &mut String, row: &Row, scores: &[Option<f32>]) {
    line.push_str(&row.time);
    for (value, score) in row.cells.iter().zip(scores) {
        // Writing to a text does not fail.
        let _ = match (value, score) {
            (Some(value), Some(score)) => write!(line, ",{value},{score}"),
            (Some(value), None) => write!(line, ",{value},"),
            (None, _) => write!(line, ",,"),
        };
    }
}

fn json_line(line: &mut String, names: &[String], row: &Row, scores: &[Option<f32>]) {
    // JSON has no NaN: learning is null, a missed value has no entry.
    let scores: Map<_, _> =
        names.iter().zip(scores).filter_map(|(name, score)| Some((name.clone(), number((*score)?)))).collect();
    line.push_str(&json!({"timestamp": row.time, "scores": scores}).to_string());
}

fn number(score: f32) -> Value {
    // Through the shortest text, so that 0.1 is not 0.10000000149.
    serde_json::from_str(&score.to_string()).unwrap_or(Value::Null)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row() -> (Row, Vec<Option<f32>>) {
        let cells = vec![Some(1.5), None, Some(-2.0)];
        (Row { line: 2, time: "2026-11-20 10:00".into(), at_ms: 0, cells }, vec![Some(0.1), None, Some(f32::NAN)])
    }

    #[test]
    fn csv_keeps_time_and_value_beside_the_score() {
        let (row, scores) = row();
        let mut line = String::new();
        csv(&mut line, &row, &scores);
        assert_eq!(line, "2026-11-20 10:00,1.5,0.1,,,-2,NaN");
    }

    #[test]
    fn json_says_null_while_learning_and_nothing_of_missed_values() {
        let (row, scores) = row();
        let mut line = String::new();
        json_line(&mut line, &["a", "b", "c"].map(str::to_owned), &row, &scores);
        assert_eq!(line, r#"{"scores":{"a":0.1,"c":null},"timestamp":"2026-11-20 10:00"}"#);
    }
}
