//! Who is not let in, and that each refusal is counted while the server goes on.

use super::world::*;
use std::sync::Arc;
use std::time::Duration;
use vedette_link::authority::Authority;
use vedette_link::client::{ClientConfig, probe};
use vedette_link::clock::{Clock, SystemClock};
use vedette_link::identity::Identity;
use vedette_link::outage::Obstacle;
use vedette_link::server::{CloseCode, ServerEvent, ServerLimits};
use vedette_protocol::ids::HostId;

const WEEK: Duration = Duration::from_secs(7 * 86_400);

fn ago(time: Duration) -> vedette_protocol::time::WallTime {
    SystemClock.wall().offset_by(-i64::try_from(time.as_nanos()).unwrap())
}

async fn still_serves(collector: &mut Collector) {
    let identity = collector.identity(HostId([0xee; 16]), 7, SystemClock.wall());
    let mut other = Agent::start(collector.client_config(collector.address(), identity));
    other.connected().await;
    let is_other = |event: &ServerEvent| match event {
        ServerEvent::Connected { identity, .. } if identity.host == HostId([0xee; 16]) => Some(()),
        _ => None,
    };
    collector.until(is_other).await;
}

#[tokio::test]
async fn a_certificate_of_another_authority_is_refused() {
    let mut collector = Collector::start();
    let stranger = Authority::create(SystemClock.wall()).unwrap();
    let (key_der, csr) = key_and_request();
    let chain_der = stranger.sign_host(&csr, vedette_protocol::ids::TenantId(0), HOST, 7, SystemClock.wall()).unwrap();
    let config = collector.client_config(collector.address(), Identity { chain_der, key_der });
    let mut agent = Agent::start(config);
    assert_eq!(agent.outage().await.obstacle, Obstacle::HostUntrusted);
    collector.until_stats(|stats| stats.refused_untrusted >= 1).await;
    still_serves(&mut collector).await;
}

#[tokio::test]
async fn a_collector_of_another_authority_is_refused_by_the_agent() {
    let collector = Collector::start();
    let stranger = Authority::create(SystemClock.wall()).unwrap();
    let identity = collector.identity(HOST, 7, SystemClock.wall());
    let config = collector.client_config(collector.address(), identity);
    let mut agent = Agent::start(ClientConfig { authorities_der: vec![stranger.certificate_der().to_vec()], ..config });
    let outage = agent.outage().await;
    assert_eq!(outage.obstacle, Obstacle::CollectorUntrusted, "{outage}");
    assert!(outage.detail.contains("UnknownIssuer"), "{outage}");
    assert_eq!(agent.handle.stats().connects, 0);
}

#[tokio::test]
async fn an_expired_certificate_is_refused() {
    let mut collector = Collector::start();
    let identity = collector.identity(HOST, 7, ago(WEEK + Duration::from_secs(60)));
    let mut agent = Agent::start(collector.client_config(collector.address(), identity));
    assert_eq!(agent.outage().await.obstacle, Obstacle::HostExpired);
    collector.until_stats(|stats| stats.refused_expired >= 1).await;
    still_serves(&mut collector).await;
}

#[tokio::test]
async fn an_agent_without_a_certificate_is_refused() {
    let mut collector = Collector::start();
    let connection = super::hostile::connect_raw(&collector, None, vedette_link::ALPN).await;
    let error = within(connection.closed()).await;
    assert_eq!(super::hostile::code(&error), Some(CloseCode::NoCertificate));
    assert_eq!(collector.stats().refused_no_certificate, 1);
    still_serves(&mut collector).await;
}

#[tokio::test]
async fn a_denied_agent_is_refused_and_a_live_one_is_closed() {
    let mut collector = Collector::start();
    let mut agent = collector.agent(collector.address());
    agent.connected().await;
    collector.denied.revoke(HOST);
    collector.handle.recheck();
    assert!(agent.disconnected().await.contains("denied"));
    collector.until_stats(|stats| stats.refused_denied == 1).await;
    still_serves(&mut collector).await;
    let mut again = collector.agent(collector.address());
    assert_eq!(again.outage().await.obstacle, Obstacle::HostRevoked);
    assert_eq!((collector.stats().refused_denied, again.handle.stats().connects), (2, 0));
}

#[tokio::test]
async fn a_certificate_that_ends_during_a_connection_ends_it() {
    let mut collector = Collector::start();
    let identity = collector.identity(HOST, 7, ago(WEEK - Duration::from_secs(60)));
    let mut agent = Agent::start(collector.client_config(collector.address(), identity));
    agent.connected().await;
    collector.clock.advance(Duration::from_secs(120));
    // Anything makes the connection look at the clock; a recheck is the nearest.
    collector.handle.recheck();
    assert!(agent.disconnected().await.contains("expired"));
    still_serves(&mut collector).await;
}

/// Connects, is cut off and connects again with the ticket it got: the second handshake must be a resumption.
///
/// The proof: rustls calls the verifier in every full handshake of an agent and in no other, and it called it once.
async fn resumes(collector: &mut Collector, identity: Identity, between: impl FnOnce(&Collector)) -> Agent {
    let mut agent = Agent::start(collector.client_config(collector.address(), identity));
    agent.connected().await;
    let connection = collector
        .until(|event| match event {
            ServerEvent::Connected { connection, .. } => Some(*connection),
            _ => None,
        })
        .await;
    // The answer to the first time probe has passed: the ticket, sent before it, has arrived.
    collector.until(|event| matches!(event, ServerEvent::Clock { .. }).then_some(())).await;
    assert_eq!((collector.stats().handshakes, collector.stats().certificates_verified), (1, 1));
    between(collector);
    collector.handle.close(connection, CloseCode::Shutdown);
    collector.until_stats(|stats| stats.handshakes >= 2).await;
    assert_eq!(collector.stats().certificates_verified, 1, "the second handshake was no resumption");
    agent
}

#[tokio::test]
async fn a_valid_agent_may_resume() {
    let mut collector = Collector::start();
    let identity = collector.identity(HOST, 7, SystemClock.wall());
    let mut agent = resumes(&mut collector, identity, |_| {}).await;
    agent.connected().await;
    assert_eq!(collector.stats().refused_denied, 0);
}

#[tokio::test]
async fn a_revoked_agent_that_resumes_its_session_is_refused() {
    let mut collector = Collector::start();
    let identity = collector.identity(HOST, 7, SystemClock.wall());
    let mut agent = resumes(&mut collector, identity, |collector| collector.denied.revoke(HOST)).await;
    agent.disconnected().await;
    assert!(agent.disconnected().await.contains("denied"));
    assert_eq!((collector.stats().refused_denied, agent.handle.stats().connects), (1, 1));
    still_serves(&mut collector).await;
}

#[tokio::test]
async fn an_agent_whose_certificate_expired_and_that_resumes_its_session_is_refused() {
    let mut collector = Collector::start();
    let identity = collector.identity(HOST, 7, ago(WEEK - Duration::from_secs(60)));
    let advance = |collector: &Collector| collector.clock.advance(Duration::from_secs(120));
    let mut agent = resumes(&mut collector, identity, advance).await;
    agent.disconnected().await;
    assert!(agent.disconnected().await.contains("expired"));
    assert_eq!((collector.stats().refused_expired, agent.handle.stats().connects), (1, 1));
    still_serves(&mut collector).await;
}

#[tokio::test]
async fn a_newer_connection_of_a_host_replaces_the_older() {
    let collector = Collector::start();
    let mut older = collector.agent(collector.address());
    older.connected().await;
    let mut newer = collector.agent(collector.address());
    newer.connected().await;
    assert_eq!(older.outage().await.obstacle, Obstacle::Replaced);
    assert!(collector.stats().replaced >= 1);
    // It does not take its place back at once: the two would do nothing else.
    let soon = tokio::time::timeout(Duration::from_secs(2), older.connected()).await;
    assert!(soon.is_err() && collector.stats().replaced == 1);
}

#[tokio::test]
async fn whether_a_host_is_let_in_can_be_tried_without_taking_its_place() {
    let collector = Collector::start();
    let identity = collector.identity(HOST, 7, SystemClock.wall());
    let mut agent = Agent::start(collector.client_config(collector.address(), identity.clone()));
    agent.connected().await;
    let (address, trusted) = (collector.address().to_string(), vec![collector.authority.certificate_der().to_vec()]);
    let try_as = |identity: Identity, trusted: Vec<Vec<u8>>| {
        let address = address.clone();
        let clock = Arc::new(SystemClock);
        async move {
            let tried = probe(&address, vedette_link::SERVER_NAME, &identity, &trusted, clock).await;
            tried.map_err(|outage| outage.obstacle)
        }
    };
    assert_eq!(try_as(identity.clone(), trusted.clone()).await, Ok(()));
    assert_eq!(collector.stats().replaced, 0);
    let stranger = Authority::create(SystemClock.wall()).unwrap().certificate_der().to_vec();
    assert_eq!(try_as(identity.clone(), vec![stranger]).await, Err(Obstacle::CollectorUntrusted));
    collector.denied.revoke(HOST);
    assert_eq!(try_as(identity, trusted).await, Err(Obstacle::HostRevoked));
}

#[tokio::test]
async fn an_address_may_have_so_many_connections() {
    let limits = ServerLimits { connections_per_address_max: 1, ..ServerLimits::default() };
    let collector = Collector::start_with(limits);
    let mut first = collector.agent(collector.address());
    first.connected().await;
    let identity = collector.identity(HostId([0xee; 16]), 7, SystemClock.wall());
    let mut second = Agent::start(collector.client_config(collector.address(), identity));
    assert_eq!(second.outage().await.obstacle, Obstacle::Busy);
    assert!(collector.stats().refused_limits >= 1);
    drop(first);
    second.connected().await;
}

#[tokio::test]
async fn under_load_an_address_has_to_prove_itself_and_then_gets_in() {
    let limits = ServerLimits { handshakes_before_retry: 0, ..ServerLimits::default() };
    let collector = Collector::start_with(limits);
    let mut agent = collector.agent(collector.address());
    agent.connected().await;
    assert!(collector.stats().retries >= 1);
}

#[tokio::test]
async fn retry_after_is_honoured() {
    let mut collector = Collector::start();
    let mut agent = collector.agent(collector.address());
    agent.connected().await;
    let connected = |event: &ServerEvent| match event {
        ServerEvent::Connected { connection, .. } => Some(*connection),
        _ => None,
    };
    let connection = collector.until(connected).await;
    collector.handle.retry_after(connection, 1_500);
    let asked = std::time::Instant::now();
    agent.disconnected().await;
    collector.until(connected).await;
    assert!(asked.elapsed() >= Duration::from_millis(1_500), "{:?}", asked.elapsed());
}

#[tokio::test]
async fn a_server_that_goes_down_says_so() {
    let collector = Collector::start();
    let mut agent = collector.agent(collector.address());
    agent.connected().await;
    collector.handle.shutdown();
    assert!(agent.disconnected().await.contains("shutdown"));
    within(collector.task).await.unwrap();
}

#[tokio::test]
async fn names_and_addresses_that_cannot_be_are_refused_at_start() {
    let authority = Arc::new(Authority::create(SystemClock.wall()).unwrap());
    let collector =
        Collector::start_at("127.0.0.1:0".parse().unwrap(), Arc::clone(&authority), ServerLimits::default());
    let config = |listen, names| vedette_link::server::ServerConfig {
        listen,
        names,
        authority: Arc::clone(&authority),
        gate: Arc::new(DenyList::default()),
        clock: Arc::new(SystemClock),
        limits: ServerLimits::default(),
    };
    let taken = vedette_link::server::listen(config(collector.address(), vec![]));
    assert!(matches!(taken, Err(vedette_link::server::ServerError::Listen { .. })));
    let unnamed = vedette_link::server::listen(config("127.0.0.1:0".parse().unwrap(), vec!["ünfit".into()]));
    assert!(matches!(unnamed, Err(vedette_link::server::ServerError::Authority(_))));
}
