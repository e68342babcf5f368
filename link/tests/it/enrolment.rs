//! The way into the fleet.

use super::hostile::{code, connect_raw};
use super::world::*;
use std::sync::Arc;
use vedette_link::authority::Authority;
use vedette_link::clock::{Clock, SystemClock};
use vedette_link::enroll::{EnrollError, Enrolled, enroll};
use vedette_link::outage::{Obstacle, Outage};
use vedette_link::server::{CloseCode, ServerEvent, ServerLimits};
use vedette_protocol::ids::{HostId, TenantId};
use vedette_protocol::signature::PublicKey;
use vedette_protocol::v1::EnrollReply;

async fn ask(collector: &Collector, authority_pem: &str, token: &str) -> Result<Enrolled, EnrollError> {
    let address = collector.address().to_string();
    let clock = Arc::new(SystemClock);
    within(enroll(&address, vedette_link::SERVER_NAME, authority_pem, token, "web-1", clock)).await
}

/// Answers requests as a collector would: the token `good` is worth one certificate.
fn answer(collector: &mut Collector) {
    let authority = Arc::clone(&collector.authority);
    let (_, nothing) = tokio::sync::mpsc::channel(1);
    let mut events = std::mem::replace(&mut collector.events, nothing);
    tokio::spawn(async move {
        let mut unused = true;
        while let Some(event) = events.recv().await {
            let ServerEvent::Enroll { request, reply, .. } = event else { continue };
            assert_eq!(request.host_name, "web-1");
            let answered = if request.token == "good" && std::mem::take(&mut unused) {
                let host = HostId([0x42; 16]);
                let chain = authority.sign_host(&request.csr_der, TenantId(0), host, 7, SystemClock.wall());
                EnrollReply::Issued {
                    chain_der: chain.unwrap(),
                    authorities_der: vec![authority.certificate_der().to_vec()],
                    online_key: [3; 32],
                }
            } else if request.token == "silent" {
                continue;
            } else {
                EnrollReply::Refused { reason: "ask for a new token".into() }
            };
            let _ = reply.send(answered);
        }
    });
}

#[tokio::test]
async fn an_enrolled_host_connects_with_what_it_got() {
    let mut collector = Collector::start();
    let pem = collector.authority.certificate_pem().to_owned();
    answer(&mut collector);
    let Enrolled { identity, authorities_der, online_key, host, .. } = ask(&collector, &pem, "good").await.unwrap();
    assert_eq!((host, online_key), (HostId([0x42; 16]), PublicKey([3; 32])));
    let config = collector.client_config(collector.address(), identity);
    let mut agent = Agent::start(vedette_link::client::ClientConfig { authorities_der, ..config });
    agent.connected().await;
}

#[tokio::test]
async fn the_collectors_refusal_is_passed_through() {
    let mut collector = Collector::start();
    let pem = collector.authority.certificate_pem().to_owned();
    answer(&mut collector);
    ask(&collector, &pem, "good").await.unwrap();
    for (token, expected) in [("good", "new token"), ("wrong", "new token"), ("silent", "try again")] {
        let refused = ask(&collector, &pem, token).await;
        assert!(matches!(&refused, Err(EnrollError::Refused(reason)) if reason.contains(expected)), "{refused:?}");
    }
    assert_eq!(collector.stats().enrolments, 4);
}

#[tokio::test]
async fn a_collector_that_is_not_the_pinned_one_gets_no_token() {
    let collector = Collector::start();
    let stranger = Authority::create(SystemClock.wall()).unwrap();
    let refused = ask(&collector, stranger.certificate_pem(), "good").await;
    let untrusted = |outage: &Outage| outage.obstacle == Obstacle::CollectorUntrusted;
    assert!(matches!(&refused, Err(EnrollError::Outage(outage)) if untrusted(outage)), "{refused:?}");
    assert_eq!(collector.stats().enrolments, 0);
    assert!(matches!(ask(&collector, "no pem", "good").await, Err(EnrollError::Local(_))));
}

#[tokio::test]
async fn a_hostile_request_is_counted_and_closed() {
    let collector = Collector::start();
    for bytes in [b"garbage".to_vec(), vec![], vec![0; 100_000]] {
        let connection = connect_raw(&collector, None, vedette_link::ALPN_ENROLL).await;
        let (mut send, _receive) = connection.open_bi().await.unwrap();
        let _ = send.write_all(&bytes).await;
        let _ = send.finish();
        within(connection.closed()).await;
    }
    collector.until_stats(|stats| stats.enrolments_failed == 3).await;
    assert_eq!(collector.stats().enrolments, 0);
}

#[tokio::test]
async fn strangers_do_not_take_the_agents_places() {
    let limits = ServerLimits { enrolments_max: 8, enrolments_per_address_max: 2, ..ServerLimits::default() };
    let mut collector = Collector::start_with(limits);
    let mut waiting = Vec::new();
    for _ in 0..2 {
        waiting.push(connect_raw(&collector, None, vedette_link::ALPN_ENROLL).await);
    }
    let third = connect_raw(&collector, None, vedette_link::ALPN_ENROLL).await;
    assert_eq!(code(&within(third.closed()).await), Some(CloseCode::Limit));
    assert_eq!(collector.stats().refused_limits, 1);
    let mut agent = collector.agent(collector.address());
    agent.connected().await;

    waiting.iter().for_each(|connection| connection.close(0_u8.into(), b""));
    collector.until_stats(|stats| stats.enrolments_failed == 2).await;
    let pem = collector.authority.certificate_pem().to_owned();
    answer(&mut collector);
    ask(&collector, &pem, "good").await.unwrap();
}
