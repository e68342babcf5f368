//! Secrets and personal data out of every text, before anything is stored or sent.
//!
//! One pass over the bytes, and again over what it changed; no regular expressions, no state: the same text always gives
//! the same result, and masking what was masked changes nothing. Where a secret cannot be told from an innocent word, it
//! is masked. What an operator adds ([`Masks`]) comes before that; a key that spans lines ([`KeyBlock`]) is all that is
//! remembered from one to the next.

mod key_block;
mod numbers;
mod rules;
mod words;

pub use key_block::KeyBlock;
pub use rules::{MaskRules, Masks, PATTERN_BYTES_MAX, Pattern};

use words::{Verdict, judge_word, names_secret};

/// Schemes of authorisation with several values on their line.
const MANY_VALUES: [&str; 6] = ["digest", "aws4-hmac-sha256", "negotiate", "ntlm", "oauth", "hawk"];
/// Takes the place of a secret value.
pub const SECRET: &str = "<secret>";
/// Texts in which masks still make new secrets after so many passes are made by somebody who wants to be slow.
const PASSES_MAX: usize = 8;
const PRIVATE_KEY: &str = "<private-key>";
/// How a key in PEM begins (RFC 7468), and how its label ends.
const PEM_BEGIN: &str = "-----BEGIN";
const PEM_KEY: &str = "PRIVATE KEY-----";
/// Whatever may take the place of a secret or of personal data.
pub const PLACEHOLDERS: [&str; 9] =
    [SECRET, PRIVATE_KEY, "<email>", "<card>", "<iban>", "<jwt>", "<aws-key>", "<address>", rules::MASKED];

/// `text` with every secret replaced.
pub fn masked(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    mask_into(text, &mut out);
    out
}

/// Appends `text` to `out` with every secret replaced; how many places were.
pub fn mask_into(text: &str, out: &mut String) -> u32 {
    let begin = out.len();
    let places = Masker::new(text, out).run();
    // A mask can make a secret of what stands beside it: before, it was too short for one, or ended elsewhere.
    for _ in 0..PASSES_MAX {
        if places == 0 || is_masked(&out[begin..]) {
            break;
        }
        let once = out.split_off(begin);
        Masker::new(&once, out).run();
    }
    places
}

/// Whether masking changes nothing.
fn is_masked(text: &str) -> bool {
    let mut out = String::new();
    let mut masker = Masker::new(text, &mut out);
    while masker.places == 0 && masker.at < masker.bytes.len() {
        masker.step();
    }
    masker.places == 0
}

/// The longest start of `text` of at most `bytes_max` bytes that ends between characters.
pub fn cut(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}

struct Masker<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    copied: usize,
    places: u32,
    /// Where the masked text begins in `out`.
    begin: usize,
    /// The last `@` with no user information before it.
    at_sign: usize,
    out: &'a mut String,
}

impl<'a> Masker<'a> {
    fn new(text: &'a str, out: &'a mut String) -> Self {
        Self { text, bytes: text.as_bytes(), at: 0, copied: 0, places: 0, begin: out.len(), at_sign: 0, out }
    }

    /// Appends the masked text; how many places were masked.
    fn run(mut self) -> u32 {
        while self.at < self.bytes.len() {
            self.step();
        }
        self.out.push_str(&self.text[self.copied..]);
        self.places
    }

    /// Handles the word at `at`, or steps over one byte that is in no word.
    fn step(&mut self) {
        let start = self.at;
        let end = self.word_end(start);
        if end == start {
            match self.bytes[start] {
                b'<' if self.text[start..].starts_with(SECRET) => self.at += SECRET.len(),
                b'@' => self.at += usize::from(!self.userinfo(start)),
                _ => self.at += 1,
            }
            return;
        }
        self.at = end;
        let word = &self.text[start..end];
        if word.ends_with(PEM_BEGIN) {
            // With what stands before it: in JSON that is the `n` of an escaped line end.
            return self.private_key(start);
        }
        if self.may_be_key(start, end) && names_secret(word) && self.secret_value(end, word) {
            return;
        }
        if word.eq_ignore_ascii_case("identified") && self.sql_password(end) {
            return;
        }
        if is_scheme(word) && self.secret_after_space(end) {
            return;
        }
        if self.byte(end) == Some(b'@') && self.userinfo(end) {
            return;
        }
        match judge_word(word) {
            Verdict::Local => self.email(start, end),
            Verdict::Digits => self.card(start),
            Verdict::Account => {
                if !self.iban(start) {
                    self.email(start, end);
                }
            }
            Verdict::Replace(part, mask) => self.replace(start + part.start, start + part.end, mask),
        }
    }

    fn word_end(&self, start: usize) -> usize {
        let length = self.bytes[start..].iter().position(|byte| !is_word_byte(*byte));
        length.map_or(self.bytes.len(), |length| start + length)
    }

    fn replace(&mut self, start: usize, end: usize, mask: &str) {
        self.at = end;
        if &self.text[start..end] != mask {
            self.out.push_str(&self.text[self.copied..start]);
            self.out.push_str(mask);
            self.copied = end;
            self.places += 1;
        }
    }

    /// A cheap look at what follows a word, before its letters are looked at.
    fn may_be_key(&self, start: usize, end: usize) -> bool {
        match self.byte(end) {
            Some(b'=' | b':' | b'"' | b'\'') => true,
            Some(b'>') => start > 0 && self.bytes[start - 1] == b'<',
            Some(b'\\') => matches!(self.byte(end + 1), Some(b'"' | b'\'')),
            Some(b' ') => {
                self.text[start..].starts_with("--")
                    || matches!(self.byte(self.skip_spaces(end)), Some(b'=' | b':' | b'\'' | b'"'))
            }
            _ => false,
        }
    }

    /// `key=value`, `key: value`, `"key": "value"`, `\"key\": \"value\"`, `--key value`, `key 'value'`,
    /// `key: Scheme value`, `<key>value</key>`.
    fn secret_value(&mut self, key_end: usize, key: &str) -> bool {
        if self.byte(key_end) == Some(b'>') {
            return self.element(key_end + 1);
        }
        let mut at = key_end;
        at += usize::from(self.byte(at) == Some(b'\\'));
        at += usize::from(matches!(self.byte(at), Some(b'"' | b'\'')));
        at = self.skip_spaces(at);
        match self.byte(at) {
            Some(b'=' | b':') => {
                let is_header = self.byte(at) == Some(b':');
                at = self.skip_spaces(at + 1 + usize::from(self.byte(at + 1) == Some(b'>')));
                if is_header && let Some(end) = self.header_end(at, key) {
                    self.replace(at, end, SECRET);
                    return true;
                }
            }
            _ if key.starts_with("--") && at > key_end => {}
            Some(b'"' | b'\'') if at > key_end && self.byte(key_end) == Some(b' ') => {}
            _ => return false,
        }
        let scheme_end = self.word_end(at);
        if is_scheme(&self.text[at..scheme_end]) {
            let after = self.skip_spaces(scheme_end);
            at = if after > scheme_end { after } else { at };
        }
        let (start, end) = self.value(at);
        if start < end {
            self.replace(start, end, SECRET);
        } else {
            self.at = key_end;
        }
        start < end
    }

    /// Bounds of a value: inside its quotes, or up to a space or a separator.
    fn value(&self, at: usize) -> (usize, usize) {
        let rest = &self.bytes[at..];
        if let [b'\\', quote @ (b'"' | b'\''), inside @ ..] = rest {
            // JSON within JSON: up to the quote that is escaped just once, or to a bare one.
            let ends =
                |place: &usize| inside[*place] == *quote && (*place < 2 || inside[place - 2..*place] != *b"\\\\");
            let end = (0..inside.len()).find(ends).unwrap_or(inside.len());
            let end = end - usize::from(end > 0 && inside.get(end).is_some() && inside[end - 1] == b'\\');
            return (at + 2, at + 2 + end);
        }
        if let Some(quote @ (b'"' | b'\'')) = rest.first().copied() {
            let inside = &rest[1..];
            let escaped = |place: usize| place > 0 && inside[place - 1] == b'\\';
            let end = (0..inside.len()).find(|place| inside[*place] == quote && !escaped(*place));
            return (at + 1, at + 1 + end.unwrap_or(inside.len()));
        }
        (at, (at..self.bytes.len()).find(|place| self.ends_value(*place)).unwrap_or(self.bytes.len()))
    }

    /// Whether a value without quotes ends before this byte. What may separate two values may also be part of a
    /// password: it separates only if white space, a bracket's end or another key comes after it.
    fn ends_value(&self, at: usize) -> bool {
        let next = self.byte(at + 1);
        let ends = |byte: u8| byte.is_ascii_whitespace() || matches!(byte, b'"' | b'\'');
        match self.bytes[at] {
            byte if ends(byte) => true,
            b'&' | b',' | b';' => {
                let word_end = self.word_end(at + 1);
                next.is_none_or(ends) || (word_end > at + 1 && matches!(self.byte(word_end), Some(b'=' | b':')))
            }
            b')' | b'}' | b']' => {
                next.is_none_or(|next| ends(next) || matches!(next, b')' | b'}' | b']' | b',' | b';' | b'.'))
            }
            _ => false,
        }
    }

    /// Where the value of a header ends that goes to the end of its line: cookies, and schemes with several values.
    fn header_end(&self, at: usize, key: &str) -> Option<usize> {
        let rest = &self.text[at..];
        let line = rest.find(['\n', '\r', '"', '\'']).unwrap_or(rest.len());
        let scheme = rest[..line].split(' ').next().unwrap_or_default();
        let has_many = match key.len() {
            6.. if ends_with_ignoring_case(key, "cookie") => scheme.contains('='),
            13.. if ends_with_ignoring_case(key, "authorization") => {
                MANY_VALUES.iter().any(|name| name.eq_ignore_ascii_case(scheme))
            }
            _ => false,
        };
        if !has_many {
            return None;
        }
        // A quote ends it only if it was open before.
        let quotes = self.bytes[..at].iter().filter(|byte| matches!(byte, b'"' | b'\'')).count();
        let end = if quotes % 2 == 1 { line } else { rest.find(['\n', '\r']).unwrap_or(rest.len()) };
        (end > 0).then_some(at + end)
    }

    /// `<key>value</key>`, with `at` after the first `>`.
    fn element(&mut self, at: usize) -> bool {
        let rest = &self.text[at..];
        let end = if rest.starts_with(SECRET) { SECRET.len() } else { rest.find('<').unwrap_or(rest.len()) };
        if end > 0 {
            self.replace(at, at + end, SECRET);
        }
        end > 0
    }

    /// `IDENTIFIED BY 'value'`.
    fn sql_password(&mut self, end: usize) -> bool {
        let by = self.skip_spaces(end);
        let by_end = self.word_end(by);
        let at = self.skip_spaces(by_end);
        if !self.text[by..by_end].eq_ignore_ascii_case("by") || self.byte(at) != Some(b'\'') {
            return false;
        }
        let (start, end) = self.value(at);
        if start < end {
            self.replace(start, end, SECRET);
        }
        start < end
    }

    /// `Bearer token`, `Basic token`.
    fn secret_after_space(&mut self, scheme_end: usize) -> bool {
        let start = self.skip_spaces(scheme_end);
        let (start, end) = self.value(start);
        let long = end - start >= 8 && self.bytes[start..end].iter().any(|byte| !byte.is_ascii_lowercase());
        let secret = start > scheme_end && long;
        if secret {
            self.replace(start, end, SECRET);
        }
        secret
    }

    /// `local` was a word that may stand before `@`: masks it with the domain that follows.
    fn email(&mut self, start: usize, end: usize) {
        if self.byte(end) != Some(b'@') {
            return;
        }
        let domain_end = self.word_end(end + 1);
        let domain = self.text[end + 1..domain_end].trim_end_matches(['.', '-', '/', '_', '+']);
        let host = domain.split('/').next().unwrap_or(domain);
        if host.len() >= 3 && host.contains('.') && !host.starts_with('.') {
            let from = self.text[start..end].rfind('/').map_or(start, |slash| start + slash + 1);
            if from < end {
                self.replace(from, end + 1 + host.len(), "<email>");
            }
        }
    }

    /// `at` is an `@`: `scheme://user:password@host` has its user information masked, whatever of it was already.
    fn userinfo(&mut self, at: usize) -> bool {
        let ends = |byte: &u8| byte.is_ascii_whitespace() || *byte == b'/';
        let pending = &self.bytes[self.copied..at];
        let since = self.at_sign.saturating_sub(self.copied);
        if since > 0 && !pending[since..].iter().any(ends) {
            // It begins before the last `@`, which found nothing there.
            self.at_sign = at;
            return false;
        }
        let before = self.out.as_bytes()[self.begin..].iter().chain(pending).rev();
        let length = before.clone().take_while(|byte| !ends(byte)).count();
        if length == 0 || !before.clone().skip(length).take(3).eq(b"//:") {
            self.at_sign = at;
            return false;
        }
        if before.take(length).eq(SECRET.as_bytes().iter().rev()) {
            self.at = at + 1;
            return true;
        }
        self.places += 1;
        let in_pending = length.min(pending.len());
        self.out.push_str(&self.text[self.copied..at - in_pending]);
        self.out.truncate(self.out.len() - (length - in_pending));
        self.out.push_str(SECRET);
        (self.copied, self.at) = (at, at + 1);
        true
    }

    /// Digits in groups: masks 13 to 19 of them that pass as a payment card's number.
    fn card(&mut self, start: usize) {
        let mut digits = [0u8; 19];
        let (mut count, mut end, mut at) = (0, start, start);
        while let Some(byte) = self.byte(at) {
            match byte {
                b'0'..=b'9' if count == digits.len() => return,
                b'0'..=b'9' => {
                    digits[count] = byte - b'0';
                    count += 1;
                    end = at + 1;
                }
                b' ' | b'-' if at == end => {}
                _ => break,
            }
            at += 1;
        }
        let joined = self.byte(end).is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_');
        if count >= 13 && !joined && (3..=6).contains(&digits[0]) && numbers::luhn(&digits[..count]) {
            self.replace(start, end, "<card>");
        }
    }

    /// The number of a bank account, in one or in groups of four.
    fn iban(&mut self, start: usize) -> bool {
        let end = start + numbers::iban_bytes(&self.bytes[start..]);
        if end > start {
            self.replace(start, end, "<iban>");
        }
        end > start
    }

    fn private_key(&mut self, start: usize) {
        let rest = &self.text[start..];
        let Some(header) = rest.find(PEM_KEY).map(|at| at + PEM_KEY.len()) else { return };
        let footer = rest[header..].find("-----END").and_then(|at| {
            let label = header + at + 8;
            rest[label..].find("-----").map(|close| label + close + 5)
        });
        self.replace(start, start + footer.unwrap_or(rest.len()), PRIVATE_KEY);
    }

    fn byte(&self, at: usize) -> Option<u8> {
        self.bytes.get(at).copied()
    }

    fn skip_spaces(&self, mut at: usize) -> usize {
        while self.byte(at) == Some(b' ') {
            at += 1;
        }
        at
    }
}

const fn is_word_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.' | b'/' | b'+')
}

fn is_scheme(word: &str) -> bool {
    word.eq_ignore_ascii_case("bearer") || word.eq_ignore_ascii_case("basic")
}

fn ends_with_ignoring_case(text: &str, end: &str) -> bool {
    text.len() >= end.len() && text.as_bytes()[text.len() - end.len()..].eq_ignore_ascii_case(end.as_bytes())
}

#[cfg(test)]
mod tests;
