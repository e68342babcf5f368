//! The agent's Debian package: built twice, installed into a scratch root, upgraded, removed, purged.

mod scratch;

use crate::workspace::root;
use scratch::ScratchRoot;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

const IDENTITY: &str = "var/lib/vedette/identity/identity.json";

/// What goes into a package: a binary and a folder of detectors.
struct Inputs {
    folder: tempfile::TempDir,
    binary: PathBuf,
    /// The binary was built from this checkout.
    real: bool,
}

impl Inputs {
    /// A placeholder that says so instead of an agent. The detectors are files of the right names: what they hold is not
    /// the package's business.
    fn placeholder() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let detectors = folder.path().join("detectors");
        fs::create_dir(&detectors).expect("a folder");
        for (ending, content) in
            [("wasm", "module"), ("cwasm", "code"), ("json", "{}"), ("sig", SIGNATURE), ("txt", "no")]
        {
            fs::write(detectors.join(format!("level.{ending}")), content).expect("a file");
        }
        let binary = folder.path().join("placeholder-agent");
        fs::write(&binary, "#!/bin/sh\necho 'placeholder of a package test'\n").expect("a file");
        fs::set_permissions(&binary, fs::Permissions::from_mode(0o755)).expect("its mode");
        Self { folder, binary, real: false }
    }

    /// The built agent where `VEDETTE_BIN_DIR` names a folder of binaries, else the placeholder.
    fn built() -> Self {
        let built = std::env::var_os("VEDETTE_BIN_DIR").map(|folder| Path::new(&folder).join("vedette-agent"));
        match built.filter(|binary| binary.exists()) {
            Some(binary) => Self { binary, real: true, ..Self::placeholder() },
            None => Self::placeholder(),
        }
    }

    /// Builds the package into a folder of its own and gives its path.
    fn build(&self, version: &str, out: &str) -> PathBuf {
        self.build_with(version, out, "none")
    }

    fn build_with(&self, version: &str, out: &str, compression: &str) -> PathBuf {
        let mut script = Command::new(root().join("packaging/build-deb.sh"));
        script.arg("--binary").arg(&self.binary).arg("--detectors").arg(self.folder.path().join("detectors"));
        script
            .args(["--version", version, "--compression", compression])
            .arg("--out")
            .arg(self.folder.path().join(out));
        let output = script.env("SOURCE_DATE_EPOCH", "1767571200").output().expect("the script starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        PathBuf::from(String::from_utf8(output.stdout).expect("a path").trim())
    }
}

const SIGNATURE: &str = "ed25519:00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff 00\n";

#[test]
fn the_same_inputs_give_the_same_package() {
    let inputs = Inputs::placeholder();
    let (first, second) = (inputs.build_with("1.0.0", "first", "xz"), inputs.build_with("1.0.0", "second", "xz"));
    assert_eq!(first.file_name(), second.file_name());
    assert!(fs::read(first).expect("built") == fs::read(second).expect("built"), "the two builds differ");
}

#[test]
fn a_first_installation_has_its_files_and_starts_nothing() {
    let inputs = Inputs::built();
    let scratch = ScratchRoot::new();
    let said = scratch.dpkg(&["--install"], Some(&inputs.build("1.0.0", "out")));
    assert!(said.contains("not started, this host is not enrolled"), "{said}");

    let user = scratch.user("vedette");
    scratch.expect("usr/bin/vedette-agent", 0o755, "0:0");
    scratch.expect("usr/lib/systemd/system/vedette-agent.service", 0o644, "0:0");
    scratch.expect("usr/lib/vedette/detectors/level.cwasm", 0o644, "0:0");
    scratch.expect("etc/default/vedette-agent", 0o644, "0:0");
    scratch.expect("etc/vedette", 0o750, &format!("0:{}", user.group));
    scratch.expect("etc/vedette/agent.toml", 0o640, &format!("0:{}", user.group));
    scratch.expect("var/lib/vedette", 0o750, &format!("{}:{}", user.id, user.group));
    assert!(!scratch.exists("usr/lib/vedette/detectors/level.txt"), "only detectors are shipped");
    assert!(user.shell.ends_with("nologin") && scratch.in_group("vedette", "adm"));

    let config = scratch.read("etc/vedette/agent.toml");
    let key = SIGNATURE.split(' ').next().expect("a key");
    assert!(config.contains(&format!("author-keys = [\"{key}\"]")), "the detectors' author is trusted: {config}");
    if inputs.real {
        let check = Command::new(&inputs.binary)
            .args(["check", "--config"])
            .arg(scratch.path("etc/vedette/agent.toml"))
            .output();
        let check = check.expect("the agent starts");
        assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stderr));
    }
}

#[test]
fn an_upgrade_keeps_what_a_person_edited_and_what_the_agent_learnt() {
    let inputs = Inputs::placeholder();
    let scratch = ScratchRoot::new();
    scratch.dpkg(&["--install"], Some(&inputs.build("1.0.0", "old")));
    scratch.write("etc/vedette/agent.toml", "# edited\n");
    scratch.write(IDENTITY, "{}");
    let said = scratch.dpkg(&["--force-confold", "--install"], Some(&inputs.build("1.1.0", "new")));
    assert!(!said.contains("not enrolled"), "{said}");
    assert_eq!(scratch.read("etc/vedette/agent.toml"), "# edited\n");
    scratch.expect("etc/vedette/agent.toml", 0o640, &format!("0:{}", scratch.user("vedette").group));
    assert!(scratch.exists(IDENTITY));
}

#[test]
fn removal_keeps_state_and_configuration_and_purge_takes_both() {
    let inputs = Inputs::placeholder();
    let scratch = ScratchRoot::new();
    scratch.dpkg(&["--install"], Some(&inputs.build("1.0.0", "out")));
    scratch.write(IDENTITY, "{}");

    scratch.dpkg(&["--remove", "vedette-agent"], None);
    assert!(!scratch.exists("usr/bin/vedette-agent") && !scratch.exists("usr/lib/vedette"));
    assert!(scratch.exists(IDENTITY) && scratch.exists("etc/vedette/agent.toml"));

    scratch.dpkg(&["--purge", "vedette-agent"], None);
    let left = scratch.files_named("vedette");
    assert!(left.is_empty(), "purge left {left:?}");
}

#[test]
fn the_unit_is_valid_and_confined() {
    let inputs = Inputs::placeholder();
    let scratch = ScratchRoot::new();
    scratch.dpkg(&["--install"], Some(&inputs.build("1.0.0", "out")));
    let unit = scratch.read("usr/lib/systemd/system/vedette-agent.service");
    let settings: Vec<&str> = unit.lines().filter(|line| !line.starts_with('#')).collect();
    for wanted in [
        "Type=notify",
        "RestartPreventExitStatus=78",
        "User=vedette",
        "CapabilityBoundingSet=",
        "NoNewPrivileges=yes",
        "ProtectSystem=strict",
        "PrivateDevices=yes",
        "RestrictNamespaces=yes",
        "SystemCallFilter=@system-service",
    ] {
        assert!(settings.contains(&wanted), "the unit lacks {wanted}");
    }
    let seconds = |key: &str| {
        let value = settings.iter().find_map(|line| line.strip_prefix(key)).unwrap_or_else(|| panic!("no {key}"));
        value.parse::<u64>().unwrap_or_else(|_| panic!("{key}{value} is no number of seconds"))
    };
    // The agent drains for ten seconds and then waits up to four for its disk and its worker.
    assert!(seconds("TimeoutStopSec=") > 14, "systemd would kill an agent that still hands over");
    assert!(settings.iter().any(|line| line.starts_with("WatchdogSec=")), "the unit lacks a watchdog");
    assert!(
        !settings.iter().any(|line| line.starts_with("MemoryDenyWriteExecute")),
        "the worker inherits MemoryDenyWriteExecute and could not run compiled detectors"
    );
    scratch.verify_unit("vedette-agent.service");
}
