//! Times as the data sets write them: all to milliseconds since 1970 UTC.

use vedette_protocol::time::WallTime;

/// Whole numbers up to this are seconds, larger ones milliseconds, even larger ones nanoseconds.
const SECONDS_MAX: i64 = 100_000_000_000;
const MILLISECONDS_MAX: i64 = SECONDS_MAX * 1_000;

/// Reads `2014-04-01 00:00:00`, with `T` for the blank, a fraction, an offset (UTC without one), without seconds, as
/// `4/1/2014 1:05:00 PM`, or seconds, milliseconds or nanoseconds since 1970.
pub(crate) fn parse(text: &str) -> Option<i64> {
    let text = text.trim();
    if let Ok(count) = text.parse::<i64>() {
        return Some(match count.saturating_abs() {
            size if size <= SECONDS_MAX => count * 1_000,
            size if size <= MILLISECONDS_MAX => count,
            _ => count / 1_000_000,
        });
    }
    if text.contains('/') { american(text) } else { iso(text) }
}

fn iso(text: &str) -> Option<i64> {
    let (date, clock) = text.split_at_checked(10)?;
    let clock = clock.trim_start_matches(['T', 't', ' ']);
    let (clock, offset) = match clock.find(['Z', 'z', '+', '-']) {
        Some(at) => clock.split_at(at),
        None => (clock, "Z"),
    };
    let clock = match clock.matches(':').count() {
        0 if clock.is_empty() => "00:00:00".to_owned(),
        1 => format!("{clock}:00"),
        _ => clock.to_owned(),
    };
    let time: WallTime = format!("{date}T{clock}{}", offset.trim()).parse().ok()?;
    Some(time.unix_ms())
}

fn american(text: &str) -> Option<i64> {
    let mut words = text.split_whitespace();
    let mut date = words.next()?.split('/').map(str::parse::<u32>);
    let (month, day, year) = (date.next()?.ok()?, date.next()?.ok()?, date.next()?.ok()?);
    let mut clock = words.next().unwrap_or("0:00:00").split(':').map(str::parse::<u32>);
    let (hour, minute) = (clock.next()?.ok()?, clock.next()?.ok()?);
    let second = clock.next().unwrap_or(Ok(0)).ok()?;
    let hour = match words.next().map(str::to_ascii_uppercase).as_deref() {
        Some("AM") => hour % 12,
        Some("PM") => hour % 12 + 12,
        None => hour,
        Some(_) => return None,
    };
    iso(&format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_a_time_is_the_same_time() {
        let forms = [
            "2014-04-01 00:05:00",
            "2014-04-01 00:05:00.000000",
            "2014-04-01T00:05:00Z",
            "2014-04-01T02:05:00.000+02:00",
            "2014-04-01 00:05",
            "4/1/2014 12:05:00 AM",
            "04/01/2014 0:05",
            "1396310700",
            "1396310700000",
        ];
        for form in forms {
            assert_eq!(parse(form), Some(1_396_310_700_000), "{form}");
        }
        assert_eq!(parse("4/1/2014 12:05:00 PM"), Some(1_396_310_700_000 + 43_200_000));
        assert_eq!(parse("2014-04-01"), Some(1_396_310_400_000));
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in ["", "yesterday", "2014-13-01 00:00:00", "2014-04-01 25:00:00", "1/2", "é€😀2014-04-01"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
