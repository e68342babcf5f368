//! The account of batches as an operator reads it: what was made is what became of it.

use crate::output::{items, listing, text};
use serde_json::Value;

const LEGEND: &str = "\
MADE = COMMITTED + SHED + QUARANTINED + OPEN, for each life of an agent's queue.
SHED         the agent's queue was full: it dropped the oldest of the least important
QUARANTINED  arrived and was kept aside: it could not be read, or another batch had its sequence
OPEN         waits at the agent or is on its way; of an earlier life of the queue: lost with it, or older than is kept
REPEATED     arrived once more after a lost connection, was recognised and not counted again";

/// The table with what its columns mean and what it comes to.
pub(super) fn account(answer: &Value) -> String {
    let streams = items(answer, "/streams");
    let head = ["HOST", "QUEUE", "MADE", "COMMITTED", "SHED", "QUARANTINED", "OPEN", "REPEATED"];
    let table = listing(head, streams, "no batches yet", |stream| {
        let account = Account::of(stream);
        [
            host(stream),
            text(stream, "/queue_epoch"),
            account.made.to_string(),
            account.committed.to_string(),
            account.shed.to_string(),
            account.quarantined.to_string(),
            account.open().to_string(),
            text(stream, "/duplicates_refused"),
        ]
    });
    if streams.is_empty() {
        return table;
    }
    let verdict = match number(answer, "/total/doubled") {
        0 => "no batch counts twice".to_owned(),
        doubled => format!("! {doubled} batch(es) count twice: please report this with `--output json`"),
    };
    let reused = match number(answer, "/total/reused") {
        0 => String::new(),
        reused => format!(
            "! {reused} batch(es) came under sequences that others had: a machine or its data directory went back in time; \
             its agent was told to begin a new queue\n"
        ),
    };
    format!("{table}\n{LEGEND}\n\n{verdict}\n{reused}")
}

/// One life of an agent's queue.
struct Account {
    made: u64,
    committed: u64,
    shed: u64,
    quarantined: u64,
}

impl Account {
    fn of(stream: &Value) -> Self {
        let shed = items(stream, "/shed").iter().filter_map(Value::as_u64).sum();
        let (committed, quarantined) = (number(stream, "/committed"), number(stream, "/quarantined"));
        // The agent's count comes with its heartbeats: what has arrived since then was made, too.
        let made = number(stream, "/made").max(committed + shed + quarantined);
        Self { made, committed, shed, quarantined }
    }

    const fn open(&self) -> u64 {
        self.made.saturating_sub(self.committed + self.shed + self.quarantined)
    }
}

fn host(stream: &Value) -> String {
    let name = text(stream, "/host_name");
    if name == "-" { text(stream, "/host") } else { name }
}

fn number(value: &Value, pointer: &str) -> u64 {
    value.pointer(pointer).and_then(Value::as_u64).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn stream(made: u64, committed: u64, last: u64) -> Value {
        json!({
            "host": "00", "host_name": "web-1", "queue_epoch": "77", "made": made, "committed": committed,
            "last_sequence": last, "shed": [0, 2, 1], "quarantined": 1, "duplicates_refused": 5,
        })
    }

    #[test]
    fn each_row_adds_up_even_before_the_next_heartbeat() {
        for (made, committed, last, expected) in
            [(20, 10, (2 << 24) + 5, [20, 10, 3, 1, 6]), (8, 11, 15, [15, 11, 3, 1, 0]), (0, 1, 1, [5, 1, 3, 1, 0])]
        {
            let told = account(&json!({"streams": [stream(made, committed, last)], "total": {"doubled": 0}}));
            let row: Vec<_> = told.lines().nth(1).unwrap().split_whitespace().collect();
            assert_eq!(row[..2], ["web-1", "77"]);
            assert_eq!(row[2..7], expected.map(|count: u64| count.to_string()), "{told}");
            assert!(told.contains("no batch counts twice"), "{told}");
        }
    }

    #[test]
    fn agents_that_went_back_in_time_are_said() {
        let told =
            |reused: u64| account(&json!({"streams": [stream(1, 1, 1)], "total": {"doubled": 0, "reused": reused}}));
        assert!(told(3).contains("! 3 batch(es) came under sequences that others had") && !told(0).contains('!'));
    }

    #[test]
    fn what_counts_twice_is_said_and_nothing_at_all_too() {
        let told = account(&json!({"streams": [stream(1, 1, 1)], "total": {"doubled": 2}}));
        assert!(told.contains("! 2 batch(es) count twice"), "{told}");
        assert_eq!(account(&json!({"streams": [], "total": {"doubled": 0}})), "no batches yet");
    }
}
