//! A tick at steady state allocates nothing; and what a thread has allocated, for bounds on memory.

use super::host::detector;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use vedette_edge::metric::{MetricKind, MetricSpec};
use vedette_edge::pipeline::{Action, Pipeline, PipelineConfig};
use vedette_edge::planner::{Budgets, Prices};
use vedette_protocol::ids::HostId;
use vedette_protocol::policy::Policy;
use vedette_protocol::time::{MonoTime, WallTime};
use vedette_protocol::worker::{DetectorInput, WorkerRequest};

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
    static HELD: Cell<(isize, isize)> = const { Cell::new((0, 0)) };
}

/// Allocations of this thread so far.
pub(crate) fn allocations() -> u64 {
    ALLOCATIONS.get()
}

/// Bytes of blocks that this thread has allocated and not given back, and the most that it was since the last call.
pub(crate) fn held() -> (isize, isize) {
    let (now, most) = HELD.get();
    HELD.set((now, now));
    (now, most)
}

/// What the C library takes for a block: a header of eight bytes, in steps of sixteen.
fn hold(layout: Layout, sign: isize) {
    let bytes = isize::try_from((layout.size() + 8).next_multiple_of(16).max(32)).unwrap_or(isize::MAX);
    let _ = HELD.try_with(|held| {
        let (now, most) = held.get();
        let now = now + sign * bytes;
        held.set((now, most.max(now)));
    });
}

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: hands everything to the system's allocator unaltered; the counter is thread-local and allocates nothing.
#[expect(unsafe_code, reason = "counting allocations needs a global allocator")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        hold(layout, 1);
        // SAFETY: the caller's promises are those that the system's allocator asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        hold(layout, -1);
        // SAFETY: the block came from the system's allocator.
        unsafe { System.dealloc(block, layout) }
    }
}

static CPU: MetricSpec = MetricSpec {
    name: "system.cpu.time",
    unit: "s",
    kind: MetricKind::Counter,
    resolution: 0.01,
    lower: 0.0,
    upper: 1.0,
    doc: "",
};

#[test]
fn steady_tick_allocates_nothing() {
    assert!(steady_ticks(Budgets::default(), 200, 10) > 150);
}

/// Once every series was looked at at each pace that a plan may give it.
#[test]
fn steady_tick_under_a_tight_budget_allocates_nothing() {
    let budgets = Budgets { cpu_ns_per_s: Some(8_000.0), uplink_bytes_per_hour: None };
    assert!(steady_ticks(budgets, 900, 600) > 250);
}

/// Ticks after `settled` of so many seconds that ship no window: none of them may allocate.
fn steady_ticks(budgets: Budgets, seconds: u32, settled: u32) -> u32 {
    let config = PipelineConfig {
        host: HostId([0; 16]),
        policy: Policy { feature_window_ms: 3_600_000, ..Policy::default() },
        series_max: 1_000,
        templates_max: 100,
        sources: vec![("cpu".into(), 1_000)],
    };
    let mut pipeline = Pipeline::new(config, MonoTime::from_ms(0), WallTime::default());
    pipeline.set_prices(Prices { reading_ns: 10.0, value_ns: 500.0, ..Prices::default() });
    pipeline.set_budgets(MonoTime::from_ms(0), budgets);
    let mut logs = detector(DetectorInput::LogTemplates);
    logs.detector = 1;
    logs.reference.name = "log-novelty".into();
    pipeline.set_detectors(MonoTime::from_ms(0), vec![detector(DetectorInput::Metrics), logs]);
    let names: Vec<String> = (0..50).map(|cpu| cpu.to_string()).collect();
    let mut scores = vec![0.0; 100];
    let mut steady = 0;
    for second in 1..seconds {
        let now = MonoTime::from_ms(u64::from(second) * 1_000);
        let before = ALLOCATIONS.get();
        for name in &names {
            let attributes = [("cpu", name.as_str()), ("state", "user")];
            pipeline.handle_reading(now, "cpu", 1_000, &CPU, &attributes, f64::from(second) * 0.25);
        }
        pipeline.handle_log_line(now, "/var/log/app.log", "app", b"INFO request 17 served in 12 ms");
        pipeline.handle_tick(now, WallTime::from_unix_ms(i64::from(second) * 1_000));
        let mut windows = 0;
        while let Some(action) = pipeline.poll_action() {
            match action {
                Action::Ask(WorkerRequest::Observe { detector, tick, columns }) => {
                    scores.resize(columns.ids.len(), 0.3);
                    pipeline.handle_scores(now, detector, tick, &scores);
                    pipeline.recycle(columns);
                }
                _ => windows += 1,
            }
        }
        // A tick that ships a window or fetches checkpoints makes messages that own their memory.
        if second > settled && windows == 0 {
            steady += 1;
            assert_eq!(ALLOCATIONS.get() - before, 0, "allocations in second {second}");
        }
    }
    steady
}
