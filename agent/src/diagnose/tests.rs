use super::*;
use crate::identity::tests::certified;
use crate::status::{SpoolDiskStatus, SpoolStatus};
use std::fs;

/// A host with one readable source and a configuration with `more`; nobody is a collector there.
async fn diagnosed(more: &str, prepare: impl FnOnce(&Path)) -> (Vec<Step>, bool) {
    let folder = tempfile::tempdir().expect("temporary folder");
    let data = folder.path().join("data");
    fs::create_dir_all(folder.path().join("proc")).expect("root");
    fs::write(folder.path().join("proc/loadavg"), "0.1 0.2 0.3 1/2 3\n").expect("loadavg");
    let (detectors, socket) = (folder.path().join("detectors"), folder.path().join("agent.sock"));
    let text = format!(
        "[agent]\ndata-dir = {data:?}\nsocket = {socket:?}\n[collector]\naddress = \"127.0.0.1:9\"\n\
         [detectors]\ndirectory = {detectors:?}\n{more}"
    );
    let file = folder.path().join("agent.toml");
    fs::write(&file, text).expect("configuration");
    certified(200).store(&data).expect("identity");
    prepare(folder.path());
    run(&file, &Root::under(folder.path())).await
}

fn of<'a>(steps: &'a [Step], name: &str) -> &'a Step {
    steps.iter().find(|step| step.name == name).unwrap_or_else(|| panic!("no step {name}: {steps:#?}"))
}

#[tokio::test]
async fn each_step_says_what_it_found_and_what_to_do() {
    let (steps, is_config) = diagnosed("", |_| {}).await;
    assert!(!is_config);
    for (name, outcome, remedy) in [
        ("configuration", Outcome::Ok, ""),
        ("identity", Outcome::Ok, ""),
        ("name", Outcome::Ok, ""),
        ("collector", Outcome::Fail, "UDP"),
        ("sources", Outcome::Ok, ""),
        ("detectors", Outcome::Warn, "detectors.directory"),
        ("data directory", Outcome::Ok, ""),
        ("disk space", Outcome::Ok, ""),
        ("spool", Outcome::Ok, ""),
        ("agent", Outcome::Warn, "systemctl"),
    ] {
        let step = of(&steps, name);
        assert_eq!(step.outcome, outcome, "{step:?}");
        assert!(step.remedy.contains(remedy), "{step:?}");
    }
    assert!(of(&steps, "sources").found.starts_with("1 read, 2 values; not on this host: cpu"), "{steps:#?}");
    let screen = render(&steps);
    assert!(screen.contains("\nFAIL  collector ") && screen.contains("do: "), "{screen}");
}

#[tokio::test]
async fn bad_configuration_is_told_with_its_remedies_and_nothing_else_is_looked_at() {
    let (steps, is_config) = diagnosed("[limits]\nseries-max = 0\nserie-max = 1\n", |_| {}).await;
    assert!(is_config && steps.len() == 3, "{steps:#?}");
    assert!(steps[0].found.contains("series-max") && steps[0].remedy.contains("choose between"), "{steps:#?}");
    assert_eq!(steps[2].outcome, Outcome::Skip);
}

#[tokio::test]
async fn host_without_identity_is_told_how_to_enrol_and_the_collector_is_not_asked() {
    let (steps, _) = diagnosed("", |folder| fs::remove_dir_all(folder.join("data/identity")).expect("remove")).await;
    assert_eq!(of(&steps, "identity").outcome, Outcome::Fail);
    assert!(of(&steps, "identity").remedy.contains("vedette-agent enroll --config"));
    assert_eq!(of(&steps, "certificate").outcome, Outcome::Skip);
    assert_eq!(of(&steps, "collector").outcome, Outcome::Skip);
}

#[tokio::test]
async fn files_and_refused_detectors_are_named() {
    let more = "[[logs]]\npath = \"/var/there.log\"\n[[watch]]\npath = \"/etc/absent.conf\"\n";
    let prepare = |folder: &Path| {
        fs::create_dir_all(folder.join("var")).expect("var");
        fs::write(folder.join("var/there.log"), "").expect("log");
        fs::create_dir(folder.join("detectors")).expect("detectors");
        fs::write(folder.join("detectors/odd.json"), "{}").expect("manifest");
    };
    let (steps, _) = diagnosed(more, prepare).await;
    let files: Vec<_> = steps.iter().filter(|step| step.name == "files").collect();
    assert!(files[0].found.starts_with("1 log files"), "{files:#?}");
    assert_eq!((files[1].outcome, files[1].found.as_str()), (Outcome::Warn, "/etc/absent.conf is not there"));
    let detectors = of(&steps, "detectors");
    assert!(detectors.outcome == Outcome::Fail && detectors.found.contains("`odd`"), "{detectors:?}");
}

#[tokio::test]
async fn spool_is_told_with_its_directory_and_what_keeps_it_off_the_disk() {
    let (steps, _) = diagnosed("", |_| {}).await;
    assert!(of(&steps, "spool").found.contains("data/spool: made at the first run, at most 256 MiB, "), "{steps:#?}");
    let (steps, _) = diagnosed("", |folder| {
        fs::create_dir(folder.join("data/spool")).expect("spool");
        fs::write(folder.join("data/spool/segment"), [0; 2049]).expect("segment");
    })
    .await;
    assert!(of(&steps, "spool").found.contains("data/spool: 3 KiB of at most 256 MiB, "), "{steps:#?}");
    let link = |folder: &Path| std::os::unix::fs::symlink("/tmp", folder.join("data/spool")).expect("link");
    let (steps, _) = diagnosed("", link).await;
    let spool = of(&steps, "spool");
    assert!(spool.outcome == Outcome::Warn && spool.found.contains("not a directory"), "{spool:?}");
}

#[test]
fn spool_without_room_for_its_bound_or_without_its_disk_is_a_warning() {
    let room = |held_mib: u64, free_mib: u64| {
        let room = spool::Room { held_bytes: Some(held_mib << 20), free_bytes: free_mib << 20 };
        room.step(Path::new("/spool"), 256 << 20).outcome
    };
    assert_eq!(room(0, 255), Outcome::Warn);
    assert_eq!(room(1, 255), Outcome::Ok, "what waits already has its room");
    assert_eq!(room(300, 0), Outcome::Ok);
    for (state, remedy) in [("failing", "make room"), ("absent", "restart")] {
        let disk = SpoolDiskStatus { state: state.to_owned(), reason: "odd".to_owned(), ..Default::default() };
        let status = Status { spool: SpoolStatus { disk, ..Default::default() }, ..Default::default() };
        let step = spool::spool(&Config::default(), Some(&status));
        assert!(step.outcome == Outcome::Warn && step.found.contains("odd"), "{step:?}");
        assert!(step.remedy.contains(remedy), "{step:?}");
    }
}
