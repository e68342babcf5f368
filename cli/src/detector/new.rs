//! A new detector's folder: a complete, working example to change, with everything that it is built from.

mod manifest;

use super::keys::unusable;
use crate::output::{Output, text};
use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Files of templates, SDK and contract, from the checkout in which this program was built.
mod embedded {
    include!(concat!(env!("OUT_DIR"), "/embedded.rs"));
}

const EXAMPLES: &str = "Examples:
  vedette detector new spike                        a Rust project in ./spike
  vedette detector new spike --language c           a C project in ./spike
  vedette detector new spike --dir detectors/spike

Both are the same working detector. Rust needs the WebAssembly target (`vedette detector build` says how to get it) and
the three crates that its SDK names; C needs clang and lld, and nothing from a network.";

/// Arguments of `detector new`.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Name of the detector: lower-case letters, digits and hyphens, beginning with a letter.
    #[arg(value_parser = name)]
    name: String,
    /// What it is to be written in.
    #[arg(long, value_enum, default_value_t = Language::Rust)]
    language: Language,
    /// Folder to write; it must not exist or be empty [default: ./NAME].
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// Languages with a template.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Language {
    /// Rust with Vedette's SDK, which is written into the folder too.
    Rust,
    /// Freestanding C with one header.
    C,
}

/// The host takes 64 characters at most.
fn name(text: &str) -> Result<String, String> {
    let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let begins = text.starts_with(|c: char| c.is_ascii_lowercase());
    if begins && text.len() <= 64 && text.chars().all(legal) && !text.ends_with('-') {
        return Ok(text.to_owned());
    }
    Err("expected up to 64 lower-case letters, digits and hyphens, beginning with a letter".to_owned())
}

pub(crate) fn run(args: &Args, output: Output) -> anyhow::Result<ExitCode> {
    let dir = args.dir.clone().unwrap_or_else(|| PathBuf::from(&args.name));
    let files = files(args.language, &args.name)?;
    write(&dir, &files)?;
    let answer = json!({
        "name": args.name,
        "folder": dir.display().to_string(),
        "files": files.iter().map(|(path, _)| path).collect::<Vec<_>>(),
    });
    output.print(&answer, human)?;
    Ok(ExitCode::SUCCESS)
}

/// Paths within the folder, and contents.
fn files(language: Language, name: &str) -> anyhow::Result<Vec<(String, String)>> {
    let fill = |(path, text): &(&str, &str)| {
        let path = if *path == "gitignore" { ".gitignore" } else { path };
        (path.to_owned(), text.replace("@NAME@", name).replace("@CRATE@", &name.replace('-', "_")))
    };
    Ok(match language {
        Language::C => embedded::TEMPLATE_C.iter().map(fill).collect(),
        Language::Rust => {
            let mut files: Vec<_> = embedded::TEMPLATE_RUST.iter().map(fill).collect();
            files.push(("clippy.toml".to_owned(), include_str!("../../../plugins/clippy.toml").to_owned()));
            files.push(("Cargo.lock".to_owned(), manifest::lock(name)?));
            files.push(("sdk/Cargo.toml".to_owned(), manifest::sdk()?));
            let sdk = embedded::SDK_SOURCES.iter().chain(embedded::CONTRACT_FILES);
            files.extend(sdk.map(|(path, text)| (format!("sdk/{path}"), manifest::relocated(text))));
            files
        }
    })
}

fn write(dir: &Path, files: &[(String, String)]) -> anyhow::Result<()> {
    let is_empty = |dir: &Path| std::fs::read_dir(dir).map(|mut entries| entries.next().is_none());
    if dir.exists() {
        let empty = is_empty(dir).map_err(|error| unusable(dir, &error))?;
        ensure!(empty, unusable(dir, &"is not empty: nothing was written. `--dir` names another folder."));
    }
    for (path, text) in files {
        let path = dir.join(path);
        let folder = path.parent().context("a file has a folder")?;
        std::fs::create_dir_all(folder).map_err(|error| unusable(folder, &error))?;
        std::fs::write(&path, text).map_err(|error| unusable(&path, &error))?;
    }
    Ok(())
}

fn human(answer: &Value) -> String {
    let (folder, name) = (text(answer, "/folder"), text(answer, "/name"));
    format!(
        "{folder} is a complete detector. Next:\n  vedette detector build {folder} --out {name}.wasm\n  \
         vedette detector check {name}.wasm"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_what_hosts_crates_and_files_accept() {
        assert!(name("spike").is_ok() && name("spike-2").is_ok());
        for bad in ["", "Spike", "2spike", "spike_2", "spike-", "a/b", "..", &"a".repeat(65)] {
            assert!(name(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn both_projects_are_whole_and_carry_the_name() {
        for (language, main) in [(Language::Rust, "src/lib.rs"), (Language::C, "detector.c")] {
            let files = files(language, "my-spike").unwrap();
            let text = |path: &str| &files.iter().find(|(one, _)| one == path).unwrap().1;
            assert!(text(main).contains("name: \"my-spike\"") || text(main).contains(".name = \"my-spike\""));
            assert!(files.iter().all(|(_, text)| !text.contains("@NAME@") && !text.contains("@CRATE@")));
        }
    }

    #[test]
    fn a_folder_with_something_in_it_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("mine"), "work").unwrap();
        let files = [("a".to_owned(), String::new())];
        assert!(write(dir.path(), &files).is_err());
        assert!(!dir.path().join("a").exists());
        assert!(write(&dir.path().join("b/c"), &files).is_ok());
    }
}
