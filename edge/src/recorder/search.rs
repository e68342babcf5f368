//! Taking samples out of sealed blocks: what a look back costs, apart from the recorder, so that it can be paid elsewhere.

use super::{Line, Recorder, Sealed, Sort, Track};
use crate::codec;
use std::sync::Arc;

/// Samples of some series in memory since a moment, not taken out yet. Blocks are shared with the recorder; those that
/// wait for theirs are copied.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Search {
    blocks: Vec<Arc<Sealed>>,
    /// Numbers of the series in the blocks.
    ids: Vec<u32>,
    /// For each of them, what waits.
    waiting: Vec<Window>,
    begin_ms: i64,
    end_ms: i64,
    samples_max: usize,
}

/// Samples of one series out of the ring.
#[derive(Clone, Debug, PartialEq)]
pub struct Window {
    /// Which series: the label that it was asked for under.
    pub label: u32,
    /// Its grid.
    pub resolution: f64,
    /// Milliseconds since the Unix epoch by the host's wall clock.
    pub times_ms: Vec<i64>,
    /// A value for each time.
    pub values: Vec<f64>,
}

impl Recorder {
    /// A search for samples of the series at these places from `begin_ms` on, each under a label of the caller's, at most
    /// `samples_max` of all of them; the newest are kept if there are more.
    pub fn search(
        &self,
        sort: Sort,
        wanted: impl Iterator<Item = (u32, u32)>,
        begin_ms: i64,
        samples_max: usize,
    ) -> Search {
        let end_ms = i64::MAX;
        let tracks = wanted.filter_map(|(label, place)| {
            let track = self.tracks[sort as usize].get(place as usize).filter(|track| track.key.is_some())?;
            Some((track.id, Window::waiting(label, track, (begin_ms, end_ms))))
        });
        let (ids, waiting) = tracks.unzip();
        let blocks = self.ring.iter().filter(|sealed| sealed.end_ms >= begin_ms).map(Arc::clone).collect();
        Search { blocks, ids, waiting, begin_ms, end_ms, samples_max }
    }

    /// Log lines from `begin_ms` to `end_ms`, that moment included, oldest first: the newest of texts and sources of
    /// `bytes_max` together, and how many older ones were left out.
    pub fn lines(&self, (begin_ms, end_ms): (i64, i64), bytes_max: usize) -> (Vec<Line>, u64) {
        let blocks = self.ring.iter().filter(|sealed| sealed.end_ms >= begin_ms && sealed.begin_ms <= end_ms);
        let all = blocks.flat_map(|sealed| &sealed.lines).chain(&self.lines);
        let within: Vec<&Line> = all.filter(|line| (begin_ms..=end_ms).contains(&line.at_ms)).collect();
        let mut room = bytes_max;
        let fits = within.iter().rev().take_while(|line| {
            let left = room.checked_sub(line.source.len() + line.text.len());
            room = left.unwrap_or(0);
            left.is_some()
        });
        let left_out = within.len() - fits.count();
        (within.into_iter().skip(left_out).cloned().collect(), left_out as u64)
    }
}

impl Search {
    /// The same up to `end_ms`, that moment included.
    #[must_use]
    pub fn until(mut self, end_ms: i64) -> Self {
        self.end_ms = end_ms;
        self.blocks.retain(|sealed| sealed.begin_ms <= end_ms);
        self
    }

    /// Takes them out, oldest first. Takes time in proportion to all samples of the blocks, wanted or not.
    pub fn run(self) -> Vec<Window> {
        self.run_counted().0
    }

    /// The same, and how many samples were left out because they are more than were asked for.
    pub fn run_counted(self) -> (Vec<Window>, u64) {
        let Self { blocks, ids, waiting, begin_ms, end_ms, samples_max } = self;
        let span = (begin_ms, end_ms);
        let mut left_out = 0;
        let begun = |one: &Window| Window { times_ms: Vec::new(), values: Vec::new(), ..*one };
        let mut windows: Vec<Window> = waiting.iter().map(begun).collect();
        let each = samples_max / windows.len().max(1);
        for block in blocks.iter().filter_map(|sealed| codec::decode(&sealed.block).ok()) {
            for (id, times_ms, values) in block.iter() {
                if let Some(at) = ids.iter().position(|known| *known == id) {
                    windows[at].extend(times_ms, values, span);
                    // The ring can hold far more than is asked for.
                    left_out += windows[at].keep_newest(each, 2 * each);
                }
            }
        }
        for (window, waiting) in windows.iter_mut().zip(&waiting) {
            window.extend(&waiting.times_ms, &waiting.values, span);
            left_out += window.keep_newest(each, each);
        }
        windows.retain(|window| !window.values.is_empty());
        (windows, left_out as u64)
    }
}

impl Window {
    fn waiting(label: u32, track: &Track, span: (i64, i64)) -> Self {
        let mut window = Self { label, resolution: track.resolution, times_ms: Vec::new(), values: Vec::new() };
        window.extend(&track.times_ms, &track.values, span);
        window
    }

    fn extend(&mut self, times_ms: &[i64], values: &[f64], (begin_ms, end_ms): (i64, i64)) {
        let is_within = |at_ms: &i64| (begin_ms..=end_ms).contains(at_ms);
        for (at_ms, value) in times_ms.iter().zip(values).filter(|(at_ms, _)| is_within(at_ms)) {
            self.times_ms.push(*at_ms);
            self.values.push(*value);
        }
    }

    /// Times with their values.
    pub fn points(&self) -> Vec<(i64, f64)> {
        self.times_ms.iter().copied().zip(self.values.iter().copied()).collect()
    }

    /// Leaves the newest `count` if they are more than `most`. How many went.
    fn keep_newest(&mut self, count: usize, most: usize) -> usize {
        if self.values.len() <= most {
            return 0;
        }
        let surplus = self.values.len().saturating_sub(count);
        self.times_ms.drain(..surplus);
        self.values.drain(..surplus);
        surplus
    }
}
