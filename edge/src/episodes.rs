//! When verdicts become an episode, and when it ends.
//!
//! One rare value proves nothing. An episode opens when a series stayed rare, or when series of other families (or
//! another detector) became rare with it; the longer it stays, the less help it needs. It ends with hysteresis, and
//! what flares up again soon after is the same episode with one more occurrence.

use crate::calibration::{Pool, SCORES};
use crate::habits::Habits;
use crate::learnt::{LearntCompany, millis};
use crate::thinning::Thinning;
use crate::usual::Usual;
use std::time::Duration;
use vedette_protocol::ids::{Digest, EpisodeId, HostId, SeriesKey};
use vedette_protocol::time::{MonoTime, WallTime};
use vedette_protocol::v1::Subject;
use vedette_protocol::worker::Explanation;

/// From this height of its bout on a series is under suspicion: snapshot taken, reported to the others.
pub const SUSPICION: f32 = 2.0;
/// Below this surprise it is calm again.
const CALM: f32 = 2.0;
/// Raw scores below this never open an episode, however quiet the series usually is.
const SCORE_MIN: f32 = 4.0;
/// Company of a series: shares of the surprises of the strongest other families, less for each because they are
/// not independent of one another.
const COMPANY: [f32; 3] = [0.5, 0.25, 0.125];
/// What the evidence of another series of the same family counts for.
const KIN: f32 = 0.6;
/// What the evidence of another detector on the same series counts for: both see the same values.
const SAME: f32 = 0.2;
/// What becomes odd within this time of each other may have one cause.
const TOGETHER_MS: u64 = 15_000;
/// Odd moments without company that are taken as seen before the first one.
const LONELY_PRIOR: u32 = 10;
/// An excursion of the host is over after this long without an odd series; so many of its moments are learnt.
const EXCURSION_OVER_MS: u64 = 5_000;
const EXCURSION_MAX: usize = 16;
/// A series' own surprise makes at least this share of what is needed.
const OWN_SHARE_MIN: f32 = 0.55;
/// The budget at which an alarm counts whole, in episodes a host and day: whoever asked for more expects them.
const BUDGET_USUAL: f64 = 0.1;
/// Alarms of the host that do not teach what company is usual.
const ALARMS_BELIEVED: f32 = 2.5;
/// Decades asked for on top at once, fewer with each of the first verdicts.
const HASTE: f32 = 2.0;
const HASTE_TICKS: f32 = 4.0;
/// Calm for this long (and three intervals) ends an episode; doubled by every flap.
const CLEAR_MS: u32 = 15_000;
const CLEAR_MS_MAX: u32 = 300_000;
/// What flares up within this time after its end is the same episode.
const COOL_DOWN_MS: u64 = 600_000;
/// An open episode is told again this often, and at once if it became rarer by so many decades.
const UPDATE_MS: u128 = 60_000;
const UPDATE_DECADES: f32 = 4.0;
const UPDATE_MS_MIN: u128 = 5_000;

/// Strongest evidence of a family of series under one detector, and of another series of the same.
#[derive(Clone, Copy, Debug)]
struct Witness {
    kin: Kin,
    series: SeriesKey,
    surprise: f32,
    second: f32,
    /// When the strongest became odd.
    since: MonoTime,
    until: MonoTime,
}

impl Witness {
    fn began_with(&self, since: MonoTime) -> bool {
        let apart = self.since.since(since).max(since.since(self.since));
        apart <= Duration::from_millis(TOGETHER_MS)
    }
}

/// A detector and a family of series.
type Kin = (u32, u32);

/// Who else on this host is odd just now, and what company usually is worth here.
///
/// On a healthy host, too, a job makes many series odd at once; then company says little. So the company that odd
/// series have had in excursions which came to nothing is calibrated like a score, and adds its conditional surprise:
/// −log10 P(own, others) = −log10 P(own) − log10 P(others | own).
#[derive(Debug)]
pub struct Board {
    witnesses: Vec<Witness>,
    usual: Pool,
    excursion: Vec<f32>,
    alarmed: bool,
    over_at: MonoTime,
    alarms: f32,
    alarm_weight: f32,
    thinning: Thinning,
    /// What is usual at this time.
    pub(crate) hours: Usual,
    /// What was done at this time before.
    pub(crate) habits: Habits,
}

impl Default for Board {
    fn default() -> Self {
        Self {
            witnesses: Vec::new(),
            usual: prior_pool(LONELY_PRIOR),
            excursion: Vec::new(),
            alarmed: false,
            over_at: MonoTime::default(),
            alarms: 0.0,
            alarm_weight: 1.0,
            thinning: Thinning::new(BUDGET_USUAL),
            hours: Usual::default(),
            habits: Habits::default(),
        }
    }
}

impl Board {
    /// So many episodes a host and day are allowed, from 10⁻⁶ to 10⁶.
    #[expect(clippy::cast_possible_truncation, reason = "a weight needs no more digits than f32 has")]
    pub fn set_budget(&mut self, episodes_per_day: f64) {
        self.alarm_weight = (BUDGET_USUAL / episodes_per_day).min(1.0) as f32;
        self.thinning.set_budget(episodes_per_day);
    }

    /// What an alarm counts for.
    pub fn alarm_weight(&self) -> f32 {
        self.alarm_weight
    }

    /// Decades that an episode takes on top of what the budget asks for by itself; fewer, if negative.
    pub fn surcharge(&self) -> f32 {
        self.thinning.surcharge()
    }

    /// A bout came to nothing, `beyond` decades from what the budget asks for by itself. What goes on while the host has
    /// an alarm says nothing of what it does without.
    pub fn note_bout(&mut self, beyond: f32) {
        if !self.alarmed {
            self.thinning.note(beyond);
        }
    }

    /// An alarm is over that was `beyond` as far.
    pub fn note_alarm(&mut self, beyond: f32) {
        self.thinning.note_alarm(beyond);
    }

    /// One series of a family is odd since a moment; counts until another.
    pub fn report(&mut self, now: MonoTime, kin: Kin, series: SeriesKey, surprise: f32, [since, until]: [MonoTime; 2]) {
        self.witnesses.retain(|witness| witness.until >= now);
        let Some(witness) = self.witnesses.iter_mut().find(|witness| witness.kin == kin) else {
            self.witnesses.push(Witness { kin, series, surprise, second: 0.0, since, until });
            return;
        };
        witness.until = witness.until.max(until);
        if witness.series == series {
            witness.surprise = surprise;
        } else if surprise > witness.surprise {
            witness.second = witness.surprise;
            (witness.series, witness.surprise, witness.since) = (series, surprise, since);
        } else {
            witness.second = witness.second.max(surprise);
        }
    }

    /// The strongest evidence of other families that became odd when this series did, added up with damping; kin of the
    /// series says less, and another detector on the very series least. What began at another time is another matter: long bouts would meet everybody in the end.
    pub fn company(&self, now: MonoTime, kin: Kin, series: SeriesKey, since: MonoTime) -> f32 {
        let mut strongest = [0.0f32; COMPANY.len()];
        for witness in self.witnesses.iter().filter(|witness| witness.until >= now && witness.began_with(since)) {
            let mut surprise = match () {
                () if witness.kin != kin && witness.series != series => witness.surprise,
                () if witness.kin != kin => witness.second.max(witness.surprise * SAME),
                () if witness.series != series => witness.surprise * KIN,
                () => witness.second * KIN,
            };
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

    /// The most company that an odd series had in this tick, the longest interval of those, and whether an episode opened.
    /// Learnt when it is over.
    pub fn note(&mut self, now: MonoTime, interval_ms: u32, company: f32, opened: bool) {
        self.over_at = now + Duration::from_millis(EXCURSION_OVER_MS.max(2 * u64::from(interval_ms)));
        self.alarmed |= opened;
        if self.excursion.len() < EXCURSION_MAX {
            self.excursion.push(company);
        }
    }

    /// Learns from excursions that are over: those that alarmed nobody, and alarms once they are usual.
    pub fn settle(&mut self, now: MonoTime) {
        self.thinning.pass(now);
        if self.excursion.is_empty() || now < self.over_at {
            return;
        }
        let alarmed = std::mem::take(&mut self.alarmed);
        self.alarms += if alarmed { self.alarm_weight } else { 0.0 };
        if !alarmed || self.alarms >= ALARMS_BELIEVED {
            self.excursion.iter().for_each(|company| self.usual.record(*company));
            self.usual.refresh(now.ns / 1_000_000);
        }
        self.excursion.clear();
    }

    /// What outlives a restart.
    pub(crate) fn learnt(&self, now: MonoTime) -> LearntCompany {
        LearntCompany {
            usual: self.usual.learnt(now.ns / 1_000_000),
            alarms: self.alarms,
            thinning: self.thinning.learnt(),
        }
    }

    /// Takes over what was learnt so long ago.
    pub(crate) fn recall(&mut self, now: MonoTime, learnt: &LearntCompany, away: Duration) {
        self.usual.recall(&learnt.usual, now.ns / 1_000_000, millis(away));
        self.alarms = learnt.alarms;
        self.thinning.recall(&learnt.thinning);
    }
}

fn prior_pool(zeros: u32) -> Pool {
    let mut pool = Pool::new(SCORES);
    (0..zeros).for_each(|_| pool.record(0.0));
    pool.refresh(0);
    pool
}

/// A verdict in its circumstances.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// Highest raw score of the bout.
    pub score: f32,
    /// Evidence of the series itself: −log10 of the probability that a verdict begins such a bout.
    pub own: f32,
    /// What others add.
    pub others: f32,
    /// Verdicts for which the series has been under suspicion.
    pub ticks: u16,
}

impl Case {
    /// Own evidence with what others add: what is told.
    pub fn total(&self) -> f32 {
        // Nobody's word counts for more than the series' own.
        self.own + self.others.min(self.own)
    }

    /// The most that may be needed of a lone verdict for it to open an episode; `None` if it opens none at all, for now.
    pub fn reach(&self) -> Option<f32> {
        let haste = HASTE * (1.0 - f32::from(self.ticks) / HASTE_TICKS).max(0.0);
        // However rare a bout is by extrapolation, alone it is worth no more than what is needed in the end: haste takes
        // others.
        let opens = self.score >= SCORE_MIN && self.others >= haste;
        opens.then(|| (self.total() - haste).min(self.own / OWN_SHARE_MIN))
    }
}

/// An episode from its opening to the end of its cool-down.
#[derive(Clone, Debug)]
pub struct Episode {
    /// What it is about; kept because a template may have made room before its episode ends. `None` for one that was
    /// dropped for want of room: it is kept only so that it is not detected anew each tick.
    pub subject: Option<Subject>,
    /// Stable id; known once the onset is.
    pub id: Option<EpisodeId>,
    /// Estimated begin.
    pub onset: WallTime,
    /// Half-width of the onset's uncertainty.
    pub onset_uncertainty_ms: u32,
    /// Openings folded into it.
    pub occurrences: u32,
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
    /// Opens now, about something or in silence.
    pub fn open(now: MonoTime, subject: Option<Subject>) -> Self {
        Self {
            subject,
            id: None,
            onset: WallTime::default(),
            onset_uncertainty_ms: 0,
            occurrences: 1,
            explanation: None,
            told: (0.0, 0.0),
            told_at: now,
            calm_since: None,
            cooling_until: None,
        }
    }

    /// Whether nobody is told of it.
    pub fn is_silent(&self) -> bool {
        self.subject.is_none()
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

    /// Takes the next verdict of its series: its surprise, and the evidence to tell.
    pub fn advance(&mut self, now: MonoTime, surprise: f32, told: f32, interval_ms: u32, confirmed: bool) -> Turn {
        if let Some(until) = self.cooling_until {
            return self.cool(now, until, confirmed);
        }
        if surprise < CALM {
            let since = *self.calm_since.get_or_insert(now);
            return if now.since(since) >= self.clear_after(interval_ms) { self.end(now) } else { Turn::None };
        }
        self.calm_since = None;
        let elapsed_ms = now.since(self.told_at).as_millis();
        let rarer = told >= self.told.1 + UPDATE_DECADES && elapsed_ms >= UPDATE_MS_MIN;
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
pub(crate) fn episode_id(host: HostId, subject: SeriesKey, detector: &str, onset: WallTime) -> EpisodeId {
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
        Episode::open(at(0), Some(Subject::Series(meta)))
    }

    fn at(s: u64) -> MonoTime {
        MonoTime::from_ms(s * 1_000)
    }

    #[test]
    fn lone_series_needs_time_and_company_saves_it() {
        let lone = Case { score: 50.0, own: 8.5, others: 0.0, ticks: 0 };
        let confirmed = |case: Case, needed: f32| case.reach().is_some_and(|reach| reach >= needed);
        assert!(!confirmed(lone, 8.4));
        assert!(confirmed(Case { ticks: 4, ..lone }, 8.4) && !confirmed(Case { ticks: 4, ..lone }, 8.6));
        assert!(confirmed(Case { others: 4.5, ..lone }, 8.4));
        assert!(!confirmed(Case { own: 4.0, others: 20.0, ticks: 60, ..lone }, 8.4), "others alone open nothing");
        assert!(!confirmed(Case { score: 2.0, ticks: 60, ..lone }, 8.4));
    }

    #[test]
    fn board_counts_other_families_with_damping_and_kin_for_less() {
        let mut board = Board::default();
        board.report(at(0), (0, 1), SeriesKey(10), 8.0, [at(0), at(2)]);
        board.report(at(0), (0, 2), SeriesKey(20), 4.0, [at(0), at(2)]);
        board.report(at(0), (0, 2), SeriesKey(20), 6.0, [at(0), at(2)]);
        assert_eq!(board.company(at(1), (0, 1), SeriesKey(10), at(0)), 3.0, "a series does not confirm itself");
        assert_eq!(board.company(at(1), (0, 3), SeriesKey(30), at(0)), 8.0 * 0.5 + 6.0 * 0.25);
        assert_eq!(board.company(at(1), (1, 1), SeriesKey(11), at(0)), 5.5, "another detector on the same family does");
        let same = 6.0 * 0.5 + 8.0 * SAME * 0.25;
        assert_eq!(board.company(at(1), (1, 1), SeriesKey(10), at(0)), same, "on the same series it hardly does");
        let kin = 8.0 * 0.5 + 6.0 * KIN * 0.25;
        assert_eq!(board.company(at(1), (0, 2), SeriesKey(21), at(0)), kin, "kin does for less");
        assert_eq!(board.company(at(3), (0, 3), SeriesKey(30), at(0)), 0.0, "old news");
        assert_eq!(board.company(at(1), (0, 3), SeriesKey(30), at(100)), 0.0, "another matter");
    }

    #[test]
    fn company_that_came_to_nothing_is_worth_less_next_time() {
        let mut board = Board::default();
        let before = board.corroboration(3.0);
        for hour in 1..20 {
            (0..4).for_each(|second| board.note(at(hour * 3_600 + second), 1_000, 3.0, false));
            board.settle(at(hour * 3_600 + 60));
        }
        assert!(before > 2.0 && board.corroboration(3.0) < 0.3, "{before} and {}", board.corroboration(3.0));
        assert!(board.corroboration(20.0) > 2.0, "more company than ever is still news");
    }

    #[test]
    fn a_budget_lowers_the_bar_and_bouts_that_come_close_raise_it_unless_the_host_has_an_alarm() {
        let surcharge = |alarm: bool| {
            let mut board = Board::default();
            for minute in 0..1_440 {
                board.note(at(minute * 60), 1_000, 0.0, alarm);
                board.note_bout(-1.0);
                board.settle(at(minute * 60 + 30));
            }
            board.surcharge()
        };
        let mut asked_for_more = Board::default();
        let usual = asked_for_more.surcharge();
        asked_for_more.set_budget(1.0);
        assert!(asked_for_more.surcharge() < usual - 0.5 && asked_for_more.alarm_weight() < 0.11);
        assert!(surcharge(false) > usual + 1.0, "{} after {usual}", surcharge(false));
        assert!(surcharge(true) < usual, "{} after {usual}", surcharge(true));
    }

    #[test]
    fn flapping_is_one_episode_with_a_count() {
        let mut episode = open();
        episode.told = (10.0, 9.0);
        assert_eq!(episode.advance(at(1), 9.0, 9.0, 1_000, true), Turn::None);
        assert_eq!(episode.advance(at(2), 0.0, 0.0, 1_000, false), Turn::None);
        assert_eq!(episode.advance(at(10), 9.0, 9.0, 1_000, true), Turn::None, "a dip is no end");
        for second in 11..26 {
            assert_eq!(episode.advance(at(second), 0.0, 0.0, 1_000, false), Turn::None);
        }
        assert_eq!(episode.advance(at(26), 0.0, 0.0, 1_000, false), Turn::Clear);
        assert_eq!(episode.advance(at(100), 9.0, 9.0, 1_000, true), Turn::Reopen);
        assert_eq!(episode.occurrences, 2);
        assert_eq!(episode.advance(at(101), 0.0, 0.0, 1_000, false), Turn::None);
        assert_eq!(episode.advance(at(120), 0.0, 0.0, 1_000, false), Turn::None, "it must be calm for longer now");
        assert_eq!(episode.advance(at(131), 0.0, 0.0, 1_000, false), Turn::Clear);
        assert_eq!(episode.advance(at(731), 0.0, 0.0, 1_000, false), Turn::Forget);
    }

    #[test]
    fn update_comes_each_minute_or_when_much_rarer() {
        let mut episode = open();
        episode.told = (10.0, 9.0);
        assert_eq!(episode.advance(at(6), 12.0, 12.0, 1_000, true), Turn::None);
        assert_eq!(episode.advance(at(7), 13.0, 13.0, 1_000, true), Turn::Update);
        episode.told = (20.0, 13.0);
        assert_eq!(episode.advance(at(66), 13.0, 13.0, 1_000, true), Turn::None);
        assert_eq!(episode.advance(at(67), 13.0, 13.0, 1_000, true), Turn::Update);
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
