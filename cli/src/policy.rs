//! `vedette policy`: keys of the targets role, signing, applying, and what is in effect where.

mod status;

use crate::client::Client;
use crate::failure::Failure;
use crate::output::{Output, text};
use crate::secret::{self, Readers};
use serde_json::{Value, json};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use vedette_protocol::policy::Policy;
use vedette_protocol::signature::{Domain, Signed, SigningKey};

/// Commands of `policy`.
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Makes a signing key; prints the public key that collectors and agents must trust.
    #[command(after_help = "Examples:\n  vedette policy keygen --out targets.key")]
    Keygen {
        /// File for the private key; it must not exist yet.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Checks and signs a policy file without a collector.
    #[command(after_help = "Examples:\n  vedette policy sign policy.toml --key targets.key --out policy.json\n  \
                            vedette policy apply policy.json")]
    Sign {
        /// The policy, TOML.
        file: PathBuf,
        /// Private key made by `keygen`.
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
        /// File for the signed document.
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Checks, signs and hands a policy to the collector, which pushes it to all agents; tells which of them refuse it.
    #[command(after_help = "Examples:\n  vedette policy apply policy.toml --key targets.key")]
    Apply {
        /// The policy, TOML; with no `--key` a document signed before.
        file: PathBuf,
        /// Private key made by `keygen`.
        #[arg(long, value_name = "FILE")]
        key: Option<PathBuf>,
    },
    /// The collector's policy and the version in effect on each agent.
    #[command(after_help = "Examples:\n  vedette policy status\n  vedette policy status --output json")]
    Status,
}

/// Runs one of the commands; `client` is made only where the collector is asked.
pub(crate) fn run(
    command: Command,
    client: impl FnOnce() -> anyhow::Result<Client>,
    output: Output,
) -> anyhow::Result<ExitCode> {
    match command {
        Command::Keygen { out } => keygen(&out, output)?,
        Command::Sign { file, key, out } => {
            let signed = to_json(&sign(&file, &key)?);
            std::fs::write(&out, format!("{signed}\n")).map_err(|error| unusable(&out, error))?;
            output.print(&signed, |_| format!("signed: {}", out.display()))?;
        }
        Command::Apply { file, key } => {
            let document = match key {
                Some(key) => to_json(&sign(&file, &key)?),
                None => signed_before(&file)?,
            };
            let client = client()?;
            let answer = client.put("/api/v1/policy", &document)?;
            output.print(&answer, status::stored)?;
            // It is done: what is not known of the agents is no failure of this command.
            match output {
                Output::Human => match status::after_apply(&answer, &client) {
                    Ok(told) => output.print(&answer, |_| told)?,
                    Err(error) => {
                        eprintln!(
                            "note: what the agents say is not known: {error:#}; ask with `vedette policy status`"
                        );
                    }
                },
                Output::Json => {}
            }
        }
        Command::Status => output.print(&client()?.get("/api/v1/policy")?, status::screen)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn keygen(out: &Path, output: Output) -> anyhow::Result<()> {
    let pkcs8 = SigningKey::generate_pkcs8();
    let public = SigningKey::from_pkcs8(&pkcs8)?.public();
    let opened = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(out);
    let mut file = opened.map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => unusable(out, "there is a file already, and a key is never overwritten"),
        _ => unusable(out, error),
    })?;
    file.write_all(&pkcs8).and_then(|()| file.sync_all()).map_err(|error| unusable(out, error))?;
    let answer = json!({"public_key": public.to_string(), "file": out.display().to_string()});
    output.print(&answer, |answer| text(answer, "/public_key"))
}

fn sign(file: &Path, key: &Path) -> anyhow::Result<Signed> {
    let bytes = std::fs::read(file).map_err(|error| unusable(file, error))?;
    let policy = std::str::from_utf8(&bytes).map_err(|_| unusable(file, "not UTF-8 text"))?;
    Policy::parse(&file.display().to_string(), policy).map_err(Failure::BadFile)?;
    let pkcs8 = secret::read(key, Readers::Owner).map_err(|error| secret::unusable(key, &error))?;
    let key = SigningKey::from_pkcs8(&pkcs8).map_err(|error| unusable(key, error))?;
    Ok(key.sign(Domain::Policy, bytes))
}

/// The form in which the API takes a signed document: text and hexadecimal.
fn to_json(signed: &Signed) -> Value {
    let signature: String = signed.signature.iter().map(|byte| format!("{byte:02x}")).collect();
    json!({"document": String::from_utf8_lossy(&signed.bytes), "key": signed.key.to_string(), "signature": signature})
}

fn signed_before(file: &Path) -> anyhow::Result<Value> {
    let text = std::fs::read_to_string(file).map_err(|error| unusable(file, error))?;
    let remedy = "not a signed document: give `--key`, or a file made by `vedette policy sign`";
    let value: Value = serde_json::from_str(&text).map_err(|_| unusable(file, remedy))?;
    if value["document"].is_string() { Ok(value) } else { Err(unusable(file, remedy).into()) }
}

fn unusable(path: &Path, reason: impl ToString) -> Failure {
    Failure::UnusableFile { path: path.display().to_string(), reason: reason.to_string() }
}
