//! The bundled detectors in a running agent, through what the contract was frozen for: their modules are upgraded, and the
//! process ends and starts again.

use crate::guide::in_an_agent::Demo;
use crate::guide::programs;
use crate::scores::{OF_METRICS, module, sign};
use serde_json::Value;
use std::path::Path;
use std::process::Command;
use vedette_agent::durable;
use vedette_protocol::signature::SigningKey;

/// A section of its own that nobody reads: the same code in another module.
const NEXT_VERSION: &[u8] = b"\0\x05\x04next";

/// All bundled detectors as the agent would find them, with `more` at the end of their modules.
fn publish(demo: &Demo, more: &[u8]) {
    let folder = demo.folder.join("modules");
    std::fs::create_dir_all(&folder).expect("a folder");
    for name in OF_METRICS.iter().chain(&["log-novelty"]) {
        let mut component = std::fs::read(module(name)).expect("a component");
        component.extend_from_slice(more);
        let path = folder.join(name).with_extension("wasm");
        std::fs::write(&path, component).expect("a component");
        sign(&path, &demo.folder.join("author.key"), &demo.folder.join("detectors"));
    }
}

fn hang_up(pid: u32) {
    let sent = Command::new("kill").args(["-HUP", &pid.to_string()]).status();
    assert!(sent.is_ok_and(|status| status.success()), "it runs");
}

/// All of them run, and those of metrics have scored every series of a tick.
fn judge(status: &Value) -> bool {
    let detectors = status["detectors"].as_array().map(Vec::as_slice).unwrap_or_default();
    let judges = |name: &str| {
        let judged = |one: &Value| one["name"] == name && one["values"].as_u64() > Some(20);
        detectors.iter().any(judged)
    };
    detectors.len() == OF_METRICS.len() + 1
        && detectors.iter().all(|one| one["state"] == "running")
        && OF_METRICS.iter().all(|name| judges(name))
}

/// States that a worker took over, and restores that were refused.
fn restored(status: &Value) -> (Option<u64>, Option<u64>) {
    let count = |name: &str| status["worker"][name].as_u64();
    (count("states_restored"), count("restores_refused"))
}

#[test]
fn the_bundled_detectors_go_on_through_an_upgrade_and_a_restart() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let key = folder.path().join("author.key");
    durable::replace(&key, &SigningKey::generate_pkcs8()).expect("a key");
    let mut demo = Demo::new(folder.path().join("demo"), programs().join("vedette-agent"), Path::new(&key));
    publish(&demo, b"");
    demo.start("native");
    let before = demo.status_with("all judge", judge);
    assert_eq!(restored(&before), (Some(0), Some(0)));

    publish(&demo, NEXT_VERSION);
    hang_up(demo.pid());
    let switched = before["worker"]["switches"].as_u64();
    let upgraded = demo.status_with("the next versions judge", |status| {
        status["worker"]["switches"].as_u64() > switched && judge(status) && restored(status).0 > Some(40)
    });
    assert_eq!(restored(&upgraded).1, Some(0), "{}", upgraded["worker"]);
    demo.stop();

    // Another way to execute takes the upgraded modules' states over.
    demo.start("pulley");
    let after = demo.status_with("all judge again", judge);
    let found = &after["learnt"]["states"];
    assert!(found["returned"].as_u64() > Some(40) && found["other_module"] == 0, "{}", after["learnt"]);
    let (states, refused) = restored(&after);
    assert!(states > Some(40) && refused == Some(0), "{}", after["worker"]);
    demo.stop();
}
