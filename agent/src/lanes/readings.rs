//! What a lane read, on its way to the tick. Reused: in the steady state filling and replaying allocate nothing.

use crate::source::{DropReason, Sink};
use vedette_edge::metric::MetricSpec;

/// Most attributes of one reading.
pub const ATTRIBUTES_MAX: usize = 8;

/// Readings of one call of one source.
#[derive(Debug, Default)]
pub struct Readings {
    entries: Vec<Entry>,
    /// Names and values of all attributes, one after the other.
    text: String,
    /// Ends of those texts.
    ends: Vec<usize>,
    dropped: u64,
}

#[derive(Debug)]
struct Entry {
    metric: &'static MetricSpec,
    attributes: usize,
    value: f64,
}

impl Readings {
    /// Empties the buffer and keeps its memory.
    pub fn clear(&mut self) {
        self.entries.clear();
        self.text.clear();
        self.ends.clear();
        self.dropped = 0;
    }

    /// Hands everything to `take`, in order.
    pub fn replay(&self, mut take: impl FnMut(&'static MetricSpec, &[(&str, &str)], f64)) {
        let mut ends = self.ends.iter().copied();
        let mut from = 0;
        let mut next = || {
            let end = ends.next().expect("two texts were pushed per attribute");
            let text = &self.text[from..end];
            from = end;
            text
        };
        for entry in &self.entries {
            let mut attributes = [("", ""); ATTRIBUTES_MAX];
            for attribute in &mut attributes[..entry.attributes] {
                *attribute = (next(), next());
            }
            take(entry.metric, &attributes[..entry.attributes], entry.value);
        }
    }

    /// Things left out.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }
}

impl Sink for Readings {
    fn reading(&mut self, metric: &'static MetricSpec, attributes: &[(&str, &str)], value: f64) {
        if attributes.len() > ATTRIBUTES_MAX {
            self.dropped += 1;
            return;
        }
        for text in attributes.iter().flat_map(|(name, value)| [name, value]) {
            self.text.push_str(text);
            self.ends.push(self.text.len());
        }
        self.entries.push(Entry { metric, attributes: attributes.len(), value });
    }

    fn dropped(&mut self, _reason: DropReason, count: u64) {
        self.dropped += count;
    }
}
