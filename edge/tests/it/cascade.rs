//! A detector is shown a series as often as it says that a look is worth its cost, and each value of one that is suspected.

use super::host::{METRIC, detector};
use std::collections::BTreeMap;
use std::time::Duration;
use vedette_edge::pipeline::{Action, DetectorSlot, Pipeline, PipelineConfig};
use vedette_edge::planner::{Budgets, Prices};
use vedette_protocol::ids::{DirectiveId, HostId};
use vedette_protocol::policy::{Directive, Policy};
use vedette_protocol::time::{MonoTime, WallTime};
use vedette_protocol::worker::{DetectorInput, WorkerRequest, flags};

const LOOK_MS: u32 = 10_000;
const SERIES: u32 = 40;

/// What a detector was shown of a series: when, after how long, and the flags.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Shown {
    second: u64,
    dt_ms: u32,
    flags: u8,
}

/// Series read each second, and one, `slow`, each ten; the first detector is shown each value, the others look each ten
/// seconds. The first one is surprised by `odd`.
struct Host {
    pipeline: Pipeline,
    second: u64,
    odd: Option<u32>,
    /// The series that is not read in this second.
    missed: Option<u32>,
    shown: BTreeMap<(u32, u32), Vec<Shown>>,
}

const EACH: u32 = 0;
const TIMELESS: u32 = 1;
const VOTES: u32 = 2;
const SLOW: u32 = SERIES;

fn slot(number: u32, input: DetectorInput, look_ms: u32) -> DetectorSlot {
    let mut slot = detector(input);
    slot.detector = number;
    slot.reference.name = format!("detector-{number}");
    slot.description.look_ms = look_ms;
    slot
}

impl Host {
    fn new(budget: Option<f64>) -> Self {
        let config = PipelineConfig {
            host: HostId([5; 16]),
            policy: Policy::default(),
            series_max: 100,
            templates_max: 10,
            sources: vec![("sim".into(), 1_000), ("slow".into(), 10_000)],
        };
        let mut pipeline = Pipeline::new(config, MonoTime::from_ms(0), WallTime::from_unix_ms(0));
        pipeline.set_prices(Prices { value_ns: 1_000.0, ..Prices::default() });
        let budgets = Budgets { cpu_ns_per_s: budget, uplink_bytes_per_hour: None };
        pipeline.set_budgets(MonoTime::from_ms(0), budgets);
        let slots = vec![
            slot(EACH, DetectorInput::Metrics, 0),
            slot(TIMELESS, DetectorInput::Timeless, LOOK_MS),
            slot(VOTES, DetectorInput::Votes, LOOK_MS),
        ];
        pipeline.set_detectors(MonoTime::from_ms(0), slots);
        Self { pipeline, second: 0, odd: None, missed: None, shown: BTreeMap::new() }
    }

    fn now(&self) -> MonoTime {
        MonoTime::from_ms(self.second * 1_000)
    }

    fn run(&mut self, seconds: u64) {
        for _ in 0..seconds {
            let now = self.now();
            for n in (0..SERIES).filter(|n| self.missed != Some(*n)) {
                let value = f64::from((u32::try_from(self.second).expect("short") * 7_919 + n * 31) % 97);
                self.pipeline.handle_reading(now, "sim", 1_000, &METRIC, &[("n", &n.to_string())], value);
            }
            if self.second.is_multiple_of(10) {
                self.pipeline.handle_reading(now, "slow", 10_000, &METRIC, &[("n", "slow")], 1.0);
            }
            self.pipeline.handle_tick(now, WallTime::from_unix_ms(i64::try_from(self.second).expect("short") * 1_000));
            while let Some(action) = self.pipeline.poll_action() {
                match action {
                    Action::Ask(WorkerRequest::Observe { detector, tick, columns }) => {
                        let rows = columns.ids.iter().zip(&columns.dt_ms).zip(&columns.flags);
                        for ((id, dt_ms), flags) in rows {
                            let shown = Shown { second: self.second, dt_ms: *dt_ms, flags: *flags };
                            self.shown.entry((detector, *id)).or_default().push(shown);
                        }
                        let scores: Vec<f32> = columns.ids.iter().map(|id| self.score(detector, *id)).collect();
                        self.pipeline.handle_scores(now, detector, tick, &scores);
                    }
                    Action::Ask(WorkerRequest::Explain { detector, .. }) => {
                        self.pipeline.handle_explanations(now, detector, Vec::new());
                    }
                    _ => {}
                }
            }
            assert!(self.pipeline.ledger().balances(), "{:?}", self.pipeline.ledger());
            self.second += 1;
        }
    }

    fn score(&self, detector: u32, id: u32) -> f32 {
        let wobble = (self.second * 7_919 + u64::from(id) * 13) % 17;
        match (detector, self.odd == Some(id)) {
            (EACH, true) => 30.0,
            _ => f32::from(u8::try_from(wobble).expect("small")) / 40.0,
        }
    }

    /// What was shown from a second on.
    fn since(&self, second: u64, detector: u32, id: u32) -> Vec<Shown> {
        let all = self.shown.get(&(detector, id)).into_iter().flatten();
        all.copied().filter(|shown| shown.second >= second).collect()
    }
}

#[test]
fn calm_series_are_shown_each_ten_seconds_and_not_all_at_once() {
    let mut host = Host::new(None);
    host.run(300);
    for detector in [TIMELESS, VOTES] {
        let mut per_second = [0u32; 300];
        for id in 0..SERIES {
            let shown = host.since(0, detector, id);
            assert!(shown[0].second < 10 && shown[0].dt_ms == 0, "{shown:?}");
            assert!(shown[1..].iter().all(|one| one.dt_ms == LOOK_MS && one.flags == 0), "{shown:?}");
            shown.iter().for_each(|one| per_second[usize::try_from(one.second).expect("short")] += 1);
        }
        assert_eq!(per_second, [SERIES / 10; 300]);
    }
    assert_eq!(host.since(0, EACH, 3).len(), 300);
    assert_eq!([EACH, TIMELESS, VOTES].map(|detector| host.since(0, detector, SLOW).len()), [30; 3]);
}

#[test]
fn what_one_suspects_all_are_shown_at_once_but_those_that_vote_and_later_as_before() {
    let mut host = Host::new(None);
    host.run(600);
    host.odd = Some(7);
    host.run(60);
    host.odd = None;
    let shown = host.since(600, TIMELESS, 7);
    let first = shown.iter().position(|one| one.dt_ms == 1_000).expect("it is raised");
    assert!(shown[first].second <= 604, "{shown:?}");
    assert!(shown[first..].iter().all(|one| one.dt_ms == 1_000 && one.flags & flags::GAP == 0), "{shown:?}");
    assert_eq!(shown.last().map(|one| one.second), Some(659));
    assert!(host.since(601, VOTES, 7).iter().all(|one| one.dt_ms == LOOK_MS));
    assert_eq!(host.since(600, TIMELESS, 8).len(), 6, "nobody suspects its neighbour");
    host.run(1_200);
    let after = host.since(1_800, TIMELESS, 7);
    assert!(after.len() == 6 && after.iter().all(|one| one.dt_ms == LOOK_MS), "{after:?}");
}

#[test]
fn what_a_directive_names_is_shown_each_time_while_it_lasts() {
    let mut host = Host::new(None);
    host.run(100);
    let directive = Directive {
        id: DirectiveId([1; 16]),
        host: HostId([5; 16]),
        issued: WallTime::default(),
        expires: WallTime::from_unix_ms(130_000),
        incident: String::new(),
        sources: vec![("sim".into(), 1_000)],
        raw_metrics: Vec::new(),
        look_back_ms: 0,
    };
    let (now, ends) = (host.now(), host.now() + Duration::from_secs(30));
    host.pipeline.handle_directive(now, directive, ends).expect("within the ceilings");
    host.run(60);
    let shown = host.since(100, TIMELESS, 5);
    assert_eq!(shown.iter().filter(|one| one.second < 130).count(), 30, "{shown:?}");
    assert_eq!(shown.iter().filter(|one| one.second >= 130).count(), 3, "{shown:?}");
}

#[test]
fn gaps_are_those_of_the_pace_at_which_a_detector_is_shown_values() {
    let mut host = Host::new(None);
    host.run(100);
    host.missed = Some(7);
    host.run(5);
    host.missed = None;
    host.run(50);
    let gap = |shown: &[Shown]| shown.iter().filter(|one| one.flags & flags::GAP != 0).count();
    assert_eq!((gap(&host.since(100, EACH, 7)), gap(&host.since(100, TIMELESS, 7))), (1, 0));
    host.missed = Some(7);
    host.run(40);
    host.missed = None;
    host.run(50);
    assert_eq!((gap(&host.since(155, EACH, 7)), gap(&host.since(155, TIMELESS, 7))), (1, 1));
}

#[test]
fn a_gap_is_told_once_to_who_is_shown_each_value_from_the_next_one_on() {
    for outage in 30..40 {
        let mut host = Host::new(None);
        host.run(600);
        host.missed = Some(7);
        host.run(outage);
        (host.missed, host.odd) = (None, Some(7));
        host.run(30);
        let shown = host.since(600 + outage, TIMELESS, 7);
        let gaps = shown.iter().filter(|one| one.flags & flags::GAP != 0).count();
        assert!(
            gaps == 1 && shown.iter().all(|one| one.flags & flags::GAP != 0 || one.dt_ms <= LOOK_MS),
            "{outage}: {shown:?}"
        );
    }
}

#[test]
fn a_budget_thins_further_and_nobody_is_left_for_longer_than_sixty_readings() {
    let mut host = Host::new(Some(f64::from(SERIES) * 1_000.0 * 0.3));
    host.run(900);
    for id in 0..SERIES {
        let shown = host.since(300, TIMELESS, id);
        assert!(shown.len() >= 10 && shown.iter().all(|one| one.dt_ms <= 60_000), "{id}: {shown:?}");
        let sooner = shown.iter().filter(|one| one.dt_ms < LOOK_MS).count();
        assert!(sooner * 20 <= shown.len(), "{id}: {shown:?}");
    }
}
