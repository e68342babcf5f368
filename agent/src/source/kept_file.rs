//! A file that is read whole again and again: it stays open, and so does its buffer.

use super::SourceError;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

/// Larger than any file that a source reads, mount tables of container hosts included: some 6,000 mounts.
pub(crate) const BYTES_MAX: usize = 1 << 20;

const FIRST_BYTES: usize = 4_096;

/// A file under `/proc` or `/sys` with its buffer.
#[derive(Debug)]
pub(super) struct KeptFile {
    path: PathBuf,
    file: Option<File>,
    buffer: Vec<u8>,
}

impl KeptFile {
    /// For a file that need not be there yet.
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, file: None, buffer: Vec::new() }
    }

    /// The whole content as of now. Reading at offset 0 makes the kernel write it anew.
    pub(super) fn read(&mut self) -> Result<&[u8], SourceError> {
        match self.fill() {
            Ok(Some(length)) => Ok(&self.buffer[..length]),
            Ok(None) => {
                self.file = None;
                Err(SourceError::TooLarge { path: self.path.clone(), bytes_max: BYTES_MAX })
            }
            Err(error) => {
                self.file = None;
                Err(SourceError::from_io(&self.path, error))
            }
        }
    }

    /// The open file, once it was read.
    pub(super) fn file(&self) -> Option<&File> {
        self.file.as_ref()
    }

    /// An error for content that is not as the kernel documents it.
    pub(super) fn malformed(&self, expected: &'static str) -> SourceError {
        SourceError::Malformed { path: self.path.clone(), expected }
    }

    /// Some files come a page at a time, so only an empty read is the end.
    fn fill(&mut self) -> io::Result<Option<usize>> {
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(File::open(&self.path)?),
        };
        let mut length = 0;
        loop {
            if length == self.buffer.len() {
                if length == BYTES_MAX {
                    return Ok(None);
                }
                self.buffer.resize((length * 2).clamp(FIRST_BYTES, BYTES_MAX), 0);
            }
            match file.read_at(&mut self.buffer[length..], length as u64) {
                Ok(0) => return Ok(Some(length)),
                Ok(count) => length += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl SourceError {
    /// Sorts an error of the operating system by what can be done about it.
    pub(crate) fn from_io(path: &std::path::Path, error: io::Error) -> Self {
        let path = path.to_owned();
        match error.kind() {
            // A kernel that was booted with pressure stall information off answers EOPNOTSUPP on reading.
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::Unsupported => Self::Absent(path),
            io::ErrorKind::PermissionDenied => Self::Denied(path),
            _ => Self::Io { path, error },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_appears_later_is_read_then() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("stat");
        let mut file = KeptFile::new(path.clone());
        assert!(matches!(file.read(), Err(SourceError::Absent(_))));
        std::fs::write(&path, "cpu 1\n").unwrap();
        assert_eq!(file.read().unwrap(), b"cpu 1\n");
    }

    #[test]
    fn a_kept_file_is_read_anew_and_may_grow() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("diskstats");
        std::fs::write(&path, "short").unwrap();
        let mut file = KeptFile::new(path.clone());
        assert_eq!(file.read().unwrap(), b"short");
        let long = vec![b'x'; 3 * FIRST_BYTES];
        std::fs::write(&path, &long).unwrap();
        assert_eq!(file.read().unwrap(), long);
    }

    #[test]
    fn an_endless_file_is_refused() {
        let mut file = KeptFile::new("/dev/zero".into());
        assert!(matches!(file.read(), Err(SourceError::TooLarge { bytes_max: BYTES_MAX, .. })));
    }
}
