//! What the agent's budget is spent on: which sources are read how often, which series the detectors look at how often,
//! which windows leave the host. Three decisions, kept apart, because they save different things.
//!
//! A [`crate::pipeline::Pipeline`] has a planner; without a budget it plans nothing. With one it is told what work costs
//! ([`Prices`]), books what it does, or is told what was spent ([`Spent`]), and with every fifteenth reading of the source
//! that is read most often makes a plan that fits 92 % of the budget; the rest is for what comes unplanned:
//!
//! - *collect*: intervals of sources, lengthened only where thinner detection cannot pay for them, the dear ones first;
//! - *detect*: a stride for each series, in its readings. Where votes tell most, for a half only: every reading passes a
//!   built-in screen, and for the other half the voters look at who is farther out than a bar, the farthest first, and
//!   before them at whom they found odd a moment ago. The bar moves so that this half is spent;
//! - *ship*: windows that one feature of a series is put together of.
//!
//! What a series is worth is what it does (does it move at all), what was odd about it of late, and that it is not known yet.
//! What a detector suspects, what has an episode open or is named by a directive is looked at at each reading from that moment
//! on, its relatives at a lower bar, and comes back down step by step.
//!
//! Within a tick a budget is hard: what does not fit any more is not done, the least worthy first, and counted. However
//! small a budget is, each source is read once a minute (or at its own interval if that is longer), each series is given to
//! each detector once in sixty of its readings, and a feature of sixty windows leaves the host: that alone can exceed it.

mod account;
mod attention;
mod collect;
mod prices;
mod screen;
mod spending;
mod thinning;

pub use account::{Account, PlanView};
pub(crate) use attention::{
    Attention, CLASSES, Class, FOUND, OVERDUE, STOOD_OUT, SURPRISED, SUSPECTED, is_close, is_standing, rung_of,
};
pub use collect::DirectiveRefused;
pub(crate) use collect::Intervals;
pub use prices::{Budgets, Prices, Spent};
pub use spending::Bill;
pub(crate) use thinning::{SLOWEST_RUNG, shown_each, sparing, stride};

use crate::judge::Judge;
use crate::normalise::Sample;
use crate::oddness::Oddness;
use crate::registry::Registry;
use crate::room;
use screen::Screens;
use spending::{HOUR_MS, Spending, window_ms};
use std::time::Duration;
use thinning::{Item, LADDER, SLOWEST, Shares, every_at, fit, plain};
use vedette_protocol::ids::HostId;
use vedette_protocol::policy::Policy;
use vedette_protocol::time::MonoTime;
use vedette_protocol::worker::DetectorInput;

/// A plan holds for this part of a budget's window: fifteen readings of the source that is read most often.
const PLAN_SHARE: f64 = 0.25;
/// Sources are read at least this often, or at their own interval.
const READ_EACH_MS: u32 = 60_000;
/// Part of what can be planned that detection may have before sources are read less often.
const DETECT_SHARE: f64 = 0.35;
/// Part of what detection has that is planned; the rest is for what stands out, unless hardly anything does.
const REGULAR_SHARE: f64 = 0.5;
const REGULAR_SHARE_MAX: f64 = 0.9;
/// The bar of what stands out: where it begins, its bounds, and by how much it may move with each reading of the source that
/// is read most often. It is in balance where half of what a window allows for it is left, so that there is some for what
/// comes.
const BAR: f32 = 1.0;
const BAR_BOUNDS: [f32; 2] = [0.05, 10.0];
const BAR_STEP: f32 = 0.1;
/// Readings of that source in a budget's window.
const WINDOW_READINGS: f64 = 60.0;
/// The least worthy source is read only while this part of a budget's window is left; the worthiest to the end.
const RESERVE: f64 = 0.05;
/// Votes count towards worth up to this.
const VOTES_MAX: f32 = 3.0;
/// A series whose votes add so much to the host's oddness is followed by those who vote: as a vote of one third does for a
/// step or two, and one of 1 for ten.
pub(crate) const FOLLOWED: f32 = 0.03;
/// A sample of a block that is sent, in bytes; measured: docs/budgets.md.
pub(crate) const SAMPLE_BYTES: f64 = 2.0;

/// A source, by its place.
#[derive(Clone, Debug, Default)]
struct Source {
    series: usize,
    worth: f64,
    /// One reading of it, and of one of its values.
    price_ns: f64,
    value_ns: f64,
    /// Place by worth for its price, 0 to 1.
    rank: f64,
    planned_ms: u32,
    read_at: Option<MonoTime>,
}

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Planner {
    pub(crate) intervals: Intervals,
    budgets: Budgets,
    prices: Prices,
    pub(crate) cpu: Spending,
    pub(crate) uplink: Spending,
    pub(crate) screens: Screens,
    sources: Vec<Source>,
    /// One value looked at by all detectors, by the step of the ladder, in nanoseconds; and one of what is raised.
    look_ns: [f64; LADDER.len()],
    close_ns: f64,
    /// The same of a value that is picked because it stands out, by those that vote; 0 where votes are not what tells most.
    pick_ns: f64,
    /// Read since the last tick, in nanoseconds.
    read_ns: f64,
    /// What detectors of log templates have cost since the last plan, in nanoseconds: nobody thins these.
    log_ns: f64,
    /// What looks at what stands out may cost a second, and at once, in nanoseconds.
    standing_ns_per_s: f64,
    standing_ns: f64,
    bar: f32,
    /// A source is to be read more often than was planned.
    is_news: bool,
    items: Vec<Item>,
    /// The interval of the source that is read most often.
    shortest_ms: u32,
    planned_at: Option<MonoTime>,
    ticked_at: Option<MonoTime>,
    turn: usize,
}

impl Planner {
    pub(crate) fn new(host: HostId, sources: Vec<(String, u32)>) -> Self {
        Self {
            intervals: Intervals::new(host, sources),
            budgets: Budgets::default(),
            prices: Prices::default(),
            cpu: Spending::new(window_ms(0)),
            uplink: Spending::new(HOUR_MS),
            screens: Screens::default(),
            sources: Vec::new(),
            look_ns: [0.0; LADDER.len()],
            close_ns: 0.0,
            pick_ns: 0.0,
            read_ns: 0.0,
            log_ns: 0.0,
            standing_ns_per_s: 0.0,
            standing_ns: 0.0,
            bar: BAR,
            is_news: false,
            items: Vec::new(),
            shortest_ms: 0,
            planned_at: None,
            ticked_at: None,
            turn: 0,
        }
    }

    /// Bytes of the heap that a planner for `series_max` series takes at most, beside its few sources.
    pub(crate) fn bytes_max(series_max: usize) -> usize {
        room::list::<Item>(series_max) + Screens::bytes_max(Registry::slots_max(series_max))
    }

    /// These budgets from now on; the next tick plans.
    pub(crate) fn set_budgets(&mut self, now: MonoTime, budgets: Budgets) {
        if self.budgets != budgets {
            self.budgets = budgets;
            self.cpu.set_budget(now, budgets.cpu_ns_per_s);
            self.uplink.set_budget(now, budgets.uplink_bytes_per_s());
            self.planned_at = None;
        }
    }

    pub(crate) fn set_prices(&mut self, prices: Prices) {
        self.prices = prices;
    }

    pub(crate) fn prices(&self) -> &Prices {
        &self.prices
    }

    /// Whether anything has a limit: then values are screened, and there is a plan.
    pub(crate) fn is_limited(&self) -> bool {
        self.cpu.is_limited() || self.uplink.is_limited()
    }

    /// The place of a source, for [`Attention::source`].
    pub(crate) fn place(&self, source: &str) -> u8 {
        self.intervals.place(source).and_then(|place| u8::try_from(place).ok()).unwrap_or(u8::MAX)
    }

    /// A value of the source at a place was read.
    #[inline]
    pub(crate) fn book_reading(&mut self, place: u8) {
        self.read_ns += self.sources.get(usize::from(place)).map_or(0.0, |source| source.value_ns);
    }

    /// A series appeared in a slot. The place of its source.
    pub(crate) fn begin(&mut self, slot: u32, source: &str, resolution: f64) -> u8 {
        self.screens.begin(slot, resolution);
        self.place(source)
    }

    /// Keeps a value that was read for the screen; `is_first` of this tick. Whether the tick has to see if the series is looked
    /// at, and did not know yet. Kept out of the reading's own code, which was slower with it where there is no budget.
    #[inline(never)]
    pub(crate) fn read(&mut self, slot: u32, attention: &mut Attention, sample: Sample, is_first: bool) -> bool {
        self.screens.put(slot, sample.value, attention.is_watched());
        self.cpu.is_limited() && attention.count(sample.flags, is_first)
    }

    /// Passes all values of this tick through the screen, and raises what stands out. What is so far out that it may be looked
    /// at for that is told.
    pub(crate) fn screen(&mut self, now: MonoTime, registry: &mut Registry, mut tell: impl FnMut(u32)) {
        let (mut screens, may_be_due) = (std::mem::take(&mut self.screens), self.bar());
        let least = STOOD_OUT.min(if self.cpu.is_limited() { may_be_due } else { f32::INFINITY });
        screens.pass(least, |slot, out, startles| {
            let Some(series) = registry.get_mut(slot) else { return };
            let attention = &mut series.attention;
            if out >= STOOD_OUT {
                attention.raise(now, series.pace_ms, if startles { SURPRISED } else { STOOD_OUT });
                let (place, until) = (usize::from(attention.source), attention.raised_until());
                self.is_news |= startles && self.intervals.raise(place, until, now);
            }
            if self.cpu.is_limited() && (attention.is_raised(now) || out >= may_be_due) && attention.nominate() {
                tell(slot);
            }
        });
        self.screens = screens;
    }

    /// Whether a source is to be read more often than was planned because of what stood out; told once.
    pub(crate) fn take_news(&mut self) -> bool {
        std::mem::take(&mut self.is_news)
    }

    /// Books what was read, and what is spent whatever is planned.
    pub(crate) fn begin_tick(&mut self, now: MonoTime) {
        let elapsed_s = self.ticked_at.replace(now).map_or(0.0, |last| now.since(last).as_secs_f64());
        let read_ns = std::mem::take(&mut self.read_ns);
        self.cpu.book(now, read_ns + prices::sane(self.prices.fixed_ns_per_s) * elapsed_s);
        self.move_bar(elapsed_s);
        self.uplink.book(now, prices::sane(self.prices.fixed_bytes_per_s) * elapsed_s);
    }

    /// What stands out has as much more to spend as that time grants, and the bar moves; not while nothing may be picked.
    fn move_bar(&mut self, elapsed_s: f64) {
        let most_ns = self.standing_ns_per_s * self.cpu.window_s();
        self.standing_ns = (self.standing_ns + self.standing_ns_per_s * elapsed_s).min(most_ns);
        if most_ns <= 0.0 {
            return;
        }
        let readings = elapsed_s / self.cpu.window_s() * WINDOW_READINGS;
        let fullness = (self.standing_ns / most_ns).clamp(0.0, 1.0);
        #[expect(clippy::cast_possible_truncation, reason = "a factor needs no more digits than f32 has")]
        let step = 1.0 + (f64::from(BAR_STEP) * readings.min(1.0) * (1.0 - 2.0 * fullness)) as f32;
        self.bar = (self.bar * step).clamp(BAR_BOUNDS[0], BAR_BOUNDS[1]);
    }

    /// A detector was asked about values of this price, of metrics or of log templates.
    pub(crate) fn book_values(&mut self, now: MonoTime, price_ns: f64, of_metrics: bool) {
        self.cpu.book(now, price_ns);
        if !of_metrics {
            self.log_ns += price_ns;
        }
    }

    /// What was measured.
    pub(crate) fn measure(&mut self, now: MonoTime, spent: Spent) {
        self.cpu.measure(now, spent.cpu_ns);
        self.uplink.measure(now, spent.uplink_bytes);
    }

    /// How far out a value has to be to be looked at for that.
    pub(crate) fn bar(&self) -> f32 {
        if self.pick_ns > 0.0 { self.bar } else { f32::INFINITY }
    }

    /// What looks at what stands out may cost now, in nanoseconds.
    pub(crate) fn room_for_standing(&self) -> f64 {
        self.standing_ns
    }

    /// Looks at what stood out cost so much.
    pub(crate) fn book_standing(&mut self, price_ns: f64) {
        self.standing_ns -= price_ns;
    }

    /// What a look of that class costs, in nanoseconds.
    pub(crate) fn look_ns(&self, class: Class) -> f64 {
        match () {
            () if is_standing(class) => self.pick_ns,
            () if is_close(class) => self.close_ns,
            () => self.look_ns[usize::from(rung_of(class)).min(SLOWEST)],
        }
    }

    /// How many raw samples the uplink's budget has room for.
    pub(crate) fn samples_affordable(&mut self, now: MonoTime) -> usize {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates, at least 0")]
        let samples = (self.uplink.room(now) / SAMPLE_BYTES).max(0.0) as usize;
        samples
    }

    /// Whether the source at a place may be read now. What is overdue may.
    pub(crate) fn admits(&mut self, now: MonoTime, place: usize, base_ms: u32) -> bool {
        let (allowed, room) = (self.cpu.allowance(), self.cpu.room(now) - self.read_ns);
        let Some(source) = self.sources.get_mut(place) else { return true };
        let patience = Duration::from_millis(u64::from(base_ms.max(READ_EACH_MS)));
        let overdue = source.read_at.is_none_or(|last| now.since(last) >= patience);
        if !overdue && source.price_ns + source.rank * RESERVE * allowed > room {
            return false;
        }
        source.read_at = Some(now);
        true
    }

    /// Makes a plan if one is due; without a budget prices only.
    pub(crate) fn plan(
        &mut self,
        now: MonoTime,
        policy: &Policy,
        registry: &mut Registry,
        judges: &mut [Judge],
        oddness: &Oddness,
    ) {
        let elapsed = self.planned_at.map(|last| now.since(last));
        let lasts_s = self.cpu.window_s() * PLAN_SHARE;
        if elapsed.is_some_and(|elapsed| elapsed.as_secs_f64() < lasts_s) {
            return;
        }
        self.planned_at = Some(now);
        self.shortest_ms = self.intervals.bases(policy).map(|(_, ms)| ms).min().unwrap_or(0);
        let log_ns_per_s = std::mem::take(&mut self.log_ns) / elapsed.map_or(lasts_s, |elapsed| elapsed.as_secs_f64());
        self.turn = self.turn.wrapping_add(17);
        self.price(judges, registry.len());
        let readings_per_s = self.weigh_sources(policy, registry, oddness);
        if !self.is_limited() {
            return;
        }
        self.cpu.set_window(now, window_ms(self.shortest_ms));
        let unplanned = prices::sane(self.prices.fixed_ns_per_s) + log_ns_per_s;
        let room = self.plan_collect(now, policy, readings_per_s, self.cpu.plannable_per_s() - unplanned);
        self.plan_detect(now, policy, registry, oddness, room);
        if self.uplink.is_limited() {
            self.plan_ship(now, policy, registry, oddness);
        }
    }

    /// There is no budget of CPU time any more.
    pub(crate) fn forget_looks(&mut self, registry: &mut Registry) {
        registry.iter_mut().for_each(|(_, series)| series.attention.forget_looks());
    }

    /// There is no budget any more.
    pub(crate) fn forget(&mut self, registry: &mut Registry) {
        registry.iter_mut().for_each(|(_, series)| series.attention.forget_plan());
        (0..self.sources.len()).for_each(|place| self.intervals.set_stride(place, 1));
    }

    /// What detectors cost, and how often they are asked where looks are thinned: less often than the best one by how much
    /// dearer each thing that they told was, and where they mostly say the same again.
    pub(crate) fn price(&mut self, judges: &mut [Judge], series: usize) {
        for judge in judges.iter_mut() {
            judge.price_ns = self.prices.of_detector(&judge.slot.reference.name);
        }
        let metrics = |judge: &&Judge| judge.alive && judge.input().is_of_metrics();
        // Who declined most series is seldom asked.
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52 series")]
        let of_any = |judge: &Judge| judge.price_ns * (judge.series() as f64 / series.max(1) as f64).min(1.0);
        let price_of_news = |judge: &Judge| judge.price_ns.max(1.0) * judge.telling.answers_each();
        let wanted = |judge: &Judge| price_of_news(judge) * f64::from(judge.telling.every());
        let least = judges.iter().filter(metrics).map(wanted).fold(f64::INFINITY, f64::min);
        for judge in judges.iter_mut() {
            let times = wanted(judge) / least;
            let every = LADDER.iter().rev().find(|stride| f64::from(**stride) <= times);
            judge.every = every.copied().unwrap_or(1);
        }
        let votes = |judge: &&Judge| judge.alive && judge.input() == DetectorInput::Votes;
        let picked = judges.iter().filter(votes).map(|judge| judge.price_ns / f64::from(every_at(judge.every, 1)));
        let tells_most = judges.iter().filter(votes).any(|judge| wanted(judge) <= least);
        self.pick_ns = if tells_most { picked.sum() } else { 0.0 };
        self.close_ns = judges.iter().filter(metrics).map(of_any).sum();
        for (rung, look_ns) in (0u8..).zip(&mut self.look_ns) {
            let shown = |judge: &Judge| shown_each(judge.every, judge.look_ms(), rung, self.shortest_ms);
            let prices = judges.iter().filter(metrics).map(|judge| of_any(judge) / f64::from(shown(judge)));
            *look_ns = prices.sum();
        }
    }

    /// What sources are worth and cost. How many values of all series are read a second at their usual paces.
    fn weigh_sources(&mut self, policy: &Policy, registry: &Registry, oddness: &Oddness) -> f64 {
        let places = self.intervals.bases(policy).count();
        self.sources.resize_with(places, Source::default);
        self.sources.iter_mut().for_each(|source| (source.series, source.worth) = (0, 0.0));
        // Neighbours are read at one pace, mostly.
        let (mut readings_per_s, mut pace) = (0.0, (0, 0.0));
        for (slot, series) in registry.iter() {
            if pace.0 != series.pace_ms {
                pace = (series.pace_ms, 1.0 / seconds(series.pace_ms));
            }
            readings_per_s += pace.1;
            if let Some(source) = self.sources.get_mut(usize::from(series.attention.source)) {
                source.series += 1;
                source.worth += f64::from(worth(&self.screens, slot, &series.attention, oddness));
            }
        }
        for ((name, _), source) in self.intervals.bases(policy).zip(&mut self.sources) {
            source.price_ns = self.prices.of_source(name, source.series);
            #[expect(clippy::cast_precision_loss, reason = "far below 2^52 series")]
            let series = source.series.max(1) as f64;
            source.value_ns = source.price_ns / series;
        }
        readings_per_s
    }

    /// Intervals of sources, of which all together may cost a part of `room`, in nanoseconds a second. What is left for
    /// looks.
    fn plan_collect(&mut self, now: MonoTime, policy: &Policy, readings_per_s: f64, room: f64) -> f64 {
        let items = &mut self.items;
        items.clear();
        for ((place, (_, base_ms)), source) in self.intervals.bases(policy).enumerate().zip(&self.sources) {
            let fits = |stride: &u8| base_ms.saturating_mul(u32::from(*stride)) <= READ_EACH_MS;
            let slowest = LADDER.iter().rposition(fits).and_then(|rung| u8::try_from(rung).ok()).unwrap_or(0);
            let slowest = if self.intervals.is_raised(place, now) { 0 } else { slowest };
            let interval_ms = self.intervals.told_ms(place).unwrap_or(base_ms).min(base_ms);
            items.push(Item::new(source.price_ns, source.worth, seconds(interval_ms), slowest));
        }
        let most_merit = items.iter().map(|item| f64::from(item.merit)).fold(0.0, f64::max);
        for (item, source) in items.iter().zip(&mut self.sources) {
            source.rank = if most_merit > 0.0 { 1.0 - (f64::from(item.merit) / most_merit).sqrt() } else { 0.0 };
        }
        let looks = self.look_ns[0] * readings_per_s;
        let least = looks * self.look_ns[SLOWEST] / self.look_ns[0].max(1e-9) / f64::from(LADDER[SLOWEST]);
        let kept = looks.min(least.max(room * DETECT_SHARE));
        let shares = plain();
        let spent = fit(items, &shares, room - kept, self.turn);
        for (place, item) in items.iter().enumerate() {
            self.intervals.set_stride(place, stride(item.rung));
        }
        room - spent
    }

    /// Strides of series; those that are raised come first.
    fn plan_detect(&mut self, now: MonoTime, policy: &Policy, registry: &mut Registry, oddness: &Oddness, room: f64) {
        let strides = (0..).zip(self.intervals.bases(policy));
        let planned =
            strides.map(|(place, (_, base_ms))| base_ms.saturating_mul(u32::from(self.intervals.stride(place))));
        for (source, planned_ms) in self.sources.iter_mut().zip(planned) {
            source.planned_ms = planned_ms;
        }
        let shares: Shares =
            std::array::from_fn(|rung| self.look_ns[rung] / self.look_ns[0].max(1e-9) / f64::from(LADDER[rung]));
        // What is suspected is shown to all at each reading.
        let closer = self.close_ns / self.look_ns[0].max(1e-9);
        self.items.clear();
        let (mut all, mut suspects) = (0.0, 0.0);
        let (mut of_ms, mut alike) = (0, Item::default());
        for (slot, series) in registry.iter() {
            // Where it is about to be read less often, what is read until then has to be paid.
            let planned_ms = self.sources.get(usize::from(series.attention.source)).map(|source| source.planned_ms);
            let interval_ms = planned_ms.unwrap_or(u32::MAX).min(series.read_interval_ms).max(1);
            if of_ms != interval_ms {
                (of_ms, alike) = (interval_ms, Item::new(self.look_ns[0], 1.0, seconds(interval_ms), 0));
            }
            let slowest = series.attention.slowest(now);
            let item = alike.of(worth(&self.screens, slot, &series.attention, oddness), slowest);
            all += item.cost_at(0, &shares);
            suspects += if slowest == 0 { item.cost_at(0, &shares) * closer } else { 0.0 };
            self.items.push(item);
        }
        let for_others = if all <= room { 0.0 } else { (room - suspects).max(0.0) };
        // A bar that is as low as can be leaves more for the regular ones.
        let is_lowest = self.bar <= BAR_BOUNDS[0];
        let share = match () {
            () if self.pick_ns <= 0.0 => 1.0,
            () if is_lowest => REGULAR_SHARE_MAX,
            () => REGULAR_SHARE,
        };
        self.standing_ns_per_s = for_others * (1.0 - share);
        fit(&mut self.items, &shares, room - self.standing_ns_per_s, self.turn);
        for (item, (slot, series)) in self.items.iter().zip(registry.iter_mut()) {
            series.attention.plan(now, item.rung, slot);
            series.attention.plan_windows(1);
        }
    }

    /// Windows that one feature is put together of.
    fn plan_ship(&mut self, now: MonoTime, policy: &Policy, registry: &mut Registry, oddness: &Oddness) {
        let room = self.uplink.plannable_per_s() - prices::sane(self.prices.fixed_bytes_per_s);
        let window_s = seconds(policy.feature_window_ms);
        let bytes = prices::sane(self.prices.feature_bytes);
        self.items.clear();
        for (slot, series) in registry.iter() {
            let attention = &series.attention;
            let price = bytes * f64::from(attention.news());
            let slowest = if attention.is_raised(now) { 0 } else { SLOWEST_RUNG };
            let worth = worth(&self.screens, slot, attention, oddness);
            self.items.push(Item::new(price, f64::from(worth), window_s, slowest));
        }
        fit(&mut self.items, &plain(), room, self.turn);
        for (item, (_, series)) in self.items.iter().zip(registry.iter_mut()) {
            series.attention.plan_windows(stride(item.rung));
        }
    }
}

fn worth(screens: &Screens, slot: u32, attention: &Attention, oddness: &Oddness) -> f32 {
    attention.worth() + screens.worth(slot) + oddness.state_of(slot).clamp(0.0, VOTES_MAX)
}

fn seconds(ms: u32) -> f64 {
    f64::from(ms.max(1)) / 1_000.0
}
