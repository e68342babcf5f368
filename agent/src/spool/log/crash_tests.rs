//! A crash at every step that the log takes on its disk, by the end of the process and by a power cut.

use super::super::files::simulated::Simulated;
use super::*;
use vedette_protocol::ids::BootId;

const FRESH: QueueEpoch = QueueEpoch(7);
const CONFIG: LogConfig = LogConfig { segment_bytes: 700, bytes_max: 3_600 };

/// What is known of a run when it ended.
#[derive(Default)]
struct Run {
    /// Appended and not reported as shed: sequence, class, whether it was synced.
    held: Vec<(u64, Class, bool)>,
    settled: Vec<u64>,
    tried: u64,
    /// The last position of the log file that was appended, and that was synced.
    position: (u64, u64),
}

/// Appends, settles and syncs until the disk dies.
fn run(disk: &Simulated, boot: BootId) -> Run {
    let mut run = Run::default();
    let Ok((mut log, _)) = Log::open(disk.clone(), CONFIG, boot, FRESH) else { return run };
    for sequence in 1..=60 {
        let class = super::super::CLASSES[[2, 1, 2, 0, 2][usize::try_from(sequence % 5).unwrap()]];
        run.tried = sequence;
        let cursor = Cursor { source: "/log".to_owned(), position: sequence.to_le_bytes().to_vec() };
        let entry = Entry {
            class,
            sequence: Sequence(sequence),
            series_next: 0,
            cursors: if class == Class::Log { vec![cursor] } else { Vec::new() },
            frame: vec![u8::try_from(sequence).unwrap(); 40].into(),
        };
        let appended = log.append(&entry);
        while let Some(gone) = log.poll_gone() {
            let Gone::Shed { class, through, .. } = gone else { panic!("nothing is damaged here") };
            run.held.retain(|(sequence, of, _)| *of != class || *sequence > through.0);
        }
        match appended {
            Ok(()) => run.held.push((sequence, class, false)),
            Err(AppendError::NoRoom) => continue,
            Err(AppendError::Io(_)) => return run,
        }
        if class == Class::Log {
            run.position.0 = sequence;
        }
        if sequence % 4 == 0 {
            if log.sync().is_err() {
                return run;
            }
            run.held.iter_mut().for_each(|(.., synced)| *synced = true);
            run.position.1 = run.position.0;
        }
        if sequence % 3 == 0 {
            let oldest: Vec<_> =
                run.held.iter().take(2).map(|(sequence, class, _)| (*class, Sequence(*sequence))).collect();
            run.settled.extend(oldest.iter().map(|(_, sequence)| sequence.0));
            run.held.drain(..oldest.len());
            if log.settle(&oldest).is_err() || log.mark([Books::default(); 3], Given::NOTHING, false).is_err() {
                return run;
            }
        }
    }
    run
}

fn waiting(log: &mut Log<Simulated>) -> Vec<u64> {
    let mut found = Vec::new();
    for class in super::super::CLASSES {
        let page = log.load(class, Sequence(0), usize::MAX).expect("the disk works again");
        for (sequence, frame) in page.frames {
            assert!(frame.iter().all(|byte| u64::from(*byte) == sequence.0), "{sequence:?} is altered");
            found.push(sequence.0);
        }
    }
    found.sort_unstable();
    found
}

fn position(recovered: &Recovered) -> u64 {
    recovered.positions.get("/log").map_or(0, |position| u64::from_le_bytes(position[..].try_into().unwrap()))
}

/// Opens after a crash: what has to be there is there, once and unaltered, and the log goes on.
fn check(disk: &Simulated, boot: BootId, run: &Run, must_be_synced: bool, what: &str) {
    let (mut log, recovered) =
        Log::open(disk.clone(), CONFIG, boot, FRESH).unwrap_or_else(|error| panic!("{what}: {error}"));
    let found = waiting(&mut log);
    assert_eq!(recovered.pending.iter().sum::<u64>(), found.len() as u64, "{what}");
    assert!(found.is_sorted_by(|a, b| a < b), "{what}: {found:?}");
    for (sequence, class, synced) in &run.held {
        let is_there = found.contains(sequence);
        // A segment that was being shed when everything ended may be gone before anybody heard of it.
        let oldest = run.held.iter().filter(|(_, of, _)| of == class).map(|(sequence, ..)| *sequence).take(8);
        let may_be_shed = run.tried > 20 && oldest.into_iter().any(|old| old == *sequence);
        // What the position is beyond is never read again.
        let is_read_again = *class != Class::Log || *sequence > position(&recovered);
        let may_be_cut = must_be_synced && !synced && is_read_again;
        assert!(is_there || may_be_shed || may_be_cut, "{what}: {sequence} is lost: {found:?}");
    }
    assert!(found.iter().all(|sequence| *sequence <= run.tried), "{what}");
    assert!(recovered.next > found.last().copied().unwrap_or(0), "{what}");
    assert!(must_be_synced || recovered.next > run.held.last().map_or(0, |(sequence, ..)| *sequence), "{what}");
    let at_least = if must_be_synced { run.position.1 } else { run.position.0 };
    assert!((at_least..=run.tried).contains(&position(&recovered)), "{what}: {} of {at_least}", position(&recovered));
    let next = recovered.next;
    let frame = vec![u8::try_from(next % 251).unwrap(); 10].into();
    let more = Entry { class: Class::Finding, sequence: Sequence(next), series_next: 0, cursors: Vec::new(), frame };
    log.append(&more).unwrap_or_else(|error| panic!("{what}: {error}"));
    drop(log);
    let (_, again) = Log::open(disk.clone(), CONFIG, boot, FRESH).expect("the disk works");
    assert!(again.next > next, "{what}: the next start goes on from there");
}

fn steps() -> u64 {
    let disk = Simulated::default();
    assert_eq!(run(&disk, BootId([1; 16])).tried, 60);
    disk.steps()
}

#[test]
fn end_of_the_process_at_any_step_loses_nothing_that_was_appended() {
    let steps = steps();
    assert!(steps > 150, "only {steps} steps were tried");
    for step in 1..=steps {
        let disk = Simulated::default();
        disk.crash_at(step);
        let run = run(&disk, BootId([1; 16]));
        disk.restart();
        check(&disk, BootId([1; 16]), &run, false, &format!("killed at step {step}"));
    }
}

#[test]
fn power_cut_at_any_step_loses_nothing_that_was_synced() {
    for step in 1..=steps() {
        for seed in 0..12_u64 {
            let disk = Simulated::default();
            disk.crash_at(step);
            let run = run(&disk, BootId([1; 16]));
            let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ step.wrapping_mul(0xd134_2543_de82_ef95);
            disk.power_cut(|below| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                usize::try_from(state % below as u64).unwrap()
            });
            check(&disk, BootId([2; 16]), &run, true, &format!("power cut at step {step}, seed {seed}"));
        }
    }
}
