//! Times as people and tools write them into CSV files.

/// Numbers from here on are milliseconds, below seconds: 10¹¹ s is the year 5138, 10¹¹ ms is 1973.
const MILLISECONDS_FROM: f64 = 1e11;

/// Milliseconds since 1970 of `2026-11-20T10:00:00Z`, `2026-11-20 10:00:00.5`, or seconds or milliseconds as a number.
/// Times without a zone are UTC; other zones are not accepted.
pub(super) fn parse(text: &str) -> Option<u64> {
    match text.parse::<f64>() {
        Ok(number) if (0.0..MILLISECONDS_FROM).contains(&number) => whole(number * 1_000.0),
        Ok(number) if (MILLISECONDS_FROM..1e15).contains(&number) => whole(number),
        Ok(_) => None,
        Err(_) => calendar(text.strip_suffix('Z').unwrap_or(text)),
    }
}

/// Date and time of day in UTC: `2026-11-20 10:00`, with seconds where they are not zero.
pub(crate) fn text(ms: u64) -> String {
    let (day, second) = (ms / 86_400_000, ms / 1_000 % 86_400);
    // From a day to the year, month and day of the Gregorian calendar. Source: Howard Hinnant, `civil_from_days`.
    let shifted = day + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year + year / 4 - year / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = year + era * 400 + u64::from(month <= 2);
    let date = format!("{year}-{month:02}-{:02}", day_of_year - (153 * from_march + 2) / 5 + 1);
    let clock = format!("{:02}:{:02}", second / 3_600, second / 60 % 60);
    if second % 60 == 0 { format!("{date} {clock}") } else { format!("{date} {clock}:{:02}", second % 60) }
}

fn calendar(text: &str) -> Option<u64> {
    let (date, time) = text.split_once(['T', ' '])?;
    let mut date = date.splitn(3, '-').map(|part| part.parse::<u64>().ok());
    let (year, month, day) = (date.next()??, date.next()??, date.next()??);
    let mut time = time.splitn(3, ':');
    let (hour, minute) = (time.next()?.parse::<u64>().ok()?, time.next()?.parse::<u64>().ok()?);
    let second = time.next().map_or(Some(0.0), |text| text.parse::<f64>().ok())?;
    let valid = (1970..10_000).contains(&year)
        && (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && hour < 24
        && minute < 60
        && (0.0..61.0).contains(&second);
    if !valid {
        return None;
    }
    let minutes = (days(year, month, day) * 24 + hour) * 60 + minute;
    whole(second * 1_000.0).map(|ms| minutes * 60_000 + ms)
}

/// Days from 1970-01-01 to a date of the Gregorian calendar. Source: Howard Hinnant, `days_from_civil`.
fn days(year: u64, month: u64, day: u64) -> u64 {
    let year = if month <= 2 { year.saturating_sub(1) } else { year };
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day.saturating_sub(1);
    (year * 365 + year / 4 - year / 100 + year / 400 + day_of_year).saturating_sub(719_468)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to be within 0 and 10¹⁵")]
fn whole(ms: f64) -> Option<u64> {
    (0.0..1e15).contains(&ms).then(|| ms.round() as u64)
}

#[cfg(test)]
mod tests {
    use super::{parse, text};

    #[test]
    fn times_are_told_as_they_are_read() {
        for told in ["1970-01-01 00:00", "2000-02-29 23:59:59", "2026-11-20 10:00", "2100-03-01 00:00:01"] {
            assert_eq!(parse(told).map(text).as_deref(), Some(told));
        }
    }

    #[test]
    fn every_form_of_one_moment_is_the_same() {
        let forms = ["1795168800", "1795168800.0", "1795168800000", "2026-11-20T10:00:00Z", "2026-11-20 10:00:00"];
        assert_eq!(forms.map(parse), [Some(1_795_168_800_000); 5]);
        assert_eq!(parse("2000-02-29 23:59:59.5"), Some(951_868_799_500));
        assert_eq!((parse("1970-01-01 00:00"), parse("0")), (Some(0), Some(0)));
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in
            ["", "yesterday", "-1", "inf", "NaN", "2026-13-01 00:00:00", "2026-11-20", "2026-11-20T10:00:00+02:00"]
        {
            assert_eq!(parse(text), None, "{text}");
        }
        for text in ["9999999999999999999-01-01 00:00", "2026-11-20 9999999999999999999:00"] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
