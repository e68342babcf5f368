//! A root folder to install into: as root, or under fakeroot, which remembers owners.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Highest exposure that `systemd-analyze security` may give, in tenths: 0 is a unit that can do nothing.
const EXPOSURE_TENTHS_MAX: u32 = 25;

/// An empty Debian root with dpkg's database, `root` and the group `adm`.
pub(super) struct ScratchRoot {
    folder: tempfile::TempDir,
    fakeroot: bool,
}

/// A line of `etc/passwd`.
pub(super) struct User {
    pub(super) id: String,
    pub(super) group: String,
    pub(super) shell: String,
}

impl ScratchRoot {
    pub(super) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let id = Command::new("id").arg("-u").output().expect("id starts");
        let scratch = Self { folder, fakeroot: id.stdout.trim_ascii() != b"0" };
        for database in ["info", "updates", "triggers"] {
            fs::create_dir_all(scratch.path("var/lib/dpkg").join(database)).expect("a folder");
        }
        scratch.write("var/lib/dpkg/status", "");
        scratch.write("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n");
        scratch.write("etc/group", "root:x:0:\nadm:x:4:\n");
        scratch
    }

    pub(super) fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join("root").join(path)
    }

    pub(super) fn exists(&self, path: &str) -> bool {
        self.path(path).symlink_metadata().is_ok()
    }

    pub(super) fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap_or_else(|error| panic!("reading {path}: {error}"))
    }

    /// Writes a file; one that exists keeps its owner and mode.
    pub(super) fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().expect("below the root")).expect("a folder");
        fs::write(&path, text).unwrap_or_else(|error| panic!("writing {}: {error}", path.display()));
    }

    /// Runs dpkg on this root, maintainer scripts outside of it; gives all that was said.
    pub(super) fn dpkg(&self, arguments: &[&str], package: Option<&Path>) -> String {
        let mut command = self.command("dpkg");
        command.arg(format!("--root={}", self.path("").display()));
        command.args(["--force-script-chrootless", "--force-depends", "--force-not-root"]);
        // The package's own dependencies, such as the C library, are not in an empty root.
        command.args(arguments).args(package).env("LC_ALL", "C");
        let output = command.output().expect("dpkg starts");
        let said = said(&output);
        assert!(output.status.success(), "dpkg {arguments:?}: {said}");
        said
    }

    /// Fails unless the file is there with this mode and owner (`user:group`).
    pub(super) fn expect(&self, path: &str, mode: u32, owner: &str) {
        let output = self.command("stat").args(["--format", "%a %u:%g"]).arg(self.path(path)).output();
        let text = said(&output.expect("stat starts"));
        assert_eq!(text.trim(), format!("{mode:o} {owner}"), "mode and owner of {path}");
    }

    pub(super) fn user(&self, name: &str) -> User {
        let passwd = self.read("etc/passwd");
        let line = passwd.lines().find(|line| line.starts_with(&format!("{name}:")));
        let line = line.unwrap_or_else(|| panic!("no user {name}: {passwd}"));
        let fields: Vec<&str> = line.split(':').collect();
        User { id: fields[2].to_owned(), group: fields[3].to_owned(), shell: fields[6].to_owned() }
    }

    pub(super) fn in_group(&self, user: &str, group: &str) -> bool {
        let groups = self.read("etc/group");
        let line = groups.lines().find(|line| line.starts_with(&format!("{group}:"))).expect("the group exists");
        line.rsplit(':').next().expect("a list of members").split(',').any(|member| member == user)
    }

    /// Paths outside dpkg's database whose name holds `part`.
    pub(super) fn files_named(&self, part: &str) -> Vec<String> {
        let mut find = Command::new("find");
        find.arg(self.path("")).args(["-path", "*/var/lib/dpkg", "-prune", "-o"]);
        let output = find.args(["-name", &format!("*{part}*"), "-print"]).output().expect("find starts");
        said(&output).lines().map(str::to_owned).collect()
    }

    /// Lets systemd judge the installed unit, where systemd's tools are installed: syntax, then exposure.
    pub(super) fn verify_unit(&self, unit: &str) {
        if Command::new("systemd-analyze").arg("--version").output().is_err() {
            return;
        }
        // The unit stands on systemd's own targets.
        let copied = Command::new("cp")
            .args(["--recursive", "--no-clobber", "/usr/lib/systemd/system"])
            .arg(self.path("usr/lib/systemd"))
            .status();
        assert!(copied.expect("cp starts").success());
        let root = format!("--root={}", self.path("").display());
        let analyze = |arguments: &[&str]| {
            let output = Command::new("systemd-analyze").args(arguments).args([&root, unit]).output();
            let output = output.expect("systemd-analyze starts");
            assert!(output.status.success(), "systemd-analyze {arguments:?}: {}", said(&output));
            said(&output)
        };
        let complaints = analyze(&["verify", "--man=no", "--recursive-errors=no"]);
        let ours: Vec<&str> = complaints.lines().filter(|line| line.contains(unit)).collect();
        assert!(ours.is_empty(), "{ours:?}");
        analyze(&["security", "--offline=true", "--no-pager", &format!("--threshold={EXPOSURE_TENTHS_MAX}")]);
    }

    fn command(&self, program: &str) -> Command {
        if !self.fakeroot {
            return Command::new(program);
        }
        let memory = self.folder.path().join("fakeroot.state");
        fs::OpenOptions::new().create(true).append(true).open(&memory).expect("fakeroot's memory");
        let found = Command::new("fakeroot").arg("--version").output().is_ok();
        assert!(found, "installing into a scratch root needs root or fakeroot: sudo apt-get install fakeroot");
        let mut command = Command::new("fakeroot");
        command.arg("-i").arg(&memory).arg("-s").arg(&memory).args(["--", program]);
        command
    }
}

/// Standard output and error of a program.
fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
