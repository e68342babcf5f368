//! What the agent tells of itself: its bill, its diagnosis, its metrics.

use super::super::*;
use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use vedette_agent::cost::Bill;

#[test]
fn bill_names_who_was_paid_and_does_not_exceed_what_the_kernel_counts() {
    let bench = Bench::new();
    bench.enrol();
    let _agent = bench.start();
    bench.status_with(|status| status["ticks"]["run"].as_u64() >= Some(3));
    let output = bench.output("cost", &["--output", "json"]);
    let bill: Bill = serde_json::from_slice(&output.stdout).expect("a bill");
    let cpu = bill.sources.iter().find(|one| one.name == "cpu").expect("cpu");
    assert!(cpu.reads >= 3 && cpu.cpu_ns > 0 && cpu.series > 0, "{cpu:?}");
    let (known, all) = (bill.agent_known_ns(), bill.agent_cpu_ns);
    assert!(known > 0 && known <= all, "{known} of {all} ns");
    assert!(bill.batches.iter().any(|one| one.name == "series" && one.bytes > 0), "{:?}", bill.batches);
    let screen = String::from_utf8(bench.output("cost", &[]).stdout).expect("text");
    assert!(screen.contains("not explained") && screen.contains("of a core"), "{screen}");
}

#[test]
fn diagnosis_without_a_collector_fails_at_that_step_and_says_so() {
    let bench = Bench::new();
    bench.enrol();
    let output = bench.output("diagnose", &["--output", "json"]);
    let told: Value = serde_json::from_slice(&output.stdout).expect("one object");
    assert_eq!((output.status.code(), &told["fine"]), (Some(1), &Value::Bool(false)), "{told}");
    let steps = told["steps"].as_array().expect("steps");
    let failed: Vec<_> = steps.iter().filter(|step| step["outcome"] == "fail").map(|step| &step["name"]).collect();
    assert_eq!(failed, ["collector"], "{told:#}");
    let agent = bench.start();
    bench.status_with(|status| status["spool"]["disk"]["segments"].as_u64() >= Some(1));
    let told = String::from_utf8(bench.output("diagnose", &[]).stdout).expect("text");
    assert!(told.contains("/spool: ") && told.contains(" KiB of at most 256 MiB, "), "{told}");
    assert!(told.contains("FAIL  agent") || told.contains("ok    agent"), "the running agent is asked: {told}");
    drop(agent);
    bench.write_config("[limits]\nseries-max = 0\n");
    assert_eq!(bench.output("diagnose", &[]).status.code(), Some(78));
}

#[test]
fn own_metrics_come_through_socket_and_port_alike() {
    let bench = Bench::new();
    bench.enrol();
    let port = TcpListener::bind("127.0.0.1:0").and_then(|probe| probe.local_addr()).expect("a free port");
    bench.write_config(&format!("[metrics]\nlisten = \"{port}\"\n"));
    let _agent = bench.start();
    bench.status_with(|status| status["ready"] == true);
    let printed = bench.output("metrics", &[]);
    let printed = String::from_utf8(printed.stdout).expect("text");
    let mut scrape = TcpStream::connect(port).expect("connect");
    scrape.write_all(b"GET /metrics HTTP/1.1\r\nHost: here\r\n\r\n").expect("ask");
    let mut scraped = String::new();
    scrape.read_to_string(&mut scraped).expect("answer");
    for page in [&printed, &scraped] {
        assert!(page.contains("\nvedette_agent_ready 1\n") && page.ends_with("# EOF\n"), "{page}");
        assert!(page.contains("vedette_agent_source_reads_total{source=\"cpu\"} "), "{page}");
    }
}
