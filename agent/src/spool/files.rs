//! What the log needs of a file system: one flat folder of its own.

#[cfg(test)]
pub(crate) mod simulated;

use rustix::fs::{AtFlags, FileType, FlockOperation, Mode, OFlags};
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

/// A folder of files that are appended to. A name is never a path.
pub trait Files {
    /// Names and lengths of all regular files.
    ///
    /// # Errors
    ///
    /// Of the file system; so everywhere here.
    fn list(&self) -> io::Result<Vec<(String, u64)>>;
    /// At most `bytes_max` bytes from `offset` on; fewer at the end of the file.
    fn read(&self, name: &str, offset: u64, bytes_max: usize) -> io::Result<Vec<u8>>;
    /// Makes an empty file, for the owner alone; one of that name must not be there.
    fn create(&mut self, name: &str) -> io::Result<()>;
    /// Writes over or behind what is there. A failure may leave a part of it written.
    fn write(&mut self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Cuts the file to `length` bytes.
    fn truncate(&mut self, name: &str, length: u64) -> io::Result<()>;
    /// What was written to the file outlives a power cut.
    fn sync(&mut self, name: &str) -> io::Result<()>;
    /// Files that were made and removed stay so over a power cut.
    fn sync_folder(&mut self) -> io::Result<()>;
    /// Removes the file.
    fn remove(&mut self, name: &str) -> io::Result<()>;
    /// Gives the file another name; whoever had that is gone.
    fn rename(&mut self, from: &str, to: &str) -> io::Result<()>;
}

/// A folder of the real file system, locked for one user at a time. No symbolic link is followed out of it.
#[derive(Debug)]
pub struct Folder {
    folder: OwnedFd,
    open: BTreeMap<String, File>,
}

/// Files kept open: the last segment of each class, the marks, and one being read.
const OPEN_MAX: usize = 8;

/// The lock is tried this often.
const LOCK_RETRY: Duration = Duration::from_millis(50);

impl Folder {
    /// Opens `path` for writing, makes it where it is not there, and takes its lock, for which it waits so long.
    ///
    /// # Errors
    ///
    /// Of the file system; [`io::ErrorKind::WouldBlock`] if another process holds the lock.
    pub fn open(path: &Path, patience: Duration) -> io::Result<Self> {
        crate::durable::make_private_folder(path)?;
        let folder = Self::open_folder(path)?;
        rustix::fs::fchmod(&folder, Mode::RWXU)?;
        let mut waited = Duration::ZERO;
        loop {
            match rustix::fs::flock(&folder, FlockOperation::NonBlockingLockExclusive) {
                Err(rustix::io::Errno::WOULDBLOCK) if waited < patience => {
                    std::thread::sleep(LOCK_RETRY);
                    waited += LOCK_RETRY;
                }
                locked => return Ok(locked.map(|()| Self { folder, open: BTreeMap::new() })?),
            }
        }
    }

    /// Opens a folder that is there for writing, leaves its mode as it is, and takes its lock.
    ///
    /// # Errors
    ///
    /// As of [`Folder::open`].
    pub fn open_to_mend(path: &Path) -> io::Result<Self> {
        let folder = Self::open_folder(path)?;
        rustix::fs::flock(&folder, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Self { folder, open: BTreeMap::new() })
    }

    /// Opens a folder that is there to look into it. It takes no lock: an agent that starts meanwhile gets it.
    ///
    /// # Errors
    ///
    /// Of the file system.
    pub fn open_to_look(path: &Path) -> io::Result<Self> {
        Ok(Self { folder: Self::open_folder(path)?, open: BTreeMap::new() })
    }

    /// Whether somebody else is writing to a folder that was opened to look into it.
    ///
    /// # Errors
    ///
    /// Of the file system.
    pub fn is_in_use(&self) -> io::Result<bool> {
        match rustix::fs::flock(&self.folder, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {
                rustix::fs::flock(&self.folder, FlockOperation::Unlock)?;
                Ok(false)
            }
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(true),
            Err(error) => Err(error.into()),
        }
    }

    /// Whether this is the folder that is at `path` now: not removed, and nothing mounted over it.
    pub fn is_at(&self, path: &Path) -> bool {
        let place = |stat: rustix::fs::Stat| (stat.st_dev, stat.st_ino);
        let there = rustix::fs::lstat(path).map(place);
        there.is_ok_and(|there| rustix::fs::fstat(&self.folder).map(place) == Ok(there))
    }

    fn open_folder(path: &Path) -> io::Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(rustix::fs::open(path, flags, Mode::empty())?)
    }

    fn open_file(&self, name: &str, flags: OFlags) -> io::Result<File> {
        // A pipe of that name must not hang the open.
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let file = rustix::fs::openat(&self.folder, name, flags, Mode::RUSR | Mode::WUSR)?;
        let kind = FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode);
        if kind == FileType::RegularFile { Ok(file.into()) } else { Err(io::ErrorKind::InvalidInput.into()) }
    }

    fn writable(&mut self, name: &str) -> io::Result<&File> {
        if !self.open.contains_key(name) {
            let file = self.open_file(name, OFlags::RDWR)?;
            self.keep(name, file);
        }
        Ok(&self.open[name])
    }

    fn keep(&mut self, name: &str, file: File) {
        if self.open.len() >= OPEN_MAX {
            self.open.pop_first();
        }
        self.open.insert(name.to_owned(), file);
    }
}

impl Files for Folder {
    fn list(&self) -> io::Result<Vec<(String, u64)>> {
        let mut found = Vec::new();
        for entry in rustix::fs::Dir::read_from(&self.folder)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().to_str() else { continue };
            let stat = match rustix::fs::statat(&self.folder, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => stat,
                Err(rustix::io::Errno::NOENT) => continue,
                Err(error) => return Err(error.into()),
            };
            if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile {
                found.push((name.to_owned(), u64::try_from(stat.st_size).unwrap_or(0)));
            }
        }
        Ok(found)
    }

    fn read(&self, name: &str, offset: u64, bytes_max: usize) -> io::Result<Vec<u8>> {
        let opened;
        let file = match self.open.get(name) {
            Some(file) => file,
            None => {
                opened = self.open_file(name, OFlags::RDONLY)?;
                &opened
            }
        };
        let length = usize::try_from(file.metadata()?.len().saturating_sub(offset)).unwrap_or(usize::MAX);
        let mut bytes = vec![0; length.min(bytes_max)];
        let mut filled = 0;
        while filled < bytes.len() {
            match file.read_at(&mut bytes[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        bytes.truncate(filled);
        Ok(bytes)
    }

    fn create(&mut self, name: &str) -> io::Result<()> {
        let file = self.open_file(name, OFlags::RDWR | OFlags::CREATE | OFlags::EXCL)?;
        self.keep(name, file);
        Ok(())
    }

    fn write(&mut self, name: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.writable(name)?.write_all_at(bytes, offset)
    }

    fn truncate(&mut self, name: &str, length: u64) -> io::Result<()> {
        self.writable(name)?.set_len(length)
    }

    fn sync(&mut self, name: &str) -> io::Result<()> {
        self.writable(name)?.sync_data()
    }

    fn sync_folder(&mut self) -> io::Result<()> {
        Ok(rustix::fs::fsync(&self.folder)?)
    }

    fn remove(&mut self, name: &str) -> io::Result<()> {
        self.open.remove(name);
        Ok(rustix::fs::unlinkat(&self.folder, name, AtFlags::empty())?)
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        self.open.remove(from);
        self.open.remove(to);
        Ok(rustix::fs::renameat(&self.folder, from, &self.folder, to)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).expect("metadata").permissions().mode() & 0o777
    }

    #[test]
    fn folder_and_files_are_the_owners_alone_and_hold_what_was_written() {
        let outer = tempfile::tempdir().expect("temporary folder");
        let path = outer.path().join("data/spool");
        std::fs::create_dir_all(&path).expect("folder");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("permissions");
        let mut folder = Folder::open(&path, Duration::ZERO).expect("open");
        folder.create("a").expect("create");
        folder.write("a", 0, b"hello").expect("write");
        folder.write("a", 3, b"p!!").expect("write over");
        folder.truncate("a", 5).expect("truncate");
        folder.sync("a").and_then(|()| folder.sync_folder()).expect("sync");
        assert_eq!(folder.read("a", 0, 100).expect("read"), b"help!");
        assert_eq!(folder.read("a", 3, 1).expect("read"), b"p");
        assert_eq!(folder.list().expect("list"), [("a".to_owned(), 5)]);
        assert_eq!((mode(&path), mode(&path.join("a"))), (0o700, 0o600));
        folder.rename("a", "b").and_then(|()| folder.remove("b")).expect("rename and remove");
        assert_eq!(folder.list().expect("list"), []);
    }

    #[test]
    fn links_out_of_the_folder_are_not_followed() {
        let outer = tempfile::tempdir().expect("temporary folder");
        let (path, other) = (outer.path().join("spool"), outer.path().join("other"));
        std::fs::write(&other, b"secret").expect("file");
        let mut folder = Folder::open(&path, Duration::ZERO).expect("open");
        symlink(&other, path.join("a")).expect("link");
        assert!(
            folder.read("a", 0, 100).is_err() && folder.write("a", 0, b"x").is_err() && folder.create("a").is_err()
        );
        assert_eq!(folder.list().expect("list"), [], "a link is no file of ours");
        assert_eq!(std::fs::read(&other).expect("file"), b"secret");
        symlink(&path, outer.path().join("link")).expect("link");
        assert!(Folder::open_to_look(&outer.path().join("link")).is_err());
    }

    #[test]
    fn two_cannot_write_at_once_and_a_look_keeps_nobody_out() {
        let outer = tempfile::tempdir().expect("temporary folder");
        let look = Folder::open_to_look(outer.path()).expect("look");
        assert!(!look.is_in_use().expect("look"));
        let first = Folder::open(outer.path(), Duration::ZERO).expect("open");
        let second = Folder::open(outer.path(), Duration::ZERO);
        assert_eq!(second.expect_err("held").kind(), io::ErrorKind::WouldBlock);
        assert!(look.is_in_use().expect("look"));
        drop(first);
        assert!(!look.is_in_use().expect("look"));
    }

    #[test]
    fn lock_that_is_given_back_soon_is_waited_for() {
        let outer = tempfile::tempdir().expect("temporary folder");
        let first = Folder::open(outer.path(), Duration::ZERO).expect("open");
        let path = outer.path().to_owned();
        let second = std::thread::spawn(move || Folder::open(&path, Duration::from_secs(60)).map(drop));
        drop(first);
        second.join().expect("no panic").expect("open");
    }
}
