//! One table of a document: typed getters that record what is wrong.

use super::units::{format_duration_ms, format_size_bytes, parse_duration_ms, parse_size_bytes};
use super::{Document, codes, join, key_offset};
use crate::time::WallTime;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;
use toml_edit::{Item, TableLike, Value};

/// Longest text and longest list that a getter accepts.
const LENGTH_MAX: usize = 4_096;

/// A table being walked. Every getter remembers that its key was asked for and records a problem for a bad value.
pub struct Table<'d> {
    document: &'d Document,
    node: &'d dyn TableLike,
    path: String,
    offset: usize,
}

impl<'d> Table<'d> {
    pub(super) fn new(document: &'d Document, node: &'d dyn TableLike, path: String, offset: usize) -> Self {
        document.note_opened(&path);
        Self { document, node, path, offset }
    }

    /// Where this table stands: `logs[0]`, empty for the whole document.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Whether `key` is written here, whatever its value.
    pub fn contains(&mut self, key: &str) -> bool {
        self.item(key).is_some()
    }

    /// All keys, for tables whose keys are names chosen by people; ask for each with a getter.
    pub fn entries(&self) -> Vec<String> {
        self.node.iter().map(|(key, _)| key.to_owned()).collect()
    }

    /// The table under `key`.
    pub fn table(&mut self, key: &str) -> Option<Table<'d>> {
        let item = self.item(key)?;
        let Some(node) = item.as_table_like() else {
            self.wrong_type(key, item, "a table");
            return None;
        };
        Some(Table::new(self.document, node, join(&self.path, key), self.offset_of(key)))
    }

    /// The tables of the array of tables under `key`; empty if there is none.
    pub fn tables(&mut self, key: &str) -> Vec<Table<'d>> {
        let Some(item) = self.item(key) else { return Vec::new() };
        let nodes = elements(item);
        let length = item.as_array().map_or(nodes.len(), toml_edit::Array::len);
        if item.as_table_like().is_some()
            || item.as_array().is_none() && !item.is_array_of_tables()
            || nodes.len() != length
        {
            self.wrong_type(key, item, &format!("a list of tables (`[[{}]]`)", join(&self.path, key)));
            return Vec::new();
        }
        let path = join(&self.path, key);
        let offset = self.offset_of(key);
        let table = |(index, node): (usize, &'d dyn TableLike)| {
            let first = node.iter().next().and_then(|(name, _)| key_offset(node, name));
            Table::new(self.document, node, format!("{path}[{index}]"), first.unwrap_or(offset))
        };
        nodes.into_iter().enumerate().map(table).collect()
    }

    /// A text.
    pub fn string(&mut self, key: &str) -> Option<String> {
        let text = self.typed(key, "a text in quotes", Item::as_str)?;
        if text.len() > LENGTH_MAX {
            self.out_of_range(key, &format!("a text of {} bytes", text.len()), "0", &LENGTH_MAX.to_string());
            return None;
        }
        Some(text.to_owned())
    }

    /// A list of texts.
    pub fn strings(&mut self, key: &str) -> Option<Vec<String>> {
        let expects = "a list of texts in quotes";
        let array = self.typed(key, expects, Item::as_array)?;
        if array.len() > LENGTH_MAX {
            self.out_of_range(key, &format!("a list of {}", array.len()), "0", &LENGTH_MAX.to_string());
            return None;
        }
        let texts: Option<Vec<_>> = array.iter().map(|value| value.as_str().map(str::to_owned)).collect();
        if texts.is_none() {
            self.problem(key, codes::WRONG_TYPE, &format!("`{}` has to be {expects}", join(&self.path, key)), "");
        }
        texts
    }

    /// A whole number.
    pub fn integer(&mut self, key: &str, range: RangeInclusive<i64>) -> Option<i64> {
        let value = self.typed(key, "a whole number", Item::as_integer)?;
        self.within(key, value, &range, i64::to_string)
    }

    /// A number, whole or not; NaN and infinities are outside every range.
    pub fn float(&mut self, key: &str, range: RangeInclusive<f64>) -> Option<f64> {
        let value = self.typed(key, "a number", number)?;
        self.within(key, value, &range, f64::to_string)
    }

    /// `true` or `false`.
    pub fn boolean(&mut self, key: &str) -> Option<bool> {
        self.typed(key, "`true` or `false`", Item::as_bool)
    }

    /// A duration such as `"500ms"`, `"10s"`, `"2m"`, `"1h"`, `"7d"`; range and result in milliseconds.
    pub fn duration_ms(&mut self, key: &str, range: RangeInclusive<u64>) -> Option<u64> {
        let value =
            self.written(key, "a duration such as \"500ms\", \"10s\", \"2m\", \"1h\" or \"7d\"", parse_duration_ms)?;
        self.within(key, value, &range, |ms| format_duration_ms(*ms))
    }

    /// A size such as `"512B"`, `"64KiB"`, `"8MiB"`, `"1GiB"`; range and result in bytes.
    pub fn size_bytes(&mut self, key: &str, range: RangeInclusive<u64>) -> Option<u64> {
        let value = self.written(key, "a size such as \"64KiB\", \"8MiB\" or \"1GiB\"", parse_size_bytes)?;
        self.within(key, value, &range, |bytes| format_size_bytes(*bytes))
    }

    /// A point in time: a TOML date-time or a text, after RFC 3339 with an offset, such as `2026-12-31T00:00:00Z`.
    pub fn time(&mut self, key: &str) -> Option<WallTime> {
        let item = self.item(key)?;
        let text = match item.as_value() {
            Some(Value::Datetime(datetime)) => datetime.value().to_string(),
            Some(Value::String(text)) => text.value().clone(),
            _ => {
                self.wrong_type(key, item, "a time such as \"2026-12-31T00:00:00Z\"");
                return None;
            }
        };
        let time = text.parse().ok();
        if time.is_none() {
            self.bad_form(key, &text, "a time after RFC 3339 with an offset, such as \"2026-12-31T00:00:00Z\"");
        }
        time
    }

    /// A text that `T` reads; `expects` says how it is written, for example `` `ed25519:` and 64 hexadecimal digits ``.
    pub fn parsed<T: FromStr>(&mut self, key: &str, expects: &str) -> Option<T> {
        self.written(key, expects, |text| text.parse().ok())
    }

    /// A list of texts that `T` reads; one problem for the list if any is bad.
    pub fn all_parsed<T: FromStr>(&mut self, key: &str, expects: &str) -> Option<Vec<T>> {
        let texts = self.strings(key)?;
        let mut values = Vec::with_capacity(texts.len());
        for text in texts {
            let Ok(value) = text.parse() else {
                self.bad_form(key, &text, expects);
                return None;
            };
            values.push(value);
        }
        Some(values)
    }

    /// Records that `key` has to be there, if it is not; a value that is there but bad has its own problem.
    pub fn missing(&mut self, key: &str, remedy: &str) {
        if self.item(key).is_none() {
            self.problem(key, codes::MISSING_KEY, &format!("`{}` is missing", join(&self.path, key)), remedy);
        }
    }

    /// Records any other problem at `key`, or at the table if the key is not there.
    pub fn problem(&mut self, key: &str, code: &'static str, message: &str, remedy: &str) {
        self.document.note(self.offset_of(key), code, message.to_owned(), remedy.to_owned());
    }

    fn item(&mut self, key: &str) -> Option<&'d Item> {
        self.document.note_asked(&self.path, key);
        self.node.get(key).filter(|item| !item.is_none())
    }

    fn offset_of(&self, key: &str) -> usize {
        let value = self.node.get(key).filter(|item| item.is_value()).and_then(Item::span).map(|span| span.start);
        value.or_else(|| key_offset(self.node, key)).unwrap_or(self.offset)
    }

    fn typed<T>(&mut self, key: &str, expects: &str, read: impl FnOnce(&'d Item) -> Option<T>) -> Option<T> {
        let item = self.item(key)?;
        let value = read(item);
        if value.is_none() {
            self.wrong_type(key, item, expects);
        }
        value
    }

    fn written<T>(&mut self, key: &str, expects: &str, read: impl FnOnce(&str) -> Option<T>) -> Option<T> {
        let text = self.string(key)?;
        let value = read(&text);
        if value.is_none() {
            self.bad_form(key, &text, expects);
        }
        value
    }

    fn within<T: PartialOrd>(
        &mut self,
        key: &str,
        value: T,
        range: &RangeInclusive<T>,
        show: impl Fn(&T) -> String,
    ) -> Option<T> {
        if range.contains(&value) {
            return Some(value);
        }
        self.out_of_range(key, &show(&value), &show(range.start()), &show(range.end()));
        None
    }

    fn wrong_type(&mut self, key: &str, item: &Item, expects: &str) {
        let message = format!("`{}` has to be {expects}, not {}", join(&self.path, key), kind(item));
        self.problem(key, codes::WRONG_TYPE, &message, "");
    }

    fn bad_form(&mut self, key: &str, text: &dyn Display, expects: &str) {
        let shown: String = text.to_string().chars().take(80).collect();
        self.problem(
            key,
            codes::BAD_FORM,
            &format!("`{}` is {shown:?}", join(&self.path, key)),
            &format!("write {expects}"),
        );
    }

    fn out_of_range(&mut self, key: &str, value: &str, least: &str, most: &str) {
        let message = format!("`{}` is {value}", join(&self.path, key));
        self.problem(key, codes::OUT_OF_RANGE, &message, &format!("choose between {least} and {most}"));
    }
}

/// The tables of an array of tables, inline or not.
pub(super) fn elements(item: &Item) -> Vec<&dyn TableLike> {
    match item {
        Item::ArrayOfTables(tables) => tables.iter().map(|table| table as &dyn TableLike).collect(),
        Item::Value(Value::Array(array)) => {
            array.iter().filter_map(|value| value.as_inline_table().map(|table| table as &dyn TableLike)).collect()
        }
        _ => Vec::new(),
    }
}

fn number(item: &Item) -> Option<f64> {
    #[expect(clippy::cast_precision_loss, reason = "settings are far below 2^53")]
    item.as_float().or_else(|| item.as_integer().map(|whole| whole as f64))
}

fn kind(item: &Item) -> &'static str {
    match item {
        Item::Value(Value::String(_)) => "a text",
        Item::Value(Value::Integer(_)) => "a whole number",
        Item::Value(Value::Float(_)) => "a number",
        Item::Value(Value::Boolean(_)) => "a truth value",
        Item::Value(Value::Datetime(_)) => "a date or time",
        Item::Value(Value::Array(_)) => "a list",
        Item::None => "nothing",
        Item::Value(Value::InlineTable(_)) | Item::Table(_) => "a table",
        Item::ArrayOfTables(_) => "a list of tables",
    }
}
