//! What this host is called and which boot this is.

use crate::source::Root;
use std::fs;
use std::path::Path;
use vedette_protocol::ids::{BootId, Digest};

/// `host.name`.
pub fn name(root: &Root) -> String {
    let named = fs::read_to_string(root.proc("sys/kernel/hostname")).map(|name| name.trim().to_owned());
    named.ok().filter(|name| !name.is_empty()).unwrap_or_else(|| "localhost".to_owned())
}

/// The kernel's id of this boot. Where it gives none (some containers), one made of the boot time.
pub fn boot(root: &Root) -> BootId {
    let text = fs::read_to_string(root.proc("sys/kernel/random/boot_id")).unwrap_or_default();
    parse_boot(&text).unwrap_or_else(|| {
        let stat = fs::read_to_string(root.proc("stat")).unwrap_or_default();
        let booted = stat.lines().find(|line| line.starts_with("btime ")).unwrap_or_default();
        let digest = Digest::of(booted.as_bytes()).0;
        BootId(std::array::from_fn(|i| digest[i]))
    })
}

/// Tells this machine from a clone of its disk, by a digest of `/etc/machine-id`; `None` where there is none, as in many
/// containers. The id itself is not for others to see (machine-id(5)).
pub fn machine(root: &Root) -> Option<Digest> {
    let id = fs::read_to_string(root.host(Path::new("/etc/machine-id"))).ok()?;
    let id = id.trim();
    let is_id = id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_id.then(|| Digest::of(format!("vedette machine v1\0{id}").as_bytes()))
}

/// Resource attributes after OpenTelemetry.
pub fn resource() -> Vec<(String, String)> {
    let kernel = rustix::system::uname();
    let text = |value: &std::ffi::CStr| value.to_string_lossy().into_owned();
    vec![
        ("host.arch".to_owned(), arch(&text(kernel.machine()))),
        ("os.type".to_owned(), "linux".to_owned()),
        ("os.version".to_owned(), text(kernel.release())),
    ]
}

/// The kernel's word for the processor in OpenTelemetry's.
fn arch(machine: &str) -> String {
    match machine {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
    .to_owned()
}

fn parse_boot(text: &str) -> Option<BootId> {
    text.trim().replace('-', "").parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boot_id_is_read_as_the_kernel_writes_it() {
        let boot = parse_boot("6f3c0c8e-52d1-4b9b-9a52-0d1c2b3a4f5e\n").expect("a boot id");
        assert_eq!(boot.to_string(), "6f3c0c8e52d14b9b9a520d1c2b3a4f5e");
        assert_eq!(parse_boot(""), None);
    }

    #[test]
    fn machines_are_told_apart_where_they_have_an_id() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let root = Root::under(folder.path());
        assert_eq!(machine(&root), None);
        fs::create_dir(folder.path().join("etc")).expect("etc");
        let machine_with = |id: &str| {
            fs::write(folder.path().join("etc/machine-id"), id).expect("id");
            machine(&root)
        };
        assert_eq!(machine_with("uninitialized\n"), None);
        let first = machine_with("6f3c0c8e52d14b9b9a520d1c2b3a4f5e\n");
        assert!(first.is_some() && first != machine_with("0f3c0c8e52d14b9b9a520d1c2b3a4f5e\n"));
    }

    #[test]
    fn without_a_boot_id_the_boot_time_tells_boots_apart() {
        let folder = tempfile::tempdir().expect("temporary folder");
        fs::create_dir(folder.path().join("proc")).expect("proc");
        let root = Root::under(folder.path());
        let boot_at = |second: u32| {
            fs::write(root.proc("stat"), format!("cpu 1\nbtime {second}\n")).expect("stat");
            boot(&root)
        };
        assert_eq!(boot_at(1), boot_at(1));
        assert_ne!(boot_at(1), boot_at(2));
    }
}
