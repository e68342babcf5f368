//! The agent as a user who may read little.

use super::super::*;
use std::collections::BTreeSet;

const NOBODY: u32 = 65_534;

/// Gives a folder and all in it to another user.
fn give(path: &Path, user: u32) {
    std::os::unix::fs::lchown(path, Some(user), Some(user)).expect("root may");
    if path.is_dir() {
        fs::read_dir(path).expect("folder").for_each(|entry| give(&entry.expect("entry").path(), user));
    }
}

fn named(status: &Value, list: &str, key: &str, name: &str) -> Option<Value> {
    status[list].as_array()?.iter().find(|one| one[key] == name).cloned()
}

#[test]
fn unprivileged_agent_works_quietly_and_says_what_it_cannot_see() {
    let bench = Bench::new();
    bench.enrol();
    let tables = bench.path("host/var/spool/cron/crontabs");
    fs::create_dir_all(&tables).expect("folder");
    fs::create_dir_all(bench.path("host/etc/cron.d")).expect("folder");
    fs::write(bench.path("host/etc/cron.d/app"), "0 5 * * * app\n").expect("table");
    fs::write(bench.path("host/etc/app.key"), "secret\n").expect("file");
    fs::write(bench.path("host/var/app.log"), "a line\n").expect("log");
    fs::write(bench.path("host/var/open.log"), "").expect("log");
    let closed = [tables.clone(), bench.path("host/etc/app.key"), bench.path("host/var/app.log")];
    let open = |mode| {
        for path in &closed {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("permissions");
        }
    };
    open(0o000);
    bench.write_config(
        "[[logs]]\npath = \"/var/app.log\"\nservice = \"app\"\n[[logs]]\npath = \"/var/open.log\"\nservice = \"app\"\n\
         [[watch]]\npath = \"/etc/app.key\"\nservice = \"app\"\n",
    );
    let mut command = bench.agent("run");
    command.env("HOST_ROOT", bench.path("host")).stderr(Stdio::piped());
    // Who is not root already is as unprivileged as it takes.
    if rustix::process::geteuid().is_root() {
        give(bench.folder.path(), NOBODY);
        closed.iter().for_each(|path| give(path, 0));
        command.uid(NOBODY).gid(NOBODY);
    }
    let mut agent = Running { child: command.spawn().expect("the binary runs") };
    let inventory = |status: &Value, name: &str| named(status, "inventories", "name", name);
    bench.status_with(|status| status["ready"] == true);
    fs::write(bench.path("host/var/open.log"), "a line\nanother\n").expect("log");
    let status = bench.status_with(|status| {
        let has_looked = |name| inventory(status, name).is_some_and(|one| one["looks"].as_u64() > Some(0));
        has_looked("sysctl") && has_looked("cron") && status["ticks"]["run"].as_u64() > Some(10)
    });

    for source in ["cpu", "load", "memory", "process"] {
        let one = named(&status, "sources", "name", source).expect("it is on");
        assert_eq!(one["errors"], 0, "{one}");
    }
    let log = |path: &str| named(&status, "logs", "path", path).expect("it is followed");
    assert_eq!((&log("/var/open.log")["lines"], &log("/var/app.log")["lines"]), (&2.into(), &0.into()));

    let no_permission = |path: &Path| format!("no permission to read {}", path.display());
    let cron = inventory(&status, "cron").expect("it is there");
    assert_eq!((cron["last_error"].as_str(), &cron["items"]), (Some(&*no_permission(&tables)), &1.into()));
    let packages = inventory(&status, "packages").expect("it is there");
    assert!(packages["last_error"].as_str().is_some_and(|why| why.ends_with("is not there")), "{packages}");
    let watched = named(&status, "watch", "path", "/etc/app.key").expect("it is watched");
    assert_eq!(watched["last_error"].as_str(), Some(&*no_permission(&closed[1])), "{watched}");
    let unread = log("/var/app.log");
    assert!(unread["last_error"].as_str().is_some_and(|why| why.contains("ermission")), "{unread}");

    let (_, said) = agent.stop();
    for path in &closed {
        let name = path.file_name().and_then(|name| name.to_str()).expect("plain names");
        assert!(said.lines().any(|line| line.contains(name)), "{name}:\n{said}");
    }
    // Each line begins with its time.
    let warnings = said.lines().filter(|line| line.contains(" WARN ")).filter_map(|line| line.split_once(' '));
    let mut once = BTreeSet::new();
    let again: Vec<_> = warnings.filter(|(_, warning)| !once.insert(*warning)).collect();
    assert!(again.is_empty(), "said again: {again:?}");
    assert!(once.len() < 10, "quiet is something else:\n{said}");
    open(0o700);
}
