//! What was sent of the recorder lately: directives of one moment ask for the same windows, and each sample goes out once.

use super::Window;
use std::collections::VecDeque;
use std::time::Duration;
use vedette_protocol::time::MonoTime;

/// What was sent is known for so long: a directive's longest life. Later the collector may have lost it.
const KNOWN: Duration = Duration::from_secs(900);
/// Series of which it is known, at most; of others it is sent again.
const SPANS_MAX: usize = 512;

/// All samples of a series between two times, both included.
#[derive(Clone, Copy, Debug)]
struct Span {
    label: u32,
    begin_ms: i64,
    end_ms: i64,
    sent: MonoTime,
}

/// Spans that were sent, by series.
#[derive(Debug, Default)]
pub(crate) struct Sent {
    spans: VecDeque<Span>,
}

impl Sent {
    /// Bytes of the heap that it takes at most.
    pub(crate) const BYTES_MAX: usize = 2 * SPANS_MAX * size_of::<Span>();

    /// What a window has that was not sent lately; `None` if that is nothing. It counts as sent from now on.
    pub(crate) fn news(&mut self, now: MonoTime, window: &Window) -> Option<Window> {
        self.spans.retain(|span| now.since(span.sent) < KNOWN);
        let (begin_ms, end_ms) = (*window.times_ms.iter().min()?, *window.times_ms.iter().max()?);
        let known = self.spans.iter().position(|span| span.label == window.label).and_then(|at| self.spans.remove(at));
        let known = known.filter(|span| begin_ms <= span.end_ms && end_ms >= span.begin_ms);
        let is_new = |at_ms: i64| known.is_none_or(|span| at_ms < span.begin_ms || at_ms > span.end_ms);
        if self.spans.len() == SPANS_MAX {
            self.spans.pop_front();
        }
        self.spans.push_back(Span {
            label: window.label,
            begin_ms: known.map_or(begin_ms, |span| span.begin_ms.min(begin_ms)),
            end_ms: known.map_or(end_ms, |span| span.end_ms.max(end_ms)),
            sent: known.map_or(now, |span| span.sent),
        });
        let pairs = window.times_ms.iter().zip(&window.values).filter(|(at_ms, _)| is_new(**at_ms));
        let (times_ms, values): (Vec<_>, Vec<_>) = pairs.map(|(at_ms, value)| (*at_ms, *value)).unzip();
        (!values.is_empty()).then_some(Window { times_ms, values, ..*window })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(label: u32, seconds: std::ops::Range<i64>) -> Window {
        let times_ms: Vec<_> = seconds.map(|second| second * 1_000).collect();
        Window { label, resolution: 0.1, values: vec![1.0; times_ms.len()], times_ms }
    }

    fn seconds(window: Option<Window>) -> Vec<i64> {
        window.map(|window| window.times_ms.iter().map(|ms| ms / 1_000).collect()).unwrap_or_default()
    }

    #[test]
    fn each_sample_is_news_once_until_that_is_forgotten() {
        let (mut sent, now) = (Sent::default(), MonoTime::default());
        assert_eq!(seconds(sent.news(now, &window(1, 10..15))), [10, 11, 12, 13, 14]);
        assert_eq!(sent.news(now, &window(1, 10..15)), None);
        assert_eq!(seconds(sent.news(now, &window(1, 8..17))), [8, 9, 15, 16], "what is before and after");
        assert_eq!(seconds(sent.news(now, &window(2, 12..14))), [12, 13], "another series");
        assert_eq!(sent.news(now + (KNOWN - Duration::from_secs(1)), &window(1, 8..17)), None);
        assert_eq!(seconds(sent.news(now + KNOWN, &window(1, 8..10))), [8, 9]);
        assert_eq!(sent.news(now, &window(3, 0..0)), None);
    }

    #[test]
    fn what_is_apart_from_what_was_sent_is_sent_whole() {
        let (mut sent, now) = (Sent::default(), MonoTime::default());
        sent.news(now, &window(1, 10..15));
        assert_eq!(seconds(sent.news(now, &window(1, 20..22))), [20, 21]);
        assert_eq!(seconds(sent.news(now, &window(1, 17..23))), [17, 18, 19, 22]);
    }

    #[test]
    fn few_series_are_remembered() {
        let (mut sent, now) = (Sent::default(), MonoTime::default());
        (0..1_000).for_each(|label| drop(sent.news(now, &window(label, 0..2))));
        assert_eq!(sent.spans.len(), SPANS_MAX);
        assert!(sent.spans.capacity() * size_of::<Span>() <= Sent::BYTES_MAX);
    }
}
