//! The local socket: one line asks, one line of JSON answers.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net as std_net;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot};

/// The one question so far.
pub const QUESTION: &str = "status";

const QUESTION_BYTES_MAX: u64 = 64;
const CONNECTIONS_MAX: usize = 8;
const PATIENCE: Duration = Duration::from_secs(2);

/// Somebody wants the status as a line of JSON.
pub type Asked = oneshot::Sender<String>;

/// The socket's file; removed when dropped.
pub struct Socket {
    listener: UnixListener,
    path: PathBuf,
}

impl Socket {
    /// Binds `path` (0660), making its folder if it can. A socket that nobody answers on is replaced.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::AddrInUse`] if another agent answers there; otherwise of the file system.
    pub fn bind(path: &Path) -> io::Result<Self> {
        if let Some(folder) = path.parent().filter(|folder| !folder.exists()) {
            fs::create_dir_all(folder)?;
            // Other users of the socket's group have to reach it: not the agent's umask.
            fs::set_permissions(folder, Permissions::from_mode(0o755))?;
        }
        if fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket()) {
            match std_net::UnixStream::connect(path) {
                Ok(_) => return Err(io::Error::new(io::ErrorKind::AddrInUse, "another agent answers on it")),
                Err(_) => fs::remove_file(path)?,
            }
        }
        let listener = UnixListener::bind(path)?;
        fs::set_permissions(path, Permissions::from_mode(0o660))?;
        Ok(Self { listener, path: path.to_owned() })
    }

    /// Answers for ever. Each connection gets one question, a bounded time, and one of a few places.
    pub async fn serve(self, asked: mpsc::Sender<Asked>) {
        let places = std::sync::Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            let Ok(place) = std::sync::Arc::clone(&places).acquire_owned().await else { return };
            let Ok((stream, _)) = self.listener.accept().await else {
                // Out of descriptors, most likely: do not spin.
                tokio::time::sleep(PATIENCE).await;
                continue;
            };
            let asked = asked.clone();
            tokio::spawn(async move {
                // The client sees a closed connection; there is nobody else to tell.
                let _ = tokio::time::timeout(PATIENCE, answer(stream, asked)).await;
                drop(place);
            });
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // The next start replaces what is left behind.
        let _ = fs::remove_file(&self.path);
    }
}

async fn answer(mut stream: UnixStream, asked: mpsc::Sender<Asked>) -> io::Result<()> {
    let (read, mut write) = stream.split();
    let mut question = String::new();
    BufReader::new(read.take(QUESTION_BYTES_MAX)).read_line(&mut question).await?;
    let reply = if question.trim_end() == QUESTION {
        let (reply, replied) = oneshot::channel();
        asked.send(reply).await.map_err(io::Error::other)?;
        replied.await.map_err(io::Error::other)?
    } else {
        r#"{"error":"unknown question, try `status`"}"#.to_owned()
    };
    write.write_all(reply.as_bytes()).await?;
    write.write_all(b"\n").await
}

/// Asks the agent behind `path`.
///
/// # Errors
///
/// Of the connection, and [`io::ErrorKind::TimedOut`].
pub fn ask(path: &Path) -> io::Result<String> {
    use std::io::{Read, Write};
    let mut stream = std_net::UnixStream::connect(path)?;
    stream.set_read_timeout(Some(PATIENCE * 2))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(format!("{QUESTION}\n").as_bytes())?;
    let mut reply = String::new();
    stream.take(4 << 20).read_to_string(&mut reply)?;
    Ok(reply)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_line_asks_one_line_answers_and_nonsense_is_told() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("made").join("agent.sock");
        let socket = Socket::bind(&path).expect("bind");
        assert_eq!(fs::metadata(&path).expect("socket").permissions().mode() & 0o777, 0o660);
        let (asked, mut questions) = mpsc::channel::<Asked>(1);
        tokio::spawn(socket.serve(asked));
        let client = {
            let path = path.clone();
            tokio::task::spawn_blocking(move || ask(&path))
        };
        questions.recv().await.expect("a question").send("{\"ready\":true}".to_owned()).expect("asked");
        assert_eq!(client.await.expect("client").expect("answer"), "{\"ready\":true}\n");

        let mut stream = UnixStream::connect(&path).await.expect("connect");
        stream.write_all(b"shutdown\n").await.expect("write");
        let mut reply = String::new();
        stream.read_to_string(&mut reply).await.expect("read");
        assert!(reply.contains("unknown question"));
    }

    #[tokio::test]
    async fn socket_of_a_dead_agent_is_replaced_and_of_a_living_one_is_not() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("agent.sock");
        drop(std_net::UnixListener::bind(&path).expect("left behind"));
        let first = Socket::bind(&path).expect("replaces it");
        let second = Socket::bind(&path).err().map(|error| error.kind());
        assert_eq!(second, Some(io::ErrorKind::AddrInUse));
        drop(first);
        assert!(!path.exists());
    }
}
