//! C with clang and LLVM's linker, freestanding: no libc, no WASI, nothing to install but two Debian packages.

use super::{Built, say};
use crate::detector::toolchain::linker;
use anyhow::{Context as _, ensure};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use wit_parser::Resolve;

/// The contract's text, to describe a module that brings no description of its own.
const CONTRACT_TEXT: &str = include_str!("../../../../wit/detector/0.1.0/detector.wit");

const REMEDY: &str = "building C needs clang and lld. On Debian: `apt-get install clang lld`";

/// Freestanding, optimised, and with the same bits everywhere: no contraction, no fast mathematics.
const COMPILE: &[&str] = &[
    "--target=wasm32",
    "-std=c11",
    "-O3",
    "-ffreestanding",
    "-nostdlib",
    "-mbulk-memory",
    "-mnontrapping-fptoint",
    "-fno-math-errno",
    "-ffp-contract=off",
    "-fno-fast-math",
    "-Wall",
    "-Wextra",
];

/// The stack lies below all else, so that its overflow traps instead of writing over states.
const LINK: &[&str] = &["--no-entry", "--gc-sections", "--strip-all", "--stack-first", "-z", "stack-size=65536"];

/// The .c files of a folder, in order.
pub(super) fn sources(dir: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut sources = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "c") {
            sources.push(path);
        }
    }
    sources.sort();
    Ok(sources)
}

pub(super) fn build(dir: &Path, sources: &[PathBuf]) -> anyhow::Result<Built> {
    let toolchain = version()?;
    say(dir, &toolchain);
    let objects = tempdir()?;
    let module = compile(sources, &objects).and_then(|compiled| link(&compiled, &objects.join("detector.wasm")));
    let _ = std::fs::remove_dir_all(&objects);
    let mut module = module?;
    describe(&mut module)?;
    let project = dir.canonicalize()?.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(Built { module, project, toolchain })
}

/// clang's own name; also the proof that it can be started.
fn version() -> anyhow::Result<String> {
    let told = Command::new("clang").arg("--version").output().context(REMEDY)?;
    ensure!(told.status.success(), REMEDY);
    Ok(String::from_utf8_lossy(&told.stdout).lines().next().unwrap_or("clang").to_owned())
}

/// A folder of our own for what lies between source and module.
fn tempdir() -> anyhow::Result<PathBuf> {
    let dir = std::env::temp_dir().join(format!("vedette-build-{}", std::process::id()));
    std::fs::create_dir(&dir).with_context(|| format!("{} could not be made", dir.display()))?;
    Ok(dir)
}

fn compile(sources: &[PathBuf], objects: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let compile_one = |(number, source): (usize, &PathBuf)| {
        let object = objects.join(format!("{number}.o"));
        run(Command::new("clang").args(COMPILE).arg("-c").arg(source).arg("-o").arg(&object))
            .with_context(|| format!("clang could not compile {}", source.display()))?;
        Ok(object)
    };
    sources.iter().enumerate().map(compile_one).collect()
}

fn link(objects: &[PathBuf], module: &Path) -> anyhow::Result<Vec<u8>> {
    let linker = linker().context(REMEDY)?;
    let mut command = Command::new(&linker);
    if linker.file_name().is_some_and(|name| name == "rust-lld") {
        command.args(["-flavor", "wasm"]);
    }
    run(command.args(LINK).args(objects).arg("-o").arg(module)).context(
        "the objects could not be linked: a freestanding detector has no libc, what is missing has to be written or done without",
    )?;
    std::fs::read(module).with_context(|| format!("the linker left no {}", module.display()))
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    // Compilers speak on stderr; stdout is for our answer.
    let status = command.stdin(Stdio::null()).stdout(Stdio::null()).status().context(REMEDY)?;
    ensure!(status.success(), "{} ended with {status}", command.get_program().to_string_lossy());
    Ok(())
}

/// Adds what wit-bindgen puts into Rust's modules: which contract the exports mean.
fn describe(module: &mut Vec<u8>) -> anyhow::Result<()> {
    let mut resolve = Resolve::default();
    let package = resolve.push_str("detector.wit", CONTRACT_TEXT).context("the contract is valid")?;
    let world = resolve.select_world(&[package], Some("detector")).context("the contract has one world")?;
    wit_component::embed_component_metadata(module, &resolve, world, wit_component::StringEncoding::UTF8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_described_module_names_the_contract() {
        let mut module = b"\0asm\x01\0\0\0".to_vec();
        describe(&mut module).unwrap();
        let (_, described) = wit_component::metadata::decode(&module).unwrap();
        let exports = described.resolve.worlds.iter().map(|(_, world)| world.exports.len()).max();
        assert_eq!(exports, Some(9), "every function of the contract");
    }

    #[test]
    fn only_c_files_are_sources() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["b.c", "a.c", "a.h", "c.wasm"] {
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        let names: Vec<_> = sources(dir.path()).unwrap();
        assert_eq!(names, ["a.c", "b.c"].map(|name| dir.path().join(name)));
    }
}
