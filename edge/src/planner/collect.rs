//! The first decision: at which interval each source is read. Policy says, a budget lengthens, directives, episodes and
//! suspects raise for a while.

use std::time::Duration;
use vedette_protocol::ids::{DirectiveId, HostId};
use vedette_protocol::policy::{Directive, LOOK_BACK_MS_MAX, Policy};
use vedette_protocol::time::MonoTime;

/// Directives in effect at one time.
const DIRECTIVES_MAX: usize = 16;
/// While an episode is young, sources are read at least this often.
const EPISODE_INTERVAL_MS: u32 = 2_000;
const EPISODE_RAISE_MS: u64 = 60_000;
/// After an episode's raise the interval doubles this often until it is back.
const DECAY_STEP_MS: u64 = 10_000;

/// Why a directive was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DirectiveRefused {
    /// Meant for another host.
    #[error("it is for host {0}")]
    OtherHost(HostId),
    /// It has ended already.
    #[error("it has expired")]
    Expired,
    /// It would live longer than the policy allows.
    #[error("it would live {asked_ms} ms, the policy allows {max_ms} ms")]
    TooLong {
        /// Its life.
        asked_ms: u64,
        /// The ceiling.
        max_ms: u32,
    },
    /// It wants a source read more often than the policy allows.
    #[error("it asks for source `{source_name}` each {asked_ms} ms, the policy allows {min_ms} ms")]
    TooFast {
        /// The source.
        source_name: String,
        /// Interval it asks for.
        asked_ms: u32,
        /// The ceiling.
        min_ms: u32,
    },
    /// It looks back farther than any may.
    #[error("it looks back {asked_ms} ms, at most {LOOK_BACK_MS_MAX} ms are possible")]
    TooFarBack {
        /// How far.
        asked_ms: u32,
    },
    /// It wants more metrics raw than the policy allows series.
    #[error("it asks for {asked} raw metrics, the policy allows {max} series")]
    TooManyRaw {
        /// Metrics named.
        asked: usize,
        /// The ceiling.
        max: u32,
    },
    /// Too many directives are in effect.
    #[error("{DIRECTIVES_MAX} directives are in effect already")]
    TooMany,
}

#[derive(Debug)]
struct Source {
    name: String,
    default_ms: u32,
    told_ms: u32,
    /// By which factor the budget lengthens its interval, and until when it does not because of a suspect.
    stride: u8,
    raised_until: Option<MonoTime>,
}

impl Source {
    fn new((name, default_ms): (String, u32)) -> Self {
        Self { name, default_ms, told_ms: default_ms, stride: 1, raised_until: None }
    }

    fn is_raised(&self, now: MonoTime) -> bool {
        self.raised_until.is_some_and(|until| now < until)
    }
}

#[derive(Debug)]
struct Raise {
    directive: Directive,
    ends: MonoTime,
}

/// Keeps the intervals of all sources.
#[derive(Debug)]
pub(crate) struct Intervals {
    host: HostId,
    sources: Vec<Source>,
    raises: Vec<Raise>,
    episode_until: Option<MonoTime>,
    /// As of the last plan.
    raw_series_max: u32,
    generation: u64,
}

impl Intervals {
    /// Sources with their own default intervals, at which they are read until told otherwise.
    pub(crate) fn new(host: HostId, sources: Vec<(String, u32)>) -> Self {
        Self {
            host,
            sources: sources.into_iter().map(Source::new).collect(),
            raises: Vec::new(),
            episode_until: None,
            raw_series_max: 0,
            generation: 0,
        }
    }

    /// These sources from now on, with their own default intervals: known ones keep the interval that they were told
    /// until the next plan.
    pub(crate) fn set_sources(&mut self, sources: Vec<(String, u32)>) {
        let mut before = std::mem::take(&mut self.sources);
        let source = |(name, default_ms): (String, u32)| match before.iter().position(|source| source.name == name) {
            Some(at) => Source { default_ms, ..before.swap_remove(at) },
            None => Source::new((name, default_ms)),
        };
        self.sources = sources.into_iter().map(source).collect();
    }

    /// Takes a verified directive that ends at `ends` by this host's clock.
    ///
    /// # Errors
    ///
    /// [`DirectiveRefused`] if it asks for more than the policy's ceilings grant; nothing of it is in effect then.
    pub(crate) fn add(
        &mut self,
        now: MonoTime,
        policy: &Policy,
        directive: Directive,
        ends: MonoTime,
    ) -> Result<(), DirectiveRefused> {
        self.check(now, policy, &directive, ends)?;
        self.raises.retain(|raise| raise.directive.id != directive.id);
        self.raises.push(Raise { directive, ends });
        self.generation += 1;
        Ok(())
    }

    fn check(
        &self,
        now: MonoTime,
        policy: &Policy,
        directive: &Directive,
        ends: MonoTime,
    ) -> Result<(), DirectiveRefused> {
        grants(policy, self.host, directive, now, ends)?;
        let known = self.raises.iter().any(|raise| raise.directive.id == directive.id);
        if !known && self.raises.len() >= DIRECTIVES_MAX {
            return Err(DirectiveRefused::TooMany);
        }
        Ok(())
    }

    /// An episode opened: look closer for a while.
    pub(crate) fn episode_opened(&mut self, now: MonoTime) {
        self.episode_until = Some(now + Duration::from_millis(EPISODE_RAISE_MS));
    }

    /// Ends what is over or more than the policy grants by now, and says which sources are to be read at another
    /// interval from now on.
    pub(crate) fn replan(&mut self, now: MonoTime, policy: &Policy, mut tell: impl FnMut(&str, u32)) {
        let before = self.raises.len();
        let host = self.host;
        self.raises.retain(|raise| grants(policy, host, &raise.directive, now, raise.ends).is_ok());
        let raw_series_max = std::mem::replace(&mut self.raw_series_max, policy.ceilings.raw_series_max);
        self.generation += u64::from(self.raises.len() != before || raw_series_max != self.raw_series_max);
        for at in 0..self.sources.len() {
            let wanted = self.wanted_ms(&self.sources[at], now, policy);
            let source = &mut self.sources[at];
            if source.told_ms != wanted {
                source.told_ms = wanted;
                tell(&source.name, wanted);
            }
        }
        if self
            .episode_interval(now, policy)
            .is_some_and(|ms| self.sources.iter().all(|source| source.default_ms <= ms))
        {
            self.episode_until = None;
        }
    }

    fn wanted_ms(&self, source: &Source, now: MonoTime, policy: &Policy) -> u32 {
        let asked = self.raises.iter().flat_map(|raise| &raise.directive.sources);
        let asked = asked.filter(|(name, _)| *name == source.name).map(|(_, ms)| *ms);
        let stride = if source.is_raised(now) { 1 } else { u32::from(source.stride) };
        let planned_ms = base_ms(source, policy).saturating_mul(stride);
        asked.chain(self.episode_interval(now, policy)).fold(planned_ms, u32::min)
    }

    /// The interval that a recent episode asks for: doubles step by step once its time is over.
    fn episode_interval(&self, now: MonoTime, policy: &Policy) -> Option<u32> {
        let over = now.since(self.episode_until?).as_millis();
        let steps = if over == 0 { 0 } else { 1 + over / u128::from(DECAY_STEP_MS) };
        let shift = u32::try_from(steps).unwrap_or(u32::MAX).min(20);
        Some(EPISODE_INTERVAL_MS.max(policy.ceilings.interval_ms_min).saturating_mul(1 << shift))
    }

    /// The interval of a source without anything that raises or lengthens it; `None` for an unknown source.
    pub(crate) fn base_interval_ms(&self, source: &str, policy: &Policy) -> Option<u32> {
        self.sources.iter().find(|other| other.name == source).map(|source| base_ms(source, policy))
    }

    /// The place of a source in the list.
    pub(crate) fn place(&self, source: &str) -> Option<usize> {
        self.sources.iter().position(|other| other.name == source)
    }

    /// Names and intervals without anything that raises or lengthens them, in milliseconds, in order of places.
    pub(crate) fn bases<'a>(&'a self, policy: &'a Policy) -> impl Iterator<Item = (&'a str, u32)> {
        self.sources.iter().map(|source| (source.name.as_str(), base_ms(source, policy)))
    }

    /// The interval that the source at a place was told to be read at.
    pub(crate) fn told_ms(&self, place: usize) -> Option<u32> {
        self.sources.get(place).map(|source| source.told_ms)
    }

    /// From the next plan of intervals on the source at a place is read each so many-th time.
    pub(crate) fn set_stride(&mut self, place: usize, stride: u8) {
        if let Some(source) = self.sources.get_mut(place) {
            source.stride = stride;
        }
    }

    /// By which factor the budget lengthens the interval of the source at a place.
    pub(crate) fn stride(&self, place: usize) -> u8 {
        self.sources.get(place).map_or(1, |source| source.stride)
    }

    /// Whether the budget may not lengthen it now.
    pub(crate) fn is_raised(&self, place: usize, now: MonoTime) -> bool {
        self.sources.get(place).is_some_and(|source| source.is_raised(now))
    }

    /// The budget does not lengthen the interval of the source at a place until then. Whether it does now.
    pub(crate) fn raise(&mut self, place: usize, until: MonoTime, now: MonoTime) -> bool {
        let Some(source) = self.sources.get_mut(place) else { return false };
        let was_spared = source.stride > 1 && !source.is_raised(now);
        source.raised_until = source.raised_until.max(Some(until));
        was_spared
    }

    /// Whether a directive wants the series of this metric raw.
    pub(crate) fn wants_raw(&self, metric: &str) -> bool {
        self.raises.iter().any(|raise| raise.directive.raw_metrics.iter().any(|wanted| wanted == metric))
    }

    /// Directives in effect.
    pub(crate) fn directives(&self) -> impl Iterator<Item = DirectiveId> {
        self.raises.iter().map(|raise| raise.directive.id)
    }

    /// When the next directive ends.
    pub(crate) fn next_end(&self) -> Option<MonoTime> {
        self.raises.iter().map(|raise| raise.ends).min()
    }

    /// Changes whenever the set of directives does.
    pub(crate) fn generation(&self) -> u64 {
        self.generation
    }
}

/// Whether `policy` grants what a directive asks for.
fn grants(
    policy: &Policy,
    host: HostId,
    directive: &Directive,
    now: MonoTime,
    ends: MonoTime,
) -> Result<(), DirectiveRefused> {
    let ceilings = &policy.ceilings;
    if directive.host != host {
        return Err(DirectiveRefused::OtherHost(directive.host));
    }
    if ends <= now {
        return Err(DirectiveRefused::Expired);
    }
    let asked_ms = u64::try_from(ends.since(now).as_millis()).unwrap_or(u64::MAX);
    if asked_ms > u64::from(ceilings.directive_ms_max) {
        return Err(DirectiveRefused::TooLong { asked_ms, max_ms: ceilings.directive_ms_max });
    }
    if let Some((source, asked_ms)) = directive.sources.iter().find(|(_, ms)| *ms < ceilings.interval_ms_min) {
        let (source_name, min_ms) = (source.clone(), ceilings.interval_ms_min);
        return Err(DirectiveRefused::TooFast { source_name, asked_ms: *asked_ms, min_ms });
    }
    if directive.look_back_ms > LOOK_BACK_MS_MAX {
        return Err(DirectiveRefused::TooFarBack { asked_ms: directive.look_back_ms });
    }
    if directive.raw_metrics.len() > ceilings.raw_series_max as usize {
        let (asked, max) = (directive.raw_metrics.len(), ceilings.raw_series_max);
        return Err(DirectiveRefused::TooManyRaw { asked, max });
    }
    Ok(())
}

fn base_ms(source: &Source, policy: &Policy) -> u32 {
    let told = policy.source_interval_ms.iter().find(|(name, _)| *name == source.name);
    told.map_or(source.default_ms, |(_, ms)| *ms)
}

#[cfg(test)]
mod tests {
    use super::*;
    use vedette_protocol::time::WallTime;

    const HOST: HostId = HostId([1; 16]);

    fn directive(interval_ms: u32) -> Directive {
        Directive {
            id: DirectiveId([9; 16]),
            host: HOST,
            issued: WallTime::default(),
            expires: WallTime::default(),
            incident: String::new(),
            sources: vec![("process".to_owned(), interval_ms)],
            raw_metrics: vec!["system.cpu.time".to_owned()],
            look_back_ms: 0,
        }
    }

    fn planner() -> Intervals {
        Intervals::new(HOST, vec![("cpu".to_owned(), 1_000), ("process".to_owned(), 10_000)])
    }

    fn replan(planner: &mut Intervals, ms: u64, policy: &Policy) -> Vec<(String, u32)> {
        let mut told = Vec::new();
        planner.replan(MonoTime::from_ms(ms), policy, |name, ms| told.push((name.to_owned(), ms)));
        told
    }

    #[test]
    fn directive_raises_and_the_interval_is_restored_when_it_ends() {
        let (mut planner, policy) = (planner(), Policy::default());
        planner.add(MonoTime::from_ms(0), &policy, directive(1_000), MonoTime::from_ms(60_000)).unwrap();
        assert_eq!(replan(&mut planner, 0, &policy), [("process".to_owned(), 1_000)]);
        assert!(planner.wants_raw("system.cpu.time") && planner.directives().count() == 1);
        assert!(replan(&mut planner, 59_000, &policy).is_empty());
        assert_eq!(replan(&mut planner, 60_000, &policy), [("process".to_owned(), 10_000)]);
        assert!(!planner.wants_raw("system.cpu.time"));
    }

    #[test]
    fn ceilings_hold() {
        let (mut planner, policy) = (planner(), Policy::default());
        let mut add =
            |directive, ends_ms| planner.add(MonoTime::from_ms(10), &policy, directive, MonoTime::from_ms(ends_ms));
        assert!(matches!(add(directive(100), 1_000), Err(DirectiveRefused::TooFast { asked_ms: 100, .. })));
        assert!(matches!(add(directive(1_000), 2_000_000), Err(DirectiveRefused::TooLong { .. })));
        assert_eq!(add(directive(1_000), 10), Err(DirectiveRefused::Expired));
        let far = Directive { look_back_ms: LOOK_BACK_MS_MAX + 1, ..directive(1_000) };
        assert_eq!(add(far, 1_000), Err(DirectiveRefused::TooFarBack { asked_ms: LOOK_BACK_MS_MAX + 1 }));
        let other = Directive { host: HostId([2; 16]), ..directive(1_000) };
        assert_eq!(add(other, 1_000), Err(DirectiveRefused::OtherHost(HostId([2; 16]))));
        let raw_metrics = vec![String::new(); 65];
        assert!(matches!(
            add(Directive { raw_metrics, ..directive(1_000) }, 1_000),
            Err(DirectiveRefused::TooManyRaw { .. })
        ));
        for n in 0..16 {
            add(Directive { id: DirectiveId([n; 16]), ..directive(1_000) }, 1_000).unwrap();
        }
        assert_eq!(
            add(Directive { id: DirectiveId([99; 16]), ..directive(1_000) }, 1_000),
            Err(DirectiveRefused::TooMany)
        );
    }

    #[test]
    fn no_directive_outlives_the_ceiling_that_granted_it() {
        let tight = |change: fn(&mut vedette_protocol::policy::Ceilings)| {
            let mut policy = Policy::default();
            change(&mut policy.ceilings);
            policy
        };
        for policy in [
            tight(|ceilings| ceilings.interval_ms_min = 2_000),
            tight(|ceilings| ceilings.directive_ms_max = 30_000),
            tight(|ceilings| ceilings.raw_series_max = 0),
        ] {
            let mut planner = planner();
            let (now, ends) = (MonoTime::from_ms(0), MonoTime::from_ms(60_000));
            planner.add(now, &Policy::default(), directive(1_000), ends).expect("granted");
            replan(&mut planner, 10, &Policy::default());
            assert_eq!(planner.directives().count(), 1);
            replan(&mut planner, 20, &policy);
            assert_eq!(planner.directives().count(), 0, "{:?}", policy.ceilings);
        }
    }

    #[test]
    fn fewer_raw_series_are_chosen_anew() {
        let mut planner = planner();
        replan(&mut planner, 0, &Policy::default());
        let before = planner.generation();
        replan(&mut planner, 10, &Policy::default());
        assert_eq!(planner.generation(), before);
        let mut policy = Policy::default();
        policy.ceilings.raw_series_max = 8;
        replan(&mut planner, 20, &policy);
        assert!(planner.generation() > before);
    }

    #[test]
    fn other_defaults_are_told_and_what_is_gone_is_not() {
        let mut planner = planner();
        replan(&mut planner, 0, &Policy::default());
        planner.set_sources(vec![("process".to_owned(), 30_000), ("new".to_owned(), 1_000)]);
        assert_eq!(replan(&mut planner, 10, &Policy::default()), [("process".to_owned(), 30_000)]);
        let policy = Policy { source_interval_ms: vec![("new".to_owned(), 7_000)], ..Policy::default() };
        assert_eq!(replan(&mut planner, 20, &policy), [("new".to_owned(), 7_000)]);
    }

    #[test]
    fn policy_sets_the_interval_and_an_episode_raises_it_with_decay() {
        let mut planner = planner();
        let policy = Policy { source_interval_ms: vec![("process".to_owned(), 5_000)], ..Policy::default() };
        assert_eq!(replan(&mut planner, 0, &policy), [("process".to_owned(), 5_000)]);
        planner.episode_opened(MonoTime::from_ms(1_000));
        assert_eq!(replan(&mut planner, 1_000, &policy), [("process".to_owned(), 2_000)]);
        assert_eq!(replan(&mut planner, 61_500, &policy), [("process".to_owned(), 4_000)]);
        assert_eq!(replan(&mut planner, 75_000, &policy), [("process".to_owned(), 5_000)]);
        assert!(replan(&mut planner, 500_000, &policy).is_empty());
    }

    #[test]
    fn a_budget_lengthens_until_a_suspect_or_a_directive_raises() {
        let (mut planner, policy) = (planner(), Policy::default());
        planner.set_stride(0, 6);
        planner.set_stride(1, 2);
        let told = |planner: &mut Intervals, ms| replan(planner, ms, &policy);
        assert_eq!(told(&mut planner, 0), [("cpu".to_owned(), 6_000), ("process".to_owned(), 20_000)]);
        assert!(planner.raise(0, MonoTime::from_ms(30_000), MonoTime::from_ms(10)));
        assert_eq!(told(&mut planner, 10), [("cpu".to_owned(), 1_000)]);
        planner.add(MonoTime::from_ms(20), &policy, directive(5_000), MonoTime::from_ms(20_000)).expect("granted");
        assert_eq!(told(&mut planner, 20), [("process".to_owned(), 5_000)]);
        assert_eq!(told(&mut planner, 20_000), [("process".to_owned(), 20_000)]);
        assert_eq!(told(&mut planner, 30_000), [("cpu".to_owned(), 6_000)]);
        planner.set_sources(vec![("cpu".to_owned(), 2_000)]);
        assert_eq!(told(&mut planner, 30_001), [("cpu".to_owned(), 12_000)], "what is known stays lengthened");
    }
}
