//! What it costs to read this host, and how fast a log is followed: CPU time of this thread, so that other load on the
//! machine does not count. `cargo bench -p vedette-agent --bench sources`
#![expect(clippy::print_stdout, reason = "the table is the result")]

use rustix::time::{ClockId, clock_gettime};
use std::collections::BTreeSet;
use std::io::Write;
use std::process::{Child, Command, Stdio};
use vedette_agent::files::tail::{Joining, Tail};
use vedette_agent::source::{ALL, Root, Sink, Source, SourceSpec};
use vedette_edge::metric::MetricSpec;

const READINGS: u32 = 200;
/// Processes on the host that the promises speak of: sleeping ones are added.
const PROCESSES: usize = 250;
const LOG_BYTES: usize = 256 << 20;

/// Forgets values and, once told to, remembers names.
#[derive(Default)]
struct Series {
    names: BTreeSet<String>,
    is_counting: bool,
}

impl Sink for Series {
    fn reading(&mut self, metric: &'static MetricSpec, attributes: &[(&str, &str)], value: f64) {
        std::hint::black_box(value);
        if self.is_counting {
            self.names.insert(format!("{}{attributes:?}", metric.name));
        }
    }
}

fn cpu_us() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 * 1e6 + time.tv_nsec as f64 / 1e3
}

/// Microseconds of one reading and number of series, after two readings that fill what is kept.
fn measure(spec: &SourceSpec) -> (f64, usize) {
    let mut source: Box<dyn Source> = (spec.open)(&Root::system());
    let mut series = Series::default();
    let mut read = |series: &mut Series| drop(source.read(series));
    read(&mut series);
    series.is_counting = true;
    std::thread::sleep(std::time::Duration::from_millis(50));
    read(&mut series);
    series.is_counting = false;
    let begin = cpu_us();
    (0..READINGS).for_each(|_| read(&mut series));
    ((cpu_us() - begin) / f64::from(READINGS), series.names.len())
}

/// Sleeping processes that end with their owner.
struct Crowd(Vec<Child>);

impl Crowd {
    fn fill_up() -> Self {
        let sleep = || {
            let mut sleep = Command::new("sleep");
            sleep.arg("600").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            sleep.spawn().expect("`sleep` starts")
        };
        Self((processes()..PROCESSES).map(|_| sleep()).collect())
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn processes() -> usize {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_name().to_str().is_some_and(|name| name.parse::<u32>().is_ok())).count()
}

fn follow_log() -> f64 {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file can be made");
    let mut tail = Tail::open(file.path(), Joining::Auto, None);
    let line = format!("{}\n", "2024-01-01T00:00:00Z info request served in 12 ms ".repeat(3).split_at(119).0);
    let chunk = line.repeat((1 << 20) / line.len());
    tail.poll(&mut |_| ()).expect("the file can be read");
    let (mut used_us, mut bytes, mut lines) = (0.0, 0, 0_u64);
    while bytes < LOG_BYTES {
        file.write_all(chunk.as_bytes()).expect("the file can be written");
        bytes += chunk.len();
        let begin = cpu_us();
        while tail
            .poll(&mut |line| lines += std::hint::black_box(line).len() as u64)
            .expect("the file can be read")
            .more
        {}
        used_us += cpu_us() - begin;
    }
    bytes as f64 / used_us
}

fn main() {
    let _crowd = Crowd::fill_up();
    println!("{} processes on this host", processes());
    println!("{:<20} {:>9} {:>7} {:>12} {:>11}", "source", "interval", "series", "ns a reading", "ns a series");
    let (mut tick_us, mut all) = (0.0, 0);
    for spec in ALL {
        let (us, series) = measure(spec);
        let (ns, interval_s) = (us * 1e3, spec.interval_ms / 1_000);
        let each = if series == 0 { "-".to_owned() } else { format!("{:.0}", ns / series as f64) };
        println!("{:<20} {interval_s:>7} s {series:>7} {ns:>12.0} {each:>11}", spec.name);
        tick_us += us * 1_000.0 / f64::from(spec.interval_ms);
        all += series;
    }
    println!("{all} series, {tick_us:.0} µs of CPU a second ({:.3} % of a core)", tick_us / 1e4);
    println!("log of lines of 120 bytes: {:.0} MB per CPU second", follow_log());
}
