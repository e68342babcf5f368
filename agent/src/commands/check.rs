//! `check`: all problems of the configuration at once, those that only a detector can tell included, and how much memory
//! it takes at most.

mod parameters;

use super::{Failure, load_config_judged, print, without_controls};
use crate::args::{CheckArguments, Output};
use crate::config::{Config, Objection};
use crate::memory::{self, MemoryBound};
use crate::runtime::detectors::{Found, look_for};

pub(super) fn run(arguments: &CheckArguments) -> Result<(), Failure> {
    let path = &arguments.config.config;
    let (mut notes, mut bound) = (Vec::new(), MemoryBound::default());
    load_config_judged(path, |config| {
        let found = look_for(config);
        bound = memory::bound(config, &found);
        let judged = parameters::judge(config, &found);
        notes = idle(config, &found).into_iter().chain(judged.notes).collect();
        judged.misfits.into_iter().map(Objection::Parameter).chain(bound.objection(config)).collect()
    })?;
    match arguments.output {
        Output::Human => {
            let noted = match notes.len() {
                0 => "",
                1 => ", with the note above",
                _ => ", with the notes above",
            };
            let notes: String = notes.iter().map(|note| format!("note: {note}\n")).collect();
            print(&without_controls(&format!("{bound}{notes}{}: fine{noted}\n", path.display())))
        }
        Output::Json => print(&format!("{}\n", serde_json::json!({ "fine": true, "notes": notes, "memory": bound }))),
    }
}

/// An agent may measure only; whoever mistyped a folder's name has to see it.
fn idle(config: &Config, found: &Found) -> Option<String> {
    let directory = config.detectors.directory.display();
    (found.wanted.is_empty() && found.refused.is_empty()).then(|| {
        format!("no detector in {directory}: nothing is judged; install signed pairs, or name their folder with `detectors.directory`")
    })
}
