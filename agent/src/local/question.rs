//! What can be asked, and how it is written.

use crate::recorder::read::Wanted;
use std::fmt;
use std::str::FromStr;
use vedette_edge::tap::Patterns;

/// Version of questions and answers; one that another agent does not know is refused by name.
const VERSION: &str = "v1";

/// Longest pattern of series: it is compared with the names of all of them.
const PATTERN_BYTES_MAX: usize = 512;

/// A question to the running agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// [`crate::status::Status`] as JSON.
    Status,
    /// The agent's own metrics as OpenMetrics text.
    Metrics,
    /// What the flight recorder holds of this that is not on disk yet, [`crate::recorder::read::Told`] as JSON.
    Recorder(Wanted),
    /// [`crate::cost::Bill`] as JSON.
    Cost,
    /// The series that stand out most, [`vedette_edge::pipeline::OddSeries`] as JSON.
    Oddest,
}

/// What one line asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// One answer.
    Question(Question),
    /// To follow these.
    Tap(Patterns),
}

impl Line {
    /// The line that asks to follow these, as a person wrote them.
    pub fn tap(globs: &[String]) -> String {
        format!("{VERSION} tap {}", serde_json::Value::from(globs))
    }
}

impl FromStr for Line {
    type Err = String;

    /// # Errors
    ///
    /// What can be asked instead, or what is wrong with the patterns.
    fn from_str(line: &str) -> Result<Self, String> {
        let rest = line.trim_end().strip_prefix(VERSION).and_then(|rest| rest.strip_prefix(" tap"));
        let Some(globs) = rest.filter(|rest| rest.is_empty() || rest.starts_with(' ')) else {
            return line.parse().map(Self::Question);
        };
        let globs: Vec<String> = match globs.trim() {
            "" => Vec::new(),
            list => {
                serde_json::from_str(list).map_err(|error| format!("`{VERSION} tap` takes a list of texts: {error}"))?
            }
        };
        Patterns::parse(globs.iter().map(String::as_str)).map(Self::Tap)
    }
}

/// Every question with its name.
const ALL: &[(&str, Question)] = &[
    ("status", Question::Status),
    ("metrics", Question::Metrics),
    ("recorder", Question::Recorder(Wanted::ALL)),
    ("cost", Question::Cost),
    ("oddest", Question::Oddest),
];

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, _) = ALL.iter().find(|(_, known)| known.is_like(self)).expect("every question has a name");
        write!(f, "{VERSION} {name}")?;
        match self {
            Self::Recorder(wanted) if *wanted != Wanted::ALL => {
                write!(f, " {}", serde_json::to_string(wanted).map_err(|_| fmt::Error)?)
            }
            _ => Ok(()),
        }
    }
}

impl Question {
    fn is_like(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }
}

impl FromStr for Question {
    type Err = String;

    /// # Errors
    ///
    /// What can be asked instead, or what is wrong with what is wanted.
    fn from_str(line: &str) -> Result<Self, String> {
        let rest = line.trim_end().strip_prefix(VERSION).and_then(|rest| rest.strip_prefix(' '));
        if let Some(wanted) = rest.and_then(|rest| rest.strip_prefix("recorder ")) {
            let wanted: Wanted = serde_json::from_str(wanted).map_err(|error| format!("what is wanted: {error}"))?;
            let fits = wanted.series.as_ref().is_none_or(|pattern| pattern.len() <= PATTERN_BYTES_MAX);
            return fits
                .then_some(Self::Recorder(wanted))
                .ok_or_else(|| format!("a pattern may have {PATTERN_BYTES_MAX} bytes"));
        }
        ALL.iter().find(|(known, _)| Some(*known) == rest).map(|(_, question)| question.clone()).ok_or_else(|| {
            let names: Vec<_> = ALL.iter().map(|(name, _)| format!("`{VERSION} {name}`")).collect();
            format!("unknown question; this agent answers {}, `{VERSION} tap [GLOB, …]`", names.join(", "))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_question_is_read_as_it_is_written() {
        for (_, question) in ALL {
            assert_eq!(format!("{question}\n").parse(), Ok(question.clone()));
        }
        let some = Wanted { begin_ms: -5, end_ms: 7, series: Some("a \"b\"*".to_owned()), lines: true };
        let before = r#"v1 recorder {"begin_ms":1,"end_ms":2,"series":null}"#.parse();
        let without_lines = Wanted { begin_ms: 1, end_ms: 2, series: None, lines: false };
        assert_eq!(before, Ok(Question::Recorder(without_lines)), "a command of before knew of no lines");
        let some = Question::Recorder(some);
        assert_eq!(format!("{some}\n").parse(), Ok(some));
        let long = Question::Recorder(Wanted { series: Some("*".repeat(PATTERN_BYTES_MAX + 1)), ..Wanted::ALL });
        assert!(long.to_string().parse::<Question>().is_err() && "v1 recorder x".parse::<Question>().is_err());
    }

    #[test]
    fn tap_is_read_as_it_is_written_and_a_bad_one_is_told_why() {
        let globs = ["system.cpu.*", "log:/var/log/a \"b\".log", "verdict:*"].map(str::to_owned);
        let patterns = Patterns::parse(globs.iter().map(String::as_str)).expect("fine");
        assert_eq!(format!("{}\n", Line::tap(&globs)).parse(), Ok(Line::Tap(patterns)));
        assert_eq!("v1 tap".parse(), Ok(Line::Tap(Patterns::parse([]).expect("fine"))));
        assert_eq!("v1 status\n".parse(), Ok(Line::Question(Question::Status)));
        for bad in ["v1 tap [1]", "v1 tap x", "v1 tap [\"\"]", "v2 tap", "v1 tapx"] {
            assert!(bad.parse::<Line>().is_err(), "{bad}");
        }
    }

    #[test]
    fn another_version_and_nonsense_are_told_what_there_is() {
        for line in ["status", "v2 status", "v1", "v1 ", "v1status", "v1 shutdown", "", "v1 status extra"] {
            let told = line.parse::<Question>().expect_err(line);
            assert!(told.contains("`v1 status`"), "{told}");
        }
    }
}
