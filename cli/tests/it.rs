//! The command line against a collector that answers as it is told.

#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};
use std::thread::JoinHandle;
use vedette_protocol::signature::{Domain, Signed};

const POLICY: &str = "version = 3\nexpires = \"2099-12-31T00:00:00Z\"\n";

/// A collector that answers one call after the other, and the first request that it got.
struct Fake {
    url: String,
    request: JoinHandle<(String, Value)>,
}

impl Fake {
    fn answering(status: u16, body: &Value) -> Self {
        Self::answering_each(status, std::slice::from_ref(body))
    }

    fn answering_each(status: u16, bodies: &[Value]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let bodies: Vec<_> = bodies.iter().map(ToString::to_string).collect();
        let request = std::thread::spawn(move || {
            let mut requests = bodies.iter().map(|body| answer(&listener, status, body)).collect::<Vec<_>>();
            requests.swap_remove(0)
        });
        Self { url, request }
    }
}

fn answer(listener: &TcpListener, status: u16, body: &str) -> (String, Value) {
    let (stream, _) = listener.accept().unwrap();
    let mut reader = BufReader::new(stream);
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        if line.trim().is_empty() {
            break;
        }
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        head.push_str(&line);
    }
    let mut sent = vec![0; length];
    reader.read_exact(&mut sent).unwrap();
    let length = body.len();
    write!(reader.get_mut(), "HTTP/1.1 {status} X\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}")
        .unwrap();
    (head, serde_json::from_slice(&sent).unwrap_or_default())
}

fn vedette(directory: &Path, url: &str, arguments: &[&str]) -> Output {
    let token = directory.join("api-token");
    std::fs::write(&token, "secret\n").unwrap();
    chmod(&token, 0o600);
    Command::new(env!("CARGO_BIN_EXE_vedette"))
        .args(arguments)
        .env("VEDETTE_URL", url)
        .env("VEDETTE_TOKEN_FILE", token)
        .current_dir(directory)
        .output()
        .unwrap()
}

fn chmod(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn the_exit_code_says_what_is_wrong() {
    let directory = tempfile::tempdir().unwrap();
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    assert_eq!(vedette(directory.path(), &closed, &["fleet", "list"]).status.code(), Some(69));
    for (status, code) in [(401, 77), (404, 1), (500, 1), (200, 0)] {
        let fake = Fake::answering(status, &json!({"error": "because", "agents": []}));
        let output = vedette(directory.path(), &fake.url, &["fleet", "list"]);
        assert_eq!(output.status.code(), Some(code), "{status}");
        assert!(status == 200 || text(&output.stderr).contains("because"));
        assert!(fake.request.join().unwrap().0.contains("authorization: Bearer secret"));
    }
    assert_eq!(vedette(directory.path(), &closed, &["fleet", "dance"]).status.code(), Some(2));
}

#[test]
fn json_is_the_collectors_answer() {
    let directory = tempfile::tempdir().unwrap();
    let answer = json!({"id": "inc-1", "title": "t", "members": []});
    let fake = Fake::answering(200, &answer);
    let output = vedette(directory.path(), &fake.url, &["incidents", "show", "inc-1", "--output", "json"]);
    assert_eq!(serde_json::from_slice::<Value>(&output.stdout).unwrap(), answer);
    let (request, _) = fake.request.join().unwrap();
    assert!(request.starts_with("GET /api/v1/incidents/inc-1 "), "{request}");
}

#[test]
fn an_id_that_is_none_is_a_usage_error_and_asks_nobody() {
    let directory = tempfile::tempdir().unwrap();
    for id in ["inc-1/../x", "", "inc 1"] {
        let output = vedette(directory.path(), "http://unused", &["incidents", "show", id]);
        assert_eq!(output.status.code(), Some(2), "{id}");
        assert!(text(&output.stderr).contains("incidents list"), "{}", text(&output.stderr));
    }
}

#[test]
fn a_policy_is_checked_signed_and_sent_as_exact_bytes() {
    let directory = tempfile::tempdir().unwrap();
    let keygen = |directory: &Path| vedette(directory, "http://unused", &["policy", "keygen", "--out", "targets.key"]);
    let made = keygen(directory.path());
    let public = text(&made.stdout).trim().to_owned();
    let mode = std::fs::metadata(directory.path().join("targets.key")).unwrap().permissions().mode();
    assert_eq!((made.status.code(), mode & 0o777), (Some(0), 0o600));
    assert_eq!(keygen(directory.path()).status.code(), Some(78), "a key is never overwritten");

    std::fs::write(directory.path().join("policy.toml"), POLICY).unwrap();
    let refused = json!({"version": 0, "reason": "signed by a stranger"});
    let agents = json!([{"host_name": "web-1", "version_in_effect": 3}, {"host_name": "web-2", "version_in_effect": 0, "refused": refused}]);
    let answers = [json!({"version": 3, "pushed_to": 2}), json!({"version": 3, "agents": agents})];
    let fake = Fake::answering_each(200, &answers);
    let arguments = ["policy", "apply", "policy.toml", "--key", "targets.key"];
    chmod(&directory.path().join("targets.key"), 0o640);
    let refused = vedette(directory.path(), &fake.url, &arguments);
    assert_eq!(refused.status.code(), Some(78), "others can read the key");
    assert!(text(&refused.stderr).contains("`chmod 600 targets.key`"), "{}", text(&refused.stderr));
    chmod(&directory.path().join("targets.key"), 0o600);
    let output = vedette(directory.path(), &fake.url, &arguments);
    assert_eq!(
        text(&output.stdout),
        "policy 3 stored and sent to 2 agent(s)\nin effect on 1, refused by 1\n\
         ! refused by web-2: signed by a stranger\n"
    );
    let (request, body) = fake.request.join().unwrap();
    assert!(request.starts_with("PUT /api/v1/policy "));
    assert_eq!((&body["document"], &body["key"]), (&json!(POLICY), &json!(public)));
    let digits = body["signature"].as_str().unwrap();
    let byte = |at: usize| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
    let signature = (0..digits.len()).step_by(2).map(byte).collect();
    let signed = Signed { bytes: POLICY.into(), key: public.parse().unwrap(), signature };
    assert!(signed.verify(Domain::Policy, &[public.parse().unwrap()]).is_ok());
}

#[test]
fn what_was_done_or_found_is_told_though_the_rest_cannot_be_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    let signed = json!({"document": POLICY, "key": "k", "signature": "s"});
    std::fs::write(directory.path().join("policy.json"), signed.to_string()).unwrap();
    let fake = Fake::answering(200, &json!({"version": 3, "pushed_to": 2}));
    let output = vedette(directory.path(), &fake.url, &["policy", "apply", "policy.json"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout), "policy 3 stored and sent to 2 agent(s)\n");
    assert!(text(&output.stderr).contains("`vedette policy status`"), "{}", text(&output.stderr));

    let fake = Fake::answering(200, &json!({"id": "inc-1", "title": "disk full on db-1", "members": []}));
    let output = vedette(directory.path(), &fake.url, &["incidents", "show", "inc-1"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let page = text(&output.stdout);
    assert!(page.starts_with("disk full on db-1") && page.contains("`vedette incidents samples inc-1`"), "{page}");
}

#[test]
fn a_bad_policy_is_told_whole_and_never_sent() {
    let directory = tempfile::tempdir().unwrap();
    vedette(directory.path(), "http://unused", &["policy", "keygen", "--out", "targets.key"]);
    std::fs::write(directory.path().join("policy.toml"), "version = \"x\"\nfoo = 1\n").unwrap();
    let arguments = ["policy", "apply", "policy.toml", "--key", "targets.key"];
    let output = vedette(directory.path(), "http://unused", &arguments);
    let problems = text(&output.stderr);
    assert_eq!(output.status.code(), Some(78));
    assert!(problems.contains("policy.toml:1:") && problems.contains("policy.toml:2:"), "{problems}");
}
