//! Guests of frozen contracts are loaded for ever: a component that was built once, and what it answered then.
//!
//! Neither is ever made anew. A difference is this host's fault, or its compiler's.

use vedette_detector_compiler::compile;
use vedette_detector_host::artifact::Digest;
use vedette_detector_host::engine::{Engine, Execution, Identity};
use vedette_detector_host::instance::{Code, Instance, Limits};
use vedette_protocol::ids::SeriesKey;
use vedette_protocol::series::{SeriesKind, SeriesMeta};
use vedette_protocol::worker::{Columns, DetectorInput, Explanation, SeriesDescriptor, SeriesState, flags};

const COMPONENT: &[u8] = include_bytes!("../fixtures/contract-0.1.0/everyday.wasm");
const COMPONENT_SHA256: &str = "577a20b8ae977c4c86d3db4810b3cb6a2a07aa350d36d25ac1fdd678e55374d3";
const RECORD: &str = include_str!("../fixtures/contract-0.1.0/record.txt");

type Attributes = &'static [(&'static str, &'static str)];

/// Column, kind, unit, bounds and attributes; the last two are declined.
const SERIES: &[(u32, SeriesKind, &str, [f64; 2], Attributes)] = &[
    (7, SeriesKind::Gauge, "1", [0.0, 1.0], &[("cpu", "0"), ("state", "user")]),
    (0, SeriesKind::Rate, "{packet}/s", [0.0, f64::NAN], &[]),
    (300, SeriesKind::Count, "{line}", [0.0, f64::NAN], &[("template", "Größe <*>")]),
    (4, SeriesKind::Gauge, "Cel", [f64::NAN, 110.5], &[("sensor", "")]),
    (5, SeriesKind::Gauge, "By", [0.0, 1e9], &[]),
    (6, SeriesKind::Gauge, "1", [0.0, 1.0], &[("disk", "sda"), ("watch", "no")]),
];
const WATCHED: usize = 4;

fn series(at: usize, prior: &[u8]) -> SeriesDescriptor {
    let (id, kind, unit, [lower, upper], attributes) = SERIES[at];
    let attributes = attributes.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
    let meta = SeriesMeta {
        metric: format!("fixture.metric.{at}"),
        unit: unit.into(),
        kind,
        attributes,
        resolution: 0.001,
        lower,
        upper,
    };
    // Spelt out, so that the record does not hang on how keys are made.
    let key = SeriesKey(0xfeed_0000_0000_0000 + u64::from(id));
    SeriesDescriptor { id, key, meta, interval_ms: 1_000, prior: prior.to_vec() }
}

/// A tick of all series, the order turning; an unknown column is among them.
fn tick(tick: u32) -> Columns {
    let noise = |at: u32| f64::from(tick.wrapping_mul(40_503).wrapping_add(at * 7_919) % 1_009) / 1_009.0;
    let mut rows: Vec<_> = (0..WATCHED as u32)
        .map(|at| {
            let wild = if (60..70).contains(&tick) { 2.5 } else { 0.0 };
            let value = [0.3 + 0.1 * noise(at) + wild / 5.0, 1e6 * noise(at), (20.0 * noise(at)).floor() + 30.0 * wild]
                .get(at as usize)
                .copied()
                .unwrap_or(40.25 + noise(at) - 10.0 * wild);
            (SERIES[at as usize].0, value)
        })
        .collect();
    rows.push((999, 1.0));
    let turn = tick as usize % rows.len();
    rows.rotate_left(turn);
    let interval_ms = if (30..45).contains(&tick) { 10_000 } else { 1_000 };
    let bits = match tick {
        25 | 61 => flags::GAP,
        50 => flags::RESET,
        66..70 => flags::HOLD_LEARNING,
        // Bits without a meaning yet.
        80 => 0xf8,
        _ => 0,
    };
    Columns {
        ids: rows.iter().map(|(id, _)| *id).collect(),
        dt_ms: vec![if tick == 0 { 0 } else { interval_ms }; rows.len()],
        flags: vec![bits; rows.len()],
        values: rows.iter().map(|(_, value)| *value).collect(),
    }
}

/// A guest and what it said, as text.
struct Talk {
    guest: Instance,
    said: String,
}

impl Talk {
    fn begin(engine: &Engine, cwasm: &[u8]) -> Self {
        #[allow(unsafe_code, reason = "it was compiled here a moment ago")]
        // SAFETY: the unaltered output of this release's compiler.
        let code = unsafe { Code::assume(cwasm) };
        let parameters = [("memory-s".to_owned(), 60.0)];
        let limits = Limits::of(engine.execution());
        let (guest, described) = Instance::load(engine, code, &parameters, limits).unwrap();
        let parameters: Vec<_> = described.parameters.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let mut talk = Self { guest, said: String::new() };
        assert_eq!(described.input, DetectorInput::Metrics);
        let promised = [described.warm_up_values, described.state_bytes_max, described.look_ms];
        let name = format!("{} {}", described.name, described.version);
        talk.say(&format!("{name} {promised:?} {}", parameters.join(" ")));
        for line in talk.guest.take_log().0 {
            talk.say(&format!("log {} {}", line.level, line.message));
        }
        talk
    }

    fn say(&mut self, line: &str) {
        self.said.push_str(line);
        self.said.push('\n');
    }

    fn added(&mut self, told: &[SeriesDescriptor]) {
        let declined = self.guest.series_added(told).unwrap();
        let mut declined: Vec<_> = declined.iter().map(|(id, key)| format!("{id} {:x}", key.0)).collect();
        declined.sort_unstable();
        self.say(&format!("declined {}", declined.join(", ")));
    }

    fn observed(&mut self, ticks: std::ops::Range<u32>) {
        let mut scores = Vec::new();
        for at in ticks {
            self.guest.observe(&tick(at), &mut scores).unwrap();
            let bits: Vec<_> = scores.iter().map(|score| format!("{:08x}", score.to_bits())).collect();
            self.say(&format!("{at} {}", bits.join(" ")));
        }
    }

    fn explained(&mut self, ids: &[u32]) {
        for one in self.guest.explain(ids).unwrap() {
            let Explanation { id, code, observed, expected, lower, upper, onset_ms_ago, onset_uncertainty_ms } = one;
            let bits = [observed, expected, lower, upper].map(|number| format!("{:016x}", number.to_bits()));
            self.say(&format!("explained {id} {code} {} {onset_ms_ago} {onset_uncertainty_ms}", bits.join(" ")));
        }
    }

    fn states(&mut self) -> Vec<SeriesState> {
        let states = self.guest.snapshot(&[300, 7, 0, 4]).unwrap();
        for one in &states {
            let bytes: String = one.state.iter().map(|byte| format!("{byte:02x}")).collect();
            self.say(&format!("state {:x} {bytes}", one.key.0));
        }
        states
    }
}

/// A life with everything in it that the contract has.
fn life(execution: Execution) -> String {
    let engine = Engine::executing(execution).unwrap();
    let cwasm = compile(COMPONENT, &Identity::loaded_by(execution).target).unwrap();
    let mut first = Talk::begin(&engine, &cwasm);
    let all: Vec<_> = (0..SERIES.len()).map(|at| series(at, &[])).collect();
    first.added(&all);
    first.observed(0..65);
    first.explained(&[4, 7, 300, 0]);
    let states = first.states();
    // One goes, and comes back with a peer's state to start from.
    first.guest.series_removed(&[4]).unwrap();
    first.observed(65..66);
    first.added(&[series(3, &states[1].state)]);
    first.observed(66..68);

    // Another process goes on from the states; one of them is damaged.
    let mut second = Talk::begin(&engine, &cwasm);
    second.added(&all);
    let mut damaged = states.clone();
    damaged[0].state.pop();
    let refused = second.guest.restore(&[300, 7, 0, 4], &damaged).unwrap_err();
    assert!(refused.reason.contains("not a state of this detector and version"), "{refused}");
    second.observed(65..66);
    let mut third = Talk::begin(&engine, &cwasm);
    third.added(&all);
    third.guest.restore(&[300, 7, 0, 4], &states).unwrap();
    third.observed(65..90);
    third.explained(&[0, 4]);
    third.states();
    [first.said, second.said, third.said].join("--\n")
}

#[test]
fn what_was_built_against_0_1_0_is_loaded_and_gives_the_same_bits_for_ever() {
    assert_eq!(Digest::of(COMPONENT).to_string(), COMPONENT_SHA256, "the fixture is never built anew");
    for execution in Execution::ALL {
        let said = life(execution);
        for (line, (said, recorded)) in said.lines().zip(RECORD.lines()).enumerate() {
            assert_eq!(said, recorded, "{} line {}", execution.name(), line + 1);
        }
        assert_eq!(said.lines().count(), RECORD.lines().count());
    }
}
