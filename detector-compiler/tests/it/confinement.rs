//! What a confined worker and a confined compiler cannot do.

use crate::rig::{COMPILER, HOSTILE, artifact};
use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::time::Duration;
use vedette_detector_compiler::{CompileError, compile, confined};
use vedette_detector_host::artifact::WASM_BYTES_MAX;
use vedette_detector_host::engine::Identity;

const SIGSYS: i32 = 31;

fn attempts(kind: &str) -> Vec<String> {
    let list = Command::new(HOSTILE).arg("attempts").output().unwrap();
    let list = String::from_utf8(list.stdout).unwrap();
    list.lines().filter_map(|line| line.strip_prefix(kind)).map(|name| name.trim().to_owned()).collect()
}

#[test]
fn every_forbidden_system_call_kills_the_worker() {
    let forbidden = attempts("forbidden");
    assert!(forbidden.len() >= 15);
    for name in forbidden {
        let tried = Command::new(HOSTILE).args(["attempt", &name]).output().unwrap();
        assert_eq!(tried.status.signal(), Some(SIGSYS), "{name}: {}", String::from_utf8_lossy(&tried.stdout));
    }
}

#[test]
fn what_a_worker_needs_is_allowed() {
    for name in attempts("allowed") {
        let tried = Command::new(HOSTILE).args(["attempt", &name]).output().unwrap();
        let said = String::from_utf8_lossy(&tried.stdout).trim().to_owned();
        assert!(tried.status.success() && said.parse::<i64>().is_ok_and(|result| result >= 0), "{name}: {said}");
    }
}

#[test]
fn compiling_is_reproducible_confined_or_not_and_never_for_the_cpu_at_hand() {
    let wasm = std::fs::read(honest_wasm().path().join("honest.wasm")).unwrap();
    let target = Identity::host().target;
    let confined = confined::run(COMPILER.as_ref(), &wasm, &target).unwrap();
    assert_eq!(confined, compile(&wasm, &target).unwrap());
    assert_eq!(confined.as_slice(), artifact("honest").cwasm().as_ref());
}

#[test]
fn nonsense_giants_and_unknown_targets_are_refused_with_a_reason() {
    let target = Identity::host().target;
    let nonsense = confined::run(COMPILER.as_ref(), b"nonsense", &target).unwrap_err();
    assert!(
        matches!(&nonsense, CompileError::Refused(reason) if reason.contains("not a valid component")),
        "{nonsense}"
    );
    let giant = confined::run(COMPILER.as_ref(), &vec![0; WASM_BYTES_MAX + 1], &target).unwrap_err();
    assert_eq!(giant, CompileError::TooLarge("wasm", WASM_BYTES_MAX));
    assert_eq!(compile(b"", "sparc"), Err(CompileError::UnknownTarget("sparc".into())));
}

#[test]
fn a_long_reason_is_cut_and_does_not_hold_the_compiler_up() {
    let name = "a".repeat(100_000);
    let module = format!(r#"(component (core module (func (export "{name}")) (func (export "{name}"))))"#);
    let wasm = wat::parse_str(module).unwrap();
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || sender.send(confined::run(COMPILER.as_ref(), &wasm, &Identity::host().target)));
    let refused = receiver.recv_timeout(Duration::from_secs(60)).expect("the compiler answers").unwrap_err();
    assert!(matches!(&refused, CompileError::Refused(reason) if reason.len() == 4_096), "{refused}");
}

#[test]
fn files_programs_and_others_are_out_of_reach_even_without_the_filter() {
    for name in attempts("refused") {
        // The shell leaves descriptor 3 open on purpose.
        let command = format!("exec 3</etc/passwd; exec '{HOSTILE}' attempt {name}");
        let tried = Command::new("/bin/sh").args(["-c", &command]).output().unwrap();
        let said = String::from_utf8_lossy(&tried.stdout).trim().to_owned();
        assert!(said.parse::<i64>().is_ok_and(|result| result < 0), "{name}: {said}");
    }
}

#[test]
fn the_command_line_prints_what_the_manifest_needs() {
    let dir = honest_wasm();
    let out = dir.path().join("honest.cwasm");
    let printed = Command::new(COMPILER)
        .arg("compile")
        .arg(dir.path().join("honest.wasm"))
        .arg("--out")
        .arg(&out)
        .args(["--output", "json"])
        .output()
        .unwrap();
    let printed: serde_json::Value = serde_json::from_slice(&printed.stdout).unwrap();
    let manifest = artifact("honest").manifest();
    assert_eq!(printed["cwasm_sha256"], manifest.cwasm_sha256.to_string());
    assert_eq!(printed["tunables"], manifest.tunables.to_string());
    assert_eq!(printed["wasmtime"], manifest.wasmtime.as_str());
}

/// A directory with the honest guest's component, as `vedette-hostile` makes it.
fn honest_wasm() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let key = dir.path().join("author.key");
    let made = Command::new(HOSTILE).arg("set").arg("--out").arg(dir.path()).arg("--key").arg(&key).output().unwrap();
    assert!(made.status.success());
    dir
}
