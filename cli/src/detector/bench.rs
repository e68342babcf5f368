//! What a detector costs: time for a value by the number of series, memory, bytes of state.

use super::module::{Module, ModuleArgs};
use super::replay::parameter;
use super::runner::{self, Place, Runner};
use super::window::{self, Window};
use crate::output::{Output, items, table};
use anyhow::ensure;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;
use vedette_protocol::worker::DetectorDescription;

const EXAMPLES: &str = "Examples:
  vedette detector bench spike.wasm
  vedette detector bench spike.wasm --native spike/target/release/spike-native --repetitions 9
  vedette detector bench pairs/level --series 300 --interpreter --output json

Times are inside the detector: the host's call for the module, the same call for the native program. Each is the median
over the second half of a built-in window of 880 ticks, then the median, lowest and highest of the repetitions. Other work
on the machine makes it slower: look at the lowest, and at ratios of one run.";

/// Most series of one measurement.
const SERIES_MAX: usize = window::SERIES_MAX;

/// Arguments of `detector bench`.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    module: ModuleArgs,
    /// How many series; can be repeated.
    #[arg(long, value_name = "COUNT", default_values_t = [1, 10, 100, 1_000])]
    series: Vec<usize>,
    /// How often everything is measured.
    #[arg(long, value_name = "COUNT", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100))]
    repetitions: u32,
    /// The same detector as a native program, built in release.
    #[arg(long, value_name = "FILE")]
    native: Option<PathBuf>,
    /// Measures the interpreter too.
    #[arg(long)]
    interpreter: bool,
    /// A parameter; the rest keep their defaults. Can be repeated.
    #[arg(long = "parameter", value_name = "NAME=NUMBER", value_parser = parameter)]
    parameters: Vec<(String, f64)>,
}

pub(crate) fn run(args: &Args, output: Output) -> anyhow::Result<ExitCode> {
    for count in &args.series {
        ensure!((1..=SERIES_MAX).contains(count), "--series takes 1 to {SERIES_MAX}");
    }
    let module = Module::load(&args.module)?;
    let described = runner::describe(&module.cwasm, &args.parameters)?;
    let interpreted = args.interpreter.then(|| module.for_interpreter()).transpose()?;
    let mut rows = Vec::new();
    for count in &args.series {
        rows.push(row(args, &module, interpreted.as_deref(), &described, *count)?);
    }
    let answer = json!({
        "detector": described.name,
        "version": described.version,
        "wasm_sha256": module.wasm_digest.to_string(),
        "wasm_bytes": module.wasm_bytes(),
        "native_code_bytes": module.cwasm.len(),
        "state_bytes_promised": described.state_bytes_max,
        "repetitions": args.repetitions,
        "rows": rows,
    });
    output.print(&answer, human)?;
    Ok(ExitCode::SUCCESS)
}

fn row(
    args: &Args,
    module: &Module,
    interpreted: Option<&[u8]>,
    described: &DetectorDescription,
    count: usize,
) -> anyhow::Result<Value> {
    let window = window::builtin(described.input, count);
    let (mut times, mut native, mut interpreter) = (Vec::new(), Vec::new(), Vec::new());
    let mut memory = Memory::default();
    // Places take turns, so that a slow minute of the machine meets all of them.
    for _ in 0..args.repetitions {
        let (ns, seen) = measured_module(&Place::Confined(&module.cwasm), &window, &args.parameters)?;
        times.push(ns);
        memory = seen;
        if let Some(program) = &args.native {
            native.push(measured_native(program, &window, &args.parameters)?);
        }
        if let Some(code) = interpreted {
            interpreter.push(measured_module(&Place::Interpreted(code), &window, &args.parameters)?.0);
        }
    }
    let module_ns = spread(&mut times);
    let native_ns = spread(&mut native);
    let ratio = module_ns.zip(native_ns).map(|(module, native)| module[1] / native[1]);
    Ok(json!({
        "series": count,
        "calls": window.ticks.len() * args.repetitions as usize,
        "ns_per_value": spread_json(module_ns),
        "native_ns_per_value": spread_json(native_ns),
        "module_over_native": ratio,
        "interpreter_ns_per_value": spread_json(spread(&mut interpreter)),
        "linear_memory_bytes": memory.linear_bytes,
        "worker_pss_bytes": memory.pss_bytes,
        "state_bytes_mean": memory.state_bytes_mean,
        "state_bytes_max": memory.state_bytes_max,
        "start_ms": memory.start_ms,
    }))
}

/// What is not time, of one run.
#[derive(Default)]
struct Memory {
    linear_bytes: u64,
    /// Proportional set size of the worker's process, where /proc tells it.
    pss_bytes: Option<u64>,
    state_bytes_mean: f64,
    state_bytes_max: usize,
    /// From nothing to told series: process, confinement, native code, instance.
    start_ms: f64,
}

fn measured_module(place: &Place<'_>, window: &Window, parameters: &[(String, f64)]) -> anyhow::Result<(f64, Memory)> {
    let began = Instant::now();
    let mut guest = place.module(parameters)?;
    guest.add(&window.series)?;
    let start_ms = began.elapsed().as_secs_f64() * 1_000.0;
    let ns = ns_per_value(&mut guest, window)?;
    let states = guest.snapshot(&window.series)?;
    let lengths = states.iter().map(|one| one.state.len());
    let memory = Memory {
        linear_bytes: guest.memory_bytes(),
        pss_bytes: guest.pid().and_then(pss_bytes),
        state_bytes_mean: precise(lengths.clone().sum::<usize>() as u64) / precise(states.len().max(1) as u64),
        state_bytes_max: lengths.max().unwrap_or(0),
        start_ms,
    };
    Ok((ns, memory))
}

fn measured_native(program: &Path, window: &Window, parameters: &[(String, f64)]) -> anyhow::Result<f64> {
    let mut runner = Place::Native(program).start(parameters)?;
    runner.add(&window.series)?;
    ns_per_value(&mut *runner, window)
}

/// The median over the ticks of the second half, when nothing is learnt from scratch any more.
fn ns_per_value(runner: &mut (impl Runner + ?Sized), window: &Window) -> anyhow::Result<f64> {
    let mut times = Vec::new();
    for (at, columns) in window.ticks.iter().enumerate() {
        let (_, ns) = runner.observe(columns)?;
        if at >= window.ticks.len() / 2 && !columns.ids.is_empty() {
            times.extend(ns.map(|ns| precise(ns) / precise(columns.ids.len() as u64)));
        }
    }
    Ok(spread(&mut times).map_or(f64::NAN, |[_, median, _]| median))
}

fn pss_bytes(pid: u32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1_024)
}

/// Lowest, median, highest.
fn spread(numbers: &mut [f64]) -> Option<[f64; 3]> {
    numbers.sort_unstable_by(f64::total_cmp);
    Some([*numbers.first()?, numbers[numbers.len() / 2], *numbers.last()?])
}

fn spread_json(spread: Option<[f64; 3]>) -> Value {
    spread.map_or(
        Value::Null,
        |[lowest, median, highest]| json!({"median": median, "lowest": lowest, "highest": highest}),
    )
}

#[expect(clippy::cast_precision_loss, reason = "for a figure that people read")]
fn precise(count: u64) -> f64 {
    count as f64
}

fn human(answer: &Value) -> String {
    let head = [
        "SERIES",
        "NS/VALUE",
        "LOWEST-HIGHEST",
        "NATIVE",
        "RATIO",
        "INTERPRETER",
        "LINEAR MEMORY",
        "WORKER PSS",
        "STATE",
    ];
    let mut rows = vec![head.map(str::to_owned).to_vec()];
    for row in items(answer, "/rows") {
        let number = |pointer: &str| row.pointer(pointer).and_then(Value::as_f64);
        let fixed = |pointer: &str| number(pointer).map_or("-".to_owned(), |one| format!("{one:.1}"));
        let kib = |pointer: &str| number(pointer).map_or("-".to_owned(), |bytes| format!("{:.0} KiB", bytes / 1_024.0));
        rows.push(vec![
            row["series"].to_string(),
            fixed("/ns_per_value/median"),
            format!("{}-{}", fixed("/ns_per_value/lowest"), fixed("/ns_per_value/highest")),
            fixed("/native_ns_per_value/median"),
            number("/module_over_native").map_or("-".to_owned(), |ratio| format!("{ratio:.2}")),
            fixed("/interpreter_ns_per_value/median"),
            kib("/linear_memory_bytes"),
            kib("/worker_pss_bytes"),
            format!("{} B (max {})", fixed("/state_bytes_mean"), row["state_bytes_max"]),
        ]);
    }
    format!(
        "{} {}: {} bytes of WebAssembly, {} of native code; at most {} bytes of state a series are promised\n{}\
         ns for a value inside the detector, median of {} repetitions\n",
        answer["detector"].as_str().unwrap_or("-"),
        answer["version"].as_str().unwrap_or("-"),
        answer["wasm_bytes"],
        answer["native_code_bytes"],
        answer["state_bytes_promised"],
        table(&rows),
        answer["repetitions"]
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_is_lowest_median_and_highest() {
        assert_eq!(spread(&mut [3.0, 1.0, 2.0]), Some([1.0, 2.0, 3.0]));
        assert_eq!(spread(&mut []), None);
    }

    #[test]
    fn a_table_without_native_program_says_so_by_dashes() {
        let row = json!({"series": 10, "ns_per_value": {"median": 12.34, "lowest": 11.0, "highest": 15.0},
            "linear_memory_bytes": 131_072, "state_bytes_mean": 28.0, "state_bytes_max": 28});
        let page = human(&json!({"detector": "spike", "version": "0.1.0", "rows": [row], "repetitions": 5}));
        assert!(page.contains("10      12.3      11.0-15.0       -       -      -            128 KiB        -           28.0 B (max 28)"), "{page}");
    }
}
