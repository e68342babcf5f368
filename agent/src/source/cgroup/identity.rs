//! Who a control group is, by its path: a container, a systemd unit, or something that only its path names.

/// Digits of a container's id that are kept, as container tools show it.
const CONTAINER_ID_DIGITS: usize = 12;
/// Digits of a container's whole id.
const CONTAINER_ID_WHOLE: usize = 64;

/// Names of a group, as attributes sorted by name.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) attributes: Vec<(&'static str, String)>,
    pub(super) is_container: bool,
}

/// Whether a group gets series: a container, a service, a machine, or what stands directly below the root.
pub(super) fn is_chosen(path: &[u8]) -> bool {
    let Some((parents, name)) = split(path) else { return true };
    if container(name).is_some() {
        return container_id(path).is_some();
    }
    name.ends_with(b".service") || (name.ends_with(b".scope") && parents.ends_with(b"machine.slice"))
}

/// The whole id of a container, if the group is one: the monitor beside a container carries the same id.
pub(in crate::source) fn container_id(path: &[u8]) -> Option<&str> {
    let name = split(path).map_or(path, |(_, name)| name);
    let (prefix, id) = container(name)?;
    (!prefix.windows(6).any(|part| part == b"conmon")).then_some(id)
}

/// Names of the group at `path`, if it is a chosen one.
pub(super) fn identify(path: &str) -> Identity {
    let (parents, name) = path.rsplit_once('/').unwrap_or(("", path));
    let mut attributes = Vec::new();
    let found = container(name.as_bytes());
    let is_container = found.is_some();
    if let Some((prefix, id)) = found {
        attributes.push(("container.id", id[..CONTAINER_ID_DIGITS].to_owned()));
        if let Some(runtime) = runtime(prefix, parents) {
            attributes.push(("container.runtime.name", runtime.to_owned()));
        }
        if let Some(pod) = path.split(['/', ':']).find_map(pod) {
            attributes.push(("k8s.pod.uid", pod));
        }
    } else if is_unit(name) && parents.split('/').all(|parent| parent.is_empty() || parent.ends_with(".slice")) {
        attributes.push(("systemd.unit.name", unescaped(name).to_owned()));
    } else {
        // Units inside a container without an id of its own would share names with those of the host.
        attributes.push(("linux.cgroup.path", path.to_owned()));
    }
    Identity { attributes, is_container }
}

fn split(path: &[u8]) -> Option<(&[u8], &[u8])> {
    let slash = path.iter().rposition(|byte| *byte == b'/')?;
    Some((&path[..slash], &path[slash + 1..]))
}

/// What stands before the 64 hexadecimal digits of a group's name, and the digits, however its runtime wraps them.
fn container(name: &[u8]) -> Option<(&[u8], &str)> {
    let mut begin = 0;
    for part in name.split(|byte| !byte.is_ascii_hexdigit()) {
        if part.len() == CONTAINER_ID_WHOLE {
            return Some((&name[..begin], std::str::from_utf8(part).ok()?));
        }
        begin += part.len() + 1;
    }
    None
}

fn runtime(prefix: &[u8], parents: &str) -> Option<&'static str> {
    match prefix {
        b"docker-" => Some("docker"),
        b"crio-" => Some("cri-o"),
        b"libpod-" => Some("podman"),
        prefix if prefix.ends_with(b"cri-containerd-") || prefix.ends_with(b":cri-containerd:") => Some("containerd"),
        b"" if parents == "docker" || parents.ends_with("/docker") => Some("docker"),
        _ => None,
    }
}

/// `kubepods-burstable-pod<uid>.slice` with `_` for `-`, or `pod<uid>`; a static pod's uid has no dashes.
fn pod(part: &str) -> Option<String> {
    let uid = part.strip_suffix(".slice").unwrap_or(part).rsplit_once("pod")?.1;
    let is_uid =
        matches!(uid.len(), 32 | 36) && uid.bytes().all(|byte| byte.is_ascii_hexdigit() || matches!(byte, b'-' | b'_'));
    is_uid.then(|| uid.replace('_', "-"))
}

fn is_unit(name: &str) -> bool {
    [".service", ".scope", ".slice"].iter().any(|suffix| name.ends_with(suffix))
}

/// systemd puts `_` before names that the kernel keeps for itself, such as `_cgroup.service`.
fn unescaped(name: &str) -> &str {
    name.strip_prefix('_').unwrap_or(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn named(path: &str) -> String {
        assert!(is_chosen(path.as_bytes()), "{path}");
        let names = identify(path).attributes;
        assert!(names.is_sorted());
        names.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(",")
    }

    #[test]
    fn containers_of_all_runtimes_are_known() {
        let id = "container.id=0123456789ab";
        let named = |path: &str| named(&path.replace("ID", ID));
        for (path, runtime) in [
            ("docker/ID", "docker"),
            ("system.slice/docker-ID.scope", "docker"),
            ("machine.slice/libpod-ID.scope", "podman"),
            ("a/b/crio-ID.scope", "cri-o"),
        ] {
            assert_eq!(named(path), format!("{id},container.runtime.name={runtime}"), "{path}");
        }
        assert_eq!(named("some/ID"), id);
    }

    #[test]
    fn pods_are_known_with_both_drivers_of_groups() {
        let containerd = "container.id=0123456789ab,container.runtime.name=containerd";
        let uid = "k8s.pod.uid=6f3c0c8e-52d1-4b9b-9a52-0d1c2b3a4f5e";
        let slice = "kubepods-burstable-pod6f3c0c8e_52d1_4b9b_9a52_0d1c2b3a4f5e.slice";
        let scope = format!("kubepods.slice/kubepods-burstable.slice/{slice}/cri-containerd-{ID}.scope");
        assert_eq!(named(&scope), format!("{containerd},{uid}"));
        assert_eq!(named(&format!("system.slice/{slice}:cri-containerd:{ID}")), format!("{containerd},{uid}"));
        let plain = format!("kubepods/besteffort/pod6f3c0c8e-52d1-4b9b-9a52-0d1c2b3a4f5e/{ID}");
        assert_eq!(named(&plain), format!("container.id=0123456789ab,{uid}"));
        let fixed = format!("kubepods/podb0e61dfb8e6e1ad2d3cf6bb9a0d8e7d1/{ID}");
        assert!(named(&fixed).ends_with("k8s.pod.uid=b0e61dfb8e6e1ad2d3cf6bb9a0d8e7d1"));
    }

    #[test]
    fn units_have_the_names_that_systemctl_shows() {
        assert_eq!(named("system.slice/ssh.service"), "systemd.unit.name=ssh.service");
        assert_eq!(named("system.slice/system-getty.slice/getty@tty1.service"), "systemd.unit.name=getty@tty1.service");
        assert_eq!(named("system.slice/_cgroup.service"), "systemd.unit.name=cgroup.service");
        assert_eq!(named("a.slice/srv-a\\x2db.service"), "systemd.unit.name=srv-a\\x2db.service");
        assert_eq!(named("user.slice"), "systemd.unit.name=user.slice");
        assert_eq!(named("machine.slice/machine-web.scope"), "systemd.unit.name=machine-web.scope");
    }

    #[test]
    fn what_only_a_path_tells_apart_keeps_it() {
        assert_eq!(named("app"), "linux.cgroup.path=app");
        let inner = "lxc.payload.web/system.slice/ssh.service";
        assert_eq!(named(inner), format!("linux.cgroup.path={inner}"));
    }

    #[test]
    fn sessions_and_monitors_of_containers_are_nobody() {
        for path in ["user.slice/user-0.slice/session-3.scope", "a/b", "system.slice/system-getty.slice"] {
            assert!(!is_chosen(path.as_bytes()), "{path}");
        }
        assert!(!is_chosen(format!("machine.slice/libpod-conmon-{ID}.scope").as_bytes()));
        assert!(!is_chosen(format!("pods.slice/crio-conmon-{ID}.scope").as_bytes()));
    }
}
