//! `buffer`: the spool on disk looked at, and put right.

use super::{Failure, load_config, print, without_controls};
use crate::args::{BufferArguments, BufferCommand, Output};
use crate::enroll::ensure_own;
use crate::spool::files::Folder;
use crate::spool::inspect::{self, Inspection, Repair, SpoolProblem};
use std::fmt::Write as _;
use std::io;
use std::path::{Path, PathBuf};

pub(super) fn run(command: &BufferCommand) -> Result<(), Failure> {
    match command {
        BufferCommand::Verify(arguments) => verify(arguments),
        BufferCommand::Repair(arguments) => repair(arguments),
    }
}

fn verify(arguments: &BufferArguments) -> Result<(), Failure> {
    let directory = directory(arguments)?;
    let found = look(&directory).map_err(|error| unusable(&directory, &error))?;
    match arguments.output {
        Output::Json => print(&(json(&found) + "\n"))?,
        Output::Human => print(&without_controls(&human(&directory, &found)))?,
    }
    if found.problems.is_empty() { Ok(()) } else { Err(Failure::failed("")) }
}

/// An agent that starts meanwhile is not kept out: then it is looked at as what it is, in use.
fn look(directory: &Path) -> io::Result<Inspection> {
    let folder = Folder::open_to_look(directory)?;
    let (spool, in_use) = (a_spool(&folder)?, folder.is_in_use()?);
    let found = inspect::verify(spool, in_use)?;
    if in_use || !folder.is_in_use()? { Ok(found) } else { inspect::verify(spool, true) }
}

fn repair(arguments: &BufferArguments) -> Result<(), Failure> {
    let directory = directory(arguments)?;
    ensure_own(&directory, "buffer repair")?;
    let repaired = Folder::open_to_mend(&directory)
        .and_then(|mut folder| a_spool(&folder).map(drop).and_then(|()| inspect::repair(&mut folder)))
        .map_err(|error| unusable(&directory, &error))?;
    match arguments.output {
        Output::Json => print(&(json(&repaired) + "\n")),
        Output::Human => print(&without_controls(&told(&repaired))),
    }
}

/// Nothing is to be told, let alone changed, of a folder that is something else.
fn a_spool(folder: &Folder) -> io::Result<&Folder> {
    if inspect::is_spool(folder)? { Ok(folder) } else { Err(io::ErrorKind::NotFound.into()) }
}

fn directory(arguments: &BufferArguments) -> Result<PathBuf, Failure> {
    match &arguments.directory {
        Some(directory) => Ok(directory.clone()),
        None => Ok(load_config(&arguments.config)?.spool.directory),
    }
}

fn unusable(directory: &Path, error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::WouldBlock => Failure::failed(format!(
            "{} is in use: stop the agent first (`systemctl stop vedette-agent`)",
            directory.display()
        )),
        io::ErrorKind::NotFound => Failure::failed(format!(
            "{}: there is no spool; the agent makes it when it first runs (`--directory` names another)",
            directory.display()
        )),
        _ => Failure::io(directory.display(), error),
    }
}

fn human(directory: &Path, found: &Inspection) -> String {
    let mut text = String::new();
    let [findings, features, logs] = found.frames;
    let settled: u64 = found.settled.iter().sum();
    let of = found.queue_epoch.map_or_else(|| "empty".to_owned(), |epoch| format!("queue epoch {epoch}"));
    let in_use = if found.in_use { ", in use by an agent" } else { "" };
    let _ = writeln!(text, "{}: {of}{in_use}", directory.display());
    let _ = writeln!(
        text,
        "{} segments, {} bytes; {findings} findings, {features} features, {logs} logs; {settled} of them settled",
        found.segments, found.bytes
    );
    text.push_str(&list(&found.problems));
    let _ = match found.problems.len() {
        0 => writeln!(text, "fine"),
        count => {
            writeln!(text, "{count} problems: stop the agent and run `vedette-agent buffer repair`, or just start it")
        }
    };
    text
}

fn told(repaired: &Repair) -> String {
    let mut text = list(&repaired.repaired);
    let Repair { frames_kept, frames_left_out, .. } = repaired;
    let _ = match repaired.repaired.len() {
        0 => writeln!(text, "nothing to repair, {frames_kept} batches"),
        count => writeln!(text, "{count} files repaired: {frames_kept} batches kept, {frames_left_out} left out"),
    };
    text
}

fn list(problems: &[SpoolProblem]) -> String {
    let line = |SpoolProblem { file, problem, frames_lost }: &SpoolProblem| match frames_lost {
        0 => format!("{file}: {problem}\n"),
        lost => format!("{file}: {problem} ({lost} batches lost)\n"),
    };
    problems.iter().map(line).collect()
}

fn json(told: &impl serde::Serialize) -> String {
    serde_json::to_string(told).expect("numbers, texts and lists are always JSON")
}
