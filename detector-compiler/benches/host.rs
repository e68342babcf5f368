//! What the host costs: time per value around a guest that does nothing, of the bundled detectors, natively and
//! interpreted, and the memory of a worker with all of them.
//!
//! Run with `cargo xtask plugins` before (it leaves the modules in `target/modules` and the agent in `target/release`),
//! then `cargo bench -p vedette-detector-compiler`. Times in this process are medians over ticks: the machine's other work
//! shows little. Of a worker's pipe both sides' CPU time counts: how fast a process wakes is the machine's. The end is a
//! failure if the worker weighs more than its limit.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a bench fails by panicking and speaks to a person")]

use rustix::param::clock_ticks_per_second;
use rustix::time::{ClockId, clock_gettime};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};
use vedette_detector_compiler::compile;
use vedette_detector_host::engine::{Engine, Execution, Identity};
use vedette_detector_host::wire::{self, REPLY_BYTES_MAX, REQUEST_BYTES_MAX};
use vedette_detector_host::worker::Worker;
use vedette_protocol::ids::SeriesKey;
use vedette_protocol::series::{SeriesKind, SeriesMeta};
use vedette_protocol::worker::{Columns, DetectorInput, SeriesDescriptor, WorkerReply, WorkerRequest};

const SERIES: u32 = 1_000;
const TICKS_LEARNT: u64 = 300;
const TICKS_TIMED: u64 = 500;
/// The kernel tells another process's CPU time in hundredths of a second.
const TICKS_TIMED_OF_WORKER: u64 = 5_000;
const BUNDLED: [&str; 7] = ["level", "exhaustion", "flatline", "seasonal", "novelty", "rarity", "log-novelty"];
/// Proportional memory of a worker with the bundled detectors and a thousand series.
const WORKER_PSS_KIB_MAX: u64 = 16 << 10;

fn main() -> ExitCode {
    let idle = idle_guest();
    let bundled: Vec<(String, Vec<u8>)> =
        BUNDLED.iter().filter_map(|name| Some(((*name).into(), module(name)?))).collect();
    println!("{SERIES} series a tick, medians over {TICKS_TIMED} ticks");
    println!(
        "{:<14} {:<8} {:>14} {:>16} {:>12} {:>12}",
        "guest", "runs as", "call, ns/value", "worker, ns/value", "memory, KiB", "state, B"
    );
    for (name, wasm) in std::iter::once(("idle".to_owned(), idle)).chain(bundled.clone()) {
        for execution in Execution::ALL {
            let cost = in_process(&wasm, execution);
            println!(
                "{name:<14} {:<8} {:>14.1} {:>16.1} {:>12} {:>12}",
                execution.name(),
                cost.call_ns,
                cost.worker_ns,
                cost.memory_kib,
                cost.state_bytes
            );
        }
    }
    if bundled.len() < BUNDLED.len() {
        println!("without the modules of `cargo xtask plugins` there is no worker to weigh");
        return ExitCode::SUCCESS;
    }
    let weight = confined(&bundled);
    println!("{}: {SERIES} series and {} detectors", weight.program.display(), bundled.len());
    println!("  pipe and worker, CPU time of both sides: {:.1} ns a value and detector", weight.round_ns);
    println!("  a value of a metric under all of them, as often as they look: {:.1} ns", weight.value_ns);
    println!(
        "  proportional memory {} KiB, limit {WORKER_PSS_KIB_MAX}; of its own {} KiB",
        weight.pss_kib, weight.own_kib
    );
    if weight.pss_kib <= WORKER_PSS_KIB_MAX { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

struct Cost {
    /// From lowering the columns to lifting the scores.
    call_ns: f64,
    /// With what the worker checks around the call.
    worker_ns: f64,
    memory_kib: u64,
    state_bytes: usize,
}

fn in_process(wasm: &[u8], execution: Execution) -> Cost {
    let code = compile(wasm, &Identity::loaded_by(execution).target).unwrap();
    let mut worker = Worker::new(Engine::executing(execution).unwrap(), || Ok(Vec::new()));
    let load = WorkerRequest::Load { detector: 0, artifact: code, parameters: Vec::new() };
    let WorkerReply::Loaded { description, .. } = worker.answer(load) else { panic!("not loaded") };
    let mut ids = Vec::new();
    for series in descriptors().chunks(256) {
        let added = worker.answer(WorkerRequest::SeriesAdded { detector: 0, series: series.to_vec() });
        ids.extend(watched(series, &added));
    }
    let (mut call, mut whole, mut memory_kib) = (Vec::new(), Vec::new(), 0);
    for tick in 0..TICKS_LEARNT + TICKS_TIMED {
        let request =
            WorkerRequest::Observe { detector: 0, tick, columns: columns(description.input, tick, &ids, 1_000) };
        let began = Instant::now();
        let (guest_ns, memory_bytes) = match worker.answer(request) {
            WorkerReply::Scores { guest_ns, memory_bytes, .. } => (guest_ns, memory_bytes),
            reply => panic!("no scores at tick {tick}: {reply:?}"),
        };
        if tick >= TICKS_LEARNT {
            whole.push(per_value(began.elapsed().as_nanos(), ids.len()));
            call.push(per_value(guest_ns.into(), ids.len()));
        }
        memory_kib = memory_bytes >> 10;
    }
    let WorkerReply::Snapshots { states, .. } =
        worker.answer(WorkerRequest::Snapshot { detector: 0, ids: ids.iter().copied().take(256).collect() })
    else {
        panic!("no states")
    };
    let state_bytes = states.iter().map(|one| one.state.len()).sum::<usize>() / states.len().max(1);
    Cost { call_ns: median(call), worker_ns: median(whole), memory_kib, state_bytes }
}

struct Weight {
    program: PathBuf,
    round_ns: f64,
    value_ns: f64,
    pss_kib: u64,
    own_kib: u64,
}

/// A confined worker process over its pipe, as the agent has it.
fn confined(bundled: &[(String, Vec<u8>)]) -> Weight {
    let agent = target().join("release/vedette-agent");
    let (program, arguments) = if agent.exists() {
        (agent, vec!["worker", "native", "16777216"])
    } else {
        (PathBuf::from(env!("CARGO_BIN_EXE_vedette-hostile")), vec!["worker"])
    };
    let mut child = Command::new(&program)
        .args(arguments)
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut inputs = Vec::new();
    for (detector, (_, wasm)) in (0..).zip(bundled) {
        let artifact = compile(wasm, &Identity::host().target).unwrap();
        let load = WorkerRequest::Load { detector, artifact, parameters: Vec::new() };
        let WorkerReply::Loaded { description, .. } = ask(&mut child, &load) else { panic!("not loaded") };
        inputs.push((detector, description.input, description.look_ms));
    }
    assert!(matches!(ask(&mut child, &WorkerRequest::Seal), WorkerReply::Sealed { .. }));
    let mut asked = vec![Vec::new(); inputs.len()];
    for (detector, _, _) in &inputs {
        for series in descriptors().chunks(256) {
            let added = WorkerRequest::SeriesAdded { detector: *detector, series: series.to_vec() };
            let added = ask(&mut child, &added);
            asked[*detector as usize].extend(watched(series, &added));
        }
    }
    let all: Vec<u32> = (0..SERIES).collect();
    let request = |detector: u32, tick: u64, columns| WorkerRequest::Observe { detector, tick, columns };
    let rounds = timed(&mut child, 0, |tick| {
        let request = |(detector, input, _): &(u32, DetectorInput, u32)| {
            request(*detector, tick, columns(*input, tick, &all, 1_000))
        };
        inputs.iter().map(request).collect()
    });
    let of_metrics = inputs.iter().filter(|(_, input, _)| input.is_of_metrics());
    let values = timed(&mut child, TICKS_LEARNT + TICKS_TIMED_OF_WORKER, |tick| {
        let request = |(detector, input, look_ms): &(u32, DetectorInput, u32)| {
            let each = u64::from(*look_ms / 1_000).max(1);
            let ids = asked[*detector as usize].iter().copied();
            let ids: Vec<u32> = ids.filter(|id| (tick + u64::from(*id)).is_multiple_of(each)).collect();
            request(*detector, tick, columns(*input, tick, &ids, (*look_ms).max(1_000)))
        };
        of_metrics.clone().map(request).collect()
    });
    #[expect(clippy::cast_precision_loss, reason = "a few detectors")]
    let round_ns = rounds / inputs.len() as f64;
    let rollup = std::fs::read_to_string(format!("/proc/{}/smaps_rollup", child.id())).unwrap();
    let weight = Weight {
        program,
        round_ns,
        value_ns: values,
        pss_kib: kib(&rollup, "Pss:"),
        own_kib: kib(&rollup, "Private_Dirty:"),
    };
    drop(child.stdin.take());
    child.wait().unwrap();
    weight
}

/// Those of the series that were told and not declined.
fn watched(series: &[SeriesDescriptor], added: &WorkerReply) -> Vec<u32> {
    let WorkerReply::Added { declined, .. } = added else { panic!("not added: {added:?}") };
    series.iter().map(|one| one.id).filter(|id| declined.iter().all(|(other, _)| other != id)).collect()
}

/// CPU time of all that each tick asks, on both sides of the pipe, by the number of series; the mean. As the agent does, all
/// is asked in one write before the first answer is read.
fn timed(child: &mut Child, from: u64, asked: impl Fn(u64) -> Vec<WorkerRequest>) -> f64 {
    let (mut ours, mut before, mut frames) = (Duration::ZERO, Duration::ZERO, Vec::new());
    let timed_from = from + TICKS_LEARNT;
    for tick in from..timed_from + TICKS_TIMED_OF_WORKER {
        let requests = asked(tick);
        if tick == timed_from {
            (ours, before) = (Duration::ZERO, cpu_of(child));
        }
        let began = own_cpu();
        frames.clear();
        requests.iter().for_each(|request| wire::append(request, REQUEST_BYTES_MAX, &mut frames).unwrap());
        child.stdin.as_mut().unwrap().write_all(&frames).unwrap();
        for _ in &requests {
            assert!(matches!(hear(child), WorkerReply::Scores { .. }));
        }
        ours += own_cpu() - began;
    }
    let values = TICKS_TIMED_OF_WORKER * u64::from(SERIES);
    per_value((ours + cpu_of(child) - before).as_nanos(), usize::try_from(values).unwrap())
}

fn own_cpu() -> Duration {
    clock_gettime(ClockId::ThreadCPUTime).try_into().unwrap()
}

/// User and system time of another process, of all of its threads (proc(5)).
fn cpu_of(child: &Child) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
    let after_name = stat.rsplit_once(')').unwrap().1;
    let ticks: u64 = after_name.split_whitespace().skip(11).take(2).map(|field| field.parse::<u64>().unwrap()).sum();
    Duration::from_secs(1) / u32::try_from(clock_ticks_per_second()).unwrap() * u32::try_from(ticks).unwrap()
}

fn ask(child: &mut Child, request: &WorkerRequest) -> WorkerReply {
    wire::write(child.stdin.as_mut().unwrap(), request, REQUEST_BYTES_MAX, &mut Vec::new()).unwrap();
    hear(child)
}

fn hear(child: &mut Child) -> WorkerReply {
    wire::read(child.stdout.as_mut().unwrap(), REPLY_BYTES_MAX, &mut Vec::new()).unwrap().unwrap()
}

fn kib(rollup: &str, field: &str) -> u64 {
    let line = rollup.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

fn descriptors() -> Vec<SeriesDescriptor> {
    let one = |id: u32| SeriesDescriptor {
        id,
        key: SeriesKey(u64::from(id) << 20 | 5),
        meta: SeriesMeta {
            // One in ten is a stock that can run out.
            metric: if id.is_multiple_of(10) { "system.filesystem.utilization" } else { "system.cpu.utilization" }
                .into(),
            unit: "1".into(),
            kind: SeriesKind::Gauge,
            attributes: vec![("cpu".into(), id.to_string())],
            resolution: 0.01,
            lower: 0.0,
            upper: 100.0,
        },
        interval_ms: 1_000,
        prior: Vec::new(),
    };
    (0..SERIES).map(one).collect()
}

/// Noise around a level of its own for each series; counts for log detectors.
fn columns(input: DetectorInput, tick: u64, ids: &[u32], dt_ms: u32) -> Columns {
    let noise = |id: u32| {
        let mut bits = (u64::from(id) << 32 | tick).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        bits = (bits ^ (bits >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        f64::from(u32::try_from(bits >> 44).unwrap()) / f64::from(1 << 20)
    };
    let value = |id: u32| match input {
        DetectorInput::Metrics | DetectorInput::Votes | DetectorInput::Seasonal | DetectorInput::Timeless => {
            f64::from(id % 60) + ((noise(id) + noise(id + SERIES) - 1.0) * 800.0).round() / 100.0
        }
        DetectorInput::LogTemplates => f64::from(id % 7) + (noise(id) * 6.0).floor(),
    };
    Columns {
        ids: ids.to_vec(),
        dt_ms: vec![if tick == 0 { 0 } else { dt_ms }; ids.len()],
        flags: vec![0; ids.len()],
        values: ids.iter().map(|id| value(*id)).collect(),
    }
}

/// The guest that gives zeros without a look.
fn idle_guest() -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let set = Command::new(env!("CARGO_BIN_EXE_vedette-hostile"))
        .args(["set", "--nuisances", "--out"])
        .arg(dir.path())
        .arg("--key")
        .arg(dir.path().join("author.key"))
        .output()
        .unwrap();
    assert!(set.status.success(), "{}", String::from_utf8_lossy(&set.stderr));
    std::fs::read(dir.path().join("idle.wasm")).unwrap()
}

fn module(name: &str) -> Option<Vec<u8>> {
    std::fs::read(target().join("modules").join(name).with_extension("wasm")).ok()
}

fn target() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |dir| root.join(dir))
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
fn per_value(ns: u128, values: usize) -> f64 {
    ns as f64 / values as f64
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_unstable_by(f64::total_cmp);
    figures[figures.len() / 2]
}
