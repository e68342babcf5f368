//! Who this host is, and for how long it is believed.

use super::Step;
use crate::clock::wall_now;
use crate::config::Config;
use crate::host;
use crate::identity::{Identity, IdentityError};
use crate::source::Root;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Renewal begins at a third of a certificate's life; with less than this share left it has failed for long.
const SHARE_LEFT: i64 = 6;

/// The files of enrolment, their modes, and whose they are.
pub(super) fn identity(config: &Config, root: &Root, file: &Path, steps: &mut Vec<Step>) -> Option<Identity> {
    const NAME: &str = "identity";
    let enrol = format!("`vedette-agent enroll --config {} --collector-ca CA.pem --token-file TOKEN`", file.display());
    let folder = Identity::folder(&config.data_dir);
    match Identity::load(&config.data_dir) {
        Ok(identity) if identity.is_of_another_machine(host::machine(root)) => {
            steps.push(Step::fail(NAME, "it is that of another machine: this one is a clone of its disk", enrol));
            Some(identity)
        }
        Ok(identity) => {
            let mode = fs::metadata(&folder).map_or(0, |found| found.permissions().mode() & 0o777);
            steps.push(if mode & 0o077 == 0 {
                Step::ok(NAME, format!("host {}, {}", identity.host, folder.display()))
            } else {
                let found = format!("{} is open to others ({mode:03o})", folder.display());
                Step::warn(NAME, found, format!("chmod 700 {}", folder.display()))
            });
            Some(identity)
        }
        Err(error) => {
            let remedy = match &error {
                IdentityError::Absent(_) => enrol,
                IdentityError::Broken { .. } => format!("move {} away, then {enrol}", folder.display()),
                // It names its remedy itself.
                IdentityError::Open { .. } => String::new(),
                IdentityError::Io { .. } => "run this as root or as the agent's user".to_owned(),
            };
            steps.push(Step::fail(NAME, error.to_string(), remedy));
            None
        }
    }
}

/// The life of this host's certificate by its own clock.
pub(super) fn certificate(identity: Option<&Identity>) -> Step {
    const NAME: &str = "certificate";
    let Some(identity) = identity else { return Step::skip(NAME, "there is no identity") };
    let Some((begins, ends)) = identity.certificate_life() else {
        return Step::fail(NAME, "it cannot be read", "enrol anew with a new token");
    };
    let (now, life_ns) = (wall_now(), ends.unix_ns.saturating_sub(begins.unix_ns));
    let left_ns = ends.unix_ns.saturating_sub(now.unix_ns);
    if left_ns <= 0 {
        return Step::fail(NAME, format!("it ended at {ends}"), "enrol with a new token (`vedette-agent enroll`)");
    }
    if now.unix_ns < begins.unix_ns {
        return Step::fail(NAME, format!("it begins at {begins}, after now"), "set this host's clock right");
    }
    if left_ns < life_ns / SHARE_LEFT {
        return Step::warn(NAME, format!("it ends at {ends}"), "see in `vedette-agent status` why it is not renewed");
    }
    Step::ok(NAME, format!("until {ends}"))
}
