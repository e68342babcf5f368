//! What idle agents cost: bytes on the wire and memory of both ends together.
//!
//! `cargo run --release -p vedette-link --example idle -- <agents> <seconds>`

use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use vedette_link::authority::Authority;
use vedette_link::client::{ClientConfig, LinkEvent, LinkHandle, connect};
use vedette_link::clock::{Clock, SystemClock};
use vedette_link::identity::{Identity, PeerIdentity};
use vedette_link::server::{Denied, Gate, ServerConfig, ServerLimits, listen};
use vedette_protocol::ids::{BootId, HostId, QueueEpoch, TenantId};
use vedette_protocol::session::agent::AgentIdentity;

#[derive(Debug)]
struct Open;

impl Gate for Open {
    fn admit(&self, _: &PeerIdentity) -> Result<(), Denied> {
        Ok(())
    }
}

type Failure = Box<dyn std::error::Error>;

/// The collector runs here, the agents in a child process, so that each end's memory is seen alone.
fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse::<u32>());
    let agents = arguments.next().unwrap_or(Ok(20))?;
    let seconds = arguments.next().unwrap_or(Ok(60))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match std::env::var("VEDETTE_IDLE_COLLECTOR") {
        Ok(address) => runtime.block_on(run_agents(agents, seconds, address)),
        Err(_) => runtime.block_on(run_collector(agents, seconds)),
    }
}

async fn run_collector(agents: u32, seconds: u32) -> Result<(), Failure> {
    let authority = Arc::new(Authority::create(SystemClock.wall())?);
    let config = ServerConfig {
        listen: ([127, 0, 0, 1], 0).into(),
        names: vec![],
        authority: Arc::clone(&authority),
        gate: Arc::new(Open),
        clock: Arc::new(SystemClock),
        limits: ServerLimits::default(),
    };
    let (server, mut events, task) = listen(config)?;
    tokio::spawn(task.run());
    tokio::spawn(async move { while events.recv().await.is_some() {} });
    let before = resident_kib()?;
    let mut child = tokio::process::Command::new(std::env::current_exe()?)
        .args([agents.to_string(), seconds.to_string()])
        .env("VEDETTE_IDLE_COLLECTOR", server.local_address().to_string())
        .env("VEDETTE_IDLE_CA", authority.certificate_pem())
        .env("VEDETTE_IDLE_KEY", authority.key_pem())
        .spawn()?;
    while server.connections().len() < agents as usize {
        tokio::time::sleep(SETTLING / 10).await;
    }
    tokio::time::sleep(SETTLING / 2).await;
    println!("collector: {:.1} KiB resident per agent", f64::from(resident_kib()? - before) / f64::from(agents));
    child.wait().await?;
    Ok(())
}

async fn run_agents(agents: u32, seconds: u32, address: String) -> Result<(), Failure> {
    let authority = Authority::load(&std::env::var("VEDETTE_IDLE_CA")?, &std::env::var("VEDETTE_IDLE_KEY")?)?;
    let before = resident_kib()?;
    let mut links = Vec::new();
    for number in 0..agents {
        let (handle, mut events, task) = connect(agent(&authority, number, address.clone())?)?;
        tokio::spawn(task.run());
        while !matches!(events.recv().await, Some(LinkEvent::Connected { .. }) | None) {}
        links.push((handle, events));
    }
    println!("agent: {:.1} KiB resident per link", f64::from(resident_kib()? - before) / f64::from(agents));
    // The first seconds hold the end of the handshake and the search for the path's MTU.
    tokio::time::sleep(SETTLING).await;
    let start = total(&links);
    println!("connect: {} bytes up, {} down", start.0 / u64::from(agents), start.1 / u64::from(agents));
    tokio::time::sleep(Duration::from_secs(seconds.into())).await;
    let end = total(&links);
    let minutes = f64::from(seconds) / 60.0 * f64::from(agents);
    let per_minute = |from: u64, to: u64| f64::from(u32::try_from(to - from).unwrap_or(u32::MAX)) / minutes;
    let (up, down) = (per_minute(start.0, end.0), per_minute(start.1, end.1));
    println!("idle: {up:.0} bytes up, {down:.0} down, {:.1} datagrams up, per minute", per_minute(start.2, end.2));
    Ok(())
}

const SETTLING: Duration = Duration::from_secs(10);

fn total(links: &[(LinkHandle, mpsc::Receiver<LinkEvent>)]) -> (u64, u64, u64) {
    links.iter().fold((0, 0, 0), |(sent, received, datagrams), (handle, _)| {
        let stats = handle.stats();
        (sent + stats.udp_bytes_sent, received + stats.udp_bytes_received, datagrams + stats.datagrams_sent)
    })
}

fn agent(authority: &Authority, number: u32, address: String) -> Result<ClientConfig, Failure> {
    let key = rcgen::KeyPair::generate()?;
    let csr = rcgen::CertificateParams::default().serialize_request(&key)?;
    let mut host = [0; 16];
    host[..4].copy_from_slice(&number.to_le_bytes());
    let chain_der = authority.sign_host(csr.der(), TenantId(0), HostId(host), 7, SystemClock.wall())?;
    Ok(ClientConfig {
        address,
        server_name: vedette_link::SERVER_NAME.to_owned(),
        identity: Identity { chain_der, key_der: key.serialize_der() },
        authorities_der: vec![authority.certificate_der().to_vec()],
        agent: AgentIdentity {
            software: env!("CARGO_PKG_VERSION").to_owned(),
            host_name: format!("host-{number}"),
            boot: BootId([1; 16]),
            queue_epoch: QueueEpoch(1),
            resource: vec![],
        },
        clock: Arc::new(SystemClock),
    })
}

fn resident_kib() -> Result<u32, Failure> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
