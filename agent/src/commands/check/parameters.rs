//! What detectors say of the parameters that are meant for them: asked in confined workers, never in this process.

use crate::config::{Config, Misfit, ParameterTable};
use crate::runtime::detectors::Found;
use std::io;
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, mpsc};
use std::time::Duration;
use vedette_detector_host::engine::Execution;
use vedette_detector_host::supervise::Wanted;
use vedette_detector_host::wire::{self, REPLY_BYTES_MAX, REQUEST_BYTES_MAX};
use vedette_protocol::worker::{WorkerReply, WorkerRequest};

/// This very program: agent and worker speak one version.
const PROGRAM: &str = "/proc/self/exe";

/// Time for one detector to answer about all its parameters.
const ANSWERS_MAX: Duration = Duration::from_secs(20);

/// What came out.
#[derive(Debug, Default)]
pub(super) struct Judged {
    pub(super) misfits: Vec<Misfit>,
    /// What could not be tried, and why.
    pub(super) notes: Vec<String>,
}

/// Asks every detector that has parameters.
pub(super) fn judge(config: &Config, found: &Found) -> Judged {
    let mut judged = Judged::default();
    let named = |table| config.detectors.parameters_of(table).iter().map(move |(name, _)| (table, name));
    let named: Vec<_> = ParameterTable::ALL.into_iter().flat_map(named).collect();
    if named.is_empty() {
        return judged;
    }
    let execution = config.detectors.execution.resolve();
    judged.notes.extend(found.refused.iter().map(|one| format!("detector `{}` is refused: {}", one.name, one.reason)));
    for (table, name) in named {
        let wanted = found.wanted.iter().find(|one| one.name == *name && table_of(one) == table);
        match wanted {
            Some(wanted) => {
                let asked = |trials| ask((execution, config.limits.detector_memory_bytes), &wanted.artifact, trials);
                judged.misfits.extend(refusals(wanted, asked));
            }
            None => judged.absent(table, name, found),
        }
    }
    judged
}

fn table_of(wanted: &Wanted) -> ParameterTable {
    if wanted.shadow_of.is_some() { ParameterTable::Shadow } else { ParameterTable::Judged }
}

impl Judged {
    /// A name without a detector is a mistake where detectors are; where none is, or it is refused, nobody knows.
    fn absent(&mut self, table: ParameterTable, name: &str, found: &Found) {
        let known: Vec<_> =
            found.wanted.iter().filter(|one| one.shadow_of.is_none()).map(|one| format!("`{}`", one.name)).collect();
        if !found.whole || known.is_empty() || found.refused.iter().any(|one| one.name == name) {
            self.notes.push(format!("the parameters of `{name}` were not tried: the detector could not be read"));
            return;
        }
        let reason = format!("there is no such detector; there are: {}", known.join(", "));
        self.misfits.push(Misfit { table, detector: name.to_owned(), parameter: None, reason });
    }
}

/// Sets of parameters to load a detector with, one after the other.
type Trials = Vec<Vec<(String, f64)>>;

/// Each parameter is tried alone, so that all bad ones are told; then all together.
fn refusals(wanted: &Wanted, ask: impl FnOnce(Trials) -> Result<Vec<Option<String>>, String>) -> Vec<Misfit> {
    let misfit = |parameter: Option<&String>, reason: String| Misfit {
        table: table_of(wanted),
        detector: wanted.name.clone(),
        parameter: parameter.cloned(),
        reason,
    };
    let mut trials: Trials = wanted.parameters.iter().map(|one| vec![one.clone()]).collect();
    trials.push(wanted.parameters.clone());
    let mut answers = match ask(trials) {
        Ok(answers) => answers,
        Err(reason) => return vec![misfit(None, reason)],
    };
    let together = answers.pop().flatten();
    let names = wanted.parameters.iter().map(|(name, _)| name);
    let alone: Vec<_> =
        names.zip(answers).filter_map(|(name, answer)| answer.map(|reason| misfit(Some(name), reason))).collect();
    if alone.is_empty() { together.map(|reason| misfit(None, reason)).into_iter().collect() } else { alone }
}

/// Loads the detector with each set of parameters, in one worker: why it refused, or that it did not.
fn ask(
    (execution, memory_bytes): (Execution, usize),
    artifact: &Arc<[u8]>,
    trials: Trials,
) -> Result<Vec<Option<String>>, String> {
    let failed = |error: io::Error| format!("its worker cannot be started: {error}");
    let mut child = Command::new(PROGRAM)
        .args(["worker", execution.name(), &memory_bytes.to_string()])
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    let input = child.stdin.take().expect("it was asked for");
    let output = child.stdout.take().expect("it was asked for");
    let artifact = Arc::clone(artifact);
    let (tell, told) = mpsc::channel();
    // The thread ends with the worker, whose pipes break.
    std::thread::spawn(move || tell.send(converse(input, output, &artifact, trials)));
    let answers = told.recv_timeout(ANSWERS_MAX).unwrap_or_else(|_| Err("it did not answer in time".to_owned()));
    // It has ended by itself, or is not to go on.
    let _ = child.kill();
    let _ = child.wait();
    answers
}

fn converse(
    mut input: ChildStdin,
    mut output: ChildStdout,
    artifact: &[u8],
    trials: Trials,
) -> Result<Vec<Option<String>>, String> {
    let mut buffer = Vec::new();
    let mut answer = |detector: u32, parameters| -> Result<Option<String>, String> {
        let request = WorkerRequest::Load { detector, artifact: artifact.to_vec(), parameters };
        wire::write(&mut input, &request, REQUEST_BYTES_MAX, &mut buffer).map_err(|error| error.to_string())?;
        let reply = wire::read(&mut output, REPLY_BYTES_MAX, &mut buffer).map_err(|error| error.to_string())?;
        match reply {
            Some(WorkerReply::Loaded { .. }) => Ok(None),
            Some(WorkerReply::Failed { reason, .. }) => Ok(Some(reason)),
            _ => Err("its worker ended without an answer".to_owned()),
        }
    };
    (0..).zip(trials).map(|(detector, parameters)| answer(detector, parameters)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::RefusedStatus;
    use vedette_protocol::ids::Digest;

    fn wanted(name: &str, parameters: &[(&str, f64)]) -> Wanted {
        Wanted {
            name: name.to_owned(),
            version: "1".to_owned(),
            digest: Digest([0; 32]),
            artifact: Arc::from(&b""[..]),
            parameters: parameters.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect(),
            shadow_of: None,
        }
    }

    /// A detector with one parameter of 1 to 9.
    fn detector(trials: Trials) -> Result<Vec<Option<String>>, String> {
        let refusal = |parameters: &Vec<(String, f64)>| {
            let bad = parameters.iter().find(|(name, value)| name != "memory-s" || !(1.0..=9.0).contains(value));
            bad.map(|(name, value)| format!("{name} is {value}"))
        };
        Ok(trials.iter().map(refusal).collect())
    }

    fn told(misfits: &[Misfit]) -> Vec<(Option<&str>, &str)> {
        misfits.iter().map(|misfit| (misfit.parameter.as_deref(), misfit.reason.as_str())).collect()
    }

    #[test]
    fn every_bad_parameter_is_told_and_a_bad_whole_only_without_one() {
        let refused = refusals(&wanted("level", &[("memory-s", 10.0), ("other", 1.0)]), detector);
        assert_eq!(told(&refused), [(Some("memory-s"), "memory-s is 10"), (Some("other"), "other is 1")]);
        assert!(refusals(&wanted("level", &[("memory-s", 9.0)]), detector).is_empty());
        let together =
            |trials: Trials| Ok(trials.iter().map(|trial| (trial.len() > 1).then(|| "not both".into())).collect());
        let refused = refusals(&wanted("level", &[("a", 1.0), ("b", 1.0)]), together);
        assert_eq!(told(&refused), [(None, "not both")]);
    }

    #[test]
    fn name_without_a_detector_is_a_mistake_only_where_that_can_be_known() {
        let refused = RefusedStatus { name: "spike".to_owned(), ..RefusedStatus::default() };
        let found = |wanted, whole| Found { wanted, refused: vec![refused.clone()], whole };
        for (name, found, mistake) in [
            ("levl", found(vec![wanted("level", &[])], true), true),
            ("spike", found(vec![wanted("level", &[])], true), false),
            ("levl", found(vec![], true), false),
            ("levl", found(vec![wanted("level", &[])], false), false),
        ] {
            let mut judged = Judged::default();
            judged.absent(ParameterTable::Judged, name, &found);
            assert_eq!(
                (judged.misfits.len(), judged.notes.len()),
                (usize::from(mistake), usize::from(!mistake)),
                "{name}"
            );
        }
    }
}
