//! Containers that run, by their control groups, with name and image where the runtime's own files may be read.
//!
//! Docker, containerd and CRI-O keep those files for root: without them a container is known by its id, so that it is told
//! as started and stopped, and never as moved to another image.

use super::{Inventory, InventorySpec, Item, Items, Known, Looked};
use crate::source::containers::running;
use crate::source::{Root, SourceError};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use vedette_protocol::ids::Digest;
use vedette_protocol::time::WallTime;
use vedette_protocol::v1::ChangeKind;

pub(super) const SPEC: InventorySpec = InventorySpec {
    name: "containers",
    doc: "Containers started and stopped, and those that run another image than before.",
    interval_ms: 10_000,
    kind,
    open: |root| Box::new(Containers { root: root.clone(), known: BTreeMap::new() }),
};

/// Most containers.
const CONTAINERS_MAX: usize = 1_024;
/// Larger than any description of a container.
const DESCRIPTION_BYTES_MAX: u64 = 4 << 20;
/// Longest name of an image that is shown.
const IMAGE_BYTES_MAX: usize = 256;

struct Containers {
    root: Root,
    /// What was found of those that run, by id: a description does not change while its container runs.
    known: BTreeMap<String, Described>,
}

/// What the files of a runtime say.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Described {
    /// With what it is called and its image.
    Container { name: String, image: String },
    /// Holds the namespaces of a pod and runs nothing.
    Sandbox,
    /// No file of a runtime names it.
    Nameless,
    /// There is such a file, for others.
    Denied(PathBuf),
}

impl Inventory for Containers {
    fn look(&mut self, _now: WallTime, items: &mut Items) -> Result<Looked, SourceError> {
        let groups = self.root.sys("fs/cgroup");
        let Some(running) = running(&groups) else { return Err(SourceError::Absent(groups)) };
        items.leave_out(running.len().saturating_sub(CONTAINERS_MAX) as u64);
        let mut before = std::mem::take(&mut self.known);
        for id in running.into_iter().take(CONTAINERS_MAX) {
            let described = before.remove(&id).unwrap_or_else(|| describe(&self.root, &id));
            add(&id, &described, items);
            self.known.insert(id, described);
        }
        Ok(Looked::Whole)
    }
}

fn add(id: &str, described: &Described, items: &mut Items) {
    let digest = Digest::of(id.as_bytes());
    let instance = u64::from_le_bytes(std::array::from_fn(|index| digest.0[index]));
    match described {
        Described::Sandbox => {}
        Described::Container { name, image } => {
            let digest = Digest::of(image.as_bytes());
            items.add(name, Item { instance, is_content: true, label: image.clone(), ..Item::of(digest) });
        }
        Described::Nameless => items.add(&id[..12], Item { instance, ..Item::of(Digest([0; 32])) }),
        Described::Denied(path) => {
            items.unreadable(path, path.to_str().unwrap_or("/"), &ErrorKind::PermissionDenied.into());
            items.add(&id[..12], Item { instance, ..Item::of(Digest([0; 32])) });
        }
    }
}

/// Reads one runtime's description of a container.
type Reader = fn(&Value) -> Option<Described>;

fn describe(root: &Root, id: &str) -> Described {
    let places: [(String, Reader); 4] = [
        (format!("/var/lib/docker/containers/{id}/config.v2.json"), of_docker),
        (format!("/run/containerd/io.containerd.runtime.v2.task/k8s.io/{id}/config.json"), of_containerd),
        (format!("/run/containers/storage/overlay-containers/{id}/userdata/config.json"), of_crio),
        (format!("/var/lib/containers/storage/overlay-containers/{id}/userdata/config.json"), of_crio),
    ];
    let mut denied = None;
    for (path, read) in places {
        match description(&root.host(Path::new(&path))) {
            Ok(description) => {
                if let Some(described) = read(&description) {
                    return described;
                }
            }
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                denied.get_or_insert(Described::Denied(root.host(Path::new(&path))));
            }
            Err(_) => {}
        }
    }
    denied.unwrap_or(Described::Nameless)
}

fn description(path: &Path) -> std::io::Result<Value> {
    let mut text = Vec::new();
    File::open(path)?.take(DESCRIPTION_BYTES_MAX).read_to_end(&mut text)?;
    serde_json::from_slice(&text).map_err(std::io::Error::from)
}

fn of_docker(config: &Value) -> Option<Described> {
    let name = config["Name"].as_str()?.trim_start_matches('/');
    container(name, config["Config"]["Image"].as_str()?, config["Image"].as_str())
}

fn of_containerd(config: &Value) -> Option<Described> {
    let annotation = |name: &str| config["annotations"][name].as_str();
    if annotation("io.kubernetes.cri.container-type") == Some("sandbox") {
        return Some(Described::Sandbox);
    }
    let pod = annotation("io.kubernetes.cri.sandbox-name")?;
    let name = annotation("io.kubernetes.cri.container-name")?;
    container(&format!("{pod}/{name}"), annotation("io.kubernetes.cri.image-name")?, None)
}

fn of_crio(config: &Value) -> Option<Described> {
    let annotation = |name: &str| config["annotations"][name].as_str();
    if annotation("io.kubernetes.cri-o.ContainerType") == Some("sandbox") {
        return Some(Described::Sandbox);
    }
    let pod = annotation("io.kubernetes.pod.name")?;
    let name = annotation("io.kubernetes.container.name")?;
    let image = annotation("io.kubernetes.cri-o.ImageName")?;
    container(&format!("{pod}/{name}"), image, annotation("io.kubernetes.cri-o.ImageRef"))
}

/// A tag can be moved, hence the image's own digest behind it where it is known.
fn container(name: &str, image: &str, id: Option<&str>) -> Option<Described> {
    let short = id.and_then(|id| id.rsplit(':').next()).and_then(|id| id.get(..12)).filter(|id| !image.contains(*id));
    let image = short.map_or_else(|| image.to_owned(), |id| format!("{image} ({id})"));
    let is_plain = !image.is_empty() && image.len() <= IMAGE_BYTES_MAX && !image.chars().any(char::is_control);
    (is_plain && !name.is_empty()).then(|| Described::Container { name: name.to_owned(), image })
}

fn kind(before: Option<&Known>, after: Option<&Known>) -> Option<ChangeKind> {
    Some(match (before, after) {
        (_, None) => ChangeKind::ContainerStopped,
        (Some(before), Some(after)) if before.digest != after.digest => ChangeKind::ImageChanged,
        _ => ChangeKind::ContainerStarted,
    })
}
