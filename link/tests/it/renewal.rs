//! A certificate is renewed over the connection that it stands for, without a restart.

use super::world::*;
use std::time::Duration;
use vedette_link::client::LinkEvent;
use vedette_link::clock::{Clock, SystemClock};
use vedette_link::identity::Identity;
use vedette_link::server::{ConnectionId, PeerIdentity, ServerEvent};
use vedette_protocol::ids::{HostId, TenantId};
use vedette_protocol::time::WallTime;
use vedette_protocol::v1::{Class, Outcome, RenewReply, RenewRequest};

const DAY: Duration = Duration::from_secs(86_400);

fn days_ago(days: i64) -> WallTime {
    SystemClock.wall().offset_by(-days * 86_400_000_000_000)
}

/// The next request for a certificate.
async fn asked(collector: &mut Collector) -> (ConnectionId, PeerIdentity, RenewRequest) {
    collector
        .until(|event| match event {
            ServerEvent::Renew { connection, identity, request } => Some((*connection, *identity, request.clone())),
            _ => None,
        })
        .await
}

fn issue(collector: &Collector, request: &RenewRequest, host: HostId) -> RenewReply {
    let now = SystemClock.wall();
    let chain_der = collector.authority.sign_host(&request.csr_der, TenantId(0), host, 7, now).unwrap();
    RenewReply::Issued { chain_der, authorities_der: vec![collector.authority.certificate_der().to_vec()] }
}

async fn renewed(agent: &mut Agent) -> Identity {
    agent
        .until(|event| match event {
            LinkEvent::Renewed { identity, .. } => Some(identity.clone()),
            _ => None,
        })
        .await
}

#[tokio::test]
async fn an_agent_outlives_its_certificate() {
    let mut collector = Collector::start();
    let old = collector.identity(HOST, 7, days_ago(6));
    let mut agent = Agent::start(collector.client_config(collector.address(), old.clone()));
    agent.connected().await;
    agent.hand_in(batch(1, Class::Finding, 0));
    let (connection, identity, request) = asked(&mut collector).await;
    assert_eq!(identity.host, HOST);
    collector.handle.renew(connection, issue(&collector, &request, HOST));
    let new = renewed(&mut agent).await;
    assert!(new != old && new.key_der != old.key_der, "certificate and key are new");
    agent.connected().await;

    let mut shown = collector.until(connected).await;
    while shown.certificate != PeerIdentity::of(&new.chain_der[0].clone().into()).unwrap().certificate {
        shown = collector.until(connected).await;
    }
    // The first certificate is over; with it the connection would end here.
    collector.clock.advance(2 * DAY);
    let (connection, key) = collector
        .until(|event| match event {
            ServerEvent::Batch { connection, key, .. } => Some((*connection, key.unwrap())),
            _ => None,
        })
        .await;
    collector.handle.ack(connection, key.queue_epoch, vec![(key.sequence, Outcome::Committed)]);
    agent.settled().await;
    assert_eq!(collector.stats().refused_expired, 0);
}

fn connected(event: &ServerEvent) -> Option<PeerIdentity> {
    match event {
        ServerEvent::Connected { identity, .. } => Some(*identity),
        _ => None,
    }
}

#[tokio::test]
async fn a_certificate_for_another_host_is_not_taken_and_the_connection_stays() {
    let mut collector = Collector::start();
    let identity = collector.identity(HOST, 7, days_ago(6));
    let mut agent = Agent::start(collector.client_config(collector.address(), identity));
    let (connection, _, request) = asked(&mut collector).await;
    collector.handle.renew(connection, issue(&collector, &request, HostId([0xbb; 16])));
    let reason = agent
        .until(|event| match event {
            LinkEvent::NotRenewed { reason } => Some(reason.clone()),
            _ => None,
        })
        .await;
    assert!(reason.contains("another host"), "{reason}");
    assert_eq!(collector.handle.connection_of(HOST), Some(connection));
}

#[tokio::test]
async fn a_young_certificate_is_not_renewed() {
    let mut collector = Collector::start();
    let identity = collector.identity(HOST, 7, days_ago(4));
    let mut agent = Agent::start(collector.client_config(collector.address(), identity));
    agent.connected().await;
    agent.hand_in(batch(1, Class::Finding, 0));
    collector.until(|event| matches!(event, ServerEvent::Batch { .. }).then_some(())).await;
    assert_eq!(collector.stats().renewals, 0);
}
