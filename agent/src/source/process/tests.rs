use super::*;
use crate::source::tests::Readings;
use std::path::Path;

/// A host with two CPUs of which `host_ticks` have passed; processes by id, name, start, ticks and pages.
fn write_host(directory: &Path, host_ticks: u64, processes: &[(u32, &str, u64, u64, u64)]) {
    let proc = directory.join("proc");
    let _ = std::fs::remove_dir_all(&proc);
    std::fs::create_dir_all(&proc).unwrap();
    std::fs::write(proc.join("stat"), format!("cpu {host_ticks} 0 0 0 0 0 0 0 0 0\n")).unwrap();
    for (pid, name, start, ticks, pages) in processes {
        std::fs::create_dir_all(proc.join(pid.to_string())).unwrap();
        let line = format!("{pid} ({name}) S 1 1 1 0 -1 0 0 0 0 0 {ticks} 0 0 0 20 0 2 0 {start} 0 {pages} 0\n");
        std::fs::write(proc.join(format!("{pid}/stat")), line).unwrap();
    }
}

fn utilization(readings: &Readings, name: &str) -> f64 {
    readings.value(&format!("process.cpu.utilization{{process.executable.name={name}}}"))
}

fn read(process: &mut Process) -> Readings {
    // The directory was made anew, which does not happen to a real /proc.
    process.directory = None;
    process.host = KeptFile::new(process.path.join("stat"));
    let mut readings = Readings::default();
    process.read(&mut readings).unwrap();
    readings
}

#[test]
fn processes_of_a_name_add_up() {
    let directory = tempfile::tempdir().unwrap();
    let mut process = Process::new(&Root::under(directory.path()));
    write_host(directory.path(), 1_000, &[(10, "app", 5, 100, 7), (11, "app", 6, 50, 8)]);
    let first = read(&mut process);
    assert!(
        first.get("process.cpu.utilization{process.executable.name=app}").is_none(),
        "there is nothing to compare with"
    );
    let page = rustix::param::page_size() as f64;
    assert_eq!(first.value("process.memory.usage{process.executable.name=app}"), 15.0 * page);
    write_host(directory.path(), 1_200, &[(10, "app", 5, 130, 7), (11, "app", 6, 60, 8)]);
    assert_eq!(utilization(&read(&mut process), "app"), 0.2);
}

#[test]
fn a_process_id_that_was_used_again_does_not_inherit() {
    let directory = tempfile::tempdir().unwrap();
    let mut process = Process::new(&Root::under(directory.path()));
    write_host(directory.path(), 1_000, &[(1, "init", 1, 10, 1), (10, "old", 5, 400, 7)]);
    read(&mut process);
    write_host(directory.path(), 1_100, &[(1, "init", 1, 10, 1), (10, "new", 999, 50, 7)]);
    let readings = read(&mut process);
    assert_eq!(utilization(&readings, "new"), 0.5);
    assert_eq!(utilization(&readings, "old"), 0.0);
}

#[test]
fn a_process_that_could_not_be_read_for_a_while_has_not_used_its_whole_life_since() {
    let directory = tempfile::tempdir().unwrap();
    let mut process = Process::new(&Root::under(directory.path()));
    write_host(directory.path(), 1_000, &[(1, "init", 1, 10, 1), (10, "app", 5, 900, 7), (11, "late", 50, 0, 7)]);
    read(&mut process);
    write_host(directory.path(), 1_100, &[(1, "init", 1, 10, 1), (11, "late", 50, 0, 7)]);
    read(&mut process);
    write_host(directory.path(), 1_200, &[(1, "init", 1, 10, 1), (10, "app", 5, 910, 7), (11, "late", 50, 0, 7)]);
    assert_eq!(utilization(&read(&mut process), "app"), 0.0);
}

#[test]
fn states_are_counted() {
    let directory = tempfile::tempdir().unwrap();
    let mut process = Process::new(&Root::under(directory.path()));
    write_host(directory.path(), 1_000, &[(1, "init", 1, 10, 1), (2, "app", 5, 400, 7)]);
    let readings = read(&mut process);
    assert_eq!(readings.value("system.process.count{process.state=sleeping}"), 2.0);
    assert_eq!(readings.value("system.process.count{process.state=defunct}"), 0.0);
}

#[test]
fn this_process_is_found_on_this_host() {
    let mut process = Process::new(&Root::system());
    process.read(&mut Readings::default()).unwrap();
    assert!(process.now.iter().any(|seen| seen.pid == std::process::id()));
}
