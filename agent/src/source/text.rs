//! Parsing of the kernel's text files on bytes: no allocation, no UTF-8 check where none is needed.

/// Lines without their ends, empty ones left out.
pub(super) fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty())
}

/// Fields between blanks.
pub(super) fn fields(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|byte| *byte == b' ' || *byte == b'\t').filter(|field| !field.is_empty())
}

/// A decimal number; `None` if it is not one or does not fit.
pub(super) fn number(field: &[u8]) -> Option<u64> {
    if field.is_empty() {
        return None;
    }
    field.iter().try_fold(0_u64, |value, byte| {
        let digit = byte.checked_sub(b'0').filter(|digit| *digit <= 9)?;
        value.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

/// A number with a decimal point.
pub(super) fn decimal(field: &[u8]) -> Option<f64> {
    std::str::from_utf8(field).ok()?.parse().ok().filter(|value: &f64| value.is_finite())
}

/// The next `N` fields as numbers.
pub(super) fn numbers<'a, const N: usize>(fields: &mut impl Iterator<Item = &'a [u8]>) -> Option<[u64; N]> {
    let mut values = [0; N];
    for value in &mut values {
        *value = number(fields.next()?)?;
    }
    Some(values)
}

/// Kernel counters as floating point: exact below 2^53, which at 10 GB/s takes ten days of one counter; above it the
/// error stays below one part in 10^15.
#[expect(clippy::cast_precision_loss, reason = "see above")]
pub(super) fn float(value: u64) -> f64 {
    value as f64
}

/// A number's text, without the heap.
#[derive(Clone, Copy, Debug)]
pub(super) struct Digits {
    bytes: [u8; 10],
    start: usize,
}

impl Digits {
    /// The text of `value`.
    pub(super) fn of(mut value: u32) -> Self {
        let mut digits = Self { bytes: [b'0'; 10], start: 10 };
        loop {
            digits.start -= 1;
            digits.bytes[digits.start] = b'0' + u8::try_from(value % 10).expect("a digit fits a byte");
            value /= 10;
            if value == 0 {
                return digits;
            }
        }
    }

    /// As text.
    pub(super) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[self.start..]).expect("digits are ASCII")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_refuse_what_is_none() {
        assert_eq!(number(b"18446744073709551615"), Some(u64::MAX));
        assert_eq!(number(b"18446744073709551616"), None);
        for bad in [&b""[..], b"-1", b"1.5", b"0x1", b"12k"] {
            assert_eq!(number(bad), None, "{bad:?}");
        }
        assert_eq!(decimal(b"1.05"), Some(1.05));
        assert_eq!(decimal(b"inf"), None);
    }

    #[test]
    fn digits_are_those_of_display() {
        for value in [0, 7, 10, 255, 4_294_967_295] {
            assert_eq!(Digits::of(value).as_str(), value.to_string());
        }
    }

    #[test]
    fn too_few_fields_are_no_numbers() {
        assert_eq!(numbers::<2>(&mut fields(b" 1\t 2 ")), Some([1, 2]));
        assert_eq!(numbers::<3>(&mut fields(b"1 2")), None);
    }
}
