//! The trend over one span of time, against the history of trends over such spans.

use vedette_sdk::math::Limit as _;
use vedette_sdk::robust::{Envelope, Youth, median3, prior_share};
use vedette_sdk::state::{Damaged, Reader, Writer};

/// Values of a window: three groups of three.
pub(crate) const VALUES: u8 = 9;
/// Windows that are learnt before one is judged.
pub(crate) const WARM_UP_MOVES: u32 = 12;
/// What a stock moves by within a second when nothing in particular happens: a log rotated, a process started. Stands in
/// for history as in the `level` detector, and grows with the square root of the step as a random walk does.
const PRIOR_MOVE: f64 = 2e-4;
const PRIOR_WEIGHT: f64 = 3_600.0;
/// Ordinary moves reach this many scales.
const REACH: f64 = 3.0;
/// Steps between the middles of the first and the last group.
const MOVE_STEPS: f64 = 6.0;
/// Medians that are kept: a power of two beyond the seven that a window needs.
const MEDIANS: u8 = 8;

/// How long the steps of a horizon are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    /// Time between two values, at least.
    pub(crate) step_ms: u32,
    /// A value is due once so much has passed: a twentieth less, for readers that come a little early.
    pub(crate) due_ms: u32,
    prior_move: f64,
    /// A trend counts if it would exhaust the stock within so many moves of its length.
    moves_ahead: f64,
}

impl Span {
    const fn of(step_ms: u32, root_of_seconds: f64) -> Self {
        let prior_move = PRIOR_MOVE * root_of_seconds;
        Self { step_ms, due_ms: step_ms / 20 * 19, prior_move, moves_ahead: f64::INFINITY }
    }
}

/// The horizons: windows of 9 s, 90 s and 15 minutes, and one of nine hours, which takes the mean of each hour: teeth and
/// noise of a leaking heap are greater than what it leaks within minutes. Slow trends are many and end; one of hours
/// counts once it leaves two days.
pub(crate) const SPANS: [Span; 4] = [
    Span::of(1_000, 1.0),
    Span::of(10_000, 3.162_277_660_168_379_5),
    Span::of(100_000, 10.0),
    Span { step_ms: HOUR_MS, due_ms: HOUR_MS / 20 * 19, prior_move: PRIOR_MOVE_OF_HOURS, moves_ahead: 8.0 },
];
pub(crate) const HOUR_MS: u32 = 3_600_000;
/// What the mean of an hour moves by within six when nothing in particular happens.
const PRIOR_MOVE_OF_HOURS: f64 = 0.002;

/// A value as the horizons take it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading {
    /// Share of the stock that is used, and the smallest difference of shares that the source can express.
    pub(crate) share: f64,
    pub(crate) resolution: f64,
    /// How many times its own length a trend is believed to go on.
    pub(crate) outlook: f64,
    /// It is not to be learnt from.
    pub(crate) hold: bool,
}

/// A trend towards exhaustion.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Trend {
    /// Share of the stock per second.
    pub(crate) slope_per_s: f64,
    /// Time between the values it was seen in.
    pub(crate) step_ms: u32,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Horizon {
    /// Medians of three neighbouring values, one for each value, in a ring: the groups of a window are three apart.
    medians: [f32; MEDIANS as usize],
    /// The last two values.
    values: [f32; 2],
    /// Place of the next median.
    next: u8,
    /// Values of the window so far.
    filled: u8,
    step_ms: u32,
    /// Windows that one more value amounts to: they overlap, and one trend shall not count as many.
    windows: f64,
    moves: Envelope,
    youth: Youth,
    /// The least move that counts; follows from `youth` and the stock's resolution.
    floor: f64,
    latest: f64,
    before: f64,
    moved: f64,
}

impl Horizon {
    pub(crate) fn new(span: &Span, resolution: f64) -> Self {
        let youth = Youth::after(0);
        Self {
            medians: [0.0; MEDIANS as usize],
            values: [0.0; 2],
            next: 0,
            filled: 0,
            step_ms: 0,
            windows: 0.0,
            moves: Envelope::of(0.0),
            youth,
            floor: floor(span, resolution, &youth),
            latest: 0.0,
            before: 0.0,
            moved: 0.0,
        }
    }

    #[inline]
    pub(crate) fn is_warm(&self) -> bool {
        self.youth.learnt() >= WARM_UP_MOVES
    }

    /// Significance times nearness of the trend in the last two windows, before compression; 0 for none.
    #[inline]
    pub(crate) fn score(&self) -> f64 {
        self.latest.at_most(self.before)
    }

    /// What the last window showed.
    pub(crate) fn trend(&self) -> Trend {
        let span_s = MOVE_STEPS * f64::from(self.step_ms) * 0.001;
        Trend { slope_per_s: self.moved / span_s, step_ms: self.step_ms }
    }

    /// Whether it is warm, its window full, and a value so long after the one before in its pace.
    #[inline]
    pub(crate) fn is_going_on(&self, step_ms: u32) -> bool {
        self.filled == VALUES && self.is_warm() && !self.is_off_pace(step_ms)
    }

    #[inline]
    fn is_off_pace(&self, step_ms: u32) -> bool {
        let (step, usual) = (u64::from(step_ms), u64::from(self.step_ms));
        step * 2 > usual * 3 || step * 3 < usual * 2
    }

    /// Takes a value that is due, `step_ms` after the one before and maybe after a gap; gives [`Horizon::score`].
    pub(crate) fn observe(&mut self, span: &Span, step_ms: u32, gap: bool, reading: Reading) -> f64 {
        let Reading { share, resolution, outlook, hold } = reading;
        let step_ms = if self.filled == 0 { 0 } else { step_ms };
        if gap || self.is_off_pace(step_ms) {
            self.restart(span, step_ms.max(span.step_ms));
        }
        self.filled += u8::from(self.filled < VALUES);
        if self.filled < VALUES {
            self.push(narrowed(share));
            return self.score();
        }
        let score = self.go_on(span, share, outlook);
        if !hold {
            self.learn(span, resolution);
        }
        score
    }

    /// Takes a value that makes the window full, or with which it goes on; gives [`Horizon::score`]. To be
    /// [learnt](Horizon::learn) from afterwards.
    #[inline]
    pub(crate) fn go_on(&mut self, span: &Span, share: f64, outlook: f64) -> f64 {
        let newest = self.push(narrowed(share));
        self.moved = self.last_move(newest);
        self.judge(span, share, outlook);
        self.score()
    }

    /// Takes a value; gives the median of the last three.
    #[inline]
    fn push(&mut self, value: f32) -> f32 {
        let [before, first] = self.values;
        let newest = median3(value, before, first);
        self.medians[usize::from(self.next % MEDIANS)] = newest;
        self.values = [value, before];
        self.next = (self.next + 1) % MEDIANS;
        newest
    }

    /// Values of another pace or from before a gap cannot be in one window with those to come.
    fn restart(&mut self, span: &Span, step_ms: u32) {
        self.step_ms = step_ms;
        self.windows = windows(span, step_ms);
        self.filled = 0;
        (self.latest, self.before) = (0.0, 0.0);
    }

    /// Significance is the move in units of what is usual; nearness is believed time ÷ (believed time + time to
    /// exhaustion), where a trend is believed for `outlook` times its own span. Both share one division.
    #[inline]
    fn judge(&mut self, span: &Span, share: f64, outlook: f64) {
        self.before = self.latest;
        let towards = self.moved.at_least(0.0);
        let reach = (REACH * self.floor).at_least(self.moves.height());
        let room = (1.0 - share).at_least(0.0);
        let believed = outlook * towards;
        let score = REACH * towards * believed / (reach * (believed + room)).at_least(f64::MIN_POSITIVE);
        let counts = self.is_warm() && room <= span.moves_ahead * towards;
        self.latest = if counts { score } else { 0.0 };
    }

    /// Learns from the last move.
    #[inline]
    pub(crate) fn learn(&mut self, span: &Span, resolution: f64) {
        // A leak is hours old before it counts, and must not become its own measure: there what comes back is.
        let distance = if span.moves_ahead < f64::INFINITY { (-self.moved).at_least(0.0) } else { self.moved.abs() };
        if self.is_warm() {
            self.moves.learn(distance, REACH * self.floor, self.windows, &self.youth);
        } else if distance > self.moves.height() {
            self.moves = Envelope::of(distance);
        }
        if self.youth.pass() {
            self.floor = floor(span, resolution, &self.youth);
        }
    }

    /// Twice the smaller move between the medians of neighbouring groups; 0 unless both go the same way.
    #[inline]
    fn last_move(&self, newest: f32) -> f64 {
        let group = |back: u8| f64::from(self.medians[usize::from(self.next.wrapping_sub(back) % MEDIANS)]);
        let (newest, middle, oldest) = (f64::from(newest), group(4), group(7));
        let (first, second) = (middle - oldest, newest - middle);
        // A zero that no compiler knows, so that both limits become one instruction each (see `Limit`).
        let zero = self.floor * 0.0;
        let (lesser, greater) = (first.at_most(second), second.at_least(first));
        2.0 * (lesser.at_least(zero) + greater.at_most(zero))
    }

    pub(crate) fn save(&self, out: &mut Writer) {
        out.f32s(&self.medians);
        out.f32s(&self.values);
        out.u8(self.next);
        out.u8(self.filled);
        [self.youth.learnt(), self.step_ms].iter().for_each(|count| out.u32(*count));
        out.f64s(&[self.moves.height(), self.latest, self.before, self.moved]);
    }

    pub(crate) fn load(&mut self, span: &Span, resolution: f64, input: &mut Reader<'_>) -> Result<(), Damaged> {
        let (medians, values) = (input.f32s()?, input.f32s()?);
        let (next, filled) = (input.u8()?, input.u8()?);
        if next >= MEDIANS || filled > VALUES {
            return Err(Damaged);
        }
        let youth = Youth::after(input.u32()?);
        let step_ms = input.u32()?;
        let [height, latest, before, moved] = input.f64s()?;
        let (windows, moves, floor) = (windows(span, step_ms), Envelope::of(height), floor(span, resolution, &youth));
        *self = Self { medians, values, next, filled, step_ms, windows, moves, youth, floor, latest, before, moved };
        Ok(())
    }
}

fn windows(span: &Span, step_ms: u32) -> f64 {
    (f64::from(step_ms) / (f64::from(span.step_ms) * MOVE_STEPS)).at_most(Envelope::STEP_S_MAX)
}

fn floor(span: &Span, resolution: f64, youth: &Youth) -> f64 {
    let prior = span.prior_move * prior_share(youth.counted(), PRIOR_WEIGHT);
    prior.at_least(resolution).at_least(f64::MIN_POSITIVE)
}

#[expect(clippy::cast_possible_truncation, reason = "a share of a stock; seven digits are beyond what sources express")]
fn narrowed(share: f64) -> f32 {
    share as f32
}
