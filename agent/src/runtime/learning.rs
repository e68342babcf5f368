//! What detectors have learnt: taken over at start, stored each few minutes and at the end.

use super::agent::Agent;
use crate::clock::{mono_now, wall_now};
use crate::disk::Disk;
use crate::learnt::{self, Moment, Unusable};
use crate::status::LearntStatus;
use std::path::Path;
use std::time::Duration;
use vedette_edge::learnt::Away;
use vedette_edge::pipeline::Pipeline;
use vedette_protocol::ids::BootId;
use vedette_protocol::time::MonoTime;

/// A crash costs what was learnt since; each time writes the whole.
const STORED_EACH: Duration = Duration::from_secs(300);
/// Longest wait for the last states on the way out.
const LAST_STATES_MAX: Duration = Duration::from_secs(1);

/// What was found and when the next is stored.
pub(super) struct Learning {
    boot: BootId,
    due: MonoTime,
    /// The agent ends: until when the last states are waited for.
    ends: Option<MonoTime>,
    /// They are there.
    over: bool,
    age_ms: Option<u64>,
    /// It is another host's.
    is_prior: bool,
    refused: String,
    left_out: u64,
}

impl Learning {
    /// Hands the pipeline what an earlier life had learnt, if that is of use.
    pub(super) fn open(data_dir: &Path, boot: BootId, pipeline: &mut Pipeline) -> Self {
        let (mono, wall) = (mono_now(), wall_now());
        let now = Moment { boot, mono, wall };
        let (mut age, mut is_empty, mut is_prior, mut refused) = (None, true, false, String::new());
        for file in [learnt::FILE, learnt::PRIOR] {
            match take_over(data_dir, file, now, pipeline) {
                // An own one without a state knows less than any other.
                Ok(Some((found, states))) => (age, is_empty) = (Some(found), states == 0),
                Ok(None) => {}
                Err(why) => {
                    let file = data_dir.join(file);
                    refused = why.to_string();
                    tracing::warn!(file = %file.display(), reason = refused, "what was learnt is of no use");
                }
            }
            if !is_empty {
                is_prior = file == learnt::PRIOR;
                break;
            }
        }
        let age_ms = age.map(|age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX));
        Self { boot, due: mono + STORED_EACH, ends: None, over: false, age_ms, is_prior, refused, left_out: 0 }
    }

    /// The agent was told to stop: the next time that all states are there is the last.
    pub(super) fn handle_shutdown(&mut self, now: MonoTime) {
        self.ends = Some(now + LAST_STATES_MAX);
    }

    /// Until when the last states are waited for; `None` once they are there.
    pub(super) fn waits_until(&self) -> Option<MonoTime> {
        self.ends.filter(|_| !self.over)
    }

    fn store(&mut self, now: MonoTime, pipeline: &Pipeline, disk: &Disk) {
        if self.over || (self.ends.is_none() && now < self.due) {
            return;
        }
        self.over = self.ends.is_some();
        self.due = now + STORED_EACH;
        let learnt = pipeline.learnt(now);
        self.left_out = learnt.left_out();
        disk.handle_learnt(learnt::encode(&learnt, Moment { boot: self.boot, mono: now, wall: wall_now() }));
    }

    pub(super) fn status(&self, pipeline: &Pipeline, disk: &Disk) -> LearntStatus {
        let states = pipeline.return_counts();
        LearntStatus {
            age_ms: self.age_ms,
            is_prior: self.is_prior,
            refused: self.refused.clone(),
            states,
            waiting: states.waiting(),
            left_out: self.left_out,
            stored: disk.learnt(),
        }
    }
}

/// How old what was found is, and how many states; `None` if there was nothing.
fn take_over(
    data_dir: &Path,
    file: &str,
    now: Moment,
    pipeline: &mut Pipeline,
) -> Result<Option<(Duration, usize)>, Unusable> {
    let Some(bytes) = learnt::read(data_dir, file)? else { return Ok(None) };
    let is_prior = file == learnt::PRIOR;
    let (learnt, away) = learnt::decode(&bytes, now, if is_prior { learnt::PRIOR_AGE_MAX } else { learnt::AGE_MAX })?;
    let (Away::Agent(age) | Away::Host(age)) = away;
    tracing::info!(states = learnt.states(), age_s = age.as_secs(), file, "what detectors had learnt was found");
    match is_prior {
        true => pipeline.handle_prior(now.mono, &learnt, age),
        false => pipeline.handle_learnt(now.mono, &learnt, away),
    }
    Ok(Some((age, learnt.states())))
}

impl Agent {
    /// All states are there: stores what was learnt, if its time has come.
    pub(super) fn keep_learnt(&mut self, now: MonoTime) {
        self.learning.store(now, &self.pipeline, &self.disk);
    }
}
