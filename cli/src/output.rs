//! How answers are printed.

use serde_json::Value;
use std::io::Write as _;

/// Form of the answer on stdout.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Output {
    /// For people.
    Human,
    /// One JSON document, indented; the collector's answers are unaltered.
    Json,
}

impl Output {
    /// Prints `answer`: as JSON, or as what `human` makes of it.
    pub(crate) fn print(self, answer: &Value, human: impl FnOnce(&Value) -> String) -> anyhow::Result<()> {
        let mut text = match self {
            Self::Json => serde_json::to_string_pretty(answer)?,
            Self::Human => without_controls(&human(answer)),
        };
        if !text.ends_with('\n') {
            text.push('\n');
        }
        let mut out = std::io::stdout().lock();
        match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            // `| head` has seen enough.
            Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
            _ => Ok(()),
        }
    }
}

/// Lines of logs, names of files and of hosts come from the hosts: none may speak to the terminal of who reads them.
fn without_controls(text: &str) -> String {
    text.replace(|c: char| c.is_control() && c != '\n', "\u{fffd}")
}

/// Columns padded to their widest cell, two blanks between; the first row is the head.
pub(crate) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<_> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let cells: Vec<_> = row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:width$}")).collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// A table with a row for each item; without any, the sentence `none`.
pub(crate) fn listing<const N: usize>(
    head: [&str; N],
    items: &[Value],
    none: &str,
    row: impl Fn(&Value) -> [String; N],
) -> String {
    if items.is_empty() {
        return none.to_owned();
    }
    let head = head.map(str::to_owned).to_vec();
    let rows: Vec<_> = std::iter::once(head).chain(items.iter().map(|item| row(item).to_vec())).collect();
    table(&rows)
}

/// The string at `pointer` (RFC 6901), `-` if there is none; numbers and booleans as text.
pub(crate) fn text(value: &Value, pointer: &str) -> String {
    match value.pointer(pointer) {
        Some(Value::String(text)) => text.clone(),
        None | Some(Value::Null) => "-".to_owned(),
        Some(other) => other.to_string(),
    }
}

/// The array at `pointer`, empty if there is none.
pub(crate) fn items<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    value.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_lines_have_no_trailing_blanks() {
        let rows = [vec!["ID".to_owned(), "STATE".to_owned()], vec!["a-long-id".to_owned(), "open".to_owned()]];
        assert_eq!(table(&rows), "ID         STATE\na-long-id  open\n");
    }

    #[test]
    fn an_empty_list_is_a_sentence_and_no_head() {
        let row = |item: &Value| [text(item, "/id")];
        assert_eq!(listing(["ID"], &[], "no incidents", row), "no incidents");
        assert_eq!(listing(["ID"], &[serde_json::json!({"id": "a"})], "no incidents", row), "ID\na\n");
    }

    #[test]
    fn what_a_host_logs_does_not_speak_to_the_terminal() {
        let line = "ERROR \x1b]0;owned\x07\x1b[2J\u{9b}31m\tdone\n";
        assert_eq!(without_controls(line), "ERROR \u{fffd}]0;owned\u{fffd}\u{fffd}[2J\u{fffd}31m\u{fffd}done\n");
    }

    #[test]
    fn a_missing_value_is_a_dash() {
        assert_eq!(text(&serde_json::json!({"a": {"b": 3}}), "/a/b"), "3");
        assert_eq!(text(&serde_json::json!({}), "/a/b"), "-");
    }
}
