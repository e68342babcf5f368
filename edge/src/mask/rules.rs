//! What an operator adds to the masks that are always there.

use core::net::{Ipv4Addr, Ipv6Addr};
use regex::{Regex, RegexBuilder};
use std::borrow::Cow;
use std::str::FromStr;
use std::sync::Arc;

/// Takes the place of what a pattern matches.
pub(super) const MASKED: &str = "<masked>";
const ADDRESS: &str = "<address>";
/// Longest pattern.
pub const PATTERN_BYTES_MAX: usize = 512;
/// Memory that one compiled pattern may take.
const COMPILED_BYTES_MAX: usize = 256 << 10;

/// A pattern whose matches are masked; its first group alone, if it has one. Matching takes linear time.
#[derive(Clone, Debug)]
pub struct Pattern(Regex);

/// Why a text is no pattern.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PatternError {
    /// Too long or too large.
    #[error("it is too large")]
    TooLarge,
    /// No regular expression.
    #[error("it is no regular expression")]
    Syntax,
    /// It would mask the empty text, or what is masked already: not the same once more.
    #[error("it matches the empty text or a mask")]
    Everything,
}

/// What is masked beside secrets and personal data.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MaskRules {
    /// Patterns.
    pub patterns: Vec<Pattern>,
    /// Whether addresses of hosts (IPv4, IPv6) are masked.
    pub addresses: bool,
}

/// All masks of a host: complete over every text that leaves it, and the same whenever it comes again.
#[derive(Clone, Debug, Default)]
pub struct Masks {
    rules: Option<Arc<MaskRules>>,
}

impl Masks {
    /// The masks that are always there, and these.
    pub fn new(rules: MaskRules) -> Self {
        let adds = !rules.patterns.is_empty() || rules.addresses;
        Self { rules: adds.then(|| Arc::new(rules)) }
    }

    /// `text` with everything replaced that is to be.
    pub fn masked(&self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        self.mask_into(text, &mut out);
        out
    }

    /// Appends `text` to `out` with everything replaced that is to be; how many places were. Without rules of an operator
    /// it allocates nothing but what `out` lacks.
    pub fn mask_into(&self, text: &str, out: &mut String) -> u32 {
        let Some(rules) = &self.rules else { return super::mask_into(text, out) };
        let (mut text, mut places) = (Cow::Borrowed(text), 0);
        for pattern in &rules.patterns {
            if let Some((masked, count)) = pattern.mask(&text) {
                (text, places) = (Cow::Owned(masked), places + count);
            }
        }
        if !rules.addresses {
            return places + super::mask_into(&text, out);
        }
        let mut masked = String::with_capacity(text.len());
        places += super::mask_into(&text, &mut masked);
        places + mask_addresses(&masked, out)
    }
}

impl Pattern {
    /// As it was written.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// `None` if nothing matches.
    fn mask(&self, text: &str) -> Option<(String, u32)> {
        let mut out = String::new();
        let (mut copied, mut places) = (0, 0);
        for found in self.0.captures_iter(text) {
            let Some(part) = found.get(1).or_else(|| found.get(0)).filter(|part| !part.is_empty()) else { continue };
            out.push_str(&text[copied..part.start()]);
            out.push_str(MASKED);
            places += u32::from(part.as_str() != MASKED);
            copied = part.end();
        }
        if copied == 0 {
            return None;
        }
        out.push_str(&text[copied..]);
        Some((out, places))
    }
}

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        if text.len() > PATTERN_BYTES_MAX {
            return Err(PatternError::TooLarge);
        }
        let mut builder = RegexBuilder::new(text);
        let regex = builder.size_limit(COMPILED_BYTES_MAX).dfa_size_limit(COMPILED_BYTES_MAX).build();
        let pattern = Self(regex.map_err(|error| match error {
            regex::Error::CompiledTooBig(_) => PatternError::TooLarge,
            _ => PatternError::Syntax,
        })?);
        let matches_mask = || super::PLACEHOLDERS.iter().any(|mask| pattern.mask(mask).is_some());
        if pattern.0.is_match("") || matches_mask() { Err(PatternError::Everything) } else { Ok(pattern) }
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

/// Appends `text` to `out` with every address of a host replaced. Ports, lengths of prefixes and labels stay.
fn mask_addresses(text: &str, out: &mut String) -> u32 {
    let (mut copied, mut at, mut places) = (0, 0, 0);
    let bytes = text.as_bytes();
    while at < bytes.len() {
        let end = at + bytes[at..].iter().take_while(|byte| may_be_address(**byte)).count();
        let joined = at > 0 && is_word(bytes[at - 1]);
        // A label may end in hexadecimal digits: `ipv4:`, `addr:`. What is behind it is looked at as if it stood alone; so
        // are IPv4 addresses behind any colon, while the tail of a fingerprint is no IPv6 address.
        let (mut from, mut colons) = (at, 0);
        while from < end {
            let run = &text[from..end];
            let address = match (colons, joined) {
                (0, true) => 0,
                (0, false) | (1, true) => v6_bytes(run).max(v4_bytes(run)),
                _ => v4_bytes(run),
            };
            if address > 0 && !bytes.get(from + address).is_some_and(|next| is_word(*next)) {
                out.push_str(&text[copied..from]);
                out.push_str(ADDRESS);
                copied = from + address;
                from = copied;
                places += 1;
            }
            from = text[from..end].find(':').map_or(end, |colon| from + colon + 1);
            colons += 1;
        }
        at = end.max(at + 1);
    }
    out.push_str(&text[copied..]);
    places
}

const fn may_be_address(byte: u8) -> bool {
    byte.is_ascii_hexdigit() || matches!(byte, b'.' | b':')
}

const fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// Bytes of the IPv4 address that the run begins with, before a port (`:443`, or `.443` as tcpdump writes it) or a full
/// stop. More than five numbers are no address.
fn v4_bytes(run: &str) -> usize {
    let dotted = run.split(':').next().unwrap_or_default().trim_end_matches('.');
    let is_address = |text: &str| text.parse::<Ipv4Addr>().is_ok();
    match dotted.rsplit_once('.') {
        Some(_) if is_address(dotted) => dotted.len(),
        Some((host, _)) if is_address(host) => host.len(),
        _ => 0,
    }
}

/// Bytes of the IPv6 address that the run is, but for a full stop and a port behind an IPv4 address or, as tcpdump
/// writes it, behind a full stop.
fn v6_bytes(run: &str) -> usize {
    let run = run.trim_end_matches(['.', ':']);
    let is_address = |text: &str| text.len() > 2 && text.parse::<Ipv6Addr>().is_ok();
    let before = |separator| run.rsplit_once(separator).map_or("", |(host, _)| host);
    let hosts = [run, before('.'), before(':')];
    let fits = |(nth, host): &(usize, &str)| is_address(host) && (*nth < 2 || host.contains('.'));
    hosts.into_iter().enumerate().find(fits).map_or(0, |(_, host)| host.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masks(patterns: &[&str], addresses: bool) -> Masks {
        let patterns = patterns.iter().map(|pattern| pattern.parse().unwrap()).collect();
        Masks::new(MaskRules { patterns, addresses })
    }

    #[test]
    fn operators_patterns_come_on_top_and_the_result_stays() {
        let masks = masks(&[r"EMP-\d{4}", r"patient=(\w+)"], false);
        let text = "EMP-0042 saw patient=Doe42 password=x at EMP-0043";
        let expected = "<masked> saw patient=<masked> password=<secret> at <masked>";
        let mut out = String::new();
        assert_eq!((masks.mask_into(text, &mut out), out.as_str()), (4, expected));
        assert_eq!(masks.masked(expected), expected);
    }

    #[test]
    fn addresses_are_masked_on_demand_and_times_are_not() {
        let masks = masks(&[], true);
        for (text, expected) in [
            ("from 10.0.0.7:443 to [fe80::1%eth0]", "from <address>:443 to [<address>%eth0]"),
            ("10.1.2.0/24 via ::ffff:10.0.0.1.", "<address>/24 via <address>."),
            ("at 12:30:45 version 1.2.3 std::io c0:ff:ee", "at 12:30:45 version 1.2.3 std::io c0:ff:ee"),
            ("bob@example.com from 2001:db8::2", "<email> from <address>"),
            ("ipv4:10.0.0.7:443 addr:10.0.0.1 ip:10.0.0.2", "ipv4:<address>:443 addr:<address> ip:<address>"),
            ("host:10.0.0.3, db:10.0.0.4:5432", "host:<address>, db:<address>:5432"),
            ("ip6:2001:db8::1 addr:fe80::1", "ip6:<address> addr:<address>"),
            ("IP 10.0.0.7.443 > 10.0.0.8.51234: Flags", "IP <address>.443 > <address>.51234: Flags"),
            ("IP6 fe80::1.5353 > ::ffff:10.0.0.1.53:", "IP6 <address>.5353 > <address>.53:"),
            ("publish 10.0.0.7:8080:80 10.0.0.1:10.0.0.2", "publish <address>:8080:80 <address>:<address>"),
            ("oid 1.3.6.1.4.1.311 std::dead::beef v1.2.3.4", "oid 1.3.6.1.4.1.311 std::dead::beef v1.2.3.4"),
            ("MD5 a0:b1:c2:d3:e4:f5:a6:b7:c8:d9:ea:fb", "MD5 a0:b1:c2:d3:e4:f5:a6:b7:c8:d9:ea:fb"),
        ] {
            assert_eq!(masks.masked(text), expected);
            assert_eq!(masks.masked(expected), expected);
        }
        assert_eq!(Masks::default().masked("from 10.0.0.7"), "from 10.0.0.7");
    }

    #[test]
    fn patterns_that_cannot_be_used_are_refused() {
        for (text, expected) in [
            ("(", PatternError::Syntax),
            ("x*", PatternError::Everything),
            ("[a-z]+", PatternError::Everything),
            ("(?:a{1000}){1000}", PatternError::TooLarge),
        ] {
            assert_eq!(text.parse::<Pattern>().unwrap_err(), expected, "{text}");
        }
        assert_eq!("a".repeat(PATTERN_BYTES_MAX + 1).parse::<Pattern>().unwrap_err(), PatternError::TooLarge);
    }
}
