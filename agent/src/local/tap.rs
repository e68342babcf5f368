//! A reader that follows: its lines go out as fast as it reads, and nobody waits for it.

use super::PORTIONS_MAX;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::mpsc;
use tokio::time::timeout;
use vedette_edge::tap::Patterns;

/// A reader that has read nothing for so long has gone.
const STALLED: Duration = Duration::from_secs(60);

/// Somebody wants to follow: what, and where the lines go. They end when either end is dropped.
#[derive(Debug)]
pub struct OpenTap {
    /// What.
    pub patterns: Patterns,
    /// Where whole lines of JSON go, some at a time.
    pub portions: mpsc::Sender<Vec<u8>>,
}

/// Streams until the reader goes, has stalled, or the agent ends.
pub(super) async fn stream(mut stream: UnixStream, patterns: Patterns, taps: &mpsc::Sender<OpenTap>) -> io::Result<()> {
    let (portions, mut waiting) = mpsc::channel(PORTIONS_MAX);
    taps.send(OpenTap { patterns, portions }).await.map_err(io::Error::other)?;
    let (mut read, mut write) = stream.split();
    let mut said = [0; 64];
    loop {
        tokio::select! {
            portion = waiting.recv() => {
                let Some(portion) = portion else { return Ok(()) };
                timeout(STALLED, write.write_all(&portion)).await.map_err(|_| io::ErrorKind::TimedOut)??;
            }
            // It has nothing to say but that it goes.
            said = read.read(&mut said) => if said? == 0 { return Ok(()) },
        }
    }
}
