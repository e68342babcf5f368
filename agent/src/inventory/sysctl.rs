//! Settings of the kernel that people change to good or ill effect, and the files that set them at boot.

use super::files::{self, FileSet};
use super::{Inventory, InventorySpec, Item, Items, Known, Looked};
use crate::source::{Root, SourceError};
use std::fs::File;
use std::io::Read;
use std::path::PathBuf;
use vedette_protocol::ids::Digest;
use vedette_protocol::time::WallTime;
use vedette_protocol::v1::ChangeKind;

pub(super) const SPEC: InventorySpec = InventorySpec {
    name: "sysctl",
    doc: "Chosen settings of the kernel that have another value, and edits of the files that set them (digests).",
    interval_ms: 30_000,
    kind,
    open: |root| Box::new(Sysctl::new(root)),
};

/// Below `/proc/sys`. None of them changes by itself on a healthy host.
const SETTINGS: &[&str] = &[
    "fs.aio-max-nr",
    "fs.file-max",
    "fs.inotify.max_user_instances",
    "fs.inotify.max_user_watches",
    "fs.nr_open",
    "kernel.core_pattern",
    "kernel.numa_balancing",
    "kernel.panic",
    "kernel.panic_on_oops",
    "kernel.pid_max",
    "kernel.randomize_va_space",
    "kernel.sched_rt_runtime_us",
    "kernel.sysrq",
    "kernel.threads-max",
    "net.core.default_qdisc",
    "net.core.netdev_max_backlog",
    "net.core.rmem_max",
    "net.core.somaxconn",
    "net.core.wmem_max",
    "net.ipv4.ip_forward",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.neigh.default.gc_thresh3",
    "net.ipv4.tcp_congestion_control",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_max_syn_backlog",
    "net.ipv4.tcp_max_tw_buckets",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.tcp_tw_reuse",
    "net.ipv4.tcp_wmem",
    "net.netfilter.nf_conntrack_max",
    "vm.dirty_background_bytes",
    "vm.dirty_background_ratio",
    "vm.dirty_bytes",
    "vm.dirty_ratio",
    "vm.max_map_count",
    "vm.nr_hugepages",
    "vm.oom_kill_allocating_task",
    "vm.overcommit_memory",
    "vm.overcommit_ratio",
    "vm.panic_on_oom",
    "vm.swappiness",
    "vm.vfs_cache_pressure",
    "vm.zone_reclaim_mode",
];

const FILES: &[&str] = &["/etc/sysctl.conf"];
const FOLDERS: &[&str] = &["/etc/sysctl.d", "/run/sysctl.d", "/usr/lib/sysctl.d"];

/// States of items.
const IS_FILE: u8 = 0;
const IS_SETTING: u8 = 1;
/// Longer than any value of those.
const VALUE_BYTES: usize = 512;

struct Sysctl {
    folder: PathBuf,
    settings: Vec<(&'static str, PathBuf)>,
    files: FileSet,
}

impl Sysctl {
    fn new(root: &Root) -> Self {
        let path = |name: &&'static str| (*name, root.proc("sys").join(name.replace('.', "/")));
        let settings = SETTINGS.iter().map(path).collect();
        Self { folder: root.proc("sys"), settings, files: FileSet::new(root, FILES, FOLDERS) }
    }
}

impl Inventory for Sysctl {
    fn look(&mut self, now: WallTime, items: &mut Items) -> Result<Looked, SourceError> {
        let places = self.files.look(now, items);
        let mut found = places;
        for (name, path) in &self.settings {
            match value(path) {
                Ok(digest) => {
                    items.add(name, Item { state: IS_SETTING, is_content: true, ..Item::of(digest) });
                    found += 1;
                }
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => items.unreadable(path, name, &error),
            }
        }
        if found == 0 { Err(SourceError::Absent(self.folder.clone())) } else { Ok(Looked::Whole) }
    }
}

fn value(path: &PathBuf) -> std::io::Result<Digest> {
    let mut value = [0; VALUE_BYTES];
    let length = File::open(path)?.read(&mut value)?;
    Ok(Digest::of(value[..length].trim_ascii_end()))
}

/// A setting comes and goes with a module of the kernel; only another value is somebody's doing.
fn kind(before: Option<&Known>, after: Option<&Known>) -> Option<ChangeKind> {
    match (before, after) {
        (Some(Known { state: IS_SETTING, .. }), Some(_)) => Some(ChangeKind::SysctlChanged),
        (Some(Known { state: IS_FILE, .. }), _) | (_, Some(Known { state: IS_FILE, .. })) => files::kind(before, after),
        _ => None,
    }
}
