//! What holds for every inventory, and each on a made-up host.

use super::base::Base;
use super::files::FILES_MAX;
use super::keeper::CHANGES_MAX;
use super::*;
use crate::config::Config;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use vedette_protocol::ids::{Digest, HostId};
use vedette_protocol::v1::Change;

const HOST: HostId = HostId([7; 16]);
const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// A host and one inventory of it.
struct Host {
    folder: tempfile::TempDir,
    spec: &'static InventorySpec,
    store: Store,
    keeper: Keeper,
}

impl Host {
    fn new(name: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let spec = ALL.iter().find(|spec| spec.name == name).unwrap();
        let store = Store::open(&folder.path().join("data")).unwrap();
        let keeper = Keeper::open(spec, &Root::under(folder.path()), &store);
        Self { folder, spec, store, keeper }
    }

    fn path(&self, path: &str) -> PathBuf {
        let path = self.folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    }

    fn write(&self, path: &str, text: &str) {
        fs::write(self.path(path), text).unwrap();
    }

    fn look(&mut self) -> Vec<Change> {
        let (mut changes, now) = (Vec::new(), crate::clock::wall_now());
        self.keeper.look(now, HOST, &mut |change| changes.push(change));
        changes
    }

    /// Kinds and targets.
    fn told(&mut self) -> Vec<(ChangeKind, String)> {
        self.look().into_iter().map(|change| (change.kind, change.target)).collect()
    }

    fn restart(&mut self) {
        self.store.store(&self.keeper).unwrap();
        self.keeper = Keeper::open(self.spec, &Root::under(self.folder.path()), &self.store);
    }
}

fn told(kind: ChangeKind, target: &str) -> Vec<(ChangeKind, String)> {
    vec![(kind, target.to_owned())]
}

#[test]
fn inventories_have_distinct_names_and_say_what_they_tell() {
    let names: BTreeSet<_> = ALL.iter().map(|spec| spec.name).collect();
    assert_eq!(names.len(), ALL.len());
    assert_eq!(Config::default().inventories.len(), ALL.len());
    for spec in ALL {
        assert!(spec.doc.ends_with('.') && !spec.doc.contains('\n'), "{}", spec.name);
        assert!(spec.interval_ms >= 1_000 && spec.interval_ms.is_multiple_of(1_000), "{}", spec.name);
    }
}

#[test]
fn a_host_without_any_of_it_is_told_once_and_compared_later() {
    for spec in ALL {
        let mut host = Host::new(spec.name);
        assert_eq!(host.told(), [], "{}", spec.name);
        let record = host.keeper.record();
        assert_eq!((record.looks, record.errors, record.items), (1, 1, 0), "{}", spec.name);
        assert!(record.last_error.as_ref().unwrap().ends_with("is not there"), "{record:?}");
    }
}

fn dpkg(packages: &[(&str, &str, &str)]) -> String {
    let paragraph = |(name, status, version): &(&str, &str, &str)| {
        format!("Package: {name}\nStatus: {status}\nVersion: {version}\nDescription: some\n Package: not this\n\n")
    };
    packages.iter().map(paragraph).collect()
}

#[test]
fn packages_are_told_by_name_and_version() {
    let mut host = Host::new("packages");
    let installed = "install ok installed";
    let write = |host: &Host, packages: &[_]| {
        // As dpkg does: a new file in the place of the old.
        host.write("var/lib/dpkg/status-new", &dpkg(packages));
        fs::rename(host.path("var/lib/dpkg/status-new"), host.path("var/lib/dpkg/status")).unwrap();
    };
    write(
        &host,
        &[("openssl", installed, "3.0.11-1"), ("vim", installed, "9"), ("old", "deinstall ok config-files", "1")],
    );
    assert_eq!(host.told(), [], "the first look is the base");
    assert_eq!(host.keeper.record().items, 2, "what was removed but for its configuration is not there");
    assert_eq!(host.told(), []);
    write(&host, &[("openssl", "install ok half-configured", "3.0.13-1"), ("vim", installed, "9")]);
    assert_eq!(host.told(), [], "dpkg is in the midst of it");
    write(&host, &[("openssl", installed, "3.0.13-1"), ("vim", installed, "9"), ("jq", installed, "1.6")]);
    let changes = host.look();
    assert_eq!(changes.len(), 2);
    assert_eq!((changes[0].kind, changes[0].target.as_str()), (ChangeKind::PackageInstalled, "jq 1.6"));
    assert_eq!((changes[1].kind, changes[1].target.as_str()), (ChangeKind::PackageUpgraded, "openssl 3.0.13-1"));
    assert_eq!(changes[1].before, Some(Digest::of(b"3.0.11-1")));
    host.restart();
    write(&host, &[("openssl", installed, "3.0.13-1"), ("jq", installed, "1.6")]);
    assert_eq!(host.told(), told(ChangeKind::PackageRemoved, "vim"), "while the agent was away");
}

#[test]
fn packages_of_two_architectures_are_two() {
    let mut host = Host::new("packages");
    let both = |version| {
        ["amd64", "i386"].map(|arch| {
            format!("Package: libc6\nStatus: install ok installed\nArchitecture: {arch}\nMulti-Arch: same\nVersion: {version}\n\n")
        })
    };
    host.write("var/lib/dpkg/status", &both("2.36").concat());
    host.told();
    host.write("var/lib/dpkg/status", &[both("2.36-9")[0].clone(), both("2.36")[1].clone()].concat());
    assert_eq!(host.told(), told(ChangeKind::PackageUpgraded, "libc6:amd64 2.36-9"));
}

#[test]
fn of_rpm_it_is_told_that_its_database_changed() {
    let mut host = Host::new("packages");
    host.write("var/lib/rpm/rpmdb.sqlite", "one");
    assert_eq!(host.told(), []);
    host.write("var/lib/rpm/rpmdb.sqlite", "other");
    let changes = host.look();
    assert_eq!((changes.len(), changes[0].kind), (1, ChangeKind::PackageUpgraded));
    assert_eq!((changes[0].before, changes[0].after), (None, None), "metadata mean nothing elsewhere");
}

#[test]
fn a_boot_and_another_kernel_are_two_changes() {
    let mut host = Host::new("kernel");
    let boot = |host: &Host, id: &str, release: &str| {
        host.write("proc/sys/kernel/random/boot_id", id);
        host.write("proc/sys/kernel/osrelease", release);
    };
    boot(&host, "6f3c0c8e-52d1-4b9b-9a52-0d1c2b3a4f5e\n", "6.1.0-18-amd64\n");
    host.told();
    host.restart();
    assert_eq!(host.told(), [], "the agent was restarted, the host was not");
    host.restart();
    boot(&host, "00000000-0000-4000-8000-000000000001\n", "6.1.0-18-amd64\n");
    assert_eq!(host.told(), told(ChangeKind::Booted, "kernel 6.1.0-18-amd64"));
    host.restart();
    boot(&host, "00000000-0000-4000-8000-000000000002\n", "6.1.0-20-amd64\n");
    let kinds: Vec<_> = host.told().into_iter().map(|(kind, _)| kind).collect();
    assert_eq!(kinds, [ChangeKind::Booted, ChangeKind::KernelChanged]);
}

#[test]
fn tables_of_cron_are_told_by_digest() {
    let mut host = Host::new("cron");
    host.write("etc/crontab", "# one\n");
    host.write("etc/cron.d/app", "0 5 * * * app\n");
    assert_eq!(host.told(), []);
    host.write("etc/cron.d/app", "0 6 * * * app\n");
    host.write("etc/cron.daily/backup", "#!/bin/sh\n");
    host.write("etc/cron.d/.placeholder", "");
    host.write("etc/cron.d/app.dpkg-new", "");
    fs::remove_file(host.path("etc/crontab")).unwrap();
    let expected = [
        (ChangeKind::FileCreated, "/etc/cron.daily/backup"),
        (ChangeKind::FileEdited, "/etc/cron.d/app"),
        (ChangeKind::FileRemoved, "/etc/crontab"),
    ];
    let mut changes = host.look();
    changes.sort_by_key(|change| format!("{:?}", change.kind));
    assert_eq!(changes.iter().map(|change| (change.kind, change.target.as_str())).collect::<Vec<_>>(), expected);
    assert_eq!(changes[1].after, Some(Digest::of(b"0 6 * * * app\n")));
    assert_eq!(host.told(), []);
}

#[test]
fn a_file_that_pushes_another_beyond_the_limit_does_not_remove_it() {
    let mut host = Host::new("cron");
    (0..FILES_MAX + 5).for_each(|n| host.write(&format!("etc/cron.d/job{n:04}"), "#\n"));
    assert_eq!((host.told(), host.keeper.record().left_out), (vec![], 5));
    host.write("etc/cron.d/added", "#\n");
    assert_eq!(host.told(), told(ChangeKind::FileCreated, "/etc/cron.d/added"));
    assert_eq!(host.keeper.record().left_out, 6);
    fs::remove_file(host.path("etc/cron.d/added")).unwrap();
    assert_eq!(host.told(), told(ChangeKind::FileRemoved, "/etc/cron.d/added"));
}

#[test]
fn what_cannot_be_read_for_a_while_has_not_gone() {
    let mut host = Host::new("cron");
    host.write("etc/cron.d/app", "0 5 * * * app\n");
    host.write("etc/crontab", "#\n");
    host.told();
    fs::rename(host.path("etc/cron.d"), host.path("etc/aside")).unwrap();
    symlink("cron.d", host.path("etc/cron.d")).unwrap();
    assert_eq!(host.told(), [], "a loop of links is no folder, and says nothing of its files");
    assert_eq!(host.keeper.record().unreadable, 1);
    fs::remove_file(host.path("etc/cron.d")).unwrap();
    fs::rename(host.path("etc/aside"), host.path("etc/cron.d")).unwrap();
    assert_eq!(host.told(), []);
    assert_eq!(host.keeper.record().unreadable, 0);
}

#[test]
fn a_setting_is_told_when_it_has_another_value() {
    let mut host = Host::new("sysctl");
    host.write("proc/sys/vm/swappiness", "60\n");
    host.write("etc/sysctl.d/90-app.conf", "vm.swappiness = 60\n");
    host.told();
    host.write("proc/sys/vm/swappiness", "1\n");
    host.write("proc/sys/net/netfilter/nf_conntrack_max", "65536\n");
    assert_eq!(host.told(), told(ChangeKind::SysctlChanged, "vm.swappiness"), "one that came with a module is none");
    host.write("proc/sys/vm/swappiness", "60\n");
    let back = host.look();
    host.write("proc/sys/vm/swappiness", "1\n");
    let again = host.look();
    assert_eq!((back.len(), again.len()), (1, 1));
    assert_ne!(back[0].id, again[0].id);
    host.write("etc/sysctl.d/90-app.conf", "vm.swappiness = 1\n");
    assert_eq!(host.told(), told(ChangeKind::FileEdited, "/etc/sysctl.d/90-app.conf"));
}

#[test]
fn the_program_of_a_service_is_told_when_it_was_replaced() {
    let mut host = Host::new("binaries");
    host.write("usr/sbin/app", "one");
    host.write("usr/bin/tool", "one");
    host.write("proc/10/cgroup", "0::/system.slice/app.service/worker\n");
    symlink("/usr/sbin/app", host.path("proc/10/exe")).unwrap();
    host.write("proc/11/cgroup", "0::/user.slice/user-0.slice/session-3.scope\n");
    symlink("/usr/bin/tool", host.path("proc/11/exe")).unwrap();
    host.write("proc/12/cgroup", &format!("0::/system.slice/docker-{ID}.scope\n"));
    symlink("/usr/bin/tool", host.path("proc/12/exe")).unwrap();
    assert_eq!(host.told(), []);
    assert_eq!(host.keeper.record().items, 1, "neither a person's nor a container's");
    host.write("usr/bin/tool", "two");
    host.write("usr/sbin/app.new", "two");
    fs::rename(host.path("usr/sbin/app.new"), host.path("usr/sbin/app")).unwrap();
    fs::remove_file(host.path("proc/10/exe")).unwrap();
    symlink("/usr/sbin/app (deleted)", host.path("proc/10/exe")).unwrap();
    assert_eq!(host.told(), told(ChangeKind::BinaryReplaced, "/usr/sbin/app"));
    assert_eq!(host.told(), []);
}

#[test]
fn a_program_whose_digest_was_made_of_other_marks_is_not_compared() {
    let mut host = Host::new("binaries");
    host.write("usr/sbin/app", "one");
    host.write("proc/10/cgroup", "0::/system.slice/app.service\n");
    symlink("/usr/sbin/app", host.path("proc/10/exe")).unwrap();
    assert_eq!(host.told(), []);
    host.restart();
    let path = host.folder.path().join("data/inventories/binaries.base");
    let mut base = Base::decode(&fs::read(&path).unwrap()).unwrap();
    base.items.values_mut().for_each(|known| *known = Known { state: 0, digest: Digest([1; 32]), ..*known });
    fs::write(&path, base.encode()).unwrap();
    host.keeper = Keeper::open(host.spec, &Root::under(host.folder.path()), &host.store);
    assert_eq!(host.told(), []);
    host.write("usr/sbin/app", "another");
    assert_eq!(host.told(), told(ChangeKind::BinaryReplaced, "/usr/sbin/app"));
}

#[test]
fn a_service_is_told_once_it_stays_and_when_it_runs_anew() {
    let mut host = Host::new("units");
    let run = |host: &Host, unit: &str, id: char| {
        let link = host.path(&format!("run/systemd/units/invocation:{unit}"));
        let _ = fs::remove_file(&link);
        symlink(String::from(id).repeat(32), link).unwrap();
    };
    run(&host, "app.service", 'a');
    run(&host, "session-3.scope", 'b');
    assert_eq!(host.told(), []);
    run(&host, "logrotate.service", 'c');
    assert_eq!(host.told(), [], "the base");
    assert_eq!(host.keeper.record().items, 1);
    fs::remove_file(host.path("run/systemd/units/invocation:logrotate.service")).unwrap();
    run(&host, "app.service", 'd');
    run(&host, "web.service", 'e');
    assert_eq!(host.told(), [], "it has to stay, and what ran for a moment was nothing");
    let expected = ["app.service", "web.service"].map(|unit| (ChangeKind::UnitStarted, unit.to_owned()));
    assert_eq!(host.told(), expected);
    fs::remove_file(host.path("run/systemd/units/invocation:app.service")).unwrap();
    assert_eq!(host.told(), told(ChangeKind::UnitStopped, "app.service"));
    assert_eq!(host.told(), []);
}

/// As a reboot: another boot, of which nothing is known yet.
fn reboot(host: &mut Host, nth: u8) {
    host.write("proc/sys/kernel/random/boot_id", &format!("00000000-0000-4000-8000-0000000000{nth:02}\n"));
    host.restart();
}

#[test]
fn what_a_boot_starts_and_ends_is_no_change_of_its_own() {
    let mut host = Host::new("units");
    let run = |host: &Host, unit: &str, id: char| {
        let link = host.path(&format!("run/systemd/units/invocation:{unit}"));
        let _ = fs::remove_file(&link);
        symlink(String::from(id).repeat(32), link).unwrap();
    };
    reboot(&mut host, 1);
    ["app.service", "late.service"].iter().for_each(|unit| run(&host, unit, 'a'));
    assert_eq!((host.told(), host.told()), (vec![], vec![]));
    fs::remove_dir_all(host.path("run/systemd/units")).unwrap();
    ["app.service", "new.service"].iter().for_each(|unit| run(&host, unit, 'b'));
    reboot(&mut host, 2);
    assert_eq!((host.told(), host.told()), (vec![], vec![]));
    run(&host, "late.service", 'b');
    assert_eq!((host.told(), host.told()), (vec![], told(ChangeKind::UnitStarted, "late.service")));
    run(&host, "app.service", 'c');
    host.restart();
    assert_eq!((host.told(), host.told()), (vec![], told(ChangeKind::UnitStarted, "app.service")), "the same boot");
}

#[test]
fn container_that_came_back_from_a_boot_with_another_image_is_told() {
    let mut host = Host::new("containers");
    host.write("sys/fs/cgroup/cgroup.controllers", "cpu\n");
    reboot(&mut host, 1);
    docker(&host, ID, "web:1");
    assert_eq!(host.told(), []);
    let other = ID.replace('0', "1");
    fs::remove_dir_all(host.path("sys/fs/cgroup/system.slice")).unwrap();
    docker(&host, &other, "web:2");
    reboot(&mut host, 2);
    assert_eq!(host.look().iter().map(|change| change.kind).collect::<Vec<_>>(), [ChangeKind::ImageChanged]);
}

fn docker(host: &Host, id: &str, image: &str) {
    host.write(&format!("sys/fs/cgroup/system.slice/docker-{id}.scope/cgroup.procs"), "1\n");
    let config = format!(r#"{{"Name":"/web","Image":"sha256:{id}","Config":{{"Image":"{image}"}}}}"#);
    host.write(&format!("var/lib/docker/containers/{id}/config.v2.json"), &config);
}

#[test]
fn a_container_is_told_by_name_and_image() {
    let mut host = Host::new("containers");
    host.write("sys/fs/cgroup/cgroup.controllers", "cpu\n");
    assert_eq!(host.told(), []);
    docker(&host, ID, "nginx:1.25");
    assert_eq!(host.told(), told(ChangeKind::ContainerStarted, "web nginx:1.25 (0123456789ab)"));
    let next = ID.replace('0', "f");
    fs::remove_dir_all(host.path(&format!("sys/fs/cgroup/system.slice/docker-{ID}.scope"))).unwrap();
    docker(&host, &next, "nginx:1.25");
    assert_eq!(
        host.told(),
        told(ChangeKind::ImageChanged, "web nginx:1.25 (f123456789ab)"),
        "a tag that was moved to another image"
    );
    fs::remove_dir_all(host.path("sys/fs/cgroup/system.slice")).unwrap();
    assert_eq!(host.told(), told(ChangeKind::ContainerStopped, "web"));
}

#[test]
fn containers_of_pods_are_known_and_their_sandboxes_are_none() {
    let mut host = Host::new("containers");
    host.write("sys/fs/cgroup/cgroup.controllers", "cpu\n");
    host.told();
    let place = "run/containerd/io.containerd.runtime.v2.task/k8s.io";
    let annotate = |host: &Host, id: &str, annotations: &str| {
        host.write(&format!("sys/fs/cgroup/kubepods.slice/cri-containerd-{id}.scope/cgroup.procs"), "1\n");
        host.write(&format!("{place}/{id}/config.json"), &format!(r#"{{"annotations":{{{annotations}}}}}"#));
    };
    annotate(&host, ID, r#""io.kubernetes.cri.container-type":"sandbox""#);
    let named = r#""io.kubernetes.cri.sandbox-name":"web-7d4","io.kubernetes.cri.container-name":"app","io.kubernetes.cri.image-name":"r/app:2""#;
    annotate(&host, &ID.replace('0', "e"), named);
    host.write(&format!("sys/fs/cgroup/other/{}/cgroup.procs", ID.replace('0', "d")), "1\n");
    let expected =
        [(ChangeKind::ContainerStarted, "d123456789ab"), (ChangeKind::ContainerStarted, "web-7d4/app r/app:2")];
    assert_eq!(host.told(), expected.map(|(kind, target)| (kind, target.to_owned())));
}

#[test]
fn more_changes_than_one_look_tells_are_counted() {
    let mut host = Host::new("packages");
    let list = |count: usize| -> String {
        (0..count).map(|n| dpkg(&[(&format!("p{n:04}"), "install ok installed", "1")])).collect()
    };
    host.write("var/lib/dpkg/status", &list(1));
    host.told();
    host.write("var/lib/dpkg/status", &list(CHANGES_MAX + 11));
    assert_eq!(host.told().len(), CHANGES_MAX);
    assert_eq!(host.keeper.record().folded, 10);
    assert_eq!(host.told(), []);
}

#[test]
fn a_damaged_base_is_as_none() {
    let mut host = Host::new("cron");
    host.write("etc/crontab", "one");
    host.told();
    host.restart();
    let base = host.folder.path().join("data/inventories/cron.base");
    fs::write(&base, "not a base").unwrap();
    host.keeper = Keeper::open(host.spec, &Root::under(host.folder.path()), &host.store);
    host.write("etc/crontab", "two");
    assert_eq!(host.told(), [], "the first look is the base");
}

#[test]
fn a_change_has_its_own_time_only_if_that_can_be() {
    let mut host = Host::new("cron");
    host.write("etc/crontab", "one");
    let (mut changes, far) = (Vec::new(), WallTime { unix_ns: 4_000_000_000_000_000_000 });
    host.keeper.look(far, HOST, &mut |_| ());
    host.write("etc/crontab", "two");
    host.keeper.look(far, HOST, &mut |change| changes.push(change));
    assert_eq!(changes[0].at, far, "the file says it changed before the last look, when it was seen unchanged");
}

proptest! {
    #[test]
    fn odd_files_of_others_are_no_panic(text in proptest::collection::vec(any::<u8>(), 0..400), lines in "(Package: [a-z\\n]{0,4}\n|Status: .{0,9}\n|Version:.{0,9}\n|\n){0,20}") {
        let mut host = Host::new("packages");
        fs::write(host.path("var/lib/dpkg/status"), [text.as_slice(), lines.as_bytes()].concat()).unwrap();
        host.told();
        let mut host = Host::new("containers");
        host.write(&format!("sys/fs/cgroup/cpuacct/docker/{ID}/cgroup.procs"), "1\n");
        host.told();
        fs::write(host.path(&format!("var/lib/docker/containers/{ID}/config.v2.json")), &text).unwrap();
        host.told();
    }
}

#[test]
fn this_host_can_be_looked_at() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(Path::new(folder.path())).unwrap();
    for spec in ALL {
        let mut keeper = Keeper::open(spec, &Root::system(), &store);
        keeper.look(crate::clock::wall_now(), HOST, &mut |change| panic!("the first look told {change:?}"));
    }
}
