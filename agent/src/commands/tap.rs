//! `tap`: what the running agent sees, live.

use super::socket::Socket;
use super::{Failure, without_controls};
use crate::args::{Output, TapArguments};
use std::io::{self, Write as _};
use std::ops::ControlFlow;
use std::time::Instant;
use vedette_edge::tap::{Patterns, Seen};

pub(super) fn run(arguments: &TapArguments) -> Result<(), Failure> {
    Patterns::parse(arguments.globs.iter().map(String::as_str)).map_err(Failure::usage)?;
    let socket = Socket::find(&arguments.agent)?;
    let until = arguments.lasts.map(|lasts| Instant::now() + lasts);
    let (mut left, mut failed) = (arguments.count.unwrap_or(u64::MAX), None);
    if left == 0 {
        return Ok(());
    }
    socket.follow(&arguments.globs, until, &mut |line| match told(&socket, line, arguments.output) {
        Ok((text, counts)) => {
            left -= u64::from(counts);
            match io::stdout().lock().write_all(text.as_bytes()) {
                Ok(()) if left > 0 => return ControlFlow::Continue(()),
                // Nobody listens any more.
                Err(error) if error.kind() != io::ErrorKind::BrokenPipe => failed = Some(Failure::io("stdout", &error)),
                _ => {}
            }
            ControlFlow::Break(())
        }
        Err(failure) => {
            failed = Some(failure);
            ControlFlow::Break(())
        }
    })?;
    failed.map_or(Ok(()), Err)
}

/// A line for whoever reads, and whether it counts: what was missed does not.
fn told(socket: &Socket, line: &str, output: Output) -> Result<(String, bool), Failure> {
    let seen: Seen = socket.read(line)?;
    let counts = !matches!(seen, Seen::Missed { .. });
    let text = match output {
        Output::Human => without_controls(&human(&seen)) + "\n",
        Output::Json => format!("{line}\n"),
    };
    Ok((text, counts))
}

fn human(seen: &Seen) -> String {
    match seen {
        Seen::Sample { at, series, value, unit, gap, reset } => {
            let unit = if unit == "1" { "" } else { unit };
            let flags = [(*gap, " after a gap"), (*reset, " after a reset")];
            let flags: String = flags.iter().filter(|(is_so, _)| *is_so).map(|(_, what)| *what).collect();
            format!("{} {series} {value} {unit}", clock(at)).trim_end().to_owned() + &flags
        }
        Seen::Log { at, source, template, line, new, .. } => {
            let new = if *new { " NEW" } else { "" };
            // An event of several lines is one thing all the same.
            format!("{} {source} [{}{new}] {}", clock(at), &template[..template.len().min(8)], line.replace('\n', "⏎"))
        }
        Seen::Verdict { at, detector, series, score, surprise, evidence } => {
            format!(
                "{} {detector} {series} score {score:.2}, surprise {surprise:.2}, evidence {evidence:.2}",
                clock(at)
            )
        }
        Seen::Missed { count } => format!("… {count} missed: this reader is slower than what it follows"),
    }
}

/// The time of day, UTC.
fn clock(at: &str) -> &str {
    at.split_once('T').map_or(at, |(_, time)| time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_get_a_line_for_each_thing() {
        let at = || "2026-11-20T10:00:00.250Z".to_owned();
        let sample = Seen::Sample {
            at: at(),
            series: "system.cpu.utilization{cpu=\"0\"}".to_owned(),
            value: 0.25,
            unit: "1".to_owned(),
            gap: true,
            reset: false,
        };
        assert_eq!(human(&sample), "10:00:00.250Z system.cpu.utilization{cpu=\"0\"} 0.25 after a gap");
        let log = Seen::Log {
            at: at(),
            source: "/var/log/a".to_owned(),
            template: "0123456789abcdef".to_owned(),
            text: "user <*>".to_owned(),
            line: "user <user>\nat f".to_owned(),
            new: true,
        };
        assert_eq!(human(&log), "10:00:00.250Z /var/log/a [01234567 NEW] user <user>⏎at f");
        let verdict = Seen::Verdict {
            at: at(),
            detector: "level".to_owned(),
            series: "x".to_owned(),
            score: 3.0,
            surprise: 1.25,
            evidence: 0.0,
        };
        assert_eq!(human(&verdict), "10:00:00.250Z level x score 3.00, surprise 1.25, evidence 0.00");
        assert!(human(&Seen::Missed { count: 7 }).contains("7 missed"));
    }
}
