//! The collector's binary from the outside: agents over QUIC, people over HTTP, SIGKILL in between.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod harness;

use harness::{Agent, Collector, bodies, finding, wait_for};
use serde_json::json;
use std::io::Read as _;
use std::sync::Arc;
use std::time::Duration;
use vedette_edge::codec;
use vedette_link::client::LinkEvent;
use vedette_link::clock::{Clock as _, SystemClock};
use vedette_link::enroll::enroll;
use vedette_protocol::ids::{QueueEpoch, SeriesIndex, TenantId};
use vedette_protocol::policy::Directive;
use vedette_protocol::signature::{Domain, SigningKey};
use vedette_protocol::time::WallTime;
use vedette_protocol::v1::{Body, Class, Health, InEffect, Outcome, SampleBlock, SeriesDefinition};

const POLICY: &str = "version = 1\nexpires = \"2099-12-31T00:00:00Z\"\n[detect]\nepisodes-per-day = 0.2\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_in_mid_ingest_nothing_is_lost_and_nothing_counts_twice() {
    let mut collector = Collector::start(&[]);
    let mut agent = Agent::enroll(&collector, "web-1").await;
    for n in 0..300_u32 {
        let (class, body) = bodies(n);
        agent.make(class, body);
    }
    for acked in [40, 120, 200] {
        agent.run_until(|agent| agent.acked >= acked).await;
        collector.kill();
        collector.restart();
    }
    agent.run_until(|agent| agent.unacked.is_empty()).await;
    let ledger = collector.get("/api/v1/ledger");
    let stream = &ledger["streams"][0];
    assert_eq!(stream["committed"], 300, "{ledger}");
    assert_eq!((&stream["doubled"], &stream["gaps"], &stream["quarantined"]), (&json!(0), &json!([]), &json!(0)));
    let conservation = collector.get("/api/v1/conservation");
    assert_eq!(conservation["holds"], true, "{conservation}");
    assert_eq!(conservation["accepted"], 100, "one batch in three holds one finding");
    let findings = collector.get("/api/v1/findings?limit=1000");
    assert_eq!(findings["findings"].as_array().unwrap().len(), 100);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn findings_become_an_incident_a_directive_comes_back_and_all_survive_a_kill() {
    let mut collector = Collector::start(&[]);
    let mut agent = Agent::enroll(&collector, "web-1").await;
    agent.make(
        Class::Finding,
        Body::Findings(vec![finding(1, "system.cpu.utilization"), finding(2, "system.memory.utilization")]),
    );
    let directive =
        agent.wait(|event| if let LinkEvent::Directive(signed) = event { Some(signed) } else { None }).await;
    let bytes = directive.verify(Domain::Directive, &[agent.online_key]).unwrap();
    let directive: Directive = postcard::from_bytes(bytes).unwrap();
    assert_eq!(directive.host, agent.host);
    assert_eq!(directive.raw_metrics, ["system.cpu.utilization", "system.memory.utilization"]);
    agent.handle.set_in_effect(InEffect { policy_version: 3, directives: vec![directive.id], ..InEffect::default() });
    let in_effect = |collector: &Collector| {
        let incidents = collector.get("/api/v1/incidents?state=open");
        incidents["incidents"][0]["directives"][0]["in_effect_after_ms"].as_i64()
    };
    wait_for("the directive's report", || in_effect(&collector).is_some());
    let fleet = collector.get("/api/v1/fleet");
    let row = &fleet["agents"][0];
    assert_eq!(
        (&row["host_name"], &row["connected"], &row["policy_version_in_effect"]),
        (&json!("web-1"), &json!(true), &json!(3))
    );
    assert_eq!(row["directives_in_effect"][0]["id"], directive.id.to_string());

    let before = collector.get("/api/v1/incidents");
    collector.kill();
    collector.restart();
    assert_eq!(collector.get("/api/v1/incidents"), before);
    assert_eq!(collector.log().matches("incident opened").count(), 1, "once, whatever is replayed");
    // Something to send, or the agent would notice the restart only at its next keep-alive.
    let (class, body) = bodies(1);
    agent.make(class, body);
    let again = agent.wait(|event| if let LinkEvent::Directive(signed) = event { Some(signed) } else { None }).await;
    let again: Directive = postcard::from_bytes(&again.bytes).unwrap();
    assert_eq!(again, directive, "a host that connects anew gets what has not ended");

    let id = before["incidents"][0]["id"].as_str().unwrap().to_owned();
    let post = |command: &str| collector.post(&format!("/api/v1/incidents/{id}/{command}"), &json!({})).0;
    assert_eq!([post("review"), post("acknowledge"), post("acknowledge"), post("explode")], [409, 200, 409, 404]);
    assert_eq!(collector.stop(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn samples_of_the_members_are_shown_from_before_their_onset() {
    let collector = Collector::start(&[]);
    let mut agent = Agent::enroll(&collector, "web-1").await;
    let now_ms = SystemClock.wall().unix_ms();
    let times_ms: Vec<_> = (-300..0).map(|second| now_ms + second * 1_000).collect();
    let values: Vec<_> = (0..300).map(|n| f64::from(n % 7) / 100.0).collect();
    let mut bytes = Vec::new();
    let column = codec::Column { id: 4, resolution: 0.01, times_ms: &times_ms, values: &values };
    codec::encode(&[column], &mut bytes).unwrap();
    let (begin, end) = (WallTime::from_unix_ms(times_ms[0]), WallTime::from_unix_ms(times_ms[299]));
    let meta = harness::made::series("system.cpu.utilization");
    agent.make(Class::Finding, Body::Series(vec![SeriesDefinition { index: SeriesIndex(4), meta }]));
    agent.make(Class::Log, Body::Block(SampleBlock { begin, end, samples: 300, bytes }));
    let both = vec![finding(1, "system.cpu.utilization"), finding(2, "system.memory.utilization")];
    agent.make(Class::Finding, Body::Findings(both));
    agent.run_until(|agent| agent.unacked.is_empty()).await;
    let id = || collector.get("/api/v1/incidents")["incidents"][0]["id"].as_str().map(str::to_owned);
    wait_for("the incident", || id().is_some());
    let samples = collector.get(&format!("/api/v1/incidents/{}/samples", id().unwrap()));
    let series = samples["series"].as_array().unwrap();
    assert_eq!(series.len(), 1, "nobody has brought samples of the other: {samples}");
    assert_eq!(series[0]["metric"], "system.cpu.utilization");
    assert_eq!(samples["members"], json!({"metrics": 2, "logs": 0}));
    assert!(samples["directives"]["issued"].as_u64() >= Some(1) && samples["merged_into"].is_null(), "{samples}");
    let points = series[0]["points"].as_array().unwrap();
    assert_eq!((points.len(), &points[3][1]), (300, &json!(0.03)));
    assert!(points[0][0].as_i64() < series[0]["onset_unix_ms"].as_i64());
    assert_eq!(collector.get_with("/api/v1/incidents/none/samples", &collector.bearer()).0, 404);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_goes_to_all_agents_only_if_signed_valid_and_newer() {
    let key = SigningKey::from_pkcs8(&SigningKey::generate_pkcs8()).unwrap();
    let stranger = SigningKey::from_pkcs8(&SigningKey::generate_pkcs8()).unwrap();
    let mut collector = Collector::start(&[key.public()]);
    let mut agent = Agent::enroll(&collector, "web-1").await;
    agent.wait(|event| matches!(event, LinkEvent::Connected { .. }).then_some(())).await;
    let put = |collector: &Collector, key: &SigningKey, domain, text: &str| {
        let signed = key.sign(domain, text.as_bytes().to_vec());
        let signature: String = signed.signature.iter().map(|byte| format!("{byte:02x}")).collect();
        collector
            .put("/api/v1/policy", &json!({"document": text, "key": signed.key.to_string(), "signature": signature}))
            .0
    };
    assert_eq!(put(&collector, &stranger, Domain::Policy, POLICY), 422);
    assert_eq!(put(&collector, &key, Domain::Directive, POLICY), 422);
    assert_eq!(put(&collector, &key, Domain::Policy, "version = 1\nexpires = \"2001-01-01T00:00:00Z\"\n"), 422);
    assert_eq!(put(&collector, &key, Domain::Policy, "version = 1\nnonsense = true\n"), 422);
    assert_eq!(collector.put("/api/v1/policy", &json!({"document": "x"})).0, 400);
    assert_eq!(collector.get("/api/v1/policy")["version"], 0);
    assert_eq!(put(&collector, &key, Domain::Policy, POLICY), 200);
    assert_eq!(put(&collector, &key, Domain::Policy, POLICY), 409);
    let policy = agent.wait(|event| if let LinkEvent::Policy(signed) = event { Some(signed) } else { None }).await;
    assert_eq!(policy.verify(Domain::Policy, &[key.public()]).unwrap(), POLICY.as_bytes());
    let metrics = collector.text("/metrics");
    for line in [
        "vedette_policies_total{outcome=\"stored\"} 1",
        "vedette_policies_total{outcome=\"untrusted-key\"} 1",
        "vedette_policies_total{outcome=\"not-newer\"} 1",
    ] {
        assert!(metrics.contains(line), "{line} is not in:\n{metrics}");
    }
    collector.kill();
    collector.restart();
    assert_eq!(collector.get("/api/v1/policy")["version"], 1);
    agent.wait(|event| matches!(event, LinkEvent::Policy(_)).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_not_come_in_stays_out() {
    let collector = Collector::start(&[]);
    assert_eq!(collector.get_with("/api/v1/fleet", "Bearer wrong").0, 401);
    assert_eq!(collector.get_with("/metrics", "").0, 401);
    assert_eq!(collector.get_with("/livez", "").0, 200);
    assert_eq!(collector.post("/api/v1/fleet/tokens", &json!({"ttl_ms": 90_000_000})).0, 400);
    let token = collector.token();
    let ca = collector.get("/api/v1/ca")["pem"].as_str().unwrap().to_owned();
    let (address, name) = (collector.address(), vedette_link::SERVER_NAME);
    assert!(enroll(&address, name, &ca, &token, "web-1", Arc::new(SystemClock)).await.is_ok());
    assert!(enroll(&address, name, &ca, &token, "web-2", Arc::new(SystemClock)).await.is_err(), "the token is used up");

    let mut agent = Agent::enroll(&collector, "web-3").await;
    agent.wait(|event| matches!(event, LinkEvent::Connected { .. }).then_some(())).await;
    assert_eq!(collector.post(&format!("/api/v1/fleet/{}/revoke", agent.host), &json!({})).0, 200);
    agent.wait(|event| matches!(event, LinkEvent::Disconnected { .. }).then_some(())).await;
    let row = |collector: &Collector| {
        let fleet = collector.get("/api/v1/fleet");
        let agents = fleet["agents"].as_array().unwrap().clone();
        agents.into_iter().find(|row| row["host"] == agent.host.to_string()).unwrap()
    };
    wait_for("the agent to be gone", || row(&collector)["connected"] == false);
    assert_eq!(row(&collector)["revoked"], true);
    assert!(agent.stays_out(Duration::from_secs(2)).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_agents_with_one_identity_are_a_problem_with_a_remedy() {
    let collector = Collector::start(&[]);
    let mut agent = Agent::enroll(&collector, "web-1").await;
    let problems = |collector: &Collector| collector.get("/api/v1/fleet")["agents"][0]["problems"].to_string();
    for (epoch, conflict) in [(1, false), (2, false), (1, true)] {
        agent.restart(QueueEpoch(epoch));
        agent.wait(|event| matches!(event, LinkEvent::Connected { .. }).then_some(())).await;
        wait_for("the agent's hello", || problems(&collector).contains("one of them") == conflict);
    }
    let told = problems(&collector);
    assert!(told.contains("127.0.0.1") && told.contains("vedette-agent enroll"), "{told}");
    assert_eq!(counted(&collector, "vedette_identity_conflicts_total "), 1);
    assert_eq!(collector.log().matches("two agents run with one identity").count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_is_not_well_is_told_from_one_that_says_nothing() {
    let collector = Collector::start(&[]);
    let mut agent = Agent::enroll(&collector, "web-1").await;
    agent.wait(|event| matches!(event, LinkEvent::Connected { .. }).then_some(())).await;
    let told = |collector: &Collector| collector.get("/api/v1/fleet")["agents"][0].clone();
    wait_for("the agent's hello", || told(&collector)["connected"] == true);
    assert_eq!(told(&collector)["health"], "unknown");
    agent.handle.set_health(Health::default());
    wait_for("a well agent", || told(&collector)["health"] == "well");
    agent.handle.set_health(Health { problems: vec!["no tick\nfor 5 s".to_owned()] });
    wait_for("its problem", || told(&collector)["health"] == "problems");
    assert_eq!(told(&collector)["problems"], json!(["no tick for 5 s"]));
    drop(agent);
    wait_for("its end", || told(&collector)["health"] == "unknown");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_of_another_tenant_is_kept_aside_and_settled() {
    let collector = Collector::start(&[]);
    let mut agent = Agent::enroll(&collector, "web-1").await;
    agent.tenant = TenantId(7);
    agent.make(Class::Finding, Body::Findings(vec![finding(1, "system.cpu.utilization")]));
    let settled = |event| if let LinkEvent::Acked { outcome, .. } = event { Some(outcome) } else { None };
    assert_eq!(agent.wait(settled).await, Outcome::Quarantined);
    assert_eq!(collector.get("/api/v1/ledger")["total"]["quarantined"], 1);
    assert_eq!(collector.get("/api/v1/conservation")["accepted"], 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_spool_that_went_back_in_time_is_told_to_begin_anew_and_shown_in_the_ledger() {
    let collector = Collector::start(&[]);
    let mut agent = Agent::enroll(&collector, "web-1").await;
    agent.make(Class::Finding, Body::Findings(vec![finding(1, "system.cpu.utilization")]));
    agent.run_until(|agent| agent.unacked.is_empty()).await;
    agent.restart(QueueEpoch(77));
    agent.make(Class::Finding, Body::Findings(vec![finding(2, "system.memory.utilization")]));
    agent.wait(|event| (event == LinkEvent::BeginAnew).then_some(())).await;
    agent.run_until(|agent| agent.unacked.is_empty()).await;
    let total = collector.get("/api/v1/ledger")["total"].clone();
    assert_eq!((&total["committed"], &total["quarantined"], &total["reused"]), (&json!(1), &json!(1), &json!(1)));
    assert_eq!(collector.log().matches("sequences came back with other content").count(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_agent_that_lost_its_spool_tells_again_goes_on_in_its_incident() {
    let mut collector = Collector::start(&[]);
    let mut agent = Agent::enroll(&collector, "web-1").await;
    let both = vec![finding(1, "system.cpu.utilization"), finding(2, "system.memory.utilization")];
    agent.make(Class::Finding, Body::Findings(both));
    agent.run_until(|agent| agent.unacked.is_empty()).await;
    let incident = |collector: &Collector| collector.get("/api/v1/incidents")["incidents"][0].clone();
    let ends = |collector: &Collector| {
        let members = incident(collector)["members"].as_array().cloned().unwrap_or_default();
        members.iter().map(|member| member["finding"]["ended"].clone()).collect::<Vec<_>>()
    };
    wait_for("the incident", || incident(&collector)["state"] == "detected");
    agent.restart(QueueEpoch(78));
    let (unknown, again) = (json!("unknown: agent restarted"), json!("told again: agent restarted"));
    wait_for("the end of what the agent forgot", || ends(&collector) == [unknown.clone(), unknown.clone()]);
    // The restart is in the log: a collector that is killed does not forget it either.
    collector.kill();
    collector.restart();
    assert_eq!(ends(&collector), [unknown.clone(), unknown.clone()]);
    let expired = || counted(&collector, "vedette_episodes_expired_total{reason=\"agent-restarted\"} ");
    assert_eq!(expired(), 0, "it may tell of them again");
    agent.make(Class::Finding, Body::Findings(vec![finding(3, "system.cpu.utilization")]));
    agent.run_until(|agent| agent.unacked.is_empty()).await;
    wait_for("what goes on to be known again", || ends(&collector) == [again.clone(), unknown.clone(), json!(null)]);
    assert_eq!((incident(&collector)["state"].clone(), expired()), (json!("detected"), 0));
    assert_eq!(collector.get("/api/v1/conservation")["holds"], true);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_that_never_finish_do_not_shut_others_out() {
    let collector = Collector::start(&[]);
    let mut slow: Vec<_> =
        (0..400).map(|_| collector.say("GET /api/v1/fleet HTTP/1.1\r\nhost: x\r\nx-slow: ")).collect();
    wait_for("a free seat", || collector.answers());
    for stream in &mut slow {
        let end = stream.read_to_end(&mut Vec::new());
        assert!(!end.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock), "it is still open");
    }
    let refused = counted(&collector, "vedette_api_requests_refused_total{reason=\"connections\"} ");
    assert!(refused >= 400 - 256, "{refused}");
}

/// A counter of `/metrics`, by the beginning of its line.
fn counted(collector: &Collector, line: &str) -> u64 {
    let metrics = collector.text("/metrics");
    metrics.lines().find_map(|found| found.strip_prefix(line)).expect(line).parse().expect("a whole number")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revocation_holds_even_if_nobody_waits_for_the_answer() {
    let mut collector = Collector::start(&[]);
    let mut agent = Agent::enroll(&collector, "web-1").await;
    agent.wait(|event| matches!(event, LinkEvent::Connected { .. }).then_some(())).await;
    let path = format!("/api/v1/fleet/{}/revoke", agent.host);
    let request = format!("POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: TOKEN\r\ncontent-length: 0\r\n\r\n");
    // A call that is given up before it was begun is not carried out: what is tested is the first that was let in.
    let mut calls = counted(&collector, "vedette_api_requests_total ");
    wait_for("the call to be let in", || {
        drop(collector.say(&request));
        let asked = calls + 1;
        calls = counted(&collector, "vedette_api_requests_total ");
        calls > asked
    });
    agent.wait(|event| matches!(event, LinkEvent::Disconnected { .. }).then_some(())).await;
    let revoked = |collector: &Collector| collector.get("/api/v1/fleet")["agents"][0]["revoked"] == true;
    wait_for("the revocation in the store", || revoked(&collector));
    collector.kill();
    collector.restart();
    assert!(revoked(&collector) && agent.stays_out(Duration::from_secs(2)).await);
}

#[test]
fn a_bad_configuration_ends_with_78_and_all_problems() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("collector.toml");
    std::fs::write(&file, "[collector]\napi = \"0.0.0.0:80\"\ndatadir = \"x\"\n").unwrap();
    for command in ["check", "run"] {
        let output = harness::run(&[command, "--config", file.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(78));
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(text.contains("collector.toml:2:") && text.contains("collector.toml:3:"), "{text}");
    }
}
