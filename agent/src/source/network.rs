//! `/proc/net/dev`: traffic, errors and drops of network interfaces.
//!
//! Interfaces that never carried a packet are left out, and so are the host's ends of container links (`veth…`): their
//! names change with every container and their traffic is seen on the bridge.

use super::kept_file::KeptFile;
use super::metric::counter;
use super::text::{fields, float, lines, numbers};
use super::{DropReason, Lane, Sink, Source, SourceError, SourceSpec};
use vedette_edge::metric::MetricSpec;

pub(super) const SPEC: SourceSpec = SourceSpec {
    name: "network",
    doc: "Bytes, packets, errors and drops of each interface that is in use.",
    interval_ms: 1_000,
    lane: Lane::Shared,
    metrics: &[&IO, &PACKETS, &ERRORS, &DROPPED],
    open: |root| Box::new(Network { file: KeptFile::new(root.proc("net/dev")) }),
};

static IO: MetricSpec = counter("system.network.io", "By", 1.0, "Bytes received and transmitted.");
static PACKETS: MetricSpec =
    counter("system.network.packet.count", "{packet}", 1.0, "Packets received and transmitted.");
static ERRORS: MetricSpec = counter("system.network.errors", "{error}", 1.0, "Errors on receiving and transmitting.");
static DROPPED: MetricSpec =
    counter("system.network.packet.dropped", "{packet}", 1.0, "Packets dropped though there was no error.");

/// Most interfaces that get series.
const INTERFACES_MAX: usize = 32;

struct Network {
    file: KeptFile,
}

/// Counters of one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Direction {
    bytes: u64,
    packets: u64,
    errors: u64,
    dropped: u64,
}

impl Source for Network {
    fn read(&mut self, sink: &mut dyn Sink) -> Result<(), SourceError> {
        emit(self.file.read()?, sink);
        Ok(())
    }
}

fn emit(bytes: &[u8], sink: &mut dyn Sink) {
    let (mut interfaces, mut left_out) = (0, 0);
    for line in lines(bytes).skip(2) {
        let Some((name, received, transmitted)) = parse(line) else {
            sink.dropped(DropReason::Malformed, 1);
            continue;
        };
        if name.starts_with("veth") || (received.packets == 0 && transmitted.packets == 0) {
            continue;
        }
        if interfaces == INTERFACES_MAX {
            left_out += 1;
            continue;
        }
        interfaces += 1;
        emit_direction(name, "receive", received, sink);
        emit_direction(name, "transmit", transmitted, sink);
    }
    if left_out > 0 {
        sink.dropped(DropReason::Cardinality, left_out);
    }
}

/// `name: bytes packets errs drop fifo frame compressed multicast` and the same eight for transmitting.
fn parse(line: &[u8]) -> Option<(&str, Direction, Direction)> {
    // The number may touch the colon, and the name of an alias has a colon of its own.
    let colon = line.iter().rposition(|byte| *byte == b':')?;
    let name = std::str::from_utf8(line[..colon].trim_ascii_start()).ok()?;
    let [bytes, packets, errors, dropped, _, _, _, _, sent_bytes, sent_packets, sent_errors, sent_dropped] =
        numbers(&mut fields(&line[colon + 1..]))?;
    let received = Direction { bytes, packets, errors, dropped };
    let transmitted =
        Direction { bytes: sent_bytes, packets: sent_packets, errors: sent_errors, dropped: sent_dropped };
    Some((name, received, transmitted))
}

fn emit_direction(name: &str, direction: &str, counts: Direction, sink: &mut dyn Sink) {
    let attributes = [("network.interface.name", name), ("network.io.direction", direction)];
    sink.reading(&IO, &attributes, float(counts.bytes));
    sink.reading(&PACKETS, &attributes, float(counts.packets));
    sink.reading(&ERRORS, &attributes, float(counts.errors));
    sink.reading(&DROPPED, &attributes, float(counts.dropped));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::tests::Readings;

    #[test]
    fn an_old_kernels_number_may_touch_the_colon() {
        let (name, received, transmitted) = parse(b"  eth0:12 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16").unwrap();
        assert_eq!(name, "eth0");
        assert_eq!(received, Direction { bytes: 12, packets: 2, errors: 3, dropped: 4 });
        assert_eq!(transmitted, Direction { bytes: 9, packets: 10, errors: 11, dropped: 12 });
        assert!(parse(b"eth0 12 2 3").is_none());
        assert!(parse(b"eth0: 12 2 3").is_none());
    }

    #[test]
    fn idle_interfaces_and_container_links_are_left_out() {
        let line = |name: &str, packets| format!("{name}: 1 {packets} 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n");
        let mut text = String::from("Inter-| Receive\n face |bytes\n");
        text.extend([line("lo", 1), line("ifb0", 0), line("veth3a", 5)]);
        let mut readings = Readings::default();
        emit(text.as_bytes(), &mut readings);
        assert_eq!(readings.len(), 8);
        assert!(readings.get("system.network.io{network.interface.name=lo,network.io.direction=receive}").is_some());
    }

    #[test]
    fn more_interfaces_than_the_limit_are_counted() {
        let line = |n| format!("tun{n}: 1 1 0 0 0 0 0 0 0 0 0 0 0 0 0 0\n");
        let text: String =
            ["a\n".to_owned(), "b\n".to_owned()].into_iter().chain((0..INTERFACES_MAX + 2).map(line)).collect();
        let mut readings = Readings::default();
        emit(text.as_bytes(), &mut readings);
        assert_eq!(readings.dropped, [(DropReason::Cardinality, 2)]);
    }
}
