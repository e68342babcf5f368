//! Delivery over a bad network, in virtual time: both halves of `protocol::session`, a spool and a store.

mod world;

use std::time::Duration;
use vedette_protocol::session::BULK_BYTES_IN_FLIGHT_MAX;
use vedette_protocol::v1::Class;
use vedette_sim::{Quality, Seed};
use world::{Happening, World};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

/// Plans a busy minute: findings and bulk, and a network and a collector that break now and then.
fn troubled(seed: Seed) -> World {
    let mut world = World::new(seed, Quality::BAD);
    let mut rng = seed.rng("plan");
    for _ in 0..60 {
        let class = *rng.pick(&[Class::Finding, Class::Feature, Class::Log]);
        let bytes = if class == Class::Finding { 600 } else { 200 + rng.below(30_000) };
        world.plan(MINUTE.mul_f64(rng.unit()), Happening::Make(class, bytes));
    }
    for trouble in [Happening::Cut, Happening::Crash, Happening::Partition] {
        for _ in 0..5 {
            let at = MINUTE.mul_f64(rng.unit());
            world.plan(at, trouble);
            if trouble == Happening::Partition {
                // Some are shorter, some longer than it takes the agent to give the connection up.
                world.plan(at + SECOND.mul_f64(rng.unit() * 25.0), Happening::Heal);
            }
        }
    }
    world.plan(MINUTE * 2, Happening::Heal);
    world
}

#[test]
fn every_batch_is_committed_once_whatever_breaks() {
    let (mut resent, mut cut) = (0, 0);
    for number in 0..40 {
        let seed = Seed(number).announce("every_batch_is_committed_once");
        let mut world = troubled(*seed);
        world.run(MINUTE * 10);

        assert_eq!(world.made(), 60);
        assert_eq!(world.unacknowledged(), 0, "everything made is settled in the end");
        world.assert_store_holds_exactly_what_was_made();
        world.assert_each_was_acknowledged_once();
        resent += world.duplicates();
        cut += world.traffic().cut;
    }
    assert!(resent > 40 && cut > 400, "the runs were too easy: {resent} duplicates, {cut} frames cut");
}

#[test]
fn a_run_is_a_function_of_its_seed() {
    let run = |seed| {
        let mut world = troubled(Seed(seed));
        world.run(MINUTE * 10);
        (world.traffic(), world.duplicates(), world.latencies(Class::Finding))
    };
    assert_eq!(run(3), run(3));
    assert_ne!(run(3), run(4));
}

#[test]
fn findings_pass_a_backlog_of_bulk() {
    let seed = Seed(1).announce("findings_pass_a_backlog_of_bulk");
    let mut world = World::new(*seed, Quality { loss: 0.01, ..Quality::BAD });
    for _ in 0..300 {
        world.plan(Duration::ZERO, Happening::Make(Class::Feature, 40_000));
    }
    for second in 1..=60 {
        world.plan(SECOND * second, Happening::Make(Class::Finding, 600));
    }
    world.run(MINUTE + SECOND * 10);

    assert!(world.unacknowledged() > 50, "the backlog was gone before the last finding: the run proves nothing");
    let slowest = world.latencies(Class::Finding).into_iter().max().expect("findings were made");
    assert_eq!(world.latencies(Class::Finding).len(), 60);
    // A finding waits at most for the bulk that is on the line already, and for the way.
    let line = Duration::from_secs_f64(BULK_BYTES_IN_FLIGHT_MAX as f64 / 100_000.0);
    assert!(slowest < line + SECOND, "the slowest finding took {slowest:?}, the line holds {line:?} of bulk");
}
