//! `worker`: the process that runs detectors. The agent starts it with pipes for stdin and stdout.

use super::Failure;
use rustix::process::Signal;
use vedette_detector_host::engine::Execution;

pub(super) fn run(execution: Execution, memory_bytes: usize) -> Result<(), Failure> {
    // Its input ends with the agent too; this also ends a detector that is deep in a call.
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|error| Failure::failed(format!("worker: cannot tie its life to the agent's: {error}")))?;
    // Only for `ps`; another name would do.
    let _ = rustix::thread::set_name(c"vedette-worker");
    vedette_detector_host::worker::main_within(execution, memory_bytes)
}
