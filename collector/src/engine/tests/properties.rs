//! What holds for every stream of findings.

use super::*;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

const METRICS: [&str; 4] =
    ["system.cpu.utilization", "system.memory.utilization", "system.disk.io_time", "system.paging.usage"];

/// One episode of a random stream.
#[derive(Clone, Debug)]
struct Planned {
    host: u8,
    metric: usize,
    onset_ms: i64,
    clears_after_ms: Option<i64>,
}

fn planned(hosts: std::ops::RangeInclusive<u8>, span_ms: i64) -> impl Strategy<Value = Planned> {
    (hosts, 0..METRICS.len(), 0..span_ms, prop::option::of(1_000..100_000_i64))
        .prop_map(|(host, metric, onset_ms, clears_after_ms)| Planned { host, metric, onset_ms, clears_after_ms })
}

/// web-1 and web-2 are related, web-3 and web-4 are, nothing else is.
fn two_islands() -> Vec<Service> {
    let service = |name: &str, hosts: &[&str], on: &[&str]| Service {
        name: name.into(),
        tier: None,
        hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
        depends_on: on.iter().map(|name| (*name).to_owned()).collect(),
    };
    vec![service("a", &["web-1"], &["b"]), service("b", &["web-2"], &[]), service("c", &["web-3", "web-4"], &[])]
}

/// Episodes that nobody speaks of for an hour expire, so that a run ends soon.
fn short_lived() -> Bench {
    let mut bench = Bench::new(two_islands());
    let correlate = Correlate { episode_ttl_ms: 3_600_000, ..Correlate::default() };
    bench.push(0, Event::Configured(Box::new(Setup { correlate, topology: Topology { services: two_islands() } })));
    bench
}

fn words(plan: &[Planned]) -> Vec<(u8, Finding)> {
    let mut words = Vec::new();
    for (n, planned) in plan.iter().enumerate() {
        let n = u32::try_from(n).unwrap();
        let subject = metric(METRICS[planned.metric]);
        let onset = at(planned.onset_ms);
        let open = Finding { onset, ..finding(n, EpisodeEvent::Open, subject.clone(), planned.onset_ms + 1_000) };
        words.push((planned.host, open));
        if let Some(after) = planned.clears_after_ms {
            let clear = finding(n, EpisodeEvent::Clear, subject, planned.onset_ms + 1_000 + after);
            words.push((planned.host, Finding { onset, ..clear }));
        }
    }
    words
}

/// Sets of episodes that ended up together.
fn partition(engine: &Engine) -> BTreeSet<BTreeSet<EpisodeId>> {
    engine
        .state
        .groups
        .values()
        .map(|group| group.members.iter().map(|member| member.episode).collect::<BTreeSet<_>>())
        .filter(|set| !set.is_empty())
        .collect()
}

/// What is kept up to date word by word is what a walk over the members finds.
fn audit(engine: &Engine) {
    let state = &engine.state;
    let mut of_host: BTreeMap<HostId, usize> = BTreeMap::new();
    for group in state.groups.values() {
        let members = || group.members.iter().map(|member| &state.episodes[&member.episode]);
        let walked = super::super::tally::Tally::of(members(), &state.setup.correlate);
        let sums = |tally: &super::super::tally::Tally| (tally.findings, tally.ongoing, tally.unknown, tally.mixed);
        assert_eq!(sums(&group.tally), sums(&walked));
        assert_eq!(group.tally.clear_since(), walked.clear_since());
        let bound = |known: Option<WallTime>, found: Option<WallTime>| found.is_none() || known <= found;
        assert!(bound(group.tally.silence, walked.silence) && bound(group.tally.extreme, walked.extreme));
        if group.is_live() {
            members().for_each(|episode| *of_host.entry(episode.host).or_default() += 1);
        }
    }
    assert_eq!(of_host, state.episodes_of_host.iter().map(|(host, count)| (*host, *count)).collect());
}

fn expired_episodes(engine: &Engine) -> u64 {
    engine.expired_episodes().map(|(_, count)| count).sum()
}

/// What restarts of agents do to a stream: from then on findings of the host made before are of an earlier life.
fn with_restarts(stream: Vec<(u8, Finding)>, restarts: &[(u8, i64)], late_ms: i64) -> Vec<(i64, Event)> {
    let mut events: Vec<(i64, Event)> =
        restarts.iter().map(|(on, at_ms)| (*at_ms, Event::AgentRestarted { host: host(*on) })).collect();
    for (n, (on, finding)) in stream.into_iter().enumerate() {
        let made_ms = finding.at.unix_ms() - START_MS;
        let heard_ms = made_ms + if n % 3 == 0 { late_ms } else { 0 };
        let earlier = restarts.iter().any(|(host, at_ms)| *host == on && (made_ms..=heard_ms).contains(at_ms));
        let (host, finding) = (host(on), Box::new(finding));
        let event = if earlier {
            Event::EarlierFinding { host, offset_ns: 0, finding }
        } else {
            Event::Finding { host, offset_ns: 0, finding }
        };
        events.push((heard_ms, event));
    }
    events.sort_by_key(|(at_ms, _)| *at_ms);
    events
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn every_accepted_finding_is_in_exactly_one_place(
        plan in prop::collection::vec(planned(1..=4, 4_000_000), 1..60),
        repeats in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
    ) {
        let mut bench = short_lived();
        let mut stream = words(&plan);
        for repeat in repeats {
            let again = stream[repeat.index(stream.len())].clone();
            stream.push(again);
        }
        stream.sort_by_key(|(_, finding)| finding.at);
        for (fed, (on, finding)) in (1..).zip(stream) {
            let at_ms = finding.at.unix_ms() - START_MS;
            bench.run_until(at_ms);
            bench.find(at_ms, on, finding);
            let conservation = bench.engine.conservation();
            prop_assert!(conservation.holds(), "{conservation:?}");
            prop_assert_eq!(conservation.accepted, fed);
            audit(&bench.engine);
        }
        let mut places: BTreeMap<EpisodeId, u32> = BTreeMap::new();
        for episode in partition(&bench.engine).iter().flatten() {
            *places.entry(*episode).or_default() += 1;
        }
        prop_assert!(places.values().all(|count| *count == 1));
        prop_assert_eq!(places.len(), bench.engine.state.episodes.len());
        bench.run_until(9_000_000);
        let conservation = bench.engine.conservation();
        prop_assert!(conservation.holds() && conservation.candidate == 0, "{conservation:?}");
    }

    #[test]
    fn disjoint_graphs_never_mix(plan in prop::collection::vec(planned(1..=4, 600_000), 1..60)) {
        let mut bench = short_lived();
        bench.change(0, 1, change(1, "/etc/same.conf", 0));
        bench.change(0, 3, change(2, "/etc/same.conf", 0));
        for (on, finding) in words(&plan) {
            bench.find(finding.at.unix_ms() - START_MS, on, finding);
        }
        for group in partition(&bench.engine) {
            let islands: BTreeSet<bool> = group.iter().map(|id| bench.engine.state.episodes[id].host <= host(2)).collect();
            prop_assert_eq!(islands.len(), 1);
        }
    }

    #[test]
    fn the_order_of_arrival_within_the_skew_does_not_matter(
        (plan, order) in prop::collection::vec(planned(1..=4, 300_000), 1..30).prop_flat_map(|plan| {
            let count = words(&plan).len();
            (Just(plan), Just((0..count).collect::<Vec<_>>()).prop_shuffle())
        })
    ) {
        let stream = words(&plan);
        let run = |order: &[usize]| {
            let mut bench = short_lived();
            // All words are on their way at the same time: what came first is chance.
            for index in order {
                let (on, finding) = stream[*index].clone();
                bench.find(402_000, on, finding);
            }
            let states: BTreeMap<EpisodeId, Option<Ended>> =
                bench.engine.state.episodes.values().map(|episode| (episode.id, episode.ended)).collect();
            (partition(&bench.engine), states)
        };
        let in_order: Vec<usize> = (0..stream.len()).collect();
        prop_assert_eq!(run(&in_order), run(&order));
    }

    #[test]
    fn a_restart_from_any_snapshot_or_from_the_log_alone_gives_the_same_state(
        plan in prop::collection::vec(planned(1..=4, 2_000_000), 1..40),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bench = short_lived();
        let mut stream = words(&plan);
        stream.sort_by_key(|(_, finding)| finding.at);
        for (on, finding) in stream {
            let at_ms = finding.at.unix_ms() - START_MS;
            bench.run_until(at_ms);
            bench.find(at_ms, on, finding);
        }
        let mut replayed = Engine::new();
        let cut = cut.index(bench.log.len());
        for (n, logged) in bench.log.iter().enumerate() {
            if n == cut {
                replayed = Engine::from_snapshot(&replayed.snapshot()).unwrap();
            }
            replayed.handle_event(logged.clone());
            replayed.handle_event(logged.clone());
            while replayed.poll_action().is_some() {}
        }
        prop_assert_eq!(partition(&replayed), partition(&bench.engine));
        prop_assert_eq!(replayed.conservation(), bench.engine.conservation());
        prop_assert_eq!(replayed.poll_timeout(), bench.engine.poll_timeout());
        prop_assert_eq!(replayed.state.incidents, bench.engine.state.incidents);
    }

    #[test]
    fn restarts_and_late_words_leave_the_books_right_and_nothing_open_for_ever(
        plan in prop::collection::vec(planned(1..=4, 2_000_000), 1..40),
        restarts in prop::collection::vec((1..=4_u8, 0..2_000_000_i64), 0..6),
        late_ms in 0..200_000_i64,
        cut in any::<prop::sample::Index>(),
    ) {
        let (mut bench, mut expired) = (short_lived(), 0);
        for (at_ms, event) in with_restarts(words(&plan), &restarts, late_ms) {
            bench.run_until(at_ms);
            let before = std::mem::replace(&mut expired, expired_episodes(&bench.engine));
            prop_assert!(before <= expired, "{before} episodes had expired, and now {expired}");
            if let Event::EarlierFinding { finding, .. } = &event {
                let id = finding.episode;
                bench.push(at_ms, event);
                let known = bench.engine.state.episodes.get(&id);
                prop_assert!(known.is_none_or(|episode| episode.ended.is_some()), "nobody will clear it");
            } else if let Event::AgentRestarted { host } = event {
                bench.push(at_ms, event);
                let open = bench.engine.state.episodes.values().filter(|one| one.host == host && one.ended.is_none());
                prop_assert_eq!(open.count(), 0);
            } else {
                bench.push(at_ms, event);
            }
            audit(&bench.engine);
        }
        bench.run_until(9_000_000);
        let books = bench.engine.conservation();
        prop_assert!(books.holds() && books.candidate == 0, "{books:?}");
        prop_assert!(bench.engine.open_incidents().is_empty());
        let mut replayed = Engine::new();
        let cut = cut.index(bench.log.len());
        for (n, logged) in bench.log.iter().enumerate() {
            if n == cut {
                replayed = Engine::from_snapshot(&replayed.snapshot()).unwrap();
            }
            replayed.handle_event(logged.clone());
        }
        prop_assert_eq!(replayed.conservation(), books);
        prop_assert_eq!(expired_episodes(&replayed), expired_episodes(&bench.engine));
        prop_assert_eq!(partition(&replayed), partition(&bench.engine));
        let forms = |engine: &Engine| {
            engine.state.incidents.keys().map(|id| engine.incident(id).unwrap()).collect::<Vec<_>>()
        };
        prop_assert_eq!(forms(&replayed), forms(&bench.engine));
    }
}
