//! `check`: all problems of the configuration at once, those that only a detector can tell included.

mod parameters;

use super::{Failure, load_config_judged, print};
use std::path::Path;

pub(super) fn run(path: &Path) -> Result<(), Failure> {
    let mut notes = Vec::new();
    load_config_judged(path, |config| {
        let judged = parameters::judge(config);
        notes = judged.notes;
        judged.misfits
    })?;
    let notes: String = notes.iter().map(|note| format!("note: {note}\n")).collect();
    print(&super::without_controls(&format!("{notes}{}: fine\n", path.display())))
}
