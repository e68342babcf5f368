//! Whether a change touches what a finding is about: by its service, by a path that the finding names, or by a name in
//! both (`/etc/nginx/site.conf` and the process `nginx`). Words that stand in every path say nothing.

use super::changes::SeenChange;
use super::episode::Episode;
use vedette_protocol::v1::Subject;

/// The finding is of the declared service that was changed, or names the very thing.
const SAME: f64 = 1.0;
/// Both have a name in common.
const NAMED: f64 = 0.8;
/// Shorter words are no names.
const NAME_CHARS_MIN: usize = 3;
/// Names looked at of one path or text.
const NAMES_MAX: usize = 16;
/// Parts of paths and names that are not of one thing.
const GENERIC: [&str; 36] = [
    "bin",
    "boot",
    "cfg",
    "conf",
    "config",
    "containers",
    "current",
    "data",
    "default",
    "dev",
    "docker",
    "etc",
    "home",
    "json",
    "lib",
    "local",
    "log",
    "logs",
    "main",
    "mnt",
    "opt",
    "proc",
    "root",
    "run",
    "sbin",
    "service",
    "services",
    "settings",
    "share",
    "srv",
    "sys",
    "system",
    "systemd",
    "tmp",
    "usr",
    "var",
];
/// What follows a name without being part of it.
const ENDINGS: [&str; 12] =
    [".service", ".socket", ".timer", ".scope", ".slice", ".conf", ".toml", ".yaml", ".yml", ".json", ".ini", ".log"];

/// How far a change touches a finding, from 0 to 1, and by what. Names mean the same on one host only.
pub(crate) fn touch<'a>(seen: &'a SeenChange, episode: &'a Episode) -> (f64, &'a str) {
    let (target, service) = (seen.change.target.as_str(), seen.change.service.as_str());
    if !service.is_empty() && episode.services.iter().any(|known| known == service) {
        return (SAME, service);
    }
    if episode.host != seen.host {
        return (0.0, "");
    }
    let things = things(&episode.finding.subject);
    // The root of all paths is in every one.
    if target.len() < NAME_CHARS_MIN {
        return (0.0, "");
    }
    if things.contains(&target) {
        return (SAME, target);
    }
    if let Subject::LogTemplate { text, exemplar, .. } = &episode.finding.subject
        && target.starts_with('/')
        && [text, exemplar].iter().any(|text| names_path(text, target))
    {
        return (SAME, target);
    }
    let found = names(target).find(|name| things.iter().any(|thing| names(thing).any(|other| other == *name)));
    found.map_or((0.0, ""), |name| (NAMED, name))
}

/// Whether a text has this path, and not one that goes on after it (`/etc/app` is not in `/etc/application.log`).
fn names_path(text: &str, path: &str) -> bool {
    let goes_on = |rest: &str| rest.starts_with(|c: char| c.is_alphanumeric() || "._-".contains(c));
    text.match_indices(path).any(|(at, _)| {
        let rest = &text[at + path.len()..];
        !goes_on(rest) || rest.starts_with('.') && !goes_on(&rest[1..])
    })
}

/// What a finding names: the thing that was measured, or the log and who wrote to it.
fn things(subject: &Subject) -> Vec<&str> {
    match subject {
        Subject::Series(meta) => {
            let named = meta.attributes.iter().filter(|(key, _)| {
                [".name", ".id", ".path", ".mountpoint"].iter().any(|end| key.ends_with(end)) || key.ends_with("device")
            });
            named.map(|(_, value)| value.as_str()).collect()
        }
        Subject::LogTemplate { source, service, .. } => vec![source.as_str(), service.as_str()],
    }
}

/// Names in a path, a unit, a package with its version, a container with its image.
fn names(text: &str) -> impl Iterator<Item = &str> {
    let parts = text.split(|c: char| c == '/' || c == ':' || c == '@' || c.is_whitespace());
    let bare = parts.map(|part| ENDINGS.iter().find_map(|ending| part.strip_suffix(ending)).unwrap_or(part));
    let is_name = |part: &&str| {
        part.len() >= NAME_CHARS_MIN && part.starts_with(|c: char| c.is_alphabetic()) && !GENERIC.contains(part)
    };
    bare.filter(is_name).take(NAMES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shared(one: &str, other: &str) -> Option<String> {
        names(one).find(|name| names(other).any(|known| known == *name)).map(str::to_owned)
    }

    #[test]
    fn paths_units_packages_and_containers_share_the_names_of_things_and_no_others() {
        for (one, other, name) in [
            ("/etc/nginx/nginx.conf", "nginx", Some("nginx")),
            ("nginx 1.24.0-2", "/var/log/nginx/error.log", Some("nginx")),
            ("postgresql.service", "/var/lib/postgresql", Some("postgresql")),
            ("shop-db registry.example/postgres:16", "shop-db", Some("shop-db")),
            ("/etc/systemd/system.conf", "/var/log/system.log", None),
            ("/etc/default/cron", "/etc/default/ssh", None),
            ("/etc/motd", "nginx", None),
            ("openssl 3.0.13-1", "kernel 3.0.13-1", None),
            ("", "", None),
        ] {
            assert_eq!(shared(one, other).as_deref(), name, "{one} and {other}");
        }
        assert!(GENERIC.is_sorted(), "so that one is not there twice");
    }
}
