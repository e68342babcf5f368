//! Policy: handing one in, and which is in effect where.

use super::Shared;
use super::agents::AGENTS_MAX;
use super::answer::{ApiError, to_the_end};
use crate::shell::counters::count;
use crate::shell::policy::PolicyRefused;
use axum::Json;
use axum::extract::State;
use axum::extract::rejection::JsonRejection;
use axum::http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use vedette_protocol::signature::{PublicKey, Signed};

/// A signed document as JSON: its text, the signer, the signature as 128 hexadecimal digits.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SignedDocument {
    document: String,
    key: String,
    signature: String,
}

impl SignedDocument {
    fn signed(self) -> Result<Signed, String> {
        let key: PublicKey =
            self.key.parse().map_err(|_| "`key` is not `ed25519:` and 64 hexadecimal digits".to_owned())?;
        let signature = from_hex(&self.signature).ok_or("`signature` is not 128 hexadecimal digits")?;
        Ok(Signed { bytes: self.document.into_bytes(), key, signature })
    }
}

/// `GET /api/v1/policy`
pub(super) async fn show(State(api): State<Shared>) -> Result<Json<Value>, ApiError> {
    let agents = api.readers.quick(|reader| reader.agents(AGENTS_MAX)).await?;
    let agents: Vec<_> = agents
        .iter()
        .map(|row| {
            let in_effect = &row.in_effect;
            let refused = in_effect.policy_refused.as_ref();
            json!({
                "host": row.host.to_string(),
                "host_name": row.host_name,
                "version_in_effect": in_effect.policy_version,
                "stale": in_effect.policy_stale,
                "refused": refused.map(|(version, reason)| json!({"version": version, "reason": reason})),
            })
        })
        .collect();
    let current = api.policy.current();
    let current = current.as_deref();
    Ok(Json(json!({
        "version": current.map_or(0, |policy| policy.version),
        "expires": current.and_then(|policy| policy.expires).map(|at| at.to_string()),
        "stored": current.map(|policy| policy.stored.to_string()),
        "key": current.map(|policy| policy.signed.key.to_string()),
        "document": current.map(|policy| String::from_utf8_lossy(&policy.signed.bytes).into_owned()),
        "agents": agents,
    })))
}

/// `PUT /api/v1/policy`
pub(super) async fn put(
    State(api): State<Shared>,
    body: Result<Json<SignedDocument>, JsonRejection>,
) -> Result<Json<Value>, ApiError> {
    let signed = body.map_err(|error| error.to_string()).and_then(|Json(document)| document.signed());
    let signed = signed.map_err(|error| {
        count(&api.counters.policies_malformed);
        ApiError::bad(error)
    })?;
    to_the_end(async move {
        let accepted = api.policy.accept(signed, &*api.clock, &api.jobs, &api.server).await;
        let (version, pushed_to) = accepted.map_err(refused)?;
        Ok(Json(json!({"version": version, "pushed_to": pushed_to})))
    })
    .await
}

fn refused(refused: PolicyRefused) -> ApiError {
    match &refused {
        PolicyRefused::Invalid(problems) => {
            let problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
            ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, problems.join("; ")).with("problems", json!(problems))
        }
        PolicyRefused::NotNewer { .. } => ApiError::new(StatusCode::CONFLICT, refused),
        PolicyRefused::GoingDown => ApiError::going_down(),
        PolicyRefused::Signature(_) | PolicyRefused::Expired(_) => {
            ApiError::new(StatusCode::UNPROCESSABLE_ENTITY, refused)
        }
    }
}

/// The bytes of 64 pairs of hexadecimal digits.
fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    if digits.len() != 128 {
        return None;
    }
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    digits.chunks_exact(2).map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_has_to_be_128_digits() {
        assert_eq!(from_hex(&"0f".repeat(64)), Some(vec![15; 64]));
        assert_eq!(from_hex(&"0f".repeat(63)), None);
        assert_eq!(from_hex(&"0g".repeat(64)), None);
    }
}
