//! Words that say what stands beside them, and the identity of words.

/// What a word of plain letters is known for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// Nothing.
    Plain,
    /// Leads to an argument: `from`, `to`.
    Preposition,
    /// Names the role of the word after it: `user bob`.
    Role,
    /// `the`, `a`, `an`: the word before it is no name.
    Article,
    /// Month, day, half of a day, time zone: part of a time if a number is beside it.
    Date,
    /// Unit that a formatter picks by size, so that `9 B` and `1 KB` are one kind of value.
    Unit,
    /// How bad it is: never variable.
    Severity,
    /// `true`, `false`: two statements rather than a value.
    Boolean,
    /// `null`, `none`, `nil`: the absence of a value.
    Absent,
}

/// Longest word that has a class.
const BYTES_MAX: usize = 9;
const SLOTS: usize = 256;
const LISTS: [(&str, Class); 8] = [
    ("for from to by on at in of with via", Class::Preposition),
    ("user host file name device", Class::Role),
    ("the a an", Class::Article),
    (
        "jan feb mar apr may jun jul aug sep oct nov dec january february march april june july august september \
         october november december mon tue wed thu fri sat sun monday tuesday wednesday thursday friday saturday \
         sunday am pm utc gmt est edt cst cdt mst mdt pst pdt cet cest",
        Class::Date,
    ),
    ("b kb mb gb tb pb kib mib gib tib ns us ms s sec secs min mins", Class::Unit),
    (
        "trace debug info notice warn warning error err severe fatal critical crit panic alert emerg emergency",
        Class::Severity,
    ),
    ("true false yes no", Class::Boolean),
    ("null none nil", Class::Absent),
];
static TABLE: [(u64, Class); SLOTS] = table();

/// The class of a word of ASCII letters, whatever their case.
#[inline]
pub(super) fn class(letters: &[u8]) -> Class {
    if letters.is_empty() || letters.len() > BYTES_MAX {
        return Class::Plain;
    }
    let packed = pack(letters);
    let mut at = slot(packed);
    while TABLE[at].0 != 0 {
        if TABLE[at].0 == packed {
            return TABLE[at].1;
        }
        at = (at + 1) % SLOTS;
    }
    Class::Plain
}

/// Letters whatever their case, five bits each.
#[inline]
const fn pack(letters: &[u8]) -> u64 {
    let (mut packed, mut at) = (0, 0);
    while at < letters.len() {
        packed = packed << 5 | (letters[at] & 0x1f) as u64;
        at += 1;
    }
    packed
}

const fn slot(packed: u64) -> usize {
    (packed.wrapping_mul(MULTIPLIER) >> 56) as usize
}

const fn table() -> [(u64, Class); SLOTS] {
    let mut table = [(0, Class::Plain); SLOTS];
    let mut list = 0;
    while list < LISTS.len() {
        let (text, class) = (LISTS[list].0.as_bytes(), LISTS[list].1);
        let mut start = 0;
        while start < text.len() {
            let mut end = start;
            while end < text.len() && text[end] != b' ' {
                end += 1;
            }
            if end > start {
                let packed = pack(text.split_at(end).0.split_at(start).1);
                let mut at = slot(packed);
                while table[at].0 != 0 {
                    at = (at + 1) % SLOTS;
                }
                table[at] = (packed, class);
            }
            start = end + 1;
        }
        list += 1;
    }
    table
}

/// Odd, with its bits spread: 2^64 divided by the golden ratio (Knuth, The Art of Computer Programming, 6.4).
pub(super) const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;

/// Joins a value to a hash: the two halves of the product folded (as wyhash does). Not for secrets.
#[inline]
pub(super) const fn mix(hash: u64, value: u64) -> u64 {
    let (one, other) = (hash ^ value, MULTIPLIER ^ value.rotate_left(32));
    let high = ((one as u128 * other as u128) >> 64) as u64;
    high ^ one.wrapping_mul(other) ^ hash.rotate_left(23)
}

/// Identity of a word.
#[inline]
pub(super) fn hash(mut bytes: &[u8]) -> u64 {
    let mut hash = mix(MULTIPLIER, bytes.len() as u64);
    while let Some((chunk, rest)) = bytes.split_first_chunk::<8>() {
        hash = mix(hash, u64::from_le_bytes(*chunk));
        bytes = rest;
    }
    let tail = bytes.iter().fold(0, |tail, byte| tail << 8 | u64::from(*byte));
    mix(hash, tail)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_listed_word_has_its_class_in_any_case() {
        for (list, expected) in LISTS {
            for word in list.split_ascii_whitespace() {
                assert_eq!(class(word.as_bytes()), expected, "{word}");
                assert_eq!(class(word.to_ascii_uppercase().as_bytes()), expected, "{word}");
            }
        }
        for word in ["", "fo", "form", "emergenci", "septembers", "x", "error_s"] {
            assert_eq!(class(word.as_bytes()), Class::Plain, "{word}");
        }
    }

    #[test]
    fn words_that_differ_have_different_identities() {
        let words = ["", "a", "b", "ab", "ba", "abcdefgh", "abcdefghi", "abcdefgh\0", "\0", "\0\0"];
        for (n, one) in words.iter().enumerate() {
            for other in &words[n + 1..] {
                assert_ne!(hash(one.as_bytes()), hash(other.as_bytes()), "{one:?} {other:?}");
            }
        }
    }
}
