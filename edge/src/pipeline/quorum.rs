//! The votes of a tick, and the episode that they open together.

use super::Pipeline;
use crate::judge::Judge;
use crate::quorum::Heard;
use vedette_protocol::ids::Digest;
use vedette_protocol::time::MonoTime;
use vedette_protocol::worker::DetectorInput;

impl Pipeline {
    /// Adds up what a detector that votes has said at a tick. What follows is decided of the series that contributes
    /// most, or did when the alarm began.
    pub(super) fn count_votes(&mut self, now: MonoTime, at: usize, tick: u64) {
        let judge = &self.judges[at];
        if judge.input() != DetectorInput::Votes {
            return;
        }
        for (slot, score, waited_ms) in judge.scored() {
            let Some(series) = self.registry.get(slot) else { continue };
            self.oddness.vote(tick, (judge.id(), slot), score, series.read_interval_ms, waited_ms);
        }
        let heard = self.quorum.hear(now, self.oddness.state());
        let before = self.quorum.speaker.filter(|speaker| self.is_known(*speaker));
        let goes_on = heard.alarmed && !heard.opens;
        let keeps = before.filter(|speaker| goes_on || self.has_episode(*speaker));
        // Who spoke and is gone has no successor: one alarm, one episode.
        let speaker = keeps.or_else(|| self.oddness.leader().filter(|_| heard.watch && !goes_on));
        self.quorum.speaker = speaker;
        if let Some(before) = before.filter(|before| Some(*before) != speaker) {
            self.dismiss_speaker(now, at, before);
        }
        let judge = &mut self.judges[at];
        // One that another detector has seen is told at that one's next votes.
        if let Some((_, slot)) = speaker.filter(|(detector, _)| *detector == judge.id()) {
            judge.stand(now, slot, heard);
        }
    }

    /// A series without an episode speaks for the votes no more, whoever of the voters has seen it. What follows for the
    /// one `at` is decided with its scores.
    fn dismiss_speaker(&mut self, now: MonoTime, at: usize, (detector, slot): (u32, u32)) {
        let Some(of) = self.judge_at(detector) else { return };
        self.judges[of].stand(now, slot, Heard::CALM);
        if of != at {
            self.judges[of].decisions.clear();
            self.suspects.acquit(detector, slot);
        }
    }

    /// Tells the quorum who votes now: the modules with their parameters, whatever their numbers and their order, and
    /// those that are waited for.
    pub(super) fn count_voters(&mut self) {
        let votes = |judge: &&Judge| judge.input() == DetectorInput::Votes;
        let mut voters: Vec<_> = self.judges.iter().filter(votes).map(identity).collect();
        voters.sort_unstable();
        self.quorum.set_voters((!voters.is_empty()).then(|| Digest::of(&voters.concat())));
    }

    /// The series that an open episode of this detector's votes is about.
    pub(super) fn spoken_of(&self, detector: u32) -> Option<u32> {
        let (speaker, slot) = self.quorum.speaker.filter(|(speaker, _)| *speaker == detector)?;
        let judge = self.judges.iter().find(|judge| judge.id() == speaker)?;
        judge.track(slot).filter(|track| track.is_open()).map(|_| slot)
    }

    fn is_known(&self, (detector, slot): (u32, u32)) -> bool {
        let judge = self.judges.iter().find(|judge| judge.id() == detector);
        judge.is_some_and(|judge| judge.track(slot).is_some())
    }

    /// Whether an episode of the votes is about this series, or was until a moment ago.
    fn has_episode(&self, (detector, slot): (u32, u32)) -> bool {
        let judge = self.judges.iter().find(|judge| judge.id() == detector);
        judge.and_then(|judge| judge.track(slot)).is_some_and(|track| track.episode.is_some())
    }
}

/// Of the same module with the same parameters the same.
fn identity(judge: &Judge) -> [u8; 32] {
    let mut bytes = judge.slot.reference.digest.0.to_vec();
    for (name, value) in &judge.slot.description.parameters {
        bytes.extend(name.as_bytes());
        bytes.push(0);
        bytes.extend(value.to_bits().to_le_bytes());
    }
    Digest::of(&bytes).0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::learnt::LearntVotes;
    use crate::metric::{MetricKind, MetricSpec};
    use crate::pipeline::{Action, DetectorSlot, PipelineConfig};
    use vedette_protocol::ids::HostId;
    use vedette_protocol::policy::Policy;
    use vedette_protocol::time::WallTime;
    use vedette_protocol::v1::DetectorRef;
    use vedette_protocol::worker::{DetectorDescription, WorkerRequest};

    static METRIC: MetricSpec = MetricSpec {
        name: "system.cpu.utilization",
        unit: "1",
        kind: MetricKind::Gauge,
        resolution: 0.01,
        lower: f64::NAN,
        upper: f64::NAN,
        doc: "",
    };

    fn voter(detector: u32, digest: u8) -> DetectorSlot {
        let (name, version) = (format!("votes-{digest}"), "1".to_owned());
        let reference = DetectorRef { name: name.clone(), version: version.clone(), digest: Digest([digest; 32]) };
        let description = DetectorDescription {
            name,
            version,
            input: DetectorInput::Votes,
            warm_up_values: 1,
            state_bytes_max: 8,
            look_ms: 0,
            parameters: vec![("memory-s".to_owned(), 300.0)],
        };
        DetectorSlot { detector, reference, description }
    }

    /// A host with two series that two modules watch, each minute.
    struct Bench {
        pipeline: Pipeline,
        minute: u32,
    }

    impl Bench {
        fn new() -> Self {
            let config = PipelineConfig {
                host: HostId([0; 16]),
                policy: Policy::default(),
                series_max: 4,
                templates_max: 4,
                sources: Vec::new(),
            };
            let mut pipeline = Pipeline::new(config, MonoTime::default(), WallTime::default());
            pipeline.set_detectors(MonoTime::default(), vec![voter(1, 1), voter(2, 2)]);
            Self { pipeline, minute: 0 }
        }

        /// Both series are read, and each module says this of each.
        fn minute(&mut self, one: [f32; 2], other: [f32; 2]) {
            self.minute += 1;
            let now = MonoTime::from_ms(u64::from(self.minute) * 60_000);
            for name in ["a", "b"] {
                let value = f64::from(self.minute);
                self.pipeline.handle_reading(now, "sim", 60_000, &METRIC, &[("n", name)], value);
            }
            self.pipeline.handle_tick(now, WallTime::default());
            while let Some(action) = self.pipeline.poll_action() {
                let Action::Ask(WorkerRequest::Observe { detector, tick, columns }) = action else { continue };
                let says = if detector == 1 { one } else { other };
                let scores: Vec<f32> = columns.ids.iter().map(|slot| says[*slot as usize]).collect();
                self.pipeline.handle_scores(now, detector, tick, &scores);
            }
        }

        fn watched(&self) -> Vec<(u32, u32)> {
            let all = [(1, 0), (1, 1), (2, 0), (2, 1)];
            let is_watched = |(detector, slot): &(u32, u32)| {
                let at = self.pipeline.judge_at(*detector).expect("a judge");
                self.pipeline.judges[at]
                    .track(*slot)
                    .is_some_and(|track| track.odd_since.is_some() && track.is_watched())
            };
            all.into_iter().filter(is_watched).collect()
        }
    }

    #[test]
    fn who_spoke_before_is_acquitted_whichever_module_had_seen_it() {
        let mut bench = Bench::new();
        (0..5).for_each(|_| bench.minute([0.0; 2], [0.0; 2]));
        (0..2).for_each(|_| bench.minute([0.0; 2], [0.0, 9.0]));
        assert_eq!((bench.watched(), bench.pipeline.suspects.is_empty()), (vec![(2, 1)], false));
        (0..2).for_each(|_| bench.minute([90.0, 0.0], [0.0, 9.0]));
        assert_eq!(bench.watched(), [(1, 0)]);
        (0..2).for_each(|_| bench.minute([90.0, 0.0], [0.0, 900.0]));
        assert_eq!(bench.watched(), [(2, 1)]);
        (0..300).for_each(|_| bench.minute([0.0; 2], [0.0; 2]));
        assert_eq!((bench.watched(), bench.pipeline.suspects.is_empty()), (vec![], true));
    }

    #[test]
    fn what_votes_have_taught_holds_for_the_very_same_voters_in_any_order() {
        let mut bench = Bench::new();
        bench.minute([0.0; 2], [0.0; 2]);
        let now = MonoTime::from_ms(60_000);
        let known: LearntVotes = bench.pipeline.quorum.learnt();
        let of = |bench: &mut Bench, slots: Vec<DetectorSlot>| {
            bench.pipeline.set_detectors(now, slots);
            bench.pipeline.quorum.learnt().voters
        };
        assert!(known.voters.is_some());
        assert_eq!(of(&mut bench, vec![voter(1, 2), voter(5, 1)]), known.voters, "others' numbers, another order");
        bench.pipeline.handle_detector_failed(now, 5);
        assert_eq!(of(&mut bench, vec![voter(1, 2)]), known.voters, "the other is waited for");
        bench.pipeline.handle_worker_gone(now);
        assert_eq!(of(&mut bench, vec![voter(1, 2), voter(2, 1)]), known.voters);
        assert_ne!(of(&mut bench, vec![voter(1, 2), voter(2, 3)]), known.voters, "another module");
        let mut tuned = voter(2, 1);
        tuned.description.parameters[0].1 = 60.0;
        assert_ne!(of(&mut bench, vec![voter(1, 2), tuned]), known.voters, "other parameters");
        assert_ne!(of(&mut bench, vec![voter(1, 2)]), known.voters, "one of them alone");
        let alone = of(&mut bench, vec![voter(1, 2), voter(2, 1)]);
        assert_eq!((alone, of(&mut bench, Vec::new())), (known.voters, known.voters), "nobody measures otherwise");
    }
}
