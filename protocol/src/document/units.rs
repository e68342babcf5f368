//! Durations and sizes as people write them.

const DURATION_UNITS: [(&str, u64); 5] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
const SIZE_UNITS: [(&str, u64); 4] = [("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];

/// Milliseconds of `"500ms"`, `"10s"`, `"2m"`, `"1h"` or `"7d"`: one whole number and one unit.
pub fn parse_duration_ms(text: &str) -> Option<u64> {
    parse_quantity(text, &DURATION_UNITS)
}

/// Bytes of `"512B"`, `"64KiB"`, `"8MiB"` or `"1GiB"`: one whole number and one unit.
pub fn parse_size_bytes(text: &str) -> Option<u64> {
    parse_quantity(text, &SIZE_UNITS)
}

/// The shortest form of a duration that [`parse_duration_ms`] reads back.
pub(super) fn format_duration_ms(ms: u64) -> String {
    format_quantity(ms, &DURATION_UNITS)
}

/// The shortest form of a size that [`parse_size_bytes`] reads back.
pub(super) fn format_size_bytes(bytes: u64) -> String {
    format_quantity(bytes, &SIZE_UNITS)
}

fn parse_quantity(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

fn format_quantity(value: u64, units: &[(&str, u64)]) -> String {
    let exact = |(_, factor): &&(&str, u64)| value >= *factor && value.is_multiple_of(*factor);
    let (unit, factor) = units.iter().rev().find(exact).unwrap_or(&units[0]);
    format!("{}{unit}", value / factor)
}
