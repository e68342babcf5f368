//! `diagnose`: what stands in the way, step by step.

use super::{Failure, print, without_controls};
use crate::args::{DiagnoseArguments, Output};
use crate::diagnose::{self, Outcome};
use crate::source::Root;
use serde_json::json;

pub(super) fn run(arguments: &DiagnoseArguments) -> Result<(), Failure> {
    let root = Root::from_variables(|name| std::env::var_os(name));
    let shell = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::io("starting", &error))?;
    let (steps, is_config) = shell.block_on(diagnose::run(&arguments.config, &root));
    // A resolver that hangs must not keep the process.
    shell.shutdown_background();
    let fine = steps.iter().all(|step| step.outcome != Outcome::Fail);
    match arguments.output {
        Output::Human => print(&without_controls(&diagnose::render(&steps)))?,
        Output::Json => print(&format!("{}\n", json!({ "fine": fine, "steps": steps })))?,
    }
    // The steps say what is wrong.
    match (fine, is_config) {
        (true, _) => Ok(()),
        (false, true) => Err(Failure::config("")),
        (false, false) => Err(Failure::failed("")),
    }
}
