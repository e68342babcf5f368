//! What one detector's scores of one series have been lately.

use super::{DecisionKind, HOLD_MS_MAX};
use crate::calibration::Pool;
use crate::episodes::{Episode, SUSPICION, Turn};
use crate::normalise::elapsed_ms;
use vedette_protocol::ids::SeriesKey;
use vedette_protocol::time::MonoTime;

/// Longest run of scores that must all be high.
const RUN_MAX: usize = 4;
/// A series' own calibration needs so many scores before an episode may open on it.
const SCORES_MIN: u32 = 30;
/// A score this high puts its series under suspicion for some ticks, so that evidence begins before the episode.
const HIGH: f32 = 4.0;
const WATCHED_TICKS: u8 = 6;
/// From this surprise on a score waits until it is known what it belongs to.
const CAUTION: f32 = 2.0;
/// Scores of an excursion that are kept until it is known what it was.
const EXCURSION_MAX: usize = 12;
/// Step of the tracked quantile of the persistent score, and that quantile.
const SCALE_STEP: f32 = 0.08;
const SCALE_QUANTILE: f32 = 0.99;
const SCALE_MAX: f32 = 1e6;

/// One series under one detector.
#[derive(Debug)]
pub(crate) struct Track {
    pub(crate) key: SeriesKey,
    pub(crate) ward: u32,
    pub(crate) interval_ms: u32,
    /// The worker knows it.
    pub(crate) told: bool,
    /// The least of the last scores: high only if all of them are.
    pub(crate) persistent: f32,
    pub(crate) surprise: f32,
    pub(crate) odd_since: Option<MonoTime>,
    /// A high quantile of the persistent score, at least 1: noisy series are measured by their own noise.
    pub(crate) scale: f32,
    pub(crate) episode: Option<Box<Episode>>,
    pub(crate) opened_at: MonoTime,
    pub(crate) state: Vec<u8>,
    /// Ticks until a series whose scores are high no more leaves suspicion.
    watched: u8,
    snapshot_asked: bool,
    run: [f32; RUN_MAX],
    run_len: u8,
    run_at: u8,
    scores: u32,
    scores_min: u32,
    excursion: [f32; EXCURSION_MAX],
    excursion_len: u8,
    alarmed: bool,
    /// Odd verdicts of this excursion.
    pub(crate) odd_ticks: u16,
    observed_at: Option<MonoTime>,
}

impl Track {
    pub(crate) fn new(key: SeriesKey, ward: u32, interval_ms: u32, logs: bool) -> Self {
        Self {
            key,
            ward,
            interval_ms,
            told: false,
            persistent: 0.0,
            surprise: 0.0,
            odd_since: None,
            scale: 1.0,
            episode: None,
            opened_at: MonoTime::default(),
            state: Vec::new(),
            watched: 0,
            snapshot_asked: false,
            run: [0.0; RUN_MAX],
            run_len: if logs { 2 } else { run_len(interval_ms) },
            run_at: 0,
            scores: 0,
            // A template that was never seen before is news from its first lines on.
            scores_min: if logs { 0 } else { SCORES_MIN },
            excursion: [0.0; EXCURSION_MAX],
            excursion_len: 0,
            alarmed: false,
            odd_ticks: 0,
            observed_at: None,
        }
    }

    /// The source is read at another interval from now on, for good: learn anew.
    pub(crate) fn set_pace(&mut self, interval_ms: u32) {
        self.interval_ms = interval_ms;
        if self.scores_min > 0 {
            self.run_len = run_len(interval_ms);
            self.scores = 0;
        }
        self.rest();
    }

    pub(crate) fn elapsed_ms(&mut self, at: MonoTime) -> u32 {
        self.observed_at.replace(at).map_or(0, |last| elapsed_ms(at, last))
    }

    pub(crate) fn holds_learning(&self, now: MonoTime) -> bool {
        self.is_open() && now.since(self.opened_at).as_millis() < HOLD_MS_MAX
    }

    pub(crate) fn is_open(&self) -> bool {
        self.episode.as_ref().is_some_and(|episode| episode.is_open())
    }

    /// A value that is not judged breaks the run.
    pub(crate) fn rest(&mut self) {
        self.run = [0.0; RUN_MAX];
    }

    /// Takes one score: updates run, surprise and suspicion, and learns from it unless it is suspicious.
    pub(crate) fn weigh(&mut self, now: MonoTime, score: f32, pool: &mut Pool, warm: bool) {
        if score.is_nan() {
            return self.rest();
        }
        self.scores = self.scores.saturating_add(1);
        self.run[usize::from(self.run_at)] = score.max(0.0);
        self.run_at = (self.run_at + 1) % self.run_len;
        self.persistent = self.run[..usize::from(self.run_len)].iter().copied().fold(f32::INFINITY, f32::min);
        self.watched = if score >= HIGH * self.scale { WATCHED_TICKS } else { self.watched.saturating_sub(1) };
        let relative = self.persistent / self.scale;
        self.surprise = pool.surprise(relative);
        let odd = warm && self.scores >= self.scores_min && self.surprise >= SUSPICION;
        if odd {
            self.odd_since.get_or_insert(now);
            self.odd_ticks = self.odd_ticks.saturating_add(1);
        } else {
            self.odd_since = None;
        }
        // What may become an excursion is not learnt before it is over: it would make itself usual.
        let room = usize::from(self.excursion_len) < EXCURSION_MAX;
        if warm && self.surprise >= CAUTION && (room || odd) {
            if room {
                self.excursion[usize::from(self.excursion_len)] = self.persistent;
                self.excursion_len += 1;
            }
        } else if !self.is_open() {
            self.learn(self.persistent, pool);
        }
    }

    /// In the midst of something that may become an excursion.
    pub(crate) fn is_cautious(&self) -> bool {
        self.surprise >= CAUTION
    }

    /// Needs more than its score weighed: suspicious, or about to be so no more.
    pub(crate) fn needs_decision(&self) -> bool {
        self.watched > 0
            || self.snapshot_asked
            || self.is_cautious()
            || self.excursion_len > 0
            || self.episode.is_some()
    }

    fn learn(&mut self, persistent: f32, pool: &mut Pool) {
        pool.record(persistent / self.scale);
        let over = if persistent > self.scale { SCALE_QUANTILE } else { SCALE_QUANTILE - 1.0 };
        self.scale = (self.scale * (SCALE_STEP * over).exp()).clamp(1.0, SCALE_MAX);
    }

    /// What the present verdict means for the series.
    pub(crate) fn turn(&mut self, now: MonoTime, confirmed: bool) -> Option<DecisionKind> {
        if let Some(episode) = &mut self.episode {
            let turn = episode.advance(now, self.surprise, self.interval_ms, confirmed);
            match turn {
                Turn::None => return None,
                Turn::Forget => self.episode = None,
                Turn::Reopen => self.opened_at = now,
                Turn::Update | Turn::Clear => {}
            }
            return Some(DecisionKind::Turn(turn));
        }
        if confirmed {
            self.alarmed = true;
            self.opened_at = now;
            return Some(DecisionKind::Open);
        }
        let watched = self.watched > 0 || self.odd_since.is_some();
        let before = std::mem::replace(&mut self.snapshot_asked, watched);
        match (before, watched) {
            (false, true) => Some(DecisionKind::Suspect),
            (true, false) => Some(DecisionKind::Acquit),
            _ => None,
        }
    }

    /// The excursion is over: usual noise teaches, an alarm only if alarms like it are usual. Its odd ticks, if it had
    /// any and taught.
    pub(crate) fn settle(&mut self, pool: &mut Pool, alarms_teach: bool) -> Option<u16> {
        if self.excursion_len == 0 || self.is_open() {
            return None;
        }
        let (excursion, len) = (self.excursion, usize::from(std::mem::take(&mut self.excursion_len)));
        let ticks = std::mem::take(&mut self.odd_ticks);
        if std::mem::take(&mut self.alarmed) && !alarms_teach {
            return None;
        }
        excursion[..len].iter().for_each(|persistent| self.learn(*persistent, pool));
        (ticks > 0).then_some(ticks)
    }
}

/// About four seconds' worth of scores, at least two.
fn run_len(interval_ms: u32) -> u8 {
    match interval_ms {
        0..=1_499 => 4,
        1_500..=2_999 => 3,
        _ => 2,
    }
}
