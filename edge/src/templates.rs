//! Streaming miner of log templates: a line's constant words with `<*>` at the variable places.
//!
//! After Drain (He et al., ICWS 2017): lines are grouped by length and first word and joined by the share of equal
//! words. One configuration serves every source: words with digits are variable from the start, lines of different
//! severity never join, and a template keeps at least two constant words. Memory is bounded: the template that was
//! seen longest ago makes room.

mod skeleton;

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use vedette_protocol::ids::TemplateId;

use skeleton::{Skeleton, Word};
pub use skeleton::{WILDCARD, WORDS_MAX};

/// Share of equal constant words from which two lines have one template.
const SIMILARITY_MIN: f64 = 0.6;
/// A template of fewer constant words than this says too little to be joined to.
const CONSTANT_WORDS_MIN: usize = 2;
/// Exact skeletons that are remembered per template of the limit, so that a usual line costs one look-up.
const ALIASES_PER_TEMPLATE: usize = 4;
const EXEMPLAR_BYTES_MAX: usize = 512;

/// One template of one log source.
#[derive(Debug)]
pub struct Mined {
    /// Id: of the skeleton as first seen, whatever it generalised to since.
    pub id: TemplateId,
    /// Log source, by its number.
    pub source: u32,
    /// Skeleton, as general as it has become.
    pub text: String,
    /// The first line, masked, at most 512 bytes.
    pub exemplar: String,
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
    slots: Vec<Mined>,
    by_shape: HashMap<u64, Vec<u32>>,
    aliases: HashMap<u64, u32>,
    templates_max: usize,
    lines: u64,
    skeleton: Skeleton,
}

impl Miner {
    /// A miner of at most `templates_max` templates, at least one.
    pub fn new(templates_max: usize) -> Self {
        Self {
            slots: Vec::new(),
            by_shape: HashMap::new(),
            aliases: HashMap::new(),
            templates_max: templates_max.max(1),
            lines: 0,
            skeleton: Skeleton::default(),
        }
    }

    /// Takes one masked line of a source. Allocates nothing if its very skeleton was seen before.
    pub fn accept(&mut self, source: u32, line: &str) -> Outcome {
        self.lines += 1;
        self.skeleton.build(line);
        let alias = hash((source, &self.skeleton.text));
        if let Some(&slot) = self.aliases.get(&alias) {
            self.slots[slot as usize].seen_at = self.lines;
            return Outcome { slot, novelty: Novelty::Known, evicted: None };
        }
        let shape = hash((source, self.skeleton.words.len(), self.skeleton.words.first().map(|word| word.hash)));
        let outcome = match self.most_similar(shape) {
            Some(slot) => self.join(slot),
            None => self.open(source, shape, line),
        };
        if self.aliases.len() >= self.templates_max.saturating_mul(ALIASES_PER_TEMPLATE) {
            self.aliases.clear();
        }
        self.aliases.insert(alias, outcome.slot);
        outcome
    }

    /// The template in a slot.
    pub fn get(&self, slot: u32) -> Option<&Mined> {
        self.slots.get(slot as usize)
    }

    /// Templates in slot order.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &Mined)> {
        (0u32..).zip(&self.slots)
    }

    /// Number of templates.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    fn most_similar(&self, shape: u64) -> Option<u32> {
        let candidates = self.by_shape.get(&shape)?;
        let scored = candidates.iter().filter_map(|slot| {
            let similarity = similarity(&self.slots[*slot as usize].words, &self.skeleton.words)?;
            Some((similarity, *slot))
        });
        let best = scored.max_by(|a, b| a.0.total_cmp(&b.0).then(b.1.cmp(&a.1)))?;
        (best.0 >= SIMILARITY_MIN).then_some(best.1)
    }

    fn join(&mut self, slot: u32) -> Outcome {
        let template = &mut self.slots[slot as usize];
        template.seen_at = self.lines;
        let general = self.skeleton.generalise(&template.words);
        let novelty = if general > 0 {
            self.skeleton.copy_to(&mut template.text, &mut template.words);
            Novelty::Generalised
        } else {
            Novelty::Known
        };
        Outcome { slot, novelty, evicted: None }
    }

    fn open(&mut self, source: u32, shape: u64, line: &str) -> Outcome {
        let mined = Mined {
            id: TemplateId::of(&self.skeleton.text),
            source,
            text: self.skeleton.text.clone(),
            exemplar: crate::mask::cut(line, EXEMPLAR_BYTES_MAX).to_owned(),
            words: self.skeleton.words.clone(),
            seen_at: self.lines,
            shape,
        };
        let (slot, evicted) = if self.slots.len() < self.templates_max {
            self.slots.push(mined);
            (u32::try_from(self.slots.len() - 1).expect("templates are limited well below 2^32"), None)
        } else {
            let slot = self.oldest();
            let old = std::mem::replace(&mut self.slots[slot as usize], mined);
            self.forget(slot, old.shape);
            (slot, Some(old))
        };
        self.by_shape.entry(shape).or_default().push(slot);
        Outcome { slot, novelty: Novelty::New, evicted }
    }

    fn oldest(&self) -> u32 {
        let oldest = self.iter().min_by_key(|(_, mined)| mined.seen_at);
        oldest.map(|(slot, _)| slot).expect("a full miner has at least one template")
    }

    fn forget(&mut self, slot: u32, shape: u64) {
        if let Some(slots) = self.by_shape.get_mut(&shape) {
            slots.retain(|other| *other != slot);
            if slots.is_empty() {
                self.by_shape.remove(&shape);
            }
        }
        self.aliases.retain(|_, other| *other != slot);
    }
}

/// Share of the template's constant words that the line has at the same place; `None` if they must not join.
fn similarity(template: &[Word], line: &[Word]) -> Option<f64> {
    if template.len() != line.len() {
        return None;
    }
    let (mut constant, mut equal) = (0u32, 0u32);
    for (kept, seen) in template.iter().zip(line) {
        if kept.severity != seen.severity {
            return None;
        }
        if !kept.variable() && !kept.severity {
            constant += 1;
            equal += u32::from(kept.hash == seen.hash);
        } else if kept.severity && kept.hash != seen.hash {
            return None;
        }
    }
    // A line without constant words joins only its like, through the exact skeleton.
    let enough = equal as usize >= CONSTANT_WORDS_MIN;
    enough.then(|| f64::from(equal) / f64::from(constant))
}

fn hash(value: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests;
