//! The kinds of things that a series does.

use alloc::vec::Vec;
use vedette_sdk::state::{Damaged, Reader, Writer};

/// Kinds of one series.
pub(crate) const KINDS_MAX: usize = 64;
/// A kind is established once it began so many steps ago, or in the first half of the series' life.
const ESTABLISHED_STEPS: u32 = 1_000;
/// Visits after which a kind moves no faster towards what is of it.
const VISITS_MAX: u8 = 100;
/// Square root of the number of features: makes the sum of their distances one in units of the series' spread.
const ROOT: f64 = 2.0;

#[derive(Clone, Copy, Debug, PartialEq)]
struct Kind {
    at: [f32; 4],
    born: u32,
    visits: u8,
}

/// Kinds, the one that was seen last in front.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Kinds(Vec<Kind>);

/// What is nearest, in the series' unit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Near {
    at: usize,
    pub(crate) distance: f64,
    /// Distance from the nearest kind that is established, and the value there, relative to the origin.
    pub(crate) established: f64,
    pub(crate) expected: f64,
}

impl Kinds {
    /// The kinds next to `here` at a step; `None` while there are none.
    pub(crate) fn near(&self, here: &[f32; 4], step: u32) -> Option<Near> {
        let old = ESTABLISHED_STEPS.min(step / 2);
        let (mut any, mut established) = ((0, f32::INFINITY), (0, f32::INFINITY));
        for (at, kind) in self.0.iter().enumerate() {
            let distance = kind.distance(here);
            if distance < any.1 {
                any = (at, distance);
            }
            if distance < established.1 && step.saturating_sub(kind.born) >= old {
                established = (at, distance);
            }
        }
        let kind = self.0.get(any.0)?;
        // Of a series whose kinds are all young, the nearest has to do.
        let (known, distance) = match self.0.get(established.0).filter(|_| established.1 < f32::INFINITY) {
            Some(known) => (known, established.1),
            None => (kind, any.1),
        };
        let scaled = |distance: f32| f64::from(distance) / ROOT;
        Some(Near {
            at: any.0,
            distance: scaled(any.1),
            established: scaled(distance),
            expected: f64::from(known.at[0]),
        })
    }

    /// Takes `here` for one of its kind, or for a new one.
    pub(crate) fn learn(&mut self, here: &[f32; 4], near: Option<Near>, spread: f64, step: u32) {
        let Some(near) = near.filter(|near| near.distance < spread) else {
            self.0.truncate(KINDS_MAX - 1);
            // The first kind is what the series was before anybody looked.
            let born = if self.0.is_empty() { 0 } else { step };
            self.0.insert(0, Kind { at: *here, born, visits: 1 });
            return;
        };
        self.0[..=near.at].rotate_right(1);
        let kind = &mut self.0[0];
        kind.visits = kind.visits.saturating_add(1).min(VISITS_MAX);
        let share = 1.0 / f32::from(kind.visits);
        kind.at.iter_mut().zip(here).for_each(|(at, here)| *at += share * (here - *at));
    }

    pub(crate) fn save(&self, out: &mut Writer) {
        out.u8(u8::try_from(self.0.len()).unwrap_or(u8::MAX));
        for kind in &self.0 {
            out.f32s(&kind.at);
            out.u32(kind.born);
            out.u8(kind.visits);
        }
    }

    pub(crate) fn load(input: &mut Reader<'_>) -> Result<Self, Damaged> {
        let count = usize::from(input.u8()?);
        if count > KINDS_MAX {
            return Err(Damaged);
        }
        let mut kinds = Vec::with_capacity(count);
        for _ in 0..count {
            kinds.push(Kind { at: input.f32s()?, born: input.u32()?, visits: input.u8()? });
        }
        Ok(Self(kinds))
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

impl Kind {
    /// Sum of the features' distances.
    #[inline]
    fn distance(&self, here: &[f32; 4]) -> f32 {
        let [a, b, c, d] = [0, 1, 2, 3].map(|at| (self.at[at] - here[at]).abs());
        (a + b) + (c + d)
    }
}
