//! Kinds of log lines that were never seen, one after another, under the bundled detector.

use super::native::Native;
use super::*;
use vedette_edge::pipeline::PipelineConfig;
use vedette_protocol::ids::HostId;
use vedette_protocol::policy::Policy;
use vedette_protocol::v1::Subject;
use vedette_sim::LogSource;

const NEWS: [&str; 4] = [
    "ERROR upstream {ip} refused the connection",
    "panic: nil pointer in worker {int}",
    "FATAL disk quota of volume data exceeded by {int} bytes",
    "WARN replica {hex} lags by {int} segments",
];

/// Each of the new kinds comes for five minutes, the first after two hours, the next ones each `apart` later. Which of
/// them opened an episode of their own, and how long after its first minute began.
fn opened(seed: Seed, apart: Duration, rate: f64) -> Vec<Option<Duration>> {
    let begins: Vec<Duration> = (0..4).map(|n| HOUR * 2 + apart * n).collect();
    let mut host = Host::new(seed);
    let known = LogSource::new("/var/log/app.log", "app", seed.rng("app.log"))
        .with(LineTemplate::always("GET /cart/{int} took {ms} ms", 12.0))
        .with(LineTemplate::always("health check by {ip} passed", 0.2))
        .with(LineTemplate::always("session {hex} of {user} expired", 0.5));
    let log = NEWS
        .iter()
        .zip(&begins)
        .fold(known, |log, (text, begin)| log.with(LineTemplate::between(text, rate, *begin, *begin + MINUTE * 5)));
    host.add_log(log);
    let config = PipelineConfig {
        host: HostId([0x52; 16]),
        policy: Policy::default(),
        series_max: 100,
        templates_max: 100,
        sources: host.sources(),
    };
    let mut rig = Rig::with(config, host, vec![Native::<vedette_log_novelty::LogNovelty>::boxed()]);
    rig.run(begins[3] + MINUTE * 10);
    let opening = |text: &str, begin: Duration| {
        let template = LineTemplate::always(text, 1.0);
        rig.findings()
            .filter(|(_, finding)| finding.event == EpisodeEvent::Open)
            .find(|(_, finding)| {
                matches!(&finding.subject, Subject::LogTemplate { exemplar, .. } if template.covers(exemplar))
            })
            .map(|(at, _)| at.saturating_sub(begin))
    };
    NEWS.iter().zip(begins).map(|(text, begin)| opening(text, begin)).collect()
}

#[test]
fn a_kind_of_line_that_was_never_seen_is_told_though_another_was_before() {
    let seed = Seed(31).announce("a_kind_of_line_that_was_never_seen_is_told_though_another_was_before");
    let mut all = true;
    for (case, (apart, rate)) in (0..).zip([(MINUTE * 20, 2.0), (MINUTE * 20, 20.0), (HOUR * 3, 2.0), (HOUR * 3, 20.0)])
    {
        let told = opened(seed.child(case), apart, rate);
        println!("{apart:?} apart, {rate} lines a second: {told:?}");
        all &= told.iter().all(Option::is_some);
    }
    assert!(all, "what came later opened nothing");
}
