//! Series by name: found without allocation, limited in number, forgotten when they end.
//!
//! A slot is a small number that is used again after a series ended; detectors know series by it. A
//! [`SeriesIndex`] is never given twice; the collector knows series by that.

use crate::features::Window;
use crate::mask::{self, Masks};
use crate::metric::MetricSpec;
use crate::normalise::{Normaliser, Sample};
use crate::planner::Attention;
use crate::room;
use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{BuildHasherDefault, DefaultHasher, Hash, Hasher};
use vedette_protocol::ids::{SeriesIndex, SeriesKey};
use vedette_protocol::series::SeriesMeta;
use vedette_protocol::time::MonoTime;

/// A series that was not read for this long and for [`VANISHED_INTERVALS`] has ended.
const VANISHED_MS_MIN: u32 = 120_000;
const VANISHED_INTERVALS: u32 = 10;
/// An ended series' slot is used again only after this many others, so that late answers about it find nobody.
const SLOT_QUARANTINE: usize = 16;
/// Distinct folded series are counted exactly up to this.
const FOLDED_DISTINCT_MAX: usize = 4_096;
/// Attributes of a series; the rest are left out and the series is counted as cut.
pub const ATTRIBUTES_MAX: usize = 16;
/// Bytes of an attribute's name, and of its value; the rest is cut off.
pub const ATTRIBUTE_BYTES_MAX: usize = 256;
/// Bytes of all names and values of a series; what is beyond is cut off.
pub const LABELS_BYTES_MAX: usize = 1_024;
/// The same on average over as many series as there may be, with [`ATTRIBUTE_COST_BYTES`] for each attribute: who has more
/// takes the room of others, and a series that finds none is folded.
const LABELS_BYTES_MEAN: usize = 512;
/// What an attribute takes beside its text: two strings, two blocks.
const ATTRIBUTE_COST_BYTES: usize = size_of::<(String, String)>() + 2 * room::BLOCK;
/// A metric's name and unit, each in a block. They are written in sources, not read.
const NAMES_BYTES: usize = 160;

/// One series.
#[derive(Debug)]
pub struct Series {
    /// Index within the queue epoch.
    pub index: SeriesIndex,
    /// Stable key.
    pub key: SeriesKey,
    /// Meaning, masked.
    pub meta: SeriesMeta,
    /// What its source reports.
    pub spec: &'static MetricSpec,
    /// Source that reads it.
    pub source: &'static str,
    /// Usual interval, from which the detectors learn.
    pub pace_ms: u32,
    /// The value of this tick, until the tick ends.
    pub due: Option<Sample>,
    /// The window being filled.
    pub window: Window,
    /// Ordinal of the raw shipping buffer, when a directive asks for this series.
    pub(crate) raw: Option<u32>,
    /// Interval at which it was read last.
    pub(crate) read_interval_ms: u32,
    pub(crate) normaliser: Normaliser,
    /// What the planner knows of it.
    pub(crate) attention: Attention,
    read_at: MonoTime,
    fingerprint: u128,
}

/// All series of a host.
#[derive(Debug)]
pub struct Registry {
    masks: Masks,
    slots: Vec<Option<Series>>,
    free: VecDeque<u32>,
    by_fingerprint: HashMap<u128, u32, BuildHasherDefault<FirstWord>>,
    per_metric: HashMap<&'static str, usize>,
    next_index: u32,
    series_max: usize,
    folded: HashSet<u128, BuildHasherDefault<FirstWord>>,
    folded_readings: u64,
    label_bytes: usize,
    labels_cut: u64,
}

/// Outcome of a look-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// A series that was there.
    Known(u32),
    /// A series that appeared with this reading.
    New(u32),
    /// Over the limit: the reading is counted and dropped.
    Folded,
}

impl Registry {
    /// An empty registry for at most `series_max` series, of which one metric may have half.
    pub fn new(series_max: usize) -> Self {
        Self {
            masks: Masks::default(),
            slots: Vec::new(),
            free: VecDeque::new(),
            by_fingerprint: HashMap::default(),
            per_metric: HashMap::new(),
            next_index: 0,
            series_max,
            folded: HashSet::default(),
            folded_readings: 0,
            label_bytes: 0,
            labels_cut: 0,
        }
    }

    /// Slots that so many series are ever in.
    pub(crate) fn slots_max(series_max: usize) -> usize {
        series_max + SLOT_QUARANTINE + 1
    }

    /// Bytes of the heap that a registry of `series_max` series takes at most.
    pub fn bytes_max(series_max: usize) -> usize {
        let slots = Self::slots_max(series_max);
        let (slot, name) = (room::list::<Option<Series>>(slots), room::map::<&str, usize>(series_max.min(1_024)));
        let found = room::map::<u128, u32>(series_max) + room::map::<u128, ()>(FOLDED_DISTINCT_MAX);
        slot + name + found + room::list::<u32>(slots) + Self::names_bytes_max(series_max)
    }

    /// Bytes that the meanings of `series_max` series have beside their own size, wherever they are kept.
    pub fn names_bytes_max(series_max: usize) -> usize {
        series_max * (LABELS_BYTES_MEAN + NAMES_BYTES)
    }

    /// The same of one series.
    pub const fn name_bytes_max() -> usize {
        LABELS_BYTES_MAX + ATTRIBUTES_MAX * ATTRIBUTE_COST_BYTES + NAMES_BYTES
    }

    /// Masks more than what always is. Ask for it before the first reading.
    pub fn set_masks(&mut self, masks: Masks) {
        self.masks = masks;
    }

    /// Finds the series of a reading or makes it. Attributes may come in any order. Allocates only for a new series.
    pub fn find(
        &mut self,
        now: MonoTime,
        source: &'static str,
        interval_ms: u32,
        spec: &'static MetricSpec,
        attributes: &[(&str, &str)],
    ) -> Found {
        let fingerprint = fingerprint(spec.name, attributes);
        if let Some(&slot) = self.by_fingerprint.get(&fingerprint) {
            if let Some(series) = self.get_mut(slot) {
                series.read_at = now;
            }
            return Found::Known(slot);
        }
        let of_metric = self.per_metric.get(spec.name).copied().unwrap_or(0);
        if self.len() >= self.series_max || of_metric >= self.series_max.div_ceil(2) {
            self.fold(fingerprint);
            return Found::Folded;
        }
        let (labels, whole) = masked(&self.masks, attributes);
        let meta = spec.series_meta(labels, interval_ms);
        let label_bytes = label_bytes(&meta);
        if self.label_bytes + label_bytes > self.series_max * LABELS_BYTES_MEAN {
            self.fold(fingerprint);
            return Found::Folded;
        }
        self.label_bytes += label_bytes;
        self.labels_cut += u64::from(!whole);
        let series = Series {
            index: SeriesIndex(self.next_index),
            key: meta.key(),
            meta,
            spec,
            source,
            pace_ms: interval_ms,
            due: None,
            window: Window::default(),
            raw: None,
            read_interval_ms: interval_ms,
            normaliser: Normaliser::default(),
            attention: Attention::default(),
            read_at: now,
            fingerprint,
        };
        Found::New(self.insert(series))
    }

    /// Another limit from now on. Series beyond it stay until they end.
    pub fn set_series_max(&mut self, series_max: usize) {
        self.series_max = series_max;
    }

    fn insert(&mut self, series: Series) -> u32 {
        self.next_index = self.next_index.checked_add(1).expect("fewer than 2^32 series in one queue epoch");
        *self.per_metric.entry(series.spec.name).or_default() += 1;
        let fingerprint = series.fingerprint;
        let slot = match self.free.front() {
            Some(&slot) if self.free.len() > SLOT_QUARANTINE => {
                self.free.pop_front();
                self.slots[slot as usize] = Some(series);
                slot
            }
            _ => {
                self.slots.push(Some(series));
                u32::try_from(self.slots.len() - 1).expect("slots are limited by series_max and the quarantine")
            }
        };
        self.by_fingerprint.insert(fingerprint, slot);
        slot
    }

    fn fold(&mut self, fingerprint: u128) {
        self.folded_readings += 1;
        if self.folded.len() < FOLDED_DISTINCT_MAX {
            self.folded.insert(fingerprint);
        }
    }

    /// The next series that has not been read for so long that it has ended, out of the registry.
    pub fn pop_vanished(&mut self, now: MonoTime) -> Option<(u32, Series)> {
        let slot = self.slots.iter().position(|slot| slot.as_ref().is_some_and(|series| series.vanished(now)))?;
        let series = self.slots[slot].take()?;
        let slot = u32::try_from(slot).expect("slots are numbered by u32");
        self.by_fingerprint.remove(&series.fingerprint);
        self.label_bytes -= label_bytes(&series.meta);
        if let Some(count) = self.per_metric.get_mut(series.spec.name) {
            *count -= 1;
        }
        self.free.push_back(slot);
        Some((slot, series))
    }

    /// The series in a slot.
    pub fn get(&self, slot: u32) -> Option<&Series> {
        self.slots.get(slot as usize)?.as_ref()
    }

    /// The series in a slot.
    pub fn get_mut(&mut self, slot: u32) -> Option<&mut Series> {
        self.slots.get_mut(slot as usize)?.as_mut()
    }

    /// All series with their slots, in slot order.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &Series)> {
        (0u32..).zip(&self.slots).filter_map(|(slot, series)| Some((slot, series.as_ref()?)))
    }

    /// All series with their slots, in slot order.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (u32, &mut Series)> {
        (0u32..).zip(&mut self.slots).filter_map(|(slot, series)| Some((slot, series.as_mut()?)))
    }

    /// Slots that were ever used: those of all series are below.
    pub(crate) fn slots(&self) -> u32 {
        u32::try_from(self.slots.len()).unwrap_or(u32::MAX)
    }

    /// Indices below `next` were given before, and are not given again.
    pub(crate) fn skip_indices(&mut self, next: u32) {
        self.next_index = self.next_index.max(next);
    }

    /// The index that the next new series will get.
    pub(crate) fn next_index(&self) -> u32 {
        self.next_index
    }

    /// Number of series.
    pub fn len(&self) -> usize {
        self.by_fingerprint.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.by_fingerprint.is_empty()
    }

    /// Distinct series that found no room (exact up to 4,096) and the readings that were dropped with them.
    pub fn folded(&self) -> (u64, u64) {
        (self.folded.len() as u64, self.folded_readings)
    }

    /// Series of whose attributes a part was left out, because they were too many or too long.
    pub fn labels_cut(&self) -> u64 {
        self.labels_cut
    }
}

impl Series {
    /// Whether two series tell of one thing: one source reads both, and they have an attribute in common or none at all,
    /// or are of one metric.
    pub(crate) fn is_related(&self, other: &Self) -> bool {
        let (mine, others) = (&self.meta.attributes, &other.meta.attributes);
        let alike = || if mine.is_empty() { others.is_empty() } else { mine.iter().any(|one| others.contains(one)) };
        self.source == other.source && (std::ptr::eq(self.spec, other.spec) || alike())
    }

    fn vanished(&self, now: MonoTime) -> bool {
        let interval_ms = self.pace_ms.max(self.read_interval_ms);
        let patience_ms = VANISHED_MS_MIN.max(interval_ms.saturating_mul(VANISHED_INTERVALS));
        now.since(self.read_at).as_millis() > u128::from(patience_ms)
    }
}

/// Attributes as they may be stored: masked, and cut at the limits; whether all of them is there.
fn masked(masks: &Masks, attributes: &[(&str, &str)]) -> (Vec<(String, String)>, bool) {
    let mut kept = Vec::with_capacity(attributes.len().min(ATTRIBUTES_MAX));
    let (mut left, mut whole) = (LABELS_BYTES_MAX, true);
    for (name, value) in attributes {
        // No secret is cut in two before it is known as one.
        let looked_at = mask::cut(value, 2 * ATTRIBUTE_BYTES_MAX);
        let masked = masks.masked(looked_at);
        let fitting = mask::cut(&masked, ATTRIBUTE_BYTES_MAX.min(left.saturating_sub(name.len())));
        if kept.len() == ATTRIBUTES_MAX || name.len() > ATTRIBUTE_BYTES_MAX.min(left) {
            whole = false;
            continue;
        }
        whole &= looked_at.len() == value.len() && fitting.len() == masked.len();
        left -= name.len() + fitting.len();
        kept.push(((*name).to_owned(), fitting.to_owned()));
    }
    (kept, whole)
}

fn label_bytes(meta: &SeriesMeta) -> usize {
    meta.attributes.iter().map(|(name, value)| name.len() + value.len() + ATTRIBUTE_COST_BYTES).sum()
}

/// 128 bits over name and attributes, whatever their order: raw attribute values are compared but never kept.
fn fingerprint(metric: &str, attributes: &[(&str, &str)]) -> u128 {
    let mut sum = word(0, metric, "");
    let mut mix = word(1, metric, "");
    for (name, value) in attributes {
        sum = sum.wrapping_add(word(2, name, value));
        mix = mix.wrapping_add(word(3, name, value));
    }
    (u128::from(mix) << 64) | u128::from(sum)
}

fn word(lane: u8, name: &str, value: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    lane.hash(&mut hasher);
    name.hash(&mut hasher);
    value.hash(&mut hasher);
    hasher.finish()
}

/// Hashes a fingerprint, which is a hash already, by its first word.
#[derive(Clone, Copy, Debug, Default)]
struct FirstWord(u64);

impl Hasher for FirstWord {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for (place, byte) in bytes.iter().enumerate().take(8) {
            self.0 ^= u64::from(*byte) << (8 * place);
        }
    }

    fn write_u128(&mut self, fingerprint: u128) {
        self.0 = (fingerprint & u128::from(u64::MAX)).try_into().unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metric::tests::{COUNTER, GAUGE};
    use proptest::prelude::*;

    fn find(registry: &mut Registry, ms: u64, spec: &'static MetricSpec, attributes: &[(&str, &str)]) -> Found {
        registry.find(MonoTime::from_ms(ms), "test", 1_000, spec, attributes)
    }

    #[test]
    fn attributes_in_any_order_are_one_series() {
        let mut registry = Registry::new(10);
        let Found::New(slot) = find(&mut registry, 0, &COUNTER, &[("cpu", "0"), ("state", "user")]) else { panic!() };
        assert_eq!(find(&mut registry, 1, &COUNTER, &[("state", "user"), ("cpu", "0")]), Found::Known(slot));
        assert_ne!(find(&mut registry, 1, &COUNTER, &[("state", "0"), ("cpu", "user")]), Found::Known(slot));
    }

    #[test]
    fn vanished_series_leaves_and_comes_back_under_its_key_with_a_new_index() {
        let mut registry = Registry::new(10);
        let Found::New(slot) = find(&mut registry, 0, &GAUGE, &[("disk", "sda")]) else { panic!() };
        assert!(registry.pop_vanished(MonoTime::from_ms(100_000)).is_none());
        let (gone, series) = registry.pop_vanished(MonoTime::from_ms(130_000)).unwrap();
        assert_eq!((gone, registry.len()), (slot, 0));
        let Found::New(again) = find(&mut registry, 140_000, &GAUGE, &[("disk", "sda")]) else { panic!() };
        let back = registry.get(again).unwrap();
        assert_eq!(back.key, series.key);
        assert_ne!(back.index, series.index);
    }

    #[test]
    fn one_metric_takes_at_most_half_of_the_room() {
        let mut registry = Registry::new(10);
        for disk in 0..20 {
            find(&mut registry, 0, &GAUGE, &[("disk", disk.to_string().as_str())]);
        }
        assert_eq!(registry.len(), 5);
        assert!(matches!(find(&mut registry, 0, &COUNTER, &[]), Found::New(_)));
        assert_eq!(registry.folded(), (15, 15));
    }

    #[test]
    fn a_series_keeps_what_fits_of_its_labels_and_is_counted() {
        let mut registry = Registry::new(100);
        let (long, huge) = ("v".repeat(ATTRIBUTE_BYTES_MAX + 1), "w".repeat(40 << 10));
        let names: Vec<String> = (0..2 * ATTRIBUTES_MAX).map(|n| format!("n{n:02}")).collect();
        let many: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "short")).collect();
        let five: Vec<(&str, &str)> = names.iter().take(5).map(|name| (name.as_str(), huge.as_str())).collect();
        for (count, attributes) in [(0, vec![("n", "short")]), (1, vec![("n", &*long)]), (2, many), (3, five)] {
            let Found::New(slot) = find(&mut registry, 0, &GAUGE, &attributes) else { panic!("{attributes:?}") };
            let kept = &registry.get(slot).unwrap().meta.attributes;
            assert!(kept.len() <= ATTRIBUTES_MAX && kept.iter().all(|(_, value)| value.len() <= ATTRIBUTE_BYTES_MAX));
            let bytes: usize = kept.iter().map(|(name, value)| name.len() + value.len()).sum();
            assert!(bytes <= LABELS_BYTES_MAX, "{bytes}");
            assert_eq!(registry.labels_cut(), count);
        }
    }

    #[test]
    fn series_with_long_labels_take_the_room_of_others_and_give_it_back() {
        let mut registry = Registry::new(10);
        let find_long = |registry: &mut Registry, ms, n: u8| {
            let (a, b) = (format!("{n}{}", "a".repeat(250)), "b".repeat(250));
            find(registry, ms, if n.is_multiple_of(2) { &GAUGE } else { &COUNTER }, &[("a", &*a), ("b", &*b)])
        };
        let found: Vec<_> = (0..10).map(|n| find_long(&mut registry, 0, n)).collect();
        assert!(found[..7].iter().all(|one| matches!(one, Found::New(_))), "{found:?}");
        assert_eq!(found[7..], [Found::Folded; 3]);
        while registry.pop_vanished(MonoTime::from_ms(500_000)).is_some() {}
        assert!(matches!(find_long(&mut registry, 500_000, 9), Found::New(_)));
    }

    #[test]
    fn secret_in_an_attribute_is_masked_but_tells_series_apart() {
        let mut registry = Registry::new(10);
        let Found::New(one) = find(&mut registry, 0, &GAUGE, &[("args", "--password=hunter2")]) else { panic!() };
        assert!(matches!(find(&mut registry, 0, &GAUGE, &[("args", "--password=hunter3")]), Found::New(_)));
        assert_eq!(registry.get(one).unwrap().meta.attributes[0].1, "--password=<secret>");
    }

    proptest! {
        #[test]
        fn limit_holds_and_every_reading_is_known_new_or_folded(names in proptest::collection::vec(0u8..60, 1..300)) {
            let mut registry = Registry::new(20);
            let mut distinct = HashSet::new();
            let mut folded = 0;
            for (ms, name) in (0u64..).zip(&names) {
                distinct.insert(*name);
                let spec = if name % 2 == 0 { &GAUGE } else { &COUNTER };
                match find(&mut registry, ms, spec, &[("n", name.to_string().as_str())]) {
                    Found::Folded => folded += 1,
                    Found::Known(slot) | Found::New(slot) => prop_assert_eq!(registry.get(slot).unwrap().spec.name, spec.name),
                }
                prop_assert!(registry.len() <= 20);
            }
            prop_assert_eq!(registry.folded().1, folded);
            prop_assert_eq!(registry.len() as u64 + registry.folded().0, distinct.len() as u64);
        }
    }
}
