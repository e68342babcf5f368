//! A crafted native artifact: what a stolen author key or a broken compiler could hand to the worker.
//!
//! Good native code of a marked guest is patched: the instruction that loads the mark becomes a system call that
//! the worker may not make. It loads as any other, because its digest is signed after the patch.

use crate::guests::MARK;
use anyhow::{Context, Result};

/// `mov $imm64, %r64`: two bytes of prefix and opcode, then the immediate.
const LOAD_BYTES: usize = 10;

/// `mov $NUMBER, %eax; syscall`, then `ud2`: if the kernel let it pass, it would still not get away.
const fn system_call(number: u8) -> [u8; LOAD_BYTES] {
    [0xb8, number, 0, 0, 0, 0x0f, 0x05, 0x0f, 0x0b, 0x90]
}

/// Opens a socket, or tries to.
pub(crate) fn open_socket(cwasm: Vec<u8>) -> Result<Vec<u8>> {
    patch(cwasm, system_call(41))
}

/// Ends the worker as if it had been told to: exit is a call that the worker has to be allowed.
pub(crate) fn exit_quietly(cwasm: Vec<u8>) -> Result<Vec<u8>> {
    patch(cwasm, system_call(231))
}

/// Replaces the load of the mark.
fn patch(mut cwasm: Vec<u8>, code: [u8; LOAD_BYTES]) -> Result<Vec<u8>> {
    anyhow::ensure!(cfg!(target_arch = "x86_64"), "the crafted artifacts are written for x86-64");
    let mark = MARK.to_le_bytes();
    let at = cwasm.windows(mark.len()).position(|bytes| bytes == mark).context("no mark in the native code")?;
    let begin = at.checked_sub(LOAD_BYTES - mark.len()).context("the mark is not in an instruction")?;
    let load = cwasm.get_mut(begin..begin + LOAD_BYTES).context("the mark is cut")?;
    anyhow::ensure!(load[0] & 0xfe == 0x48 && load[1] & 0xf8 == 0xb8, "the mark is not loaded by `mov`");
    load.copy_from_slice(&code);
    Ok(cwasm)
}
