//! What a guest can reach: memory up to a limit, and a log of few short lines.

use super::Limits;
use wasmtime::ResourceLimiter;

const LOG_LINE_BYTES_MAX: usize = 256;

/// A line that a detector logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// 0 error, 1 warn, 2 info, 3 debug.
    pub level: u8,
    /// Text, cut and without control characters.
    pub message: String,
}

pub(super) struct Host {
    memory_bytes_max: usize,
    memory_bytes: usize,
    table_elements_max: usize,
    memory_denied: Option<usize>,
    log_lines_max: usize,
    log: Vec<LogLine>,
    log_dropped: u64,
}

impl Host {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            memory_bytes_max: limits.memory_bytes,
            memory_bytes: 0,
            table_elements_max: limits.table_elements,
            memory_denied: None,
            log_lines_max: limits.log_lines,
            log: Vec::new(),
            log_dropped: 0,
        }
    }

    /// A call begins: a denial that the guest lived with is over.
    pub(super) fn begin_call(&mut self) {
        self.memory_denied = None;
    }

    /// The size that was denied during this call, if any was.
    pub(super) fn memory_denied(&self) -> Option<usize> {
        self.memory_denied
    }

    /// Linear memory in use.
    pub(super) fn memory_bytes(&self) -> usize {
        self.memory_bytes
    }

    pub(super) fn take_log(&mut self) -> (Vec<LogLine>, u64) {
        (std::mem::take(&mut self.log), std::mem::take(&mut self.log_dropped))
    }

    /// A line that the guest logs.
    pub(super) fn keep(&mut self, level: u8, message: &str) {
        if self.log.len() >= self.log_lines_max {
            self.log_dropped += 1;
            return;
        }
        let end = message.floor_char_boundary(LOG_LINE_BYTES_MAX);
        let message = message[..end].chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        self.log.push(LogLine { level, message });
    }
}

impl ResourceLimiter for Host {
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let all = self.memory_bytes.saturating_add(desired.saturating_sub(current));
        if all > self.memory_bytes_max {
            self.memory_denied = Some(all);
            return Ok(false);
        }
        self.memory_bytes = all;
        Ok(true)
    }

    fn table_growing(&mut self, _current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        Ok(desired <= self.table_elements_max)
    }

    fn instances(&self) -> usize {
        16
    }

    fn tables(&self) -> usize {
        16
    }

    fn memories(&self) -> usize {
        4
    }
}
