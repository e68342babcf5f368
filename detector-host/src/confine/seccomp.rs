//! The two seccomp filters.

use super::{ConfineError, Role, failed};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen as Len, SeccompCmpOp as Op, SeccompCondition, SeccompFilter,
    SeccompRule,
};
use std::collections::BTreeMap;

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

const PROT_EXEC: u64 = libc::PROT_EXEC as u64;

/// What Rust's runtime, the allocator and wasmtime need once everything is open: memory, time, own threads, three pipes.
const ALLOWED: &[i64] = &[
    libc::SYS_brk,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_futex,
    libc::SYS_getpid,
    libc::SYS_getrandom,
    libc::SYS_gettid,
    libc::SYS_madvise,
    libc::SYS_membarrier,
    libc::SYS_mremap,
    libc::SYS_munmap,
    libc::SYS_restart_syscall,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sched_yield,
    libc::SYS_sigaltstack,
];

pub(super) fn allow_list(role: Role) -> Result<BpfProgram, ConfineError> {
    let own_pid = u64::from(std::process::id());
    let mut rules: Rules = ALLOWED.iter().map(|call| (*call, Vec::new())).collect();
    rules.insert(libc::SYS_read, vec![rule(0, Op::Eq, 0)?]);
    rules.insert(libc::SYS_write, vec![rule(0, Op::Eq, 1)?, rule(0, Op::Eq, 2)?]);
    rules.insert(libc::SYS_mmap, vec![rule(2, Op::MaskedEq(PROT_EXEC), 0)?]);
    rules.insert(libc::SYS_tgkill, vec![rule(0, Op::Eq, own_pid)?]);
    match role {
        Role::Worker => {
            let more_filters = rule(0, Op::Eq, u64::from(libc::SECCOMP_SET_MODE_FILTER))?;
            rules.insert(libc::SYS_mprotect, Vec::new());
            rules.insert(libc::SYS_seccomp, vec![more_filters]);
            rules.insert(libc::SYS_prctl, vec![rule(0, Op::Eq, libc::PR_SET_NO_NEW_PRIVS as u64)?]);
        }
        Role::Compiler => {
            rules.insert(libc::SYS_mprotect, vec![rule(2, Op::MaskedEq(PROT_EXEC), 0)?]);
        }
    }
    compile(rules, SeccompAction::KillProcess, SeccompAction::Allow)
}

pub(super) fn no_new_code() -> Result<BpfProgram, ConfineError> {
    let executable = || rule(2, Op::MaskedEq(PROT_EXEC), PROT_EXEC);
    let rules = Rules::from([
        (libc::SYS_mmap, vec![executable()?]),
        (libc::SYS_mprotect, vec![executable()?]),
        (libc::SYS_pkey_mprotect, Vec::new()),
        (libc::SYS_seccomp, Vec::new()),
        (libc::SYS_prctl, Vec::new()),
    ]);
    compile(rules, SeccompAction::Allow, SeccompAction::KillProcess)
}

pub(super) fn apply(program: &BpfProgram) -> Result<(), ConfineError> {
    seccompiler::apply_filter_all_threads(program).map_err(failed("seccomp"))
}

fn rule(argument: u8, operator: Op, value: u64) -> Result<SeccompRule, ConfineError> {
    let condition = SeccompCondition::new(argument, Len::Dword, operator, value).map_err(failed("seccomp"))?;
    SeccompRule::new(vec![condition]).map_err(failed("seccomp"))
}

fn compile(rules: Rules, otherwise: SeccompAction, matched: SeccompAction) -> Result<BpfProgram, ConfineError> {
    let arch = std::env::consts::ARCH.try_into().map_err(failed("seccomp"))?;
    let filter = SeccompFilter::new(rules, otherwise, matched, arch).map_err(failed("seccomp"))?;
    filter.try_into().map_err(failed("seccomp"))
}
