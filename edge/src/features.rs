//! One series over one window: count, min, max, mean, last. A window that tells nothing new is not sent.

use vedette_protocol::ids::SeriesIndex;
use vedette_protocol::time::WallTime;
use vedette_protocol::v1::Feature;

/// The window that a series is filling, and what was told of it last.
#[derive(Clone, Copy, Debug, Default)]
pub struct Window {
    count: u32,
    min: f64,
    max: f64,
    /// Running mean (Welford), so that large values in small differences keep their digits.
    mean: f64,
    last: f64,
    /// Time of earlier windows that this one goes on from.
    before_ms: u32,
    told: Option<[f64; 4]>,
}

impl Window {
    /// Adds one finite value.
    pub fn add(&mut self, value: f64) {
        if self.count == 0 {
            (self.min, self.max, self.mean) = (value, value, 0.0);
        }
        self.count = self.count.saturating_add(1);
        self.min = self.min.min(value);
        self.max = self.max.max(value);
        self.mean += (value - self.mean) / f64::from(self.count);
        self.last = value;
    }

    /// Whether nothing was added.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The last value, if it has one.
    pub fn last(&self) -> Option<f64> {
        (self.count > 0 || self.told.is_some()).then_some(self.last)
    }

    /// What would be a window of its own goes on into the next one.
    pub fn go_on(&mut self, window_ms: u32) {
        self.before_ms = self.before_ms.saturating_add(window_ms);
    }

    /// Ends the window, and those that go on in it. Nothing is to be sent if it is empty or says the same as the last
    /// one that was sent.
    pub fn close(&mut self, series: SeriesIndex, end: WallTime, window_ms: u32) -> Closed {
        let count = std::mem::take(&mut self.count);
        let window_ms = std::mem::take(&mut self.before_ms).saturating_add(window_ms);
        if count == 0 {
            return Closed::Empty;
        }
        let mean = self.mean.clamp(self.min, self.max);
        let tale = [self.min, self.max, mean, self.last];
        if self.told.replace(tale) == Some(tale) {
            return Closed::Unchanged;
        }
        let (min, max, last) = (self.min, self.max, self.last);
        Closed::Changed(Feature { series, end, window_ms, count, min, max, mean, last })
    }
}

/// What became of a window.
#[derive(Clone, Debug, PartialEq)]
pub enum Closed {
    /// No value in it.
    Empty,
    /// It said what the last one said.
    Unchanged,
    /// To be sent.
    Changed(Feature),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(window: &mut Window) -> Closed {
        window.close(SeriesIndex(7), WallTime::default(), 60_000)
    }

    #[test]
    fn window_summarises_and_starts_anew() {
        let mut window = Window::default();
        [3.0, 1.0, 2.0].into_iter().for_each(|value| window.add(value));
        let Closed::Changed(feature) = close(&mut window) else { panic!("nothing closed") };
        assert_eq!((feature.count, feature.min, feature.max, feature.mean, feature.last), (3, 1.0, 3.0, 2.0, 2.0));
        assert_eq!(close(&mut window), Closed::Empty);
    }

    #[test]
    fn a_window_that_goes_on_is_told_whole() {
        let mut window = Window::default();
        [3.0, 1.0].into_iter().for_each(|value| window.add(value));
        window.go_on(60_000);
        window.add(5.0);
        let Closed::Changed(feature) = close(&mut window) else { panic!("nothing closed") };
        assert_eq!((feature.count, feature.max, feature.window_ms), (3, 5.0, 120_000));
        window.add(9.0);
        assert!(matches!(close(&mut window), Closed::Changed(Feature { window_ms: 60_000, .. })));
    }

    #[test]
    fn unchanged_is_not_sent_until_it_changes() {
        let mut window = Window::default();
        window.add(5.0);
        assert!(matches!(close(&mut window), Closed::Changed(_)));
        (0..60).for_each(|_| window.add(5.0));
        assert_eq!(close(&mut window), Closed::Unchanged);
        window.add(5.5);
        assert!(matches!(close(&mut window), Closed::Changed(_)));
    }
}
