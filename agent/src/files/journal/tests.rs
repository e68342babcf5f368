mod model;
mod writer;

use super::file::{JournalFile, ReadAt};
use super::*;
use proptest::prelude::*;
use std::fs;
use std::io::Read;
use std::sync::LazyLock;
use writer::Writer;

const MACHINE: &str = "ffffffffffffffffffffffffffffffff";
const FIXTURES: [(&str, &[u8]); 3] = [
    ("regular", include_bytes!("../../../tests/fixtures/journal/regular.journal.zst")),
    ("compact", include_bytes!("../../../tests/fixtures/journal/compact.journal.zst")),
    ("oldhash", include_bytes!("../../../tests/fixtures/journal/oldhash.journal.zst")),
];
static REAL: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| FIXTURES.iter().map(|(_, packed)| unpacked(packed)).collect());

fn unpacked(packed: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    ruzstd::decoding::StreamingDecoder::new(packed).unwrap().read_to_end(&mut bytes).unwrap();
    bytes
}

/// A host's tree with a journal.
struct Host(tempfile::TempDir);

impl Host {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("etc")).unwrap();
        fs::write(root.path().join("etc/machine-id"), format!("{MACHINE}\n")).unwrap();
        for kind in ["var", "run"] {
            fs::create_dir_all(root.path().join(format!("{kind}/log/journal/{MACHINE}"))).unwrap();
        }
        Self(root)
    }

    fn path(&self, kind: &str, name: &str) -> PathBuf {
        self.0.path().join(format!("{kind}/log/journal/{MACHINE}/{name}"))
    }

    fn open(&self, positions: &BTreeMap<String, Vec<u8>>) -> Journal {
        Journal::open(self.0.path(), positions.iter().map(|(source, position)| (source.as_str(), position.as_slice())))
    }
}

/// What is handed over until there is no more.
fn lines(journal: &mut Journal) -> Vec<(String, String)> {
    let mut lines = Vec::new();
    let mut sink = |line: JournalLine<'_>| {
        lines.push((line.source.to_owned(), String::from_utf8_lossy(line.text).into_owned()));
    };
    while journal.poll(&mut sink).unwrap() {}
    lines
}

#[test]
fn files_of_journald_itself_are_read_in_every_form() {
    for ((name, _), bytes) in FIXTURES.iter().zip(REAL.iter()) {
        let host = Host::new();
        fs::write(host.path("var", "system.journal"), bytes).unwrap();
        let mut journal = host.open(&BTreeMap::new());
        let found = lines(&mut journal);
        assert_eq!(found.len(), 45, "{name}");
        let of = |at: usize| (found[at].0.as_str(), found[at].1.as_str());
        assert_eq!(of(0), ("journald/kernel", "notice Linux version 6.1.0"), "{name}");
        assert_eq!(of(1), ("journald/app", "info request 0 served in 0 ms"));
        assert_eq!(of(40), ("journald/app", "info request 39 served in 39 ms"));
        let failed = "warning sshd: Failed password for invalid user bob from 10.0.0.7 port 4242 ssh2";
        assert_eq!(of(41), ("journald/ssh", failed));
        assert!(of(42).1.starts_with("err long: word0 word1") && of(42).1.ends_with("word398 word399"), "{:?}", of(42));
        assert_eq!(of(43), ("journald/sshd", "info session opened for user bob"));
        assert_eq!(of(44), ("journald/systemd", "info second boot"));
        let counts = journal.counts();
        assert_eq!((counts.lines, counts.fields_skipped, counts.entries_missed, counts.files), (45, 0, 0, 1), "{name}");
    }
}

#[test]
fn restart_at_any_entry_goes_on_behind_it() {
    for bytes in REAL.iter() {
        for read in 0..=45 {
            let mut file = JournalFile::open(Bytes { base: bytes, patches: Vec::new() }).unwrap();
            let first = file.peek(&mut JournalCounts::default()).unwrap().unwrap().seqnum;
            let mut file = JournalFile::open(Bytes { base: bytes, patches: Vec::new() }).unwrap();
            file.seek_after(first - 1 + read).unwrap();
            assert_eq!(file.left(), 45 - read);
            let next = file.peek(&mut JournalCounts::default()).unwrap().map(|head| head.seqnum);
            assert_eq!(next, (read < 45).then_some(first + read));
        }
    }
}

#[test]
fn journal_that_is_seen_for_the_first_time_is_read_from_its_backlog() {
    let host = Host::new();
    let mut writer = Writer::new(1);
    (0..BACKLOG_ENTRIES_MAX + 50).for_each(|n| writer.push(&["SYSLOG_IDENTIFIER=app", &format!("MESSAGE={n}")]));
    writer.store(&host.path("var", "system.journal"));
    let mut journal = host.open(&BTreeMap::new());
    let found = lines(&mut journal);
    assert_eq!((found.len() as u64, found[0].1.as_str()), (BACKLOG_ENTRIES_MAX, "50"));
    assert_eq!(journal.counts().entries_skipped, 50);
}

#[test]
fn what_journald_copies_to_the_disk_is_read_once() {
    let host = Host::new();
    let mut early = Writer::new(1);
    (0..5).for_each(|n| early.push(&["SYSLOG_IDENTIFIER=app", &format!("MESSAGE=early {n}")]));
    early.store(&host.path("run", "system.journal"));
    let mut journal = host.open(&BTreeMap::new());
    assert_eq!(lines(&mut journal).len(), 5);
    // Two more that were not read yet, then the disk is there: numbers go on, times stay.
    (5..7).for_each(|n| early.push(&["SYSLOG_IDENTIFIER=app", &format!("MESSAGE=early {n}")]));
    fs::remove_file(host.path("run", "system.journal")).unwrap();
    let mut late = early.copied();
    late.push(&["SYSLOG_IDENTIFIER=app", "MESSAGE=late"]);
    late.store(&host.path("var", "system.journal"));
    let texts: Vec<_> = lines(&mut journal).into_iter().map(|(_, text)| text).collect();
    assert_eq!(texts, ["early 5", "early 6", "late"]);
}

#[test]
fn own_lines_silent_entries_and_too_many_services_are_counted() {
    let host = Host::new();
    let mut writer = Writer::new(1);
    writer.push(&["_SYSTEMD_UNIT=vedette-agent.service", "MESSAGE=loop"]);
    writer.push(&["_SYSTEMD_UNIT=app.service"]);
    for n in 0..SERVICES_MAX + 3 {
        writer.push(&[&format!("_SYSTEMD_UNIT=app{n}.service"), "MESSAGE=x"]);
    }
    writer.store(&host.path("var", "system.journal"));
    let mut journal = host.open(&BTreeMap::new());
    let found = lines(&mut journal);
    assert_eq!(found.iter().filter(|(source, _)| source == "journald/other").count(), 3);
    assert_eq!((journal.counts().entries_own, journal.counts().entries_silent), (1, 1));
}

#[test]
fn numbers_that_were_vacuumed_unread_are_missed() {
    let host = Host::new();
    let mut writer = Writer::new(1);
    writer.push(&["MESSAGE=1"]);
    writer.store(&host.path("var", "system.journal"));
    let mut journal = host.open(&BTreeMap::new());
    assert_eq!(lines(&mut journal).len(), 1);
    let mut later = writer.rotated();
    (0..3).for_each(|_| later.push(&["MESSAGE=gone"]));
    let mut last = later.rotated();
    last.push(&["MESSAGE=5"]);
    last.store(&host.path("var", "user-1000.journal"));
    assert_eq!(lines(&mut journal).len(), 1);
    assert_eq!(journal.counts().entries_missed, 3);
}

#[test]
fn numbers_that_are_given_again_after_a_loss_of_power_are_read() {
    let host = Host::new();
    let mut writer = Writer::new(1);
    writer.push(&["MESSAGE=1"]);
    let before = writer.clone();
    (2..6).for_each(|n| writer.push(&[&format!("MESSAGE={n}")]));
    writer.store(&host.path("var", "system.journal"));
    let mut journal = host.open(&BTreeMap::new());
    assert_eq!(lines(&mut journal).len(), 5);
    let positions = BTreeMap::from([(SOURCE.to_owned(), journal.position().unwrap())]);
    before.store(&host.path("var", "system.journal"));
    let mut journal = host.open(&positions);
    assert_eq!(lines(&mut journal).len(), 0);
    let mut after = before.clone();
    after.push(&["MESSAGE=other 2"]);
    after.store(&host.path("var", "system.journal"));
    assert_eq!(lines(&mut journal).len(), 1);
}

#[test]
fn chains_that_lead_backwards_end_and_absurd_counts_do_not_matter() {
    let mut writer = Writer::new(1);
    (0..100).for_each(|n| writer.push(&[&format!("MESSAGE={n}")]));
    let read = |writer: &Writer| read_all(Bytes { base: writer.bytes(), patches: Vec::new() });
    assert_eq!(read(&writer), (100, true));
    let mut cyclic = writer.clone();
    cyclic.link_last_array_to_first();
    assert_eq!(read(&cyclic), (100, true), "what is counted is all there");
    cyclic.claim_entries(u64::MAX);
    assert!(!read(&cyclic).1);
    let mut absurd = writer.clone();
    absurd.claim_entries(u64::MAX);
    assert!(!read(&absurd).1);
}

#[test]
fn what_is_no_journal_is_refused_once_until_it_changes() {
    let host = Host::new();
    fs::write(host.path("var", "system.journal"), "LPKSHHRH but short").unwrap();
    fs::create_dir(host.path("var", "folder.journal")).unwrap();
    let mut journal = host.open(&BTreeMap::new());
    (0..3).for_each(|_| assert!(lines(&mut journal).is_empty()));
    assert_eq!(journal.counts().files_refused, 2);
}

/// Bytes, some of which are other ones.
struct Bytes<'a> {
    base: &'a [u8],
    patches: Vec<(usize, u8)>,
}

impl ReadAt for Bytes<'_> {
    fn read_full_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let offset = usize::try_from(offset).unwrap().min(self.base.len());
        let length = buffer.len().min(self.base.len() - offset);
        buffer[..length].copy_from_slice(&self.base[offset..offset + length]);
        for (at, byte) in self.patches.iter().filter(|(at, _)| (offset..offset + length).contains(at)) {
            buffer[at - offset] = *byte;
        }
        Ok(length)
    }
}

/// Entries read, and whether the file was fine to its end.
fn read_all(bytes: Bytes<'_>) -> (u32, bool) {
    let Ok(mut file) = JournalFile::open(bytes) else { return (0, false) };
    let (mut counts, mut entry, mut read) = (JournalCounts::default(), Entry::default(), 0);
    loop {
        match file.peek(&mut counts) {
            Ok(Some(_)) => file.take(&mut entry, &mut counts),
            end => return (read, end.is_ok()),
        }
        read += 1;
        assert!(read < 10_000, "it never ends");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn damaged_files_are_read_without_a_panic_and_to_an_end(
        which in 0..3_usize,
        flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..32_usize), 1..12),
        seqnum in 0..60_u64,
    ) {
        let base = &REAL[which];
        static USED: LazyLock<Vec<Vec<usize>>> = LazyLock::new(|| {
            REAL.iter().map(|bytes| (0..bytes.len()).filter(|at| bytes[*at] != 0).collect()).collect()
        });
        let patches: Vec<_> = flips.iter().map(|(at, byte, after)| (at.get(&USED[which]) + after, *byte)).collect();
        read_all(Bytes { base, patches: patches.clone() });
        if let Ok(mut file) = JournalFile::open(Bytes { base, patches }) {
            let _ = file.seek_after(seqnum);
        }
    }
}
