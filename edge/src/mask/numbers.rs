//! Numbers with check digits.

/// Shortest and longest number of a bank account.
const IBAN_BYTES: std::ops::RangeInclusive<usize> = 15..=34;

/// Check digit of ISO/IEC 7812-1.
pub(super) fn luhn(digits: &[u8]) -> bool {
    let weigh = |(place, digit): (usize, &u8)| match (place % 2, digit * 2) {
        (0, _) => u32::from(*digit),
        (_, doubled) => u32::from(doubled / 10 + doubled % 10),
    };
    digits.iter().rev().enumerate().map(weigh).sum::<u32>() % 10 == 0
}

/// Bytes of the account number (ISO 13616) with which `text` begins, in one or in groups of four; 0 if it begins with
/// none. Of several that pass the check, the longest.
pub(super) fn iban_bytes(text: &[u8]) -> usize {
    let mut account = [0; *IBAN_BYTES.end()];
    let (mut count, mut found) = (0, 0);
    for (at, byte) in text.iter().enumerate() {
        if *byte == b' ' && count > 0 && count % 4 == 0 && text[at - 1] != b' ' {
            continue;
        }
        if !(byte.is_ascii_uppercase() || byte.is_ascii_digit()) || count == account.len() {
            break;
        }
        account[count] = *byte;
        count += 1;
        let ends = !text.get(at + 1).is_some_and(|next| next.is_ascii_alphanumeric() || *next == b'_');
        if ends && IBAN_BYTES.contains(&count) && mod_97(&account[..count]) == 1 {
            found = at + 1;
        }
    }
    found
}

/// Remainder of ISO/IEC 7064 with the first four signs moved to the end.
fn mod_97(account: &[u8]) -> u32 {
    let (head, tail) = account.split_at(4);
    tail.iter().chain(head).fold(0, |rest, byte| match byte {
        b'0'..=b'9' => (rest * 10 + u32::from(byte - b'0')) % 97,
        _ => (rest * 100 + u32::from(byte - b'A') + 10) % 97,
    })
}
