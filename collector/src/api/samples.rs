//! The true samples of an incident's members, as far as directives brought them here.

use super::Shared;
use super::answer::ApiError;
use crate::shell::core::{json_of, lock};
use crate::store::{Reader, SampledSeries, StoreError};
use axum::Json;
use axum::extract::{Path, State};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use vedette_protocol::ids::{HostId, SeriesKey};
use vedette_protocol::series::{SeriesKind, SeriesMeta};
use vedette_protocol::time::WallTime;

/// Before the first onset and after the end.
const BEFORE_MS: i64 = 600_000;
const AFTER_MS: i64 = 60_000;
/// Longest time after the first onset of which samples are shown.
const SPAN_MS: i64 = 6 * 3_600_000;
/// Members whose samples are shown: a storm has thousands.
const MEMBERS_MAX: usize = 64;
/// Samples of one host.
const SAMPLES_MAX: usize = 100_000;

/// What of a member's report is needed here.
#[derive(Clone, Debug, Deserialize)]
struct Member {
    finding: Finding,
}

#[derive(Clone, Debug, Deserialize)]
struct Finding {
    episode: String,
    host: String,
    host_name: String,
    subject: Subject,
    onset_unix_ms: i64,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
enum Subject {
    Series {
        metric: String,
        unit: String,
        attributes: BTreeMap<String, String>,
    },
    #[serde(other)]
    LogTemplate,
}

impl Subject {
    fn key(&self) -> Option<SeriesKey> {
        let Self::Series { metric, unit, attributes } = self else { return None };
        let meta = SeriesMeta {
            metric: metric.clone(),
            unit: unit.clone(),
            kind: SeriesKind::Gauge,
            attributes: attributes.clone().into_iter().collect(),
            resolution: 0.0,
            lower: f64::NAN,
            upper: f64::NAN,
        };
        Some(meta.key())
    }
}

/// `GET /api/v1/incidents/{id}/samples`: `series` with `points` of milliseconds and value, by the collector's clock.
///
/// Of the first 64 members that are series; `is_cut` says that there is more. A member without samples is not there: no
/// directive reached its host, or its recorder held nothing. `members` counts those of metrics, which can have samples, and
/// those of logs, which cannot; `directives` those that were issued for it and are remembered, and those of them that agents
/// reported to be in effect; `merged_into` is the incident that took its members over.
pub(super) async fn show(State(api): State<Shared>, Path(id): Path<String>) -> Result<Json<Value>, ApiError> {
    let open = lock(&api.engine).incident(&id).map(|report| json_of(&report));
    let report = match open {
        Some(report) => report,
        None => {
            let wanted = id.clone();
            let row = api.readers.quick(move |reader| reader.incident(&wanted)).await?;
            row.ok_or_else(|| ApiError::not_found("incident"))?.json
        }
    };
    let now_ms = api.clock.wall().unix_ms();
    let Parsed { members, mut answer, end_ms } =
        parse(&report, now_ms).map_err(|error| ApiError::bad(format!("its report: {error}")))?;
    let body = api.readers.long(move |reader| sampled(reader, &members, end_ms)).await?;
    (answer["incident"], answer["series"], answer["is_cut"]) = (json!(id), json!(body.0), json!(body.1));
    Ok(Json(answer))
}

/// What an incident's report says of its samples.
struct Parsed {
    /// Members that are series.
    members: Vec<Finding>,
    /// What of the answer is known without any sample.
    answer: Value,
    /// Until when samples are of interest.
    end_ms: i64,
}

fn parse(report: &str, now_ms: i64) -> Result<Parsed, serde_json::Error> {
    let mut report: Value = serde_json::from_str(report)?;
    let ended = report["times"]["resolved_unix_ms"].as_i64().map_or(now_ms, |at| at + AFTER_MS);
    let members: Vec<Member> = serde_json::from_value(report["members"].take())?;
    let all = members.len();
    let series = members.into_iter().map(|member| member.finding).filter(|one| one.subject.key().is_some());
    let series: Vec<_> = series.collect();
    let directives = report["directives"].as_array().map(Vec::as_slice).unwrap_or_default();
    let in_effect = directives.iter().filter(|directive| !directive["in_effect_after_ms"].is_null()).count();
    let answer = json!({
        "members": { "metrics": series.len(), "logs": all - series.len() },
        "directives": { "issued": directives.len(), "in_effect": in_effect },
        "merged_into": report["merged_into"],
    });
    Ok(Parsed { members: series, answer, end_ms: ended })
}

fn sampled(reader: &dyn Reader, members: &[Finding], end_ms: i64) -> Result<(Vec<Value>, bool), StoreError> {
    let mut is_cut = members.len() > MEMBERS_MAX;
    let members = &members[..members.len().min(MEMBERS_MAX)];
    let begin_ms = members.iter().map(|one| one.onset_unix_ms).min().unwrap_or(end_ms) - BEFORE_MS;
    let window = [begin_ms, end_ms.min(begin_ms + BEFORE_MS + SPAN_MS)].map(WallTime::from_unix_ms);
    let mut hosts: BTreeMap<&str, BTreeSet<SeriesKey>> = BTreeMap::new();
    for one in members {
        hosts.entry(&one.host).or_default().extend(one.subject.key());
    }
    let mut found: BTreeMap<(&str, SeriesKey), SampledSeries> = BTreeMap::new();
    for (host, keys) in &hosts {
        let Ok(id) = host.parse::<HostId>() else { continue };
        let samples = reader.samples(id, keys, (window[0], window[1]), SAMPLES_MAX)?;
        is_cut |= samples.is_cut || samples.unreadable > 0;
        found.extend(samples.series.into_iter().map(|series| ((*host, series.key), series)));
    }
    let series = members.iter().filter_map(|one| {
        let points = &found.get(&(one.host.as_str(), one.subject.key()?))?.points;
        let Subject::Series { metric, unit, attributes } = &one.subject else { return None };
        Some(json!({
            "episode": one.episode, "host": one.host, "host_name": one.host_name, "metric": metric, "unit": unit,
            "attributes": attributes, "onset_unix_ms": one.onset_unix_ms, "points": points,
        }))
    });
    Ok((series.collect(), is_cut))
}
