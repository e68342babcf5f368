//! A line as tokens: words, punctuation, and what varies by its very look.
//!
//! One pass, no state between lines: the same line has the same tokens on every host. What is a number, address, path,
//! time, identifier or the value of a key is variable from the start; a word that a preposition or a role announces
//! (`from alpha`, `user bob`) is an *argument*, which little evidence makes variable.

use super::look::{self, CLASSES, COLON, DIGIT, SEPARATOR, SLASH, SPACE};
use super::words::{self, Class};
use crate::mask;

/// Stands for a variable part.
pub const WILDCARD: &str = "<*>";
/// Tokens of a line that are looked at; the rest is one variable part.
pub const TOKENS_MAX: usize = 192;
/// Bytes of brackets that are looked through for the end of a value.
const BRACKETS_BYTES_MAX: usize = 256;

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Brackets, separators, full stops.
    Punctuation,
    /// Says what happens.
    Word,
    /// Says to whom or what: a preposition, role or key announces it.
    Argument,
    /// Says it by its look: dotted, or alone in brackets or quotes.
    Name,
    /// A word of severity: never variable.
    Severity,
    /// Month, day, zone with no number beside it so far.
    Date,
    /// Variable by its look.
    Variable,
    /// Variable because many words were seen in its place; only in templates.
    General,
}

/// Identity and kind of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) hash: u64,
    pub(super) kind: Kind,
}

impl Word {
    pub(super) const VARIABLE: Self = Self { hash: 0, kind: Kind::Variable };
    pub(super) const GENERAL: Self = Self { hash: 1, kind: Kind::General };

    /// Whether it tells one template from another.
    pub(super) fn constant(self) -> bool {
        matches!(self.kind, Kind::Word | Kind::Argument | Kind::Name | Kind::Severity | Kind::Date)
    }
}

/// A word and its place in the line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Token {
    pub(super) word: Word,
    pub(super) start: u32,
    pub(super) end: u32,
    /// White space stands before it.
    pub(super) spaced: bool,
}

/// Reads a masked line into `tokens`, which it empties first.
pub(super) fn read(line: &str, tokens: &mut Vec<Token>) {
    tokens.clear();
    let mut reader =
        Reader { line, bytes: line.as_bytes(), at: 0, spaced: false, announced: Announced::Nothing, tokens };
    while reader.at < reader.bytes.len() {
        if reader.tokens.len() + 4 > TOKENS_MAX {
            reader.variable(reader.at, reader.bytes.len());
            return;
        }
        reader.step();
    }
}

/// What the word before makes of the word after it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Announced {
    Nothing,
    /// After a preposition.
    Argument,
    /// After a role: a preposition here means that the name is empty.
    Name,
}

struct Reader<'a> {
    line: &'a str,
    bytes: &'a [u8],
    at: usize,
    spaced: bool,
    announced: Announced,
    tokens: &'a mut Vec<Token>,
}

impl Reader<'_> {
    fn step(&mut self) {
        let byte = self.bytes[self.at];
        let class = CLASSES[byte as usize];
        if class & SPACE != 0 {
            self.spaced = true;
            self.at += 1;
        } else if class & SEPARATOR != 0 {
            self.separator(byte);
        } else if byte == b':'
            && self.byte(self.at + 1).is_some_and(|next| next != b':' && CLASSES[next as usize] & SPACE == 0)
        {
            // A colon that begins a word belongs to what was before: `"key":5`.
            self.announced = Announced::Nothing;
            self.punctuation(self.at, self.at + 1);
            self.at += 1;
        } else {
            let (end, flags) = self.run(self.at);
            self.word(self.at, end, flags);
        }
    }

    /// End of the word at `start`, and what is in it.
    fn run(&self, start: usize) -> (usize, u8) {
        let mut flags = 0;
        for (length, byte) in self.bytes[start..].iter().enumerate() {
            let class = CLASSES[*byte as usize];
            if class & (SPACE | SEPARATOR) != 0 {
                return (start + length, flags);
            }
            flags |= class;
        }
        (self.bytes.len(), flags)
    }

    fn separator(&mut self, byte: u8) {
        let start = self.at;
        self.announced = Announced::Nothing;
        match byte {
            b'<' => {
                let rest = &self.line[start..];
                let place = mask::PLACEHOLDERS.iter().chain(&[WILDCARD]).find(|place| rest.starts_with(**place));
                if let Some(place) = place {
                    self.at += place.len();
                    return self.variable(start, self.at);
                }
            }
            b'=' => return self.value(start),
            b'(' | b'[' | b'{' if self.spaced && self.byte(start + 1) == Some(closing(byte)) => {
                // Brackets on their own with nothing inside: an empty value.
                self.punctuation(start, start + 1);
                self.variable(start + 1, start + 1);
                self.punctuation(start + 1, start + 2);
                self.at = start + 2;
                return;
            }
            _ => {}
        }
        self.punctuation(start, start + 1);
        self.at = start + 1;
    }

    /// `key=value`, `key = value`, `key="a value"`, `key=Type{value}`, `key=` with nothing.
    fn value(&mut self, equals: usize) {
        let apart = self.spaced;
        if self.byte(equals + 1) == Some(b'=') {
            self.punctuation(equals, equals + 2);
            self.at = equals + 2;
            return;
        }
        self.punctuation(equals, equals + 1);
        let mut start = equals + 1;
        while apart && self.byte(start) == Some(b' ') {
            start += 1;
            self.spaced = true;
        }
        self.at = start;
        match self.byte(start) {
            Some(quote @ (b'"' | b'\'')) => {
                let close = self.bytes[start + 1..].iter().position(|byte| *byte == quote);
                if let Some(close) = close {
                    self.at = start + close + 2;
                    self.variable(start, self.at);
                }
            }
            Some(b'(' | b'[' | b'{') => {
                let close = self.brackets_end(start);
                if close > start {
                    self.at = close;
                    self.variable(start, close);
                }
            }
            Some(b'<') => {}
            _ => {
                let (end, flags) = self.run(start);
                let core = self.core_end(start, end);
                let text = &self.bytes[start..core];
                if flags == 0 && words::class(text) == Class::Boolean {
                    return self.word(start, end, flags);
                }
                self.at = if core > start { self.brackets_end(core) } else { start };
                self.variable(start, self.at);
            }
        }
    }

    /// The end of a bracketed value that begins right here, or `at`: a list, or anything in one without white space.
    fn brackets_end(&self, at: usize) -> usize {
        let (mut depth, mut spaced, mut keyed) = (0u32, false, false);
        for (length, byte) in self.bytes[at..].iter().take(BRACKETS_BYTES_MAX).enumerate() {
            match byte {
                b'(' | b'[' | b'{' => depth += 1,
                b')' | b']' | b'}' if depth > 0 => {
                    depth -= 1;
                    if depth == 0 {
                        return at + length + 1;
                    }
                }
                _ if depth == 0 => return at,
                b' ' | b'\t' => spaced = true,
                b'=' => keyed = true,
                _ => {}
            }
            if spaced && keyed {
                return at; // several keys: their own tokens
            }
        }
        at
    }

    fn word(&mut self, start: usize, mut end: usize, mut flags: u8) {
        if flags & SLASH != 0 && self.byte(end) == Some(b'?') {
            let rest = &self.bytes[end..];
            let query =
                rest.iter().position(|byte| byte.is_ascii_whitespace() || matches!(byte, b'"' | b'\'' | b')' | b'>'));
            end += query.unwrap_or(rest.len());
            flags |= DIGIT;
        }
        self.at = end;
        let announced = std::mem::replace(&mut self.announced, Announced::Nothing);
        let core = self.core_end(start, end);
        if core == start {
            // A dash on its own is how many formats write that there is no value.
            return if &self.bytes[start..end] == b"-" {
                self.variable(start, end)
            } else {
                self.punctuation(start, end)
            };
        }
        if announced != Announced::Nothing && core == end && matches!(self.byte(end), Some(b'(' | b'[')) {
            let close = self.brackets_end(end);
            if self.bytes[end..close].iter().any(u8::is_ascii_digit) {
                self.at = close;
                return self.variable(start, close);
            }
        }
        if flags == 0 || (flags & (DIGIT | SLASH) == 0 && core < end && self.letters(start, core)) {
            self.letters_word(start, core, announced);
        } else {
            self.mixed_word(start, core, flags, announced);
        }
        if core < end {
            self.announced = Announced::Nothing;
            self.punctuation(core, end);
        }
    }

    fn letters(&self, start: usize, end: usize) -> bool {
        self.bytes[start..end].iter().all(u8::is_ascii_alphabetic)
    }

    /// A word of nothing but letters.
    fn letters_word(&mut self, start: usize, end: usize, announced: Announced) {
        let class = words::class(&self.bytes[start..end]);
        match class {
            Class::Severity => return self.push(start, end, Kind::Severity),
            Class::Date => return self.date(start, end),
            Class::Unit if self.follows_value() => {
                if let Some(last) = self.tokens.last_mut() {
                    last.end = narrow(end);
                }
                self.spaced = false;
                return;
            }
            Class::Absent if self.follows_punctuation() => return self.variable(start, end),
            Class::Article => self.name_was_verb(),
            _ => {}
        }
        let kind = match (announced, class) {
            (Announced::Name, Class::Preposition) => {
                // `user  from`: the name that was announced is empty.
                self.variable(start, start);
                self.announced = Announced::Argument;
                self.spaced = true;
                Kind::Word
            }
            (Announced::Nothing | Announced::Argument, Class::Preposition) => self.announce(Announced::Argument),
            (Announced::Nothing | Announced::Argument, Class::Role) => self.announce(Announced::Name),
            (Announced::Nothing, _) if !self.alone_in_brackets(start, end) => Kind::Word,
            (_, Class::Article) => Kind::Word,
            (Announced::Nothing, _) => Kind::Name,
            _ => Kind::Argument,
        };
        self.push(start, end, kind);
    }

    fn announce(&mut self, what: Announced) -> Kind {
        self.announced = what;
        Kind::Word
    }

    /// A word with digits, slashes, dots, colons or other signs.
    fn mixed_word(&mut self, start: usize, end: usize, flags: u8, announced: Announced) {
        let text = &self.bytes[start..end];
        if flags & COLON != 0
            && let Some(colon) = text.iter().position(|byte| *byte == b':')
            && colon > 0
            && !matches!(text.get(colon + 1), None | Some(b':' | b'/' | b'\\'))
            && text[..colon].iter().all(|byte| byte.is_ascii_alphabetic() || matches!(byte, b'_' | b'.'))
        {
            return self.pair(start, start + colon, end);
        }
        if look::is_variable(text, flags) {
            return self.variable(start, end);
        }
        let dotted = text[1..].contains(&b'.') || text.contains(&b'@');
        let kind = match announced {
            Announced::Nothing if dotted || self.alone_in_brackets(start, end) => Kind::Name,
            Announced::Nothing => Kind::Word,
            _ => Kind::Argument,
        };
        self.push(start, end, kind);
    }

    /// `key:value` in one.
    fn pair(&mut self, start: usize, colon: usize, end: usize) {
        self.push(start, colon, Kind::Word);
        self.punctuation(colon, colon + 1);
        let start = colon + 1;
        let text = &self.bytes[start..end];
        let flags = text.iter().fold(0, |flags, byte| flags | CLASSES[*byte as usize]);
        match words::class(if flags == 0 { text } else { &[] }) {
            Class::Boolean => self.push(start, end, Kind::Word),
            Class::Absent => self.variable(start, end),
            _ if look::is_variable(text, flags) => self.variable(start, end),
            _ => self.push(start, end, Kind::Argument),
        }
    }

    /// Month, day or zone: variable beside a number or another such word.
    fn date(&mut self, start: usize, end: usize) {
        let near = |token: &Token| matches!(token.word.kind, Kind::Variable | Kind::Date) && token.end > token.start;
        let beside = match self.tokens.as_slice() {
            [.., last] if near(last) => true,
            [.., before, comma] => self.joins(comma) && near(before),
            _ => false,
        };
        if beside { self.variable(start, end) } else { self.push(start, end, Kind::Date) }
    }

    /// `to spawn the instance`: the word before the article is a verb and no argument.
    fn name_was_verb(&mut self) {
        if let [.., before, last] = self.tokens.as_mut_slice()
            && last.word.kind == Kind::Argument
            && self.bytes[before.start as usize..before.end as usize].eq_ignore_ascii_case(b"to")
        {
            last.word.kind = Kind::Word;
        }
    }

    fn follows_value(&self) -> bool {
        self.tokens.last().is_some_and(|last| {
            last.word.kind == Kind::Variable
                && self.bytes[last.start as usize..last.end as usize].iter().any(u8::is_ascii_digit)
        })
    }

    fn follows_punctuation(&self) -> bool {
        self.tokens.last().is_some_and(|last| last.word.kind == Kind::Punctuation)
    }

    fn alone_in_brackets(&self, start: usize, end: usize) -> bool {
        let open = start.checked_sub(1).and_then(|before| self.byte(before));
        open.is_some_and(|open| {
            matches!(open, b'(' | b'[' | b'{' | b'<' | b'\'' | b'"') && self.byte(end) == Some(closing(open))
        })
    }

    /// Adds a variable part; like parts side by side, or with a comma or the like between them, become one.
    fn variable(&mut self, mut start: usize, end: usize) {
        loop {
            let variable = |token: &Token| matches!(token.word.kind, Kind::Variable | Kind::Date);
            let joined = match self.tokens.as_slice() {
                [.., last] if variable(last) => 1,
                [.., before, comma] if variable(before) && self.joins(comma) => 2,
                _ => break,
            };
            for _ in 0..joined {
                if let Some(token) = self.tokens.pop() {
                    (start, self.spaced) = (token.start as usize, token.spaced);
                }
            }
        }
        self.put(Word::VARIABLE, start, end);
    }

    fn joins(&self, token: &Token) -> bool {
        token.word.kind == Kind::Punctuation
            && matches!(self.bytes[token.start as usize], b',' | b':' | b'.' | b'-' | b'|')
    }

    /// `state: RUNNING,`: a word on its own between a colon and the next separator is what the key is about.
    fn end_of_slot(&mut self) {
        if let [.., key, colon, value] = self.tokens.as_mut_slice()
            && value.word.kind == Kind::Word
            && key.word.kind == Kind::Word
            && colon.word.kind == Kind::Punctuation
            && self.bytes[colon.start as usize] == b':'
            && words::class(&self.bytes[value.start as usize..value.end as usize]) != Class::Boolean
        {
            value.word.kind = Kind::Argument;
        }
    }

    fn punctuation(&mut self, start: usize, end: usize) {
        if matches!(self.bytes[start], b',' | b';' | b')' | b']' | b'}') {
            self.end_of_slot();
        }
        // Three dots or six are the same; two equal signs are not one.
        let hash = u64::from(self.bytes[start]) << 1 | u64::from(self.bytes[start] == b'=' && end > start + 1);
        self.put(Word { hash, kind: Kind::Punctuation }, start, end);
    }

    fn push(&mut self, start: usize, end: usize, kind: Kind) {
        // The first word says what happens, whatever it looks like.
        let kind =
            if self.tokens.is_empty() && matches!(kind, Kind::Argument | Kind::Name) { Kind::Word } else { kind };
        self.put(Word { hash: words::hash(&self.bytes[start..end]), kind }, start, end);
    }

    fn put(&mut self, word: Word, start: usize, end: usize) {
        let spaced = std::mem::take(&mut self.spaced) && !self.tokens.is_empty();
        self.tokens.push(Token { word, start: narrow(start), end: narrow(end), spaced });
    }

    /// Without the full stops, colons and dashes that end a word.
    fn core_end(&self, start: usize, end: usize) -> usize {
        let tail = self.bytes[start..end].iter().rev().take_while(|byte| matches!(byte, b'.' | b':' | b'-')).count();
        end - tail
    }

    fn byte(&self, at: usize) -> Option<u8> {
        self.bytes.get(at).copied()
    }
}

const fn closing(open: u8) -> u8 {
    match open {
        b'(' => b')',
        b'[' => b']',
        b'{' => b'}',
        b'<' => b'>',
        other => other,
    }
}

/// Lines are far shorter than 4 GiB; what is not is cut.
fn narrow(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}
