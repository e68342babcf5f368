//! From an author's crate to a component.

use super::keys::unusable;
use super::toolchain::{TARGET, Toolchain};
use crate::output::{Output, text};
use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use vedette_detector_host::engine::CONTRACT;
use vedette_protocol::ids::Digest;

/// Arguments of `detector build`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Folder of the crate; its library is a cdylib that says `vedette_sdk::export!`.
    dir: PathBuf,
    /// File for the component.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// What to build with.
    #[arg(long, value_enum, default_value_t = Toolchain::Auto)]
    toolchain: Toolchain,
}

pub(crate) fn run(args: &Args, output: Output) -> anyhow::Result<ExitCode> {
    let toolchain = args.toolchain.choose(&args.dir)?;
    eprintln!("building {} with {}", args.dir.display(), toolchain.name());
    let package = Package::find(&args.dir)?;
    let module = package.build(toolchain)?;
    let component = component(&module)?;
    std::fs::write(&args.out, &component).map_err(|error| unusable(&args.out, &error))?;
    let answer = json!({
        "file": args.out.display().to_string(),
        "package": package.name,
        "toolchain": toolchain.name(),
        "bytes": component.len(),
        "sha256": Digest::of(&component).to_string(),
    });
    output.print(&answer, |answer| {
        format!("{}: {} bytes, SHA-256 {}", text(answer, "/file"), text(answer, "/bytes"), text(answer, "/sha256"))
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Turns a core module with wit-bindgen's description in it into a component.
///
/// # Errors
///
/// If the module speaks no contract or imports what a component of it cannot have, such as WASI.
fn component(module: &[u8]) -> anyhow::Result<Vec<u8>> {
    const REMEDY: &str = "the module is no detector: does it say `vedette_sdk::export!`, and import nothing else?";
    // A module without a description would become an empty component.
    let (_, described) = wit_component::metadata::decode(module).context(REMEDY)?;
    let (package, _) = CONTRACT.split_once('@').context("a contract has a version")?;
    let speaks = described
        .resolve
        .packages
        .iter()
        .any(|(_, one)| format!("{}:{}", one.name.namespace, one.name.name) == package);
    ensure!(speaks, "{REMEDY}");
    wit_component::ComponentEncoder::default().validate(true).module(module)?.encode().context(REMEDY)
}

/// The author's package as cargo sees it.
struct Package {
    manifest: PathBuf,
    name: String,
    library: String,
    target_dir: PathBuf,
}

impl Package {
    fn find(dir: &Path) -> anyhow::Result<Self> {
        let manifest = dir.join("Cargo.toml");
        let manifest = manifest.canonicalize().map_err(|error| unusable(&manifest, &error))?;
        let mut cargo = Command::new("cargo");
        cargo.args(["metadata", "--no-deps", "--format-version", "1", "--manifest-path"]).arg(&manifest);
        let told = cargo.stderr(Stdio::inherit()).output().context("cargo could not be started")?;
        ensure!(told.status.success(), "cargo does not accept {}", manifest.display());
        let metadata: Value = serde_json::from_slice(&told.stdout)?;
        Self::in_metadata(&metadata, manifest.clone())
            .with_context(|| format!("{} has no library of crate type cdylib", manifest.display()))
    }

    fn in_metadata(metadata: &Value, manifest: PathBuf) -> Option<Self> {
        let packages = metadata["packages"].as_array()?;
        let package = packages.iter().find(|one| one["manifest_path"].as_str().map(Path::new) == Some(&manifest))?;
        let is_cdylib = |target: &&Value| {
            target["crate_types"].as_array().is_some_and(|types| types.iter().any(|one| one == "cdylib"))
        };
        let library = package["targets"].as_array()?.iter().find(is_cdylib)?;
        Some(Self {
            name: package["name"].as_str()?.to_owned(),
            library: library["name"].as_str()?.replace('-', "_"),
            target_dir: PathBuf::from(metadata["target_directory"].as_str()?).join("wasm"),
            manifest,
        })
    }

    fn build(&self, toolchain: Toolchain) -> anyhow::Result<Vec<u8>> {
        let mut cargo = toolchain.cargo_build()?;
        cargo.arg("--manifest-path").arg(&self.manifest).env("CARGO_TARGET_DIR", &self.target_dir);
        // cargo speaks on stderr; stdout is for our answer.
        let status = cargo.stdin(Stdio::null()).stdout(Stdio::null()).status().context("cargo could not be started")?;
        ensure!(status.success(), "cargo could not build {} for {TARGET}", self.name);
        let module = self.target_dir.join(TARGET).join("release").join(&self.library).with_extension("wasm");
        std::fs::read(&module).with_context(|| format!("cargo left no {}", module.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metadata(crate_type: &str) -> Value {
        json!({
            "target_directory": "/src/target",
            "packages": [
                {"name": "other", "manifest_path": "/src/other/Cargo.toml", "targets": []},
                {"name": "my-level", "manifest_path": "/src/mine/Cargo.toml", "targets": [
                    {"name": "my-level-native", "crate_types": ["bin"]},
                    {"name": "my-level", "crate_types": [crate_type]},
                ]},
            ],
        })
    }

    #[test]
    fn the_library_of_the_crate_in_the_folder_is_found() {
        let package = Package::in_metadata(&metadata("cdylib"), "/src/mine/Cargo.toml".into()).unwrap();
        assert_eq!((package.name.as_str(), package.library.as_str()), ("my-level", "my_level"));
        assert_eq!(package.target_dir, Path::new("/src/target/wasm"));
        assert!(Package::in_metadata(&metadata("rlib"), "/src/mine/Cargo.toml".into()).is_none());
    }

    #[test]
    fn a_module_without_the_contract_is_refused() {
        let empty = b"\0asm\x01\0\0\0";
        assert!(component(empty).is_err() && component(b"not wasm").is_err());
    }
}
