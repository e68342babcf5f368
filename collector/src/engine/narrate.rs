//! Title, class and severity of an incident, from facts only.

use super::episode::{Aspect, Episode};
use super::state::State;
use std::collections::BTreeSet;
use vedette_protocol::v1::Subject;

/// How bad it is, and why we say so.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Severity {
    pub(crate) value: &'static str,
    pub(crate) why: Vec<String>,
}

const LEVELS: [&str; 4] = ["low", "medium", "high", "critical"];
const TITLE_CHARS_MAX: usize = 240;
const TEMPLATE_CHARS: usize = 60;
/// The codes of a value that is repeated, and of what a series never or hardly ever does (registry: `wit/README.md`).
const STANDS_STILL: u32 = 601;
const NEW_KIND: u32 = 501;
const YOUNG_KIND: u32 = 502;
/// Larger values are not written out.
const PLAIN_MAX: f64 = 1e15;

impl State {
    /// From the tier of the services and the scope, not from the loudest score.
    pub(crate) fn severity(&self, members: &[&Episode]) -> Severity {
        let services: BTreeSet<&str> =
            members.iter().flat_map(|episode| &episode.services).map(String::as_str).collect();
        let hosts: BTreeSet<_> = members.iter().map(|episode| episode.host).collect();
        let tiered = services.iter().filter_map(|service| Some((self.graph.tier(service)?, *service))).min();
        let (mut level, mut why) = match tiered {
            Some((tier, service)) => {
                (3 - usize::from(tier.clamp(1, 4)).min(3), vec![format!("{service} is declared tier {tier}")])
            }
            None => (1, vec!["no tier is declared for what is affected".to_owned()]),
        };
        if hosts.len() > 1 {
            level += 1;
            why.push(format!("{} hosts are affected", hosts.len()));
        } else if services.len() > 1 {
            level += 1;
            why.push(format!("{} services are affected", services.len()));
        }
        Severity { value: LEVELS[level.min(LEVELS.len() - 1)], why }
    }

    /// One sentence: where, what is most surprising, what else, at most 240 characters. What has no room is cut at a
    /// word; how many findings are not told always has room.
    pub(crate) fn title(&self, members: &[&Episode]) -> String {
        let Some(leading) = leading(members) else { return "nothing".to_owned() };
        let hosts: BTreeSet<_> = members.iter().map(|episode| episode.host).collect();
        let place = match leading.services.first() {
            Some(service) if hosts.len() > 1 => format!("{service} on {} hosts", hosts.len()),
            Some(service) => format!("{service} on {}", self.host_name(leading.host)),
            None if hosts.len() > 1 => {
                format!("{} and {}", self.host_name(leading.host), more(hosts.len() - 1, "host"))
            }
            None => self.host_name(leading.host),
        };
        let place = shorten(&place, TITLE_CHARS_MAX / 3);
        let second = members.iter().find(|episode| episode.is_log() != leading.is_log());
        let told: Vec<String> = std::iter::once(&leading).chain(second).map(|episode| phrase(episode)).collect();
        let untold = members.len() - told.len();
        let tail = if untold > 0 { format!(", and {}", more(untold, "finding")) } else { String::new() };
        let room = TITLE_CHARS_MAX - chars(&place) - chars(": ") - chars(&tail);
        let told = match told.as_slice() {
            // The first may take what the second leaves, but never all.
            [first, second] if chars(first) + chars("; ") + chars(second) > room => {
                let first = shorten(first, (room - chars("; ")).saturating_sub(chars(second)).max(room / 2));
                format!("{first}; {}", shorten(second, room - chars("; ") - chars(&first)))
            }
            all => shorten(&all.join("; "), room),
        };
        format!("{place}: {told}{tail}")
    }
}

/// `2 more hosts`.
fn more(count: usize, what: &str) -> String {
    format!("{count} more {what}{}", if count == 1 { "" } else { "s" })
}

fn chars(text: &str) -> usize {
    text.chars().count()
}

/// A text of at most `chars_max` characters: if it is longer it ends at a word, with an ellipsis. A single long word is
/// cut where the room ends.
fn shorten(text: &str, chars_max: usize) -> String {
    let Some((end, _)) = text.char_indices().nth(chars_max.saturating_sub(1)) else { return text.to_owned() };
    if text[end..].chars().nth(1).is_none() {
        return text.to_owned();
    }
    let ends_word = text[end..].starts_with(char::is_whitespace);
    let kept = &text[..end];
    let at_word = if ends_word { Some(end) } else { kept.rfind(char::is_whitespace) };
    let kept = at_word.filter(|at| *at > end / 2).map_or(kept, |at| &kept[..at]);
    format!("{}…", kept.trim_end_matches(|c: char| c.is_whitespace() || ",;:".contains(c)))
}

/// Aspects that departed: `cpu+log`, at most three.
pub(crate) fn class(members: &[&Episode]) -> String {
    let names: BTreeSet<&str> = members.iter().map(|episode| area(episode)).collect();
    names.into_iter().take(3).collect::<Vec<_>>().join("+")
}

/// The member that says most: a metric before a log line, the more surprising first.
fn leading<'a>(members: &[&'a Episode]) -> Option<&'a Episode> {
    let rank =
        |episode: &&&Episode| (!episode.is_log(), episode.peak.surprise.to_bits(), std::cmp::Reverse(episode.id));
    members.iter().max_by_key(rank).copied()
}

fn area(episode: &Episode) -> &str {
    match episode.aspect() {
        Aspect::Template(_) => "log",
        Aspect::Metric(metric) => {
            let mut names = metric.split('.');
            let first = names.next().unwrap_or(metric);
            if first == "system" { names.next().unwrap_or(first) } else { first }
        }
    }
}

/// What one finding says, told by what was most surprising.
pub(crate) fn phrase(episode: &Episode) -> String {
    let peak = &episode.peak;
    match &episode.finding.subject {
        Subject::Series(meta) => {
            let at = match peak.code {
                STANDS_STILL => "standing still at",
                NEW_KIND | YOUNG_KIND => "unlike itself at",
                _ => "at",
            };
            let seen = format!("{} {at} {}", meta.display_name(), quantity(peak.observed, &meta.unit));
            if peak.expected.is_finite() {
                format!("{seen} instead of {}", quantity(peak.expected, &meta.unit))
            } else {
                seen
            }
        }
        Subject::LogTemplate { text, source, .. } => {
            format!("“{}” in {source}", shorten(text, TEMPLATE_CHARS))
        }
    }
}

/// The same, with the last value where that differs and it goes on.
pub(crate) fn phrase_now(episode: &Episode) -> String {
    let (phrase, latest) = (phrase(episode), latest(episode));
    match (&episode.finding.subject, latest) {
        (Subject::Series(meta), Some(latest)) => format!("{phrase}, now {}", quantity(latest, &meta.unit)),
        _ => phrase,
    }
}

/// The last value of what goes on, where it reads otherwise than the most surprising one.
pub(crate) fn latest(episode: &Episode) -> Option<f64> {
    let (last, peak) = (episode.finding.observed, episode.peak.observed);
    let Subject::Series(meta) = &episode.finding.subject else { return None };
    let differs = || quantity(last, &meta.unit) != quantity(peak, &meta.unit);
    (episode.ended.is_none() && last.is_finite() && differs()).then_some(last)
}

/// A value as people write it: ratios in percent, bytes with prefixes, others with three significant places.
pub(crate) fn quantity(value: f64, unit: &str) -> String {
    if value.abs() >= PLAIN_MAX {
        return format!("{value:.3e} {unit}").trim_end().to_owned();
    }
    match unit {
        "1" => format!("{:.1} %", value * 100.0),
        "By" | "By/s" => {
            let per = unit.trim_start_matches("By");
            let scales = [(1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")];
            let scale = scales.iter().find(|(scale, _)| value.abs() >= *scale);
            scale.map_or_else(
                || format!("{value:.0} B{per}"),
                |(scale, name)| format!("{:.1} {name}{per}", value / scale),
            )
        }
        _ => {
            let places = if value.abs() >= 100.0 {
                0
            } else if value.abs() >= 1.0 {
                2
            } else {
                4
            };
            format!("{value:.places$} {unit}").trim_end().to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_without_room_ends_at_a_word_with_an_ellipsis() {
        assert_eq!(shorten("one two three", 13), "one two three");
        assert_eq!(shorten("one two three", 12), "one two…");
        assert_eq!(shorten("one two, three", 10), "one two…");
        assert_eq!(shorten("one two three", 8), "one two…");
        assert_eq!(shorten("abcdefghijkl", 5), "abcd…");
        assert_eq!(shorten("ü ö ä", 4), "ü ö…");
        assert_eq!(shorten("", 5), "");
    }

    #[test]
    fn quantities_read_as_people_write_them() {
        assert_eq!(quantity(0.973, "1"), "97.3 %");
        assert_eq!(quantity(2.5e9, "By"), "2.5 GB");
        assert_eq!(quantity(1_500.0, "By/s"), "1.5 kB/s");
        assert_eq!(quantity(12.345, "{process}"), "12.35 {process}");
        assert_eq!(quantity(1.5e300, "By"), "1.500e300 By");
    }
}
