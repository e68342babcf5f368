//! Own metrics, Prometheus text format.

use super::Shared;
use super::answer::ApiError;
use crate::shell::core::lock;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use std::fmt::Write as _;

/// `GET /metrics`
pub(super) async fn metrics(State(api): State<Shared>) -> Result<impl IntoResponse, ApiError> {
    let rows = api.readers.quick(|reader| reader.rows()).await?;
    let mut page = Page::default();
    page.sample("vedette_build_info", concat!("version=\"", env!("CARGO_PKG_VERSION"), "\""), 1);
    for (metric, label, value) in api.counters.entries() {
        page.sample(metric, label, value);
    }
    for (name, value) in api.server.stats().entries() {
        page.sample(&format!("vedette_link_{name}_total"), "", value);
    }
    let (received, sent) = api.server.udp_bytes();
    page.sample("vedette_link_udp_bytes_total", "direction=\"received\"", received);
    page.sample("vedette_link_udp_bytes_total", "direction=\"sent\"", sent);
    page.sample("vedette_agents_connected", "", api.server.connections().len() as u64);
    page.sample("vedette_policy_version", "", api.policy.current().map_or(0, |policy| policy.version));
    for (table, count) in rows {
        page.sample("vedette_store_rows", &format!("table=\"{table}\""), count);
    }
    let (conservation, suppressed, expired, (incidents, candidates)) = {
        let engine = lock(&api.engine);
        let expired: Vec<_> = engine.expired_episodes().collect();
        (engine.conservation(), engine.suppressed(), expired, engine.open_counts())
    };
    page.sample("vedette_incidents_open", "", incidents as u64);
    page.sample("vedette_candidates", "", candidates as u64);
    page.sample("vedette_findings_accepted_total", "", conservation.accepted);
    for (place, count) in [
        ("incident", conservation.incident),
        ("candidate", conservation.candidate),
        ("suppressed", conservation.suppressed),
        ("expired", conservation.expired),
    ] {
        page.sample("vedette_findings", &format!("place=\"{place}\""), count);
    }
    for (reason, count) in suppressed {
        page.sample("vedette_findings_suppressed_total", &format!("reason=\"{}\"", reason.name()), count);
    }
    for (how, count) in expired {
        page.sample("vedette_episodes_expired_total", &format!("reason=\"{}\"", how.label()), count);
    }
    Ok(([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], page.text))
}

#[derive(Default)]
struct Page {
    text: String,
    last: String,
}

impl Page {
    fn sample(&mut self, metric: &str, label: &str, value: u64) {
        if self.last != metric {
            let kind = if metric.ends_with("_total") { "counter" } else { "gauge" };
            // Writing to a text does not fail.
            _ = writeln!(self.text, "# TYPE {metric} {kind}");
            metric.clone_into(&mut self.last);
        }
        let label = if label.is_empty() { String::new() } else { format!("{{{label}}}") };
        _ = writeln!(self.text, "{metric}{label} {value}");
    }
}
