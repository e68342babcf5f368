//! `/proc/stat`: where CPU time goes, and what the scheduler does.

use super::kept_file::KeptFile;
use super::metric::{counter, level, ratio};
use super::text::{Digits, fields, float, lines, number, numbers};
use super::{DropReason, Lane, Root, Sink, Source, SourceError, SourceSpec};
use vedette_edge::metric::MetricSpec;

pub(super) const SPEC: SourceSpec = SourceSpec {
    name: "cpu",
    doc: "Utilisation by mode, idle share of each CPU, context switches, interrupts, threads runnable, processes created.",
    interval_ms: 1_000,
    lane: Lane::Shared,
    metrics: &[&UTILIZATION, &UTILIZATION_OF_ONE, &SWITCHES, &INTERRUPTS, &CREATED, &RUNNABLE, &BLOCKED],
    open: |root| Box::new(Cpu::new(root)),
};

static UTILIZATION: MetricSpec =
    ratio("system.cpu.utilization", 0.001, "Share of the time of all CPUs spent in a mode.");
/// The kernel counts in hundredths of a second.
static UTILIZATION_OF_ONE: MetricSpec =
    ratio("system.cpu.utilization", 0.01, "Share of the time of one CPU spent in a mode.");
static SWITCHES: MetricSpec =
    counter("system.linux.cpu.context_switches", "{switch}", 1.0, "Context switches. No convention names it.");
static INTERRUPTS: MetricSpec =
    counter("system.linux.cpu.interrupts", "{interrupt}", 1.0, "Interrupts served. No convention names it.");
static CREATED: MetricSpec = counter("system.process.created", "{process}", 1.0, "Processes and threads created.");
static RUNNABLE: MetricSpec =
    level("system.linux.thread.runnable", "{thread}", 1.0, "Threads that run or could. No convention names it.");
static BLOCKED: MetricSpec =
    level("system.linux.thread.blocked", "{thread}", 1.0, "Threads that wait for a device. No convention names it.");

/// Most CPUs that get a series of their own.
const CPUS_MAX: usize = 256;

/// Order of the fields in `/proc/stat`: user, nice, system, idle, iowait, irq, softirq, steal. Guest time is in user.
const MODES: usize = 8;
const IDLE: usize = 3;
type Jiffies = [u64; MODES];

/// One reading of `/proc/stat`.
#[derive(Debug, Default)]
struct Stat {
    total: Jiffies,
    /// CPU number and its time; CPUs that are offline are left out by the kernel.
    cpus: Vec<(u32, Jiffies)>,
    switches: u64,
    interrupts: u64,
    created: u64,
    running: u64,
    blocked: u64,
}

struct Cpu {
    file: KeptFile,
    now: Stat,
    before: Stat,
    primed: bool,
}

impl Cpu {
    fn new(root: &Root) -> Self {
        Self { file: KeptFile::new(root.proc("stat")), now: Stat::default(), before: Stat::default(), primed: false }
    }
}

impl Source for Cpu {
    fn read(&mut self, sink: &mut dyn Sink) -> Result<(), SourceError> {
        let parsed = parse(self.file.read()?, &mut self.now);
        if parsed.is_none() {
            return Err(self.file.malformed("`cpu` and eight or more numbers"));
        }
        emit_counts(&self.now, sink);
        if self.primed {
            emit_utilization(&self.before, &self.now, sink);
        }
        std::mem::swap(&mut self.before, &mut self.now);
        self.primed = true;
        Ok(())
    }
}

/// Reads `/proc/stat` into `stat`, whose memory is used again.
fn parse(bytes: &[u8], stat: &mut Stat) -> Option<()> {
    *stat = Stat { cpus: std::mem::take(&mut stat.cpus), ..Stat::default() };
    stat.cpus.clear();
    let mut has_total = false;
    for line in lines(bytes) {
        let mut fields = fields(line);
        let key = fields.next()?;
        match key {
            b"cpu" => {
                stat.total = jiffies(&mut fields)?;
                has_total = true;
            }
            b"ctxt" => stat.switches = number(fields.next()?)?,
            b"intr" => stat.interrupts = number(fields.next()?)?,
            b"processes" => stat.created = number(fields.next()?)?,
            b"procs_running" => stat.running = number(fields.next()?)?,
            b"procs_blocked" => stat.blocked = number(fields.next()?)?,
            _ => {
                if let Some(cpu) = key.strip_prefix(b"cpu").and_then(number).and_then(|cpu| u32::try_from(cpu).ok()) {
                    stat.cpus.push((cpu, jiffies(&mut fields)?));
                }
            }
        }
    }
    has_total.then_some(())
}

fn jiffies<'a>(fields: &mut impl Iterator<Item = &'a [u8]>) -> Option<Jiffies> {
    numbers(fields)
}

fn emit_counts(stat: &Stat, sink: &mut dyn Sink) {
    sink.reading(&SWITCHES, &[], float(stat.switches));
    sink.reading(&INTERRUPTS, &[], float(stat.interrupts));
    sink.reading(&CREATED, &[], float(stat.created));
    sink.reading(&RUNNABLE, &[], float(stat.running));
    sink.reading(&BLOCKED, &[], float(stat.blocked));
}

/// Every mode in total; of one CPU only how idle it is: a pinned core shows there, and its mode in the total.
fn emit_utilization(before: &Stat, now: &Stat, sink: &mut dyn Sink) {
    if let Some([user, nice, system, idle, iowait, irq, softirq, steal]) = shares(&before.total, &now.total) {
        let modes = [
            ("user", user),
            ("nice", nice),
            ("system", system),
            ("idle", idle),
            ("iowait", iowait),
            ("interrupt", irq + softirq),
            ("steal", steal),
        ];
        modes.iter().for_each(|(mode, share)| sink.reading(&UTILIZATION, &[("cpu.mode", mode)], *share));
    }
    for (index, (cpu, jiffies)) in now.cpus.iter().take(CPUS_MAX).enumerate() {
        let Some((_, earlier)) = before.cpus.get(index).filter(|(number, _)| number == cpu) else { continue };
        let Some(shares) = shares(earlier, jiffies) else { continue };
        let number = Digits::of(*cpu);
        let attributes = [("cpu.logical_number", number.as_str()), ("cpu.mode", "idle")];
        sink.reading(&UTILIZATION_OF_ONE, &attributes, shares[IDLE]);
    }
    if now.cpus.len() > CPUS_MAX {
        sink.dropped(DropReason::Cardinality, (now.cpus.len() - CPUS_MAX) as u64);
    }
}

/// The share of each mode; `None` if no time has passed. The kernel lets idle and iowait go back at times.
fn shares(before: &Jiffies, now: &Jiffies) -> Option<[f64; MODES]> {
    let spent: Jiffies = std::array::from_fn(|mode| now[mode].saturating_sub(before[mode]));
    let total = spent.iter().fold(0, |total: u64, mode| total.saturating_add(*mode));
    (total > 0).then(|| spent.map(|mode| float(mode) / float(total)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::tests::Readings;

    const EARLIER: &[u8] =
        b"cpu 100 0 50 800 10 1 2 0 0 0\ncpu0 50 0 25 400 5 1 1 0 0 0\ncpu1 50 0 25 400 5 0 1 0 0 0\n";
    const LATER: &[u8] =
        b"cpu 150 0 60 920 10 6 7 8 0 0\ncpu0 100 0 25 440 5 1 1 0 0 0\ncpu1 50 0 35 480 5 5 6 8 0 0\n";

    fn stat(bytes: &[u8]) -> Stat {
        let mut stat = Stat::default();
        parse(bytes, &mut stat).unwrap();
        stat
    }

    #[test]
    fn shares_of_all_modes_add_up_to_one() {
        let mut readings = Readings::default();
        emit_utilization(&stat(EARLIER), &stat(LATER), &mut readings);
        let total: f64 = readings.values("system.cpu.utilization", |attributes| attributes.len() == 1).sum();
        assert!((total - 1.0).abs() < 1e-12, "{total}");
        assert_eq!(readings.value("system.cpu.utilization{cpu.mode=user}"), 50.0 / 198.0);
        assert_eq!(readings.value("system.cpu.utilization{cpu.mode=interrupt}"), 10.0 / 198.0);
        assert_eq!(readings.value("system.cpu.utilization{cpu.logical_number=0,cpu.mode=idle}"), 40.0 / 90.0);
    }

    #[test]
    fn idle_time_that_goes_back_is_none() {
        let back = b"cpu 150 0 60 790 9 6 7 8 0 0\n";
        let shares = shares(&stat(EARLIER).total, &stat(back).total).unwrap();
        assert_eq!(shares[IDLE], 0.0);
        assert_eq!(shares.iter().sum::<f64>(), 1.0);
    }

    #[test]
    fn no_time_passed_is_a_gap() {
        assert_eq!(shares(&[5; MODES], &[5; MODES]), None);
    }

    #[test]
    fn a_cpu_that_came_online_has_no_share_yet() {
        let mut readings = Readings::default();
        emit_utilization(&stat(b"cpu 1 0 0 1 0 0 0 0\ncpu0 1 0 0 1 0 0 0 0\n"), &stat(LATER), &mut readings);
        assert!(readings.get("system.cpu.utilization{cpu.logical_number=0,cpu.mode=idle}").is_some());
        assert!(readings.get("system.cpu.utilization{cpu.logical_number=1,cpu.mode=idle}").is_none());
    }

    #[test]
    fn cpus_beyond_the_limit_are_counted_and_not_told() {
        let text = |idle: u32| -> String {
            let one = |cpu| format!("cpu{cpu} 1 0 0 {idle} 0 0 0 0\n");
            format!("cpu 1 0 0 {idle} 0 0 0 0\n{}", (0..CPUS_MAX + 3).map(one).collect::<String>())
        };
        let mut readings = Readings::default();
        emit_utilization(&stat(text(5).as_bytes()), &stat(text(9).as_bytes()), &mut readings);
        assert_eq!(readings.dropped, [(DropReason::Cardinality, 3)]);
        assert_eq!(readings.values("system.cpu.utilization", |attributes| attributes.len() == 2).count(), CPUS_MAX);
    }

    #[test]
    fn text_without_a_total_is_refused() {
        assert!(parse(b"cpu0 1 2 3 4 5 6 7 8\n", &mut Stat::default()).is_none());
        assert!(parse(b"cpu 1 2 3\n", &mut Stat::default()).is_none());
        assert!(parse(b"cpu a b c d e f g h\n", &mut Stat::default()).is_none());
    }
}
