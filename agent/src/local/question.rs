//! What can be asked, and how it is written.

use std::fmt;
use std::str::FromStr;

/// Version of questions and answers; one that another agent does not know is refused by name.
const VERSION: &str = "v1";

/// A question to the running agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Question {
    /// [`crate::status::Status`] as JSON.
    Status,
    /// The agent's own metrics as OpenMetrics text.
    Metrics,
    /// What the flight recorder holds that is not on disk yet, as JSON.
    Recorder,
    /// [`crate::cost::Bill`] as JSON.
    Cost,
}

/// Every question with its name.
const ALL: &[(&str, Question)] = &[
    ("status", Question::Status),
    ("metrics", Question::Metrics),
    ("recorder", Question::Recorder),
    ("cost", Question::Cost),
];

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, _) = ALL.iter().find(|(_, question)| question == self).expect("every question has a name");
        write!(f, "{VERSION} {name}")
    }
}

impl FromStr for Question {
    type Err = String;

    /// # Errors
    ///
    /// What can be asked instead.
    fn from_str(line: &str) -> Result<Self, String> {
        let name = line.trim_end().strip_prefix(VERSION).and_then(|rest| rest.strip_prefix(' '));
        ALL.iter().find(|(known, _)| Some(*known) == name).map(|(_, question)| *question).ok_or_else(|| {
            let names: Vec<_> = ALL.iter().map(|(name, _)| format!("`{VERSION} {name}`")).collect();
            format!("unknown question; this agent answers {}", names.join(", "))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_question_is_read_as_it_is_written() {
        for (_, question) in ALL {
            assert_eq!(format!("{question}\n").parse(), Ok(*question));
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
