//! CSV with `timestamp,value` and perhaps a label: what NAB, Microsoft's set and the KPIs have in common.

use super::super::keys::unusable;
use super::bench::{Missing, median, number};
use super::stamp;
use std::path::{Path, PathBuf};

/// Largest file and longest line that are read.
const FILE_BYTES_MAX: u64 = 256 << 20;
const LINE_BYTES_MAX: usize = 4_096;
/// The interval is known from so many first times; a source of an agent knows it from its configuration.
const FIRST_TIMES: usize = 17;
/// Interval of a series too short to have one.
const INTERVAL_MS: u32 = 60_000;

/// One series as it stands in a file.
#[derive(Debug, PartialEq)]
pub(crate) struct Series {
    /// Times, verbatim.
    pub(crate) stamps: Vec<String>,
    /// The same in milliseconds since 1970.
    pub(crate) times_ms: Vec<i64>,
    /// Values, verbatim.
    pub(crate) texts: Vec<String>,
    /// Values; NaN where there is none.
    pub(crate) values: Vec<f64>,
    /// Rows labelled as an anomaly, if the file has labels.
    pub(crate) labels: Option<Vec<bool>>,
}

impl Series {
    /// Usual time between two rows in milliseconds: the median over the first times.
    pub(crate) fn interval_ms(&self) -> u32 {
        let first = &self.times_ms[..self.times_ms.len().min(FIRST_TIMES)];
        let gaps = first.windows(2).map(|two| two[1].saturating_sub(two[0])).filter(|gap| *gap > 0);
        let gaps: Vec<f64> = gaps.filter_map(|gap| u32::try_from(gap).ok()).map(f64::from).collect();
        let usual = median(gaps);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a median of u32s")]
        if usual.is_nan() { INTERVAL_MS } else { usual as u32 }
    }

    /// Rows that are no basis for a judgement: the first 15 %, at most 750, as NAB counts.
    pub(crate) fn probation(&self) -> usize {
        probation(self.values.len())
    }
}

/// Rows of a file's beginning that NAB ignores: 15 %, at most 750.
pub(crate) fn probation(rows: usize) -> usize {
    (rows * 15 / 100).min(750)
}

/// Reads a file.
///
/// # Errors
///
/// `UnusableFile`, naming file and line, if it is too large, its header lacks time or value, or a row is malformed.
pub(crate) fn read(path: &Path) -> anyhow::Result<Series> {
    let size = std::fs::metadata(path).map_err(|error| unusable(path, &error))?.len();
    if size > FILE_BYTES_MAX {
        return Err(unusable(path, &format!("{size} bytes are over the limit of {FILE_BYTES_MAX}")).into());
    }
    let text = std::fs::read_to_string(path).map_err(|error| unusable(path, &error))?;
    parse(&text).map_err(|(line, reason)| unusable(path, &format!("line {line}: {reason}")).into())
}

fn parse(text: &str) -> Result<Series, (usize, String)> {
    let mut lines = text.trim_start_matches('\u{feff}').lines().enumerate();
    let header = lines.next().map(|(_, line)| fields(line)).unwrap_or_default();
    let column = |name: &str| header.iter().position(|field| field.eq_ignore_ascii_case(name));
    let missing = |name: &str| (1, format!("the header has no {name:?}; it must be timestamp,value or with a label"));
    let time = column("timestamp").ok_or_else(|| missing("timestamp"))?;
    let value = column("value").ok_or_else(|| missing("value"))?;
    let label = column("label");
    let mut series = Series {
        stamps: Vec::new(),
        times_ms: Vec::new(),
        texts: Vec::new(),
        values: Vec::new(),
        labels: label.map(|_| Vec::new()),
    };
    for (at, line) in lines.filter(|(_, line)| !line.trim().is_empty()) {
        let wrong = |reason: String| (at + 1, reason);
        if line.len() > LINE_BYTES_MAX {
            return Err(wrong(format!("longer than {LINE_BYTES_MAX} bytes")));
        }
        let row = fields(line);
        if row.len() < header.len().min(time.max(value) + 1) {
            return Err(wrong(format!("{} fields, the header has {}", row.len(), header.len())));
        }
        let ms = stamp::parse(row[time]).ok_or_else(|| wrong(format!("{:?} is no time", row[time])))?;
        series.stamps.push(row[time].to_owned());
        series.times_ms.push(ms);
        series.texts.push(row[value].to_owned());
        series.values.push(parse_value(row[value]).ok_or_else(|| wrong(format!("{:?} is no number", row[value])))?);
        if let (Some(labels), Some(label)) = (&mut series.labels, label) {
            labels.push(row.get(label).is_some_and(|text| text.parse::<f64>().is_ok_and(|one| one > 0.0)));
        }
    }
    if series.values.is_empty() { Err((1, "no rows".to_owned())) } else { Ok(series) }
}

/// Fields of a line, without the quotes around them; none of these sets quotes a comma.
fn fields(line: &str) -> Vec<&str> {
    line.split(',').map(|field| field.trim().trim_matches('"').trim()).collect()
}

fn parse_value(text: &str) -> Option<f64> {
    if text.is_empty() || ["nan", "null", "na"].iter().any(|none| text.eq_ignore_ascii_case(none)) {
        return Some(f64::NAN);
    }
    text.parse().ok()
}

/// Files `<category>/<name>.csv` under the first of these folders that has any, sorted: folder, category and name.
pub(crate) fn find(what: &'static str, places: &[PathBuf]) -> Result<Vec<Found>, Missing> {
    for place in places {
        let mut found: Vec<Found> =
            folders(place).into_iter().flat_map(|category| csv_files(place, &category)).collect();
        found.sort();
        if !found.is_empty() {
            return Ok(found);
        }
    }
    let looked = places.iter().map(|place| place.join("*/*.csv")).collect();
    Err(Missing { what, looked })
}

/// A file of a set.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Found {
    /// Folder below the set's.
    pub(crate) category: String,
    /// File name, extension included.
    pub(crate) file: String,
    /// Where it is.
    pub(crate) path: PathBuf,
}

impl Found {
    /// `category/file`, as labels and plots name it.
    pub(crate) fn name(&self) -> String {
        format!("{}/{}", self.category, self.file)
    }
}

/// CSV files of one category.
pub(crate) fn csv_files(place: &Path, category: &str) -> Vec<Found> {
    let entries = std::fs::read_dir(place.join(category)).into_iter().flatten().flatten();
    let files = entries.map(|entry| entry.path()).filter(|path| path.is_file());
    let csv = files.filter(|path| path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("csv")));
    let named = csv.filter_map(|path| Some((path.file_name()?.to_str()?.to_owned(), path)));
    named.map(|(file, path)| Found { category: category.to_owned(), file, path }).collect()
}

fn folders(place: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(place).into_iter().flatten().flatten();
    let folders = entries.filter(|entry| entry.path().is_dir());
    folders.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

/// Days that rows of this interval last.
pub(crate) fn days(rows: usize, interval_ms: u32) -> f64 {
    number(rows) * f64::from(interval_ms) / 86_400_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_line_ends_gaps_and_labels_are_read() {
        let text = "\u{feff}\"TimeStamp\",\"Value\",\"Label\"\r\n\"2018-01-01T00:00:00Z\",\"1.50\",0\r\n\
                    2018-01-01T00:05:00Z,,1\r\n\r\n2018-01-01T00:10:00Z,2,0";
        let series = parse(text).unwrap();
        assert_eq!(series.stamps[0], "2018-01-01T00:00:00Z");
        assert_eq!((series.texts[0].as_str(), series.values[0]), ("1.50", 1.5));
        assert!(series.values[1].is_nan());
        assert_eq!(series.labels, Some(vec![false, true, false]));
        assert_eq!(series.interval_ms(), 300_000);
    }

    #[test]
    fn malformed_rows_are_named_by_line() {
        let line = |text: &str| parse(text).unwrap_err().0;
        assert_eq!(line("timestamp,value\n2018-01-01 00:00:00,1\n2018-01-01 00:05:00,one"), 3);
        assert_eq!(line("timestamp,value\nsoon,1"), 2);
        assert_eq!(line("timestamp,value\n2018-01-01 00:00:00"), 2);
        assert_eq!(line("time,height\n1,2"), 1);
        assert_eq!(line("timestamp,value\n"), 1);
    }

    #[test]
    fn interval_is_the_usual_one_of_the_first_rows() {
        let stamps = ["00:00:00", "00:05:00", "00:04:00", "00:09:00", "02:00:00", "02:05:00"];
        let rows: Vec<_> = stamps.iter().map(|clock| format!("2018-01-01 {clock},1")).collect();
        let series = parse(&format!("timestamp,value\n{}", rows.join("\n"))).unwrap();
        assert_eq!(series.interval_ms(), 300_000);
        assert_eq!(parse("timestamp,value\n2018-01-01 00:00:00,1").unwrap().interval_ms(), INTERVAL_MS);
    }

    #[test]
    fn probation_is_fifteen_per_cent_up_to_750_rows() {
        assert_eq!((probation(4_032), probation(22_695), probation(3)), (604, 750, 0));
    }
}
