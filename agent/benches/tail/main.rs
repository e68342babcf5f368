//! What following a log costs: 500 MB of syslog lines, read by the agent's own tail, in CPU time of the thread, so that other
//! load on the machine and waiting for the disk do not count. `cargo xtask bench tail`.
//!
//! Fails below the promised floors.
#![expect(clippy::print_stdout, reason = "the table is the result")]

mod lines;

use lines::Lines;
use rustix::time::{ClockId, clock_gettime};
use std::fs::{File, OpenOptions};
use std::hint::black_box;
use std::io::{self, Write};
use std::process::ExitCode;
use vedette_agent::files::tail::{Joining, Tail};
use vedette_edge::ledger::Ledger;
use vedette_edge::logs::LogBook;
use vedette_protocol::time::WallTime;
use vedette_protocol::v1::Cursor;

const BYTES: u64 = 500_000_000;
/// Lines that differ; the file holds them again and again, each time in another order.
const DIFFERENT: usize = 200_000;
const SEED: u64 = 7;
/// MB per CPU second.
const PLAIN_MIN: f64 = 400.0;
const MASKED_MIN: f64 = 60.0;
const TEMPLATES_MAX: usize = 1_000;
/// Polls after which counts are taken, as after each window.
const WINDOW_POLLS: u32 = 10;
const SOURCE: &str = "/var/log/syslog";

fn main() -> ExitCode {
    match measure() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            println!("\nbelow the floor of {PLAIN_MIN} plain or {MASKED_MIN} masked");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("tail: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure() -> io::Result<bool> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("syslog");
    File::create(&path)?;
    // Seen while it is empty: otherwise only its last lines would be read.
    let first_look = |joining: Joining| {
        let mut tail = Tail::open(&path, joining, None);
        tail.poll(&mut |_| ()).map(|_| tail)
    };
    let (mut single, mut joined) = (first_look(Joining::Off)?, first_look(Joining::Auto)?);
    let mut masked = first_look(Joining::Auto)?;
    let (written, bytes) = fill(&path)?;
    println!("{written} lines, {:.1} bytes each, {DIFFERENT} different\n", ratio(bytes, written));
    println!("{:<46} MB per CPU second   ns a line", "");

    let plain = report("read, split, positions", &mut single, bytes, &mut Plain::default())?;
    let joined = report("the same, events of several lines joined", &mut joined, bytes, &mut Plain::default())?;
    let mut counted = Counted::new();
    let counted_rate = report("masked, templates, counted", &mut masked, bytes, &mut counted)?;
    println!(
        "\n{} templates, {} places masked, {} of {written} lines shipped as counts",
        counted.book.len(),
        counted.ledger.masked,
        counted.shipped
    );
    Ok(plain.min(joined) >= PLAIN_MIN && counted_rate >= MASKED_MIN && counted.shipped == written)
}

/// What is made of the lines.
trait Taker {
    fn line(&mut self, line: &[u8]);
    /// A poll has ended; the position covers its lines.
    fn poll(&mut self, position: Vec<u8>);
}

#[derive(Default)]
struct Plain {
    bytes: usize,
}

impl Taker for Plain {
    fn line(&mut self, line: &[u8]) {
        self.bytes += black_box(line).len();
    }

    fn poll(&mut self, position: Vec<u8>) {
        black_box(position);
    }
}

/// As the agent does: every line is masked, finds its template and is counted; counts leave with the position.
struct Counted {
    book: LogBook,
    ledger: Ledger,
    polls: u32,
    shipped: u64,
}

impl Counted {
    fn new() -> Self {
        Self { book: LogBook::new(TEMPLATES_MAX), ledger: Ledger::default(), polls: 0, shipped: 0 }
    }
}

impl Taker for Counted {
    fn line(&mut self, line: &[u8]) {
        self.book.accept(SOURCE, "syslog", line, &mut self.ledger);
    }

    fn poll(&mut self, position: Vec<u8>) {
        self.book.set_cursor(Cursor { source: SOURCE.to_owned(), position });
        self.polls += 1;
        if self.polls.is_multiple_of(WINDOW_POLLS) {
            let windows = self.book.take_windows(WallTime::default(), 10_000);
            let counts = windows.iter().flat_map(|(window, _)| &window.counts);
            self.shipped += counts.map(|(_, count)| count).sum::<u64>();
        }
    }
}

fn report(what: &str, tail: &mut Tail, bytes: u64, taker: &mut impl Taker) -> io::Result<f64> {
    let begin = cpu_s();
    loop {
        let more = tail.poll(&mut |line| taker.line(line))?.more;
        taker.poll(tail.position());
        if !more {
            break;
        }
    }
    // What is still held comes when nothing new does, and the last counts with a last window.
    for _ in 0..WINDOW_POLLS {
        tail.poll(&mut |line| taker.line(line))?;
        taker.poll(tail.position());
    }
    let spent = cpu_s() - begin;
    let (counts, rate) = (tail.counts(), ratio(bytes, 1_000_000) / spent);
    assert_eq!((counts.bytes, counts.lines_cut), (bytes, 0), "all of it was read");
    println!("{what:<46} {rate:17.0} {:11.0}", spent * 1e9 / ratio(counts.lines + counts.lines_joined, 1));
    Ok(rate)
}

/// Appends lines until the file is large enough. Returns lines and bytes.
fn fill(path: &std::path::Path) -> io::Result<(u64, u64)> {
    let mut file = OpenOptions::new().append(true).open(path)?;
    let mut lines = Lines::new(SEED, DIFFERENT);
    let (mut count, mut bytes, mut text) = (0, 0, Vec::new());
    while bytes < BYTES {
        text.clear();
        count += lines.shuffled_into(&mut text);
        bytes += text.len() as u64;
        file.write_all(&text)?;
    }
    Ok((count, bytes))
}

/// CPU time of this thread in seconds.
fn cpu_s() -> f64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

fn ratio(count: u64, of: u64) -> f64 {
    count as f64 / of as f64
}
