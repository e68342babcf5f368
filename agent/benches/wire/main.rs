//! Bytes and CPU time per sample of a minute of one host's series, as this agent sends raw samples and as others do:
//! OTLP and Prometheus remote write (1.0 and 2.0), plain and compressed, in batches of 1, 10 and 60 s, all from the same
//! samples in the same run. `cargo xtask bench wire [--file FILE]`; without a file it samples this host's sources first.
//!
//! Payloads are compared: a frame around ours, HTTP or gRPC around theirs come on top. Fails above the promised bars.
#![expect(clippy::print_stdout, reason = "the table is the result")]

mod input;
mod peers;

use input::Minute;
use rustix::time::{ClockId, clock_gettime};
use std::process::ExitCode;
use vedette_edge::codec::{self, Column};
use vedette_edge::recorder::{Recorder, RecorderConfig, Sort};

/// Ticks of one batch.
const BATCHES: [usize; 3] = [1, 10, 60];
/// Bytes per sample that ours must stay within, for a batch of one and of 60 ticks.
const BARS: [(usize, f64); 2] = [(1, 2.5), (60, 0.8)];
/// CPU time is measured over this long at least.
const MEASURE_NS: f64 = 2e8;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let minute = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => Ok(Minute::of_this_host()),
        ["--file", file] => Minute::read(file),
        _ => Err("usage: wire [--file FILE]".to_owned()),
    };
    match minute {
        Ok(minute) => report(&minute),
        Err(why) => {
            eprintln!("wire: {why}");
            ExitCode::from(2)
        }
    }
}

fn report(minute: &Minute) -> ExitCode {
    let (series, ticks) = (minute.series.len(), minute.times_ms.len());
    println!(
        "{series} series at {ticks} ticks; {:.1} % of the values repeat the one before\n",
        minute.repeated() * 100.0
    );
    println!("{:<20} {:>8} {:>8} {:>8}   CPU ns per sample at 60 ticks", "bytes per sample at", "1", "10", "60");
    let mut within = true;
    let ours = Row::of(minute, &|window| ours(window));
    ours.print("vedette", &format!(", {:.0} to decode", decode_ns(minute)));
    for (ticks, bar) in BARS {
        within &= ours.at(ticks) <= bar;
    }
    for (name, format) in peers::FORMATS {
        for (compression, compress) in peers::COMPRESSIONS {
            Row::of(minute, &|window| compress(format(window))).print(&format!("{name} {compression}"), "");
        }
    }
    for (name, format) in peers::FORMATS {
        let per_tick = peers::one_stream(&minute.windows(1).map(|window| format(&window)).collect::<Vec<_>>());
        println!("{:<20} {:>8.2}   first tick aside", format!("{name} one zstd stream"), per_tick / count(series));
    }
    recorder(minute);
    if within {
        return ExitCode::SUCCESS;
    }
    println!("\nabove the bar of {BARS:?} (ticks, bytes per sample)");
    ExitCode::FAILURE
}

/// What the flight recorder costs at 1,000 series a second: these series several times over, for an hour.
fn recorder(minute: &Minute) {
    const SERIES: usize = 1_000;
    let metas: Vec<_> = (0..SERIES).map(|nth| minute.series[nth % minute.series.len()].meta(nth)).collect();
    let keys: Vec<_> = metas.iter().map(|meta| meta.key()).collect();
    let mut recorder = Recorder::new(RecorderConfig { memory_bytes: 4 << 20, to_disk: false });
    let begin = cpu_ns();
    for (tick, second) in (0..3_600).enumerate() {
        let at_ms = minute.times_ms[0] + second * 1_000;
        for (place, (meta, key)) in (0..).zip(metas.iter().zip(&keys)) {
            let series = &minute.series[place as usize % minute.series.len()];
            let value = series.values[tick % series.values.len()];
            recorder.sample((Sort::Metric, place), *key, meta.resolution, (at_ms, value), || Some(meta.clone()));
        }
        recorder.tick(at_ms);
    }
    let (counts, extent) = (recorder.counts(), recorder.extent());
    let ns = (cpu_ns() - begin) / counts.samples as f64;
    let minutes = (minute.times_ms[0] + 3_600_000 - extent.begin_ms.unwrap_or_default()) as f64 / 60_000.0;
    println!(
        "\nflight recorder at {SERIES} series a second: {ns:.0} ns a sample, {:.4} % of a core, {:.2} bytes a sample in \
         blocks,\n{} KiB in memory hold {minutes:.0} minutes",
        ns * SERIES as f64 / 1e7,
        counts.block_bytes as f64 / counts.samples as f64,
        extent.bytes >> 10,
    );
}

/// The block that the agent would send of a window; names are told once per life of the spool, not per block.
fn ours(window: &Minute) -> Vec<u8> {
    let columns: Vec<_> = (0..)
        .zip(&window.series)
        .map(|(id, series)| Column {
            id,
            resolution: series.resolution,
            times_ms: &window.times_ms,
            values: &series.values,
        })
        .collect();
    let mut bytes = Vec::new();
    codec::encode(&columns, &mut bytes).expect("a minute fits a block");
    bytes
}

fn decode_ns(minute: &Minute) -> f64 {
    let bytes = ours(minute);
    per_run_ns(|| codec::decode(&bytes).expect("what was encoded").samples()) / minute.samples()
}

/// Bytes per sample by [`BATCHES`], and the cost of the largest.
struct Row {
    bytes: [f64; BATCHES.len()],
    encode_ns: f64,
}

impl Row {
    fn of(minute: &Minute, encode: &dyn Fn(&Minute) -> Vec<u8>) -> Self {
        let bytes = BATCHES.map(|ticks| {
            let mut sizes: Vec<_> =
                minute.windows(ticks).map(|window| count(encode(&window).len()) / window.samples()).collect();
            sizes.sort_by(f64::total_cmp);
            sizes[sizes.len() / 2]
        });
        Self { bytes, encode_ns: per_run_ns(|| encode(minute)) / minute.samples() }
    }

    fn at(&self, ticks: usize) -> f64 {
        BATCHES.iter().zip(self.bytes).find(|(batch, _)| **batch == ticks).map_or(f64::NAN, |(_, bytes)| bytes)
    }

    fn print(&self, name: &str, more: &str) {
        let [one, ten, sixty] = self.bytes;
        println!("{name:<20} {one:>8.2} {ten:>8.2} {sixty:>8.2}   {:.0}{more}", self.encode_ns);
    }
}

/// Nanoseconds of this thread's CPU time for one run.
fn per_run_ns<T>(mut run: impl FnMut() -> T) -> f64 {
    let (begin, mut runs) = (cpu_ns(), 0.0);
    while cpu_ns() - begin < MEASURE_NS {
        std::hint::black_box(run());
        runs += 1.0;
    }
    (cpu_ns() - begin) / runs
}

fn cpu_ns() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 * 1e9 + time.tv_nsec as f64
}

fn count(number: usize) -> f64 {
    number as f64
}
