//! Ends calls that take too long.
//!
//! A call's allowance is CPU time of the calling thread, so a detector does not fail because the host is busy; a wider
//! limit on wall time bounds what the agent has to wait. The thread sleeps until the current call could be overdue and
//! is parked while there is none: about two wake-ups a tick, however many detectors there are.

use std::sync::{Arc, Barrier, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Time that one call may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// CPU time of the calling thread.
    pub cpu: Duration,
    /// Wall time.
    pub wall: Duration,
}

pub(super) struct Watchdog {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    /// Held during a turn: an interruption must hit the call it was meant for.
    guests: Mutex<()>,
}

struct Shared {
    watch: Mutex<Watch>,
    changed: Condvar,
}

#[derive(Default)]
struct Watch {
    call: Option<Call>,
    /// When the thread looks again; `None` while it is parked.
    wakes: Option<Instant>,
    stop: bool,
}

#[derive(Clone, Copy)]
struct Call {
    allowance: Allowance,
    began: Instant,
    cpu_clock: libc::clockid_t,
    cpu_began: Duration,
}

/// A running call; dropping it calls the watchdog off.
pub(crate) struct Turn<'a> {
    shared: &'a Shared,
    _only_guest: MutexGuard<'a, ()>,
}

impl Watchdog {
    /// Starts the thread and waits until it runs: a filter that comes next would kill a thread that still sets itself up.
    /// `interrupt` ends the call that runs at that moment.
    pub(super) fn start(interrupt: impl Fn() + Send + 'static) -> std::io::Result<Self> {
        let shared = Arc::new(Shared { watch: Mutex::default(), changed: Condvar::new() });
        let running = Arc::new(Barrier::new(2));
        let thread = std::thread::Builder::new().name("watchdog".into()).stack_size(64 * 1024).spawn({
            let (shared, running) = (Arc::clone(&shared), Arc::clone(&running));
            move || {
                running.wait();
                shared.run(&interrupt);
            }
        })?;
        running.wait();
        Ok(Self { shared, thread: Some(thread), guests: Mutex::new(()) })
    }

    pub(super) fn turn(&self, allowance: Allowance) -> Turn<'_> {
        let only_guest = self.guests.lock().unwrap_or_else(PoisonError::into_inner);
        let cpu_clock = own_cpu_clock();
        let call = Call { allowance, began: Instant::now(), cpu_clock, cpu_began: read_clock(cpu_clock) };
        let mut watch = self.shared.lock();
        watch.call = Some(call);
        let look_at = call.began + allowance.cpu.min(allowance.wall);
        if watch.wakes.is_none_or(|wakes| wakes > look_at) {
            self.shared.changed.notify_one();
        }
        Turn { shared: &self.shared, _only_guest: only_guest }
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.shared.lock().stop = true;
        self.shared.changed.notify_one();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.shared.lock().call = None;
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Watch> {
        self.watch.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, interrupt: &dyn Fn()) {
        let mut watch = self.lock();
        while !watch.stop {
            watch.wakes = None;
            watch = match watch.call.map(Call::left) {
                None => self.changed.wait(watch).unwrap_or_else(PoisonError::into_inner),
                Some(Duration::ZERO) => {
                    interrupt();
                    watch.call = None;
                    watch
                }
                Some(left) => {
                    watch.wakes = Some(Instant::now() + left);
                    self.changed.wait_timeout(watch, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }
}

impl Call {
    /// Time after which the call could have used up its allowance; zero if it has.
    fn left(self) -> Duration {
        let wall = self.allowance.wall.saturating_sub(self.began.elapsed());
        let cpu = self.allowance.cpu.saturating_sub(read_clock(self.cpu_clock).saturating_sub(self.cpu_began));
        wall.min(cpu)
    }
}

#[allow(unsafe_code, reason = "the clock of another thread is only reachable through libc")]
fn own_cpu_clock() -> libc::clockid_t {
    let mut clock = libc::CLOCK_THREAD_CPUTIME_ID;
    // SAFETY: the thread exists, it is this one; on failure the clock stays the caller's own.
    unsafe { libc::pthread_getcpuclockid(libc::pthread_self(), &raw mut clock) };
    clock
}

#[allow(unsafe_code, reason = "the clock of another thread is only reachable through libc")]
fn read_clock(clock: libc::clockid_t) -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is valid for writing. The clock of a thread that is gone gives an error and leaves zero.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    Duration::new(time.tv_sec.try_into().unwrap_or(0), time.tv_nsec.try_into().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[test]
    fn an_overdue_call_is_interrupted_once_and_a_quick_one_never() {
        let interruptions = Arc::new(AtomicU32::new(0));
        let watchdog = Watchdog::start({
            let interruptions = Arc::clone(&interruptions);
            move || {
                interruptions.fetch_add(1, Ordering::SeqCst);
            }
        })
        .unwrap();
        let allowance = Allowance { cpu: Duration::from_millis(5), wall: Duration::from_secs(60) };
        drop(watchdog.turn(Allowance { cpu: Duration::from_secs(60), wall: Duration::from_secs(60) }));
        let turn = watchdog.turn(allowance);
        while interruptions.load(Ordering::SeqCst) == 0 {
            std::hint::black_box(0);
        }
        drop(turn);
        drop(watchdog);
        assert_eq!(interruptions.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn waiting_costs_wall_time_only() {
        let now = Instant::now();
        let clock = own_cpu_clock();
        let allowance = Allowance { cpu: Duration::from_millis(200), wall: Duration::from_secs(1) };
        let began = now.checked_sub(Duration::from_millis(500)).unwrap();
        let call = Call { allowance, began, cpu_clock: clock, cpu_began: read_clock(clock) };
        assert!(call.left() > Duration::from_millis(100), "a half second of waiting is no CPU time");
        let began = now.checked_sub(Duration::from_secs(2)).unwrap();
        assert_eq!(Call { began, ..call }.left(), Duration::ZERO);
    }
}
