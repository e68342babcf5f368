use super::*;
use crate::source::tests::Readings;
use std::path::Path;

const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn write(directory: &Path, path: &str, text: &str) {
    let path = directory.join("sys/fs/cgroup").join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

fn read(directory: &Path) -> Readings {
    let mut readings = Readings::default();
    Cgroup::new(&Root::under(directory)).read(&mut readings).unwrap();
    readings
}

#[test]
fn version_2_services_and_containers_are_told_apart() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    write(root, "cgroup.controllers", "cpu memory\n");
    write(root, "system.slice/db.service/cpu.stat", "usage_usec 2500000\nnr_throttled 2\nthrottled_usec 500000\n");
    write(root, "system.slice/db.service/memory.current", "8192\n");
    write(root, "system.slice/db.service/worker/memory.current", "4096\n");
    let pod = format!("kubepods.slice/pod1.slice/cri-containerd-{ID}.scope");
    write(root, &format!("{pod}/cpu.stat"), "usage_usec 1000000\nthrottled_usec 0\n");
    let readings = read(root);
    let service = "systemd.unit.name=db.service";
    assert_eq!(readings.value(&format!("system.linux.cgroup.cpu.time{{{service}}}")), 2.5);
    assert_eq!(readings.value(&format!("system.linux.cgroup.memory.usage{{{service}}}")), 8_192.0);
    assert_eq!(readings.value(&format!("system.linux.cgroup.cpu.throttled_time{{{service}}}")), 0.5);
    assert_eq!(readings.value("container.cpu.time{container.id=0123456789ab,container.runtime.name=containerd}"), 1.0);
    assert_eq!(readings.len(), 4, "never throttled, inside a service, or without controller: no series");
}

#[test]
fn version_1_is_read_from_its_hierarchies() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    write(root, "memory/docker/memory.usage_in_bytes", "4096\n");
    write(root, "cpu,cpuacct/docker/cpuacct.usage", "3000000000\n");
    write(root, "cpu,cpuacct/docker/cpu.stat", "nr_periods 5\nthrottled_time 1500000000\n");
    let readings = read(root);
    assert_eq!(readings.value("system.linux.cgroup.cpu.time{linux.cgroup.path=docker}"), 3.0);
    assert_eq!(readings.value("system.linux.cgroup.memory.usage{linux.cgroup.path=docker}"), 4_096.0);
    assert_eq!(readings.value("system.linux.cgroup.cpu.throttled_time{linux.cgroup.path=docker}"), 1.5);
}

#[test]
fn a_limit_is_compared_with_what_cannot_be_dropped() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    write(root, "cgroup.controllers", "memory\n");
    for (group, limit) in [("tight", "1000\n"), ("free", "max\n")] {
        write(root, &format!("{group}/memory.current"), "900\n");
        write(root, &format!("{group}/memory.max"), limit);
        write(root, &format!("{group}/memory.stat"), "anon 300\ninactive_file 400\nactive_file 200\n");
        write(root, &format!("{group}/memory.events"), "low 0\nmax 7\noom 1\noom_kill 2\n");
    }
    let readings = read(root);
    assert_eq!(readings.value("system.linux.cgroup.memory.utilization{linux.cgroup.path=tight}"), 0.3);
    assert_eq!(readings.value("system.linux.cgroup.memory.oom_kills{linux.cgroup.path=tight}"), 2.0);
    assert!(readings.get("system.linux.cgroup.memory.utilization{linux.cgroup.path=free}").is_none());
}

#[test]
fn a_hybrid_host_has_its_traffic_threads_and_pressure_from_three_places() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    let unit = "system.slice/db.service";
    write(root, &format!("memory/{unit}/memory.usage_in_bytes"), "4096\n");
    write(root, &format!("memory/{unit}/memory.limit_in_bytes"), "9223372036854771712\n");
    write(root, &format!("blkio/{unit}/blkio.throttle.io_service_bytes"), "8:0 Read 512\n8:0 Write 0\nTotal 512\n");
    write(root, &format!("pids/{unit}/pids.current"), "9\n");
    write(root, &format!("unified/{unit}/io.pressure"), "some avg10=0.00 avg60=0.00 avg300=0.00 total=20000\n");
    write(root, &format!("unified/{unit}/cpu.pressure"), "some avg10=0.00 avg60=0.00 avg300=0.00 total=9999\n");
    let readings = read(root);
    let value = |metric: &str, more: &str| readings.get(&format!("{metric}{{{more}systemd.unit.name=db.service}}"));
    assert_eq!(value("system.linux.cgroup.disk.io", "disk.io.direction=read,"), Some(512.0));
    assert_eq!(value("system.linux.cgroup.thread.count", ""), Some(9.0));
    assert_eq!(value("system.linux.cgroup.pressure.stalled", "linux.pressure.resource=io,"), Some(0.02));
    assert_eq!(value("system.linux.cgroup.pressure.stalled", "linux.pressure.resource=cpu,"), None, "it hardly waited");
    assert_eq!(value("system.linux.cgroup.memory.utilization", ""), None, "there is no limit");
}

#[test]
fn a_host_without_groups_says_absent() {
    let directory = tempfile::tempdir().unwrap();
    let result = Cgroup::new(&Root::under(directory.path())).read(&mut Readings::default());
    assert!(matches!(result, Err(SourceError::Absent(_))));
}

#[test]
fn groups_beyond_the_limit_are_counted_and_the_first_stay() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path();
    write(root, "cgroup.controllers", "memory\n");
    (0..GROUPS_MAX).for_each(|n| write(root, &format!("g{n}/memory.current"), "4096\n"));
    let mut cgroup = Cgroup::new(&Root::under(root));
    cgroup.read(&mut Readings::default()).unwrap();
    write(root, "late/memory.current", "4096\n");
    let mut readings = Readings::default();
    cgroup.read(&mut readings).unwrap();
    assert_eq!(readings.dropped, [(DropReason::Cardinality, 1)]);
    assert_eq!(readings.len(), GROUPS_MAX);
    assert!(readings.get("system.linux.cgroup.memory.usage{linux.cgroup.path=late}").is_none());
    std::fs::remove_dir_all(root.join("sys/fs/cgroup/g0")).unwrap();
    cgroup.read(&mut Readings::default()).unwrap();
    let mut readings = Readings::default();
    cgroup.read(&mut readings).unwrap();
    assert!(readings.get("system.linux.cgroup.memory.usage{linux.cgroup.path=late}").is_some());
}
