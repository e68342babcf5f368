//! What a single word gives away: keys of secrets, tokens with a known start, keys by their look.

use std::ops::Range;

/// What a word is by itself.
#[derive(Clone, Debug)]
pub(super) enum Verdict {
    /// Nothing by itself; may be the part before `@` of an address.
    Local,
    /// Begins with a digit: may begin a card's number.
    Digits,
    /// Begins like the number of a bank account.
    Account,
    /// This part of it is a secret.
    Replace(Range<usize>, &'static str),
}

/// Anywhere in a key, in lower case: its value is secret.
const SECRET_KEYS: [&str; 17] = [
    "password",
    "passwd",
    "passphrase",
    "pwd",
    "secret",
    "token",
    "apikey",
    "api_key",
    "api-key",
    "accesskey",
    "access_key",
    "privatekey",
    "private_key",
    "credential",
    "authorization",
    "accountkey",
    "signature",
];
/// As a whole segment of a key.
const SECRET_SEGMENTS: [&str; 13] =
    ["auth", "pass", "pw", "pin", "sid", "sessionid", "cookie", "jwt", "otp", "cvv", "cvc", "ssn", "sig"];
/// Tokens that say what they are, with their least length.
const PREFIXES: [(&str, usize); 35] = [
    ("ghp_", 20),
    ("gho_", 20),
    ("ghu_", 20),
    ("ghs_", 20),
    ("ghr_", 20),
    ("github_pat_", 30),
    ("glpat-", 20),
    ("xoxb-", 20),
    ("xoxp-", 20),
    ("xoxa-", 20),
    ("sk_live_", 16),
    ("rk_live_", 16),
    ("sk-", 24),
    ("AIza", 35),
    ("xapp-", 20),
    ("npm_", 36),
    ("pypi-", 40),
    ("whsec_", 20),
    ("hvs.", 24),
    ("SG.", 40),
    ("ya29.", 24),
    ("dop_v1_", 40),
    ("AGE-SECRET-KEY-", 40),
    ("xoxr-", 20),
    ("xoxs-", 20),
    ("xoxe.", 20),
    ("sk_test_", 16),
    ("rk_test_", 16),
    ("GOCSPX-", 20),
    ("shpat_", 30),
    ("glsa_", 30),
    ("lin_api_", 30),
    ("dckr_pat_", 20),
    ("dapi", 36),
    ("ATATT3", 40),
];
const KEY_BYTES_MAX: usize = 64;
const AWS_KEY_BYTES: usize = 20;
/// Whoever knows the path after it may write to a channel.
const WEBHOOK: &str = "hooks.slack.com/services/";

/// Whether the value after this key is secret.
pub(super) fn names_secret(word: &str) -> bool {
    let word = word.as_bytes();
    let mut lower = [0; KEY_BYTES_MAX];
    let tail = &word[word.len().saturating_sub(KEY_BYTES_MAX)..];
    let lower = &mut lower[..tail.len()];
    lower.copy_from_slice(tail);
    lower.make_ascii_lowercase();
    let lower = &*lower;
    SECRET_KEYS.iter().any(|key| contains(lower, key.as_bytes()))
        || lower
            .split(|byte| matches!(byte, b'_' | b'-' | b'.' | b'/'))
            .any(|segment| SECRET_SEGMENTS.iter().any(|key| key.as_bytes() == segment))
}

fn contains(text: &[u8], wanted: &[u8]) -> bool {
    text.len() >= wanted.len() && text.windows(wanted.len()).any(|window| window == wanted)
}

/// Judges a word by its look.
pub(super) fn judge_word(word: &str) -> Verdict {
    let bytes = word.as_bytes();
    if bytes.len() >= 16
        && let Some((part, mask)) = long_secret(word)
    {
        return Verdict::Replace(part, mask);
    }
    match bytes {
        [b'0'..=b'9', ..] if bytes.iter().all(|byte| byte.is_ascii_digit() || *byte == b'-') => Verdict::Digits,
        [b'A'..=b'Z', b'A'..=b'Z', b'0'..=b'9', b'0'..=b'9', ..] => Verdict::Account,
        _ => Verdict::Local,
    }
}

fn long_secret(word: &str) -> Option<(Range<usize>, &'static str)> {
    let mut start = 0;
    // A token may be a part of a path or of an address.
    for part in word.split('/') {
        if part.len() >= 16
            && let Some((length, mask)) = token(part)
        {
            return Some((start..start + length, mask));
        }
        start += part.len() + 1;
    }
    if let Some(hook) = word.find(WEBHOOK).map(|at| at + WEBHOOK.len()).filter(|at| *at < word.len()) {
        return Some((hook..word.len(), super::SECRET));
    }
    is_random(word).then_some((0..word.len(), super::SECRET))
}

/// Length and mask of a token with which `part` begins.
fn token(part: &str) -> Option<(usize, &'static str)> {
    if is_jwt(part) {
        return Some((part.len(), "<jwt>"));
    }
    if begins_with_aws_key(part) {
        return Some((AWS_KEY_BYTES, "<aws-key>"));
    }
    let is_token = PREFIXES.iter().any(|(prefix, length)| part.len() >= *length && part.starts_with(prefix));
    is_token.then_some((part.len(), super::SECRET))
}

/// RFC 7519: three base64url parts, the first of which encodes `{"`.
fn is_jwt(word: &str) -> bool {
    word.starts_with("eyJ") && word.len() >= 20 && word.bytes().filter(|byte| *byte == b'.').count() >= 2
}

/// `AKIA` or `ASIA` and 16 capitals or digits.
fn begins_with_aws_key(word: &str) -> bool {
    let Some(rest) = word.strip_prefix("AKIA").or_else(|| word.strip_prefix("ASIA")) else { return false };
    let upper = rest.bytes().take_while(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit()).count();
    upper == AWS_KEY_BYTES - 4 && !rest[upper..].starts_with(|next: char| next.is_ascii_alphanumeric())
}

/// A long word that looks drawn at random from base64: capitals, small letters and digits all mixed.
///
/// Hexadecimal digests and UUIDs have no capitals beside small letters and stay; so do paths and version strings.
fn is_random(word: &str) -> bool {
    word.len() >= 32 && !word.contains('.') && !is_path(word) && is_mixed(word)
}

/// Begins with a slash and goes on in names that are none of them long and mixed. In base64 every 64th character is a
/// slash, the first one too.
fn is_path(word: &str) -> bool {
    let mut names = word.split('/');
    names.next() == Some("") && word[1..].contains('/') && !names.any(|name| name.len() >= 20 && is_mixed(name))
}

fn is_mixed(word: &str) -> bool {
    let count = |class: fn(&u8) -> bool| word.as_bytes().iter().filter(|byte| class(byte)).count();
    count(u8::is_ascii_uppercase) >= 4 && count(u8::is_ascii_lowercase) >= 4 && count(u8::is_ascii_digit) >= 2
}
