//! What one detector's scores of one series have been lately.

use super::{DecisionKind, HOLD_MS_MAX, Judge};
use crate::calibration::Pool;
use crate::episodes::{Episode, Turn};
use crate::normalise::elapsed_ms;
use vedette_protocol::ids::SeriesKey;
use vedette_protocol::time::MonoTime;

/// Longest run of scores that must all be high.
const RUN_MAX: usize = 4;
/// A series' own calibration needs so many scores before an episode may open on it.
const SCORES_MIN: u32 = 30;
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
    run: [f32; RUN_MAX],
    run_len: u8,
    run_at: u8,
    scores: u32,
    scores_min: u32,
    excursion: [f32; EXCURSION_MAX],
    excursion_len: u8,
    alarmed: bool,
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
            run: [0.0; RUN_MAX],
            run_len: if logs { 2 } else { run_len(interval_ms) },
            run_at: 0,
            scores: 0,
            // A template that was never seen before is news from its first lines on.
            scores_min: if logs { 0 } else { SCORES_MIN },
            excursion: [0.0; EXCURSION_MAX],
            excursion_len: 0,
            alarmed: false,
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
        let relative = self.persistent / self.scale;
        self.surprise = pool.surprise(relative);
        if warm && self.scores >= self.scores_min && Judge::is_odd(self.surprise) {
            self.odd_since.get_or_insert(now);
            if usize::from(self.excursion_len) < EXCURSION_MAX {
                self.excursion[usize::from(self.excursion_len)] = self.persistent;
                self.excursion_len += 1;
            }
            return;
        }
        self.odd_since = None;
        if !self.is_open() {
            self.learn(self.persistent, pool);
        }
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
        match self.odd_since {
            Some(since) if since == now => Some(DecisionKind::Suspect),
            Some(_) => None,
            None => Some(DecisionKind::Acquit),
        }
    }

    /// The excursion is over: usual noise teaches, an alarm only if alarms like it are usual.
    pub(crate) fn settle(&mut self, pool: &mut Pool, alarms_teach: bool) {
        if self.excursion_len == 0 || self.is_open() {
            return;
        }
        let (excursion, len) = (self.excursion, usize::from(std::mem::take(&mut self.excursion_len)));
        if !std::mem::take(&mut self.alarmed) || alarms_teach {
            excursion[..len].iter().for_each(|persistent| self.learn(*persistent, pool));
        }
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
