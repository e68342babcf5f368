//! `enroll`: one-time token in, identity out. The key is made here and never leaves the host.

use crate::args::EnrollArguments;
use crate::clock::wall_now;
use crate::commands::{Failure, load_config, print};
use crate::config::{CollectorConfig, Config};
use crate::durable::{self, SecretError};
use crate::hardening;
use crate::host;
use crate::identity::{self, Identity, IdentityError};
use crate::source::Root;
use crate::uplink::remedy;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use vedette_link::client::probe;
use vedette_link::clock::SystemClock;
use vedette_link::enroll::{EnrollError, Enrolled};
use vedette_link::outage::{Obstacle, Outage};
use vedette_protocol::ids::Digest;

const TOKEN_BYTES_MAX: u64 = 1024;
/// The agent's group may read it, so that root can lay it down for another user: 0640.
const TOKEN_MODE_FORBIDDEN: u32 = 0o027;

/// Runs `enroll`. A host that has its identity keeps it, and this is no failure. It gets a new one if the certificate
/// has ended, if the identity is that of another machine, and if the collector does not let it in with it: revoked, or
/// of another collector.
///
/// # Errors
///
/// 78 for what the caller has to put right, 69 if the collector cannot be reached, 77 without permission, 1 if the
/// collector refuses.
pub fn run(arguments: &EnrollArguments) -> Result<(), Failure> {
    let config = load_config(&arguments.config)?;
    hardening::apply();
    let root = Root::from_variables(|name| std::env::var_os(name));
    let machine = host::machine(&root);
    match Identity::load(&config.data_dir) {
        Ok(identity) if has_ended(&identity) || identity.is_of_another_machine(machine) => {}
        Ok(identity) => match standing(&config, &identity)? {
            Standing::Enrolled(note) => {
                return print(&format!("already enrolled as {}{}{note}\n", identity.host, ends(&identity)));
            }
            Standing::Void(outage) => {
                print(&format!("was enrolled as {}, but {outage}: enrolling anew\n", identity.host))?;
            }
        },
        Err(IdentityError::Absent(_)) => {}
        Err(error) => return Err(unusable(&error)),
    }
    let authority = read_authority(&arguments.collector_ca)?;
    let token = read_token(&arguments.token_file)?;
    // Before the token is spent.
    ensure_own(&config.data_dir, "enroll")?;
    durable::make_private_folder(&Identity::folder(&config.data_dir)).map_err(|error| {
        let folder = config.data_dir.display();
        Failure::io(format!("{folder}, the `data-dir` of `[agent]` (run this as its owner, or name another)"), &error)
    })?;
    let enrolled = ask_collector(&config, &host::name(&root), &authority, &token)?;
    let identity = from_enrolled(enrolled, machine);
    identity.store(&config.data_dir).map_err(|error| unusable(&error))?;
    print(&format!("enrolled as {}{}\n", identity.host, ends(&identity)))
}

/// What root writes into the folder of another user, that user's agent could not read.
pub(crate) fn ensure_own(folder: &Path, command: &str) -> Result<(), Failure> {
    let owner = std::fs::metadata(folder).map(|metadata| metadata.uid());
    match (rustix::process::geteuid().as_raw(), owner) {
        (0, Ok(owner)) if owner != 0 => Err(Failure::denied(format!(
            "{} belongs to the user with id {owner}: run this as that user, for example \
             `runuser -u \"$(id -nu {owner})\" -- vedette-agent {command} …`",
            folder.display()
        ))),
        _ => Ok(()),
    }
}

/// What an identity is worth.
enum Standing {
    /// The collector lets it in, or cannot be asked, as this note says.
    Enrolled(String),
    /// It does not.
    Void(Outage),
}

fn standing(config: &Config, identity: &Identity) -> Result<Standing, Failure> {
    let CollectorConfig { address, server_name } = &config.collector;
    let pair =
        vedette_link::identity::Identity { chain_der: identity.chain_der.clone(), key_der: identity.key_der.clone() };
    let tried = probe(address, server_name, &pair, &identity.authorities_der, Arc::new(SystemClock));
    Ok(match shell()?.block_on(tried) {
        Ok(()) => Standing::Enrolled(String::new()),
        Err(outage) => match outage.obstacle {
            Obstacle::HostRevoked | Obstacle::HostUntrusted | Obstacle::HostExpired | Obstacle::CollectorUntrusted => {
                Standing::Void(outage)
            }
            Obstacle::Unreachable | Obstacle::Lost | Obstacle::Busy | Obstacle::Replaced | Obstacle::Version => {
                Standing::Enrolled(format!("\nwhether the collector still lets this host in is not known: {outage}"))
            }
        },
    })
}

fn ask_collector(config: &Config, host_name: &str, authority_pem: &str, token: &str) -> Result<Enrolled, Failure> {
    let CollectorConfig { address, server_name } = &config.collector;
    let asked =
        vedette_link::enroll::enroll(address, server_name, authority_pem, token, host_name, Arc::new(SystemClock));
    shell()?.block_on(asked).map_err(|error| refused(address, &error))
}

fn shell() -> Result<tokio::runtime::Runtime, Failure> {
    let shell = tokio::runtime::Builder::new_current_thread().enable_all().build();
    shell.map_err(|error| Failure::io("starting", &error))
}

fn from_enrolled(enrolled: Enrolled, machine: Option<Digest>) -> Identity {
    Identity {
        machine,
        tenant: enrolled.tenant,
        host: enrolled.host,
        online_key: enrolled.online_key,
        chain_der: enrolled.identity.chain_der,
        key_der: enrolled.identity.key_der,
        authorities_der: enrolled.authorities_der,
    }
}

/// The pinned certificate: checked here, so that a wrong file costs no token.
fn read_authority(file: &Path) -> Result<String, Failure> {
    identity::certificates(file).map_err(|error| match error {
        IdentityError::Absent(file) => Failure::config(format!("{}: there is no such file", file.display())),
        error => unusable(&error),
    })?;
    std::fs::read_to_string(file).map_err(|error| Failure::io(file.display(), &error))
}

fn read_token(file: &Path) -> Result<String, Failure> {
    let bytes = durable::read_secret(file, TOKEN_BYTES_MAX, TOKEN_MODE_FORBIDDEN).map_err(|error| match error {
        SecretError::Io(error) if error.kind() != std::io::ErrorKind::NotFound => Failure::io(file.display(), &error),
        error => Failure::config(format!("{}: {error}", file.display())),
    })?;
    let token = String::from_utf8_lossy(&bytes).trim().to_owned();
    if token.is_empty() || token.contains(char::is_whitespace) {
        return Err(Failure::config(format!("{}: expected one token and nothing else", file.display())));
    }
    Ok(token)
}

fn unusable(error: &IdentityError) -> Failure {
    match error {
        IdentityError::Io { file, source } => Failure::io(file.display(), source),
        _ => Failure::config(error.to_string()),
    }
}

fn refused(address: &str, error: &EnrollError) -> Failure {
    match error {
        EnrollError::Refused(reason) => Failure::failed(format!("the collector refused: {reason}")),
        EnrollError::Outage(outage) => match outage.obstacle {
            Obstacle::CollectorUntrusted => Failure::config(format!(
                "{outage}\n`--collector-ca` has to be the authority of the collector at {address}: `vedette ca` there prints it; \
                 no token was used"
            )),
            obstacle => Failure::unavailable(format!("{outage}\n{}", remedy(obstacle))),
        },
        EnrollError::Local(_) | EnrollError::Answer(_) => Failure::failed(error.to_string()),
    }
}

/// A collector refuses it from then on, so there is nothing to lose.
fn has_ended(identity: &Identity) -> bool {
    identity.certificate_ends().is_some_and(|ends| ends <= wall_now())
}

fn ends(identity: &Identity) -> String {
    identity.certificate_ends().map(|ends| format!(", certificate until {ends}")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn token_file_holds_one_token_and_nothing_else() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let file = folder.path().join("token");
        let check = |content: &str| {
            std::fs::write(&file, content).expect("file");
            std::fs::set_permissions(&file, Permissions::from_mode(0o600)).expect("permissions");
            read_token(&file).ok()
        };
        assert_eq!(check("vdt-1234\n").as_deref(), Some("vdt-1234"));
        assert_eq!(check("\n"), None);
        assert_eq!(check("one two"), None);
        assert_eq!(check(&"x".repeat(2_000)), None);
        assert!(check("vdt-1234\n").is_some());
        std::fs::set_permissions(&file, Permissions::from_mode(0o644)).expect("permissions");
        assert!(read_token(&file).is_err_and(|refused| format!("{refused:?}").contains("chmod 600")));
    }

    #[test]
    fn key_in_the_place_of_the_authority_costs_no_token() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let file = folder.path().join("ca.pem");
        std::fs::write(&file, "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n").expect("file");
        assert!(read_authority(&file).is_err());
        assert!(read_authority(&folder.path().join("absent.pem")).is_err());
    }

    #[test]
    fn only_an_identity_whose_certificate_has_ended_gives_way() {
        assert!(has_ended(&crate::identity::tests::certified(1)));
        assert!(!has_ended(&crate::identity::tests::certified(200)));
    }
}
