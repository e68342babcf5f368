use super::*;
use std::fs;

struct Host {
    directory: tempfile::TempDir,
    watch: Watch,
}

/// Far from the files' times, so that they are settled.
fn now() -> WallTime {
    WallTime { unix_ns: 4_000_000_000_000_000_000 }
}

fn watch(root: &Root) -> Watch {
    Watch::open(&[FileConfig { path: "/app.conf".into(), service: "app".to_owned() }], root)
}

impl Host {
    /// Watches `/app.conf`, of which nothing is known yet.
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self { watch: watch(&Root::under(directory.path())), directory }
    }

    fn root(&self) -> Root {
        Root::under(self.directory.path())
    }

    fn restart(&mut self, state: &[u8]) {
        self.watch = watch(&self.root()).resume(state);
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, text: &str) {
        fs::write(self.path("app.conf"), text).unwrap();
    }

    fn poll_at(&mut self, now: WallTime) -> Vec<Change> {
        let mut changes = Vec::new();
        self.watch.poll(now, &mut |change| changes.push(change));
        changes
    }

    fn kinds(&mut self) -> Vec<ChangeKind> {
        self.poll_at(now()).into_iter().map(|change| change.kind).collect()
    }
}

#[test]
fn an_edit_is_told_with_digests_and_without_content() {
    let mut host = Host::new();
    host.write("password = 1\n");
    assert_eq!(host.poll_at(now()), [], "what is found first is no change");
    host.write("password = 22\n");
    let changes = host.poll_at(now());
    assert_eq!(changes.len(), 1);
    let change = &changes[0];
    assert_eq!((change.kind, change.service.as_str(), change.at), (ChangeKind::FileEdited, "app", now()));
    assert_eq!(change.target, "/app.conf", "as configured, wherever the root is");
    assert_eq!(change.before, Some(Digest::of(b"password = 1\n")));
    assert_eq!(change.after, Some(Digest::of(b"password = 22\n")));
    assert_eq!(host.poll_at(now()), []);
    assert_eq!(host.watch.counts().changes, 1);
}

#[test]
fn appearing_and_going_are_told() {
    let mut host = Host::new();
    assert_eq!(host.kinds(), []);
    host.write("one");
    assert_eq!(host.kinds(), [ChangeKind::FileCreated]);
    fs::remove_file(host.path("app.conf")).unwrap();
    assert_eq!(host.kinds(), [], "an editor may be about to write it again");
    assert_eq!(host.kinds(), [ChangeKind::FileRemoved]);
    assert_eq!(host.kinds(), []);
}

#[test]
fn an_editor_that_removes_and_writes_again_has_edited() {
    let mut host = Host::new();
    host.write("one");
    host.kinds();
    fs::remove_file(host.path("app.conf")).unwrap();
    assert_eq!(host.kinds(), []);
    host.write("two");
    assert_eq!(host.kinds(), [ChangeKind::FileEdited]);
    fs::write(host.path("new"), "three").unwrap();
    fs::rename(host.path("new"), host.path("app.conf")).unwrap();
    assert_eq!(host.kinds(), [ChangeKind::FileEdited]);
}

#[test]
fn touching_or_writing_the_same_is_no_change() {
    let mut host = Host::new();
    host.write("one");
    host.kinds();
    host.write("one");
    assert_eq!(host.kinds(), []);
}

#[test]
fn an_edit_within_one_step_of_the_kernels_clock_is_seen() {
    let mut host = Host::new();
    host.write("one");
    let metadata = fs::metadata(host.path("app.conf")).unwrap();
    let just_now = WallTime { unix_ns: metadata.ctime() * 1_000_000_000 + metadata.ctime_nsec() };
    host.poll_at(just_now);
    // As if the second edit had left the very same metadata.
    host.write("two");
    let after = Look::of(&fs::metadata(host.path("app.conf")).unwrap(), just_now);
    host.watch.files[0].seen = Some(after);
    assert_eq!(host.poll_at(just_now).len(), 1);
}

#[test]
fn an_edit_while_the_agent_was_down_is_told_once_and_under_one_id() {
    let mut host = Host::new();
    host.write("one");
    host.kinds();
    let state = host.watch.state();
    host.write("two");
    host.restart(&state);
    let first = host.poll_at(now());
    // The agent died before the new state was kept: the same change is told again, as the same.
    host.restart(&state);
    let again = host.poll_at(WallTime { unix_ns: now().unix_ns + 5 });
    assert_eq!((first.len(), again.len()), (1, 1));
    assert_eq!(first[0].id, again[0].id);
    let state = host.watch.state();
    host.restart(&state);
    assert_eq!(host.kinds(), []);
}

#[test]
fn a_state_that_means_nothing_is_ignored() {
    let mut host = Host::new();
    host.write("one");
    host.restart(b"\x09");
    assert_eq!(host.kinds(), []);
    host.write("two");
    assert_eq!(host.kinds(), [ChangeKind::FileEdited]);
}

#[test]
fn links_are_followed_and_loops_are_counted() {
    let mut host = Host::new();
    fs::write(host.path("real"), "one").unwrap();
    std::os::unix::fs::symlink(host.path("real"), host.path("app.conf")).unwrap();
    host.kinds();
    fs::write(host.path("real"), "two").unwrap();
    assert_eq!(host.kinds(), [ChangeKind::FileEdited]);
    fs::remove_file(host.path("app.conf")).unwrap();
    std::os::unix::fs::symlink(host.path("app.conf"), host.path("app.conf")).unwrap();
    assert_eq!(host.kinds(), []);
    assert_eq!(host.kinds(), []);
    assert_eq!(host.watch.counts().unreadable, 2);
}

#[test]
fn what_is_too_large_or_no_file_is_counted_and_not_read() {
    let mut host = Host::new();
    fs::File::create(host.path("app.conf")).unwrap().set_len(FILE_BYTES_MAX + 1).unwrap();
    assert_eq!(host.kinds(), []);
    fs::remove_file(host.path("app.conf")).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, host.path("app.conf"), rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    assert_eq!(host.kinds(), []);
    assert_eq!(host.watch.counts(), WatchCounts { unfit: 2, ..WatchCounts::default() });
}

#[test]
fn what_cannot_be_compared_is_named_with_the_reason_until_it_can() {
    let mut host = Host::new();
    host.write("one");
    host.kinds();
    assert_eq!(host.watch.take_unseen(), Some(vec![]));
    fs::remove_file(host.path("app.conf")).unwrap();
    fs::create_dir(host.path("app.conf")).unwrap();
    host.kinds();
    host.kinds();
    let unseen = host.watch.take_unseen().unwrap();
    assert!(
        matches!(&unseen[..], [(path, why)] if path == "/app.conf" && why.ends_with("or no regular file")),
        "{unseen:?}"
    );
    host.kinds();
    assert_eq!(host.watch.take_unseen(), None, "it is as it was");
    fs::remove_dir(host.path("app.conf")).unwrap();
    host.write("one");
    assert_eq!(host.kinds(), []);
    assert_eq!(host.watch.take_unseen(), Some(vec![]));
}
