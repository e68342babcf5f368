//! Compiling in a confined child: the module goes in through a pipe, native code comes out of one.

use crate::{CompileError, compile};
use std::io::{self, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitCode, ExitStatus, Stdio};
use vedette_detector_host::artifact::{CWASM_BYTES_MAX, WASM_BYTES_MAX};
use vedette_detector_host::confine::{self, Role};

/// First argument of the child; the target follows.
pub const CHILD_COMMAND: &str = "confined-child";
/// Less than a pipe holds: the parent reads the code to its end first.
const ERROR_BYTES_MAX: usize = 4 * 1024;

/// Compiles in a child process of `program`, which must hand [`CHILD_COMMAND`] to [`child`].
///
/// # Errors
///
/// Any [`CompileError`]; [`CompileError::Child`] if the child was killed by its confinement or its limits.
pub fn run(program: &Path, wasm: &[u8], target: &str) -> Result<Vec<u8>, CompileError> {
    if wasm.len() > WASM_BYTES_MAX {
        return Err(CompileError::TooLarge("wasm", WASM_BYTES_MAX));
    }
    let (status, output, errors) =
        converse(program, wasm, target).map_err(|error| CompileError::Child(error.to_string()))?;
    if status.success() && output.len() <= CWASM_BYTES_MAX {
        return Ok(output);
    }
    match (status.signal(), errors.trim()) {
        (Some(signal), _) => Err(CompileError::Child(format!("killed by signal {signal}: {}", meaning(signal)))),
        (None, "") => Err(CompileError::Child(status.to_string())),
        (None, reason) => Err(CompileError::Refused(reason.into())),
    }
}

/// The child: confines itself, reads a module, writes native code. Call it before any thread is made.
pub fn child(target: &str) -> ExitCode {
    match confine_and_compile(target) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The parent prints it. Names of the module's own choice may be in it.
            let reason = error.to_string();
            let _ = io::stderr().write_all(&reason.as_bytes()[..reason.floor_char_boundary(ERROR_BYTES_MAX)]);
            ExitCode::FAILURE
        }
    }
}

fn confine_and_compile(target: &str) -> Result<(), Box<dyn std::error::Error>> {
    confine::isolate(Role::Compiler)?;
    confine::filter(Role::Compiler)?;
    let mut wasm = Vec::new();
    io::stdin().lock().take(WASM_BYTES_MAX as u64 + 1).read_to_end(&mut wasm)?;
    let cwasm = compile(&wasm, target)?;
    let mut output = io::stdout().lock();
    output.write_all(&cwasm)?;
    Ok(output.flush()?)
}

fn converse(program: &Path, wasm: &[u8], target: &str) -> io::Result<(ExitStatus, Vec<u8>, String)> {
    let mut child = Command::new(program)
        .args([CHILD_COMMAND, target])
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    // The child writes only after it has read all, so this cannot deadlock; a child that died early is told by its status.
    let written = child.stdin.take().map_or(Ok(()), |mut stdin| stdin.write_all(wasm));
    let (mut output, mut errors) = (Vec::new(), Vec::new());
    if let Some(stdout) = child.stdout.take() {
        stdout.take(CWASM_BYTES_MAX as u64 + 1).read_to_end(&mut output)?;
    }
    if let Some(stderr) = child.stderr.take() {
        stderr.take(ERROR_BYTES_MAX as u64).read_to_end(&mut errors)?;
    }
    let status = child.wait()?;
    if status.success() {
        written?;
    }
    Ok((status, output, String::from_utf8_lossy(&errors).into_owned()))
}

fn meaning(signal: i32) -> &'static str {
    match signal {
        libc::SIGSYS => "it tried a forbidden system call",
        libc::SIGXCPU | libc::SIGKILL => "it took too long or too much memory",
        libc::SIGABRT => "it ran out of memory or failed an assertion",
        _ => "it crashed",
    }
}
