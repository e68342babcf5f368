//! Where `/proc`, `/sys` and `/` of the watched host are: elsewhere in a container or a test.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The movable root of everything that sources read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Root {
    proc: PathBuf,
    sys: PathBuf,
    host: PathBuf,
}

impl Root {
    /// This host as this process sees it.
    pub fn system() -> Self {
        Self { proc: "/proc".into(), sys: "/sys".into(), host: "/".into() }
    }

    /// A tree with `proc` and `sys` under `directory`.
    pub fn under(directory: &Path) -> Self {
        Self { proc: directory.join("proc"), sys: directory.join("sys"), host: directory.to_owned() }
    }

    /// Reads `HOST_PROC`, `HOST_SYS` and `HOST_ROOT` through `variable`; what is not set is this host's own.
    pub fn from_variables(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let path =
            |name, default: PathBuf| variable(name).filter(|value| !value.is_empty()).map_or(default, Into::into);
        let Self { proc, sys, host } = Self::system();
        Self { proc: path("HOST_PROC", proc), sys: path("HOST_SYS", sys), host: path("HOST_ROOT", host) }
    }

    /// A path below `/proc`.
    pub fn proc(&self, relative: &str) -> PathBuf {
        self.proc.join(relative)
    }

    /// A path below `/sys`.
    pub fn sys(&self, relative: &str) -> PathBuf {
        self.sys.join(relative)
    }

    /// An absolute path of the host.
    pub fn host(&self, absolute: &Path) -> PathBuf {
        self.host.join(absolute.strip_prefix("/").unwrap_or(absolute))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_move_only_what_they_name() {
        let root = Root::from_variables(|name| (name == "HOST_PROC").then(|| "/host/proc".into()));
        assert_eq!(root.proc("stat"), Path::new("/host/proc/stat"));
        assert_eq!(root.sys("block"), Path::new("/sys/block"));
        assert_eq!(root.host(Path::new("/var")), Path::new("/var"));
    }

    #[test]
    fn an_empty_variable_is_as_none() {
        assert_eq!(Root::from_variables(|_| Some(OsString::new())), Root::system());
    }
}
