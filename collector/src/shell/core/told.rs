//! One line of the log when an incident opens and one when it resolves, however often it is stored in between.

use crate::engine::IncidentReport;
use crate::store::{Reader, StoreError};
use std::collections::BTreeSet;

/// Which incidents the log knows as open.
#[derive(Debug, Default)]
pub(crate) struct Told(BTreeSet<String>);

/// What the log has to hear of an incident.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum News {
    None,
    Opened,
    Resolved,
}

impl Told {
    /// What was stored as open was told by whoever stored it.
    pub(crate) fn stored(reader: &dyn Reader) -> Result<Self, StoreError> {
        Ok(Self(reader.open_incidents()?.into_iter().collect()))
    }

    /// The incident is to be stored as `report` says. `was_over` says whether it is stored as over already: a replay
    /// opens it once more.
    pub(crate) fn news(&mut self, report: &IncidentReport, was_over: impl FnOnce() -> bool) -> News {
        let open = report.state.is_open();
        match (open, self.0.contains(&report.id)) {
            (true, false) if !was_over() => {
                self.0.insert(report.id.clone());
                News::Opened
            }
            (false, true) => {
                self.0.remove(&report.id);
                News::Resolved
            }
            _ => News::None,
        }
    }
}

/// Tells it.
pub(crate) fn tell(news: News, report: &IncidentReport) {
    let hosts = report.entities.iter().filter(|entity| entity.kind == "host").count();
    let cause = cause(report);
    let (id, title, members) = (&report.id, &report.title, report.members.len());
    match news {
        News::None => {}
        News::Opened => tracing::info!(incident.id = id, title, members, hosts, cause, "incident opened"),
        News::Resolved => {
            let how = report.resolution;
            tracing::info!(incident.id = id, title, members, hosts, cause, ?how, "incident resolved");
        }
    }
}

/// The best candidate, or that there is none.
fn cause(report: &IncidentReport) -> String {
    match report.causes.first().filter(|_| report.cause_verdict.value == "candidate") {
        Some(best) => format!("{} of {}", best.change.path, best.change.host_name),
        None => report.cause_verdict.value.to_owned(),
    }
}
