//! Streaming miner of log templates: a line's constant words with `<*>` at the variable places.
//!
//! Two questions, kept apart. What varies by its *look* (numbers, paths, values of keys) is variable in the very first
//! line, on every host alike: [`tokens`]. What varies only by *evidence* (`user bob`, `user amy`) becomes variable once
//! enough lines differ in that one place and nowhere else. How many are enough depends on what surrounds the place: the
//! more constant words agree, the fewer are needed, so that `cupsd startup succeeded` stays apart from its like and a
//! long sentence with one changing name does not. Words that a preposition or a role announces need less. After the
//! position statistics of Brain (Yu et al., IEEE TSC 2023) and the fixed-length buckets of Drain (He et al., ICWS 2017),
//! but with evidence in place of thresholds per source: one configuration serves all.
//!
//! When a place becomes variable, the templates that differed there become one. The oldest of them keeps its id; the
//! others' are its aliases from then on, and [`Outcome::absorbed`] says so, so that no count is lost. Memory is bounded:
//! the template that was seen longest ago makes room. A line whose skeleton is known allocates nothing.

mod look;
mod text;
mod tokens;
mod words;

use crate::room;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use vedette_protocol::ids::TemplateId;

use tokens::{Kind, Token, Word};
pub use tokens::{TOKENS_MAX, WILDCARD};

/// Distinct words, times constant words around them, from which a place is variable.
const WORD_EVIDENCE: usize = 30;
/// Places that may become variable at once; more than one only where arguments stand.
const PLACES_MAX: usize = 3;
/// The same where an argument stands, or where some line had a value that is variable by its look.
const ARGUMENT_EVIDENCE: usize = 8;
/// Exact skeletons that are remembered per template of the limit, so that a usual line costs one look-up.
const LEAVES_PER_TEMPLATE: usize = 4;
/// Bytes of a template's exemplar.
pub(crate) const EXEMPLAR_BYTES_MAX: usize = 512;

/// One template of one log source.
#[derive(Debug)]
pub struct Mined {
    /// Id: of the skeleton as first seen, whatever it generalised to since.
    pub id: TemplateId,
    /// Log source, by its number.
    pub source: u32,
    /// Skeleton, as general as it has become; at most about a kibibyte.
    pub text: String,
    /// The first line or event, masked, at most 512 bytes.
    pub exemplar: String,
    /// Which template of this miner it is, counted from 0: never used again, unlike its slot.
    pub ordinal: u64,
    words: Vec<Word>,
    seen_at: u64,
    shape: u64,
}

/// What became of a line.
#[derive(Debug)]
pub struct Outcome {
    /// Slot of the line's template.
    pub slot: u32,
    /// Whether the template is new or was altered.
    pub novelty: Novelty,
    /// The template that had to make room; its slot is now the new one's.
    pub evicted: Option<Mined>,
    /// Templates that are this one from now on, with the slots that they leave empty.
    pub absorbed: Vec<(u32, Mined)>,
}

/// Whether a template is new or was altered by a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Novelty {
    /// As it was.
    Known,
    /// Its text became more general; its id stays.
    Generalised,
    /// First line of it.
    New,
}

/// The templates of all log sources of a host.
#[derive(Debug)]
pub struct Miner {
    slots: Vec<Option<Mined>>,
    free: Vec<u32>,
    /// Slots of templates that have as many tokens and the same punctuation.
    by_shape: Map<Vec<u32>>,
    /// Slot and ordinal by exact skeleton; of no meaning once another template is in the slot.
    leaves: Map<(u32, u64)>,
    templates_max: usize,
    lines: u64,
    mined: u64,
    tokens: Vec<Token>,
    words: Vec<Word>,
    siblings: Vec<Sibling>,
    text: String,
}

type Map<T> = HashMap<u64, T, BuildHasherDefault<Hashed>>;

/// A template that differs from the line in few places.
#[derive(Clone, Copy, Debug)]
struct Sibling {
    places: Places,
    slot: u32,
}

/// Places of a line, in order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Places {
    count: usize,
    at: [usize; PLACES_MAX],
}

impl Places {
    fn as_slice(&self) -> &[usize] {
        &self.at[..self.count]
    }
}

/// How a line and a template differ.
enum Difference {
    /// In nothing but so many places that are variable by evidence.
    None(usize),
    Places(Places),
    Much,
}

impl Miner {
    /// A miner of at most `templates_max` templates, at least one.
    pub fn new(templates_max: usize) -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            by_shape: Map::default(),
            leaves: Map::default(),
            templates_max: templates_max.max(1),
            lines: 0,
            mined: 0,
            tokens: Vec::new(),
            words: Vec::new(),
            siblings: Vec::new(),
            text: String::new(),
        }
    }

    /// Bytes of the heap that a miner of `templates_max` templates takes at most.
    pub(crate) fn bytes_max(templates_max: usize) -> usize {
        let words = TOKENS_MAX * size_of::<Word>() + room::BLOCK;
        let bucket = room::list::<u32>(0);
        room::list::<Option<Mined>>(templates_max)
            + 2 * room::list::<u32>(templates_max)
            + room::list::<Sibling>(templates_max)
            + templates_max * (Self::texts_bytes_max() + words + bucket)
            + room::map::<u64, Vec<u32>>(templates_max)
            + room::map::<u64, (u32, u64)>(templates_max.saturating_mul(LEAVES_PER_TEMPLATE))
    }

    /// Bytes of a template's two texts.
    pub(crate) fn texts_bytes_max() -> usize {
        room::text(text::TEXT_BYTES_MAX) + room::text(EXEMPLAR_BYTES_MAX)
    }

    /// Takes one masked line of a source. Allocates nothing if its very skeleton was seen before.
    pub fn accept(&mut self, source: u32, line: &str) -> Outcome {
        self.accept_event(source, line, line)
    }

    /// Takes the line that an event is known by; `exemplar` is what people see of the first event of its kind.
    pub fn accept_event(&mut self, source: u32, line: &str, exemplar: &str) -> Outcome {
        self.lines += 1;
        tokens::read(line, &mut self.tokens);
        let leaf = self.tokens.iter().fold(seed(source), |hash, token| words::mix(hash, token.word.hash));
        if let Some(&(slot, ordinal)) = self.leaves.get(&leaf)
            && let Some(mined) = &mut self.slots[slot as usize]
            && mined.ordinal == ordinal
        {
            mined.seen_at = self.lines;
            return Outcome { slot, novelty: Novelty::Known, evicted: None, absorbed: Vec::new() };
        }
        self.words.clear();
        self.words.extend(self.tokens.iter().map(|token| token.word));
        let shape = self.shape(source);
        let outcome = match self.compare(shape) {
            Some(Match::Same(slot)) => self.join(slot),
            Some(Match::Places(places)) => self.generalise(places, shape, line),
            None => self.open(source, shape, line, exemplar),
        };
        if self.leaves.len() >= self.templates_max.saturating_mul(LEAVES_PER_TEMPLATE) {
            self.leaves.clear();
        }
        if let Some(ordinal) = self.get(outcome.slot).map(|mined| mined.ordinal) {
            self.leaves.insert(leaf, (outcome.slot, ordinal));
        }
        outcome
    }

    /// The template in a slot.
    pub fn get(&self, slot: u32) -> Option<&Mined> {
        self.slots.get(slot as usize)?.as_ref()
    }

    /// Templates with their slots, in slot order.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &Mined)> {
        (0u32..).zip(&self.slots).filter_map(|(slot, mined)| Some((slot, mined.as_ref()?)))
    }

    /// Number of templates.
    pub fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of tokens and punctuation: what templates that can become one have in common.
    fn shape(&self, source: u32) -> u64 {
        self.words.iter().fold(seed(source), |hash, word| {
            words::mix(hash, if word.kind == Kind::Punctuation { word.hash } else { 0 })
        })
    }

    /// What the line in `words` belongs to: a template, or those that differ in the same places and nowhere else.
    fn compare(&mut self, shape: u64) -> Option<Match> {
        self.siblings.clear();
        let mut same: Option<(usize, u32)> = None;
        for &slot in self.by_shape.get(&shape)? {
            let Some(mined) = &self.slots[slot as usize] else { continue };
            match difference(&mined.words, &self.words) {
                Difference::None(generals) if same.is_none_or(|best| (generals, slot) < best) => {
                    same = Some((generals, slot))
                }
                Difference::Places(places) => self.siblings.push(Sibling { places, slot }),
                _ => {}
            }
        }
        if let Some((_, slot)) = same {
            return Some(Match::Same(slot));
        }
        self.siblings.sort_unstable_by_key(|sibling| (sibling.places, sibling.slot));
        let groups = self.siblings.chunk_by(|a, b| a.places == b.places);
        let enough = groups.filter(|group| self.evident(group));
        // As few places as possible, with as many witnesses as possible; of two, the first.
        enough
            .min_by_key(|group| (group[0].places.count, usize::MAX - group.len()))
            .map(|group| Match::Places(group[0].places))
    }

    /// Whether so many templates that differ from the line in these places alone make the places variable.
    fn evident(&self, group: &[Sibling]) -> bool {
        let places = group[0].places.as_slice();
        let Some(first) = self.get(group[0].slot) else { return false };
        let around = self.words.iter().zip(&first.words).enumerate();
        let kept =
            |(at, (line, kept)): &(usize, (&Word, &Word))| !places.contains(at) && line.constant() && kept.constant();
        let constant = around.filter(kept).count();
        let needed = places.iter().map(|place| self.evidence_needed(group, *place)).sum::<Option<usize>>();
        // No word of what happens is among places that never varied alone; those that only look like names, as in
        // `a.b is deprecated, use c.d`, need more evidence together than `from here to there`.
        let allowed = places.len() == 1 || needed == Some(ARGUMENT_EVIDENCE * places.len());
        let looks = places.iter().any(|place| self.words[*place].kind == Kind::Name);
        let times = if looks { places.len() } else { 1 };
        let needed = needed.filter(|_| allowed && constant > 0).map(|needed| (needed * times).div_ceil(constant));
        needed.is_some_and(|needed| group.len() + 1 >= needed.max(2))
    }

    /// `None` if the place must never be variable.
    fn evidence_needed(&self, group: &[Sibling], place: usize) -> Option<usize> {
        let templates = group.iter().filter_map(|sibling| self.get(sibling.slot));
        let (mut arguments, mut values) = (0, 0);
        for kind in templates.map(|mined| mined.words[place].kind).chain([self.words[place].kind]) {
            match kind {
                Kind::Severity => return None,
                Kind::Argument | Kind::Name => arguments += 1,
                Kind::Variable => values += 1,
                _ => {}
            }
        }
        let is_argument = arguments * 2 > group.len() || values > 0;
        Some(if is_argument { ARGUMENT_EVIDENCE } else { WORD_EVIDENCE })
    }

    fn join(&mut self, slot: u32) -> Outcome {
        if let Some(mined) = &mut self.slots[slot as usize] {
            mined.seen_at = self.lines;
        }
        Outcome { slot, novelty: Novelty::Known, evicted: None, absorbed: Vec::new() }
    }

    /// Makes one template of the line and all that differ from it in these places at most.
    fn generalise(&mut self, places: Places, shape: u64, line: &str) -> Outcome {
        places.as_slice().iter().for_each(|place| self.words[*place] = Word::GENERAL);
        for sibling in self.siblings.iter().filter(|sibling| sibling.places == places) {
            let Some(mined) = &self.slots[sibling.slot as usize] else { continue };
            for (word, kept) in self.words.iter_mut().zip(&mined.words) {
                if kept.kind == Kind::General {
                    *word = Word::GENERAL;
                }
            }
        }
        let bucket = self.by_shape.get(&shape).map(Vec::as_slice).unwrap_or_default();
        let covered = |slot: &u32| self.get(*slot).is_some_and(|mined| covers(&self.words, &mined.words));
        let mut joined: Vec<u32> = bucket.iter().copied().filter(covered).collect();
        joined.sort_unstable_by_key(|slot| self.get(*slot).map(|mined| mined.ordinal));
        let survivor = joined.first().copied().expect("at least one sibling is covered");
        let absorbed: Vec<(u32, Mined)> =
            joined[1..].iter().filter_map(|slot| Some((*slot, self.slots[*slot as usize].take()?))).collect();
        self.free.extend_from_slice(&joined[1..]);
        if let Some(bucket) = self.by_shape.get_mut(&shape) {
            bucket.retain(|slot| !joined[1..].contains(slot));
        }
        text::readable(line, &self.tokens, &self.words, &mut self.text);
        if let Some(mined) = &mut self.slots[survivor as usize] {
            mined.seen_at = self.lines;
            // What they were may have had more room than it needs.
            (mined.text, mined.words) = (self.text.clone(), self.words.clone());
        }
        Outcome { slot: survivor, novelty: Novelty::Generalised, evicted: None, absorbed }
    }

    fn open(&mut self, source: u32, shape: u64, line: &str, exemplar: &str) -> Outcome {
        text::skeleton(line, &self.tokens, &mut self.text);
        let id = TemplateId::of(&self.text);
        text::readable(line, &self.tokens, &self.words, &mut self.text);
        let mined = Mined {
            id,
            source,
            text: self.text.clone(),
            exemplar: crate::mask::cut(exemplar, EXEMPLAR_BYTES_MAX).to_owned(),
            ordinal: self.mined,
            words: self.words.clone(),
            seen_at: self.lines,
            shape,
        };
        self.mined += 1;
        let evicted = if self.len() < self.templates_max { None } else { self.evict_oldest() };
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            u32::try_from(self.slots.len() - 1).expect("templates are limited well below 2^32")
        });
        self.slots[slot as usize] = Some(mined);
        self.by_shape.entry(shape).or_default().push(slot);
        Outcome { slot, novelty: Novelty::New, evicted, absorbed: Vec::new() }
    }

    /// Makes room; the slot is the next to be used.
    fn evict_oldest(&mut self) -> Option<Mined> {
        let (slot, shape) =
            self.iter().min_by_key(|(_, mined)| mined.seen_at).map(|(slot, mined)| (slot, mined.shape))?;
        if let Some(slots) = self.by_shape.get_mut(&shape) {
            slots.retain(|other| *other != slot);
            if slots.is_empty() {
                self.by_shape.remove(&shape);
            }
        }
        self.free.push(slot);
        self.slots[slot as usize].take()
    }
}

enum Match {
    Same(u32),
    Places(Places),
}

const fn seed(source: u32) -> u64 {
    words::mix(words::MULTIPLIER, source as u64 + 1)
}

/// Both of one shape.
fn difference(template: &[Word], line: &[Word]) -> Difference {
    if template.len() != line.len() {
        return Difference::Much;
    }
    let (mut generals, mut places) = (0, Places::default());
    for (at, (kept, seen)) in template.iter().zip(line).enumerate() {
        if kept.kind == Kind::General {
            generals += 1;
        } else if kept.hash != seen.hash {
            // Several places vary together only where arguments stand, so that a flood of odd lines stays cheap.
            let together = places.as_slice().iter().all(|place| may_vary(line[*place].kind)) && may_vary(seen.kind);
            if places.count == PLACES_MAX || (places.count > 0 && !together) {
                return Difference::Much;
            }
            places.at[places.count] = at;
            places.count += 1;
        }
    }
    if places.count == 0 { Difference::None(generals) } else { Difference::Places(places) }
}

fn may_vary(kind: Kind) -> bool {
    matches!(kind, Kind::Argument | Kind::Name | Kind::Variable)
}

/// Whether every line of `template` is one of `general`; both of one shape.
fn covers(general: &[Word], template: &[Word]) -> bool {
    let equal = |(one, other): (&Word, &Word)| one.kind == Kind::General || one.hash == other.hash;
    general.len() == template.len() && general.iter().zip(template).all(equal)
}

/// Hasher for keys that are hashes already.
#[derive(Debug, Default)]
struct Hashed(u64);

impl Hasher for Hashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = words::mix(self.0, words::hash(bytes));
    }

    fn write_u64(&mut self, key: u64) {
        self.0 = key;
    }
}

#[cfg(test)]
mod tests;
