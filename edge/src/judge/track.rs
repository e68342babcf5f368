//! What one detector's scores of one series have been lately.

use super::bout::Bout;
use super::pace::{Pace, Wander};
use super::ward::{Alarmed, Ward};
use super::{DecisionKind, HOLD_MS_MAX};
use crate::budget::Budget;
use crate::episodes::{Episode, SUSPICION, Turn};
use crate::learnt::LearntSeries;
use crate::normalise::{elapsed_ms, is_gap};
use crate::room;
use std::borrow::Cow;
use std::time::Duration;
use vedette_protocol::ids::SeriesKey;
use vedette_protocol::time::MonoTime;
use vedette_protocol::worker::flags;

/// Share of a bout's highest score under which a verdict speaks against it.
const FADED: f32 = 0.1;
/// A series' own calibration needs so many scores before an episode may open on it.
const SCORES_MIN: u32 = 30;
/// Factors on the scale for a score beyond it and one within, early and once so many scores were seen: the scale walks
/// to the 99 % quantile (multiplicative, as DUMIQE: Yazidi and Hammer 2017).
const SCALE_EARLY: [f32; 2] = [1.082, 0.999_2];
const SCALE_LATER: [f32; 2] = [1.02, 0.999_8];
const EARLY: u32 = 300;
const SCALE_MAX: f32 = 1e6;
/// Decades for each tenth of news: how far a wander goes is known by its lifetimes.
const SLOWNESS: f32 = 2.5;
/// A raw score below this, half of what an episode takes, says nothing, however rare it is among its like; but how far a
/// slow wander goes is learnt from small bouts, too.
const NOTICE: f32 = 2.0;
/// Decades of evidence short of an episode from which on the detector is asked not to learn, what a score has to be worth
/// for it (a slow wander has to be followed), at which intervals (below, a detector's memory holds many values), and
/// verdicts of one bout for which it is.
const HOLD_WITHIN: f32 = 3.5;
const HOLD_NEWS: f32 = 0.25;
const HOLD_INTERVAL_MS_MIN: u32 = 4_000;
const HOLD_TICKS_MAX: u16 = 45;
/// Votes of which one is learnt from.
const VOTES_EACH: u8 = 16;

/// What is known of a series' scores at one pace.
#[derive(Clone, Copy, Debug)]
struct Known {
    scale: f32,
    wander: Wander,
    scores: u32,
}

/// One series under one detector.
#[derive(Debug)]
pub(crate) struct Track {
    pub(crate) key: SeriesKey,
    pub(crate) ward: u32,
    pub(crate) interval_ms: u32,
    /// Evidence that an episode needs if nobody else is odd.
    pub(crate) needed: f32,
    /// The worker knows it.
    pub(crate) told: bool,
    /// The last score.
    pub(crate) score: f32,
    /// −log10 of the probability of the last score.
    pub(crate) surprise: f32,
    /// −log10 of the probability that a verdict begins a bout this high.
    pub(crate) evidence: f32,
    pub(crate) bout: Bout,
    wander: Wander,
    pub(crate) odd_since: Option<MonoTime>,
    /// Verdicts since then.
    pub(crate) odd_ticks: u16,
    /// A high quantile of the scores, at least 1: noisy series are measured by their own noise.
    pub(crate) scale: f32,
    pub(crate) episode: Option<Box<Episode>>,
    pub(crate) opened_at: MonoTime,
    pub(crate) state: Vec<u8>,
    snapshot_asked: bool,
    alarmed: bool,
    /// Its alarms of late, as of the last one or a restart after it.
    alarms_were: Alarmed,
    alarms_at: MonoTime,
    /// Alarms that it alone accounts for: a kind of lines is told of once before it can be usual.
    pub(crate) alarms: u16,
    repeated: bool,
    /// Votes until the next one that is learnt from.
    unlearnt: u8,
    scores: u32,
    scores_min: u32,
    /// What is known of its scores at other paces, once it was looked at at several.
    elsewhere: Option<Box<[Option<Known>; Pace::COUNT]>>,
    /// When the detector was last given a value.
    pub(crate) seen: Seen,
}

/// When a detector was last given a value of a series.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) enum Seen {
    #[default]
    Never,
    At(MonoTime),
    /// So long before a moment, perhaps before this boot.
    Before {
        ms: u32,
        at: MonoTime,
    },
}

impl Seen {
    /// Time until `now`; 0 if there was no value.
    fn elapsed_ms(self, now: MonoTime) -> u32 {
        self.ms_ago(now).unwrap_or(0)
    }

    fn ms_ago(self, now: MonoTime) -> Option<u32> {
        match self {
            Self::Never => None,
            Self::At(last) => Some(elapsed_ms(now, last)),
            Self::Before { ms, at } => Some(elapsed_ms(now, at).saturating_add(ms)),
        }
    }
}

impl Track {
    /// What a track has on the heap beside its state and its episode.
    pub(crate) const HEAP_BYTES: usize = size_of::<[Option<Known>; Pace::COUNT]>() + room::BLOCK;

    pub(crate) fn new(key: SeriesKey, ward: u32, interval_ms: u32, logs: bool) -> Self {
        Self {
            key,
            ward,
            interval_ms,
            needed: f32::INFINITY,
            told: false,
            score: 0.0,
            surprise: 0.0,
            evidence: 0.0,
            bout: Bout::default(),
            wander: Wander::default(),
            odd_since: None,
            odd_ticks: 0,
            scale: 1.0,
            episode: None,
            opened_at: MonoTime::default(),
            state: Vec::new(),
            snapshot_asked: false,
            alarmed: false,
            alarms_were: Alarmed::default(),
            alarms_at: MonoTime::default(),
            alarms: 0,
            repeated: false,
            unlearnt: 0,
            scores: 0,
            // A template that was never seen before is news from its first lines on.
            scores_min: if logs { 0 } else { SCORES_MIN },
            elsewhere: None,
            seen: Seen::Never,
        }
    }

    /// A template's first alarm says nothing of what other templates do.
    pub(crate) fn is_first_of_its_kind(&self) -> bool {
        self.scores_min == 0 && self.alarms <= 1
    }

    /// What outlives a restart.
    pub(crate) fn learnt(&self, now: MonoTime, leaning: [f32; 2]) -> LearntSeries<'_> {
        LearntSeries {
            key: self.key,
            interval_ms: self.interval_ms,
            scale: self.scale,
            wander: self.wander,
            scores: self.scores,
            seen_ms_ago: self.seen.ms_ago(now),
            alarmed: self.alarmed_of_late(now).unwrap_or_default(),
            leaning,
            state: Cow::Borrowed(&self.state),
        }
    }

    /// Takes over what outlived one, `later` after its ages were right; what was known at another pace waits for that pace.
    pub(crate) fn recall(&mut self, now: MonoTime, learnt: LearntSeries<'static>, later: Duration) {
        self.seen = learnt.later(later).seen_ms_ago.map_or(Seen::Never, |ms| Seen::Before { ms, at: now });
        self.state = learnt.state.into_owned();
        (self.alarms_were, self.alarms_at) = (learnt.alarmed, now);
        let known = Known { scale: learnt.scale.clamp(1.0, SCALE_MAX), wander: learnt.wander, scores: learnt.scores };
        let [then, here] = [learnt.interval_ms, self.interval_ms].map(Pace::of);
        if then == here {
            (self.scale, self.wander) = (known.scale, known.wander);
            self.scores = if learnt.interval_ms == self.interval_ms { known.scores } else { 0 };
        } else {
            self.elsewhere.get_or_insert_default()[then as usize] = Some(known);
        }
    }

    /// The source is read at another interval from now on, for good: learn anew.
    pub(crate) fn set_pace(&mut self, interval_ms: u32, ward: u32) {
        self.interval_ms = interval_ms;
        self.ward = ward;
        if self.scores_min > 0 {
            self.scores = 0;
        }
        self.elsewhere = None;
        self.rest();
    }

    /// The value before was shown to the detector longer ago, or not as long ago, than those before that: its scores are
    /// calibrated among those of that pace, its bout goes on. At a faster pace that is new to it, or nearly so, it counts as known, for its
    /// scale is rather too wide there; at a slower one half of the scores that an episode takes are missing.
    pub(crate) fn turn_pace(&mut self, interval_ms: u32, ward: u32, budget: Option<Budget>) {
        let [from, to] = [self.interval_ms, interval_ms].map(Pace::of);
        (self.interval_ms, self.ward) = (interval_ms, ward);
        if let Some(budget) = budget {
            self.needed = budget.surprise_needed(interval_ms);
        }
        if from == to {
            return;
        }
        let here = Known { scale: self.scale, wander: self.wander, scores: self.scores };
        let elsewhere = self.elsewhere.get_or_insert_default();
        elsewhere[from as usize] = Some(here);
        let known = if (to as usize) < from as usize { self.scores_min } else { self.scores_min / 2 };
        let new = Known { wander: Wander::default(), scores: here.scores.min(known), ..here };
        let there = elsewhere[to as usize].filter(|there| there.scores >= new.scores).unwrap_or(new);
        (self.scale, self.wander, self.scores) = (there.scale, there.wander, there.scores);
    }

    /// Time since the last value that the detector was given, and the flags that follow from it; this one is the last
    /// from now on.
    pub(crate) fn observe(&mut self, at: MonoTime) -> (u32, u8) {
        let last = std::mem::replace(&mut self.seen, Seen::At(at));
        let elapsed_ms = last.elapsed_ms(at);
        // What this agent itself missed is flagged where it is read.
        let missed = matches!(last, Seen::Before { .. }) && is_gap(elapsed_ms, self.interval_ms);
        (elapsed_ms, if missed { flags::GAP } else { 0 })
    }

    /// Whether the detector should not learn for now: it would take a fault for the new normal before enough was seen to
    /// tell. What is as usual as most bouts is learnt, and so is everything that lasts.
    pub(crate) fn holds_learning(&self, now: MonoTime) -> bool {
        if self.is_open() {
            return now.since(self.opened_at).as_millis() < HOLD_MS_MAX;
        }
        let telling = self.bout.is_on() && self.evidence >= self.needed - HOLD_WITHIN;
        telling
            && self.wander.news(false).usually >= HOLD_NEWS
            && self.interval_ms >= HOLD_INTERVAL_MS_MIN
            && self.bout.ticks < HOLD_TICKS_MAX
    }

    pub(crate) fn is_open(&self) -> bool {
        self.episode.as_ref().is_some_and(|episode| episode.is_open())
    }

    /// What is left of its alarms.
    pub(crate) fn alarmed_of_late(&self, now: MonoTime) -> Option<Alarmed> {
        let has = self.alarms_were.times > 0.0;
        has.then(|| self.alarms_were.after(now.since(self.alarms_at))).flatten()
    }

    /// Whether its state was asked for when it became odd.
    pub(crate) fn is_watched(&self) -> bool {
        self.snapshot_asked
    }

    /// A value that is not judged says nothing.
    pub(crate) fn rest(&mut self) {
        self.score = f32::NAN;
    }

    /// Takes one score. Whether it needs a decision: a bout is on or just over, or an episode.
    #[inline]
    pub(crate) fn weigh(&mut self, now: MonoTime, score: f32, ward: &mut Ward, warm: bool) -> bool {
        if score.is_nan() {
            self.rest();
            return self.episode.is_some();
        }
        self.scores = self.scores.saturating_add(1);
        self.repeated = score.to_bits() == self.score.to_bits();
        self.score = score;
        let relative = score / self.scale;
        // Once a departure faded, what is left of it is calm, however rare it is among its like.
        let faded = (self.bout.is_on() || self.is_open()) && score < FADED * self.bout.score;
        self.surprise = if faded { 0.0 } else { self.surprise_of(score, relative, ward) };
        ward.count_verdict();
        let begins = warm && Bout::begins(self.surprise);
        if !(begins || self.bout.is_on() || self.is_noted()) {
            self.learn(relative, 1.0, ward);
            return false;
        }
        self.suspect(now, relative, ward, warm);
        true
    }

    /// Takes a vote, which begins no bout: its calibration learns one in [`VOTES_EACH`]; what it means is derived when
    /// somebody asks ([`Track::said`]).
    #[inline]
    pub(crate) fn vote(&mut self, score: f32, ward: &mut Ward) {
        self.repeated = score.to_bits() == self.score.to_bits();
        self.score = score;
        if self.unlearnt > 0 || score.is_nan() {
            self.unlearnt = self.unlearnt.saturating_sub(1);
            return;
        }
        self.unlearnt = VOTES_EACH - 1;
        self.scores = self.scores.saturating_add(1);
        ward.count_verdict();
        self.learn(score / self.scale, 1.0, ward);
    }

    /// Surprise and evidence of the last score, of a vote as its pool calibrates it now.
    pub(crate) fn said(&self, ward: &Ward, votes: bool) -> [f32; 2] {
        if votes {
            return [self.surprise_of(self.score, self.score / self.scale, ward), 0.0];
        }
        [self.surprise, self.evidence]
    }

    #[inline]
    fn surprise_of(&self, score: f32, relative: f32, ward: &Ward) -> f32 {
        let surprise = ward.scores.surprise(relative);
        let small = score < NOTICE && ward.pace == Pace::Seconds && Bout::begins(surprise);
        if small && self.wander.news(false).usually >= 1.0 { 0.0 } else { surprise }
    }

    /// Whether the last score is not the one before again.
    pub(crate) fn is_fresh(&self) -> bool {
        !self.repeated && !self.score.is_nan()
    }

    /// Decades asked of a slow wander: fewer of its lifetimes were seen than scores, and what is beyond them is known that
    /// much worse.
    pub(crate) fn slowness(&self) -> f32 {
        -SLOWNESS * self.wander.news(false).usually.log10()
    }

    /// Something is remembered that only a decision clears.
    fn is_noted(&self) -> bool {
        self.bout.ticks > 0 || self.snapshot_asked || self.episode.is_some()
    }

    fn suspect(&mut self, now: MonoTime, relative: f32, ward: &mut Ward, warm: bool) {
        if self.bout.is_on() || (warm && Bout::begins(self.surprise)) {
            let news = self.wander.news(self.repeated);
            self.bout.observe(self.score, relative, self.surprise, ward.ceiling, ward.pace, news);
        } else if !self.is_open() {
            self.learn(relative, 1.0, ward);
        }
        let alarmed = self.alarmed_of_late(now);
        self.evidence = if self.bout.is_on() { ward.evidence(self.bout.height, alarmed) } else { 0.0 };
        if self.bout.height >= SUSPICION && self.scores >= self.scores_min {
            self.odd_since.get_or_insert(now);
            self.odd_ticks = self.odd_ticks.saturating_add(1);
        } else {
            self.odd_since = None;
            self.odd_ticks = 0;
        }
    }

    fn learn(&mut self, relative: f32, weight: f32, ward: &mut Ward) {
        self.wander.learn(relative);
        ward.scores.record_as(relative, weight);
        let [beyond, within] = if self.scores < EARLY { SCALE_EARLY } else { SCALE_LATER };
        self.scale = (self.scale * if relative > 1.0 { beyond } else { within }).clamp(1.0, SCALE_MAX);
    }

    /// What the present verdict means for the series.
    pub(crate) fn turn(&mut self, now: MonoTime, confirmed: bool, told: f32) -> Option<DecisionKind> {
        if let Some(episode) = &mut self.episode {
            let turn = episode.advance(now, self.surprise, told, self.interval_ms, confirmed);
            match turn {
                Turn::None => return None,
                Turn::Forget => (self.episode, self.snapshot_asked) = (None, false),
                Turn::Reopen => self.opened_at = now,
                Turn::Update | Turn::Clear => {}
            }
            return Some(DecisionKind::Turn(turn));
        }
        if confirmed {
            self.alarmed = true;
            self.bout.alarmed = self.bout.height;
            self.opened_at = now;
            return Some(DecisionKind::Open);
        }
        let watched = self.odd_since.is_some();
        let before = std::mem::replace(&mut self.snapshot_asked, watched);
        match (before, watched) {
            (false, true) => Some(DecisionKind::Suspect),
            (true, false) => Some(DecisionKind::Acquit),
            _ => None,
        }
    }

    /// Once a bout is over it teaches; an alarm only where alarms are usual, a habit that nobody knows yet never. How far it reached, and whether it opened an
    /// episode.
    pub(crate) fn settle(&mut self, now: MonoTime, ward: &mut Ward) -> Option<(f32, bool)> {
        if self.bout.ticks == 0 || self.bout.is_on() || self.is_open() {
            return None;
        }
        let bout = std::mem::take(&mut self.bout);
        let alarmed = std::mem::take(&mut self.alarmed);
        if bout.is_habit && !alarmed {
            return None;
        }
        if alarmed && self.is_first_of_its_kind() {
            return bout.beyond.map(|beyond| (beyond, true));
        }
        if alarmed {
            // How high it was when it alarmed is learnt: what comes again here has to be a little higher. What it was, is not.
            (self.alarms_were, self.alarms_at) = (self.alarmed_of_late(now).unwrap_or_default().and(bout.alarmed), now);
            if !ward.alarms_teach() {
                return bout.beyond.map(|beyond| (beyond, true));
            }
            ward.bouts.record(bout.alarmed);
        } else {
            ward.bouts.record(bout.peak);
        }
        let (scores, weight) = bout.scores();
        scores.iter().for_each(|relative| self.learn(*relative, weight, ward));
        bout.beyond.map(|beyond| (beyond, alarmed))
    }
}

#[cfg(test)]
mod tests {
    use super::super::ward;
    use super::*;

    #[test]
    fn a_series_costs_a_bounded_number_of_bytes() {
        let bytes = std::mem::size_of::<Track>();
        assert!(bytes <= 312, "{bytes} bytes a series and detector: say so in docs/calibration.md");
    }

    /// Scores of a pool of quiet series, then a departure and what is left of it.
    #[test]
    fn what_is_left_of_a_departure_is_calm_however_rare_it_is() {
        let now = MonoTime::default();
        let mut ward = Ward::new(0, 0, crate::judge::pace::Pace::of(1_000), now);
        let mut track = Track::new(SeriesKey(1), 0, 1_000, false);
        for n in 0..2_000 {
            track.weigh(now, [0.001, 0.004, 0.01][n % 3], &mut ward, true);
        }
        ward.refresh(0);
        let rare = ward.scores.surprise(0.2 / track.scale);
        assert!(rare > 2.0, "{rare}: without a departure it would count");
        track.weigh(now, 6.0, &mut ward, true);
        assert!(track.bout.is_on());
        track.weigh(now, 0.2, &mut ward, true);
        assert_eq!(track.surprise, 0.0);
        track.weigh(now, 3.0, &mut ward, true);
        assert!(track.surprise > 0.0, "half of it is no remainder");
    }

    #[test]
    fn what_was_known_at_a_thinned_pace_is_known_there_after_a_restart() {
        let now = MonoTime::default();
        let mut ward = Ward::new(0, 0, Pace::of(60_000), now);
        let mut before = Track::new(SeriesKey(1), 0, 60_000, false);
        for n in 0..400 {
            before.weigh(now, if n % 10 == 0 { 30.0 } else { 0.5 }, &mut ward, false);
        }
        let after = |interval_ms| {
            let mut track = Track::new(SeriesKey(1), 0, interval_ms, false);
            track.recall(now, before.learnt(now, [0.0; 2]).into_owned(), Duration::ZERO);
            track
        };
        let known = (before.scale, before.scores);
        let (same, like, mut other) = (after(60_000), after(30_000), after(1_000));
        assert_eq!((same.scale, same.scores), known);
        assert_eq!((like.scale, like.scores), (before.scale, 0), "it is read at another interval for good");
        assert_eq!((other.scale, other.scores), (1.0, 0), "nothing is known of it each second");
        other.turn_pace(60_000, 0, None);
        assert_eq!((other.scale, other.scores), known);
    }

    #[test]
    fn a_series_that_comes_back_to_a_pace_is_known_there() {
        let now = MonoTime::default();
        let mut wards = vec![Ward::new(0, 0, Pace::of(1_000), now)];
        let mut track = Track::new(SeriesKey(1), 0, 1_000, false);
        for n in 0..400 {
            track.weigh(now, if n % 10 == 0 { 30.0 } else { 0.5 }, &mut wards[0], false);
        }
        let (scale, scores) = (track.scale, track.scores);
        assert!(scale > 5.0, "{scale}");
        let slow = ward::at_pace(&mut wards, 0, Pace::of(60_000), now);
        let budget = Budget::new(0.1, 100);
        track.turn_pace(60_000, slow, Some(budget));
        assert_eq!((track.scale, track.scores), (scale, SCORES_MIN / 2), "it is known, but not at this pace");
        assert_eq!(track.needed, budget.surprise_needed(60_000));
        (0..100).for_each(|_| _ = track.weigh(now, 0.1, &mut wards[slow as usize], false));
        assert!(track.scale < scale);
        let back = ward::at_pace(&mut wards, slow, Pace::of(2_000), now);
        track.turn_pace(2_000, back, None);
        assert_eq!((back, track.ward, track.scale, track.scores), (0, 0, scale, scores));
        assert_eq!(track.needed, budget.surprise_needed(60_000), "who only votes has no share of the budget");
    }
}
