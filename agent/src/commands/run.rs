//! `run`: the agent itself.

use super::{Failure, load_config_judged};
use crate::config::{Config, ExecutionConfig};
use crate::hardening;
use crate::host;
use crate::identity::{Identity, IdentityError};
use crate::log::Log;
use crate::memory;
use crate::runtime::{self, Start, StartError};
use crate::source::Root;
use crate::spool::log::Begin;
use std::path::Path;

pub(super) fn run(path: &Path) -> Result<(), Failure> {
    // What can take more memory than it may is not started.
    let judge = |config: &Config| memory::bound(config, &runtime::detectors::look_for(config)).objection(config);
    let mut config = load_config_judged(path, |config| judge(config).into_iter().collect())?;
    config.detectors.execution = ExecutionConfig::Always(config.detectors.execution.resolve());
    let confinement = hardening::apply();
    let log = Log::start(&config.log);
    let identity = Identity::load(&config.data_dir).map_err(|error| not_usable(path, &error))?;
    let root = Root::from_variables(|name| std::env::var_os(name));
    if identity.is_of_another_machine(host::machine(&root)) {
        return Err(Failure::config(format!(
            "the identity in {} is that of another machine: this one is a clone of its disk, and two agents must not \
             share one\n{}",
            config.data_dir.display(),
            how_to_enrol(path)
        )));
    }
    let shell = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(4)
        .thread_stack_size(512 << 10)
        .build()
        .map_err(|error| Failure::io("starting", &error))?;
    let (file, begin) = (path.to_owned(), Begin::GoOn);
    let ended = shell.block_on(runtime::run(Start { config, file, identity, confinement, log, begin }));
    // A lane that hangs in the kernel must not keep the process.
    shell.shutdown_background();
    ended.map_err(|error| refused(&error))
}

fn not_usable(config: &Path, error: &IdentityError) -> Failure {
    match error {
        IdentityError::Absent(_) => Failure::config(format!("{error}\n{}", how_to_enrol(config))),
        IdentityError::Open { .. } => Failure::config(error.to_string()),
        IdentityError::Broken { .. } => Failure::config(format!("{error}\nmove the folder away and enrol again")),
        IdentityError::Io { file, source } => Failure::io(file.display(), source),
    }
}

fn how_to_enrol(config: &Path) -> String {
    format!(
        "enrol it once: `vedette-agent enroll --config {} --collector-ca CA.pem --token-file TOKEN` \
         (a token comes from `vedette fleet token`)",
        config.display()
    )
}

fn refused(error: &StartError) -> Failure {
    match error {
        StartError::Io { source, .. } if source.kind() == std::io::ErrorKind::PermissionDenied => {
            Failure::denied(error.to_string())
        }
        _ => Failure::failed(error.to_string()),
    }
}
