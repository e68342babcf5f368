//! One message of every shape, with fixed content.

use vedette_protocol::ids::*;
use vedette_protocol::policy::Directive;
use vedette_protocol::series::{SeriesKind, SeriesMeta};
use vedette_protocol::signature::{PublicKey, Signed};
use vedette_protocol::time::{MonoTime, WallTime};
use vedette_protocol::v1::*;

const WALL: WallTime = WallTime::from_unix_ms(1_790_000_000_000);

pub(crate) fn batch(sequence: u64, class: Class, body: Body) -> Batch {
    Batch {
        tenant: TenantId(0),
        boot: BootId([0xb0; 16]),
        queue_epoch: QueueEpoch(0x0123_4567_89ab_cdef),
        sequence: Sequence(sequence),
        class,
        mono: MonoTime::from_ms(12_345),
        wall: WALL,
        cursors: vec![Cursor { source: "/var/log/app.log".into(), position: vec![1, 2, 3] }],
        body,
    }
}

fn meta() -> SeriesMeta {
    SeriesMeta {
        metric: "system.cpu.utilization".into(),
        unit: "1".into(),
        kind: SeriesKind::Gauge,
        attributes: vec![("cpu.mode".into(), "user".into()), ("zone".into(), "ö".into())],
        resolution: 0.01,
        lower: 0.0,
        upper: f64::NAN,
    }
}

fn finding(subject: Subject, evidence: Option<Evidence>) -> Finding {
    Finding {
        episode: EpisodeId([7; 16]),
        event: EpisodeEvent::Open,
        subject,
        detector: DetectorRef { name: "level".into(), version: "0.1.0".into(), digest: Digest([9; 32]) },
        at: WALL,
        onset: WALL.offset_by(-3_000_000_000),
        onset_uncertainty_ms: 1_000,
        code: 2,
        score: 8.5,
        surprise: 6.25,
        observed: 0.98,
        expected: 0.12,
        lower: f64::NAN,
        upper: 0.4,
        occurrences: 1,
        evidence,
    }
}

pub(crate) fn batches() -> Vec<(&'static str, Batch)> {
    let evidence = Evidence {
        parameters: vec![("alpha".into(), 0.1)],
        state: vec![1; 8],
        calibration: vec![2; 4],
        samples: vec![(1_000, 0, 0.5), (2_000, 1, 0.75)],
    };
    let log_subject = Subject::LogTemplate {
        source: "/var/log/app.log".into(),
        service: "app".into(),
        id: TemplateId(42),
        text: "failed <*>".into(),
        exemplar: "failed 7".into(),
    };
    let template = Template { id: TemplateId(42), text: "failed <*>".into(), exemplar: "failed 7".into() };
    let feature = Feature {
        series: SeriesIndex(3),
        end: WALL,
        window_ms: 60_000,
        count: 60,
        min: 0.0,
        max: 1.0,
        mean: 0.25,
        last: 0.5,
    };
    let change = Change {
        id: ChangeId([5; 16]),
        kind: ChangeKind::FileEdited,
        target: "/etc/app.conf".into(),
        service: "app".into(),
        at: WALL,
        before: Some(Digest([1; 32])),
        after: None,
    };
    let every_kind = KINDS.map(|kind| Change { kind, ..change.clone() }).to_vec();
    let logs = LogWindow {
        source: "/var/log/app.log".into(),
        end: WALL,
        window_ms: 10_000,
        counts: vec![(TemplateId(42), 300)],
        templates: vec![template],
    };
    let samples = vec![RawSamples { series: SeriesIndex(3), start: WALL, samples: vec![(0, 1.5), (1_000, -2.0)] }];
    let block = SampleBlock { begin: WALL.offset_by(-1_000_000_000), end: WALL, samples: 2, bytes: vec![1, 2, 3] };
    let findings = vec![finding(Subject::Series(meta()), Some(evidence)), finding(log_subject, None)];
    vec![
        (
            "batch-series",
            batch(1, Class::Finding, Body::Series(vec![SeriesDefinition { index: SeriesIndex(3), meta: meta() }])),
        ),
        ("batch-features", batch(2, Class::Feature, Body::Features(vec![feature]))),
        ("batch-samples", batch(3, Class::Feature, Body::Samples(samples))),
        ("batch-logs", batch(4, Class::Log, Body::Logs(logs))),
        ("batch-findings", batch(5, Class::Finding, Body::Findings(findings))),
        ("batch-changes", batch(6, Class::Finding, Body::Changes(vec![change]))),
        ("batch-block", batch(7, Class::Log, Body::Block(block))),
        ("batch-changes-of-all-kinds", batch(7, Class::Finding, Body::Changes(every_kind))),
    ]
}

/// In the order of their numbers on the wire.
const KINDS: [ChangeKind; 15] = [
    ChangeKind::FileCreated,
    ChangeKind::FileEdited,
    ChangeKind::FileRemoved,
    ChangeKind::Booted,
    ChangeKind::KernelChanged,
    ChangeKind::PackageInstalled,
    ChangeKind::PackageUpgraded,
    ChangeKind::PackageRemoved,
    ChangeKind::UnitStarted,
    ChangeKind::UnitStopped,
    ChangeKind::BinaryReplaced,
    ChangeKind::ContainerStarted,
    ChangeKind::ContainerStopped,
    ChangeKind::ImageChanged,
    ChangeKind::SysctlChanged,
];

pub(crate) fn from_agent() -> Vec<(&'static str, FromAgent)> {
    let hello = Hello {
        software: "0.1.0".into(),
        host_name: "web-1".into(),
        boot: BootId([0xb0; 16]),
        queue_epoch: QueueEpoch(1),
        mono: MonoTime::from_ms(1),
        wall: WALL,
        resource: vec![("host.arch".into(), "amd64".into())],
    };
    let in_effect = InEffect {
        policy_version: 2,
        policy_stale: true,
        policy_refused: Some((3, "signature".into())),
        directives: vec![DirectiveId([4; 16])],
        directive_refused: None,
        detectors: vec![("level".into(), Digest([9; 32]), "running".into())],
    };
    let heartbeat = Heartbeat {
        mono: MonoTime::from_ms(30_000),
        wall: WALL,
        echo: Some((77, 1_000)),
        batches_made: 500,
        batches_shed: [0, 1, 200],
    };
    vec![
        ("agent-hello", FromAgent::Hello(hello)),
        ("agent-in-effect", FromAgent::InEffect(in_effect)),
        ("agent-heartbeat", FromAgent::Heartbeat(heartbeat)),
    ]
}

pub(crate) fn from_collector() -> Vec<(&'static str, FromCollector)> {
    let signed = Signed { bytes: b"version = 2".to_vec(), key: PublicKey([3; 32]), signature: vec![0xaa; 64] };
    let outcomes = [Outcome::Committed, Outcome::Duplicate, Outcome::Quarantined];
    let outcomes = outcomes.into_iter().zip(1..).map(|(outcome, n)| (Sequence(n), outcome)).collect();
    vec![
        ("collector-welcome", FromCollector::Welcome { hello_mono: MonoTime::from_ms(1), received: WALL, sent: WALL }),
        ("collector-ack", FromCollector::Ack { queue_epoch: QueueEpoch(1), outcomes }),
        ("collector-time-probe", FromCollector::TimeProbe { token: 77 }),
        ("collector-policy", FromCollector::Policy(signed.clone())),
        ("collector-directive", FromCollector::Directive(signed)),
        ("collector-retry-after", FromCollector::RetryAfter { delay_ms: 5_000 }),
    ]
}

pub(crate) fn enroll_request() -> EnrollRequest {
    EnrollRequest { token: "token".into(), csr_der: vec![0x30, 0x00], host_name: "web-1".into() }
}

pub(crate) fn renew_request() -> RenewRequest {
    RenewRequest { csr_der: vec![0x30, 0x01] }
}

pub(crate) fn renew_replies() -> Vec<(&'static str, RenewReply)> {
    let issued = RenewReply::Issued { chain_der: vec![vec![1, 2]], authorities_der: vec![vec![3], vec![4]] };
    vec![("renew-issued", issued), ("renew-refused", RenewReply::Refused { reason: "later".into() })]
}

pub(crate) fn begin_anew() -> BeginAnew {
    BeginAnew { queue_epoch: QueueEpoch(7_366_532_608_000_123) }
}

pub(crate) fn health() -> Health {
    Health { problems: vec!["detector `flatline` is quarantined".into()] }
}

pub(crate) fn enroll_replies() -> Vec<(&'static str, EnrollReply)> {
    let issued =
        EnrollReply::Issued { chain_der: vec![vec![1, 2]], authorities_der: vec![vec![3]], online_key: [0x11; 32] };
    vec![("enroll-issued", issued), ("enroll-refused", EnrollReply::Refused { reason: "ask for a new token".into() })]
}

pub(crate) fn directive() -> Directive {
    Directive {
        id: DirectiveId([4; 16]),
        host: HostId([1; 16]),
        issued: WALL,
        expires: WALL.offset_by(600_000_000_000),
        incident: "inc-20261120-7f3a9c2e41".into(),
        sources: vec![("process".into(), 1_000), ("cgroup".into(), 2_000)],
        raw_metrics: vec!["system.cpu.utilization".into()],
        look_back_ms: 900_000,
    }
}
