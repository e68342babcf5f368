//! What a person sees of a running agent while it runs: memory, taps, the live picture, the bundle for support.

use super::super::*;
use std::io::{BufRead as _, BufReader};
use std::os::unix::net::UnixStream;

fn with_log() -> (Bench, PathBuf) {
    let bench = Bench::new();
    bench.enrol();
    let log = bench.path("app.log");
    fs::write(&log, "").expect("log");
    bench.write_config(&format!("[[logs]]\npath = {log:?}\n"));
    (bench, log)
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("text")
}

#[test]
fn memory_now_is_within_the_bound_that_was_told_before() {
    let (bench, _) = with_log();
    let told = bench.output("check", &["--output", "json"]);
    let told: Value = serde_json::from_slice(&told.stdout).expect("one object");
    let _agent = bench.start();
    let status = bench.status_with(|status| status["ticks"]["run"].as_u64() >= Some(3));
    let memory = &status["memory"];
    assert_eq!(memory["bound"], told["memory"], "the same before and after the start");
    let (now, most) = (memory["agent"]["bytes"].as_u64(), memory["bound"]["total_bytes"].as_u64());
    assert!(now > Some(1 << 20) && now < most, "{memory}");
    assert_eq!(memory["agent"]["measure"], "pss");
    let human = stdout(&bench.output("check", &[]));
    assert!(human.contains("memory      at most ") && human.contains("  flight recorder "), "{human}");
    assert!(human.contains("\nnote: no detector in ") && human.ends_with(": fine, with the note above\n"), "{human}");
    let human = stdout(&bench.output("status", &[]));
    assert!(human.contains("memory now  ") && human.contains("memory      at most "), "{human}");
}

#[test]
fn configuration_that_can_take_more_memory_than_it_may_is_refused() {
    let bench = Bench::new();
    bench.enrol();
    bench.write_config("[limits]\nmemory-bytes-max = \"32MiB\"\n");
    for command in ["check", "run"] {
        let output = bench.output(command, &[]);
        assert_eq!(output.status.code(), Some(78), "{command}");
        let told = stderr(&output);
        assert!(told.contains("`limits.memory-bytes-max` is 32.0 MiB, and this configuration can take "), "{told}");
        assert!(told.contains("or lower `limits.series-max`"), "{told}");
    }
    bench.write_config("[limits]\nmemory-bytes-max = \"1GiB\"\n");
    let _agent = bench.start();
    bench.status_with(|status| status["ready"] == true);
}

#[test]
fn tap_follows_masked_lines_and_samples_and_ends_by_count() {
    let (bench, log) = with_log();
    let _agent = bench.start();
    bench.status_with(|status| status["ready"] == true);
    let samples = bench.output("tap", &["system.cpu.*", "--count", "3", "--output", "json"]);
    assert_eq!(samples.status.code(), Some(0), "{}", stderr(&samples));
    let samples: Vec<Value> =
        stdout(&samples).lines().map(|line| serde_json::from_str(line).expect("an object a line")).collect();
    assert_eq!(samples.len(), 3);
    assert!(samples.iter().all(
        |one| one["kind"] == "sample" && one["series"].as_str().is_some_and(|name| name.starts_with("system.cpu."))
    ));

    let glob = format!("log:{}", log.display());
    let mut tap =
        bench.agent("tap").args([&glob, "--count", "1", "--for", "20s"]).stdout(Stdio::piped()).spawn().expect("tap");
    bench.status_with(|status| status["taps"]["open"] == 1);
    fs::write(&log, "login of bob with password=hunter2\n").expect("log");
    let mut line = String::new();
    BufReader::new(tap.stdout.take().expect("piped")).read_line(&mut line).expect("a line");
    assert!(line.contains("password=<secret>") && !line.contains("hunter2"), "{line}");
    assert_eq!(tap.wait().expect("it ends").code(), Some(0));
    bench.status_with(|status| status["taps"]["open"] == 0);
    assert_eq!(bench.output("tap", &["log:", "--for", "never"]).status.code(), Some(2));
    assert_eq!(bench.output("tap", &["no.such.series", "--for", "50ms"]).status.code(), Some(0));
}

#[test]
fn reader_that_reads_nothing_costs_the_agent_no_tick_and_is_told_what_it_missed() {
    let (bench, log) = with_log();
    let _agent = bench.start();
    bench.status_with(|status| status["ready"] == true);
    let mut reader = UnixStream::connect(bench.path("agent.sock")).expect("connect");
    std::io::Write::write_all(&mut reader, b"v1 tap [\"*\", \"log:*\"]\n").expect("ask");
    bench.status_with(|status| status["taps"]["open"] == 1);
    // Far more than socket, portions and queue hold together.
    let line = format!("{}\n", "something happened ".repeat(20));
    fs::write(&log, line.repeat(8_000)).expect("log");
    let status =
        bench.status_with(|status| status["taps"]["missed"].as_u64() > Some(0) && status["logs"][0]["lines"] == 8_000);
    assert_eq!(status["ticks"]["missed"], 0, "{}", status["ticks"]);
    reader.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let missed =
        BufReader::new(reader).lines().map(|line| line.expect("a line")).find(|line| line.contains("\"missed\""));
    assert!(missed.is_some_and(|line| line.starts_with("{\"kind\":\"missed\",\"count\":")));
}

#[test]
fn picture_is_printed_once_and_a_lost_agent_is_named() {
    let bench = Bench::new();
    bench.enrol();
    let nobody = bench.output("top", &["--once"]);
    assert_eq!(nobody.status.code(), Some(69), "{}", stderr(&nobody));
    assert!(stderr(&nobody).contains("is it running?"));
    let _agent = bench.start();
    bench.status_with(|status| status["ticks"]["run"].as_u64() >= Some(2));
    for width in ["80", "40"] {
        let picture = stdout(&bench.output("top", &["--once", "--width", width]));
        assert!(picture.contains("sources") && picture.contains("cpu") && picture.contains("link DOWN"), "{picture}");
        assert!(picture.lines().all(|line| line.chars().count() <= width.parse().expect("a number")), "{picture}");
    }
    let no_terminal = bench.output("top", &[]);
    assert_eq!(no_terminal.status.code(), Some(2));
    assert!(stderr(&no_terminal).contains("--once"));
}

#[test]
fn bundle_of_a_running_agent_has_what_it_says_and_names_its_parts() {
    let (bench, _) = with_log();
    let _agent = bench.start();
    bench.status_with(|status| status["ready"] == true);
    let out = bench.path("support.tar.gz");
    let out = out.to_str().expect("text");
    let output = bench.output("diagnostics", &["--out", out]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let told = stdout(&output);
    for part in ["status.json", "cost.json", "metrics.txt", "diagnose.json", "spool.json", "memory.json", "host.json"] {
        assert!(told.lines().any(|line| line.contains(part) && line.contains(" bytes ")), "{part}: {told}");
    }
    assert!(told.contains("sent nowhere"), "{told}");
    assert_eq!(bench.output("diagnostics", &["--out", out]).status.code(), Some(1), "it is there already");
    assert_eq!(bench.output("diagnostics", &["--out", "x.zip"]).status.code(), Some(2));
}
