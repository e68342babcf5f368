//! From the TOML that a person wrote to a [`Policy`].

use super::{
    BudgetCeilings, CPU_PERCENT_MAX, CPU_PERCENT_MIN, Ceilings, DIRECTIVE_MS_MAX, Policy, SOURCES,
    UPLINK_BYTES_PER_HOUR_MAX, UPLINK_BYTES_PER_HOUR_MIN,
};
use crate::document::{Document, Problem, Table, codes};

const INTERVAL_MS: std::ops::RangeInclusive<u64> = 100..=3_600_000;

impl Policy {
    /// Checks a policy document whole; `file_name` is what problems name.
    ///
    /// Optional keys take their built-in defaults; `version` and `expires` have to be there.
    ///
    /// # Errors
    ///
    /// All problems, by position.
    pub fn parse(file_name: &str, text: &str) -> Result<Self, Vec<Problem>> {
        let document = Document::parse(file_name, text)?;
        let policy = read(&mut document.root());
        let problems = document.finish();
        if problems.is_empty() { Ok(policy) } else { Err(problems) }
    }
}

fn read(root: &mut Table<'_>) -> Policy {
    let mut policy = Policy::default();
    if let Some(version) = root.integer("version", 1..=i64::MAX) {
        policy.version = version.unsigned_abs();
    }
    root.missing("version", "write `version = 1`; each later policy has a greater one");
    policy.expires = root.time("expires");
    root.missing("expires", "write until when it holds, for example `expires = \"2026-12-31T00:00:00Z\"`");
    if let Some(mut detect) = root.table("detect") {
        policy.episodes_per_day = detect.float("episodes-per-day", 0.001..=1_000.0).unwrap_or(policy.episodes_per_day);
    }
    if let Some(mut ship) = root.table("ship") {
        let window = ship.duration_ms("feature-window", 1_000..=3_600_000);
        policy.feature_window_ms = window.map_or(policy.feature_window_ms, millis);
    }
    if let Some(mut budget) = root.table("budget") {
        policy.budgets = BudgetCeilings {
            cpu_percent: budget.float("cpu-percent", CPU_PERCENT_MIN..=CPU_PERCENT_MAX),
            uplink_bytes_per_hour: budget
                .size_bytes("uplink-bytes-per-hour", UPLINK_BYTES_PER_HOUR_MIN..=UPLINK_BYTES_PER_HOUR_MAX),
        };
    }
    if let Some(mut directives) = root.table("directives") {
        read_ceilings(&mut directives, &mut policy.ceilings);
    }
    if let Some(mut intervals) = root.table("collect").and_then(|mut collect| collect.table("intervals")) {
        policy.source_interval_ms = read_intervals(&mut intervals, policy.ceilings);
    }
    policy
}

fn read_ceilings(directives: &mut Table<'_>, ceilings: &mut Ceilings) {
    if let Some(ms) = directives.duration_ms("interval-min", INTERVAL_MS) {
        ceilings.interval_ms_min = millis(ms);
    }
    if let Some(ms) = directives.duration_ms("life-max", 0..=u64::from(DIRECTIVE_MS_MAX)) {
        ceilings.directive_ms_max = millis(ms);
    }
    if let Some(count) = directives.integer("raw-series-max", 0..=10_000) {
        ceilings.raw_series_max = u32::try_from(count).expect("within 0..=10_000");
    }
}

/// Asking for each known source lets the document find the unknown ones and propose the nearest.
fn read_intervals(intervals: &mut Table<'_>, ceilings: Ceilings) -> Vec<(String, u32)> {
    let mut read = Vec::new();
    for source in SOURCES {
        let Some(ms) = intervals.duration_ms(source, INTERVAL_MS) else { continue };
        if ms < u64::from(ceilings.interval_ms_min) {
            let message = format!("`{}.{source}` is shorter than `directives.interval-min`", intervals.path());
            intervals.problem(source, codes::CONTRADICTION, &message, "lengthen the one or lower the other");
        }
        read.push(((*source).to_owned(), millis(ms)));
    }
    read
}

fn millis(ms: u64) -> u32 {
    u32::try_from(ms).expect("every range here ends below 2^32 ms")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::WallTime;

    const WHOLE: &str = r#"
version = 2
expires = "2026-12-31T00:00:00Z"
[detect]
episodes-per-day = 0.5
[collect]
intervals = { process = "5s", cpu = "1s" }
[ship]
feature-window = "30s"
[budget]
cpu-percent = 0.5
uplink-bytes-per-hour = "2MiB"
[directives]
interval-min = "1s"
life-max = "10m"
raw-series-max = 32
"#;

    #[test]
    fn a_whole_policy_reads_as_meant() {
        let policy = Policy::parse("p.toml", WHOLE).unwrap();
        assert_eq!(
            policy,
            Policy {
                version: 2,
                expires: Some(WallTime::from_unix_ms(1_798_675_200_000)),
                episodes_per_day: 0.5,
                source_interval_ms: vec![("cpu".into(), 1_000), ("process".into(), 5_000)],
                feature_window_ms: 30_000,
                budgets: BudgetCeilings { cpu_percent: Some(0.5), uplink_bytes_per_hour: Some(2 << 20) },
                ceilings: Ceilings { interval_ms_min: 1_000, directive_ms_max: 600_000, raw_series_max: 32 },
            }
        );
    }

    #[test]
    fn source_that_no_agent_has_is_refused_with_its_line_and_the_nearest() {
        let text =
            "version = 1\nexpires = 2027-01-01T00:00:00Z\n[collect.intervals]\ncpuu = \"1s\"\nbattery = \"1s\"\n";
        let told: Vec<_> = Policy::parse("p.toml", text).unwrap_err().iter().map(ToString::to_string).collect();
        let [near, far] = told.as_slice() else { panic!("{told:?}") };
        assert_eq!(near, "p.toml:4:1: [VDT-C002] unknown key `collect.intervals.cpuu` — did you mean `cpu`?");
        assert!(far.starts_with("p.toml:5:1: [VDT-C002]") && SOURCES.iter().all(|name| far.contains(name)), "{far}");
    }

    #[test]
    fn what_is_left_out_keeps_its_default() {
        let policy = Policy::parse("p.toml", "version = 1\nexpires = 2027-01-01T00:00:00Z\n").unwrap();
        assert_eq!(policy, Policy { version: 1, expires: policy.expires, ..Policy::default() });
    }

    #[test]
    fn all_problems_of_a_policy_are_told() {
        let text = "version = 0\n[detect]\nepisodes-per-day = -1\n[directives]\nlife-max = \"1h\"\n[collect]\nintervals = { cpu = \"200ms\", disk = \"soon\" }\n[budget]\ncpu-percent = 0\nuplink-bytes-per-hour = \"1KiB\"\n[extra]\n";
        let told: Vec<_> = Policy::parse("p.toml", text).unwrap_err().iter().map(|p| (p.line, p.code)).collect();
        let expected = [
            (1, codes::MISSING_KEY),
            (1, codes::OUT_OF_RANGE),
            (3, codes::OUT_OF_RANGE),
            (5, codes::OUT_OF_RANGE),
            (7, codes::CONTRADICTION),
            (7, codes::BAD_FORM),
            (9, codes::OUT_OF_RANGE),
            (10, codes::OUT_OF_RANGE),
            (11, codes::UNKNOWN_KEY),
        ];
        assert_eq!(told, expected);
    }
}
