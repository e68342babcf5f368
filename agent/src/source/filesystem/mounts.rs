//! `/proc/<pid>/mountinfo`: which mounts are filesystems that can fill up.

use crate::source::text::{fields, lines};

/// Whether asking a filesystem may wait for another host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Locality {
    /// Never.
    Local,
    /// It may.
    Remote,
}

/// A filesystem that can fill up.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mount {
    pub(super) point: String,
    pub(super) kind: String,
    pub(super) device: String,
}

/// Types that wait for another host, or for a program that may.
const REMOTE: [&str; 12] =
    ["nfs", "nfs4", "cifs", "smb3", "smbfs", "ceph", "9p", "afs", "lustre", "glusterfs", "gfs2", "ocfs2"];
/// Local types whose device is not a path.
const LOCAL_WITHOUT_DEVICE: [&str; 4] = ["tmpfs", "zfs", "btrfs", "bcachefs"];
/// Types that are written once: always full, never changing.
const READ_ONLY: [&str; 4] = ["squashfs", "iso9660", "erofs", "cramfs"];
/// Places whose mounts come and go with containers, logins and services, or belong to the kernel.
const SKIPPED_BELOW: [&str; 9] = [
    "/proc",
    "/sys",
    "/dev",
    "/run/user",
    "/run/credentials",
    "/run/containerd",
    "/var/lib/docker",
    "/var/lib/containers",
    "/var/lib/kubelet/pods",
];

struct Line<'a> {
    id: &'a [u8],
    point: &'a [u8],
    kind: &'a str,
    device: &'a [u8],
    super_options: &'a [u8],
}

/// Filesystems of one locality by mount point: of several mounts of a device the one nearest to `/`, of several at a
/// point the last, which hides the others.
pub(super) fn parse(bytes: &[u8], locality: Locality) -> Vec<Mount> {
    let mut chosen: Vec<(&[u8], Mount)> = Vec::new();
    for line in lines(bytes).filter_map(parse_line) {
        let point = unescape(line.point);
        chosen.retain(|(_, mount)| mount.point != point);
        if locality_of(&line) != Some(locality) || is_skipped(&point) || is_read_only(line.super_options) {
            continue;
        }
        chosen.push((line.id, Mount { point, kind: line.kind.to_owned(), device: unescape(line.device) }));
    }
    chosen.sort_by(|(_, a), (_, b)| (a.point.len(), &a.point).cmp(&(b.point.len(), &b.point)));
    let mut devices: Vec<&[u8]> = Vec::new();
    chosen.retain(|(device, _)| {
        let is_new = !devices.contains(device);
        devices.push(device);
        is_new
    });
    chosen.into_iter().map(|(_, mount)| mount).collect()
}

/// `id parent major:minor root point options… - type device super-options`.
fn parse_line(line: &[u8]) -> Option<Line<'_>> {
    let mut fields = fields(line);
    let id = fields.nth(2)?;
    let point = fields.nth(1)?;
    fields.find(|field| *field == b"-")?;
    let kind = std::str::from_utf8(fields.next()?).ok()?;
    let device = fields.next()?;
    Some(Line { id, point, kind, device, super_options: fields.next()? })
}

fn locality_of(line: &Line<'_>) -> Option<Locality> {
    let kind = line.kind;
    if REMOTE.contains(&kind) || kind.starts_with("fuse.") {
        return Some(Locality::Remote);
    }
    // The root of a container is an overlay and no mount of its lower parts is seen there.
    let local = line.device.starts_with(b"/") || LOCAL_WITHOUT_DEVICE.contains(&kind) || line.point == b"/";
    (local && !READ_ONLY.contains(&kind)).then_some(Locality::Local)
}

fn is_skipped(point: &str) -> bool {
    let below = |place: &str| point.strip_prefix(place).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    point != "/dev/shm" && SKIPPED_BELOW.iter().any(|place| below(place))
}

fn is_read_only(super_options: &[u8]) -> bool {
    super_options.split(|byte| *byte == b',').any(|option| option == b"ro")
}

/// The kernel writes blank, tab, line feed and backslash as three octal digits.
fn unescape(field: &[u8]) -> String {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, tail @ ..] = rest {
        let octal = tail.get(..3).filter(|_| *first == b'\\').and_then(octal);
        bytes.push(octal.unwrap_or(*first));
        rest = if octal.is_some() { &tail[3..] } else { tail };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn octal(digits: &[u8]) -> Option<u8> {
    let value = digits.iter().try_fold(0_u32, |value, digit| Some(value * 8 + char::from(*digit).to_digit(8)?))?;
    u8::try_from(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &[u8] = br"22 27 0:21 / /proc rw - proc proc rw
24 27 0:6 / /dev rw - devtmpfs devtmpfs rw,size=1k
25 24 0:23 / /dev/shm rw - tmpfs tmpfs rw,size=1k
27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,discard
30 25 0:27 / /dev/shm rw - tmpfs shm rw
33 27 254:0 /var/data /srv/data rw - ext4 /dev/vda rw
34 27 8:1 / /mnt/with\040blank rw - xfs /dev/sda1 rw
35 27 7:1 / /snap/core/1 ro - squashfs /dev/loop1 ro
36 27 0:50 / /home rw - nfs4 files.example:/home rw,vers=4.2
37 27 0:51 / /var/lib/docker/overlay2/x/merged rw - overlay overlay rw
38 27 8:2 / /media/rescue ro - ext4 /dev/sda2 ro
39 27 0:52 / /mnt/ssh rw - fuse.sshfs user@h:/ rw
torn line
";

    fn points(locality: Locality) -> Vec<(String, String)> {
        parse(TABLE, locality).into_iter().map(|mount| (mount.point, mount.device)).collect()
    }

    #[test]
    fn local_filesystems_that_can_fill_up_are_chosen_once() {
        let expected = [("/", "/dev/vda"), ("/dev/shm", "shm"), ("/mnt/with blank", "/dev/sda1")];
        assert_eq!(points(Locality::Local), expected.map(|(point, device)| (point.to_owned(), device.to_owned())));
    }

    #[test]
    fn filesystems_that_may_hang_are_apart() {
        let expected = [("/home", "files.example:/home"), ("/mnt/ssh", "user@h:/")];
        assert_eq!(points(Locality::Remote), expected.map(|(point, device)| (point.to_owned(), device.to_owned())));
    }

    #[test]
    fn a_backslash_that_escapes_nothing_stays() {
        assert_eq!(unescape(br"a\134b\9\04"), r"a\b\9\04");
    }
}
