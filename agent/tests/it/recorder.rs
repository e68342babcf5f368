//! The flight recorder as people read it.

use super::super::*;

/// `vedette-agent recorder` with these arguments.
fn recorder(bench: &Bench, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vedette-agent"));
    command.arg("recorder").args(arguments).env_clear().stdin(Stdio::null());
    command.arg("--config").arg(bench.path("agent.toml")).output().expect("the binary runs")
}

#[test]
fn what_a_disk_does_not_take_is_shown_from_memory_with_the_reason() {
    let bench = Bench::new();
    bench.enrol();
    bench.write_config("");
    fs::write(bench.path("data/recorder"), "in the way").expect("file");
    let mut agent = bench.start();
    bench.status_with(|status| status["recorder"]["counts"]["samples"].as_u64() >= Some(50));
    let shown = recorder(&bench, &["show", "--series", "system.memory.*"]);
    let (drawn, said) = (String::from_utf8_lossy(&shown.stdout), stderr(&shown));
    assert!(drawn.contains("system.memory.") && said.contains("the disk makes trouble: "), "{drawn}{said}");
    assert!(shown.status.code() == Some(1) && said.contains("data/recorder: "), "{said}");
    let status = recorder(&bench, &["status"]);
    assert!(String::from_utf8_lossy(&status.stdout).contains("MISSING     the disk makes trouble: "), "{status:?}");
    let told: Value = serde_json::from_slice(&recorder(&bench, &["status", "--output", "json"]).stdout).expect("JSON");
    assert_eq!(told["missing"].as_array().map(Vec::len), Some(1), "{told}");
    agent.stop();
}

#[test]
fn what_a_stopped_agent_collected_is_exported_and_drawn() {
    let bench = Bench::new();
    let recorder = |arguments: &[&str]| recorder(&bench, arguments);
    let nothing = recorder(&["export"]);
    assert_eq!(nothing.status.code(), Some(1), "{}", stderr(&nothing));
    assert!(stderr(&nothing).contains("does the agent run"), "{}", stderr(&nothing));
    bench.enrol();
    let log = bench.path("app.log");
    fs::write(&log, "").expect("log");
    bench.write_config(&format!("[[logs]]\npath = {log:?}\nservice = \"app\"\n"));
    let mut agent = bench.start();
    bench.status_with(|status| status["ready"] == true);
    fs::write(&log, "user=ann password=hunter2\n").expect("log");
    let status = bench
        .status_with(|status| status["ticks"]["run"].as_u64() >= Some(4) && status["recorder"]["counts"]["lines"] == 1);
    assert!(status["recorder"]["counts"]["samples"].as_u64() > Some(50), "{status}");
    let asked = recorder(&["export", "--series", "*load_average*"]);
    assert!(asked.status.success(), "the running agent tells what is not on disk yet: {}", stderr(&asked));
    let told = recorder(&["export", "--format", "json"]);
    let told: Value = serde_json::from_slice(&told.stdout).expect("JSON");
    assert_eq!(told["lines"].as_array().map(Vec::len), Some(1), "log lines as well");
    agent.stop();

    let csv = recorder(&["export", "--series", "*load_average*", "--from", "10m"]);
    let csv = String::from_utf8(csv.stdout).expect("text");
    let rows: Vec<_> = csv.lines().collect();
    assert!(rows[0].starts_with("timestamp,system.cpu.load_average") && rows.len() >= 4, "{csv}");
    let out = bench.path("all.json");
    assert!(recorder(&["export", "--format", "json", "--out", text(&out)]).status.success());
    let all: Value = serde_json::from_str(&fs::read_to_string(&out).expect("export")).expect("JSON");
    assert!(all["series"].as_array().map(Vec::len) > Some(20));
    assert_eq!(all["lines"].as_array().map(Vec::len), Some(1));
    assert!(!all.to_string().contains("hunter2"), "secrets are masked before they are recorded");
    let drawn = String::from_utf8(recorder(&["show", "--series", "system.memory.*"]).stdout).expect("text");
    assert!(drawn.contains("system.memory.") && drawn.contains("samples"), "{drawn}");
    let told: Value = serde_json::from_slice(&recorder(&["status", "--output", "json"]).stdout).expect("JSON");
    assert!(told["bytes"].as_u64() > Some(100) && told["begin"].is_string(), "{told}");
    assert_eq!(recorder(&["show", "--from", "yesterday"]).status.code(), Some(2));
}
