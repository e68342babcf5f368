use super::*;
use crate::Seed;

const END: MonoTime = MonoTime::from_ms(1_000_000);

fn drain(network: &mut Network) -> Vec<Delivery> {
    std::iter::from_fn(|| network.receive(END)).collect()
}

/// Sends `count` numbered frames, a millisecond apart.
fn send_numbered(network: &mut Network, lane: impl Fn(u64) -> Lane, count: u64) {
    for number in 0..count {
        network.send(MonoTime::from_ms(number), Side::A, lane(number), number.to_le_bytes().to_vec());
    }
}

fn numbers(deliveries: &[Delivery]) -> Vec<u64> {
    deliveries.iter().map(|delivery| u64::from_le_bytes(delivery.frame.as_slice().try_into().unwrap())).collect()
}

#[test]
fn datagrams_are_lost_doubled_and_overtaken_and_every_one_is_accounted_for() {
    let mut network = Network::new(Quality::BAD, Seed(1).rng("network"));
    send_numbered(&mut network, |_| Lane::Datagram, 10_000);
    let arrived = drain(&mut network);
    let traffic = network.traffic();
    assert_eq!(traffic.delivered, arrived.len() as u64);
    assert_eq!(traffic.sent + traffic.doubled, traffic.delivered + traffic.lost);
    assert!((400..600).contains(&traffic.lost) && (130..260).contains(&traffic.doubled), "{traffic:?}");
    assert!(!numbers(&arrived).is_sorted() && arrived.is_sorted_by_key(|delivery| delivery.at));
}

#[test]
fn a_stream_keeps_its_order_loses_nothing_and_does_not_hold_other_streams() {
    let mut network = Network::new(Quality::BAD, Seed(2).rng("network"));
    send_numbered(&mut network, |number| Lane::Stream(number % 2), 1_000);
    let arrived = drain(&mut network);
    for stream in 0..2 {
        let lane: Vec<_> = arrived.iter().filter(|delivery| delivery.lane == Lane::Stream(stream)).cloned().collect();
        assert_eq!(numbers(&lane), (stream..1_000).step_by(2).collect::<Vec<_>>());
    }
    assert!(!numbers(&arrived).is_sorted(), "streams overtake each other");
}

#[test]
fn a_partition_holds_streams_and_a_cut_destroys_them() {
    let mut network = Network::new(Quality::LAN, Seed(3).rng("network"));
    network.partition();
    send_numbered(&mut network, |_| Lane::Stream(0), 5);
    network.send(MonoTime::from_ms(5), Side::B, Lane::Datagram, vec![0]);
    assert_eq!(network.next_at(), None);
    network.heal(MonoTime::from_ms(50));
    assert!(network.next_at() > Some(MonoTime::from_ms(50)));
    assert_eq!(numbers(&drain(&mut network)), [0, 1, 2, 3, 4]);

    send_numbered(&mut network, |_| Lane::Stream(0), 3);
    network.partition();
    send_numbered(&mut network, |_| Lane::Stream(0), 2);
    network.cut();
    network.heal(MonoTime::from_ms(60));
    assert_eq!(drain(&mut network), []);
    assert_eq!(network.traffic(), Traffic { sent: 11, delivered: 5, lost: 1, cut: 5, doubled: 0 });
}

#[test]
fn a_narrow_line_takes_its_time() {
    let narrow = Quality { bytes_per_second: Some(1_000), ..Quality::LAN };
    let mut network = Network::new(narrow, Seed(4).rng("network"));
    for _ in 0..3 {
        network.send(MonoTime::from_ms(0), Side::A, Lane::Datagram, vec![0; 500]);
    }
    let arrivals: Vec<_> = drain(&mut network).iter().map(|delivery| delivery.at.ns / 1_000).collect();
    assert_eq!(arrivals, [500_500, 1_000_500, 1_500_500]);
}

#[test]
fn bytes_under_way_have_a_limit() {
    let mut network = Network::new(Quality::LAN, Seed(5).rng("network"));
    for _ in 0..=(IN_FLIGHT_BYTES_MAX >> 20) {
        network.send(MonoTime::from_ms(0), Side::A, Lane::Stream(0), vec![0; 1 << 20]);
    }
    assert_eq!(network.traffic().lost, 1);
    drain(&mut network);
    assert_eq!(network.bytes_under_way, 0);
}
