//! When verdicts become an episode, and when it ends.
//!
//! One rare value proves nothing. An episode opens when a series stayed rare, or when series of other families (or
//! another detector) became rare with it; the longer it stays, the less help it needs. It ends with hysteresis, and
//! what flares up again soon after is the same episode with one more occurrence.

use crate::calibration::Pool;
use std::time::Duration;
use vedette_protocol::ids::{Digest, EpisodeId, HostId, SeriesKey};
use vedette_protocol::time::{MonoTime, WallTime};
use vedette_protocol::v1::Subject;
use vedette_protocol::worker::Explanation;

/// From this surprise on a series is under suspicion: snapshot taken, learning of its calibration held.
pub const SUSPICION: f32 = 3.5;
/// Below this surprise it is calm again.
const CALM: f32 = 2.0;
/// Raw scores below this never open an episode, however quiet the series usually is.
const SCORE_MIN: f32 = 4.0;
/// Company of a series: shares of the surprises of the strongest other families, less for each because they are
/// not independent of one another.
const COMPANY: [f32; 3] = [0.5, 0.25, 0.125];
/// Odd moments without company that are taken as seen before the first one.
const LONELY_PRIOR: u32 = 10;
/// Brief oddities taken as seen before the first one, and the most that duration adds.
const BRIEF_PRIOR: u32 = 0;
const LASTING_MAX: f32 = 3.0;
/// An excursion of the host is over after this long without an odd series; so many of its moments are learnt.
const EXCURSION_OVER_MS: u64 = 5_000;
const EXCURSION_MAX: usize = 16;
/// Alarms that are kept out of calibration; what recurs more often is usual here.
pub(crate) const ALARMS_BELIEVED: f32 = 2.5;
/// A series' own surprise makes at least this share of what is needed.
const OWN_SHARE_MIN: f32 = 0.55;
/// Decades asked for on top at once, fewer as the departure lasts.
const HASTE: f32 = 4.0;
const HASTE_MS: f32 = 4_000.0;
/// Calm for this long (and three intervals) ends an episode; doubled by every flap.
const CLEAR_MS: u32 = 15_000;
const CLEAR_MS_MAX: u32 = 300_000;
/// What flares up within this time after its end is the same episode.
const COOL_DOWN_MS: u64 = 600_000;
/// An open episode is told again this often, and at once if it became rarer by so many decades.
const UPDATE_MS: u128 = 60_000;
const UPDATE_DECADES: f32 = 4.0;
const UPDATE_MS_MIN: u128 = 5_000;

/// Strongest surprise of a family of series under one detector.
#[derive(Clone, Copy, Debug)]
struct Witness {
    detector: u32,
    family: u32,
    surprise: f32,
    until: MonoTime,
}

/// Who else on this host is odd just now, and what company usually is worth here.
///
/// On a healthy host, too, a job makes many series odd at once; then company says little. So the company that odd
/// series have had in excursions which came to nothing is calibrated like a score, and adds its conditional surprise:
/// −log10 P(own, others) = −log10 P(own) − log10 P(others | own).
#[derive(Debug)]
pub struct Board {
    witnesses: Vec<Witness>,
    usual: Pool,
    usual_lasting: Pool,
    excursion: Vec<f32>,
    alarmed: bool,
    odd_at: MonoTime,
    alarms: f32,
}

impl Default for Board {
    fn default() -> Self {
        Self {
            witnesses: Vec::new(),
            usual: prior_pool(LONELY_PRIOR),
            usual_lasting: prior_pool(BRIEF_PRIOR),
            excursion: Vec::new(),
            alarmed: false,
            odd_at: MonoTime::default(),
            alarms: 0.0,
        }
    }
}

impl Board {
    /// One series of a family is odd; counts until `until`.
    pub fn report(&mut self, now: MonoTime, detector: u32, family: u32, surprise: f32, until: MonoTime) {
        self.witnesses.retain(|witness| witness.until >= now);
        let same = |witness: &&mut Witness| (witness.detector, witness.family) == (detector, family);
        match self.witnesses.iter_mut().find(same) {
            Some(witness) => {
                witness.surprise = witness.surprise.max(surprise);
                witness.until = witness.until.max(until);
            }
            None => self.witnesses.push(Witness { detector, family, surprise, until }),
        }
    }

    /// The strongest surprises of other families, added up with damping.
    pub fn company(&self, now: MonoTime, detector: u32, family: u32) -> f32 {
        let mut strongest = [0.0f32; COMPANY.len()];
        for witness in &self.witnesses {
            if witness.until < now || (witness.detector, witness.family) == (detector, family) {
                continue;
            }
            let mut surprise = witness.surprise;
            for place in &mut strongest {
                if surprise > *place {
                    std::mem::swap(&mut surprise, place);
                }
            }
        }
        strongest.iter().zip(COMPANY).map(|(surprise, share)| surprise * share).sum()
    }

    /// What company adds to a series' own surprise.
    pub fn corroboration(&self, company: f32) -> f32 {
        if company > 0.0 { self.usual.surprise(company) } else { 0.0 }
    }

    /// What it adds that a series has been odd for so many ticks: P(lasting | odd), learnt likewise.
    pub fn lasting(&self, ticks: u16) -> f32 {
        self.usual_lasting.surprise(lasting_statistic(ticks)).min(LASTING_MAX)
    }

    /// A series was odd for so many ticks, and it came to nothing.
    pub fn note_lasted(&mut self, ticks: u16) {
        self.usual_lasting.record(lasting_statistic(ticks));
    }

    /// The most company that an odd series had in this tick, and whether an episode opened. Learnt when it is over.
    pub fn note(&mut self, now: MonoTime, company: f32, opened: bool) {
        self.odd_at = now;
        self.alarmed |= opened;
        if self.excursion.len() < EXCURSION_MAX {
            self.excursion.push(company);
        }
    }

    /// Learns from excursions that are over: those that alarmed nobody, and alarms once they are usual.
    pub fn settle(&mut self, now: MonoTime) {
        if self.excursion.is_empty() || now.since(self.odd_at) < Duration::from_millis(EXCURSION_OVER_MS) {
            return;
        }
        let alarmed = std::mem::take(&mut self.alarmed);
        self.alarms += f32::from(u8::from(alarmed));
        if !alarmed || self.alarms >= ALARMS_BELIEVED {
            self.excursion.iter().for_each(|company| self.usual.record(*company));
            self.usual.refresh(now.ns / 1_000_000);
        }
        self.usual_lasting.refresh(now.ns / 1_000_000);
        self.excursion.clear();
    }
}

fn prior_pool(zeros: u32) -> Pool {
    let mut pool = Pool::default();
    (0..zeros).for_each(|_| pool.record(0.0));
    pool.refresh(0);
    pool
}

/// Durations have heavy tails, their logarithms do not: doublings beyond four ticks.
fn lasting_statistic(ticks: u16) -> f32 {
    (f32::from(ticks.saturating_sub(1)) / 4.0).ln_1p() * std::f32::consts::LOG2_E
}

/// A verdict in its circumstances.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// Persistent raw score.
    pub score: f32,
    /// Surprise of the series itself.
    pub own: f32,
    /// What others add.
    pub others: f32,
    /// What its duration adds.
    pub lasting: f32,
    /// For how long the series has been under suspicion.
    pub lasted_ms: u32,
}

impl Case {
    /// Own surprise with what others and duration add: what is told.
    pub fn total(&self) -> f32 {
        // Nobody's word counts for more than the series' own.
        self.own + self.others.min(self.own) + self.lasting
    }

    /// Whether it is enough to open an episode, where a lone verdict needs a surprise of `needed`.
    #[expect(clippy::cast_precision_loss, reason = "capped well below 2^24 ms")]
    pub fn confirmed(&self, needed: f32) -> bool {
        let lasted = self.lasted_ms.min(60_000) as f32;
        let haste = HASTE * (1.0 - lasted / HASTE_MS).max(0.0);
        // However rare a value is by extrapolation, alone it is worth no more than what is needed in the end.
        let own = self.own.min(needed);
        let weight = own + self.others.min(own) + self.lasting;
        self.score >= SCORE_MIN && own >= OWN_SHARE_MIN * needed && weight >= needed + haste
    }
}

/// An episode from its opening to the end of its cool-down.
#[derive(Clone, Debug)]
pub struct Episode {
    /// What it is about; kept because a template may have made room before its episode ends.
    pub subject: Subject,
    /// Stable id; known once the onset is.
    pub id: Option<EpisodeId>,
    /// Estimated begin.
    pub onset: WallTime,
    /// Half-width of the onset's uncertainty.
    pub onset_uncertainty_ms: u32,
    /// Openings folded into it.
    pub occurrences: u32,
    /// Dropped for want of room: kept only so that it is not detected anew each tick.
    pub silent: bool,
    /// The last explanation.
    pub explanation: Option<Explanation>,
    /// Raw score and surprise when last told.
    pub told: (f32, f32),
    told_at: MonoTime,
    calm_since: Option<MonoTime>,
    cooling_until: Option<MonoTime>,
}

/// What a verdict does to an episode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Nothing to tell.
    None,
    /// It goes on and is worth telling again.
    Update,
    /// It had ended and flared up again.
    Reopen,
    /// It ended.
    Clear,
    /// Its cool-down is over: forget it.
    Forget,
}

impl Episode {
    /// Opens now.
    pub fn open(now: MonoTime, subject: Subject, silent: bool) -> Self {
        Self {
            subject,
            id: None,
            onset: WallTime::default(),
            onset_uncertainty_ms: 0,
            occurrences: 1,
            silent,
            explanation: None,
            told: (0.0, 0.0),
            told_at: now,
            calm_since: None,
            cooling_until: None,
        }
    }

    /// Whether it has not ended.
    pub fn is_open(&self) -> bool {
        self.cooling_until.is_none()
    }

    /// Fixes id and onset with the first finding.
    pub fn found(&mut self, host: HostId, subject: SeriesKey, detector: &str, onset: WallTime, uncertainty_ms: u32) {
        if self.id.is_none() {
            self.onset = onset;
            self.onset_uncertainty_ms = uncertainty_ms;
            self.id = Some(episode_id(host, subject, detector, onset));
        }
    }

    /// Takes the next verdict of its series.
    pub fn advance(&mut self, now: MonoTime, surprise: f32, interval_ms: u32, confirmed: bool) -> Turn {
        if let Some(until) = self.cooling_until {
            return self.cool(now, until, confirmed);
        }
        if surprise < CALM {
            let since = *self.calm_since.get_or_insert(now);
            return if now.since(since) >= self.clear_after(interval_ms) { self.end(now) } else { Turn::None };
        }
        self.calm_since = None;
        let elapsed_ms = now.since(self.told_at).as_millis();
        let rarer = surprise >= self.told.1 + UPDATE_DECADES && elapsed_ms >= UPDATE_MS_MIN;
        if elapsed_ms < UPDATE_MS && !rarer {
            return Turn::None;
        }
        self.told_at = now;
        Turn::Update
    }

    fn cool(&mut self, now: MonoTime, until: MonoTime, confirmed: bool) -> Turn {
        if confirmed {
            self.occurrences = self.occurrences.saturating_add(1);
            self.cooling_until = None;
            self.calm_since = None;
            self.told_at = now;
            return Turn::Reopen;
        }
        if now >= until { Turn::Forget } else { Turn::None }
    }

    /// Ends now, whatever the verdicts say.
    pub fn end(&mut self, now: MonoTime) -> Turn {
        self.cooling_until = Some(now + Duration::from_millis(COOL_DOWN_MS));
        Turn::Clear
    }

    fn clear_after(&self, interval_ms: u32) -> Duration {
        let flaps = (self.occurrences - 1).min(8);
        let doubled = (CLEAR_MS << flaps).min(CLEAR_MS_MAX);
        Duration::from_millis(u64::from(doubled.max(interval_ms.saturating_mul(3))))
    }
}

/// First 16 bytes of SHA-256 over host, subject, detector and onset.
fn episode_id(host: HostId, subject: SeriesKey, detector: &str, onset: WallTime) -> EpisodeId {
    let mut bytes = Vec::with_capacity(64);
    bytes.extend_from_slice(&host.0);
    bytes.extend_from_slice(&subject.0.to_le_bytes());
    bytes.extend_from_slice(&onset.unix_ms().to_le_bytes());
    bytes.extend_from_slice(detector.as_bytes());
    let digest = Digest::of(&bytes).0;
    EpisodeId(std::array::from_fn(|at| digest[at]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open() -> Episode {
        let meta = crate::metric::tests::GAUGE.series_meta(Vec::new(), 1_000);
        Episode::open(at(0), Subject::Series(meta), false)
    }

    fn at(s: u64) -> MonoTime {
        MonoTime::from_ms(s * 1_000)
    }

    #[test]
    fn lone_series_needs_time_and_company_saves_it() {
        let lone = Case { score: 50.0, own: 9.0, others: 0.0, lasting: 0.0, lasted_ms: 0 };
        assert!(!lone.confirmed(8.4));
        assert!(Case { lasted_ms: 4_000, ..lone }.confirmed(8.4));
        assert!(Case { others: 4.5, ..lone }.confirmed(8.4));
        assert!(
            !Case { own: 4.0, others: 20.0, lasted_ms: 60_000, ..lone }.confirmed(8.4),
            "others alone open nothing"
        );
        assert!(!Case { score: 2.0, lasted_ms: 60_000, ..lone }.confirmed(8.4));
    }

    #[test]
    fn board_counts_other_families_with_damping() {
        let mut board = Board::default();
        board.report(at(0), 0, 1, 8.0, at(2));
        board.report(at(0), 0, 2, 4.0, at(2));
        board.report(at(0), 0, 2, 6.0, at(2));
        assert_eq!(board.company(at(1), 0, 1), 3.0, "a family does not confirm itself");
        assert_eq!(board.company(at(1), 0, 3), 8.0 * 0.5 + 6.0 * 0.25);
        assert_eq!(board.company(at(1), 1, 1), 5.5, "another detector on the same family does");
        assert_eq!(board.company(at(3), 0, 3), 0.0, "old news");
    }

    #[test]
    fn company_that_came_to_nothing_is_worth_less_next_time() {
        let mut board = Board::default();
        let before = board.corroboration(3.0);
        for hour in 1..20 {
            (0..4).for_each(|second| board.note(at(hour * 3_600 + second), 3.0, false));
            board.settle(at(hour * 3_600 + 60));
        }
        assert!(before > 2.0 && board.corroboration(3.0) < 0.3, "{before} and {}", board.corroboration(3.0));
        assert!(board.corroboration(20.0) > 2.0, "more company than ever is still news");
    }

    #[test]
    fn flapping_is_one_episode_with_a_count() {
        let mut episode = open();
        episode.told = (10.0, 9.0);
        assert_eq!(episode.advance(at(1), 9.0, 1_000, true), Turn::None);
        assert_eq!(episode.advance(at(2), 0.0, 1_000, false), Turn::None);
        assert_eq!(episode.advance(at(10), 9.0, 1_000, true), Turn::None, "a dip is no end");
        for second in 11..26 {
            assert_eq!(episode.advance(at(second), 0.0, 1_000, false), Turn::None);
        }
        assert_eq!(episode.advance(at(26), 0.0, 1_000, false), Turn::Clear);
        assert_eq!(episode.advance(at(100), 9.0, 1_000, true), Turn::Reopen);
        assert_eq!(episode.occurrences, 2);
        assert_eq!(episode.advance(at(101), 0.0, 1_000, false), Turn::None);
        assert_eq!(episode.advance(at(120), 0.0, 1_000, false), Turn::None, "it must be calm for longer now");
        assert_eq!(episode.advance(at(131), 0.0, 1_000, false), Turn::Clear);
        assert_eq!(episode.advance(at(731), 0.0, 1_000, false), Turn::Forget);
    }

    #[test]
    fn update_comes_each_minute_or_when_much_rarer() {
        let mut episode = open();
        episode.told = (10.0, 9.0);
        assert_eq!(episode.advance(at(6), 12.0, 1_000, true), Turn::None);
        assert_eq!(episode.advance(at(7), 13.0, 1_000, true), Turn::Update);
        episode.told = (20.0, 13.0);
        assert_eq!(episode.advance(at(66), 13.0, 1_000, true), Turn::None);
        assert_eq!(episode.advance(at(67), 13.0, 1_000, true), Turn::Update);
    }

    #[test]
    fn id_depends_on_host_subject_detector_and_onset_only() {
        let id = |host, key, detector, ms| {
            episode_id(HostId([host; 16]), SeriesKey(key), detector, WallTime::from_unix_ms(ms))
        };
        assert_eq!(id(1, 2, "level", 3), id(1, 2, "level", 3));
        let others = [id(2, 2, "level", 3), id(1, 3, "level", 3), id(1, 2, "x", 3), id(1, 2, "level", 4)];
        assert!(others.iter().all(|other| *other != id(1, 2, "level", 3)));
    }
}
