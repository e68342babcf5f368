//! Blocks of samples of many series, as small as is cheap: what the flight recorder keeps and what raw samples travel in.
//!
//! A series' values are whole steps on a grid ([`crate::normalise::quantise`] put them there), so they are coded as
//! integers: predicted from those before them, what is left by a range coder whose probabilities learn within the block.
//! Values on no grid go as the bits that differ from the last one. Series read together share their times. Every value
//! comes back bit for bit, whatever it is.
//!
//! A block stands alone: it can be dropped, sent twice or read first. Its content is not checked here; whoever stores or
//! sends it has a checksum around it. Decoding takes any bytes, allocates no more than [`SAMPLES_MAX`] values, and ends.

mod integers;
mod range;
mod scale;

use integers::{Numbers, Predictor, Recent, best, predictor};
use range::{Bit, Coder, Decoder, Encoder};
use scale::Scale;

/// Most series of one block.
pub const SERIES_MAX: usize = 1 << 16;
/// Most samples of one block, all series together.
pub const SAMPLES_MAX: usize = 1 << 17;
/// Largest block: what these samples come to if nothing can be predicted.
pub const BYTES_MAX: usize = 4 << 20;

/// First byte of a block.
const VERSION: u8 = 1;
/// Earlier times that a series' times are compared with.
const CLOCKS_COMPARED: usize = 32;

/// Samples of one series on their way into a block.
#[derive(Clone, Copy, Debug)]
pub struct Column<'a> {
    /// Whatever number the caller knows the series by, unique in the block.
    pub id: u32,
    /// Grid of the values, in the series' unit; 0 for unknown. A hint: the values decide.
    pub resolution: f64,
    /// Milliseconds on any clock, one per value.
    pub times_ms: &'a [i64],
    /// Values, at least one.
    pub values: &'a [f64],
}

/// Why columns make no block: the caller splits them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// More than [`SERIES_MAX`] or [`SAMPLES_MAX`].
    #[error("{series} series with {samples} samples do not fit one block")]
    TooLarge {
        /// Columns.
        series: usize,
        /// Values of all of them.
        samples: usize,
    },
    /// A column without values, or with another number of times than of values.
    #[error("series {id} has {values} values at {times} times")]
    Uneven {
        /// Which.
        id: u32,
        /// Its values.
        values: usize,
        /// Its times.
        times: usize,
    },
}

/// Why bytes are no block. What was damaged is counted and skipped by whoever kept it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Of a later version, or no block at all.
    #[error("not a block that this version understands")]
    Version,
    /// It says that it holds more than a block may, or is larger.
    #[error("it holds more than a block may")]
    TooLarge,
    /// It refers to what it does not hold, or goes on after its end.
    #[error("it contradicts itself")]
    Damaged,
}

/// A decoded block.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Block {
    clocks: Vec<Vec<i64>>,
    series: Vec<Decoded>,
}

#[derive(Clone, Debug, PartialEq)]
struct Decoded {
    id: u32,
    clock: usize,
    values: Vec<f64>,
}

impl Block {
    /// Every series: its number, times in milliseconds, values; times and values are of one length.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &[i64], &[f64])> {
        self.series.iter().map(|one| (one.id, self.clocks[one.clock].as_slice(), one.values.as_slice()))
    }

    /// Samples of all series.
    pub fn samples(&self) -> usize {
        self.series.iter().map(|one| one.values.len()).sum()
    }
}

/// Appends one block to `out`.
///
/// # Errors
///
/// [`EncodeError`]; `out` is as before then.
pub fn encode(columns: &[Column<'_>], out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let samples = columns.iter().map(|column| column.values.len()).sum();
    if columns.len() > SERIES_MAX || samples > SAMPLES_MAX {
        return Err(EncodeError::TooLarge { series: columns.len(), samples });
    }
    for Column { id, values, times_ms, .. } in columns {
        if values.is_empty() || values.len() != times_ms.len() {
            return Err(EncodeError::Uneven { id: *id, values: values.len(), times: times_ms.len() });
        }
    }
    out.push(VERSION);
    let mut encoder = Encoder::new(out);
    let mut models = Models::default();
    models.count(&mut encoder, columns.len());
    let (mut clocks, mut steps, mut spare) = (Vec::<&[i64]>::new(), Vec::new(), Vec::new());
    for column in columns {
        models.id(&mut encoder, column.id);
        let clock = clocks.iter().rev().take(CLOCKS_COMPARED).position(|known| *known == column.times_ms);
        let back = clock.map_or(0, |back| back + 1);
        models.clock(&mut encoder, back);
        if back == 0 {
            spare.clear();
            spare.extend_from_slice(column.times_ms);
            models.count(&mut encoder, spare.len());
            models.times(&mut encoder, &mut spare);
        } else {
            // The one that was just used is the likeliest to be used next.
            let at = clocks.len() - back;
            clocks.remove(at);
        }
        clocks.push(column.times_ms);
        let scale = Scale::find(column.values, column.resolution, &mut steps);
        models.scale(&mut encoder, scale);
        if scale == Scale::Bits {
            models.bits(&mut encoder, &mut column.values.iter().map(|value| value.to_bits()).collect::<Vec<_>>());
        } else {
            models.steps(&mut encoder, best(&steps), &mut steps);
        }
    }
    encoder.finish();
    Ok(())
}

/// The block that `bytes` are, all of them.
///
/// # Errors
///
/// [`DecodeError`].
pub fn decode(bytes: &[u8]) -> Result<Block, DecodeError> {
    let Some((&VERSION, coded)) = bytes.split_first() else { return Err(DecodeError::Version) };
    if bytes.len() > BYTES_MAX {
        return Err(DecodeError::TooLarge);
    }
    let (mut decoder, mut models) = (Decoder::new(coded), Models::default());
    let mut block = Block::default();
    // Positions in `block.clocks`, the one used last at the end: as the encoder orders them.
    let (mut recent, mut room, mut spare) = (Vec::new(), SAMPLES_MAX, Vec::new());
    for _ in 0..models.limited_count(&mut decoder, SERIES_MAX)? {
        let id = models.id(&mut decoder, 0);
        let back = models.clock(&mut decoder, 0);
        let clock = if back == 0 {
            let mut times = vec![0; models.limited_count(&mut decoder, room)?];
            models.times(&mut decoder, &mut times);
            block.clocks.push(times);
            block.clocks.len() - 1
        } else {
            let at = recent.len().checked_sub(back).filter(|_| back <= CLOCKS_COMPARED).ok_or(DecodeError::Damaged)?;
            recent.remove(at)
        };
        recent.push(clock);
        let count = block.clocks[clock].len();
        if count == 0 {
            return Err(DecodeError::Damaged);
        }
        room = room.checked_sub(count).ok_or(DecodeError::TooLarge)?;
        let scale = models.scale(&mut decoder, Scale::Bits);
        let values = if scale == Scale::Bits {
            let mut bits = vec![0; count];
            models.bits(&mut decoder, &mut bits);
            bits.into_iter().map(f64::from_bits).collect()
        } else {
            spare.clear();
            spare.resize(count, 0);
            models.steps(&mut decoder, Predictor::Last, &mut spare);
            spare.iter().map(|steps| scale.value(*steps)).collect()
        };
        block.series.push(Decoded { id, clock, values });
    }
    if decoder.is_at_end() { Ok(block) } else { Err(DecodeError::Damaged) }
}

/// What both ends learn alike. Every method codes one thing: an encoder passes it in, a decoder gets it out.
#[derive(Debug, Default)]
struct Models {
    counts: Numbers,
    ids: Numbers,
    ids_recent: Recent,
    last_id: u32,
    clock: Numbers,
    clock_recent: Recent,
    begins: Numbers,
    begins_recent: Recent,
    last_begin: i64,
    times: Numbers,
    times_predictor: [Bit; 4],
    same_scale: Bit,
    last_scale: Option<Scale>,
    last_grid: f64,
    scales: Tree64,
    same_grid: Bit,
    is_constant: [Bit; 2],
    was_constant: bool,
    firsts: Numbers,
    firsts_recent: Recent,
    predictors: [Bit; 4],
    values: Numbers,
    repeated: [Bit; 2],
    leading: Tree64,
    trailing: Tree64,
}

#[derive(Debug)]
struct Tree64([Bit; 64]);

impl Default for Tree64 {
    fn default() -> Self {
        Self([Bit::default(); 64])
    }
}

impl Models {
    fn count(&mut self, coder: &mut impl Coder, count: usize) -> usize {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        usize::try_from(self.counts.number(coder, &mut Recent::default(), count)).unwrap_or(usize::MAX)
    }

    /// A decoder's count: nothing is allocated before it is known to fit.
    fn limited_count(&mut self, coder: &mut Decoder<'_>, most: usize) -> Result<usize, DecodeError> {
        let count = self.count(coder, 0);
        if count <= most { Ok(count) } else { Err(DecodeError::TooLarge) }
    }

    /// Most ids follow their predecessor.
    fn id(&mut self, coder: &mut impl Coder, id: u32) -> u32 {
        let expected = i64::from(self.last_id) + 1;
        let gap = self.ids.number(coder, &mut self.ids_recent, i64::from(id) - expected);
        self.last_id = u32::try_from(expected.wrapping_add(gap).rem_euclid(1 << 32)).unwrap_or(0);
        self.last_id
    }

    /// Which clock: 1 for that of the series before, 2 for the one used before it, …, 0 for a new one.
    fn clock(&mut self, coder: &mut impl Coder, back: usize) -> usize {
        let back = i64::try_from(back).unwrap_or(0);
        let likely = self.clock.number(coder, &mut self.clock_recent, back - 1);
        usize::try_from(likely.wrapping_add(1)).unwrap_or(usize::MAX)
    }

    fn times(&mut self, coder: &mut impl Coder, times: &mut [i64]) {
        let chosen = predictor(coder, &mut self.times_predictor, best(times));
        let Some((first, rest)) = times.split_first_mut() else { return };
        let since = first.wrapping_sub(self.last_begin);
        *first = self.last_begin.wrapping_add(self.begins.number(coder, &mut self.begins_recent, since));
        self.last_begin = *first;
        self.times.sequence(coder, chosen, *first, rest);
    }

    fn scale(&mut self, coder: &mut impl Coder, scale: Scale) -> Scale {
        let same = self.last_scale.is_some() && coder.bit(&mut self.same_scale, self.last_scale == Some(scale));
        let scale = match self.last_scale {
            Some(last) if same => last,
            _ => self.other_scale(coder, scale),
        };
        self.last_scale = Some(scale);
        scale
    }

    fn other_scale(&mut self, coder: &mut impl Coder, scale: Scale) -> Scale {
        let code = coder.tree(&mut self.scales.0, 6, scale.code());
        if code == Scale::GRID_CODE {
            let grid = if let Scale::Grid(resolution) = scale { resolution } else { 0.0 };
            if !coder.bit(&mut self.same_grid, grid.to_bits() == self.last_grid.to_bits()) {
                self.last_grid = f64::from_bits(coder.even_bits(grid.to_bits(), 64));
            }
        }
        Scale::of_code(code, self.last_grid)
    }

    fn steps(&mut self, coder: &mut impl Coder, chosen: Predictor, steps: &mut [i64]) {
        let is_constant = steps.iter().all(|step| *step == steps[0]);
        let Some((first, rest)) = steps.split_first_mut() else { return };
        *first = self.firsts.number(coder, &mut self.firsts_recent, *first);
        if rest.is_empty() {
            return;
        }
        let is_constant = coder.bit(&mut self.is_constant[usize::from(self.was_constant)], is_constant);
        self.was_constant = is_constant;
        if is_constant {
            rest.fill(*first);
            return;
        }
        let chosen = predictor(coder, &mut self.predictors, chosen);
        self.values.sequence(coder, chosen, *first, rest);
    }

    /// Bits that differ from those of the value before.
    fn bits(&mut self, coder: &mut impl Coder, bits: &mut [u64]) {
        let (mut last, mut was_same) = (0, false);
        for word in bits {
            let changed = *word ^ last;
            was_same = coder.bit(&mut self.repeated[usize::from(was_same)], changed == 0);
            if !was_same {
                let leading = coder.tree(&mut self.leading.0, 6, (changed.leading_zeros() & 63) as usize);
                let trailing = coder.tree(&mut self.trailing.0, 6, (changed.trailing_zeros() & 63) as usize);
                let width = u32::try_from(64_usize.saturating_sub(leading + trailing)).unwrap_or(0);
                last ^= coder.even_bits(changed >> trailing, width) << trailing;
            }
            *word = last;
        }
    }
}

#[cfg(test)]
mod tests;
