//! Rust with cargo, for `wasm32-unknown-unknown`.

use super::{Built, say};
use crate::detector::keys::unusable;
use crate::detector::toolchain::{TARGET, Toolchain};
use anyhow::{Context as _, ensure};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

pub(super) fn build(dir: &Path, toolchain: Toolchain) -> anyhow::Result<Built> {
    let toolchain = toolchain.choose(dir)?;
    say(dir, toolchain.name());
    let package = Package::find(dir)?;
    let module = package.build(toolchain)?;
    Ok(Built { module, project: package.name, toolchain: toolchain.name().to_owned() })
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
    use serde_json::json;

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
}
