//! Against a collector that knows other batches under the agent's sequences.

use super::super::*;
use std::sync::OnceLock;
use vedette_protocol::ids::QueueEpoch;
use vedette_protocol::v1::{Health, Outcome};

#[test]
fn queue_epoch_whose_sequences_were_used_before_is_left_without_a_restart() {
    let bench = Bench::new();
    let authority = Arc::new(Authority::create(SystemClock.wall()).expect("authority"));
    let runtime = runtime();
    let left = Arc::new(OnceLock::new());
    let said = Arc::new(OnceLock::new());
    bench.write_config_for(&serve(&runtime, &authority, &left, &said), "");
    bench.enrol_with(&authority, Duration::ZERO);
    let mut agent = bench.start();
    let status = bench.status_with(|status| {
        let epoch = status["spool"]["queue_epoch"].as_u64().map(QueueEpoch);
        let is_anew = left.get().is_some_and(|left| epoch != Some(*left));
        is_anew && status["spool"]["acked"].as_u64() > Some(0) && said.get().is_some()
    });
    assert_eq!(said.get().map(|said: &Health| said.problems.clone().into()), Some(status["problems"].clone()));
    assert_eq!((&status["agent"]["pid"], &status["spool"]["quarantined"]), (&agent.child.id().into(), &0.into()));
    let (code, log) = agent.stop();
    assert_eq!((code, log.matches("went back in time").count()), (Some(0), 1), "{log}");
}

/// A collector that takes no batch of the first queue epoch that it hears of, which is told in `left`.
/// How the agent says that it is goes into `said`.
fn serve(
    runtime: &tokio::runtime::Runtime,
    authority: &Arc<Authority>,
    left: &Arc<OnceLock<QueueEpoch>>,
    said: &Arc<OnceLock<Health>>,
) -> String {
    let (authority, left, said) = (Arc::clone(authority), Arc::clone(left), Arc::clone(said));
    runtime.block_on(async move {
        let config = ServerConfig {
            listen: "127.0.0.1:0".parse().expect("an address"),
            names: Vec::new(),
            authority,
            gate: Arc::new(AllBut::default()),
            clock: Arc::new(SystemClock),
            limits: ServerLimits::default(),
        };
        let (handle, mut events, task) = listen(config).expect("a server");
        tokio::spawn(task.run());
        let address = handle.local_address().to_string();
        tokio::spawn(async move {
            while let Some(event) = events.recv().await {
                if let ServerEvent::Health { health, .. } = &event {
                    let _ = said.set(health.clone());
                }
                let ServerEvent::Batch { connection, key: Some(key), .. } = event else { continue };
                let mut outcome = Outcome::Committed;
                if *left.get_or_init(|| key.queue_epoch) == key.queue_epoch {
                    outcome = Outcome::Quarantined;
                    handle.begin_anew(connection, key.queue_epoch);
                }
                handle.ack(connection, key.queue_epoch, vec![(key.sequence, outcome)]);
            }
        });
        address
    })
}
