//! Confinement of the processes that handle untrusted code: the detector worker and the compiling child.
//!
//! Three steps: [`isolate`] while there is one thread, [`filter`] when all threads exist, and for the worker
//! [`forbid_new_code`] when everything is loaded. A system call that is not on the list kills the process, which the
//! supervisor sees as SIGSYS. What the kernel does not offer is left out of the names returned, except for seccomp:
//! without it there is no confinement, and the process must not go on.

mod seccomp;

use landlock::{ABI, Access, AccessFs, AccessNet, Compatible, Ruleset, RulesetAttr, RulesetStatus, Scope};
use rustix::process::{DumpableBehavior, Resource, Rlimit};
use std::io;

/// Private writable memory of a worker: all its detectors and the runtime. Reservations do not count.
pub const WORKER_DATA_BYTES_MAX: u64 = 256 << 20;
/// The same for a compiling child.
pub const COMPILER_DATA_BYTES_MAX: u64 = 1 << 30;
/// CPU time of a compiling child.
pub const COMPILER_CPU_SECONDS_MAX: u64 = 120;

/// Who is confined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Runs detectors, never ends.
    Worker,
    /// Compiles one module: runs no foreign code, so it never needs executable memory.
    Compiler,
}

/// A measure that must not fail did.
#[derive(Debug, thiserror::Error)]
#[error("cannot confine this process: {measure}: {reason}")]
pub struct ConfineError {
    measure: &'static str,
    reason: String,
}

fn failed<E: std::fmt::Display>(measure: &'static str) -> impl FnOnce(E) -> ConfineError {
    move |error| ConfineError { measure, reason: error.to_string() }
}

/// First step, before any thread is made: gives up privileges, memory dumps, files, network, other processes, and every
/// inherited descriptor but the standard ones. Returns what is in force.
///
/// # Errors
///
/// If a measure fails that every supported kernel has.
pub fn isolate(role: Role) -> Result<Vec<String>, ConfineError> {
    spare_allocator();
    let mut in_force = vec!["no-new-privs", "no-dump", "rlimits"];
    rustix::thread::set_no_new_privs(true).map_err(failed("no-new-privs"))?;
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(failed("no-dump"))?;
    in_force.extend(close_inherited().then_some("no-inherited-files"));
    in_force.extend(landlock()?);
    limit(role).map_err(failed("rlimits"))?;
    Ok(in_force.into_iter().map(str::to_owned).collect())
}

/// Second step, when all threads exist: system calls on an allow-list, anything else kills.
///
/// # Errors
///
/// If the kernel has no seccomp filters.
pub fn filter(role: Role) -> Result<&'static str, ConfineError> {
    seccomp::apply(&seccomp::allow_list(role)?)?;
    Ok("seccomp")
}

/// Last step of the worker: from here on no page can become executable and no filter can be added.
///
/// # Errors
///
/// If the kernel refuses the filter.
pub fn forbid_new_code() -> Result<&'static str, ConfineError> {
    seccomp::apply(&seccomp::no_new_code()?)?;
    Ok("no-new-code")
}

fn limit(role: Role) -> io::Result<()> {
    let data = match role {
        Role::Worker => WORKER_DATA_BYTES_MAX,
        Role::Compiler => COMPILER_DATA_BYTES_MAX,
    };
    let mut limits = vec![(Resource::Data, data), (Resource::Nofile, 0), (Resource::Core, 0), (Resource::Memlock, 0)];
    if role == Role::Compiler {
        limits.push((Resource::Cpu, COMPILER_CPU_SECONDS_MAX));
    }
    for (resource, max) in limits {
        rustix::process::setrlimit(resource, Rlimit { current: Some(max), maximum: Some(max) })?;
    }
    Ok(())
}

/// Denies every access that the kernel's landlock knows; names the parts that are in force.
fn landlock() -> Result<Option<&'static str>, ConfineError> {
    let denied = Ruleset::default()
        .set_compatibility(landlock::CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(ABI::V5))
        .and_then(|ruleset| ruleset.handle_access(AccessNet::from_all(ABI::V5)))
        .and_then(|ruleset| ruleset.scope(Scope::from_all(ABI::V6)))
        .and_then(Ruleset::create)
        .and_then(landlock::RulesetCreated::restrict_self)
        .map_err(failed("landlock"))?;
    Ok(match denied.ruleset {
        RulesetStatus::FullyEnforced => Some("landlock"),
        RulesetStatus::PartiallyEnforced => Some("landlock-partly"),
        RulesetStatus::NotEnforced => None,
    })
}

/// Closes every descriptor from 3 on. Kernels before 5.9 cannot do it at once: then it is up to the agent, whose own
/// descriptors are all close-on-exec.
#[allow(unsafe_code, reason = "close_range is in no wrapper that serves glibc 2.28")]
fn close_inherited() -> bool {
    // SAFETY: called before anything of this process was opened; descriptors above 2 are somebody else's.
    unsafe { libc::syscall(libc::SYS_close_range, 3_u32, u32::MAX, 0_u32) == 0 }
}

/// One arena and prompt return of memory. Besides being small it keeps glibc from reading /proc when it shrinks another
/// thread's arena, which the filter would take for an attack.
#[cfg(target_env = "gnu")]
#[allow(unsafe_code, reason = "mallopt is only reachable through libc")]
fn spare_allocator() {
    // SAFETY: no other thread exists yet.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
        libc::mallopt(libc::M_MMAP_THRESHOLD, 64 << 10);
        libc::mallopt(libc::M_TRIM_THRESHOLD, 128 << 10);
    }
}

#[cfg(not(target_env = "gnu"))]
fn spare_allocator() {}

/// Whether this process may make a page executable, as a worker must before it seals itself: a service manager or the
/// kernel's policy may deny it to everybody.
#[allow(unsafe_code, reason = "asks the kernel for a page of its own and gives it back")]
pub fn new_code_is_allowed() -> bool {
    const PAGE_BYTES: usize = 64 << 10;
    let (none, anonymous) = (std::ptr::null_mut(), libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: a new mapping that nobody else knows; nothing in it is executed, and it ends here.
    unsafe {
        let page = libc::mmap(none, PAGE_BYTES, libc::PROT_READ | libc::PROT_WRITE, anonymous, -1, 0);
        if page == libc::MAP_FAILED {
            return false;
        }
        let allowed = libc::mprotect(page, PAGE_BYTES, libc::PROT_READ | libc::PROT_EXEC) == 0;
        libc::munmap(page, PAGE_BYTES);
        allowed
    }
}

/// Gives freed memory back to the kernel.
#[allow(unsafe_code, reason = "malloc_trim is only reachable through libc")]
pub fn return_freed_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: has no preconditions.
    unsafe {
        libc::malloc_trim(0);
    }
}
