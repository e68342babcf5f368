//! `diagnostics`: a file for whoever is asked for help, without secrets. It is sent nowhere.

use super::{Failure, print, without_controls};
use crate::args::DiagnosticsArguments;
use crate::clock::wall_now;
use crate::diagnostics::{self, Places};
use crate::host;
use crate::source::Root;
use std::io;

const ENDS: [&str; 2] = [".tar.gz", ".tgz"];

pub(super) fn run(arguments: &DiagnosticsArguments) -> Result<(), Failure> {
    let out = &arguments.out;
    if !ENDS.iter().any(|end| out.as_os_str().to_string_lossy().ends_with(end)) {
        return Err(Failure::usage(format!("{}: a name that ends in `.tar.gz` says what is in it", out.display())));
    }
    if out.exists() {
        return Err(Failure::failed(format!("{} is there already: name another file", out.display())));
    }
    let root = Root::from_variables(|name| std::env::var_os(name));
    let shell = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::io("starting", &error))?;
    let places = Places { config: arguments.config.clone(), log: arguments.log.clone() };
    let bundle = shell.block_on(diagnostics::collect(&places, &root));
    // A resolver that hangs must not keep the process.
    shell.shutdown_background();
    let taken = wall_now().to_string().replace([':', '.'], "-");
    let folder = format!("vedette-diagnostics-{}-{taken}", safe(&host::name(&root)));
    diagnostics::write(&bundle, &folder, out).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => {
            Failure::failed(format!("{} is there already: name another file", out.display()))
        }
        _ => Failure::io(out.display(), &error),
    })?;
    let text = format!(
        "{}, for its owner alone; sent nowhere: look through it, then hand it on\n{}",
        out.display(),
        diagnostics::contents(&bundle)
    );
    print(&without_controls(&text))
}

/// A host's name as part of a file's.
fn safe(name: &str) -> String {
    name.chars().filter(|one| one.is_ascii_alphanumeric() || *one == '-').take(64).collect()
}
