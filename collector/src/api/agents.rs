//! The fleet: who is there, who may come in, who is shut out.

use super::Shared;
use super::answer::{ApiError, to_the_end};
use crate::shell::core::{SharedEngine, lock};
use crate::shell::enrolment::{TOKEN_MS_MAX, TOKEN_USES_MAX, ask};
use crate::store::{AgentRow, AgentWrite, Write};
use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::net::IpAddr;
use vedette_protocol::ids::{DirectiveId, HostId};

/// Agents in one answer.
pub(super) const AGENTS_MAX: usize = 20_000;

/// Body of a token's request.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TokenRequest {
    #[serde(default = "one")]
    uses: u32,
    ttl_ms: u64,
}

const fn one() -> u32 {
    1
}

/// `GET /api/v1/fleet`
pub(super) async fn list(State(api): State<Shared>) -> Result<Json<Value>, ApiError> {
    let agents = api.readers.quick(|reader| reader.agents(AGENTS_MAX)).await?;
    let connected: BTreeSet<HostId> = api.server.connections().into_iter().map(|(_, host)| host).collect();
    let now = api.clock.mono();
    let agent = |row: &AgentRow| {
        let mut told = agent(row, connected.contains(&row.host), &api.engine);
        let told_by_it = api.healths.of(row.host);
        let health = match &told_by_it {
            None => "unknown",
            Some(problems) if problems.is_empty() => "well",
            Some(_) => "problems",
        };
        let mut problems = problems(row, api.twins.addresses(now, row.host));
        // In its own words; none may look like a line of its own.
        problems.extend(told_by_it.into_iter().flatten().map(|one| one.replace(char::is_control, " ")));
        told["health"] = json!(if health == "well" && !problems.is_empty() { "problems" } else { health });
        told["problems"] = json!(problems);
        told
    };
    let agents: Vec<_> = agents.iter().map(agent).collect();
    Ok(Json(json!({"agents": agents})))
}

/// `POST /api/v1/fleet/tokens`
pub(super) async fn token(
    State(api): State<Shared>,
    body: Result<Json<TokenRequest>, JsonRejection>,
) -> Result<Json<Value>, ApiError> {
    let Json(request) = body.map_err(ApiError::bad)?;
    if !(1..=TOKEN_USES_MAX).contains(&request.uses) || !(1..=TOKEN_MS_MAX).contains(&request.ttl_ms) {
        return Err(ApiError::bad(format!("uses has to be 1 to {TOKEN_USES_MAX}, ttl_ms 1 to {TOKEN_MS_MAX} (24 h)")));
    }
    let token = api.enrolment.token(request.uses, request.ttl_ms).await.ok_or_else(ApiError::going_down)?;
    Ok(Json(json!({"token": token, "uses": request.uses, "ttl_ms": request.ttl_ms})))
}

/// `POST /api/v1/fleet/{host}/revoke`
pub(super) async fn revoke(State(api): State<Shared>, Path(host): Path<String>) -> Result<Json<Value>, ApiError> {
    let host: HostId = host.parse().map_err(ApiError::bad)?;
    to_the_end(async move {
        if !api.readers.quick(move |reader| reader.knows(host)).await? {
            return Err(ApiError::not_found("host"));
        }
        // Shut out first: what follows takes time, and may fail.
        api.deny_list.add(host);
        api.server.recheck();
        let write = Write::Agent { host, at: api.clock.wall(), write: AgentWrite::Revoked };
        ask(&api.jobs, write).await.ok_or_else(ApiError::going_down)?;
        tracing::warn!(host.id = %host, "agent revoked");
        Ok(Json(json!({"host": host.to_string(), "revoked": true})))
    })
    .await
}

/// `GET /api/v1/ca`
pub(super) async fn ca(State(api): State<Shared>) -> Json<Value> {
    Json(json!({
        "pem": api.authority.certificate_pem(),
        "fingerprint": format!("sha256:{}", api.authority.fingerprint()),
        "online_key": api.online_key.to_string(),
    }))
}

/// What a person has to put right, with the remedy.
fn problems(row: &AgentRow, twins: Option<[IpAddr; 2]>) -> Vec<String> {
    let in_effect = &row.in_effect;
    let mut problems = Vec::new();
    if let Some([one, other]) = twins {
        problems.push(format!(
            "two agents run with its identity, last from {one} and {other}, as after a copy of a disk: on one of them move \
             the folder `identity` out of the agent's data directory, enrol it anew (`vedette-agent enroll`) and restart it"
        ));
    }
    if let Some((version, reason)) = &in_effect.policy_refused
        && (*version == 0 || *version > in_effect.policy_version)
    {
        problems.push(format!("refuses the policy: {reason}"));
    }
    if in_effect.policy_stale {
        problems.push("its policy has expired and runs on: apply a newer one (`vedette policy apply`)".to_owned());
    }
    problems
}

fn agent(row: &AgentRow, connected: bool, engine: &SharedEngine) -> Value {
    let in_effect = &row.in_effect;
    let delay = |id: &DirectiveId| lock(engine).directive_delay_ms(*id);
    let directives: Vec<_> =
        in_effect.directives.iter().map(|id| json!({"id": id.to_string(), "in_effect_after_ms": delay(id)})).collect();
    let detectors: Vec<_> = in_effect
        .detectors
        .iter()
        .map(|(name, digest, state)| json!({"name": name, "digest": digest.to_string(), "state": state}))
        .collect();
    let refused = |(version, reason): &(u64, String)| json!({"version": version, "reason": reason});
    json!({
        "host": row.host.to_string(),
        "host_name": row.host_name,
        "connected": connected,
        "software": row.software,
        "enrolled": row.enrolled.map(|at| at.to_string()),
        "last_seen": row.last_seen.map(|at| at.to_string()),
        "last_seen_unix_ms": row.last_seen.map(vedette_protocol::time::WallTime::unix_ms),
        "skew_ms": row.skew_ns / 1_000_000,
        "policy_version_in_effect": in_effect.policy_version,
        "policy_stale": in_effect.policy_stale,
        "policy_refused": in_effect.policy_refused.as_ref().map(refused),
        "directives_in_effect": directives,
        "directive_refused": in_effect.directive_refused.as_ref().map(|(id, reason)| json!({"id": id.to_string(), "reason": reason})),
        "detectors": detectors,
        "revoked": row.revoked.is_some(),
        "revoked_at": row.revoked.map(|at| at.to_string()),
    })
}
