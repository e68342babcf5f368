//! The books: what came in, what became of it. Every drop has its own line.

use serde::Serialize;

/// Counts since start. `detected = emitted + folded + shed`, and what else is said of sums, holds after every call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Ledger {
    /// Confirmed detections.
    pub detected: u64,
    /// Detections that opened an episode and were sent.
    pub emitted: u64,
    /// Detections that belong to an episode which was there already (flapping).
    pub folded: u64,
    /// Detections dropped because too many episodes were open.
    pub shed: u64,
    /// Verdicts that would have opened an episode, held back because they are usual at this time: none is in the account.
    pub excused: u64,
    /// Episodes that ended and said so.
    pub cleared: u64,
    /// Times that a detector's calibration was found to drift: findings beside the account above.
    pub drifts: u64,

    /// Readings handed in.
    pub readings: u64,
    /// Readings that were not a finite number.
    pub readings_not_finite: u64,
    /// Readings that were not later than their predecessor.
    pub readings_out_of_order: u64,
    /// Readings that replaced one of the same series within one tick, for detectors; features have both.
    pub readings_superseded: u64,
    /// Readings dropped for want of room for their series.
    pub readings_folded: u64,
    /// Distinct series without room (exact up to 4,096).
    pub series_folded: u64,
    /// Series of whose attributes a part was left out: too many, or too long.
    pub labels_cut: u64,
    /// Series that ended.
    pub series_vanished: u64,
    /// Counters that began anew.
    pub counter_resets: u64,
    /// Values that followed a gap.
    pub gaps: u64,
    /// Times that the wall clock was set.
    pub clock_steps: u64,

    /// Readings of whole sources that would have been made without a budget: `= collect_taken + collect_spared +
    /// collect_skipped`.
    pub collect_due: u64,
    /// Of these, made.
    pub collect_taken: u64,
    /// Of these, not made because the plan for the CPU budget reads their source less often.
    pub collect_spared: u64,
    /// Of these, not made because the CPU budget had no room for them in that tick.
    pub collect_skipped: u64,

    /// Log lines handed in.
    pub lines: u64,
    /// Further lines of log lines that are events of several: counted once, with the first of them.
    pub lines_joined: u64,
    /// Log lines cut at the length limit.
    pub lines_cut: u64,
    /// Log lines with bytes that are not UTF-8.
    pub lines_not_utf8: u64,
    /// Log lines that were mostly control bytes.
    pub lines_binary: u64,
    /// Log lines dropped because there are too many log sources.
    pub lines_refused: u64,
    /// Log lines counted without their template, which had to make room before they were shipped.
    pub lines_folded: u64,
    /// Places masked in log lines.
    pub masked: u64,
    /// Templates forgotten for want of room.
    pub templates_evicted: u64,
    /// Templates that became one with another.
    pub templates_absorbed: u64,

    /// Verdicts: finite scores taken in.
    pub verdicts: u64,
    /// Scores that did not fit their tick's columns or came unasked.
    pub scores_refused: u64,
    /// States that are not kept for a detector's next life: it has more than its share of memory, or more than it promised.
    pub states_refused: u64,
    /// Values of metrics that detectors might have looked at: `= looks_taken + looks_thinned + looks_withheld`.
    pub looks_due: u64,
    /// Of these, shown to detectors.
    pub looks_taken: u64,
    /// Of these, not shown because the plan for the CPU budget looks at their series less often.
    pub looks_thinned: u64,
    /// Of these, not shown because the CPU budget had no room for them in that tick.
    pub looks_withheld: u64,
    /// Ticks that a detector did not see because it lagged or was gone.
    pub ticks_unscored: u64,
    /// Findings sent without an explanation.
    pub explanations_missing: u64,
    /// Findings sent without evidence.
    pub evidence_missing: u64,

    /// Windows that were over and not empty: `= features_sent + features_unchanged + features_folded`.
    pub features_due: u64,
    /// Features sent.
    pub features_sent: u64,
    /// Features not sent because nothing had changed.
    pub features_unchanged: u64,
    /// Windows that went on into the next one for want of uplink budget: what they hold is sent with that.
    pub features_folded: u64,
    /// Samples that directives wanted raw: `= raw_sent + raw_dropped + raw_shed`, and those that wait.
    pub raw_due: u64,
    /// Raw samples sent.
    pub raw_sent: u64,
    /// Raw samples dropped because there were too many within one window.
    pub raw_dropped: u64,
    /// Raw samples not sent for want of uplink budget: the flight recorder has them.
    pub raw_shed: u64,
    /// Series that a directive wanted raw beyond the ceiling.
    pub raw_series_refused: u64,
    /// Samples that directives pulled out of the flight recorder.
    pub recorded_sent: u64,
    /// Looks back of directives that came while too many others were carried out.
    pub searches_refused: u64,
}

impl Ledger {
    /// Whether the accounts balance: of episodes, and of what a budget left out.
    pub fn balances(&self) -> bool {
        self.detected == self.emitted + self.folded + self.shed
            && self.collect_due == self.collect_taken + self.collect_spared + self.collect_skipped
            && self.looks_due == self.looks_taken + self.looks_thinned + self.looks_withheld
            && self.features_due == self.features_sent + self.features_unchanged + self.features_folded
            && self.raw_due >= self.raw_sent + self.raw_dropped + self.raw_shed
    }
}
