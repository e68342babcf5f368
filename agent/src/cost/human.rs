//! The bill as a table for people: the dear first.

use super::Bill;
use std::fmt::{self, Write as _};

/// Renders the bill.
pub fn render(bill: &Bill) -> String {
    let mut out = String::new();
    write(&mut out, bill).expect("a String takes everything");
    out
}

fn write(out: &mut String, bill: &Bill) -> fmt::Result {
    let share = |ns: u64| Share { ns, of_ms: bill.uptime_ms };
    let both = share(bill.agent_cpu_ns + bill.worker_cpu_ns);
    let sent = per_hour(bill.udp_sent_bytes, bill.uptime_ms);
    writeln!(out, "{both} over {} s; {sent} sent\n", bill.uptime_ms / 1_000)?;
    write!(out, "{}", bill.budget)?;
    writeln!(out)?;

    writeln!(out, "agent process      {}", share(bill.agent_cpu_ns))?;
    writeln!(out, "  sources              CPU     of a core   series      reads    windows      bytes")?;
    let mut sources: Vec<_> = bill.sources.iter().collect();
    sources.sort_by_key(|one| std::cmp::Reverse(one.cpu_ns));
    for one in sources {
        let (series, reads, features, bytes) = (one.series, one.reads, one.features, size(one.bytes));
        writeln!(out, "  {:<16}{} {series:>8} {reads:>10} {features:>10} {bytes:>10}", one.name, share(one.cpu_ns))?;
    }
    writeln!(out, "  judging")?;
    for one in &bill.detectors {
        writeln!(out, "  {:<16}{}", name(&one.name, one.shadow_of.as_deref()), share(one.judge_ns))?;
    }
    writeln!(out, "  own work")?;
    for one in &bill.stages {
        writeln!(out, "  {:<16}{}", one.name, share(one.cpu_ns))?;
    }
    let rest = bill.agent_cpu_ns.saturating_sub(bill.agent_known_ns());
    writeln!(out, "  {:<16}{}  QUIC, runtime, start, local questions", "not explained", share(rest))?;

    writeln!(out, "worker process     {}", share(bill.worker_cpu_ns))?;
    for one in &bill.detectors {
        let ns = one.guest_ns.checked_div(one.values).unwrap_or(0);
        let name = name(&one.name, one.shadow_of.as_deref());
        writeln!(out, "  {name:<16}{} {:>10} values, {ns} ns each", share(one.guest_ns), one.values)?;
    }
    let rest = bill.worker_cpu_ns.saturating_sub(bill.worker_known_ns());
    writeln!(out, "  {:<16}{}  loading, pipe, explanations and snapshots", "not explained", share(rest))?;

    writeln!(out, "batches            number      bytes")?;
    for one in &bill.batches {
        writeln!(out, "  {:<14} {:>8} {:>10}", one.name, one.batches, size(one.bytes))?;
    }
    let made: u64 = bill.batches.iter().map(|one| one.bytes).sum();
    writeln!(out, "  {:<14} {:>8} {:>10}  encoded; sent as UDP {}", "all", "", size(made), size(bill.udp_sent_bytes))
}

fn name(name: &str, shadow_of: Option<&str>) -> String {
    if shadow_of.is_some() { format!("{name} (shadow)") } else { name.to_owned() }
}

/// CPU time with its share of a core.
struct Share {
    ns: u64,
    of_ms: u64,
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = self.ns as f64 / 1e4 / self.of_ms.max(1) as f64;
        write!(f, "{:>9.1} ms {percent:>8.4} %", self.ns as f64 / 1e6)
    }
}

fn per_hour(bytes: u64, ms: u64) -> String {
    format!("{}/h", size(bytes.saturating_mul(3_600_000) / ms.max(1)))
}

fn size(bytes: u64) -> String {
    match bytes {
        0..10_000 => format!("{bytes} B"),
        10_000..10_000_000 => format!("{} kB", bytes / 1_000),
        _ => format!("{} MB", bytes / 1_000_000),
    }
}

#[cfg(test)]
mod tests {
    use super::super::*;
    use super::*;

    #[test]
    fn parts_and_rest_come_to_the_whole() {
        let source = |name: &str, cpu_ns| SourceCost { name: name.to_owned(), cpu_ns, ..Default::default() };
        let stage = |name: &str, cpu_ns| StageCost { name: name.to_owned(), cpu_ns };
        let level = DetectorCost {
            name: "level".to_owned(),
            values: 10,
            guest_ns: 5_000_000,
            judge_ns: 7_000_000,
            ..Default::default()
        };
        let bill = Bill {
            uptime_ms: 10_000,
            agent_cpu_ns: 100_000_000,
            worker_cpu_ns: 20_000_000,
            sources: vec![source("cheap", 1_000_000), source("dear", 30_000_000)],
            detectors: vec![level],
            stages: vec![stage("lines", 2_000_000)],
            batches: vec![BatchCost { name: "features".to_owned(), batches: 3, bytes: 12_345 }],
            udp_sent_bytes: 20_000,
            ..Default::default()
        };
        let screen = render(&bill);
        assert!(screen.starts_with("    120.0 ms   1.2000 % over 10 s; 7200 kB/h sent\n"), "{screen}");
        assert!(screen.find("dear") < screen.find("cheap"), "{screen}");
        assert!(screen.contains("not explained        60.0 ms   0.6000 %"), "{screen}");
        assert!(screen.contains("not explained        15.0 ms   0.1500 %"), "{screen}");
        assert!(screen.contains("10 values, 500000 ns each") && screen.contains("12 kB"), "{screen}");
    }

    #[test]
    fn nothing_measured_is_no_division_by_zero() {
        assert!(render(&Bill::default()).contains("0.0 ms   0.0000 %"));
    }
}
