//! `vedette-hostile`: detectors that attack their host, and attempts on the worker's confinement. Never packed.
//!
//! `set` writes signed pairs, as a trusted author who turned would, into a directory that an agent can be pointed at.

mod attempts;
mod guests;
mod native;

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use guests::Guest;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use vedette_detector_compiler::compile;
use vedette_detector_host::artifact::{self, Manifest, SigningKey};
use vedette_detector_host::engine::Identity;
use vedette_detector_host::worker;

/// Attacks on the detector host, for its tests.
#[derive(Parser)]
#[command(name = "vedette-hostile")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Write all hostile pairs and an honest one, signed.
    Set {
        /// Directory for the pairs.
        #[arg(long)]
        out: PathBuf,
        /// Adds guests that are a nuisance but no attack.
        #[arg(long)]
        nuisances: bool,
        /// Author's key in PKCS #8 (DER); made if there is none.
        #[arg(long)]
        key: PathBuf,
    },
    /// Be a detector worker.
    Worker,
    /// List the attempts on the confinement: those that kill, those that fail, and what has to work.
    Attempts,
    /// Confine this process like a worker and try one thing.
    Attempt {
        /// Its name.
        name: String,
    },
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Set { out, nuisances, key } => write_set(&out, nuisances, &key),
        Command::Worker => worker::main(),
        Command::Attempts => {
            let kinds =
                [("forbidden", attempts::FORBIDDEN), ("refused", attempts::REFUSED), ("allowed", attempts::ALLOWED)];
            for (kind, attempts) in kinds {
                attempts.iter().for_each(|(name, ..)| println!("{kind} {name}"));
            }
            Ok(())
        }
        Command::Attempt { name } => attempts::run(&name).map(|result| println!("{result}")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("vedette-hostile: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn write_set(out: &Path, nuisances: bool, key: &Path) -> Result<()> {
    let key = author(key)?;
    let nuisances = if nuisances { guests::NUISANCES } else { &[] };
    for guest in guests::HOSTILE.iter().chain([&guests::HONEST]).chain(nuisances) {
        publish(out, guest, &key, Ok).with_context(|| guest.name)?;
    }
    publish(out, &guests::FORBIDDEN_CALL, &key, native::open_socket)?;
    publish(out, &guests::QUIET_EXIT, &key, native::exit_quietly)?;
    println!("author {}", key.public());
    Ok(())
}

fn publish(out: &Path, guest: &Guest, key: &SigningKey, craft: fn(Vec<u8>) -> Result<Vec<u8>>) -> Result<()> {
    let identity = Identity::host();
    let wasm = guest.component()?;
    let cwasm = craft(compile(&wasm, &identity.target)?)?;
    let manifest = Manifest::new(guest.name, "1.0.0", &wasm, &cwasm, identity);
    artifact::write_pair(out, &manifest, &wasm, &cwasm, key)?;
    println!("{:26} {}", guest.name, guest.about);
    Ok(())
}

fn author(path: &Path) -> Result<SigningKey> {
    if !path.exists() {
        std::fs::write(path, SigningKey::generate_pkcs8())?;
    }
    let der = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    SigningKey::from_pkcs8(&der).with_context(|| format!("{} is no key", path.display()))
}
