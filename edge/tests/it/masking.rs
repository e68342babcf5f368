//! What leaves a host carries none of the secrets that were planted in its texts.

use super::host::detector;
use std::collections::BTreeSet;
use vedette_edge::mask::{MaskRules, Masks};
use vedette_edge::metric::{MetricKind, MetricSpec};
use vedette_edge::pipeline::{Action, Pipeline, PipelineConfig};
use vedette_protocol::ids::{BootId, ChangeId, HostId, QueueEpoch, Sequence, TenantId};
use vedette_protocol::policy::Policy;
use vedette_protocol::time::{MonoTime, WallTime};
use vedette_protocol::v1::{Batch, Body, Change, ChangeKind, Cursor, encode};
use vedette_protocol::worker::{DetectorInput, WorkerRequest};

static CPU: MetricSpec = MetricSpec {
    name: "process.cpu.utilization",
    unit: "1",
    kind: MetricKind::Gauge,
    resolution: 0.01,
    lower: 0.0,
    upper: 1.0,
    doc: "",
};

/// Secrets, each with a text around it as programs write it: `{}` is where the secret stands.
const CORPUS: [(&str, &str); 29] = [
    ("hunter2-x9", "login password={} ok"),
    ("s3cr3t,pw;1", "dsn user=app password={} host=db"),
    ("k-live-0001", r#"{"api_key":"{}","n":2}"#),
    ("inner-pass-7", r#"{"log":"{\"password\":\"{}\",\"n\":1}"}"#),
    ("tok-abcDEF-99", "Authorization: Bearer {}"),
    ("dXNlcjpwYXNzd29yZA", "authorization: Basic {}"),
    ("6629fae49393a05397450978507c4ef1", "Authorization: Digest username=\"bob\", response=\"{}\""),
    ("sess-0123456789", "Cookie: theme=dark; session={}; lang=en"),
    ("u5er:p4ss", "dial postgres://{}@db.local:5432/x failed"),
    ("AKIAIOSFODNN7EXAMPLE", "using key {} in eu-west-1"),
    ("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY0", "key {} in"),
    ("ghp_abcdefghijklmnopqrstuvwxyz0123456789", "clone with {} failed"),
    ("xoxb-1234567890-abcdefghijkl", "slack says {} is revoked"),
    ("T00/B00/XXXXYYYYZZZZ", "POST https://hooks.slack.com/services/{}"),
    ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.dBjftJeZ4CVP", "jwt {} expired"),
    ("bob.smith@example.com", "mail to {} bounced"),
    ("4111 1111 1111 1111", "card {} declined"),
    ("DE89 3704 0044 0532 0130 00", "transfer to {} done"),
    ("sql-Pass-1", "ALTER USER app IDENTIFIED BY '{}'"),
    ("xml-pass-1", "<user>bob</user><password>{}</password>"),
    ("query-tok-5", "GET /x?token={}&page=2 200"),
    ("cli-pass-77", "exec mysqldump --password {} --all"),
    ("EMP-004217", "badge {} opened door 7"),
    ("10.20.30.40", "refused 10.20.30.40:443 by {}"),
    ("10.20.30.41", "channel ipv4:{}:443 unavailable"),
    ("10.20.30.42", "inet addr:{} up"),
    ("10.20.30.43", "banned ip:{} for an hour"),
    ("10.20.30.44", "lost host:{}, retrying"),
    ("10.20.30.45", "IP {}.443 > any: Flags [S]"),
];
const PEM: [&str; 4] = [
    "-----BEGIN RSA PRIVATE KEY-----",
    "MIIEpAIBAAKCAQEA0Z3VS5JJcds3xfn/ygWyF8PbnGy0AHB7MhgwMbRvI0MBZhpI",
    "kKtYvIVd0tbVqzq0RoQ=",
    "-----END RSA PRIVATE KEY-----",
];

fn pipeline() -> Pipeline {
    let config = PipelineConfig {
        host: HostId([7; 16]),
        policy: Policy::default(),
        series_max: 1_000,
        templates_max: 200,
        sources: vec![("process".into(), 1_000)],
    };
    let mut pipeline = Pipeline::new(config, MonoTime::from_ms(0), WallTime::default());
    let patterns = vec![r"EMP-\d{6}".parse().expect("a pattern")];
    pipeline.set_masks(Masks::new(MaskRules { patterns, addresses: true }));
    let mut logs = detector(DetectorInput::LogTemplates);
    logs.detector = 1;
    logs.reference.name = "log-novelty".into();
    pipeline.set_detectors(MonoTime::from_ms(0), vec![detector(DetectorInput::Metrics), logs]);
    pipeline
}

/// Hands in the corpus at every door of the pipeline, with detectors that find everything odd from second 150 on, and
/// returns the frames that leave the host.
fn frames() -> (Pipeline, Vec<Vec<u8>>) {
    let (mut pipeline, mut frames) = (pipeline(), Vec::new());
    for second in 1..200u64 {
        let (now, wall) = (MonoTime::from_ms(second * 1_000), WallTime::from_unix_ms(1_000 * second.cast_signed()));
        for (secret, text) in CORPUS {
            let text = text.replace("{}", secret);
            pipeline.handle_log_line(now, "/var/log/app.log", &text, text.as_bytes());
            pipeline.handle_log_line(now, &format!("/var/log/{text}"), "app", b"one line");
            pipeline.handle_reading(now, "process", 1_000, &CPU, &[("process.command", &text)], 0.5);
            if second == 50 {
                let id = ChangeId([9; 16]);
                let (kind, target, service) = (ChangeKind::FileEdited, text.clone(), text);
                pipeline.handle_change(now, Change { id, kind, target, service, at: wall, before: None, after: None });
            }
        }
        for line in PEM {
            pipeline.handle_log_line(now, "/var/log/app.log", "app", line.as_bytes());
        }
        pipeline.handle_cursor(Cursor { source: "/var/log/app.log".into(), position: vec![1] });
        pipeline.handle_tick(now, wall);
        while let Some(action) = pipeline.poll_action() {
            match action {
                Action::Ask(WorkerRequest::Observe { detector, tick, columns }) => {
                    // Few at once: what all of a host shows is no finding of one series.
                    let odd = |row: usize| second > 150 && (20..23).contains(&row);
                    let scores: Vec<_> = (0..columns.ids.len()).map(|row| if odd(row) { 50.0 } else { 0.5 }).collect();
                    pipeline.handle_scores(now, detector, tick, &scores);
                    pipeline.recycle(columns);
                }
                Action::Enqueue { class, body, cursors } => frames.push(frame(second, class, body, cursors)),
                _ => {}
            }
        }
    }
    (pipeline, frames)
}

fn frame(sequence: u64, class: vedette_protocol::v1::Class, body: Body, cursors: Vec<Cursor>) -> Vec<u8> {
    let (tenant, boot, queue_epoch) = (TenantId::default(), BootId([1; 16]), QueueEpoch(1));
    let (sequence, mono, wall) = (Sequence(sequence), MonoTime::from_ms(0), WallTime::default());
    encode(&Batch { tenant, boot, queue_epoch, sequence, class, mono, wall, cursors, body }).expect("a batch")
}

#[test]
fn no_planted_secret_leaves_the_host() {
    let (pipeline, frames) = frames();
    assert!(pipeline.ledger().emitted > 0, "findings with exemplars and attributes are among the frames");
    let secrets: BTreeSet<&str> = CORPUS.iter().map(|(secret, _)| *secret).chain(PEM[1..3].iter().copied()).collect();
    for frame in &frames {
        let text = String::from_utf8_lossy(frame);
        for secret in &secrets {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
    }
    let all: String = frames.iter().map(|frame| String::from_utf8_lossy(frame).into_owned()).collect();
    for mask in
        ["<secret>", "<email>", "<card>", "<iban>", "<jwt>", "<aws-key>", "<masked>", "<address>", "<private-key>"]
    {
        assert!(all.contains(mask), "{mask}: the texts themselves do leave");
    }
}

#[test]
fn masked_lines_that_differ_in_their_secrets_alone_are_one_template() {
    let (mut pipeline, lines) = (pipeline(), ["a1", "b2", "c3"]);
    for secret in lines {
        let line = format!("badge EMP-{}00000 opened with pin={secret} from 10.0.0.{}", secret.len() - 1, secret.len());
        pipeline.handle_log_line(MonoTime::from_ms(0), "/var/log/door.log", "", line.as_bytes());
    }
    pipeline.handle_drain(MonoTime::from_ms(10_000));
    let mut windows = Vec::new();
    while let Some(action) = pipeline.poll_action() {
        if let Action::Enqueue { body: Body::Logs(window), .. } = action {
            windows.push((window.counts.len(), window.templates[0].text.clone()));
        }
    }
    let expected = "badge <masked> opened with pin=<secret> from <address>".to_owned();
    assert_eq!(windows, [(1, expected)]);
}
