//! A CSV file row by row: bounded memory, however long the file is. The first bad row is an error with its remedy.

use super::{csv, timestamp};
use std::io::{BufRead, Read as _};

/// Longest line.
const LINE_BYTES_MAX: u64 = 1 << 20;

/// One row.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row {
    /// Its line in the file, from 1.
    pub(crate) line: u64,
    /// The time as it was written.
    pub(crate) time: String,
    /// Milliseconds since 1970.
    pub(crate) at_ms: u64,
    /// A value for each series; none for an empty cell.
    pub(crate) cells: Vec<Option<f64>>,
}

/// A file being read.
pub(crate) struct Rows<R> {
    input: R,
    line: u64,
    names: Vec<String>,
}

impl<R: BufRead> Rows<R> {
    /// Reads the header.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub(crate) fn new(input: R) -> Result<Self, String> {
        let mut rows = Self { input, line: 0, names: Vec::new() };
        let header = rows.next_line()?.unwrap_or_default();
        rows.names = csv::header(&header).map_err(|problems| {
            format!("{}: expected `timestamp`, then a name for each column of numbers", problems.join("; "))
        })?;
        Ok(rows)
    }

    /// Names of the series.
    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }

    /// The next row, `None` at the end.
    ///
    /// # Errors
    ///
    /// What is wrong with it, with its line and what to do.
    pub(crate) fn next_row(&mut self) -> Result<Option<Row>, String> {
        loop {
            match self.next_line()? {
                None => return Ok(None),
                Some(text) if text.trim().is_empty() => {}
                Some(text) => {
                    return self.row(&text).map(Some).map_err(|problem| format!("line {}: {problem}", self.line));
                }
            }
        }
    }

    fn row(&self, text: &str) -> Result<Row, String> {
        let mut parts = text.split(',').map(str::trim);
        let time = parts.next().unwrap_or_default();
        let at_ms = timestamp::parse(time).ok_or_else(|| {
            format!("{time:?} is no time: write RFC 3339 in UTC (2026-11-20T10:00:00Z), or seconds or milliseconds since 1970")
        })?;
        let cells =
            parts.zip(self.names.iter().map(Some).chain(std::iter::repeat(None))).map(|(cell, name)| match cell {
                "" => Ok(None),
                cell => cell.parse().map(Some).map_err(|_| {
                    format!(
                        "{cell:?} in column {:?} is no number: leave the cell empty where a value is missing",
                        name.map_or("", |name| name)
                    )
                }),
            });
        let cells = cells.collect::<Result<Vec<_>, _>>()?;
        if cells.len() != self.names.len() {
            let (have, want) = (cells.len(), self.names.len());
            return Err(format!(
                "{have} values for {want} columns: every row needs a cell for each name of the header"
            ));
        }
        Ok(Row { line: self.line, time: time.to_owned(), at_ms, cells })
    }

    /// The next line without its end.
    fn next_line(&mut self) -> Result<Option<String>, String> {
        let mut bytes = Vec::new();
        self.line += 1;
        let told = |problem: &dyn std::fmt::Display| format!("line {}: {problem}", self.line);
        let read = (&mut self.input).take(LINE_BYTES_MAX).read_until(b'\n', &mut bytes);
        if read.map_err(|error| told(&error))? == 0 {
            return Ok(None);
        }
        if bytes.len() as u64 >= LINE_BYTES_MAX && bytes.last() != Some(&b'\n') {
            return Err(told(&format!("longer than {LINE_BYTES_MAX} bytes: is this a CSV file?")));
        }
        let text = String::from_utf8(bytes).map_err(|_| told(&"not UTF-8: is this a CSV file?"))?;
        Ok(Some(text.trim_end_matches(['\n', '\r']).to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(text: &str) -> String {
        let mut rows = match Rows::new(text.as_bytes()) {
            Ok(rows) => rows,
            Err(problem) => return problem,
        };
        loop {
            match rows.next_row() {
                Ok(row) => assert!(row.is_some(), "no problem was found in {text:?}"),
                Err(problem) => return problem,
            }
        }
    }

    #[test]
    fn rows_keep_their_line_and_time_as_written() {
        let mut rows =
            Rows::new("\u{feff}timestamp,a,b\r\n2026-11-20 10:00:00,1.5,\r\n\r\n1795168801,,-2\n".as_bytes()).unwrap();
        assert_eq!(rows.names(), ["a", "b"]);
        let first = rows.next_row().unwrap().unwrap();
        assert_eq!((first.line, first.time.as_str(), first.at_ms), (2, "2026-11-20 10:00:00", 1_795_168_800_000));
        assert_eq!(first.cells, [Some(1.5), None]);
        let second = rows.next_row().unwrap().unwrap();
        assert_eq!((second.line, second.at_ms, second.cells), (4, 1_795_168_801_000, vec![None, Some(-2.0)]));
        assert_eq!(rows.next_row(), Ok(None));
    }

    #[test]
    fn a_bad_row_is_told_with_its_line_and_a_remedy() {
        for (text, line, remedy) in [
            ("time,a\n", "line 1:", "expected `timestamp`"),
            ("timestamp,a\nyesterday,1\n", "line 2:", "RFC 3339"),
            ("timestamp,a\n1,2\n2,x\n", "line 3:", "leave the cell empty"),
            ("timestamp,a\n1,2,3\n", "line 2:", "a cell for each name"),
            ("timestamp,a\n1\n", "line 2:", "a cell for each name"),
        ] {
            let problem = problem(text);
            assert!(problem.contains(line) && problem.contains(remedy), "{problem}");
        }
        let long = format!("timestamp,a\n1,{}\n", "1".repeat(2 << 20));
        assert!(problem(&long).contains("longer than"));
        assert!(Rows::new(&b"timestamp,\xff\n"[..]).is_err());
    }
}
