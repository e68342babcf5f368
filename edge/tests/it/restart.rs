//! What was learnt outlives the agent: detection goes on as if there had been no end, or begins anew and says why.

use super::host::{Host, detector};
use super::shipping::{run, wobble};
use std::time::Duration;
use vedette_edge::learnt::{Away, ReturnCounts};
use vedette_protocol::ids::Digest;
use vedette_protocol::v1::EpisodeEvent;
use vedette_protocol::worker::{DetectorInput, flags};

const SOON: Away = Away::Agent(Duration::ZERO);

/// A host with three series that were watched for ten minutes; its agent has ended in good order.
fn ended(input: DetectorInput) -> Host {
    let mut host = Host::new(1);
    seconds(&mut host, 1);
    host.load(input);
    seconds(&mut host, 600);
    assert!(host.drain(), "the states were fetched");
    host
}

fn seconds(host: &mut Host, count: u64) {
    for _ in 0..count {
        for (place, name) in ["b", "c"].iter().enumerate() {
            let value = wobble(host.second * 3 + place as u64) * 40.0;
            host.read(&super::shipping::LOAD, name, value);
        }
        run(host, 1, wobble);
    }
}

/// The next life of the agent, `later` seconds after the last, with what that had learnt.
fn next(before: &Host, later: u64, away: Away) -> Host {
    let mut host = Host::new(1);
    host.second = before.second + later;
    let learnt = before.pipeline.learnt(before.now());
    assert_eq!(learnt.left_out(), 0);
    host.pipeline.handle_learnt(host.now(), &learnt, away);
    host
}

#[test]
fn a_restart_changes_no_question_and_no_score() {
    for loads_first in [true, false] {
        let mut one = ended(DetectorInput::Metrics);
        let mut other = next(&one, 0, SOON);
        if loads_first {
            other.load(DetectorInput::Metrics);
        }
        for second in 0..300 {
            seconds(&mut one, 1);
            seconds(&mut other, 1);
            if second == 0 && !loads_first {
                // The worker was slow to start: the first question comes a second later, and says so.
                other.load(DetectorInput::Metrics);
                continue;
            }
            let late = u32::from(second == 1 && !loads_first);
            assert_eq!(other.asked.dt_ms, [1_000 * (1 + late); 3]);
            if loads_first {
                assert_eq!(other.asked, one.asked, "second {second}");
                let bits = |host: &Host| host.scorer.scores.iter().map(|score| score.to_bits()).collect::<Vec<_>>();
                assert_eq!(bits(&other), bits(&one), "second {second}");
            }
        }
        let counts = ReturnCounts { found: 3, returned: 3, ..ReturnCounts::default() };
        assert_eq!(other.pipeline.return_counts(), counts);
    }
}

#[test]
fn what_calibration_learnt_is_there_at_once() {
    let mut one = ended(DetectorInput::Metrics);
    let mut other = next(&one, 0, SOON);
    other.load(DetectorInput::Metrics);
    assert!(other.pipeline.warm_up_left(other.now()).is_zero());
    let opens_after = |host: &mut Host| {
        (0..60_u32).find(|_| {
            run(host, 1, |second| wobble(second) + 80.0);
            host.opened() > 0
        })
    };
    let (as_ever, again) = (opens_after(&mut one).expect("it opens"), opens_after(&mut other).expect("it opens"));
    assert!(as_ever.abs_diff(again) <= 1, "{as_ever} s, after a restart {again} s");
}

#[test]
fn votes_are_no_news_again_after_a_restart() {
    let mut one = ended(DetectorInput::Votes);
    seconds(&mut one, 60);
    assert!(one.pipeline.oddness() > 0.0);
    assert!(one.drain());
    let mut other = next(&one, 0, SOON);
    other.load(DetectorInput::Votes);
    seconds(&mut one, 1);
    seconds(&mut other, 1);
    // The second in which it was away has not faded it.
    let [again, as_ever] = [&other, &one].map(|host| host.pipeline.oddness());
    assert!((1.0..1.004).contains(&(again / as_ever)), "{again} {as_ever}");
    assert_eq!(other.pipeline.news().to_bits(), one.pipeline.news().to_bits());
}

#[test]
fn time_away_is_a_gap_and_is_learnt_through_before_an_episode_opens() {
    let before = ended(DetectorInput::Metrics);
    let mut host = next(&before, 60, Away::Agent(Duration::from_secs(60)));
    host.load(DetectorInput::Metrics);
    assert_eq!(host.pipeline.warm_up_left(host.now()), Duration::from_secs(60));
    seconds(&mut host, 1);
    assert_eq!((host.asked.dt_ms.clone(), host.asked.flags.clone()), (vec![61_000; 3], vec![flags::GAP; 3]));
    seconds(&mut host, 1);
    assert_eq!((host.asked.dt_ms.clone(), host.asked.flags.clone()), (vec![1_000; 3], vec![0; 3]));

    // The host began anew: its monotonic clock knows nothing of before, and what follows a boot is unlike the rest.
    let learnt = before.pipeline.learnt(before.now());
    let mut host = Host::new(1);
    host.second = 20;
    host.pipeline.handle_learnt(host.now(), &learnt, Away::Host(Duration::from_secs(7_200)));
    host.load(DetectorInput::Metrics);
    assert_eq!(host.pipeline.warm_up_left(host.now()), Duration::from_secs(110));
    seconds(&mut host, 1);
    assert_eq!(host.asked.dt_ms, [7_201_000; 3]);
    assert_eq!(host.asked.flags, [flags::GAP; 3]);
    assert!(host.scorer.scores.iter().all(|score| !score.is_nan()), "states are of use all the same");
}

#[test]
fn who_knows_the_hours_starts_from_what_a_peer_learnt_and_all_others_learn_for_themselves() {
    for (input, taken) in [(DetectorInput::Seasonal, 3), (DetectorInput::Metrics, 0), (DetectorInput::Votes, 0)] {
        let peer = ended(input);
        let mut host = Host::new(2);
        host.second = 20;
        let prior = peer.pipeline.learnt(peer.now());
        host.pipeline.handle_prior(host.now(), &prior, Duration::from_secs(7_200));
        host.load(input);
        assert_eq!(
            host.pipeline.warm_up_left(host.now()),
            Duration::from_secs(110),
            "how rare a score is is not known"
        );
        assert_eq!(host.pipeline.oddness(), 0.0);
        seconds(&mut host, 1);
        let counts = ReturnCounts { found: taken, returned: taken, ..ReturnCounts::default() };
        assert_eq!(host.pipeline.return_counts(), counts, "{input:?}");
        let asked = if taken > 0 { (vec![7_201_000; 3], vec![flags::GAP; 3]) } else { (vec![0; 3], vec![0; 3]) };
        assert_eq!((host.asked.dt_ms.clone(), host.asked.flags.clone()), asked, "{input:?}");
        assert_eq!(host.scorer.scores.iter().all(|score| !score.is_nan()), taken > 0, "{input:?}");
    }
}

#[test]
fn what_departs_over_a_restart_is_told_again_within_the_time_for_which_the_collector_waits() {
    let departs = |host: &mut Host, seconds: u64| {
        for _ in 0..seconds {
            for (place, name) in ["b", "c"].iter().enumerate() {
                let value = wobble(host.second * 3 + place as u64) * 40.0 + 400.0;
                host.read(&super::shipping::LOAD, name, value);
            }
            run(host, 1, wobble);
        }
    };
    let mut one = ended(DetectorInput::Metrics);
    departs(&mut one, 60);
    assert!(one.opened() > 0 && one.drain());
    let mut other = next(&one, 5, SOON);
    other.load(DetectorInput::Metrics);
    departs(&mut other, 600);
    let again = other.events(EpisodeEvent::Open).map(|(second, _)| second - one.second).min();
    assert!(again.is_some_and(|second| second < 600), "{again:?}");
}

#[test]
fn another_module_or_other_parameters_start_cold_and_it_is_counted() {
    let before = ended(DetectorInput::Metrics);
    let mut other_module = detector(DetectorInput::Metrics);
    other_module.reference.digest = Digest([8; 32]);
    let mut other_parameters = detector(DetectorInput::Metrics);
    other_parameters.description.parameters[0].1 = 60.0;
    for slot in [other_module, other_parameters] {
        let mut host = next(&before, 0, SOON);
        host.pipeline.set_detectors(host.now(), vec![slot]);
        seconds(&mut host, 1);
        assert!(host.scorer.scores.iter().all(|score| score.is_nan()), "cold");
        let counts = ReturnCounts { found: 3, other_module: 3, ..ReturnCounts::default() };
        assert_eq!(host.pipeline.return_counts(), counts);
        assert!(!host.pipeline.warm_up_left(host.now()).is_zero());
    }
}

#[test]
fn what_does_not_come_back_is_waited_for_told_again_at_the_next_end_and_forgotten_in_time() {
    let before = ended(DetectorInput::Metrics);
    // Ended again before its worker had started.
    let hasty = next(&before, 1, Away::Agent(Duration::from_secs(1)));
    assert_eq!(hasty.pipeline.learnt(hasty.now()).states(), 3);
    let mut host = next(&hasty, 1, Away::Agent(Duration::from_secs(1)));
    host.load(DetectorInput::Metrics);
    run(&mut host, 60, wobble);
    assert_eq!(host.pipeline.return_counts().waiting(), 2);
    assert_eq!(host.asked.dt_ms.len(), 1);
    assert!(host.drain());
    assert_eq!(host.pipeline.learnt(host.now()).states(), 3, "one that is there and two that are waited for");
    seconds(&mut host, 1);
    assert_eq!(host.asked.dt_ms, [63_000, 63_000, 1_000], "since the last life but one");
    assert_eq!(host.pipeline.return_counts().waiting(), 0);

    let mut host = next(&before, 0, SOON);
    host.load(DetectorInput::Metrics);
    run(&mut host, 920, wobble);
    let counts = ReturnCounts { found: 3, returned: 1, not_back: 2, ..ReturnCounts::default() };
    assert_eq!(host.pipeline.return_counts(), counts);
    assert!(host.drain());
    assert_eq!(host.pipeline.learnt(host.now()).states(), 1);
    seconds(&mut host, 1);
    assert!(host.scorer.scores.iter().all(|score| !score.is_nan()), "kept with those of series that ended");
}

#[test]
fn what_a_detector_failed_on_does_not_outlive_the_agent_and_a_lost_worker_costs_nothing() {
    let mut host = ended(DetectorInput::Metrics);
    host.pipeline.handle_worker_gone(host.now());
    assert_eq!(host.pipeline.learnt(host.now()).states(), 3);
    host.load(DetectorInput::Metrics);
    host.pipeline.handle_detector_failed(host.now(), 0);
    assert_eq!(host.pipeline.learnt(host.now()).states(), 0);
    host.load(DetectorInput::Metrics);
    assert_eq!(host.pipeline.learnt(host.now()).states(), 3, "it was forgiven");
}

#[test]
fn log_templates_are_mined_anew_so_their_states_stay_behind() {
    let mut host = ended(DetectorInput::LogTemplates);
    assert!(host.drain());
    assert_eq!(host.pipeline.learnt(host.now()).states(), 0);
}
