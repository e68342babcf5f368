//! QUIC parameters of both ends: tight windows, so that a slow or hostile peer holds little memory.

use quinn::{TransportConfig, VarInt};
use std::sync::Arc;
use vedette_protocol::session::{
    BATCH_STREAMS_MAX, CONNECTION_WINDOW_BYTES, CloseCode, IDLE_TIMEOUT, STREAM_WINDOW_BYTES,
};

/// Control messages from the collector are small but for policies.
const CLIENT_WINDOW_BYTES: u32 = 128 << 10;

/// Unacknowledged data that one end keeps for sending again.
const SEND_WINDOW_BYTES: u64 = 512 << 10;

/// Priorities of streams at the agent; the control stream comes before all.
pub(crate) const CONTROL_PRIORITY: i32 = 10;

pub(crate) fn client() -> Arc<TransportConfig> {
    let mut config = common();
    config
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .receive_window(VarInt::from_u32(CLIENT_WINDOW_BYTES));
    Arc::new(config)
}

pub(crate) fn server() -> Arc<TransportConfig> {
    let mut config = common();
    config
        .max_concurrent_bidi_streams(VarInt::from_u32(1))
        .max_concurrent_uni_streams(VarInt::from_u32(BATCH_STREAMS_MAX))
        .receive_window(window(CONNECTION_WINDOW_BYTES));
    Arc::new(config)
}

/// The agent's heartbeats keep the connection alive, so QUIC's own keep-alive stays off at both ends.
fn common() -> TransportConfig {
    let mut config = TransportConfig::default();
    config
        .stream_receive_window(window(STREAM_WINDOW_BYTES))
        .send_window(SEND_WINDOW_BYTES)
        .datagram_receive_buffer_size(None)
        .max_idle_timeout(Some(IDLE_TIMEOUT.try_into().expect("120 s is a QUIC duration")));
    config
}

fn window(bytes: usize) -> VarInt {
    VarInt::try_from(bytes).expect("windows are far below 2^62")
}

/// The close code as QUIC's application error.
pub(crate) fn error_code(code: CloseCode) -> VarInt {
    VarInt::from_u32(code.code())
}

pub(crate) fn close(connection: &quinn::Connection, code: CloseCode) {
    connection.close(error_code(code), code.reason().as_bytes());
}

/// The other end's code, if it closed with one that we know.
pub(crate) fn close_code(error: &quinn::ConnectionError) -> Option<CloseCode> {
    match error {
        quinn::ConnectionError::ApplicationClosed(close) => CloseCode::from_code(close.error_code.into_inner()),
        _ => None,
    }
}

/// For people: why a connection ended.
pub(crate) fn describe(error: &quinn::ConnectionError) -> String {
    match close_code(error) {
        Some(code) => format!("closed by the other end: {}", code.reason()),
        None => error.to_string(),
    }
}
