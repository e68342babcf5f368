//! What the agent proper gives up at start. The worker confines itself further (`detector_host::confine`).

use std::io;

/// `PR_SET_MDWE` (linux/prctl.h): no page of this process can become executable from here on …
const PR_SET_MDWE: libc::c_int = 65;
const PR_MDWE_REFUSE_EXEC_GAIN: libc::c_ulong = 1;
/// … but a child may map code: the worker needs to, until it seals itself. Linux ≥ 6.6.
const PR_MDWE_NO_INHERIT: libc::c_ulong = 2;

/// Memory arenas of the C library: each thread would get its own 64 MiB reservation and never give it back.
const ARENAS_MAX: libc::c_int = 2;

/// Applies everything that the kernel offers and returns the names of what is in force, for `status`.
///
/// Call it before the first thread and the first key in memory. What the kernel refuses is absent from the result;
/// only the agent's own mistakes would make more of it an error.
pub fn apply() -> Vec<String> {
    rustix::process::umask(rustix::fs::Mode::from_bits_truncate(0o077));
    limit_arenas();
    let steps: [(&str, io::Result<()>); 4] = [
        ("umask-0077", Ok(())),
        ("no-new-privs", rustix::thread::set_no_new_privs(true).map_err(Into::into)),
        ("non-dumpable", non_dumpable()),
        ("no-new-code", deny_new_code()),
    ];
    let inherited = close_inherited_on_exec();
    let named = steps.into_iter().chain([("close-on-exec", inherited)]);
    named.filter_map(|(name, result)| result.is_ok().then(|| name.to_owned())).collect()
}

fn non_dumpable() -> io::Result<()> {
    rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable).map_err(Into::into)
}

#[expect(unsafe_code, reason = "rustix has no PR_SET_MDWE")]
fn deny_new_code() -> io::Result<()> {
    let bits = PR_MDWE_REFUSE_EXEC_GAIN | PR_MDWE_NO_INHERIT;
    // SAFETY: prctl with plain integers; unknown options and bits give EINVAL and change nothing.
    checked(unsafe { libc::prctl(PR_SET_MDWE, bits, 0, 0, 0) })
}

/// Descriptors that our parent left open must not reach the worker.
#[expect(unsafe_code, reason = "rustix has no close_range")]
fn close_inherited_on_exec() -> io::Result<()> {
    let flags = libc::c_int::try_from(libc::CLOSE_RANGE_CLOEXEC).expect("a single low bit");
    // SAFETY: sets a flag on descriptors and closes none.
    checked(unsafe { libc::close_range(3, libc::c_uint::MAX, flags) })
}

#[expect(unsafe_code, reason = "the C library's only knob for arenas besides an environment variable")]
fn limit_arenas() {
    // SAFETY: mallopt with a documented parameter; a refusal only costs memory.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, ARENAS_MAX);
    }
}

fn checked(result: libc::c_int) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
