//! written next
use serde_json::Value;
pub(crate) fn chart(incident: &Value) -> String { incident.to_string() }
