//! `/proc/net/sockstat`, `sockstat6` and `snmp`: sockets in use, connections by state, and what goes wrong on them.
//!
//! The kernel keeps these sums; walking the table of connections would cost time with every connection.

use super::kept_file::KeptFile;
use super::metric::{counter, level};
use super::text::{fields, float, lines, number};
use super::{Lane, Root, Sink, Source, SourceError, SourceSpec};
use vedette_edge::metric::MetricSpec;

pub(super) const SPEC: SourceSpec = SourceSpec {
    name: "socket",
    doc: "Sockets in use, TCP connections by state, connections opened, failed and reset, retransmits, UDP errors.",
    interval_ms: 1_000,
    lane: Lane::Shared,
    metrics: &[&CONNECTIONS, &SOCKETS, &ORPHANS, &OPENED, &FAILED, &RESETS, &RETRANSMITS, &UDP_ERRORS],
    open: |root| Box::new(Socket::new(root)),
};

static CONNECTIONS: MetricSpec =
    level("system.network.connection.count", "{connection}", 1.0, "TCP connections by state.");
static SOCKETS: MetricSpec = level(
    "system.linux.socket.count",
    "{socket}",
    1.0,
    "Sockets in use by transport, listening ones included. No convention names it.",
);
static ORPHANS: MetricSpec = level(
    "system.linux.tcp.orphans",
    "{socket}",
    1.0,
    "TCP sockets that no process holds any more. No convention names it.",
);
static OPENED: MetricSpec =
    counter("system.linux.tcp.opened", "{connection}", 1.0, "TCP connections opened, by side. No convention names it.");
static FAILED: MetricSpec = counter(
    "system.linux.tcp.failed",
    "{connection}",
    1.0,
    "TCP connections that could not be opened. No convention names it.",
);
static RESETS: MetricSpec =
    counter("system.linux.tcp.resets", "{connection}", 1.0, "TCP connections that were reset. No convention names it.");
static RETRANSMITS: MetricSpec =
    counter("system.linux.tcp.retransmits", "{segment}", 1.0, "TCP segments sent again. No convention names it.");
static UDP_ERRORS: MetricSpec = counter(
    "system.linux.udp.errors",
    "{packet}",
    1.0,
    "UDP packets that could not be delivered. No convention names it.",
);

struct Socket {
    v4: KeptFile,
    v6: KeptFile,
    snmp: KeptFile,
}

impl Socket {
    fn new(root: &Root) -> Self {
        let file = |name| KeptFile::new(root.proc(name));
        Self { v4: file("net/sockstat"), v6: file("net/sockstat6"), snmp: file("net/snmp") }
    }
}

impl Source for Socket {
    fn read(&mut self, sink: &mut dyn Sink) -> Result<(), SourceError> {
        let mut sockets = Sockets::default();
        if parse_sockstat(self.v4.read()?, &mut sockets).is_none() {
            return Err(self.v4.malformed("`TCP: inuse …` lines"));
        }
        match self.v6.read() {
            Ok(bytes) => {
                if parse_sockstat(bytes, &mut sockets).is_none() {
                    return Err(self.v6.malformed("`TCP6: inuse …` lines"));
                }
            }
            // A kernel without IPv6 has no such file.
            Err(SourceError::Absent(_)) => {}
            Err(error) => return Err(error),
        }
        let Some(snmp) = parse_snmp(self.snmp.read()?) else {
            return Err(self.snmp.malformed("pairs of lines with names and values"));
        };
        emit(&sockets, &snmp, sink);
        Ok(())
    }
}

/// Both address families together.
#[derive(Debug, Default, PartialEq, Eq)]
struct Sockets {
    tcp: u64,
    udp: u64,
    orphans: u64,
    time_wait: u64,
}

/// Adds one file up: each line is a protocol and pairs of name and value.
fn parse_sockstat(bytes: &[u8], sockets: &mut Sockets) -> Option<()> {
    for line in lines(bytes) {
        let mut fields = fields(line);
        let protocol = fields.next()?;
        while let Some(name) = fields.next() {
            let value = number(fields.next()?)?;
            let sum = match (protocol, name) {
                (b"TCP:" | b"TCP6:", b"inuse") => &mut sockets.tcp,
                (b"UDP:" | b"UDP6:", b"inuse") => &mut sockets.udp,
                (b"TCP:", b"orphan") => &mut sockets.orphans,
                (b"TCP:", b"tw") => &mut sockets.time_wait,
                _ => continue,
            };
            *sum = sum.saturating_add(value);
        }
    }
    Some(())
}

/// From `/proc/net/snmp`, which counts both address families for TCP.
#[derive(Debug, Default, PartialEq, Eq)]
struct Snmp {
    established: u64,
    opened_by_us: u64,
    opened_by_peer: u64,
    failed: u64,
    resets: u64,
    retransmits: u64,
    udp_errors: u64,
}

/// Lines come in pairs: a protocol with names, then the same protocol with values.
fn parse_snmp(bytes: &[u8]) -> Option<Snmp> {
    let mut snmp = Snmp::default();
    let mut lines = lines(bytes);
    let mut has_tcp = false;
    while let Some(names) = lines.next() {
        let values = lines.next()?;
        let protocol = fields(names).next()?;
        if fields(values).next()? != protocol {
            return None;
        }
        has_tcp |= protocol == b"Tcp:";
        for (name, value) in fields(names).zip(fields(values)).skip(1) {
            let field = match (protocol, name) {
                (b"Tcp:", b"CurrEstab") => &mut snmp.established,
                (b"Tcp:", b"ActiveOpens") => &mut snmp.opened_by_us,
                (b"Tcp:", b"PassiveOpens") => &mut snmp.opened_by_peer,
                (b"Tcp:", b"AttemptFails") => &mut snmp.failed,
                (b"Tcp:", b"EstabResets") => &mut snmp.resets,
                (b"Tcp:", b"RetransSegs") => &mut snmp.retransmits,
                (b"Udp:", b"InErrors") => &mut snmp.udp_errors,
                _ => continue,
            };
            *field = number(value)?;
        }
    }
    has_tcp.then_some(snmp)
}

fn emit(sockets: &Sockets, snmp: &Snmp, sink: &mut dyn Sink) {
    for (state, count) in [("established", snmp.established), ("time_wait", sockets.time_wait)] {
        let attributes = [("network.connection.state", state), ("network.transport", "tcp")];
        sink.reading(&CONNECTIONS, &attributes, float(count));
    }
    sink.reading(&SOCKETS, &[("network.transport", "tcp")], float(sockets.tcp));
    sink.reading(&SOCKETS, &[("network.transport", "udp")], float(sockets.udp));
    sink.reading(&ORPHANS, &[], float(sockets.orphans));
    sink.reading(&OPENED, &[("linux.tcp.side", "client")], float(snmp.opened_by_us));
    sink.reading(&OPENED, &[("linux.tcp.side", "server")], float(snmp.opened_by_peer));
    sink.reading(&FAILED, &[], float(snmp.failed));
    sink.reading(&RESETS, &[], float(snmp.resets));
    sink.reading(&RETRANSMITS, &[], float(snmp.retransmits));
    sink.reading(&UDP_ERRORS, &[], float(snmp.udp_errors));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_address_families_add_up() {
        let mut sockets = Sockets::default();
        parse_sockstat(
            b"sockets: used 17\nTCP: inuse 5 orphan 1 tw 2 alloc 7 mem 252\nUDP: inuse 3 mem 0\n",
            &mut sockets,
        );
        parse_sockstat(b"TCP6: inuse 4\nUDP6: inuse 2\nFRAG6: inuse 0 memory 0\n", &mut sockets);
        assert_eq!(sockets, Sockets { tcp: 9, udp: 5, orphans: 1, time_wait: 2 });
    }

    #[test]
    fn values_are_found_by_name_not_by_place() {
        let text = b"Tcp: MaxConn CurrEstab RetransSegs\nTcp: -1 7 9\nUdp: InErrors\nUdp: 3\n";
        let snmp = parse_snmp(text).unwrap();
        assert_eq!(snmp, Snmp { established: 7, retransmits: 9, udp_errors: 3, ..Snmp::default() });
    }

    #[test]
    fn lines_that_do_not_pair_are_refused() {
        assert_eq!(parse_snmp(b"Tcp: CurrEstab\n"), None);
        assert_eq!(parse_snmp(b"Tcp: CurrEstab\nUdp: 1\n"), None);
        assert_eq!(parse_snmp(b"Udp: InErrors\nUdp: 1\n"), None);
        assert_eq!(parse_sockstat(b"TCP: inuse\n", &mut Sockets::default()), None);
    }
}
