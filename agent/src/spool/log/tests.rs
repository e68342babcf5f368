use super::super::files::simulated::Simulated;
use super::*;
use proptest::prelude::*;
use vedette_protocol::ids::BootId;

const FRESH: QueueEpoch = QueueEpoch(7);
const BOOT: BootId = BootId([1; 16]);
const OTHER_BOOT: BootId = BootId([2; 16]);
const CONFIG: LogConfig = LogConfig { segment_bytes: 1_000, bytes_max: 20_000 };

fn open_in(disk: &Simulated, boot: BootId) -> (Log<Simulated>, Recovered) {
    Log::open(disk.clone(), CONFIG, boot, FRESH).expect("the disk works")
}

fn open(disk: &Simulated) -> (Log<Simulated>, Recovered) {
    open_in(disk, BOOT)
}

fn entry(class: Class, sequence: u64, bytes: usize) -> Entry {
    let fill = u8::try_from(sequence % 251).unwrap();
    Entry { class, sequence: Sequence(sequence), series_next: 0, cursors: Vec::new(), frame: vec![fill; bytes].into() }
}

fn with_cursor(class: Class, sequence: u64, source: &str) -> Entry {
    let cursor = Cursor { source: source.to_owned(), position: sequence.to_le_bytes().to_vec() };
    Entry { cursors: vec![cursor], ..entry(class, sequence, 100) }
}

fn fill(log: &mut Log<Simulated>, class: Class, sequences: std::ops::RangeInclusive<u64>) {
    sequences.for_each(|sequence| log.append(&entry(class, sequence, 100)).expect("room"));
}

/// All that waits of a class, in pages of this size.
fn waiting(log: &mut Log<Simulated>, class: Class, bytes_max: usize) -> Vec<u64> {
    let (mut from, mut found) = (Some(Sequence(0)), Vec::new());
    while let Some(at) = from {
        let page = log.load(class, at, bytes_max).expect("the disk works");
        for (sequence, frame) in page.frames {
            assert!(frame.iter().all(|byte| u64::from(*byte) == sequence.0 % 251), "{sequence:?} is altered");
            found.push(sequence.0);
        }
        from = page.next;
    }
    found
}

fn segments(disk: &Simulated) -> Vec<String> {
    let names = disk.list().unwrap().into_iter().map(|(name, _)| name);
    names.filter(|name| name != MARKS).collect()
}

#[test]
fn everything_comes_back_after_a_restart_in_pages_of_any_size() {
    let disk = Simulated::default();
    let (mut log, fresh) = open(&disk);
    assert_eq!((fresh.epoch, fresh.next, fresh.pending), (7, 1, [0; 3]));
    for sequence in 1..=40 {
        let class = super::super::CLASSES[usize::try_from(sequence % 3).unwrap()];
        log.append(&Entry { series_next: 60, ..with_cursor(class, sequence, &format!("/{}", sequence % 2)) })
            .expect("room");
    }
    log.settle(&[(Class::Finding, Sequence(3)), (Class::Finding, Sequence(6)), (Class::Finding, Sequence(12))])
        .unwrap();
    log.mark([Books::default(); 3], Given::NOTHING, true).unwrap();
    drop(log);
    let (mut log, recovered) = open_in(&disk, BOOT);
    assert_eq!((recovered.epoch, recovered.next, recovered.series_next), (7, 41, 60));
    assert_eq!(recovered.made, [13, 14, 13]);
    // What was settled out of order is sent again.
    assert_eq!(recovered.pending, [11, 14, 13]);
    assert_eq!(recovered.from, [9, 1, 2].map(Sequence));
    assert_eq!(
        recovered.positions,
        [("/0".to_owned(), 40), ("/1".to_owned(), 39)].map(|(s, p): (_, u64)| (s, p.to_le_bytes().to_vec())).into()
    );
    assert_eq!(recovered.damage, Damage::default());
    for bytes_max in [0, 250, 1_000, 1 << 20] {
        assert_eq!(waiting(&mut log, Class::Finding, bytes_max), (9..=39).step_by(3).collect::<Vec<_>>());
        assert_eq!(waiting(&mut log, Class::Feature, bytes_max), (1..=40).step_by(3).collect::<Vec<_>>());
    }
}

#[test]
fn epoch_survives_restarts_and_ends_with_the_folder() {
    let disk = Simulated::default();
    fill(&mut open(&disk).0, Class::Log, 1..=1);
    let again = |disk: &Simulated, epoch| Log::open(disk.clone(), CONFIG, BOOT, QueueEpoch(epoch)).unwrap().1.epoch;
    assert_eq!(again(&disk, 9), 7);
    assert_eq!(again(&Simulated::default(), 9), 9);
}

#[test]
fn settled_segments_leave_the_disk_and_positions_outlive_them() {
    let disk = Simulated::default();
    let (mut log, _) = open(&disk);
    for sequence in 1..=100 {
        log.append(&with_cursor(Class::Log, sequence, "/log")).expect("room");
        log.settle(&[(Class::Log, Sequence(sequence))]).unwrap();
        assert!(log.segments() <= 2 && log.bytes() <= 2_400, "{} bytes", log.bytes());
    }
    log.mark([Books::default(); 3], Given::NOTHING, true).unwrap();
    assert_eq!(segments(&disk).len(), 1);
    let (_, recovered) = open(&disk);
    assert_eq!((recovered.next, recovered.pending[2], recovered.made[2]), (101, 0, 100));
    assert_eq!(recovered.positions["/log"], 100_u64.to_le_bytes());
}

#[test]
fn positions_alone_do_not_fill_the_log_however_long_no_line_comes() {
    let disk = Simulated::default();
    let (mut log, _) = open(&disk);
    for sequence in 1..=2_000_u64 {
        let cursor = Cursor { source: "watch".to_owned(), position: sequence.to_le_bytes().to_vec() };
        log.note(&[(Sequence(sequence), cursor)]).expect("room");
        log.append(&entry(Class::Feature, sequence, 100)).expect("room");
        log.settle(&[(Class::Feature, Sequence(sequence))]).expect("the disk works");
        assert!(log.segments() <= 4 && log.bytes() <= 4 * CONFIG.segment_bytes, "{} bytes", log.bytes());
    }
    log.append(&with_cursor(Class::Log, 2_001, "/log")).expect("room");
    log.mark([Books::default(); 3], Given::NOTHING, true).expect("the disk works");
    drop(log);
    let (mut log, recovered) = open(&disk);
    assert_eq!(recovered.positions["watch"], 2_000_u64.to_le_bytes());
    assert_eq!((recovered.pending, recovered.made), ([0, 0, 1], [0, 2_000, 1]));
    assert_eq!(waiting(&mut log, Class::Log, 1 << 20), [2_001]);
}

#[test]
fn full_log_sheds_the_oldest_of_the_lowest_class_and_says_so() {
    let disk = Simulated::default();
    let (mut log, _) = open(&disk);
    fill(&mut log, Class::Finding, 1..=40);
    fill(&mut log, Class::Log, 41..=80);
    fill(&mut log, Class::Feature, 81..=120);
    assert!(log.poll_gone().is_none() && log.bytes() > 16_000);
    fill(&mut log, Class::Feature, 121..=180);
    let mut shed = 0;
    while let Some(gone) = log.poll_gone() {
        let Gone::Shed { class, frames, through } = gone else { panic!("{gone:?}") };
        if class == Class::Log {
            shed += frames;
            assert!(through.0 >= 40 + shed, "the oldest first");
        } else {
            assert_eq!((class, shed), (Class::Feature, 40), "features only when no log is left");
        }
    }
    assert_eq!(waiting(&mut log, Class::Finding, 1 << 20).len(), 40);
    assert!(waiting(&mut log, Class::Log, 1 << 20).is_empty());
    assert!(log.bytes() <= CONFIG.bytes_max);
    let refused = log.append(&entry(Class::Log, 181, 100));
    assert!(refused.is_ok(), "features give no way to a log, but there is room left after the last one that was shed");
    fill(&mut log, Class::Finding, 182..=400);
    let findings = waiting(&mut log, Class::Finding, 1 << 20);
    (401..440).for_each(|sequence| {
        let _ = log.append(&entry(Class::Feature, sequence, 1_500));
    });
    assert_eq!(waiting(&mut log, Class::Finding, 1 << 20), findings, "findings do not give way to features");
    assert!(log.bytes() <= CONFIG.bytes_max);
    assert!(
        matches!(log.append(&entry(Class::Finding, 420, 6_000)), Err(AppendError::NoRoom)),
        "it would shed too much"
    );
}

#[test]
fn shed_frames_do_not_come_back() {
    let disk = Simulated::default();
    let (mut log, _) = open(&disk);
    fill(&mut log, Class::Log, 1..=300);
    let left = waiting(&mut log, Class::Log, 1 << 20);
    let shed: u64 = std::iter::from_fn(|| log.poll_gone())
        .map(|gone| match gone {
            Gone::Shed { frames, .. } | Gone::Damaged { frames, .. } => frames,
        })
        .sum();
    assert_eq!(left.len() as u64 + shed, 300);
    drop(log);
    let (mut log, recovered) = open(&disk);
    assert_eq!((recovered.pending[2], recovered.made[2]), (left.len() as u64, 300));
    assert_eq!(waiting(&mut log, Class::Log, 1 << 20), left);
}

#[test]
fn bad_frame_in_a_sealed_segment_is_skipped_and_counted_once() {
    let disk = Simulated::default();
    let (mut log, _) = open(&disk);
    fill(&mut log, Class::Feature, 1..=30);
    log.mark([Books::default(); 3], Given::NOTHING, false).unwrap();
    drop(log);
    // The second segment: the first and the last are read at the start.
    disk.alter(&segments(&disk)[1], |bytes| bytes[300] ^= 1);
    for _ in 0..2 {
        let (mut log, recovered) = open(&disk);
        assert_eq!((recovered.pending[1], recovered.made[1], recovered.books[1].shed_total()), (30, 30, 0));
        assert_eq!(waiting(&mut log, Class::Feature, 500).len(), 29);
        assert_eq!(log.poll_gone(), Some(Gone::Damaged { class: Class::Feature, frames: 1 }));
        assert_eq!(waiting(&mut log, Class::Feature, 500).len(), 29);
        assert_eq!(log.poll_gone(), None);
    }
    let (mut log, _) = open(&disk);
    let all: Vec<_> = (1..=30).map(|sequence| (Class::Feature, Sequence(sequence))).collect();
    log.settle(&all).unwrap();
    log.mark([Books::default(); 3], Given::NOTHING, true).unwrap();
    let (_, recovered) = open(&disk);
    assert_eq!((recovered.pending[1], recovered.made[1]), (0, 30));
    assert_eq!(recovered.books[1].shed[Reason::Damaged as usize], 1, "it outlives its segment");
}

#[test]
fn damage_at_the_end_costs_what_was_damaged_and_after_a_power_cut_what_follows() {
    for (boot, left) in [(BOOT, vec![1, 2, 4, 5]), (OTHER_BOOT, vec![1, 2])] {
        let disk = Simulated::default();
        let (mut log, _) = open(&disk);
        for sequence in 1..=5 {
            log.append(&with_cursor(Class::Log, sequence, "/log")).expect("room");
        }
        drop(log);
        disk.alter(&segments(&disk)[0], |bytes| bytes[500] ^= 1);
        let (mut log, recovered) = open_in(&disk, boot);
        assert_eq!(waiting(&mut log, Class::Log, 1 << 20), left);
        assert!(recovered.damage.leapt);
        assert_eq!(recovered.positions["/log"], left.last().unwrap().to_le_bytes(), "read again from what is left");
        // The log goes on behind it, and comes back whole.
        fill(&mut log, Class::Log, recovered.next..=recovered.next + 20);
        drop(log);
        assert_eq!(waiting(&mut open_in(&disk, boot).0, Class::Log, 1 << 20).len(), left.len() + 21);
    }
}

#[test]
fn sequences_that_may_have_been_used_are_never_used_again() {
    let disk = Simulated::default();
    let (mut log, _) = open(&disk);
    fill(&mut log, Class::Log, 1..=3);
    drop(log);
    let (mut log, recovered) = open(&disk);
    let leap = u32::MAX / SERIES_LEAP_PART;
    assert_eq!((recovered.next, recovered.series_next), (4 + LEAP, leap), "sent without being in the log or the marks");
    let given = Given { last: Sequence(14 + LEAP), series_next: leap + 7 };
    log.mark([Books::default(); 3], given, true).unwrap();
    drop(log);
    let (_, recovered) = open_in(&disk, OTHER_BOOT);
    assert_eq!((recovered.next, recovered.series_next), (15 + LEAP, leap + 7), "a clean end leaves no doubt");
    for lives in 1..4 {
        let (_, recovered) = open_in(&disk, BOOT);
        assert_eq!(recovered.next, 15 + LEAP + lives * LEAP, "each life may have used what follows");
        assert!(recovered.damage.leapt);
    }
}

#[test]
fn series_indices_never_run_out_however_often_the_agent_is_killed() {
    let disk = Simulated::default();
    let (mut log, _) = open(&disk);
    fill(&mut log, Class::Log, 1..=1);
    // As after some 400,000 kills.
    let mut before = u32::MAX - 128 * SERIES_LEAP_PART;
    let given = Given { last: Sequence(1), series_next: before };
    log.mark([Books::default(); 3], given, false).unwrap();
    for _ in 0..500 {
        let next = open(&disk).1.series_next;
        assert!(next > before && next < u32::MAX, "{next} after {before}");
        before = next;
    }
}

#[test]
fn full_disk_refuses_a_frame_and_takes_it_when_there_is_room_again() {
    let disk = Simulated::default();
    let (mut log, _) = open(&disk);
    for limit in 9_000..9_400 {
        disk.limit(Some(limit));
        let mut sequence = log.last.0 + 1;
        while log.append(&entry(Class::Feature, sequence, 100)).is_ok() {
            sequence += 1;
        }
        log.mark([Books::default(); 3], Given::NOTHING, false).expect("the marks have their blocks");
        disk.limit(None);
        log.append(&entry(Class::Feature, sequence, 100)).expect("room");
        let expected: Vec<_> = (1..=sequence).collect();
        assert_eq!(
            waiting(&mut log, Class::Feature, 1 << 20),
            expected[expected.len() - usize::try_from(log.lanes[1].open()).unwrap()..]
        );
        log.settle(&expected.iter().map(|sequence| (Class::Feature, Sequence(*sequence))).collect::<Vec<_>>()).unwrap();
    }
}

#[test]
fn nothing_in_the_folder_keeps_the_log_from_opening() {
    let disk = Simulated::default();
    let (mut log, _) = open(&disk);
    fill(&mut log, Class::Log, 1..=30);
    drop(log);
    let mut other = disk.clone();
    other.create("1-0000000000000003-0000000000000001.seg").unwrap();
    other.create("notes.txt").unwrap();
    disk.alter(MARKS, |bytes| bytes.truncate(17));
    let (mut log, recovered) = open(&disk);
    assert_eq!((recovered.epoch, recovered.damage.strangers, recovered.pending[2]), (7, 1, 30));
    assert_eq!(waiting(&mut log, Class::Log, 300), (1..=30).collect::<Vec<_>>());
    drop(log);
    for name in segments(&disk) {
        disk.alter(&name, |bytes| bytes.fill(0xff));
    }
    let (mut log, recovered) = open(&disk);
    assert_eq!((recovered.epoch, recovered.pending), (7, [0; 3]));
    fill(&mut log, Class::Log, recovered.next..=recovered.next + 5);
}

#[test]
fn file_that_cannot_be_read_costs_its_own_frames_and_keeps_no_log_from_opening() {
    let disk = Simulated::default();
    let (mut log, _) = open(&disk);
    fill(&mut log, Class::Log, 1..=30);
    drop(log);
    let names = segments(&disk);
    assert!(names.len() > 3);
    for name in names.iter().map(String::as_str).chain([MARKS]) {
        let disk = disk.copy();
        disk.fail_reads(Some((name, io::ErrorKind::PermissionDenied)));
        let (mut log, recovered) = open(&disk);
        let left = waiting(&mut log, Class::Log, 300);
        let most_lost = if name == MARKS { 0 } else { 8 };
        assert!(left.len() >= 30 - most_lost, "{name}: {left:?}");
        let found: u64 = std::iter::from_fn(|| log.poll_gone())
            .map(|gone| match gone {
                Gone::Damaged { frames, .. } => frames,
                Gone::Shed { .. } => panic!("nothing has to make room"),
            })
            .sum();
        assert_eq!(recovered.pending[2], left.len() as u64 + found, "{name}");
        if names[1..names.len() - 1].iter().any(|between| between == name) {
            assert_eq!(recovered.books[2].shed_total() + found, 30 - left.len() as u64, "{name}: counted");
        }
        disk.fail_reads(None);
        fill(&mut log, Class::Log, recovered.next..=recovered.next + 3);
        assert_eq!(waiting(&mut log, Class::Log, 300).len(), left.len() + 4, "{name}: it goes on");
    }
}

#[test]
fn no_flipped_bit_keeps_the_log_from_opening_or_alters_a_frame() {
    let disk = Simulated::default();
    let (mut log, _) = open(&disk);
    for sequence in 1..=9 {
        log.append(&with_cursor(Class::Log, sequence, "/log")).expect("room");
    }
    drop(log);
    let names: Vec<String> = disk.list().unwrap().into_iter().map(|(name, _)| name).collect();
    for name in names {
        let whole = disk.read(&name, 0, 1 << 20).unwrap();
        for at in 0..whole.len() {
            let copy = disk.copy();
            copy.alter(&name, |bytes| bytes[at] ^= 1 << (at % 8));
            let (mut log, recovered) = open(&copy);
            let left = waiting(&mut log, Class::Log, 400);
            let damaged: u64 = std::iter::from_fn(|| log.poll_gone())
                .map(|gone| match gone {
                    Gone::Damaged { frames, .. } => frames,
                    Gone::Shed { .. } => panic!("nothing has to make room"),
                })
                .sum();
            let counted = damaged + recovered.books[2].shed_total();
            let torn = u64::from(recovered.damage.torn_bytes > 0);
            assert!(left.len() as u64 + counted + torn >= 9, "{name} {at}: {left:?}, {recovered:?}");
            assert!(left.len() >= 8, "{name} {at}: {left:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn log_holds_what_was_appended_less_what_was_settled_or_shed(
        steps in prop::collection::vec((0..8_usize, any::<prop::sample::Index>(), 1..2_000_usize), 1..250)
    ) {
        let disk = Simulated::default();
        let mut log = open(&disk).0;
        let mut model: [Vec<u64>; 3] = Default::default();
        let mut next = 1;
        for (what, which, bytes) in steps {
            match what {
                class @ 0..=2 => {
                    if log.append(&entry(super::super::CLASSES[class], next, bytes)).is_ok() {
                        model[class].push(next);
                    }
                    next += 1;
                }
                3..=5 => {
                    let class = what - 3;
                    if !model[class].is_empty() {
                        let sequence = model[class].remove(which.index(model[class].len()));
                        log.settle(&[(super::super::CLASSES[class], Sequence(sequence))]).unwrap();
                    }
                }
                6 => log.mark([Books::default(); 3], Given::NOTHING, false).unwrap(),
                _ => {
                    drop(log);
                    let (again, recovered) = open(&disk);
                    log = again;
                    next = recovered.next;
                    for (class, model) in model.iter_mut().enumerate() {
                        // What was settled after the marks, or out of order, comes back; nothing else does.
                        let found = waiting(&mut log, super::super::CLASSES[class], 900);
                        prop_assert!(model.iter().all(|sequence| found.contains(sequence)));
                        prop_assert_eq!(recovered.pending[class], found.len() as u64);
                        *model = found;
                    }
                }
            }
            while let Some(gone) = log.poll_gone() {
                let Gone::Shed { class, through, frames } = gone else { panic!("{gone:?}") };
                let model = &mut model[class_index(class)];
                let before = model.len();
                model.retain(|sequence| *sequence > through.0);
                prop_assert_eq!((before - model.len()) as u64, frames);
            }
            prop_assert!(log.bytes() <= CONFIG.bytes_max);
        }
        for (class, model) in super::super::CLASSES.into_iter().zip(&model) {
            prop_assert_eq!(&waiting(&mut log, class, 900), model);
        }
    }
}
