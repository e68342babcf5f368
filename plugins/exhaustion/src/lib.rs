//! `exhaustion`: will a bounded stock run out, and when?
//!
//! For series of a stock with both bounds known (space, memory, inodes, handles). Three horizons, sampled every 1, 10
//! and 100 seconds, and one of the means of hours each hold nine values in three groups; the move of a horizon is twice the smaller of the two moves
//! between the groups' medians, if both go the same way: Tukey's resistant line (1977) with the half-slope ratio turned
//! into a condition. A step, a peak or a fall in between therefore is no move. A move is compared with the series' own
//! history of moves at that horizon, and weighted by how near exhaustion is if it goes on: a trend seen for a while is
//! believed for [`OUTLOOK`] times that while, one of hours for two days. Two windows in a row have to agree.

#![cfg_attr(target_arch = "wasm32", no_std)]

extern crate alloc;

mod horizon;
mod stock;

use alloc::boxed::Box;
use horizon::{Horizon, Reading, SPANS, Span};
use stock::Stock;
use vedette_sdk::math::Limit as _;
use vedette_sdk::robust::compress;
use vedette_sdk::state::{Damaged, Reader, Writer};
use vedette_sdk::{ConfigError, Description, Detector, Explanation, Input, ParameterSpec, Parameters, Sample, Series};

vedette_sdk::export!(Exhaustion);

/// Reason codes of this detector (registry: `wit/README.md`).
pub mod code {
    /// Rising towards the upper bound.
    pub const TOWARDS_UPPER: u32 = 201;
    /// Falling towards the lower bound.
    pub const TOWARDS_LOWER: u32 = 202;
}

/// Changes with whatever changes a score or a state.
const VERSION: &str = "0.4.0";
/// How many times its own length a trend is believed to go on, by default.
pub const OUTLOOK: f64 = 360.0;
/// Time since a horizon took a value that it never took: the first is due at once.
const NEVER: u32 = u32::MAX;
/// A trend is explained from this score before compression on.
const NOTABLE: f64 = 1.0;

/// The detector's parameters.
#[derive(Clone, Copy, Debug)]
pub struct Exhaustion {
    outlook: f64,
}

/// What is remembered of one series.
#[derive(Clone, Debug)]
pub struct State(Box<Watch>);

/// A stock under watch. It lies apart, so that tables that grow move little.
#[derive(Clone, Debug)]
struct Watch {
    stock: Stock,
    /// Time since each horizon took a value, and the score that it gave: what is looked at for each value.
    since_ms: [u32; SPANS.len()],
    scores: [f64; SPANS.len()],
    /// Sum and number of the shares of the hour under way.
    hour: (f64, u32),
    observed: f64,
    trending_ms: u32,
    horizons: [Horizon; SPANS.len()],
}

impl Detector for Exhaustion {
    type State = State;

    fn describe() -> Description {
        Description {
            name: "exhaustion",
            version: VERSION,
            input: Input::Timeless,
            warm_up_values: horizon::WARM_UP_MOVES + horizon::VALUES as u32,
            state_bytes_max: 512,
            // A disk that fills within minutes is told within seconds; stocks are few.
            look_ms: 0,
            parameters: &[ParameterSpec {
                name: "outlook",
                default: OUTLOOK,
                minimum: 10.0,
                maximum: 10_000.0,
                documentation: "how many times its own length a trend is believed to go on",
            }],
        }
    }

    fn configure(parameters: &Parameters) -> Result<Self, ConfigError> {
        Ok(Self { outlook: parameters.get("outlook") })
    }

    /// What cannot run out is declined.
    fn added(&mut self, series: &Series) -> Option<State> {
        let stock = Stock::of(series)?;
        let horizons = SPANS.each_ref().map(|span| Horizon::new(span, stock.share_resolution()));
        let (since_ms, scores) = ([NEVER; SPANS.len()], [0.0; SPANS.len()]);
        let watch = Watch { stock, since_ms, scores, hour: (0.0, 0), observed: f64::NAN, trending_ms: 0, horizons };
        Some(State(Box::new(watch)))
    }

    #[inline]
    fn observe(&mut self, state: &mut State, sample: Sample) -> f64 {
        let state = &mut *state.0;
        let stock = &state.stock;
        let [short_ms, middle_ms, long_ms, hours_ms] =
            state.since_ms.map(|since_ms| since_ms.saturating_add(sample.dt_ms));
        let seldom = middle_ms >= SPANS[1].due_ms || long_ms >= SPANS[2].due_ms || hours_ms >= SPANS[3].due_ms;
        let plain = sample.value.is_finite() && !sample.gap() && short_ms >= SPANS[0].due_ms && !seldom;
        let horizon = &mut state.horizons[0];
        if !plain || !horizon.is_going_on(short_ms) {
            return self.observe_any(state, sample.value, sample.dt_ms, sample.flags);
        }
        // Most values are due for the shortest horizon alone, and go on in its pace. There is next to nothing that calls on
        // their way, and it comes last: what is alive over a call is kept in memory all along.
        state.since_ms = [0, middle_ms, long_ms, hours_ms];
        let (share, resolution) = (stock.share(sample.value), stock.share_resolution());
        state.hour = (state.hour.0 + share, state.hour.1 + 1);
        state.scores[0] = horizon.go_on(&SPANS[0], share, self.outlook);
        let score = state.conclude(sample.value, sample.dt_ms);
        if !sample.hold() {
            state.horizons[0].learn(&SPANS[0], resolution);
        }
        score
    }

    fn explain(&self, state: &State) -> Explanation {
        let state = &*state.0;
        let Some(leading) = state.leading() else {
            return Explanation { observed: state.observed, ..Explanation::NONE };
        };
        let (stock, trend) = (&state.stock, leading.trend());
        let onset_ms_ago =
            state.trending_ms.saturating_add(trend.step_ms.saturating_mul(u32::from(horizon::VALUES) - 2));
        let before = stock.share(state.observed) - trend.slope_per_s * f64::from(onset_ms_ago) / 1_000.0;
        Explanation {
            code: if stock.falls() { code::TOWARDS_LOWER } else { code::TOWARDS_UPPER },
            observed: state.observed,
            expected: stock.value(before.at_least(0.0)),
            lower: stock.lower(),
            upper: stock.upper(),
            onset_ms_ago,
            // What a trend of hours comes to is known no better than its slope, however long it has lasted.
            onset_uncertainty_ms: if trend.step_ms < horizon::HOUR_MS / 2 {
                trend.step_ms.saturating_mul(3)
            } else {
                onset_ms_ago / 7 * 3
            },
        }
    }

    fn save(&self, state: &State, out: &mut Writer) {
        let state = &*state.0;
        state.horizons.iter().for_each(|horizon| horizon.save(out));
        state.since_ms.iter().for_each(|since_ms| out.u32(*since_ms));
        out.f64s(&[state.hour.0, state.observed]);
        [state.hour.1, state.trending_ms].iter().for_each(|number| out.u32(*number));
    }

    fn load(&mut self, state: &mut State, input: &mut Reader<'_>) -> Result<(), Damaged> {
        let state = &mut *state.0;
        let resolution = state.stock.share_resolution();
        for (horizon, span) in state.horizons.iter_mut().zip(&SPANS) {
            horizon.load(span, resolution, input)?;
        }
        state.scores = state.horizons.each_ref().map(Horizon::score);
        state.since_ms.iter_mut().try_for_each(|since_ms| input.u32().map(|read| *since_ms = read))?;
        [state.hour.0, state.observed] = input.f64s()?;
        (state.hour.1, state.trending_ms) = (input.u32()?, input.u32()?);
        Ok(())
    }
}

impl Exhaustion {
    /// Judges and learns any value.
    #[cold]
    fn observe_any(&self, state: &mut Watch, value: f64, dt_ms: u32, flags: u8) -> f64 {
        let (sample, stock) = (Sample { dt_ms, flags, value }, &state.stock);
        if !value.is_finite() {
            return f64::NAN;
        }
        let (share, resolution) = (stock.share(value), stock.share_resolution());
        state.hour = (state.hour.0 + share, state.hour.1 + 1);
        for (at, span) in SPANS.iter().enumerate() {
            if let Some(step_ms) = due(&mut state.since_ms[at], span, dt_ms) {
                let share = if span.step_ms < horizon::HOUR_MS { share } else { state.take_hour() };
                let reading = Reading { share, resolution, outlook: self.outlook, hold: sample.hold() };
                state.scores[at] = state.horizons[at].observe(span, step_ms, sample.gap(), reading);
            }
        }
        state.conclude(value, dt_ms)
    }
}

/// Lets time pass for a horizon; the time since its last value if it is due for another.
fn due(since_ms: &mut u32, span: &Span, dt_ms: u32) -> Option<u32> {
    let passed_ms = since_ms.saturating_add(dt_ms);
    let due = passed_ms >= span.due_ms;
    *since_ms = if due { 0 } else { passed_ms };
    due.then_some(passed_ms)
}

impl Watch {
    /// The mean share of the hour that is over.
    fn take_hour(&mut self) -> f64 {
        let (sum, count) = core::mem::replace(&mut self.hour, (0.0, 0));
        sum / f64::from(count)
    }

    /// The score, once the horizons have taken a value.
    #[inline]
    fn conclude(&mut self, value: f64, dt_ms: u32) -> f64 {
        self.observed = value;
        if !self.horizons[0].is_warm() {
            return f64::NAN;
        }
        let [short, middle, long, hours] = self.scores;
        let score = short.at_least(middle).at_least(long.at_least(hours));
        self.trending_ms = if score < NOTABLE { 0 } else { self.trending_ms.saturating_add(dt_ms) };
        compress(score)
    }

    /// The horizon that gave the last score, if it is worth an explanation; the shortest of equals.
    fn leading(&self) -> Option<&Horizon> {
        let best = self.horizons.iter().reduce(|best, one| if one.score() > best.score() { one } else { best });
        best.filter(|horizon| horizon.score() >= NOTABLE)
    }
}

#[cfg(test)]
mod tests;
