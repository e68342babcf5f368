//! Windows from CSV: a header, `timestamp` first, then one column per series; an empty cell is a missing value.

use super::{Columnist, SERIES_MAX, VALUES_MAX, Window, timestamp};
use crate::detector::keys::unusable;
use std::io::Read as _;
use std::path::Path;
use vedette_protocol::series::{SeriesKind, SeriesMeta};
use vedette_protocol::worker::SeriesDescriptor;

const FILE_BYTES_MAX: u64 = 256 << 20;
/// Problems that are told; more are only counted.
const PROBLEMS_TOLD: usize = 20;

/// What a file's series are, since a CSV does not say.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct SeriesForm {
    /// UCUM unit of the input's series, `1` for a ratio.
    #[arg(long, default_value = "", value_name = "UNIT")]
    unit: String,
    /// Natural lower bound of the input's series.
    #[arg(long, default_value_t = f64::NAN, value_name = "NUMBER", hide_default_value = true, allow_negative_numbers = true)]
    lower: f64,
    /// Natural upper bound of the input's series.
    #[arg(long, default_value_t = f64::NAN, value_name = "NUMBER", hide_default_value = true, allow_negative_numbers = true)]
    upper: f64,
    /// Smallest difference that the input's source can express; 0 unknown.
    #[arg(long, default_value_t = 0.0, value_name = "NUMBER")]
    resolution: f64,
}

/// Reads a window.
///
/// # Errors
///
/// All problems of the file, each with its line.
pub(crate) fn read(path: &Path, form: &SeriesForm) -> anyhow::Result<Window> {
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(|error| unusable(path, &error))?;
    file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text).map_err(|error| unusable(path, &error))?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(unusable(path, &format!("over the limit of {FILE_BYTES_MAX} bytes")).into());
    }
    parse(&text, form).map_err(|problems| unusable(path, &told(&problems)).into())
}

fn told(problems: &[String]) -> String {
    let mut lines: Vec<_> = problems.iter().take(PROBLEMS_TOLD).cloned().collect();
    if problems.len() > PROBLEMS_TOLD {
        lines.push(format!("and {} more", problems.len() - PROBLEMS_TOLD));
    }
    lines.join("\n")
}

fn parse(text: &str, form: &SeriesForm) -> Result<Window, Vec<String>> {
    let mut rows = text.lines().enumerate().map(|(index, line)| (index + 1, line.trim_end_matches('\r')));
    let names = header(rows.next().map_or("", |(_, line)| line))?;
    let mut problems = Vec::new();
    let (mut columns, mut times, mut values) = (Columnist::default(), Vec::new(), 0);
    for (line, row) in rows.filter(|(_, row)| !row.trim().is_empty()) {
        let mut cells = row.split(',').map(str::trim);
        let time = cells.next().unwrap_or_default();
        match timestamp::parse(time) {
            None => problems.push(format!("line {line}: {time:?} is no time: expected RFC 3339 in UTC, or a number of seconds or milliseconds since 1970")),
            Some(at_ms) if times.last().is_some_and(|before| at_ms <= *before) => {
                problems.push(format!("line {line}: the time is not after that of the row before"));
            }
            Some(at_ms) => times.push(at_ms),
        }
        columns.begin_tick();
        let mut count = 0;
        for (series, cell) in cells.enumerate() {
            count += 1;
            if cell.is_empty() || series >= names.len() {
                continue;
            }
            match cell.parse::<f64>() {
                Ok(value) => columns.value(series, times.last().copied().unwrap_or(0), value, 0),
                Err(_) => problems.push(format!("line {line}: {cell:?} in column {:?} is no number", names[series])),
            }
            values += 1;
        }
        if count != names.len() {
            problems.push(format!("line {line}: {count} values for {} columns", names.len()));
        }
        if values > VALUES_MAX {
            problems.push(format!("line {line}: over the limit of {VALUES_MAX} values"));
            break;
        }
    }
    if times.is_empty() && problems.is_empty() {
        problems.push("there is no row after the header".to_owned());
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let interval_ms = interval_ms(&times);
    let series = (0_u32..).zip(&names).map(|(id, name)| descriptor(id, name, interval_ms, form)).collect();
    Ok(Window { series, ticks: columns.ticks })
}

pub(super) fn header(line: &str) -> Result<Vec<String>, Vec<String>> {
    let names: Vec<_> = line.trim_start_matches('\u{feff}').split(',').map(|name| name.trim().to_owned()).collect();
    let problem = match () {
        () if names[0] != "timestamp" => "the header must begin with `timestamp`".to_owned(),
        () if names.len() < 2 => "the header names no series after `timestamp`".to_owned(),
        () if names.len() - 1 > SERIES_MAX => format!("over the limit of {SERIES_MAX} series"),
        () => match names.iter().enumerate().find(|(at, name)| name.is_empty() || names[..*at].contains(name)) {
            Some((_, name)) => format!("the column name {name:?} is empty or stands twice"),
            None => return Ok(names[1..].to_vec()),
        },
    };
    Err(vec![format!("line 1: {problem}")])
}

/// The median time between rows.
pub(crate) fn interval_ms(times: &[u64]) -> u32 {
    let mut steps: Vec<_> = times.windows(2).map(|pair| pair[1].saturating_sub(pair[0])).collect();
    steps.sort_unstable();
    steps.get(steps.len() / 2).map_or(1_000, |step| u32::try_from(*step).unwrap_or(u32::MAX))
}

/// A column as a series.
pub(crate) fn descriptor(id: u32, name: &str, interval_ms: u32, form: &SeriesForm) -> SeriesDescriptor {
    let meta = SeriesMeta {
        metric: name.to_owned(),
        unit: form.unit.clone(),
        kind: SeriesKind::Gauge,
        attributes: Vec::new(),
        resolution: form.resolution,
        lower: form.lower,
        upper: form.upper,
    };
    SeriesDescriptor { id, key: meta.key(), meta, interval_ms, prior: Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vedette_protocol::worker::flags::GAP;

    fn form() -> SeriesForm {
        SeriesForm { unit: "1".to_owned(), lower: 0.0, upper: 1.0, resolution: 0.0 }
    }

    #[test]
    fn columns_carry_times_since_the_previous_value_and_gaps() {
        let text = "timestamp,a,b\r\n0,0.1,1\r\n1,,2\r\n2,0.3,\r\n2.5,0.4,5\r\n";
        let window = parse(text, &form()).unwrap();
        let column = |at: usize| (&*window.ticks[at].ids, &*window.ticks[at].dt_ms, &*window.ticks[at].flags);
        assert_eq!(column(0), (&[0, 1][..], &[0, 0][..], &[0, 0][..]));
        assert_eq!(column(1), (&[1][..], &[1_000][..], &[0][..]));
        assert_eq!(column(2), (&[0][..], &[2_000][..], &[GAP][..]));
        assert_eq!(column(3), (&[0, 1][..], &[500, 1_500][..], &[0, GAP][..]));
        assert_eq!((window.values(), window.series[1].interval_ms), (6, 1_000));
    }

    #[test]
    fn all_problems_are_told_with_their_lines() {
        let text = "timestamp,value\n1,2\n1,3\nnever,4\n5,x\n6,1,2\n";
        let problems = parse(text, &form()).unwrap_err();
        let lines: Vec<_> = problems.iter().map(|problem| &problem[..7]).collect();
        assert_eq!(lines, ["line 3:", "line 4:", "line 5:", "line 6:"], "{problems:?}");
    }

    #[test]
    fn a_bad_header_or_an_empty_file_is_refused() {
        for text in ["", "time,value\n1,2", "timestamp\n1", "timestamp,a,a\n1,2,3", "timestamp,\n1,2", "timestamp,a\n"]
        {
            assert_eq!(parse(text, &form()).unwrap_err().len(), 1, "{text:?}");
        }
    }
}
