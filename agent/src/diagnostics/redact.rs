//! What may leave the host of a configuration, a log and whatever else is for people.
//!
//! Three nets, one behind the other. Settings that this version does not know, and those that are secrets by their name,
//! lose their value. Everything is masked like a log line. And what was taken out of the configuration or stands in a
//! variable with a secret's name is taken out wherever it turns up, because a message may quote it.

use crate::config::reference_text;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fmt::Write as _;
use toml_edit::{Item, TableLike, Value as Toml};
use vedette_edge::ledger::Ledger;
use vedette_edge::logs::LineReader;
use vedette_edge::mask::{self, KeyBlock};

/// Takes the place of what is left out.
pub const REDACTED: &str = "<redacted>";
/// A shorter text is too common to be looked for everywhere.
const QUOTED_MIN: usize = 3;
/// Texts that are looked for everywhere.
const QUOTED_MAX: usize = 1_000;

/// Whether what goes by this name is a secret: the names whose values are masked in log lines. A file is not what is in it.
pub fn is_secret(name: &str) -> bool {
    let name = name.to_lowercase();
    let of_file = ["file", "path", "directory", "dir"].iter().any(|end| name.ends_with(end));
    !of_file && mask::masked(&format!("{name}=value")).contains(mask::SECRET)
}

/// A configuration without its secrets.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// One setting a line; `None` if the file is not TOML.
    pub text: Option<String>,
    /// What was left out.
    left_out: Vec<String>,
}

impl Settings {
    /// Reads a configuration file, whether it is a good one or not. Its comments are left out.
    pub fn read(text: &str) -> Self {
        let Ok(document) = toml_edit::Document::parse(text.to_owned()) else { return Self::default() };
        let mut walk = Walk { known: known(), settings: Self { text: Some(String::new()), left_out: Vec::new() } };
        walk.table(document.as_table(), "");
        walk.settings
    }
}

/// Paths of all settings.
fn known() -> BTreeSet<String> {
    let mut paths: BTreeSet<String> =
        ["logs", "watch"].iter().flat_map(|table| ["path", "service"].map(|key| format!("{table}.{key}"))).collect();
    if let Ok(reference) = toml_edit::Document::parse(reference_text()) {
        collect(reference.as_table(), "", &mut paths);
    }
    paths
}

fn collect(table: &dyn TableLike, path: &str, paths: &mut BTreeSet<String>) {
    for (key, item) in table.iter() {
        let path = join(path, key);
        match item.as_table_like() {
            Some(table) => collect(table, &path, paths),
            None => {
                paths.insert(path);
            }
        }
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

struct Walk {
    known: BTreeSet<String>,
    settings: Settings,
}

impl Walk {
    fn table(&mut self, table: &dyn TableLike, path: &str) {
        for (key, item) in table.iter() {
            let path = join(path, key);
            match item {
                Item::ArrayOfTables(tables) => tables.iter().for_each(|table| self.table(table, &path)),
                item => match (item.as_table_like(), item.as_value()) {
                    (Some(table), _) => self.table(table, &path),
                    (None, Some(value)) => {
                        let value = self.value(&path, value);
                        if let Some(text) = &mut self.settings.text {
                            let _ = writeln!(text, "{path} = {value}");
                        }
                    }
                    (None, None) => {}
                },
            }
        }
    }

    fn value(&mut self, path: &str, value: &Toml) -> String {
        match value {
            Toml::String(text) => self.string(path, text.value()),
            Toml::Integer(number) => number.value().to_string(),
            Toml::Float(number) => number.value().to_string(),
            Toml::Boolean(is_so) => is_so.value().to_string(),
            Toml::Datetime(time) => time.value().to_string(),
            Toml::Array(list) => {
                let values: Vec<_> = list.iter().map(|value| self.value(path, value)).collect();
                format!("[{}]", values.join(", "))
            }
            Toml::InlineTable(table) => {
                let values: Vec<_> = table
                    .iter()
                    .map(|(key, value)| format!("{key} = {}", self.value(&join(path, key), value)))
                    .collect();
                format!("{{ {} }}", values.join(", "))
            }
        }
    }

    /// No setting has an `@`; what has one may be a user with a password.
    fn string(&mut self, path: &str, text: &str) -> String {
        if self.known.contains(path) && !is_secret(path) && !text.contains('@') {
            return format!("{text:?}");
        }
        self.settings.left_out.push(text.to_owned());
        format!("{REDACTED:?}")
    }
}

/// See the module's documentation.
#[derive(Debug)]
pub struct Redactor {
    /// Longest first, as they are and as JSON has them.
    quoted: Vec<String>,
}

impl Redactor {
    /// Knows what was left out of the settings, and the values of variables that are secrets by their name.
    pub fn new(settings: &Settings, variables: &[(String, String)]) -> Self {
        let of_variables = variables.iter().filter(|(name, _)| is_secret(name)).map(|(_, value)| value);
        let mut quoted = BTreeSet::new();
        for secret in settings.left_out.iter().chain(of_variables).take(QUOTED_MAX) {
            // A message may quote one line of several.
            for text in secret.lines().chain([secret.as_str()]).filter(|text| text.len() >= QUOTED_MIN) {
                let in_json = serde_json::to_string(text).unwrap_or_default();
                quoted.insert(in_json.trim_matches('"').to_owned());
                quoted.insert(text.to_owned());
            }
        }
        let mut quoted: Vec<String> = quoted.into_iter().collect();
        quoted.sort_by_key(|text| std::cmp::Reverse(text.len()));
        Self { quoted }
    }

    /// A text of several lines.
    pub fn text(&self, text: &str) -> String {
        let masked: String = text.split_inclusive('\n').map(mask::masked).collect();
        self.without_quoted(&masked)
    }

    /// Every text in it, names included.
    pub fn json(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => Value::from(self.text(text)),
            Value::Array(values) => values.iter().map(|value| self.json(value)).collect(),
            Value::Object(fields) => {
                let field = |(name, value): (&String, &Value)| (self.text(name), self.json(value));
                Value::Object(fields.iter().map(field).collect())
            }
            other => other.clone(),
        }
    }

    /// Lines of a log, each masked as the agent masks those that it reads.
    pub fn lines(&self, lines: &[u8]) -> String {
        let (mut reader, mut key_block, mut ledger) = (LineReader::default(), KeyBlock::default(), Ledger::default());
        let mut out = String::new();
        for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let mut masked = reader.read(line, &mut ledger).to_owned();
            key_block.mask(&String::from_utf8_lossy(line), &mut masked);
            out.push_str(&masked);
            out.push('\n');
        }
        self.without_quoted(&out)
    }

    fn without_quoted(&self, text: &str) -> String {
        self.quoted.iter().fold(text.to_owned(), |text, secret| {
            if text.contains(secret.as_str()) { text.replace(secret.as_str(), REDACTED) } else { text }
        })
    }
}
