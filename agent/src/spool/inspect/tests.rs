use super::super::files::simulated::Simulated;
use super::super::log::{Entry, Log, LogConfig, Recovered};
use super::*;
use vedette_protocol::envelope::seal;

const CONFIG: LogConfig = LogConfig { segment_bytes: 1_000, bytes_max: 1 << 20 };

fn open(disk: &Simulated) -> (Log<Simulated>, Recovered) {
    Log::open(disk.clone(), CONFIG, BootId([1; 16]), QueueEpoch(7)).expect("the disk works")
}

/// Three classes of 20 frames each, closed in good order.
fn filled() -> Simulated {
    let disk = Simulated::default();
    let (mut log, _) = open(&disk);
    for sequence in 1..=60 {
        let frame = seal(Kind::Batch, &[u8::try_from(sequence).unwrap(); 100]).unwrap().into();
        let class = CLASSES[usize::try_from(sequence % 3).unwrap()];
        let entry = Entry { class, sequence: Sequence(sequence), series_next: 0, cursors: Vec::new(), frame };
        log.append(&entry).expect("room");
    }
    log.mark(Default::default(), Given::NOTHING, true).unwrap();
    disk
}

fn names(disk: &Simulated, class: u8) -> Vec<String> {
    let names = disk.list().unwrap().into_iter().map(|(name, _)| name);
    names.filter(|name| name.starts_with(&format!("{class}-"))).collect()
}

fn waiting(disk: &Simulated) -> Vec<u64> {
    let mut log = open(disk).0;
    let page = |class| log.load(class, Sequence(0), usize::MAX).unwrap().frames;
    CLASSES.into_iter().flat_map(page).map(|(sequence, _)| sequence.0).collect()
}

#[test]
fn sound_spool_has_no_problems_and_repair_leaves_it_alone() {
    let disk = filled();
    let found = verify(&disk, false).unwrap();
    assert_eq!((found.frames, found.queue_epoch, found.problems), ([20; 3], Some(7), Vec::new()));
    let steps = disk.steps();
    let mended = repair(&mut disk.clone()).unwrap();
    assert_eq!((mended.frames_kept, mended.frames_left_out, mended.repaired.len()), (60, 0, 0));
    assert!(disk.steps() <= steps + 1, "nothing is written");
    assert_eq!(verify(&Simulated::default(), false).unwrap(), Inspection::default());
}

#[test]
fn repair_keeps_every_good_frame_and_says_what_it_left_out() {
    let disk = filled();
    let (sealed, last) = (names(&disk, 1)[1].clone(), names(&disk, 2).pop().unwrap());
    disk.alter(&sealed, |bytes| bytes[400] ^= 1);
    disk.alter(&names(&disk, 0)[1], |bytes| bytes[3] ^= 1);
    disk.alter(&last, |bytes| bytes.truncate(bytes.len() - 7));
    let found = verify(&disk, false).unwrap();
    let files: Vec<_> = found.problems.iter().map(|one| (one.file.clone(), one.frames_lost)).collect();
    assert_eq!(files, [(names(&disk, 0)[1].clone(), 0), (sealed, 1), (last, 0)], "{:?}", found.problems);
    assert!(found.problems[2].problem.contains("unfinished record"), "{:?}", found.problems[2]);
    assert_eq!(verify(&disk, true).unwrap().problems.len(), 2, "an agent is just writing the last one");
    let mended = repair(&mut disk.clone()).unwrap();
    assert_eq!((mended.frames_kept, mended.frames_left_out, mended.repaired), (58, 1, found.problems));
    assert_eq!(verify(&disk, false).unwrap().problems, []);
    let before = waiting(&disk);
    assert_eq!(before.len(), 58);
    let (_, recovered) = open(&disk);
    assert_eq!(recovered.pending.iter().sum::<u64>(), 58);
    assert_eq!(recovered.books[1].shed[Reason::Damaged as usize], 1, "counted");
    assert_eq!(recovered.made, [20, 20, 19]);
}

#[test]
fn garbage_is_told_and_put_right() {
    let disk = filled();
    disk.alter(MARKS, |bytes| bytes.fill(1));
    for name in names(&disk, 1) {
        disk.alter(&name, |bytes| bytes.fill(0xee));
    }
    let mut other = disk.clone();
    other.create("0-0000000000000001-0000000000000001.seg").unwrap();
    assert_eq!(verify(&disk, false).unwrap().problems.len(), 2 + names(&disk, 1).len());
    repair(&mut other).unwrap();
    assert_eq!(verify(&disk, false).unwrap().problems, []);
    assert_eq!(waiting(&disk).len(), 40);
}

#[test]
fn no_flipped_bit_in_a_segment_goes_unnoticed() {
    let disk = filled();
    for name in [names(&disk, 0)[0].clone(), names(&disk, 2)[1].clone()] {
        let bytes = disk.read(&name, 0, 1 << 20).unwrap().len();
        for at in 0..bytes {
            let copy = disk.copy();
            copy.alter(&name, |bytes| bytes[at] ^= 1 << (at % 8));
            assert!(!verify(&copy, false).unwrap().problems.is_empty(), "{name} {at}");
        }
    }
}
