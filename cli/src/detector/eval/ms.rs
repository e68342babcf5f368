//! Microsoft's cloud monitoring series, `ms-cloud-monitoring/data/<category>/<file>.csv`, and the two KPIs of a server
//! in `donut-kpi`, written as a category of that name.

use super::bench::{Bench, Clean, Report};
use super::events::{self, Case, Span};
use super::rows::{self, Found};
use super::stream::{self, Scored};
use serde_json::{Map, Value, json};
use std::fmt::Write as _;
use std::path::Path;

/// False episodes per series and day at which recall is told.
const FALSE_PER_DAY: [f64; 3] = [1.0, 0.1, 0.01];
const KPIS: &str = "donut-kpi";
/// Threshold of the plots.
const THRESHOLD: f64 = 0.5;

pub(crate) fn run(bench: &Bench<'_>) -> anyhow::Result<Report> {
    let found = find(bench.data)?;
    let work = |found: &Found| -> anyhow::Result<(Scored, Option<Vec<Span>>)> {
        let scored = stream::score(bench, found)?;
        write(bench, &scored)?;
        let spans = scored.series.labels.as_ref().map(|labels| events::spans(labels));
        scored.draw(bench, "ms", spans.as_deref().unwrap_or_default(), THRESHOLD)?;
        Ok((scored, spans))
    };
    let (done, failure) = bench.each("ms", &found, Found::name, work);
    let costs = bench.detectors.take_costs();
    let mut clean = Clean::default();
    for (scored, spans) in &done {
        clean.add(spans.as_ref().map(|spans| scored.clean(spans)).unwrap_or_default());
    }
    let (mut summary, mut text) = (Map::new(), format!("Microsoft and KPIs: {} series\n", done.len()));
    for (name, kpis) in [("microsoft", false), ("donut", true)] {
        let of_set = done.iter().filter(|(scored, _)| (scored.found.category == KPIS) == kpis);
        let cases: Vec<Case<'_>> = of_set.filter_map(|(scored, spans)| case(scored, spans.as_deref()?)).collect();
        let (told, json) = set_report(name, &cases);
        text += &told;
        summary.insert(name.to_owned(), json);
    }
    if clean.series_days > 0.0 {
        let _ = writeln!(text, "episodes of the agent at the default budget, outside of labels: {}", clean.text());
    }
    let _ = writeln!(text, "{}", costs.0);
    summary.insert("series".into(), json!(done.len()));
    summary.insert("clean".into(), clean.to_json());
    summary.insert("cost".into(), costs.1);
    Ok(Report { summary: Value::Object(summary), text, failure })
}

/// Files of both sets; it is enough that one of them is there.
pub(crate) fn find(data: &Path) -> anyhow::Result<Vec<Found>> {
    let mut kpis = rows::csv_files(data, KPIS);
    kpis.sort();
    let places = ["ms-cloud-monitoring/data", "ms-cloud-monitoring", "data"].map(|place| data.join(place));
    match rows::find("series of Microsoft's cloud monitoring or KPIs", &places) {
        Ok(mut found) => {
            found.append(&mut kpis);
            Ok(found)
        }
        Err(_) if !kpis.is_empty() => Ok(kpis),
        Err(mut missing) => {
            missing.looked.push(data.join(KPIS).join("*.csv"));
            Err(missing.into())
        }
    }
}

fn write(bench: &Bench<'_>, scored: &Scored) -> anyhow::Result<()> {
    let series = &scored.series;
    let mut text = String::from("timestamp,value,score\n");
    for ((stamp, value), score) in series.stamps.iter().zip(&series.texts).zip(&scored.judged.scores) {
        let _ = writeln!(text, "{stamp},{value},{score:.9}");
    }
    bench.write(Path::new("ms").join(&scored.found.category).join(&scored.found.file), &text)
}

fn case<'a>(scored: &'a Scored, spans: &'a [Span]) -> Option<Case<'a>> {
    let (scores, opened) = (scored.judged.scores.as_slice(), scored.judged.opened.as_slice());
    let from = scored.series.probation();
    (!scores.is_empty()).then_some(Case { scores, opened, spans, from, interval_ms: scored.interval_ms })
}

fn set_report(name: &str, cases: &[Case<'_>]) -> (String, Value) {
    if cases.is_empty() {
        return (String::new(), Value::Null);
    }
    let mut text = format!("{name}: {} labelled series\n", cases.len());
    let agent = events::by_episodes(cases);
    let _ = writeln!(text, "  episodes of the agent at the default budget: {}", agent.text());
    let mut rates = Vec::new();
    for rate in FALSE_PER_DAY {
        let found = events::best_at_rate(cases, rate);
        let threshold = found.threshold;
        let _ =
            writeln!(text, "  at most {rate} false a series and day: {} (score from {threshold:.2} on)", found.text());
        rates.push(found.to_json());
    }
    (text, json!({"labelled_series": cases.len(), "agent_episodes": agent.to_json(), "at_false_rate": rates}))
}
