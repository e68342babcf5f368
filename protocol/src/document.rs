//! Files that people write: read into a tree that keeps positions, checked whole, all problems told at once.
//!
//! [`Document::parse`] reads TOML, a checker walks it with the getters of [`Table`], [`Document::finish`] adds the keys
//! that nobody asked for. Getters return `None` both for an absent key and for a bad value; a bad value was recorded.
//!
//! ```
//! let document = vedette_protocol::document::Document::parse("agent.toml", "[collector]\nadress = \"::1\"\n").unwrap();
//! let mut root = document.root();
//! let mut collector = root.table("collector").unwrap();
//! assert_eq!(collector.string("address"), None);
//! collector.missing("address", "name the collector, for example `address = \"127.0.0.1:4710\"`");
//! let problems = document.finish();
//! assert_eq!(problems.len(), 2);
//! assert_eq!(problems[1].to_string(), "agent.toml:2:1: [VDT-C002] unknown key `collector.adress` — did you mean `address`?");
//! ```

mod position;
mod problem;
mod table;
mod units;

#[cfg(test)]
mod tests;

pub use problem::{CODES, Problem, codes};
pub use table::Table;
pub use units::{parse_duration_ms, parse_size_bytes};

use position::line_and_column;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use toml_edit::TableLike;

/// Largest document that is read.
pub const DOCUMENT_BYTES_MAX: usize = 1 << 20;

/// Most problems that one document reports; more would hide the first ones.
pub const PROBLEMS_MAX: usize = 100;

/// A parsed document with the problems found in it so far.
#[derive(Debug)]
pub struct Document {
    file: String,
    tree: toml_edit::Document<String>,
    notes: RefCell<Notes>,
}

/// What the walk over a document has noted.
#[derive(Debug, Default)]
struct Notes {
    /// Problems with the byte offset they are at.
    problems: Vec<(usize, Problem)>,
    /// Keys that were asked for, by path of their table.
    asked: BTreeMap<String, BTreeSet<String>>,
}

impl Document {
    /// Reads TOML text; `file_name` is what problems will name.
    ///
    /// # Errors
    ///
    /// The one problem that kept it from being read: too large ([`codes::TOO_LARGE`]) or not TOML ([`codes::SYNTAX`]).
    pub fn parse(file_name: &str, text: &str) -> Result<Self, Vec<Problem>> {
        if text.len() > DOCUMENT_BYTES_MAX {
            return Err(vec![Problem {
                code: codes::TOO_LARGE,
                file: file_name.to_owned(),
                line: 1,
                column: 1,
                message: format!("the file has {} bytes, at most {DOCUMENT_BYTES_MAX} are read", text.len()),
                remedy: "is this the right file?".to_owned(),
            }]);
        }
        let tree = toml_edit::Document::parse(text.to_owned()).map_err(|error| {
            let (line, column) = line_and_column(text, error.span().map_or(0, |span| span.start));
            vec![Problem {
                code: codes::SYNTAX,
                file: file_name.to_owned(),
                line,
                column,
                message: format!("not TOML: {}", error.message().trim_end().replace('\n', ", ")),
                remedy: "see https://toml.io for the format".to_owned(),
            }]
        })?;
        Ok(Self { file: file_name.to_owned(), tree, notes: RefCell::default() })
    }

    /// The top-level table.
    pub fn root(&self) -> Table<'_> {
        Table::new(self, self.tree.as_table(), String::new(), 0)
    }

    /// All problems, by position, with one for each key that nobody asked for. Empty means: fine.
    pub fn finish(self) -> Vec<Problem> {
        self.note_unknown_keys(self.tree.as_table(), "");
        let mut problems = self.notes.into_inner().problems;
        problems.sort_by_key(|(offset, _)| *offset);
        problems.into_iter().map(|(_, problem)| problem).collect()
    }

    fn note_unknown_keys(&self, table: &dyn TableLike, path: &str) {
        let known = self.notes.borrow().asked.get(path).cloned().unwrap_or_default();
        for (key, item) in table.iter() {
            let key_path = join(path, key);
            if !known.contains(key) {
                let offset = key_offset(table, key).or_else(|| item.span().map(|span| span.start)).unwrap_or(0);
                let remedy = problem::did_you_mean(key, known.iter().filter(|name| !table.contains_key(name)));
                self.note(offset, codes::UNKNOWN_KEY, format!("unknown key `{key_path}`"), remedy);
            } else if let Some(inner) = item.as_table_like() {
                self.descend(inner, &key_path);
            } else {
                for (index, element) in table::elements(item).into_iter().enumerate() {
                    self.descend(element, &format!("{key_path}[{index}]"));
                }
            }
        }
    }

    /// A table that was never opened was rejected as a whole already: its keys are not unknown too.
    fn descend(&self, table: &dyn TableLike, path: &str) {
        let opened = self.notes.borrow().asked.contains_key(path);
        if opened {
            self.note_unknown_keys(table, path);
        }
    }

    fn note(&self, offset: usize, code: &'static str, message: String, remedy: String) {
        let mut notes = self.notes.borrow_mut();
        if notes.problems.len() >= PROBLEMS_MAX {
            return;
        }
        let (line, column) = line_and_column(self.tree.raw(), offset);
        notes.problems.push((offset, Problem { code, file: self.file.clone(), line, column, message, remedy }));
    }

    fn note_asked(&self, path: &str, key: &str) {
        let mut notes = self.notes.borrow_mut();
        if let Some(keys) = notes.asked.get_mut(path) {
            keys.insert(key.to_owned());
        }
    }

    fn note_opened(&self, path: &str) {
        self.notes.borrow_mut().asked.entry(path.to_owned()).or_default();
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

fn key_offset(table: &dyn TableLike, key: &str) -> Option<usize> {
    table.key(key).and_then(toml_edit::Key::span).map(|span| span.start)
}
