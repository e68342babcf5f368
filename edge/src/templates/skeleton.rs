//! A line's skeleton: its words with the variable parts replaced by `<*>`, and a hash per word.

use std::hash::{DefaultHasher, Hash, Hasher};

/// Stands for a variable part.
pub const WILDCARD: &str = "<*>";
/// Words of a line that are looked at; the rest is one variable part.
pub const WORDS_MAX: usize = 64;
const SKELETON_BYTES_MAX: usize = 1_024;
/// Dates are told by names in the first words of a line.
const DATE_WORDS: usize = 4;
const DATES: [&str; 19] = [
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec", "mon", "tue", "wed", "thu",
    "fri", "sat", "sun",
];
const SEVERITIES: [&str; 16] = [
    "trace",
    "debug",
    "info",
    "notice",
    "warn",
    "warning",
    "error",
    "err",
    "severe",
    "fatal",
    "critical",
    "crit",
    "panic",
    "alert",
    "emerg",
    "emergency",
];

/// One word of a skeleton: where it ends and what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Word {
    /// Hash of the word with its closing separator, without the space after it.
    pub(super) hash: u64,
    /// Whether it names a severity: such a word never becomes variable.
    pub(super) severity: bool,
    pub(super) end: u16,
}

impl Word {
    /// Whether the whole word is one variable part.
    pub(super) fn variable(self) -> bool {
        self.hash == 0
    }
}

/// Reused buffers for one line's skeleton.
#[derive(Debug, Default)]
pub(super) struct Skeleton {
    pub(super) text: String,
    pub(super) words: Vec<Word>,
    spare: String,
}

impl Skeleton {
    /// Makes the skeleton of a masked line.
    pub(super) fn build(&mut self, line: &str) {
        self.text.clear();
        self.words.clear();
        let mut rest = line.trim_ascii();
        while !rest.is_empty() {
            if self.words.len() + 1 == WORDS_MAX || self.text.len() + 64 > SKELETON_BYTES_MAX {
                self.push(WILDCARD, false);
                return;
            }
            let end = rest.find(|c: char| c.is_whitespace() || is_separator(c)).unwrap_or(rest.len());
            let end = end + rest[end..].chars().next().filter(|c| is_separator(*c)).map_or(0, char::len_utf8);
            let after = rest[end..].trim_start();
            self.push(&rest[..end], after.len() < rest.len() - end);
            rest = after;
        }
        if self.words.is_empty() {
            self.push("<empty>", false);
        }
        self.text.truncate(self.text.trim_end().len());
    }

    fn push(&mut self, word: &str, spaced: bool) {
        let start = self.text.len();
        let bare = word.trim_matches(|c: char| !c.is_alphanumeric());
        if self.words.len() < DATE_WORDS && is_one_of(bare, &DATES) {
            self.text.push_str(WILDCARD);
        } else {
            // A word beyond the room left says nothing that a template needs.
            push_normalised(crate::mask::cut(word, SKELETON_BYTES_MAX.saturating_sub(start)), &mut self.text);
        }
        let hash = word_hash(&self.text[start..]);
        if spaced {
            self.text.push(' ');
        }
        let end = u16::try_from(self.text.len()).unwrap_or(u16::MAX);
        self.words.push(Word { hash, severity: is_one_of(bare, &SEVERITIES), end });
    }

    /// Makes variable what differs from `template`, a skeleton of the same length; how many words of it were not yet.
    pub(super) fn generalise(&mut self, template: &[Word]) -> usize {
        self.spare.clear();
        let (mut start, mut altered) = (0, 0);
        for (word, kept) in self.words.iter_mut().zip(template) {
            let text = &self.text[start..(word.end as usize).min(self.text.len())];
            start += text.len();
            if word.hash == kept.hash {
                self.spare.push_str(text);
            } else {
                altered += usize::from(!kept.variable());
                self.spare.push_str(WILDCARD);
                let tail = text.trim_end();
                self.spare.extend(tail.chars().next_back().filter(|c| is_separator(*c)));
                self.spare.push_str(&text[tail.len()..]);
                word.hash = 0;
            }
            word.end = u16::try_from(self.spare.len()).unwrap_or(u16::MAX);
        }
        std::mem::swap(&mut self.text, &mut self.spare);
        altered
    }

    pub(super) fn copy_to(&self, text: &mut String, words: &mut Vec<Word>) {
        text.clone_from(&self.text);
        words.clone_from(&self.words);
    }
}

const fn is_separator(c: char) -> bool {
    matches!(c, ',' | ';' | '|' | '&')
}

/// 0 for a word that is all variable.
fn word_hash(word: &str) -> u64 {
    if word.trim_end_matches(is_separator) == WILDCARD {
        return 0;
    }
    let mut hasher = DefaultHasher::new();
    word.hash(&mut hasher);
    hasher.finish().max(1)
}

fn is_one_of(word: &str, list: &[&str]) -> bool {
    word.len() <= 9 && list.iter().any(|entry| word.eq_ignore_ascii_case(entry))
}

/// Replaces each run of letters and digits that has a digit, with like runs joined to it by `.:-_/+` (addresses,
/// times, identifiers, numbers), by one wildcard.
fn push_normalised(word: &str, out: &mut String) {
    let bytes = word.as_bytes();
    if !bytes.iter().any(u8::is_ascii_digit) {
        out.push_str(word);
        return;
    }
    let mut at = 0;
    let mut variable_end = None;
    while at < bytes.len() {
        let run = run_length(&bytes[at..]);
        if run == 0 {
            let next = at + word[at..].chars().next().map_or(1, char::len_utf8);
            out.push_str(&word[at..next]);
            at = next;
            continue;
        }
        let text = &bytes[at..at + run];
        let joined = variable_end.is_some_and(|end| end + 1 == at && is_joint(bytes[end]));
        let hexadecimal = joined && run >= 2 && text.iter().all(u8::is_ascii_hexdigit);
        if text.iter().any(u8::is_ascii_digit) || hexadecimal {
            if joined {
                out.pop(); // the joint
            } else {
                out.push_str(WILDCARD);
            }
            variable_end = Some(at + run);
        } else {
            out.push_str(&word[at..at + run]);
        }
        at += run;
    }
}

fn run_length(bytes: &[u8]) -> usize {
    bytes.iter().position(|byte| !byte.is_ascii_alphanumeric()).unwrap_or(bytes.len())
}

const fn is_joint(byte: u8) -> bool {
    matches!(byte, b'.' | b':' | b'-' | b'_' | b'/' | b'+')
}
