//! Wall time as text after RFC 3339.

use super::WallTime;
use std::fmt;
use std::str::FromStr;

const NS_PER_S: i64 = 1_000_000_000;
const S_PER_DAY: i64 = 86_400;

/// A text was not a time after RFC 3339 with an offset, or lies outside the years 1678 to 2261.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected a time after RFC 3339 with an offset, such as 2026-12-31T00:00:00Z")]
pub struct ParseTimeError;

/// UTC with milliseconds: `2026-12-31T00:00:00.000Z`.
impl fmt::Display for WallTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.unix_ms();
        let seconds = ms.div_euclid(1_000);
        let (year, month, day) = civil_from_days(seconds.div_euclid(S_PER_DAY));
        let of_day = seconds.rem_euclid(S_PER_DAY);
        let (hour, minute, second) = (of_day / 3_600, of_day / 60 % 60, of_day % 60);
        let ms = ms.rem_euclid(1_000);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
    }
}

/// Reads `2026-12-31T00:00:00Z`, with a fraction of up to nine digits and with an offset such as `+02:00`.
///
/// A leap second (`:60`) is the second after it, as POSIX counts.
impl FromStr for WallTime {
    type Err = ParseTimeError;

    fn from_str(text: &str) -> Result<Self, ParseTimeError> {
        parse(text.as_bytes()).ok_or(ParseTimeError)
    }
}

fn parse(text: &[u8]) -> Option<WallTime> {
    let (date, rest) = text.split_at_checked(10)?;
    let (clock, rest) = rest.split_at_checked(9)?;
    let separators = [date[4], date[7], clock[3], clock[6]];
    if separators != *b"--::" || !matches!(clock[0], b'T' | b't' | b' ') {
        return None;
    }
    let (year, month, day) = (digits(&date[..4])?, digits(&date[5..7])?, digits(&date[8..])?);
    let (hour, minute, second) = (digits(&clock[1..3])?, digits(&clock[4..6])?, digits(&clock[7..])?);
    if !(1..=12).contains(&month) || !(1..=days_of_month(year, month)).contains(&day) {
        return None;
    }
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let (fraction_ns, rest) = parse_fraction(rest)?;
    let seconds =
        days_from_civil(year, month, day) * S_PER_DAY + hour * 3_600 + minute * 60 + second - parse_offset(rest)?;
    let unix_ns = seconds.checked_mul(NS_PER_S)?.checked_add(fraction_ns)?;
    Some(WallTime { unix_ns })
}

fn parse_fraction(text: &[u8]) -> Option<(i64, &[u8])> {
    let Some(text) = text.strip_prefix(b".") else { return Some((0, text)) };
    let count = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if !(1..=9).contains(&count) {
        return None;
    }
    let scale = (count..9).fold(1, |scale, _| scale * 10);
    Some((digits(&text[..count])? * scale, &text[count..]))
}

/// Seconds east of UTC.
fn parse_offset(text: &[u8]) -> Option<i64> {
    match text {
        b"Z" | b"z" => Some(0),
        [sign @ (b'+' | b'-'), hours @ .., b':', m0, m1] if hours.len() == 2 => {
            let (hours, minutes) = (digits(hours)?, digits(&[*m0, *m1])?);
            let seconds = (hours <= 23 && minutes <= 59).then_some(hours * 3_600 + minutes * 60)?;
            Some(if *sign == b'-' { -seconds } else { seconds })
        }
        _ => None,
    }
}

fn digits(text: &[u8]) -> Option<i64> {
    text.iter().try_fold(0, |value, byte| byte.is_ascii_digit().then(|| value * 10 + i64::from(byte - b'0')))
}

fn days_of_month(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970-01-01 of a date of the Gregorian calendar. Source: Hinnant, "chrono-Compatible Low-Level Date Algorithms".
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// The inverse of [`days_from_civil`].
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_times_read_and_print() {
        for (text, unix_ms) in [
            ("1970-01-01T00:00:00.000Z", 0),
            ("2026-12-31T00:00:00.000Z", 1_798_675_200_000),
            ("2024-02-29T23:59:59.999Z", 1_709_251_199_999),
            ("1969-12-31T23:59:59.000Z", -1_000),
        ] {
            assert_eq!(text.parse::<WallTime>().unwrap().unix_ms(), unix_ms);
            assert_eq!(WallTime::from_unix_ms(unix_ms).to_string(), text);
        }
    }

    #[test]
    fn offsets_fractions_and_leap_seconds_are_read() {
        let noon: WallTime = "2026-06-01T12:00:00Z".parse().unwrap();
        for same in
            ["2026-06-01T14:00:00+02:00", "2026-06-01 06:30:00-05:30", "2026-06-01T11:59:60z", "2026-06-01T12:00:00.0Z"]
        {
            assert_eq!(same.parse(), Ok(noon), "{same}");
        }
        let exact: WallTime = "1970-01-01T00:00:00.000000001Z".parse().unwrap();
        assert_eq!(exact.unix_ns, 1);
    }

    #[test]
    fn nonsense_is_refused() {
        for bad in [
            "",
            "2026-12-31",
            "2026-12-31T00:00:00",
            "2026-13-01T00:00:00Z",
            "2026-02-29T00:00:00Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:00:00.Z",
            "2026-01-01T00:00:00+2:00",
            "2026-01-01T00:00:00Z ",
            "9999-01-01T00:00:00Z",
            "2026-01-01T00:00:00.1234567890Z",
            "2026-01-01T00:00:00é",
            "+026-01-01T00:00:00Z",
        ] {
            assert_eq!(bad.parse::<WallTime>(), Err(ParseTimeError), "{bad}");
        }
    }

    #[test]
    fn every_day_of_five_centuries_round_trips() {
        for days in -100_000..100_000 {
            let (year, month, day) = civil_from_days(days);
            assert_eq!(days_from_civil(year, month, day), days);
        }
    }
}
