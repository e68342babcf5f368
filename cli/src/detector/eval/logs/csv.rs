//! CSV with quoted fields (RFC 4180), as the log sets use it.

/// Rows of fields; quotes are taken off, a doubled quote is one, a line end within quotes belongs to the field.
pub(super) fn parse(text: &str) -> Vec<Vec<String>> {
    let (mut rows, mut row, mut field) = (Vec::new(), Vec::new(), String::new());
    let (mut quoted, mut began) = (false, false);
    let mut rest = text.trim_start_matches('\u{feff}').chars().peekable();
    while let Some(char) = rest.next() {
        match char {
            '"' if quoted && rest.next_if_eq(&'"').is_some() => field.push('"'),
            '"' if quoted => quoted = false,
            _ if quoted => field.push(char),
            '"' if field.is_empty() => (quoted, began) = (true, true),
            ',' => {
                row.push(std::mem::take(&mut field));
                began = true;
            }
            '\r' if rest.peek() == Some(&'\n') => {}
            '\n' => {
                if began || !field.is_empty() {
                    row.push(std::mem::take(&mut field));
                }
                rows.extend((!row.is_empty()).then(|| std::mem::take(&mut row)));
                began = false;
            }
            _ => field.push(char),
        }
    }
    if began || !field.is_empty() {
        row.push(field);
    }
    rows.extend((!row.is_empty()).then_some(row));
    rows
}

/// The fields under a heading, if there is such a heading; a short row has an empty one.
pub(super) fn column(rows: &[Vec<String>], name: &str) -> Option<Vec<String>> {
    let (head, rows) = rows.split_first()?;
    let at = head.iter().position(|field| field.trim() == name)?;
    Some(rows.iter().map(|row| row.get(at).cloned().unwrap_or_default()).collect())
}

/// A field as it is written: in quotes where it must be.
pub(super) fn field(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_hold_commas_quotes_and_line_ends() {
        let rows = parse("a,Content\r\n1,\"x, \"\"y\"\"\nz\"\r\n2,\r\n\n3,last");
        assert_eq!(rows[1], ["1", "x, \"y\"\nz"]);
        assert_eq!(column(&rows, "Content").unwrap(), ["x, \"y\"\nz", "", "last"]);
        assert_eq!(column(&rows, "EventId"), None);
        assert!(parse("").is_empty());
    }

    #[test]
    fn what_is_written_is_read() {
        for text in ["plain", "a,b", "say \"hi\"", "\"", "two\nlines", "", " x "] {
            let line = [text, "2", text].map(field).join(",") + "\n";
            assert_eq!(parse(&line), [[text, "2", text]], "{text:?}");
        }
    }
}
