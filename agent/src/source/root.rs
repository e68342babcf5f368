//! Where `/proc`, `/sys` and `/` of the watched host are: elsewhere in a container or a test.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The movable root of everything that sources read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Root {
    proc: PathBuf,
    sys: PathBuf,
    host: PathBuf,
    timex: Option<PathBuf>,
}

impl Root {
    /// This host as this process sees it.
    pub fn system() -> Self {
        Self { proc: "/proc".into(), sys: "/sys".into(), host: "/".into(), timex: None }
    }

    /// A tree with `proc` and `sys` under `directory`, which stands for another host.
    pub fn under(directory: &Path) -> Self {
        let (proc, sys, timex) = (directory.join("proc"), directory.join("sys"), Some(directory.join("timex")));
        Self { proc, sys, host: directory.to_owned(), timex }
    }

    /// Reads `HOST_PROC`, `HOST_SYS` and `HOST_ROOT` through `variable`; what is not set is this host's own.
    pub fn from_variables(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let path =
            |name, default: PathBuf| variable(name).filter(|value| !value.is_empty()).map_or(default, Into::into);
        let Self { proc, sys, host, timex } = Self::system();
        Self { proc: path("HOST_PROC", proc), sys: path("HOST_SYS", sys), host: path("HOST_ROOT", host), timex }
    }

    /// A path below `/proc`.
    pub fn proc(&self, relative: &str) -> PathBuf {
        self.proc.join(relative)
    }

    /// A path below `/sys`.
    pub fn sys(&self, relative: &str) -> PathBuf {
        self.sys.join(relative)
    }

    /// A recorded answer of adjtimex(2), where the tree is not of a host that shares this kernel.
    pub fn timex_record(&self) -> Option<PathBuf> {
        self.timex.clone()
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
