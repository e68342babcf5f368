//! Each half of the session alone, against an other end that says whatever the test wants.

use super::samples;
use super::session::{EPOCH, START, encoded, identity};
use proptest::prelude::*;
use std::time::Duration;
use vedette_protocol::envelope::{Kind, seal};
use vedette_protocol::ids::{QueueEpoch, Sequence};
use vedette_protocol::session::agent::{AgentEvent, AgentSession, AgentTransmit, BatchCounts, EncodedBatch};
use vedette_protocol::session::collector::{CollectorEvent, CollectorSession, CollectorTransmit};
use vedette_protocol::session::{ACK_TIMEOUT, CloseCode, GREETING_TIMEOUT};
use vedette_protocol::time::{MonoTime, WallTime};
use vedette_protocol::v1::*;

/// An agent that has been welcomed.
pub(crate) fn greeted() -> AgentSession {
    let mut agent = AgentSession::new(identity(), 1);
    agent.handle_connected(MonoTime::from_ms(1), START);
    say(&mut agent, &FromCollector::Welcome { hello_mono: MonoTime::from_ms(1), received: START, sent: START });
    while agent.poll_transmit().is_some() {}
    assert!(matches!(agent.poll_event(), Some(AgentEvent::Connected { .. })));
    agent
}

fn say(agent: &mut AgentSession, message: &FromCollector) {
    agent.handle_control(MonoTime::from_ms(2), START, &encode(message).unwrap());
}

#[test]
fn a_batch_in_flight_or_settled_is_not_sent_twice() {
    let mut agent = greeted();
    agent.handle_batch(MonoTime::from_ms(2), encoded(1, Class::Finding, 0));
    agent.handle_batch(MonoTime::from_ms(2), encoded(1, Class::Finding, 0));
    assert!(matches!(agent.poll_transmit(), Some(AgentTransmit::Batch(_))));
    assert_eq!(agent.poll_transmit(), None);
    say(&mut agent, &FromCollector::Ack { queue_epoch: EPOCH, outcomes: vec![(Sequence(1), Outcome::Committed)] });
    agent.handle_batch(MonoTime::from_ms(3), encoded(1, Class::Finding, 0));
    assert_eq!((agent.poll_transmit(), agent.in_flight()), (None, 0));
}

#[test]
fn damaged_bytes_of_the_spool_are_given_back_and_not_sent() {
    let mut agent = greeted();
    let mut bytes = encoded(1, Class::Finding, 0).bytes.to_vec();
    bytes[20] ^= 1;
    agent.handle_batch(
        MonoTime::from_ms(2),
        EncodedBatch { sequence: Sequence(1), class: Class::Finding, bytes: bytes.into() },
    );
    assert!(matches!(agent.poll_event(), Some(AgentEvent::Unsendable { sequence: Sequence(1), .. })));
    assert_eq!((agent.poll_transmit(), agent.in_flight()), (None, 0));
}

#[test]
fn stray_acks_are_counted_and_not_told() {
    let mut agent = greeted();
    agent.handle_batch(MonoTime::from_ms(2), encoded(1, Class::Finding, 0));
    let ack = |queue_epoch, n| FromCollector::Ack { queue_epoch, outcomes: vec![(Sequence(n), Outcome::Committed)] };
    say(&mut agent, &ack(EPOCH, 2));
    say(&mut agent, &ack(QueueEpoch(9), 1));
    assert_eq!((agent.poll_event(), agent.stray_acks()), (None, 2));
    say(&mut agent, &ack(EPOCH, 1));
    assert!(matches!(agent.poll_event(), Some(AgentEvent::Acked { sequence: Sequence(1), .. })));
}

#[test]
fn a_silent_collector_is_given_up() {
    let mut agent = AgentSession::new(identity(), 1);
    agent.handle_connected(MonoTime::from_ms(1), START);
    while agent.poll_transmit().is_some() {}
    let due = agent.poll_timeout().unwrap();
    assert_eq!(due, MonoTime::from_ms(1) + GREETING_TIMEOUT);
    agent.handle_timeout(due, START);
    assert_eq!(agent.poll_transmit(), Some(AgentTransmit::Close(CloseCode::Timeout)));

    let mut agent = greeted();
    let sent = MonoTime::from_ms(5);
    agent.handle_batch(sent, encoded(1, Class::Finding, 0));
    agent.poll_transmit();
    assert_eq!(agent.poll_timeout(), Some(sent + ACK_TIMEOUT));
    agent.handle_timeout(sent + ACK_TIMEOUT, START);
    assert_eq!(agent.poll_transmit(), Some(AgentTransmit::Close(CloseCode::Timeout)));
}

#[test]
fn a_slow_line_is_not_taken_for_a_dead_one() {
    let mut agent = greeted();
    let sent = MonoTime::from_ms(5);
    let big = seal(Kind::Batch, &vec![0; 500_000]).unwrap();
    agent.handle_batch(sent, EncodedBatch { sequence: Sequence(1), class: Class::Log, bytes: big.into() });
    agent.poll_transmit();
    let at_30_kilobytes_a_second = sent + Duration::from_secs(500_000 / 30_000) + ACK_TIMEOUT / 2;
    agent.handle_timeout(at_30_kilobytes_a_second, START);
    assert_eq!(agent.poll_transmit(), None);
    agent.handle_timeout(sent + Duration::from_secs(500_000 / 8_192) + ACK_TIMEOUT, START);
    let given_up = std::iter::from_fn(|| agent.poll_transmit()).last();
    assert_eq!(given_up, Some(AgentTransmit::Close(CloseCode::Timeout)));
}

/// A collector that has greeted an agent.
fn greeting() -> CollectorSession {
    let mut collector = CollectorSession::new(MonoTime::from_ms(1));
    collector.handle_control(MonoTime::from_ms(2), START, &encode(&samples::from_agent()[0].1).unwrap());
    while collector.poll_transmit().is_some() {}
    while collector.poll_event().is_some() {}
    collector
}

#[test]
fn a_certificate_is_asked_for_and_answered_on_the_control_stream() {
    let (mut agent, mut collector) = (greeted(), greeting());
    agent.request_certificate(vec![7; 90]);
    let Some(AgentTransmit::Control(request)) = agent.poll_transmit() else { panic!("a request") };
    collector.handle_control(MonoTime::from_ms(3), START, &request);
    assert_eq!(collector.poll_event(), Some(CollectorEvent::Renew(RenewRequest { csr_der: vec![7; 90] })));
    let (_, issued) = samples::renew_replies().swap_remove(0);
    collector.renew(&issued).unwrap();
    let Some(CollectorTransmit::Control(reply)) = collector.poll_transmit() else { panic!("a reply") };
    agent.handle_control(MonoTime::from_ms(4), START, &reply);
    assert_eq!(agent.poll_event(), Some(AgentEvent::Renewal(issued)));
    collector.handle_control(MonoTime::from_ms(5), START, &request);
    assert!(collector.is_ready(), "an answered request makes room for the next");
}

#[test]
fn what_a_person_has_to_mend_is_told_on_every_connection_and_once_on_each() {
    let (mut agent, mut collector) = (greeted(), greeting());
    let mut said = |agent: &mut AgentSession| -> Vec<Health> {
        while let Some(AgentTransmit::Control(bytes)) = agent.poll_transmit() {
            collector.handle_control(MonoTime::from_ms(3), START, &bytes);
        }
        std::iter::from_fn(|| collector.poll_event())
            .filter_map(|event| if let CollectorEvent::Health(health) = event { Some(health) } else { None })
            .collect()
    };
    let long: Vec<String> = (0..40).map(|n| format!("{n} {}", "é".repeat(900))).collect();
    let told = Health::told(&long);
    agent.set_health(told.clone());
    agent.set_health(told.clone());
    let heard = said(&mut agent);
    assert_eq!(heard, [told], "within the limits, and once");
    assert!(heard[0].problems.len() == 16 && heard[0].problems.iter().all(|one| one.len() > 1_000));
    agent.set_health(Health::default());
    assert_eq!(said(&mut agent), [Health::default()]);
}

#[test]
fn only_the_present_queue_epoch_is_left_when_the_collector_says_so() {
    let (mut agent, mut collector) = (greeted(), greeting());
    for (epoch, told) in [(QueueEpoch(EPOCH.0 + 1), None), (EPOCH, Some(AgentEvent::BeginAnew))] {
        collector.begin_anew(epoch).unwrap();
        let Some(CollectorTransmit::Control(bytes)) = collector.poll_transmit() else { panic!("a message") };
        agent.handle_control(MonoTime::from_ms(4), START, &bytes);
        assert_eq!(agent.poll_event(), told);
    }
}

#[test]
fn certificates_are_asked_for_one_at_a_time_and_after_the_hello() {
    let request = encode(&samples::renew_request()).unwrap();
    let mut impatient = greeting();
    impatient.handle_control(MonoTime::from_ms(3), START, &request);
    impatient.handle_control(MonoTime::from_ms(3), START, &request);
    let mut rude = CollectorSession::new(MonoTime::from_ms(1));
    rude.handle_control(MonoTime::from_ms(3), START, &request);
    for mut collector in [impatient, rude] {
        assert_eq!(collector.poll_transmit(), Some(CollectorTransmit::Close(CloseCode::Protocol)));
    }
}

#[test]
fn hostile_control_bytes_close_the_connection_with_a_reason() {
    let mut version = encode(&FromCollector::TimeProbe { token: 1 }).unwrap();
    version[4] = 9;
    let not_for_agents = encode(&samples::from_agent()[2].1).unwrap();
    let second_welcome = encode(&samples::from_collector()[0].1).unwrap();
    for (bytes, code) in [
        (b"GET / HTTP/1.1\r\n".to_vec(), CloseCode::Protocol),
        (version, CloseCode::Version),
        (not_for_agents, CloseCode::Protocol),
        (second_welcome, CloseCode::Protocol),
    ] {
        let mut agent = greeted();
        agent.handle_control(MonoTime::from_ms(3), START, &bytes);
        assert_eq!(agent.poll_transmit(), Some(AgentTransmit::Close(code)));
        agent.handle_control(MonoTime::from_ms(4), START, &bytes);
        assert_eq!((agent.poll_transmit(), agent.poll_timeout()), (None, None));
    }
}

#[test]
fn an_agent_must_say_hello_first_and_once() {
    let hello = encode(&samples::from_agent()[0].1).unwrap();
    let heartbeat = encode(&samples::from_agent()[2].1).unwrap();
    for talk in [vec![&heartbeat], vec![&hello, &hello]] {
        let mut collector = CollectorSession::new(MonoTime::from_ms(1));
        for bytes in talk {
            collector.handle_control(MonoTime::from_ms(2), START, bytes);
        }
        let transmits: Vec<_> = std::iter::from_fn(|| collector.poll_transmit()).collect();
        assert_eq!(transmits.last(), Some(&CollectorTransmit::Close(CloseCode::Protocol)));
        assert!(!collector.is_ready());
    }
}

#[test]
fn retry_after_is_told_and_ends_the_connection() {
    let mut agent = greeted();
    say(&mut agent, &FromCollector::RetryAfter { delay_ms: 5_000 });
    assert_eq!(agent.poll_event(), Some(AgentEvent::RetryAfter(Duration::from_secs(5))));
    assert_eq!(agent.poll_transmit(), Some(AgentTransmit::Close(CloseCode::Done)));
}

#[test]
fn what_is_in_effect_is_told_again_after_every_connect_and_counts_ride_on_heartbeats() {
    let mut agent = greeted();
    agent.set_counts(BatchCounts { made: 9, shed: [0, 1, 2] });
    agent.set_in_effect(InEffect { policy_version: 4, ..InEffect::default() });
    agent.poll_transmit();
    agent.handle_connected(MonoTime::from_ms(9), START);
    say(&mut agent, &FromCollector::Welcome { hello_mono: MonoTime::from_ms(9), received: START, sent: START });
    say(&mut agent, &FromCollector::TimeProbe { token: 5 });
    let said: Vec<FromAgent> = std::iter::from_fn(|| agent.poll_transmit())
        .map(|transmit| match transmit {
            AgentTransmit::Control(bytes) => decode(&bytes).unwrap(),
            other => panic!("{other:?}"),
        })
        .collect();
    assert!(matches!(&said[0], FromAgent::Hello(_)));
    assert!(matches!(&said[1], FromAgent::InEffect(in_effect) if in_effect.policy_version == 4));
    assert!(matches!(&said[2], FromAgent::Heartbeat(heartbeat)
        if heartbeat.echo == Some((5, 0)) && heartbeat.batches_made == 9 && heartbeat.batches_shed == [0, 1, 2]));
}

#[test]
fn acks_that_come_together_leave_together_and_in_bounds() {
    let mut collector = CollectorSession::new(MonoTime::from_ms(1));
    collector.handle_control(MonoTime::from_ms(2), START, &encode(&samples::from_agent()[0].1).unwrap());
    while collector.poll_transmit().is_some() {}
    let outcomes: Vec<_> = (1..=2_500).map(|n| (Sequence(n), Outcome::Committed)).collect();
    collector.ack(QueueEpoch(1), &outcomes);
    collector.ack(QueueEpoch(2), &outcomes[..1]);
    let sizes: Vec<_> = std::iter::from_fn(|| collector.poll_transmit())
        .map(|transmit| match transmit {
            CollectorTransmit::Control(bytes) => match decode(&bytes).unwrap() {
                FromCollector::Ack { queue_epoch, outcomes } => (queue_epoch.0, outcomes.len()),
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(sizes, [(1, 1_024), (1, 1_024), (1, 452), (2, 1)]);
}

proptest! {
    #[test]
    fn any_control_bytes_in_any_state_never_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
        piece in 1_usize..64,
        which in 0_usize..6,
    ) {
        // A sound message first, so that what follows meets a session in its midst.
        let told = encode(&samples::from_collector()[which].1).unwrap();
        let said = encode(&samples::from_agent()[which % 3].1).unwrap();
        let (mut agent, mut collector) = (greeted(), CollectorSession::new(MonoTime::from_ms(1)));
        for chunk in [told.as_slice(), &bytes].concat().chunks(piece) {
            agent.handle_control(MonoTime::from_ms(5), START, chunk);
        }
        for chunk in [said.as_slice(), &bytes].concat().chunks(piece) {
            collector.handle_control(MonoTime::from_ms(5), START, chunk);
        }
        agent.handle_timeout(MonoTime { ns: u64::MAX }, WallTime { unix_ns: i64::MAX });
        collector.handle_timeout(MonoTime { ns: u64::MAX }, WallTime { unix_ns: i64::MIN });
    }
}
