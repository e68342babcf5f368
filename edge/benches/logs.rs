//! What log lines cost: CPU time of this thread, so that other load on the machine does not count.
//!
//! `cargo bench -p vedette-edge --bench logs [-- FILE…]`: lines of these files, or generated ones.
#![expect(clippy::print_stdout, reason = "the table is the result")]

use std::hint::black_box;
use vedette_edge::ledger::Ledger;
use vedette_edge::logs::{LineReader, LogBook};
use vedette_edge::templates::Miner;

const LINES: usize = 3_000_000;
const TEMPLATES_MAX: usize = 1_000;

fn main() {
    // Cargo passes `--bench` to every bench.
    let files: Vec<_> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let lines = if files.is_empty() { generated() } else { files.iter().flat_map(|file| read(file)).collect() };
    let bytes: usize = lines.iter().map(Vec::len).sum();
    let rounds = LINES.div_ceil(lines.len().max(1));
    println!("{} lines, {:.0} bytes each, {rounds} times", lines.len(), per(bytes, lines.len()));
    let (mut reader, mut ledger) = (LineReader::default(), Ledger::default());
    let masked: Vec<String> = lines.iter().map(|line| reader.read(line, &mut ledger).to_owned()).collect();

    let mut miner = Miner::new(TEMPLATES_MAX);
    let mine = |miner: &mut Miner| masked.iter().for_each(|line| drop(black_box(miner.accept(0, line))));
    report("mined, first time", 1, &lines, || mine(&mut miner));
    report("mined, known", rounds, &lines, || mine(&mut miner));
    println!("  {} templates", miner.len());

    let mut read = || {
        for line in &lines {
            black_box(reader.read(line, &mut ledger));
        }
    };
    report("read and masked", rounds, &lines, &mut read);
    let mut both = || {
        for line in &lines {
            black_box(miner.accept(0, reader.read(line, &mut ledger)).slot);
        }
    };
    report("read, masked, mined", rounds, &lines, &mut both);
    let (mut book, mut ledger) = (LogBook::new(TEMPLATES_MAX), Ledger::default());
    report("read, masked, mined, counted", rounds, &lines, || {
        lines.iter().for_each(|line| book.accept("/var/log/app.log", "app", line, &mut ledger));
    });

    // The worst: every line is another skeleton of one shape, so that each is compared with every template.
    let hostile: Vec<String> =
        (0..20_000u32).map(|n| word(n) + " " + &word(n.wrapping_mul(7)) + " done by " + &word(n ^ 99)).collect();
    let bytes: Vec<Vec<u8>> = hostile.iter().map(|line| line.clone().into_bytes()).collect();
    let mut miner = Miner::new(TEMPLATES_MAX);
    report("hostile, mined", 1, &bytes, || hostile.iter().for_each(|line| drop(black_box(miner.accept(0, line)))));
}

fn report(what: &str, rounds: usize, lines: &[Vec<u8>], mut work: impl FnMut()) {
    let begin = cpu_s();
    (0..rounds).for_each(|_| work());
    let spent = cpu_s() - begin;
    let (count, bytes) = (lines.len() * rounds, lines.iter().map(Vec::len).sum::<usize>() * rounds);
    let rate = per(count, 1) / spent;
    println!(
        "{what:30} {:9.0} lines per CPU second, {:6.1} MB, {:7.0} ns a line",
        rate,
        per(bytes, 1_000_000) / spent,
        1e9 / rate
    );
}

/// Words of letters, all different.
fn word(mut n: u32) -> String {
    let mut word = String::from("w");
    while n > 0 {
        word.push(char::from(b"abcdefghijklmnop"[n as usize % 16]));
        n /= 16;
    }
    word
}

/// 120-byte lines of a service: requests, errors, sessions.
fn generated() -> Vec<Vec<u8>> {
    let line = |n: u32| match n % 7 {
        0 => format!(
            "2026-01-02T03:04:{:02}.{n:03}Z INFO request {n} GET /api/items/{} from 10.0.{}.7 served in {} ms",
            n % 60,
            n * 7,
            n % 250,
            n % 90
        ),
        1 => format!(
            "Jan  2 03:04:{:02} web1 sshd[{n}]: Failed password for invalid user {} from 10.1.2.{} port {n} ssh2",
            n % 60,
            word(n % 40),
            n % 250
        ),
        2 => format!(
            "2026-01-02 03:04:{:02} WARN pool-{} connection {:x} to db.internal:5432 idle for {} s, closing",
            n % 60,
            n % 9,
            n * 77,
            n % 600
        ),
        3 => format!(
            "{{\"ts\":{n},\"level\":\"info\",\"msg\":\"job done\",\"job\":\"{}\",\"took_ms\":{}}}",
            word(n % 9),
            n % 500
        ),
        4 => format!("kernel: [{n}.123456] eth0: link up, {} Mbps, full duplex, flow control rx/tx", n % 1000),
        5 => format!(
            "user=u{n} action=login ok=true ip=10.9.8.{} password=hunter{n} agent=\"Mozilla/5.0 (X11)\"",
            n % 250
        ),
        _ => format!(
            "2026-01-02T03:04:{:02}Z ERROR worker {} lost its connection to the database: timeout after {} ms",
            n % 60,
            n % 32,
            n
        ),
    };
    (0..20_000).map(|n| line(n).into_bytes()).collect()
}

fn read(file: &str) -> Vec<Vec<u8>> {
    let bytes = std::fs::read(file).unwrap_or_else(|error| panic!("{file}: {error}"));
    let mut lines: Vec<_> = bytes.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
    lines.pop_if(|last| last.is_empty());
    lines
}

#[expect(clippy::cast_precision_loss, reason = "counts far below 2^53")]
fn per(count: usize, of: usize) -> f64 {
    count as f64 / of as f64
}

/// CPU time of this thread in seconds (proc(5), schedstat).
fn cpu_s() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux tells a thread's CPU time");
    let ns = text.split_ascii_whitespace().next().and_then(|field| field.parse::<f64>().ok());
    ns.expect("the first field is a number") / 1e9
}
