//! The systemd journal, from files of journald to the agent's books.

use crate::{Bench, Running};
use std::fs;
use std::io::Read;
use std::process::Stdio;

#[test]
fn journal_of_the_host_is_read_service_by_service() {
    let bench = Bench::new();
    bench.enrol();
    bench.write_config("");
    let (root, machine) = (bench.path("root"), "f".repeat(32));
    let folder = root.join("var/log/journal").join(&machine);
    fs::create_dir_all(&folder).expect("folder");
    fs::create_dir(root.join("etc")).expect("folder");
    fs::write(root.join("etc/machine-id"), machine).expect("file");
    let packed = include_bytes!("../fixtures/journal/compact.journal.zst");
    let mut journal = Vec::new();
    let mut reader = ruzstd::decoding::StreamingDecoder::new(&packed[..]).expect("a frame");
    reader.read_to_end(&mut journal).expect("all of it");
    fs::write(folder.join("system.journal"), journal).expect("file");
    let start = || {
        let mut command = bench.agent("run");
        Running { child: command.env("HOST_ROOT", &root).stderr(Stdio::piped()).spawn().expect("the binary runs") }
    };
    let mut agent = start();
    let status = bench.status_with(|status| status["journald"]["lines"] == 45);
    let lines = |service: &str| {
        let mut logs = status["logs"].as_array().into_iter().flatten();
        logs.find(|log| log["path"] == service).and_then(|log| log["lines"].as_u64())
    };
    assert_eq!((lines("journald/app"), lines("journald/ssh"), lines("journald/none")), (Some(41), Some(1), None));
    assert_eq!(status["ledger"]["lines"], 45);
    assert_eq!(agent.stop().0, Some(0));
    let mut agent = start();
    let status = bench.status_with(|status| status["ticks"]["run"].as_u64() >= Some(2));
    assert_eq!(
        (&status["journald"]["lines"], &status["ledger"]["lines"]),
        (&0.into(), &0.into()),
        "read on from there"
    );
    agent.stop();
}
