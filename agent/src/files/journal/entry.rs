//! One entry as a log line: where it comes from and what it says.

use super::format::{EntryHead, Id};

/// Bytes of a name that are kept.
pub(super) const NAME_BYTES_MAX: usize = 64;
/// Priorities of syslog (RFC 5424), as words that are never variable in a template.
const SEVERITIES: [&str; 8] = ["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"];

/// What is wanted of an entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) seqnum: u64,
    pub(super) realtime_us: u64,
    pub(super) monotonic_us: u64,
    pub(super) boot: Id,
    priority: Option<u8>,
    unit: String,
    identifier: String,
    command: String,
    is_kernel: bool,
    message: Vec<u8>,
    has_message: bool,
}

/// A field that is wanted, or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Unwanted,
    Priority(u8),
    Unit(Box<str>),
    Identifier(Box<str>),
    Command(Box<str>),
    Kernel,
}

impl Field {
    pub(super) const MESSAGE: &[u8] = b"MESSAGE=";

    pub(super) fn is_message(payload: &[u8]) -> bool {
        payload.starts_with(Self::MESSAGE)
    }

    /// What `NAME=value` says.
    pub(super) fn parse(payload: &[u8]) -> Self {
        let Some(equals) = memchr::memchr(b'=', payload) else { return Self::Unwanted };
        let value = &payload[equals + 1..];
        match &payload[..equals] {
            b"PRIORITY" => match value {
                [digit @ b'0'..=b'7'] => Self::Priority(digit - b'0'),
                _ => Self::Unwanted,
            },
            b"_SYSTEMD_UNIT" => Self::Unit(name(value)),
            b"SYSLOG_IDENTIFIER" => Self::Identifier(name(value)),
            b"_COMM" => Self::Command(name(value)),
            b"_TRANSPORT" if value == b"kernel" => Self::Kernel,
            _ => Self::Unwanted,
        }
    }
}

impl Entry {
    pub(super) fn begin(&mut self, head: &EntryHead) {
        (self.seqnum, self.realtime_us, self.monotonic_us) = (head.seqnum, head.realtime_us, head.monotonic_us);
        (self.boot, self.priority, self.is_kernel, self.has_message) = (head.boot, None, false, false);
        self.unit.clear();
        self.identifier.clear();
        self.command.clear();
        self.message.clear();
    }

    pub(super) fn set(&mut self, field: &Field) {
        let (to, name) = match field {
            Field::Unwanted => return,
            Field::Priority(priority) => return self.priority = Some(*priority),
            Field::Kernel => return self.is_kernel = true,
            Field::Unit(name) => (&mut self.unit, name),
            Field::Identifier(name) => (&mut self.identifier, name),
            Field::Command(name) => (&mut self.command, name),
        };
        to.clear();
        to.push_str(name);
    }

    pub(super) fn set_message(&mut self, message: &[u8]) {
        self.has_message = true;
        self.message.clear();
        self.message.extend_from_slice(message);
    }

    pub(super) fn has_message(&self) -> bool {
        self.has_message
    }

    /// The service that wrote it, or the program where that is no service: sessions come and go.
    pub(super) fn origin(&self) -> &str {
        let service = self.unit.strip_suffix(".service").map(without_instance);
        match service.filter(|name| !matches!(*name, "" | "user")) {
            Some(service) => service,
            None if self.is_kernel => "kernel",
            None => [self.identifier.as_str(), self.command.as_str()]
                .into_iter()
                .find(|name| !name.is_empty())
                .unwrap_or("unknown"),
        }
    }

    /// The line: severity, the program if it is not its service's, the message.
    pub(super) fn line(&self, out: &mut Vec<u8>) {
        out.clear();
        if let Some(severity) = self.priority.and_then(|priority| SEVERITIES.get(usize::from(priority))) {
            out.extend_from_slice(severity.as_bytes());
            out.push(b' ');
        }
        if !self.identifier.is_empty() && self.identifier != self.origin() {
            out.extend_from_slice(self.identifier.as_bytes());
            out.extend_from_slice(b": ");
        }
        out.extend_from_slice(self.message.trim_ascii_end());
    }
}

/// `getty@tty1` is `getty`: instances of a template are one service.
fn without_instance(unit: &str) -> &str {
    unit.split_once('@').map_or(unit, |(template, _)| template)
}

/// A name as it may be shown: short, and of nothing that is not printed.
fn name(value: &[u8]) -> Box<str> {
    let value = &value[..value.len().min(NAME_BYTES_MAX)];
    let fits = |byte: &u8| byte.is_ascii_graphic() && *byte != b'/';
    value.iter().map(|byte| if fits(byte) { char::from(*byte) } else { '_' }).collect::<String>().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(fields: &[&str], message: &str) -> Entry {
        let mut entry = Entry::default();
        fields.iter().for_each(|field| entry.set(&Field::parse(field.as_bytes())));
        entry.set_message(message.as_bytes());
        entry
    }

    fn check(fields: &[&str], origin: &str, line: &str) {
        let (entry, mut out) = (entry(fields, "hello \n"), Vec::new());
        entry.line(&mut out);
        assert_eq!((entry.origin(), String::from_utf8(out).unwrap().as_str()), (origin, line));
    }

    #[test]
    fn service_is_the_origin_and_programs_of_sessions_speak_for_themselves() {
        check(&["_SYSTEMD_UNIT=ssh.service", "SYSLOG_IDENTIFIER=sshd", "PRIORITY=4"], "ssh", "warning sshd: hello");
        check(&["_SYSTEMD_UNIT=app.service", "SYSLOG_IDENTIFIER=app"], "app", "hello");
        check(&["_SYSTEMD_UNIT=getty@tty1.service", "PRIORITY=6"], "getty", "info hello");
        check(&["_SYSTEMD_UNIT=session-7.scope", "SYSLOG_IDENTIFIER=sudo"], "sudo", "hello");
        check(&["_SYSTEMD_UNIT=user@1000.service", "SYSLOG_IDENTIFIER=firefox"], "firefox", "hello");
        check(&["_TRANSPORT=kernel", "SYSLOG_IDENTIFIER=kernel", "PRIORITY=9"], "kernel", "hello");
        check(&["_COMM=cron"], "cron", "hello");
        check(&["_PID=1", "no equals sign"], "unknown", "hello");
        check(&["SYSLOG_IDENTIFIER=a b/\u{e9}"], "a_b___", "hello");
    }
}
