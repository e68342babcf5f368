//! Connections of whoever comes: a few at one time, each for a while.

use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// What whoever comes may take up.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Places {
    /// Connections at one time; the next ones wait.
    pub(crate) count: usize,
    /// Longest life of one.
    pub(crate) patience: Duration,
}

impl Places {
    /// Accepts and answers for ever.
    pub(crate) async fn serve<S, P, C, A>(self, accept: impl Fn() -> C, answer: impl Fn(S) -> A)
    where
        C: Future<Output = io::Result<(S, P)>>,
        A: Future<Output = io::Result<()>> + Send + 'static,
    {
        let places = Arc::new(Semaphore::new(self.count));
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            let Ok((stream, _)) = accept().await else {
                // Out of descriptors, most likely: do not spin.
                tokio::time::sleep(self.patience).await;
                continue;
            };
            let answer = answer(stream);
            tokio::spawn(async move {
                // Who came sees a closed connection; there is nobody else to tell.
                let _ = tokio::time::timeout(self.patience, answer).await;
                drop(place);
            });
        }
    }
}
