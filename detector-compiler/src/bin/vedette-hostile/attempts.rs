//! What an intruder in the worker would try next. Each attempt runs in a process that confined itself like a worker.

use std::ffi::CStr;
use vedette_detector_host::confine::{self, Role, WORKER_DATA_BYTES_MAX};
use vedette_detector_host::engine::Engine;

const PAGE: usize = 4096;

/// How far the process is confined before it tries.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// As before any thread is made: no filter yet.
    Isolated,
    /// As while detectors are loaded.
    Filtered,
    /// As while detectors run.
    Sealed,
}
use Stage::{Filtered, Isolated, Sealed};

/// Name, stage, and the attempt: a system call's result, or its negative `errno`.
type Attempt = (&'static str, Stage, fn() -> i64);

/// Attempts that must end in death.
pub(crate) const FORBIDDEN: &[Attempt] = &[
    ("open-file", Filtered, || call(libc::SYS_openat, [libc::AT_FDCWD.into(), path(c"/etc/passwd"), 0, 0, 0])),
    ("socket", Filtered, || call(libc::SYS_socket, [libc::AF_INET.into(), libc::SOCK_STREAM.into(), 0, 0, 0])),
    ("signal-another", Filtered, || call(libc::SYS_kill, [parent(), libc::SIGTERM.into(), 0, 0, 0])),
    ("signal-a-thread-of-another", Filtered, || {
        call(libc::SYS_tgkill, [parent(), parent(), libc::SIGTERM.into(), 0, 0])
    }),
    ("trace-another", Filtered, || call(libc::SYS_ptrace, [libc::PTRACE_ATTACH.into(), parent(), 0, 0, 0])),
    ("read-another's-memory", Filtered, || call(libc::SYS_process_vm_readv, [parent(), 0, 0, 0, 0])),
    ("get-another's-descriptor", Filtered, || call(libc::SYS_pidfd_open, [parent(), 0, 0, 0, 0])),
    ("fork", Filtered, || call(libc::SYS_clone, [libc::SIGCHLD.into(), 0, 0, 0, 0])),
    ("execute", Filtered, || call(libc::SYS_execve, [path(c"/bin/true"), 0, 0, 0, 0])),
    ("execute-by-descriptor", Filtered, || call(libc::SYS_execveat, [0, path(c""), 0, 0, libc::AT_EMPTY_PATH.into()])),
    ("fork-by-another-call", Filtered, || call(libc::SYS_clone3, [0, 0, 0, 0, 0])),
    ("write-another's-memory", Filtered, || call(libc::SYS_process_vm_writev, [parent(), 0, 0, 0, 0])),
    ("signal-by-descriptor", Filtered, || call(libc::SYS_pidfd_send_signal, [0, libc::SIGTERM.into(), 0, 0, 0])),
    ("take-another's-descriptor", Filtered, || call(libc::SYS_pidfd_getfd, [0, 0, 0, 0, 0])),
    ("connect", Filtered, || call(libc::SYS_connect, [1, 0, 0, 0, 0])),
    ("send", Filtered, || call(libc::SYS_sendmsg, [1, 0, 0, 0, 0])),
    ("queue-system-calls", Filtered, || call(libc::SYS_io_uring_setup, [1, 0, 0, 0, 0])),
    ("load-a-kernel-program", Filtered, || call(libc::SYS_bpf, [0, 0, 0, 0, 0])),
    ("new-namespace", Filtered, || call(libc::SYS_unshare, [libc::CLONE_NEWUSER.into(), 0, 0, 0, 0])),
    ("mount", Filtered, || call(libc::SYS_mount, [0, 0, 0, 0, 0])),
    ("raise-a-limit", Filtered, || call(libc::SYS_prlimit64, [0, libc::RLIMIT_DATA.into(), 0, 0, 0])),
    ("be-dumpable-again", Filtered, || call(libc::SYS_prctl, [libc::PR_SET_DUMPABLE.into(), 1, 0, 0, 0])),
    ("write-to-a-fourth-descriptor", Filtered, || call(libc::SYS_write, [3, 0, 0, 0, 0])),
    ("memory-file", Filtered, || call(libc::SYS_memfd_create, [path(c"code"), 0, 0, 0, 0])),
    ("read-a-fourth-descriptor", Filtered, || call(libc::SYS_read, [3, 0, 0, 0, 0])),
    ("map-executable", Filtered, || map(libc::PROT_READ | libc::PROT_EXEC)),
    ("map-executable-once-sealed", Sealed, || map(libc::PROT_READ | libc::PROT_EXEC)),
    ("protect-executable-once-sealed", Sealed, || protect(libc::PROT_READ | libc::PROT_EXEC)),
    ("pkey-protect-once-sealed", Sealed, || call(libc::SYS_pkey_mprotect, [0, 0, 0, 0, 0])),
    ("add-a-filter-once-sealed", Sealed, || call(libc::SYS_seccomp, [1, 0, 0, 0, 0])),
];

/// Attempts that fail with an error even where there is no filter. The first uses a descriptor that was left open on
/// purpose by whoever started this process.
pub(crate) const REFUSED: &[Attempt] = &[
    ("use-an-inherited-descriptor", Isolated, || call(libc::SYS_fcntl, [3, libc::F_GETFD.into(), 0, 0, 0])),
    ("open-file-unfiltered", Isolated, || {
        call(libc::SYS_openat, [libc::AT_FDCWD.into(), path(c"/etc/passwd"), 0, 0, 0])
    }),
    ("list-files-unfiltered", Isolated, || call(libc::SYS_openat, [libc::AT_FDCWD.into(), path(c"/"), 0, 0, 0])),
    ("execute-unfiltered", Isolated, || call(libc::SYS_execve, [path(c"/bin/true"), 0, 0, 0, 0])),
    ("signal-another-unfiltered", Isolated, || call(libc::SYS_kill, [parent(), 0, 0, 0, 0])),
    ("dump-another-unfiltered", Isolated, || call(libc::SYS_ptrace, [libc::PTRACE_ATTACH.into(), parent(), 0, 0, 0])),
    ("more-memory-than-allowed", Sealed, || map_bytes(WORKER_DATA_BYTES_MAX, libc::PROT_READ | libc::PROT_WRITE)),
];

/// What a worker has to be able to do; they hold the harness to account.
pub(crate) const ALLOWED: &[Attempt] = &[
    ("map", Sealed, || map(libc::PROT_READ | libc::PROT_WRITE)),
    ("protect", Sealed, || protect(libc::PROT_READ)),
    ("protect-executable", Filtered, || protect(libc::PROT_READ | libc::PROT_EXEC)),
    ("allocate", Sealed, || {
        i64::try_from(vec![1_u8; 8 << 20].iter().map(|one| usize::from(*one)).sum::<usize>()).unwrap_or(-1)
    }),
    ("sleep", Sealed, || {
        std::thread::sleep(std::time::Duration::from_micros(1));
        0
    }),
];

/// Confines this process and tries; returns what came of it if it lives on.
pub(crate) fn run(name: &str) -> anyhow::Result<i64> {
    let attempt = FORBIDDEN.iter().chain(REFUSED).chain(ALLOWED).find(|(known, ..)| *known == name);
    let (_, stage, attempt) = attempt.ok_or_else(|| anyhow::anyhow!("no attempt {name:?}"))?;
    confine::isolate(Role::Worker)?;
    if *stage == Isolated {
        return Ok(attempt());
    }
    let _engine = Engine::new()?;
    Engine::prepare_thread();
    confine::filter(Role::Worker)?;
    if *stage == Sealed {
        confine::forbid_new_code()?;
    }
    Ok(attempt())
}

#[allow(unsafe_code, reason = "the filter is tested by the calls themselves")]
fn call(number: i64, arguments: [i64; 5]) -> i64 {
    let [a, b, c, d, e] = arguments;
    // SAFETY: every pointer passed is null or to a static string; nothing is written through any.
    let result = unsafe { libc::syscall(number, a, b, c, d, e, 0_i64) };
    if result < 0 { -i64::from(std::io::Error::last_os_error().raw_os_error().unwrap_or(1)) } else { result }
}

fn path(path: &'static CStr) -> i64 {
    path.as_ptr() as i64
}

fn parent() -> i64 {
    std::os::unix::process::parent_id().into()
}

fn map(protection: i32) -> i64 {
    map_bytes(PAGE as u64, protection)
}

fn map_bytes(bytes: u64, protection: i32) -> i64 {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    call(libc::SYS_mmap, [0, bytes.cast_signed(), protection.into(), flags.into(), -1])
}

fn protect(protection: i32) -> i64 {
    call(libc::SYS_mprotect, [map(libc::PROT_READ | libc::PROT_WRITE), PAGE as i64, protection.into(), 0, 0])
}
