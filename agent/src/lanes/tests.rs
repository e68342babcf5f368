use super::*;
use crate::source::SourceSpec;
use std::sync::{Mutex, mpsc as sync_mpsc};
use vedette_edge::metric::MetricKind;

static METRIC: MetricSpec = MetricSpec {
    name: "test.value",
    unit: "1",
    kind: MetricKind::Gauge,
    resolution: 1.0,
    lower: 0.0,
    upper: f64::NAN,
    doc: "A value.",
};

/// Reads one value with one attribute.
struct Quick;

impl Source for Quick {
    fn read(&mut self, sink: &mut dyn Sink) -> Result<(), SourceError> {
        sink.reading(&METRIC, &[("name", "quick")], 1.0);
        Ok(())
    }
}

/// Reads one value each time the test lets it.
struct Gated;

static GATE: Mutex<Option<sync_mpsc::Receiver<()>>> = Mutex::new(None);

impl Source for Gated {
    fn read(&mut self, sink: &mut dyn Sink) -> Result<(), SourceError> {
        GATE.lock().expect("gate").as_ref().expect("set by the test").recv().expect("the test lives");
        sink.reading(&METRIC, &[("name", "gated"), ("kind", "slow")], 2.0);
        sink.dropped(DropReason::Malformed, 3);
        Err(SourceError::Absent("/proc/nothing".into()))
    }
}

static QUICK: SourceSpec = SourceSpec {
    name: "quick",
    doc: "Quick.",
    interval_ms: 2_000,
    lane: Lane::Shared,
    metrics: &[&METRIC],
    open: |_| Box::new(Quick),
};

static GATED: SourceSpec = SourceSpec {
    name: "gated",
    doc: "Gated.",
    interval_ms: 1_000,
    lane: Lane::Own,
    metrics: &[&METRIC],
    open: |_| Box::new(Gated),
};

#[derive(Default)]
struct Seen(Vec<String>);

impl TickSink for Seen {
    fn reading(
        &mut self,
        source: &'static str,
        ms: u32,
        metric: &'static MetricSpec,
        attributes: &[(&str, &str)],
        v: f64,
    ) {
        self.0.push(format!("{source} {ms} {} {attributes:?} {v}", metric.name));
    }
}

fn open(specs: &[&'static SourceSpec]) -> (Lanes, mpsc::Receiver<Report>) {
    let config = |spec: &&'static SourceSpec| SourceConfig { spec, interval_ms: spec.interval_ms, enabled: true };
    Lanes::open(&specs.iter().map(config).collect::<Vec<_>>(), &Root::system()).expect("threads")
}

#[test]
fn quick_source_is_read_when_due() {
    let (mut lanes, _reports) = open(&[&QUICK]);
    let mut seen = Seen::default();
    (0..4).for_each(|second| lanes.begin_tick(second, &mut seen));
    assert_eq!(seen.0, [r#"quick 2000 test.value [("name", "quick")] 1"#; 2]);
    lanes.set_interval("quick", 1_000);
    (4..6).for_each(|second| lanes.begin_tick(second, &mut seen));
    assert_eq!(seen.0.len(), 4);
}

#[tokio::test]
async fn slow_source_delays_no_tick_and_its_late_readings_are_not_lost() {
    let (let_read, gate) = sync_mpsc::channel();
    *GATE.lock().expect("gate") = Some(gate);
    let (mut lanes, mut reports) = open(&[&GATED]);
    let mut seen = Seen::default();

    lanes.begin_tick(0, &mut seen);
    assert_eq!(lanes.waiting(), 1);
    lanes.handle_deadline();
    lanes.begin_tick(1, &mut seen);
    assert_eq!(lanes.waiting(), 0, "it is still busy: the tick does not wait for it");
    assert_eq!(seen.0, [] as [&str; 0]);

    let_read.send(()).expect("lane lives");
    let report = reports.recv().await.expect("a report");
    lanes.handle_report(report, &mut seen);
    assert_eq!(seen.0, [r#"gated 1000 test.value [("name", "gated"), ("kind", "slow")] 2"#]);
    let record = lanes.views().next().expect("one source").record.clone();
    assert_eq!((record.reads, record.errors, record.overruns, record.dropped), (1, 1, 2, 3));
    assert_eq!(record.last_error.as_deref(), Some("/proc/nothing is not there"));

    lanes.begin_tick(2, &mut seen);
    assert_eq!(lanes.waiting(), 1, "asked again");
    let_read.send(()).expect("lane lives");
    let report = reports.recv().await.expect("a report");
    lanes.handle_report(report, &mut seen);
    assert_eq!((lanes.waiting(), seen.0.len()), (0, 2));
}

#[test]
fn readings_come_back_as_they_were_and_too_many_attributes_are_counted() {
    let mut readings = Readings::default();
    readings.reading(&METRIC, &[], 1.0);
    readings.reading(&METRIC, &[("", "empty name"), ("a", "")], 2.0);
    readings.reading(&METRIC, &[("x", "y"); ATTRIBUTES_MAX + 1], 3.0);
    let mut seen = Vec::new();
    readings.replay(|_, attributes, value| seen.push(format!("{attributes:?} {value}")));
    assert_eq!(seen, ["[] 1", r#"[("", "empty name"), ("a", "")] 2"#]);
    assert_eq!(readings.dropped(), 1);
}
