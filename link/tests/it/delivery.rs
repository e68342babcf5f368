//! What is handed in arrives, once for the user, in the right order of importance.

use super::proxy::{Faults, Proxy};
use super::world::*;
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use vedette_link::authority::Authority;
use vedette_link::client::LinkEvent;
use vedette_link::clock::{Clock, SystemClock};
use vedette_link::server::{ServerEvent, ServerLimits};
use vedette_protocol::ids::Sequence;
use vedette_protocol::session::agent::BatchCounts;
use vedette_protocol::signature::{Domain, SigningKey};
use vedette_protocol::v1::{Class, Health, InEffect, Outcome};

async fn deliver_through(seed: u64, faults: Faults) {
    let collector = Collector::start();
    let proxy = Proxy::start(collector.address(), seed, faults).await;
    let mut agent = collector.agent(proxy.address);
    let store = Arc::new(Mutex::new(BTreeMap::new()));
    let handle = collector.handle.clone();
    tokio::spawn(commit_all(handle.clone(), collector.events, Arc::clone(&store)));
    for sequence in 1..=150 {
        let class = [Class::Finding, Class::Feature, Class::Log][usize::try_from(sequence % 3).unwrap()];
        agent.hand_in(batch(sequence, class, 200 * usize::try_from(sequence).unwrap()));
        match sequence {
            50 => drop_connection(&handle),
            100 => part_for_a_while(&proxy),
            _ => {}
        }
        tokio::task::yield_now().await;
    }
    within(agent.settled()).await;
    let store = store.lock().unwrap();
    assert_eq!(store.keys().copied().collect::<Vec<_>>(), (1..=150).map(Sequence).collect::<Vec<_>>(), "seed {seed}");
    assert!(agent.acked.len() == 150 && agent.acked.values().all(|times| *times == 1), "seed {seed}");
    assert!(proxy.lost.load(Ordering::Relaxed) > 0, "seed {seed}: the network was too good");
}

fn drop_connection(handle: &vedette_link::server::ServerHandle) {
    for (connection, _) in handle.connections() {
        handle.close(connection, vedette_link::server::CloseCode::Shutdown);
    }
}

fn part_for_a_while(proxy: &Proxy) {
    let parted = Arc::clone(&proxy.parted);
    parted.store(true, Ordering::Relaxed);
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(700)).await;
        parted.store(false, Ordering::Relaxed);
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_batch_is_settled_once_through_loss_reordering_doubling_and_partition() {
    let faults = Faults { lost: 8, doubled: 5, delayed: 20 };
    tokio::join!(deliver_through(1, faults), deliver_through(2, faults), deliver_through(3, faults));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_finding_passes_bulk_that_the_collector_cannot_settle() {
    let mut collector = Collector::start();
    let mut agent = collector.agent(collector.address());
    agent.connected().await;
    for sequence in 1..=20 {
        agent.hand_in(batch(sequence, Class::Log, 150_000));
    }
    let held = |event: &ServerEvent| matches!(event, ServerEvent::Batch { .. }).then_some(());
    collector.until(held).await;
    agent.hand_in(batch(100, Class::Finding, 2_000));
    let started = Instant::now();
    let (connection, key) = collector
        .until(|event| match event {
            ServerEvent::Batch { connection, key: Some(key), .. } if key.sequence == Sequence(100) => {
                Some((*connection, *key))
            }
            _ => None,
        })
        .await;
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    assert!(collector.handle.ack(connection, key.queue_epoch, vec![(key.sequence, Outcome::Committed)]));
    let acked = agent.until(|event| match event {
        LinkEvent::Acked { sequence, .. } => Some(*sequence),
        _ => None,
    });
    assert_eq!(acked.await, Sequence(100));
}

#[tokio::test]
async fn both_ends_tell_what_the_other_said() {
    let mut collector = Collector::start();
    let mut agent = collector.agent(collector.address());
    agent.handle.set_counts(BatchCounts { made: 5, shed: [0, 0, 1] });
    agent.handle.set_in_effect(InEffect { policy_version: 3, ..InEffect::default() });
    let ill = Health { problems: vec!["no tick for 5 s".to_owned()] };
    agent.handle.set_health(ill.clone());
    let connection = collector
        .until(|event| match event {
            ServerEvent::Connected { connection, identity, hello, .. } => {
                assert_eq!((identity.host, hello.host_name.as_str()), (HOST, "web-1"));
                Some(*connection)
            }
            _ => None,
        })
        .await;
    assert_eq!(collector.handle.connection_of(HOST), Some(connection));
    let (mut in_effect, mut health, mut heartbeat, mut skew) = (None, None, None, None);
    while in_effect.is_none() || health.is_none() || heartbeat.is_none() || skew.is_none() {
        match collector.event().await {
            ServerEvent::InEffect { in_effect: told, .. } => in_effect = Some(told.policy_version),
            ServerEvent::Health { health: told, .. } => health = Some(told),
            ServerEvent::Heartbeat { heartbeat: told, .. } => heartbeat = Some(told.batches_made),
            ServerEvent::Clock { skew_ns, .. } => skew = Some(skew_ns),
            _ => {}
        }
    }
    assert_eq!((in_effect, health, heartbeat), (Some(3), Some(ill), Some(5)));
    assert!(skew.unwrap().abs() < 1_000_000_000);

    let signed = SigningKey::from_pkcs8(&SigningKey::generate_pkcs8()).unwrap().sign(Domain::Policy, b"x = 1".to_vec());
    assert!(collector.handle.send_policy(connection, signed.clone()));
    assert!(collector.handle.send_directive(connection, signed.clone()));
    let mut told = Vec::new();
    while told.len() < 2 {
        match agent.event().await {
            LinkEvent::Policy(document) => told.push(("policy", document)),
            LinkEvent::Directive(document) => told.push(("directive", document)),
            _ => {}
        }
    }
    assert_eq!(told, [("policy", signed.clone()), ("directive", signed)]);
}

#[tokio::test]
async fn a_drained_link_has_settled_everything_and_says_goodbye() {
    let mut collector = Collector::start();
    let mut agent = collector.agent(collector.address());
    for sequence in 1..=5 {
        agent.hand_in(batch(sequence, Class::Finding, 100));
    }
    agent.handle.drain();
    let mut goodbye = None;
    while goodbye.is_none() {
        match collector.event().await {
            ServerEvent::Batch { connection, key: Some(key), .. } => {
                collector.handle.ack(connection, key.queue_epoch, vec![(key.sequence, Outcome::Committed)]);
            }
            ServerEvent::Disconnected { reason, .. } => goodbye = Some(reason),
            _ => {}
        }
    }
    agent.until(|event| (*event == LinkEvent::Drained).then_some(())).await;
    assert_eq!(agent.acked.len(), 5);
    assert!(goodbye.unwrap().contains("done"));
    assert_eq!(within(agent.events.recv()).await, None);
}

#[tokio::test]
async fn the_collector_may_come_up_after_the_agent() {
    let reserved = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = reserved.local_addr().unwrap();
    drop(reserved);
    let authority = Arc::new(Authority::create(SystemClock.wall()).unwrap());
    let elsewhere =
        Collector::start_at("127.0.0.1:0".parse().unwrap(), Arc::clone(&authority), ServerLimits::default());
    let mut agent = elsewhere.agent(address);
    // Handed in while nobody is there.
    agent.hand_in(batch(1, Class::Finding, 100));
    tokio::task::yield_now().await;
    let collector = Collector::start_at(address, authority, ServerLimits::default());
    let store = Arc::default();
    tokio::spawn(commit_all(collector.handle.clone(), collector.events, Arc::clone(&store)));
    within(agent.settled()).await;
    assert_eq!(store.lock().unwrap().get(&Sequence(1)), Some(&1));
    assert!(agent.handle.stats().udp_bytes_sent > 0);
}

/// The old process leaves no word; the new one recognises its connection ids and resets the connection.
#[test]
fn a_killed_collector_is_noticed_as_soon_as_it_is_back() {
    let agents = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let killed = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let first = killed.block_on(async { Collector::start() });
    let (address, authority) = (first.address(), Arc::clone(&first.authority));
    let mut agent = agents.block_on(async {
        let mut agent = first.agent(address);
        agent.connected().await;
        agent
    });
    killed.shutdown_timeout(Duration::from_secs(5));
    let started = Instant::now();
    agents.block_on(async {
        let collector = Collector::start_at(address, authority, ServerLimits::default());
        let store = Arc::default();
        tokio::spawn(commit_all(collector.handle.clone(), collector.events, Arc::clone(&store)));
        agent.hand_in(batch(1, Class::Finding, 100));
        within(agent.settled()).await;
    });
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}: found by a time-out", started.elapsed());
    drop(first);
}
