//! What is wrong in a file, where, and what to do.

use std::fmt;

/// Codes of the problems that every document can have. Each has a page in `docs/errors`.
pub mod codes {
    /// The text is not TOML.
    pub const SYNTAX: &str = "VDT-C001";
    /// A key that means nothing here.
    pub const UNKNOWN_KEY: &str = "VDT-C002";
    /// A value of the wrong type.
    pub const WRONG_TYPE: &str = "VDT-C003";
    /// A number, duration or size outside its range, or a text or list that is too long.
    pub const OUT_OF_RANGE: &str = "VDT-C004";
    /// A text that is not written as it has to be.
    pub const BAD_FORM: &str = "VDT-C005";
    /// A key that has to be there.
    pub const MISSING_KEY: &str = "VDT-C006";
    /// The file is larger than any sensible one.
    pub const TOO_LARGE: &str = "VDT-C007";
    /// Two settings that contradict each other.
    pub const CONTRADICTION: &str = "VDT-C008";
    /// Parameters that a detector does not take.
    pub const REFUSED_PARAMETER: &str = "VDT-C009";
}

/// Every code of [`codes`], for tests that each has its page.
pub const CODES: &[&str] = &[
    codes::SYNTAX,
    codes::UNKNOWN_KEY,
    codes::WRONG_TYPE,
    codes::OUT_OF_RANGE,
    codes::BAD_FORM,
    codes::MISSING_KEY,
    codes::TOO_LARGE,
    codes::CONTRADICTION,
    codes::REFUSED_PARAMETER,
];

/// One problem in a file that a person wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Code with a page in `docs/errors`.
    pub code: &'static str,
    /// File name as it was given.
    pub file: String,
    /// Line, from 1.
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// What is wrong.
    pub message: String,
    /// What to do; may be empty.
    pub remedy: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: [{}] {}", self.file, self.line, self.column, self.code, self.message)?;
        if self.remedy.is_empty() { Ok(()) } else { write!(f, " — {}", self.remedy) }
    }
}

impl std::error::Error for Problem {}

/// The remedy for an unknown key: the nearest known one if it is near, else all that are possible.
pub(super) fn did_you_mean<'a>(key: &str, known: impl Iterator<Item = &'a String>) -> String {
    let known: Vec<_> = known.collect();
    let nearest = known.iter().map(|name| (edit_distance(key, name), name)).min();
    match nearest {
        Some((distance, name)) if distance <= 1 + name.chars().count() / 4 => format!("did you mean `{name}`?"),
        Some(_) => {
            let names: Vec<_> = known.iter().map(|name| format!("`{name}`")).collect();
            format!("remove it; possible here: {}", names.join(", "))
        }
        None => "remove it".to_owned(),
    }
}

/// Levenshtein distance in characters; keys are short, so one row is enough.
fn edit_distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, l) in left.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, r) in right.iter().enumerate() {
            let substituted = diagonal + usize::from(l != *r);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[right.len()]
}
