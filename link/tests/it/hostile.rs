//! An agent with a valid certificate that does not keep to the protocol.

use super::world::*;
use quinn::{ClientConfig, Connection, ConnectionError, Endpoint};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::sync::Arc;
use std::time::Duration;
use vedette_link::clock::{Clock, SystemClock};
use vedette_link::identity::Identity;
use vedette_link::server::{CloseCode, ServerEvent};
use vedette_protocol::envelope::{Kind, seal};
use vedette_protocol::ids::{Sequence, TenantId};
use vedette_protocol::signature::{Domain, SigningKey};
use vedette_protocol::v1::*;

/// A connection without any session on top.
pub(crate) async fn connect_raw(collector: &Collector, identity: Option<Identity>, alpn: &[u8]) -> Connection {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from(collector.authority.certificate_der().to_vec())).unwrap();
    let builder = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots);
    let mut tls = match identity {
        None => builder.with_no_client_auth(),
        Some(Identity { chain_der, key_der }) => builder
            .with_client_auth_cert(
                chain_der.into_iter().map(CertificateDer::from).collect(),
                PrivateKeyDer::try_from(key_der).unwrap(),
            )
            .unwrap(),
    };
    tls.alpn_protocols = vec![alpn.to_vec()];
    let quic = quinn::crypto::rustls::QuicClientConfig::try_from(tls).unwrap();
    let endpoint = Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    let config = ClientConfig::new(Arc::new(quic));
    endpoint.connect_with(config, collector.address(), vedette_link::SERVER_NAME).unwrap().await.unwrap()
}

pub(crate) fn code(error: &ConnectionError) -> Option<CloseCode> {
    match error {
        ConnectionError::ApplicationClosed(close) => CloseCode::from_code(close.error_code.into_inner()),
        _ => None,
    }
}

async fn raw_agent(collector: &Collector) -> Connection {
    let identity = collector.identity(HOST, 7, SystemClock.wall());
    connect_raw(collector, Some(identity), vedette_link::ALPN).await
}

/// A raw agent that has been welcomed, with its control stream.
async fn greeted(collector: &mut Collector) -> (Connection, quinn::SendStream, quinn::RecvStream) {
    let connection = raw_agent(collector).await;
    let (mut send, receive) = connection.open_bi().await.unwrap();
    let agent = agent_identity();
    let hello = Hello {
        software: agent.software,
        host_name: agent.host_name,
        boot: agent.boot,
        queue_epoch: agent.queue_epoch,
        mono: SystemClock.mono(),
        wall: SystemClock.wall(),
        resource: vec![],
    };
    send.write_all(&encode(&FromAgent::Hello(hello)).unwrap()).await.unwrap();
    collector.until(|event| matches!(event, ServerEvent::Connected { .. }).then_some(())).await;
    (connection, send, receive)
}

async fn send_stream(connection: &Connection, bytes: &[u8]) {
    let mut stream = connection.open_uni().await.unwrap();
    // A server that has heard enough stops the stream.
    let _ = stream.write_all(bytes).await;
    let _ = stream.finish();
}

#[tokio::test]
async fn garbage_on_the_control_stream_closes_that_connection_only() {
    let mut version = encode(&FromAgent::InEffect(InEffect::default())).unwrap();
    version[4] = 2;
    for (bytes, expected) in [
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), CloseCode::Protocol),
        (encode(&FromAgent::InEffect(InEffect::default())).unwrap(), CloseCode::Protocol),
        (version, CloseCode::Version),
    ] {
        let collector = Collector::start();
        let connection = raw_agent(&collector).await;
        let (mut send, _receive) = connection.open_bi().await.unwrap();
        send.write_all(&bytes).await.unwrap();
        assert_eq!(code(&within(connection.closed()).await), Some(expected));
        collector.until_stats(|stats| stats.protocol_errors == 1).await;
        let mut agent = collector.agent(collector.address());
        agent.connected().await;
    }
}

#[tokio::test]
async fn batches_before_the_hello_close_the_connection() {
    let collector = Collector::start();
    let connection = raw_agent(&collector).await;
    let (mut send, _receive) = connection.open_bi().await.unwrap();
    send_stream(&connection, &batch(1, Class::Log, 10).bytes).await;
    send.write_all(b"V").await.unwrap();
    assert_eq!(code(&within(connection.closed()).await), Some(CloseCode::Protocol));
}

#[tokio::test]
async fn hostile_batches_are_counted_and_good_ones_still_arrive() {
    let mut collector = Collector::start();
    let (connection, _send, _receive) = greeted(&mut collector).await;
    let good = batch(5, Class::Finding, 100).bytes.to_vec();
    let mut flipped = good.clone();
    flipped[30] ^= 1;
    let truncated = good[..good.len() / 2].to_vec();
    let mut claims_much = seal(Kind::Batch, b"").unwrap();
    claims_much[8..12].copy_from_slice(&u32::MAX.to_le_bytes());
    let foreign = Batch { tenant: TenantId(9), ..decode(&good).unwrap() };
    for bytes in [b"garbage".to_vec(), vec![], flipped, truncated, claims_much, encode(&foreign).unwrap()] {
        send_stream(&connection, &bytes).await;
    }
    let mut seen = Vec::new();
    while seen.len() < 6 {
        if let ServerEvent::Batch { batch, key, .. } = collector.event().await {
            assert!(batch.is_err());
            seen.push(key.map(|key| key.sequence));
        }
    }
    assert_eq!(seen.iter().flatten().collect::<Vec<_>>(), [&Sequence(5)], "only the foreign one can be named");
    assert_eq!((collector.stats().batches, collector.stats().batches_undecodable), (6, 6));

    send_stream(&connection, &vec![0; 2 << 20]).await;
    let mut reset = connection.open_uni().await.unwrap();
    reset.write_all(&good[..10]).await.unwrap();
    reset.reset(7_u32.into()).unwrap();
    collector.until_stats(|stats| stats.batch_streams_failed == 2).await;

    send_stream(&connection, &good).await;
    let arrived = collector.until(|event| match event {
        ServerEvent::Batch { batch: Ok(batch), .. } => Some(batch.sequence),
        _ => None,
    });
    assert_eq!(arrived.await, Sequence(5));
    assert!(connection.close_reason().is_none());
}

/// A collector that does not take its events holds the agent back through QUIC's windows; memory stays bounded.
#[tokio::test]
async fn a_slow_collector_holds_agents_back() {
    let mut collector = Collector::start();
    let (connection, _send, _receive) = greeted(&mut collector).await;
    let bytes: Arc<[u8]> = batch(1, Class::Log, 500_000).bytes;
    let flood = async {
        for sent in 0.. {
            let Ok(mut stream) = connection.open_uni().await else { return sent };
            if stream.write_all(&bytes).await.is_err() {
                return sent;
            }
            let _ = stream.finish();
        }
        unreachable!("it never ends by itself")
    };
    // Nobody takes events: the flood comes to a stand far below what it would like to send.
    assert!(tokio::time::timeout(Duration::from_secs(3), flood).await.is_err());
    let queued = collector.events.len();
    assert!(queued <= 256, "{queued}");
    let (received, _) = collector.handle.udp_bytes();
    assert!(received < 256 << 20, "{received}");
}

#[tokio::test]
async fn an_agent_that_takes_nothing_is_closed_and_not_waited_for() {
    let mut collector = Collector::start();
    let (connection, _send, _unread) = greeted(&mut collector).await;
    let key = SigningKey::from_pkcs8(&SigningKey::generate_pkcs8()).unwrap();
    let policy = key.sign(Domain::Policy, vec![b'#'; 100_000]);
    let peer = collector.handle.connection_of(HOST).unwrap();
    let mut sent = 0;
    while collector.handle.send_policy(peer, policy.clone()) {
        sent += 1;
        assert!(sent < 1_000, "no bound");
        tokio::task::yield_now().await;
    }
    assert_eq!(code(&within(connection.closed()).await), Some(CloseCode::Slow));
    assert_eq!(collector.stats().slow_peers, 1);
}

#[tokio::test]
async fn an_unknown_application_protocol_is_refused_in_the_handshake() {
    let collector = Collector::start();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from(collector.authority.certificate_der().to_vec())).unwrap();
    let mut tls = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = vec![b"h3".to_vec()];
    let quic = quinn::crypto::rustls::QuicClientConfig::try_from(tls).unwrap();
    let endpoint = Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
    let config = ClientConfig::new(Arc::new(quic));
    let refused = endpoint.connect_with(config, collector.address(), vedette_link::SERVER_NAME).unwrap().await;
    assert!(refused.is_err());
    collector.until_stats(|stats| stats.handshakes_failed == 1).await;
}
