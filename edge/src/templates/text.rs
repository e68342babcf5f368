//! Tokens as text: for people, and for an id that white space does not alter.

use super::tokens::{Kind, Token, WILDCARD, Word};
use crate::mask;

/// Bytes of a template's text.
pub(super) const TEXT_BYTES_MAX: usize = 1_024;
/// A wildcard, or a word that stands for what was masked.
const STAND_IN_BYTES: usize = 16;

/// A template for people: the line as it was written, with a wildcard for each variable part. What was masked keeps the
/// word that stands for it.
pub(super) fn readable(line: &str, tokens: &[Token], words: &[Word], out: &mut String) {
    out.clear();
    for (token, word) in tokens.iter().zip(words) {
        let written = &line[token.start as usize..token.end as usize];
        let more = if word.kind == Kind::Variable { STAND_IN_BYTES } else { written.len() };
        if out.len() + more + WILDCARD.len() >= TEXT_BYTES_MAX {
            out.push_str(WILDCARD);
            return;
        }
        if token.spaced {
            out.push(' ');
        }
        match word.kind {
            Kind::Variable if written.is_empty() || written == "-" || mask::PLACEHOLDERS.contains(&written) => {
                out.push_str(written);
            }
            Kind::Variable | Kind::General => out.push_str(WILDCARD),
            _ => out.push_str(written),
        }
    }
    if out.is_empty() {
        out.push_str("<empty>");
    }
}

/// The skeleton that a template's id is the hash of: the tokens with one space between them.
pub(super) fn skeleton(line: &str, tokens: &[Token], out: &mut String) {
    out.clear();
    for token in tokens {
        let written = &line[token.start as usize..token.end as usize];
        match token.word.kind {
            Kind::Variable | Kind::General => out.push_str(WILDCARD),
            Kind::Punctuation if written != "==" => out.extend(written.chars().next()),
            _ => out.push_str(written),
        }
        out.push(' ');
    }
}
