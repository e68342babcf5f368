//! A host that asks to become an agent: one question, one answer.

use super::peers::Shared;
use super::{ServerEvent, count};
use crate::transport;
use quinn::Connection;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::timeout;
use vedette_protocol::envelope::{Kind, OVERHEAD_BYTES};
use vedette_protocol::session::CloseCode;
use vedette_protocol::v1::{EnrollReply, EnrollRequest, decode, encode};

/// Time for the whole exchange.
const TIMEOUT: Duration = Duration::from_secs(15);

pub(super) async fn run(shared: &Arc<Shared>, connection: &Connection) {
    let code = match timeout(TIMEOUT, exchange(shared, connection)).await {
        Ok(Some(())) => CloseCode::Done,
        Ok(None) => CloseCode::Protocol,
        Err(_) => CloseCode::Timeout,
    };
    if code != CloseCode::Done {
        count(&shared.counters.enrolments_failed);
    }
    transport::close(connection, code);
}

/// `None` if the host broke the exchange.
async fn exchange(shared: &Arc<Shared>, connection: &Connection) -> Option<()> {
    let (mut send, mut receive) = connection.accept_bi().await.ok()?;
    let most = Kind::EnrollRequest.payload_bytes_max() + OVERHEAD_BYTES;
    let bytes = receive.read_to_end(most).await.ok()?;
    let request: EnrollRequest = decode(&bytes).ok()?;
    count(&shared.counters.enrolments);
    let (reply, answer) = oneshot::channel();
    let event = ServerEvent::Enroll { address: connection.remote_address(), request, reply };
    shared.events.send(event).await.ok()?;
    let refused = || EnrollReply::Refused { reason: "the collector cannot answer now: try again".to_owned() };
    let answer = answer.await.unwrap_or_else(|_| refused());
    let frame = encode(&answer).or_else(|_| encode(&refused())).ok()?;
    send.write_all(&frame).await.ok()?;
    send.finish().ok()?;
    // Until the host has it all; closing earlier would throw the answer away.
    let _ = send.stopped().await;
    Some(())
}
