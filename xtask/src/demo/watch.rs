//! Looks at the incidents twice a second from the first second on, as a person with a dashboard would.
//!
//! The looking itself is load on the host (processes, connections that linger). Done at one pace from before the
//! warm-up to the end, it is part of what is usual here and no disturbance of its own.

use super::fleet::Asker;
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

const PACE: Duration = Duration::from_millis(500);

/// The latest answer of `vedette incidents list`.
pub(crate) struct Watch {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    incidents: Vec<Value>,
    looks: u64,
    stop: bool,
}

impl Watch {
    pub(crate) fn start(asker: Asker) -> Self {
        let shared = Arc::new(Shared::default());
        let thread = std::thread::spawn({
            let shared = Arc::clone(&shared);
            move || look(&asker, &shared)
        });
        Self { shared, thread: Some(thread) }
    }

    /// Waits until `found` is satisfied with the list of incidents.
    pub(crate) fn until<T>(&self, what: &str, patience: Duration, found: impl Fn(&[Value]) -> Option<T>) -> Result<T> {
        let deadline = Instant::now() + patience;
        let mut state = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(answer) = found(&state.incidents) {
                return Ok(answer);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                bail!("waited {} s for {what}", patience.as_secs());
            }
            state = self.shared.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// The list as it is after at least one more look.
    pub(crate) fn now(&self) -> Result<Vec<Value>> {
        let seen = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner).looks;
        let deadline = Instant::now() + Duration::from_secs(10);
        let mut state = self.shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        while state.looks == seen {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                bail!("the collector does not list its incidents");
            }
            state = self.shared.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        Ok(state.incidents.clone())
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner).stop = true;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn look(asker: &Asker, shared: &Shared) {
    loop {
        let begun = Instant::now();
        // While the collector is down the last answer stands.
        let answer = incidents(asker);
        let mut state = shared.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.stop {
            return;
        }
        if let Ok(incidents) = answer {
            state.incidents = incidents;
            state.looks += 1;
            shared.changed.notify_all();
        }
        drop(state);
        std::thread::sleep(PACE.saturating_sub(begun.elapsed()));
    }
}

fn incidents(asker: &Asker) -> Result<Vec<Value>> {
    let answer = asker.ask(&["incidents", "list"])?;
    answer["incidents"].as_array().cloned().context("`incidents list` has no incidents")
}
