//! What the path of a log names: one file, or all files that match a glob.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

/// Directories of one glob that are looked into.
pub const GLOB_DIRECTORIES_MAX: usize = 64;
/// Most entries that are looked at in a directory, and most files of a glob that are known of at one look.
pub(super) const ENTRIES_MAX: usize = 4_096;

/// One file, or those that match.
#[derive(Clone, Debug)]
pub(super) enum Names {
    One(PathBuf),
    Many(Glob),
}

/// A path with `*` (any text) and `?` (any byte) in its parts. Neither matches a slash, nor the full stop that begins a name.
#[derive(Clone, Debug)]
pub(super) struct Glob {
    /// The part before the first one with a wildcard.
    base: PathBuf,
    /// Patterns of directories.
    directories: Vec<Vec<u8>>,
    /// Pattern of a name.
    name: Vec<u8>,
}

/// Whether a path names all files that match it.
pub fn is_glob(path: &Path) -> bool {
    path.as_os_str().as_bytes().iter().any(|byte| matches!(byte, b'*' | b'?'))
}

/// Whether a path is one of those that a glob names.
pub fn is_named_by(glob: &Path, path: &Path) -> bool {
    let (patterns, parts) = (glob.components(), path.components());
    patterns.clone().count() == parts.clone().count()
        && patterns.zip(parts).all(|(pattern, part)| {
            pattern == part || matches(pattern.as_os_str().as_bytes(), part.as_os_str().as_bytes())
        })
}

impl Names {
    pub(super) fn of(path: &Path) -> Self {
        if !is_glob(path) {
            return Self::One(path.to_owned());
        }
        let (mut base, mut patterns) = (PathBuf::new(), Vec::new());
        for part in path.components() {
            let is_pattern = !patterns.is_empty() || is_glob(Path::new(part.as_os_str()));
            match part {
                Component::Normal(part) if is_pattern => patterns.push(part.as_bytes().to_vec()),
                part => base.push(part),
            }
        }
        let name = patterns.pop().unwrap_or_default();
        Self::Many(Glob { base, directories: patterns, name })
    }

    pub(super) fn is_one(&self) -> bool {
        matches!(self, Self::One(_))
    }
}

impl Glob {
    /// Directories in which there can be files that match.
    pub(super) fn directories(&self) -> Vec<PathBuf> {
        let mut found = vec![self.base.clone()];
        for pattern in &self.directories {
            let within = found.iter().flat_map(|directory| directories_in(directory, pattern));
            found = within.take(GLOB_DIRECTORIES_MAX).collect();
        }
        found
    }

    /// Whether a file of that name matches.
    pub(super) fn matches(&self, name: &[u8]) -> bool {
        matches(&self.name, name)
    }
}

fn directories_in(directory: &Path, pattern: &[u8]) -> Vec<PathBuf> {
    if !is_glob(Path::new(OsStr::from_bytes(pattern))) {
        return vec![directory.join(OsStr::from_bytes(pattern))];
    }
    let entries = std::fs::read_dir(directory).into_iter().flatten().take(ENTRIES_MAX).flatten();
    let mut found: Vec<_> = entries
        .filter(|entry| matches(pattern, entry.file_name().as_bytes()))
        .map(|entry| entry.path())
        .filter(|path| path.is_dir())
        .collect();
    found.sort_unstable();
    found
}

/// Linear in the name for each `*` but the last that could not stay where it was: no pattern takes long.
fn matches(pattern: &[u8], name: &[u8]) -> bool {
    if name.starts_with(b".") && !pattern.starts_with(b".") {
        return false;
    }
    let (mut at, mut within) = (0, 0);
    let mut back: Option<(usize, usize)> = None;
    while at < name.len() {
        match pattern.get(within) {
            Some(b'*') => {
                back = Some((within, at));
                within += 1;
            }
            Some(byte) if *byte == b'?' || *byte == name[at] => (at, within) = (at + 1, within + 1),
            _ => {
                let Some((star, from)) = back else { return false };
                back = Some((star, from + 1));
                (at, within) = (from + 1, star + 1);
            }
        }
    }
    pattern[within..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_match_within_a_name() {
        for (pattern, name, expected) in [
            ("*.log", "app.log", true),
            ("*.log", ".log", false),
            ("*.log", "app.log.1", false),
            ("app-?.log", "app-1.log", true),
            ("app-?.log", "app-12.log", false),
            ("a*b*c", "aXbXbc", true),
            ("a*b*c", "aXbXb", false),
            ("*", "anything", true),
            ("*", ".hidden", false),
            (".*", ".hidden", true),
            ("", "", true),
        ] {
            assert_eq!(matches(pattern.as_bytes(), name.as_bytes()), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn hostile_pattern_takes_no_longer_than_its_lengths_say() {
        let name = "a".repeat(255);
        assert!(!matches("*a".repeat(64).as_bytes(), format!("{name}b").as_bytes()));
    }

    #[test]
    fn directories_of_a_glob_are_those_that_match() {
        let root = tempfile::tempdir().unwrap();
        for directory in ["one/logs", "two/logs", "three", ".hidden/logs"] {
            std::fs::create_dir_all(root.path().join(directory)).unwrap();
        }
        let Names::Many(glob) = Names::of(&root.path().join("*/logs/app-*.log")) else { panic!("a glob") };
        let found: Vec<_> = glob.directories().into_iter().filter(|path| path.is_dir()).collect();
        assert_eq!(found, [root.path().join("one/logs"), root.path().join("two/logs")]);
        assert!(glob.matches(b"app-x.log") && Names::of(Path::new("/var/log/app.log")).is_one());
        let is_named = |path: &str| is_named_by(Path::new("/var/*/app-*.log"), Path::new(path));
        assert!(is_named("/var/log/app-1.log") && !is_named("/var/log/x/app-1.log") && !is_named("/etc/log/app-1.log"));
    }
}
