//! The planner at work: what it is told, which series are looked at in a tick, and who is raised.

use super::Pipeline;
use crate::judge::{Datum, Judge, NEW_KIND};
use crate::normalise::Sample;
use crate::planner::{
    Account, Budgets, CLASSES, Class, FOLLOWED, FOUND, OVERDUE, PlanView, Prices, SLOWEST_RUNG, STOOD_OUT, SURPRISED,
    SUSPECTED, Spent, is_close, is_standing, rung_of, shown_each, stride,
};
use crate::registry::Series;
use std::collections::BTreeMap;
use vedette_protocol::policy::{BudgetCeilings, Directive};
use vedette_protocol::time::MonoTime;
use vedette_protocol::worker::DetectorInput;

/// Series that one suspicion raises with the suspect, and suspicions of one tick that do.
const RELATIVES_MAX: usize = 32;
const SPREADS_MAX: u32 = 8;

/// How often a detector wants to be shown values.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wish {
    every: u8,
    look_ms: u32,
    votes: bool,
    /// Neighbours are alike, mostly: what was found for the last look.
    last: Turns,
}

/// Every how many-th look at a step of the ladder is shown of series that are read so often.
#[derive(Clone, Copy, Debug)]
struct Turns {
    look_ms: u32,
    rung: u8,
    interval_ms: u32,
    every: u8,
    /// A bit for each number of a look that is shown.
    numbers: u64,
}

impl Wish {
    pub(super) fn of(judge: &Judge) -> Self {
        let last = Turns { look_ms: 0, rung: 0, interval_ms: 0, every: 1, numbers: u64::MAX };
        Self { every: judge.every, look_ms: judge.look_ms(), votes: judge.input() == DetectorInput::Votes, last }
    }

    #[inline]
    fn turns(&mut self, look_ms: u32, rung: u8, interval_ms: u32) -> Turns {
        let Turns { look_ms: looks, rung: step, interval_ms: interval, .. } = self.last;
        if (looks, step, interval) != (look_ms, rung, interval_ms) {
            let every = shown_each(self.every, look_ms, rung, interval_ms);
            let numbers = (0..u64::BITS).step_by(usize::from(every)).fold(0, |bits, number| bits | 1 << number);
            self.last = Turns { look_ms, rung, interval_ms, every, numbers };
        }
        self.last
    }
}

/// A series that detectors look at in this tick.
#[derive(Clone, Copy, Debug)]
pub(super) struct Look {
    pub(super) slot: u32,
    class: Class,
    /// Step of the planner's ladder, 0 for who is to be seen by all detectors.
    rung: u8,
    /// Number of the look, from 0 again after each sixty.
    number: u8,
    /// Values since the last one, this one included.
    values: u16,
    /// The value.
    sample: Sample,
    /// Nominal time between two values; whether they are read more often than the detectors learn.
    interval_ms: u32,
    off_pace: bool,
}

impl Look {
    fn new(slot: u32, class: Class, series: &Series) -> Option<Self> {
        let (read_ms, pace_ms) = (series.read_interval_ms, series.pace_ms);
        let (interval_ms, off_pace) = (read_ms.max(pace_ms), read_ms < pace_ms);
        Some(Self { slot, class, rung: 0, number: 0, values: 1, sample: series.due?, interval_ms, off_pace })
    }

    /// Whether it is picked because its value stands out. Votes are about one value by itself; who judges how values go on
    /// would take it for what is usual.
    pub(super) fn is_picked(&self) -> bool {
        is_standing(self.class)
    }

    /// The value for a detector, with the nominal time since it was shown the one before; `None` if it is not its turn. What
    /// is suspected is shown to all but those that vote: what they say of a step is no better for more of its values.
    #[inline]
    pub(super) fn datum(&self, wish: &mut Wish) -> Option<Datum> {
        if self.is_picked() && !wish.votes {
            return None;
        }
        let at_once = self.is_picked() || self.class == OVERDUE || (is_close(self.class) && !wish.votes);
        let Turns { every, numbers, .. } =
            wish.turns(if at_once { 0 } else { wish.look_ms }, self.rung, self.interval_ms);
        if numbers >> self.number & 1 == 0 {
            return None;
        }
        let interval_ms = self.interval_ms.saturating_mul(u32::from(self.values)).saturating_mul(u32::from(every));
        let Sample { at, flags, value, .. } = self.sample;
        let (slot, off_pace, is_thinned) = (self.slot, self.off_pace, every > 1);
        Some(Datum { slot, at, flags, value, off_pace, interval_ms, is_thinned })
    }
}

impl Pipeline {
    /// What may be spent from now on; where policy is stricter, that holds.
    pub fn set_budgets(&mut self, now: MonoTime, budgets: Budgets) {
        self.budgets = budgets;
        self.apply_budgets(now);
    }

    #[expect(clippy::cast_precision_loss, reason = "at most 2^40 bytes")]
    pub(super) fn apply_budgets(&mut self, now: MonoTime) {
        let (was_limited, thinned) = (self.planner.is_limited(), self.planner.cpu.is_limited());
        let BudgetCeilings { cpu_percent, uplink_bytes_per_hour } = self.policy.budgets;
        let cpu = cpu_percent.map(Budgets::of_cpu_percent).unwrap_or_default();
        let of_policy = Budgets { uplink_bytes_per_hour: uplink_bytes_per_hour.map(|bytes| bytes as f64), ..cpu };
        self.planner.set_budgets(now, self.budgets.stricter(of_policy));
        if was_limited && !self.planner.is_limited() {
            self.planner.forget(&mut self.registry);
        }
        if thinned && !self.planner.cpu.is_limited() {
            self.planner.forget_looks(&mut self.registry);
            self.candidates.clear();
        }
    }

    /// What work costs from the next plan on.
    pub fn set_prices(&mut self, prices: Prices) {
        self.planner.set_prices(prices);
        self.planner.price(&mut self.judges, self.registry.len());
    }

    /// What was spent since start, measured at `now`: it replaces what the pipeline has booked by prices. Say it once a
    /// tick, or never.
    pub fn handle_spent(&mut self, now: MonoTime, spent: Spent) {
        self.planner.measure(now, spent);
    }

    /// Whether a source that is due may be read: not if the CPU budget has no room for it. Ask once a reading.
    pub fn admit(&mut self, now: MonoTime, source: &str) -> bool {
        let Some(place) = self.planner.intervals.place(source) else { return true };
        let base_ms = self.planner.intervals.base_interval_ms(source, &self.policy).unwrap_or(0);
        let told_ms = self.planner.intervals.told_ms(place).unwrap_or(base_ms);
        // Where the plan reads it each k-th time, k − 1 readings were left out before this one.
        let due = u64::from(told_ms / base_ms.max(1)).max(1);
        let admitted = !self.planner.cpu.is_limited() || self.planner.admits(now, place, base_ms);
        self.ledger.collect_due += due;
        self.ledger.collect_spared += due - 1;
        *(if admitted { &mut self.ledger.collect_taken } else { &mut self.ledger.collect_skipped }) += 1;
        admitted
    }

    /// Budgets, what was spent, and the plan.
    pub fn account(&self, now: MonoTime) -> Account {
        Account { cpu: self.planner.cpu.bill(now), uplink: self.planner.uplink.bill(now), plan: self.plan_view(now) }
    }

    fn plan_view(&self, now: MonoTime) -> PlanView {
        let mut view = PlanView { series: self.registry.len(), ..PlanView::default() };
        let mut thinned: BTreeMap<u32, usize> = BTreeMap::new();
        for (_, series) in self.registry.iter() {
            let attention = &series.attention;
            view.raised += usize::from(attention.is_raised(now));
            view.relatives += usize::from(attention.is_relative(now));
            view.longer_windows += usize::from(attention.windows() > 1);
            let spared = self.planner.intervals.stride(usize::from(attention.source)) > 1;
            let rung = if self.planner.cpu.is_limited() { attention.rung(now) } else { 0 };
            if rung == 0 && !(spared && series.read_interval_ms > series.pace_ms) {
                view.full += 1;
            } else {
                let interval_ms = series.read_interval_ms.max(series.pace_ms);
                *thinned.entry(interval_ms.saturating_mul(u32::from(stride(rung)))).or_default() += 1;
            }
        }
        view.thinned = thinned.into_iter().collect();
        for (place, (name, base_ms)) in self.planner.intervals.bases(&self.policy).enumerate() {
            let told_ms = self.planner.intervals.told_ms(place).unwrap_or(base_ms);
            if told_ms > base_ms {
                view.sources.push((name.to_owned(), base_ms, told_ms));
            }
        }
        view
    }

    /// Begins a tick: books what was read.
    pub(super) fn begin_plan(&mut self, now: MonoTime) {
        self.spreads_left = SPREADS_MAX;
        self.planner.begin_tick(now);
    }

    /// Ends it: plans anew if that is due.
    pub(super) fn end_plan(&mut self, now: MonoTime) {
        self.planner.plan(now, &self.policy, &mut self.registry, &mut self.judges, &self.oddness);
    }

    /// Which of the series that were read detectors look at in this tick: those whose turn it is, the worthiest first as
    /// far as the budget has room, and those that nobody may leave out any longer.
    pub(super) fn choose_looks(&mut self, now: MonoTime) {
        self.looks.clear();
        self.ledger.looks_due += self.due.len() as u64;
        if self.planner.is_limited() {
            let candidates = &mut self.candidates;
            self.planner.screen(now, &mut self.registry, |slot| candidates.push(slot));
            if self.planner.take_news() {
                self.replan(now);
            }
        }
        if !self.planner.cpu.is_limited() {
            for slot in &self.due {
                let Some(series) = self.registry.get_mut(*slot) else { continue };
                let (class, number) = series.attention.pass(now);
                self.looks.extend(Look::new(*slot, class, series).map(|look| Look { number, ..look }));
            }
            self.ledger.looks_taken += self.due.len() as u64;
            return;
        }
        let wanted = self.classify(now);
        let due = self.looks.len();
        let granted = self.grant(now, &wanted);
        if granted != wanted {
            self.leave_out(&wanted, &granted);
        }
        for look in &mut self.looks {
            let Some(series) = self.registry.get_mut(look.slot) else { continue };
            let looked = series.attention.look(look.class);
            (look.rung, look.values, look.number) = (rung_of(look.class), looked.values, looked.number);
            look.sample.flags |= looked.flags;
        }
        self.ledger.looks_taken += self.looks.len() as u64;
        self.ledger.looks_thinned += (self.due.len() - due) as u64;
        self.ledger.looks_withheld += (due - self.looks.len()) as u64;
    }

    /// Which of the candidates are due, and of which class. How many of each.
    fn classify(&mut self, now: MonoTime) -> [usize; CLASSES] {
        let (mut wanted, bar) = ([0; CLASSES], self.planner.bar());
        // One odd reading says little, those that follow it most.
        let follows = bar.is_finite() && self.oddness.state() >= FOLLOWED;
        let is_followed = |slot| follows && self.oddness.state_of(slot) >= FOLLOWED;
        for slot in self.due.iter().filter(|slot| is_followed(**slot)) {
            let nominated = self.registry.get_mut(*slot).is_some_and(|series| series.attention.nominate());
            if nominated {
                self.candidates.push(*slot);
            }
        }
        for slot in self.candidates.drain(..) {
            let Some(series) = self.registry.get_mut(slot) else { continue };
            let class = series.attention.due(now, self.planner.screens.out(slot), bar, is_followed(slot));
            if let Some(look) = class.and_then(|class| Look::new(slot, class, series)) {
                wanted[usize::from(look.class)] += 1;
                self.looks.push(look);
            }
        }
        wanted
    }

    /// Keeps of each class as many as are granted: evenly among them, and others in the next tick.
    fn leave_out(&mut self, wanted: &[usize; CLASSES], granted: &[usize; CLASSES]) {
        let (mut seen, turn) = ([0; CLASSES], usize::try_from(self.tick % 1_024).unwrap_or(0));
        self.looks.retain(|look| {
            let class = usize::from(look.class);
            let at = seen[class] + turn;
            seen[class] += 1;
            let before = |at: usize| at * granted[class] / wanted[class].max(1);
            before(at) < before(at + 1)
        });
    }

    /// How many looks of each class there is room for.
    fn grant(&mut self, now: MonoTime, wanted: &[usize; CLASSES]) -> [usize; CLASSES] {
        let mut room = self.planner.cpu.room(now);
        let mut granted = *wanted;
        for (class, granted) in (0..).zip(&mut granted) {
            let price_ns = self.planner.look_ns(class);
            let room_now = if is_standing(class) { room.min(self.planner.room_for_standing()) } else { room };
            if class != OVERDUE && price_ns > 0.0 {
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates, at least 0")]
                let affordable = (room_now / price_ns).max(0.0) as usize;
                *granted = (*granted).min(affordable);
            }
            #[expect(clippy::cast_precision_loss, reason = "far below 2^52 series")]
            let spent = *granted as f64 * price_ns;
            room -= spent;
            if is_standing(class) {
                self.planner.book_standing(spent);
            }
        }
        granted
    }

    /// A detector was asked about so many values.
    pub(super) fn book_values(&mut self, now: MonoTime, at: usize, values: usize) {
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52 values")]
        let price_ns = values as f64 * self.judges[at].price_ns;
        self.planner.book_values(now, price_ns, self.judges[at].input().is_of_metrics());
    }

    /// So many things of so many bytes each are sent.
    pub(super) fn book_bytes(&mut self, now: MonoTime, count: usize, each: f64) {
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52 bytes")]
        let bytes = count as f64 * each.max(0.0);
        self.planner.uplink.book(now, bytes);
    }

    /// Features that are put together of more windows than this go on: the uplink's budget has no room for them.
    pub(super) fn windows_affordable(&mut self, now: MonoTime) -> u8 {
        let each = self.planner.prices().feature_bytes;
        let mut room = self.planner.uplink.room(now);
        if room.is_infinite() {
            return u8::MAX;
        }
        let mut most = 0;
        for rung in 0..=SLOWEST_RUNG {
            let ends = self.registry.iter().filter(|(_, series)| {
                let attention = &series.attention;
                attention.windows() == stride(rung) && attention.ends_window() && !series.window.is_empty()
            });
            room -= ends.map(|(_, series)| each * f64::from(series.attention.news())).sum::<f64>();
            if room < 0.0 {
                return most;
            }
            most = stride(rung);
        }
        u8::MAX
    }

    /// What the last answer of a detector is suspicious of is raised; without a budget less than a suspicion alters nothing.
    pub(super) fn raise_suspects(&mut self, now: MonoTime, at: usize) {
        if !self.judges[at].input().is_of_metrics() {
            return;
        }
        let limited = self.planner.is_limited();
        let mut suspects = std::mem::take(&mut self.raises);
        suspects.extend(self.judges[at].suspicions().filter(|(_, interest)| limited || *interest >= SUSPECTED));
        if self.judges[at].input() == DetectorInput::Votes {
            let new = self.judges[at].scored().filter(|(_, score, _)| limited && *score >= NEW_KIND);
            suspects.extend(new.map(|(slot, _, _)| (slot, STOOD_OUT)));
            suspects.extend(self.spoken_of(self.judges[at].id()).map(|slot| (slot, FOUND)));
        }
        suspects.drain(..).for_each(|(slot, interest)| self.raise(now, slot, interest));
        self.raises = suspects;
    }

    /// An episode opened on a series.
    pub(super) fn raise_found(&mut self, now: MonoTime, slot: u32) {
        self.raise(now, slot, FOUND);
    }

    /// Looks closer at a series for a while. For more than a value that stood out, each time that it is read, which is as
    /// often as without a budget, and at its relatives more often.
    fn raise(&mut self, now: MonoTime, slot: u32, interest: f32) {
        let Some(series) = self.registry.get_mut(slot) else { return };
        let is_news = series.attention.raise(now, series.pace_ms, interest);
        if !self.planner.is_limited() {
            return;
        }
        self.planner.screens.note(slot, interest);
        if self.planner.cpu.is_limited() {
            nominate(&mut self.candidates, slot, series);
        }
        let (place, until) = (usize::from(series.attention.source), series.attention.raised_until());
        if interest >= SURPRISED && self.planner.intervals.raise(place, until, now) {
            self.replan(now);
        }
        if is_news && interest >= SUSPECTED && self.spreads_left > 0 {
            self.spreads_left -= 1;
            self.raise_relatives(now, slot);
        }
    }

    /// First what shares an attribute with the suspect, then its metric elsewhere.
    fn raise_relatives(&mut self, now: MonoTime, slot: u32) {
        let mut left = RELATIVES_MAX;
        for of_metric in [false, true] {
            for other in 0..self.registry.slots() {
                let (Some(suspect), Some(series)) = (self.registry.get(slot), self.registry.get(other)) else {
                    continue;
                };
                let same_metric = std::ptr::eq(suspect.spec, series.spec);
                if left == 0 || other == slot || same_metric != of_metric || !suspect.is_related(series) {
                    continue;
                }
                left -= 1;
                if let Some(series) = self.registry.get_mut(other) {
                    series.attention.raise_for_relative(now, series.pace_ms);
                    if self.planner.cpu.is_limited() {
                        nominate(&mut self.candidates, other, series);
                    }
                }
            }
        }
    }

    /// What a directive names is raised while it is in effect.
    pub(super) fn raise_named(&mut self, now: MonoTime, directive: &Directive, ends: MonoTime) {
        let limited = self.planner.is_limited();
        let of_source = |source: &str| directive.sources.iter().any(|(name, _)| name == source);
        for (slot, series) in self.registry.iter_mut() {
            if directive.raw_metrics.contains(&series.meta.metric) || of_source(series.source) {
                series.attention.raise_until(ends, SUSPECTED);
                if !limited {
                    continue;
                }
                self.planner.screens.note(slot, SUSPECTED);
                if self.planner.cpu.is_limited() {
                    nominate(&mut self.candidates, slot, series);
                }
                self.planner.intervals.raise(usize::from(series.attention.source), ends, now);
            }
        }
    }
}

/// What was raised after it was read in this second is looked at in this second.
fn nominate(candidates: &mut Vec<u32>, slot: u32, series: &mut Series) {
    if series.due.is_some() && series.attention.nominate() {
        candidates.push(slot);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::{MetricKind, MetricSpec};
    use crate::pipeline::{Action, DetectorSlot, PipelineConfig};
    use vedette_protocol::ids::{Digest, HostId};
    use vedette_protocol::policy::Policy;
    use vedette_protocol::time::WallTime;
    use vedette_protocol::v1::DetectorRef;
    use vedette_protocol::worker::{DetectorDescription, WorkerRequest};

    const SERIES: usize = 60;
    const METRICS: u32 = 0;
    const VOTES: u32 = 1;
    static METRIC: MetricSpec = MetricSpec {
        name: "system.cpu.a",
        unit: "1",
        kind: MetricKind::Gauge,
        resolution: 0.01,
        lower: f64::NAN,
        upper: f64::NAN,
        doc: "",
    };

    fn slot(detector: u32, input: DetectorInput) -> DetectorSlot {
        let (name, version) = (format!("made-up-{detector}"), "1".to_owned());
        DetectorSlot {
            detector,
            reference: DetectorRef { name: name.clone(), version: version.clone(), digest: Digest([7; 32]) },
            description: DetectorDescription {
                name,
                version,
                input,
                warm_up_values: 48,
                state_bytes_max: 512,
                look_ms: 0,
                parameters: Vec::new(),
            },
        }
    }

    #[test]
    fn a_judge_is_told_the_true_pace_of_its_looks_whatever_is_picked_in_between() {
        let config = PipelineConfig {
            host: HostId([1; 16]),
            policy: Policy::default(),
            series_max: SERIES * 2,
            templates_max: 1,
            sources: vec![("sim".into(), 1_000)],
        };
        let mut pipeline = Pipeline::new(config, MonoTime::default(), WallTime::default());
        let detectors = vec![("made-up-0".to_owned(), 100.0), ("made-up-1".to_owned(), 60.0)];
        pipeline.set_prices(Prices { reading_ns: 0.0, detectors, ..Prices::default() });
        pipeline.set_budgets(
            MonoTime::default(),
            Budgets { cpu_ns_per_s: Some(0.2 * 160.0 * 60.0), uplink_bytes_per_hour: None },
        );
        let slots = vec![slot(METRICS, DetectorInput::Metrics), slot(VOTES, DetectorInput::Votes)];
        pipeline.set_detectors(MonoTime::default(), slots);
        let names: Vec<String> = (0..SERIES).map(|n| n.to_string()).collect();
        let (mut state, mut rows) = (1u64, [0; 2]);
        let mut random = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            f64::from(u32::try_from(state >> 33).expect("31 bits")) / f64::from(1u32 << 31)
        };
        for second in 0..900 {
            let now = MonoTime::from_ms(second * 1_000);
            for name in &names {
                let value = (0..12).map(|_| random()).sum();
                pipeline.handle_reading(now, "sim", 1_000, &METRIC, &[("n", name)], value);
            }
            pipeline.handle_tick(now, WallTime::default());
            while let Some(action) = pipeline.poll_action() {
                let Action::Ask(WorkerRequest::Observe { detector, tick, columns }) = action else { continue };
                #[expect(clippy::cast_possible_truncation, reason = "a score")]
                let scores: Vec<f32> = columns.ids.iter().map(|_| random() as f32 * 0.1).collect();
                pipeline.handle_scores(now, detector, tick, &scores);
                rows[detector as usize] += columns.ids.len();
                if detector == VOTES {
                    continue;
                }
                let judge = &pipeline.judges[0];
                assert_eq!(judge.every, 1);
                for ((slot, _, interval_ms), dt_ms) in judge.scored().zip(columns.dt_ms) {
                    assert!(dt_ms == 0 || interval_ms == dt_ms, "series {slot} at {second} s: {interval_ms} {dt_ms}");
                }
            }
        }
        assert!(rows[1] > rows[0] + 1_000 && rows[0] > 1_000, "{rows:?}");
    }
}
