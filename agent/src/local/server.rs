//! The agent's end of the local interface.

use super::{ANSWER_BYTES_MAX, CONNECTIONS_MAX, Line, OpenTap, Places, QUESTION_BYTES_MAX, Question, TAPS_MAX, tap};
use crate::cost::Bill;
use crate::metrics;
use crate::recorder::read::Unwritten;
use crate::status::Status;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net as std_net;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot};
use vedette_edge::pipeline::OddSeries;

/// Longest life of a connection that asks.
const PATIENCE: Duration = Duration::from_secs(2);

/// Somebody asks: what, and where the answer goes.
#[derive(Debug)]
pub struct Asked {
    /// What.
    pub question: Question,
    /// Where to; nobody listens if who asked has hung up.
    pub answer: oneshot::Sender<Answer>,
}

/// What the loop answers; it is put into words elsewhere.
#[derive(Debug)]
pub enum Answer {
    /// To [`Question::Status`] and [`Question::Metrics`].
    Status(Box<Status>),
    /// To [`Question::Recorder`].
    Recorder(Box<Unwritten>),
    /// To [`Question::Cost`].
    Cost(Box<Bill>),
    /// To [`Question::Oddest`].
    Oddest(Vec<OddSeries>),
}

impl Asked {
    /// Puts a question to the loop and waits for its answer in the form in which it was asked for.
    ///
    /// # Errors
    ///
    /// If the loop has ended.
    pub async fn put(question: Question, loop_: &mpsc::Sender<Self>) -> io::Result<String> {
        let (answer, answered) = oneshot::channel();
        let wants_metrics = question == Question::Metrics;
        loop_.send(Self { question, answer }).await.map_err(io::Error::other)?;
        Ok(match answered.await.map_err(io::Error::other)? {
            Answer::Status(status) if wants_metrics => metrics::render(&status),
            Answer::Status(status) => json(&*status),
            // Decoding takes a while, and the loop's thread has other things to do.
            Answer::Recorder(unwritten) => {
                tokio::task::spawn_blocking(move || json(&unwritten.take_out())).await.map_err(io::Error::other)?
            }
            Answer::Cost(bill) => json(&*bill),
            Answer::Oddest(series) => json(&series),
        })
    }
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("numbers, texts and lists are always JSON") + "\n"
}

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

    /// Answers for ever. Each connection gets one question, a bounded time, and one of a few places; who follows gives that
    /// one back and gets one of fewer others for as long as it reads.
    pub async fn serve(self, asked: mpsc::Sender<Asked>, taps: mpsc::Sender<OpenTap>) {
        let readers = Arc::new(Semaphore::new(TAPS_MAX));
        let places = Places { count: CONNECTIONS_MAX, patience: PATIENCE };
        let answer = |stream| answer(stream, asked.clone(), taps.clone(), Arc::clone(&readers));
        places.serve(|| self.listener.accept(), answer).await;
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // The next start replaces what is left behind.
        let _ = fs::remove_file(&self.path);
    }
}

/// Answers one line. Who asks to follow, and gets a place for that, is followed by a task of its own.
async fn answer(
    mut stream: UnixStream,
    asked: mpsc::Sender<Asked>,
    taps: mpsc::Sender<OpenTap>,
    readers: Arc<Semaphore>,
) -> io::Result<()> {
    let mut line = String::new();
    BufReader::new((&mut stream).take(QUESTION_BYTES_MAX)).read_line(&mut line).await?;
    let refused = |told: String| json(&serde_json::json!({ "error": told }));
    let reply = match line.parse() {
        Ok(Line::Question(question)) => Asked::put(question, &asked).await?,
        Ok(Line::Tap(patterns)) => match readers.try_acquire_owned() {
            Ok(reader) => {
                tokio::spawn(async move {
                    // The reader sees a closed connection; there is nobody else to tell.
                    let _ = tap::stream(stream, patterns, &taps).await;
                    drop(reader);
                });
                return Ok(());
            }
            Err(_) => refused(format!("{TAPS_MAX} taps are open already: end one of them")),
        },
        Err(told) => refused(told),
    };
    let fits = reply.len() as u64 <= ANSWER_BYTES_MAX;
    let reply =
        if fits { reply } else { refused(format!("the answer is longer than {ANSWER_BYTES_MAX} bytes: ask for less")) };
    stream.write_all(reply.as_bytes()).await
}

#[cfg(test)]
mod tests {
    use super::super::ask;
    use super::*;

    #[tokio::test]
    async fn one_line_asks_one_answer_comes_and_nonsense_is_told() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("made").join("agent.sock");
        let socket = Socket::bind(&path).expect("bind");
        assert_eq!(fs::metadata(&path).expect("socket").permissions().mode() & 0o777, 0o660);
        let (asked, mut questions) = mpsc::channel::<Asked>(1);
        tokio::spawn(socket.serve(asked, mpsc::channel(1).0));
        for (question, expected) in [(Question::Status, "{\"version\":"), (Question::Metrics, "# HELP ")] {
            let path = path.clone();
            let asks = question.clone();
            let client = tokio::task::spawn_blocking(move || ask(&path, &asks));
            let asked = questions.recv().await.expect("a question");
            assert_eq!(asked.question, question);
            asked.answer.send(Answer::Status(Box::default())).expect("somebody waits");
            let answer = client.await.expect("client").expect("answer");
            assert!(answer.starts_with(expected) && answer.ends_with('\n'), "{answer}");
        }

        let mut stream = UnixStream::connect(&path).await.expect("connect");
        stream.write_all(b"v1 shutdown\n").await.expect("write");
        let mut reply = String::new();
        stream.read_to_string(&mut reply).await.expect("read");
        assert!(reply.contains("unknown question"));
    }

    #[tokio::test]
    async fn endless_question_is_cut_and_refused() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("agent.sock");
        let (asked, _questions) = mpsc::channel::<Asked>(1);
        tokio::spawn(Socket::bind(&path).expect("bind").serve(asked, mpsc::channel(1).0));
        let mut stream = UnixStream::connect(&path).await.expect("connect");
        let endless = vec![b'x'; usize::try_from(QUESTION_BYTES_MAX).expect("small")];
        stream.write_all(&endless).await.expect("write");
        let mut reply = String::new();
        stream.read_to_string(&mut reply).await.expect("read");
        assert!(reply.starts_with(r#"{"error":"unknown question"#), "{reply}");
    }

    #[tokio::test]
    async fn who_asks_while_all_places_are_taken_waits_for_one() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("agent.sock");
        let (asked, mut questions) = mpsc::channel::<Asked>(1);
        tokio::spawn(Socket::bind(&path).expect("bind").serve(asked, mpsc::channel(1).0));
        let mut idle = Vec::new();
        for _ in 0..CONNECTIONS_MAX {
            idle.push(UnixStream::connect(&path).await.expect("connect"));
        }
        let mut last = UnixStream::connect(&path).await.expect("connect");
        last.write_all(b"v1 cost\n").await.expect("write");
        for _ in 0..1_000 {
            tokio::task::yield_now().await;
        }
        assert!(questions.try_recv().is_err(), "nobody has answered it yet");
        idle.pop();
        assert_eq!(questions.recv().await.map(|asked| asked.question), Some(Question::Cost));
    }

    #[tokio::test]
    async fn reader_follows_until_it_goes_and_one_too_many_is_refused() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("agent.sock");
        let (taps, mut opened) = mpsc::channel(1);
        tokio::spawn(Socket::bind(&path).expect("bind").serve(mpsc::channel(1).0, taps));
        let mut readers = Vec::new();
        for _ in 0..TAPS_MAX {
            let mut stream = UnixStream::connect(&path).await.expect("connect");
            stream.write_all(b"v1 tap [\"*\"]\n").await.expect("write");
            let tap: OpenTap = opened.recv().await.expect("a tap");
            tap.portions.send(b"{}\n".to_vec()).await.expect("somebody reads");
            let mut line = [0; 3];
            stream.read_exact(&mut line).await.expect("a line");
            assert_eq!(&line, b"{}\n");
            readers.push((stream, tap));
        }
        let mut stream = UnixStream::connect(&path).await.expect("connect");
        stream.write_all(b"v1 tap\n").await.expect("write");
        let mut reply = String::new();
        stream.read_to_string(&mut reply).await.expect("read");
        assert!(reply.contains("taps are open already"), "{reply}");

        let (stream, tap) = readers.pop().expect("one of them");
        drop(stream);
        tap.portions.closed().await;
        let (mut stream, tap) = readers.pop().expect("another");
        drop(tap);
        assert_eq!(stream.read(&mut [0]).await.expect("read"), 0, "the agent has ended");
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
