use super::super::read::{Wanted, read};
use super::super::segment::PAYLOAD_BYTES_MAX;
use super::*;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use vedette_edge::recorder::{Recorder, RecorderConfig, Sealed, Sort};
use vedette_protocol::series::SeriesKind;

fn meta(name: &str) -> SeriesMeta {
    SeriesMeta {
        metric: name.to_owned(),
        unit: "1".to_owned(),
        kind: SeriesKind::Gauge,
        attributes: Vec::new(),
        resolution: 1.0,
        lower: f64::NAN,
        upper: f64::NAN,
    }
}

/// A life of the agent: a recorder, `minutes` of two series at one sample a second, written to `folder`.
fn live(folder: &Path, bytes_max: u64, minutes: std::ops::Range<i64>) -> Store<PathBuf> {
    let mut store = Store::new(folder.to_owned(), bytes_max);
    let mut recorder = Recorder::new(RecorderConfig { memory_bytes: 0, to_disk: true });
    for second in minutes.start * 60..minutes.end * 60 {
        for (place, name) in [(0, "a"), (1, "b")] {
            let value = f64::from(place) * 1_000.0 + (second * second % 977) as f64;
            let meta = meta(name);
            recorder.sample((Sort::Metric, place), meta.key(), 1.0, (second * 1_000, value), || Some(meta.clone()));
        }
        recorder.line(second * 1_000, "/log", "a line");
        recorder.tick(second * 1_000);
        while let Some(recorded) = recorder.poll_recorded() {
            store.append(&recorded).expect("written");
        }
    }
    recorder.seal();
    while let Some(recorded) = recorder.poll_recorded() {
        store.append(&recorded).expect("written");
    }
    store
}

fn all(folder: &Path) -> super::super::read::Recording {
    read(folder, &Wanted::default()).expect("readable")
}

#[test]
fn what_was_written_is_read_over_lives_and_nobody_else_may_read_it() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let folder = folder.path().join("recorder");
    live(&folder, 1 << 20, 0..3).close();
    live(&folder, 1 << 20, 5..6).close();
    let recording = all(&folder);
    assert_eq!(recording.series.iter().map(|one| one.meta.metric.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    let b = &recording.series[1];
    assert_eq!((b.points.len(), b.points[0], b.points[1]), (240, (0, 1_000.0), (1_000, 1_001.0)));
    assert_eq!(recording.lines.len(), 240);
    assert_eq!(recording.damaged, 0);
    let mode = |path: &Path| fs::metadata(path).expect("metadata").permissions().mode() & 0o777;
    assert_eq!(mode(&folder), 0o700);
    let files = segments(&folder).expect("list");
    assert_eq!(files.len(), 2, "each life writes its own");
    assert!(files.iter().all(|(_, path, _)| mode(path) == 0o600));
    let wanted = Wanted { begin_ms: 60_000, end_ms: 119_999, series: Some("b*".to_owned()), lines: true };
    let window = read(&folder, &wanted).expect("readable");
    assert_eq!((window.series.len(), window.series[0].points.len(), window.lines.len()), (1, 60, 60));
}

#[test]
fn bound_holds_and_the_newest_stays() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let bound = 256 << 10;
    let store = live(folder.path(), bound, 0..400);
    assert!(store.view().segments_deleted > 0, "{:?}", store.view());
    let on_disk: u64 = segments(folder.path()).expect("list").iter().map(|(_, _, bytes)| bytes).sum();
    assert!(on_disk <= bound + *SEGMENT_BYTES.start() && on_disk == store.view().bytes, "{on_disk}");
    let recording = all(folder.path());
    assert_eq!(recording.series[0].points.last().map(|(at_ms, _)| *at_ms), Some(400 * 60_000 - 1_000));
    assert!(recording.series[0].points[0].0 > 0);
}

#[test]
fn torn_tail_is_cut_and_a_damaged_segment_costs_only_itself() {
    let folder = tempfile::tempdir().expect("temporary folder");
    (0..3).for_each(|n| live(folder.path(), 1 << 20, n * 10..n * 10 + 2).close());
    let files = segments(folder.path()).expect("list");
    let mut middle = fs::read(&files[1].1).expect("read");
    middle.iter_mut().skip(40).for_each(|byte| *byte ^= 0x55);
    fs::write(&files[1].1, middle).expect("write");
    OpenOptions::new().append(true).open(&files[2].1).and_then(|mut file| file.write_all(&[9; 77])).expect("write");
    let mut store = Store::new(folder.path().to_owned(), 1 << 20);
    store.look().expect("damage is no reason not to start");
    assert_eq!((store.view().torn_bytes, store.view().segments), (77, 3));
    let recording = all(folder.path());
    assert_eq!(recording.series[0].points.len(), 240, "two of three segments");
    assert_eq!(recording.damaged, 1);
}

#[test]
fn last_segment_that_is_none_does_not_keep_the_agent_from_starting() {
    let folder = tempfile::tempdir().expect("temporary folder");
    fs::write(folder.path().join("000000000007.seg"), b"something else").expect("write");
    fs::write(folder.path().join("notes.txt"), b"not ours").expect("write");
    let store = live(folder.path(), 1 << 20, 0..1);
    assert_eq!((store.view().segments_damaged, store.view().segments), (1, 2));
    assert!(folder.path().join("000000000008.seg").exists());
    assert_eq!((all(folder.path()).series.len(), all(folder.path()).damaged), (2, 1));
}

#[test]
fn folder_that_cannot_be_written_is_told_and_tried_again() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let in_the_way = folder.path().join("recorder");
    fs::write(&in_the_way, b"a file").expect("write");
    let mut store = Store::new(in_the_way.clone(), 1 << 20);
    assert!(store.look().is_err());
    let disk = super::super::RecorderDisk::open(folder.path(), 1 << 20);
    assert!(disk.view().last_error.is_some());
    fs::remove_file(&in_the_way).expect("remove");
    assert!(store.append(&recorded(Vec::new())).is_ok());
    assert_eq!(segments(&in_the_way).expect("list").len(), 1);
}

#[test]
fn blocks_that_cannot_be_written_leave_no_segments_that_drive_out_good_ones() {
    let folder = tempfile::tempdir().expect("temporary folder");
    live(folder.path(), 1 << 20, 0..2).close();
    let mut store = Store::new(folder.path().to_owned(), 1 << 20);
    let refused = recorded(vec![0; PAYLOAD_BYTES_MAX]);
    assert!((0..3).all(|_| matches!(store.append(&refused), Err(Refusal::TooLarge))));
    assert_eq!(segments(folder.path()).expect("list").len(), 1);
}

#[test]
fn what_a_folder_holds_that_went_away_and_came_back_is_known_again() {
    let outer = tempfile::tempdir().expect("temporary folder");
    let (folder, away) = (outer.path().join("recorder"), outer.path().join("away"));
    let bound = 256 << 10;
    let mut store = live(&folder, bound, 0..100);
    let (before, of_before) = (store.view().bytes, all(&folder).series[0].points.len());
    fs::rename(&folder, &away).expect("away");
    store.append(&recorded(Vec::new())).expect("written");
    assert!(folder.exists() && store.view().segments == 1, "another folder is begun: {:?}", store.view());
    assert_eq!(store.view().gone_ms, Some((0, 100 * 60_000 - 1_000)), "what is not where people look");
    let meanwhile = segments(&folder).expect("list").remove(0);

    // With what was written meanwhile, as if both had been one all the time.
    fs::rename(&meanwhile.1, away.join(meanwhile.1.file_name().expect("a name"))).expect("moved");
    fs::remove_dir(&folder).expect("empty");
    fs::rename(&away, &folder).expect("back");
    store.append(&recorded(Vec::new())).expect("written");
    let found = segments(&folder).expect("list");
    assert_eq!(store.view().bytes, found.iter().map(|(.., bytes)| bytes).sum::<u64>());
    assert_eq!(store.view().gone_ms, None);
    assert!(store.view().bytes > before && all(&folder).series[0].points.len() == of_before);
    let numbers: Vec<_> = found.iter().map(|(number, ..)| *number).collect();
    assert!(numbers.is_sorted_by(|one, other| one < other) && numbers.last() == Some(&meanwhile.0), "{numbers:?}");

    // Their turn to be deleted comes.
    let block = vec![7; 60 << 10];
    (0..8).for_each(|_| store.append(&recorded(block.clone())).expect("written"));
    assert!(found.iter().take(2).all(|(_, path, _)| !path.exists()), "the oldest go first");
    assert!(store.view().bytes <= bound + (128 << 10), "{:?}", store.view());
}

#[test]
fn a_folder_that_comes_back_with_a_torn_last_segment_is_mended_once() {
    let outer = tempfile::tempdir().expect("temporary folder");
    let (folder, away) = (outer.path().join("recorder"), outer.path().join("away"));
    let mut store = live(&folder, 1 << 20, 0..2);
    fs::rename(&folder, &away).expect("away");
    store.append(&recorded(Vec::new())).expect("written");
    let torn = segments(&away).expect("list").remove(0).1;
    OpenOptions::new().append(true).open(&torn).and_then(|mut file| file.write_all(&[9; 77])).expect("write");
    fs::write(away.join("000000000009.seg"), b"").expect("empty");
    fs::remove_dir_all(&folder).expect("removed");
    fs::rename(&away, &folder).expect("back");
    (0..2).for_each(|_| store.append(&recorded(Vec::new())).expect("written"));
    let view = store.view();
    assert_eq!((view.torn_bytes, view.segments_damaged, view.segments), (77, 0, 2), "{view:?}");
    assert_eq!(all(&folder).series[0].points.len(), 120);
}

fn recorded(block: Vec<u8>) -> Recorded {
    let sealed = Sealed { begin_ms: 0, end_ms: 0, samples: 0, block, lines: Vec::new() };
    Recorded { sealed: Arc::new(sealed), defined: Vec::new(), ended: Vec::new() }
}

#[test]
fn half_a_block_is_cut_off_and_the_segment_goes_on() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let mut store = live(folder.path(), 1 << 20, 0..2);
    let (name, bytes) = (store.segments[0].name.clone(), store.segments[0].bytes);
    store.files.as_mut().expect("open").write(&name, bytes, &[9; 77]).expect("write");
    store.undo();
    let file = segments(folder.path()).expect("list");
    assert_eq!((file.len(), file[0].2), (1, store.view().bytes));
    assert!(store.is_open);
}
