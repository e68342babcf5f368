//! The detector host against real components, real native code and a real confined worker.

#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, reason = "a test fails by panicking")]

mod confinement;
mod frozen;
mod hostile;
mod instance;
mod life;
mod measure;
mod rig;
mod worker;

use std::process::Command;

/// Compilers have no place where agents run.
#[test]
fn neither_host_nor_agent_has_a_compiler_in_its_tree() {
    for package in ["vedette-detector-host", "vedette-agent"] {
        let tree = Command::new(env!("CARGO"))
            .args(["tree", "--offline", "--package", package, "--edges", "normal", "--prefix", "none"])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .unwrap();
        let tree = String::from_utf8(tree.stdout).unwrap();
        assert!(tree.contains("wasmtime v48"), "{tree}");
        for absent in ["cranelift-codegen", "wasmtime-internal-cranelift", "wasmtime-internal-winch"] {
            assert!(!tree.contains(absent), "{absent} is in the tree of {package}");
        }
    }
}
