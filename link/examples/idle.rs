//! What idle agents cost: bytes on the wire and memory of both ends together.
//!
//! `cargo run --release -p vedette-link --example idle -- <agents> <seconds>`

use std::sync::Arc;
use std::time::Duration;
use vedette_link::authority::Authority;
use vedette_link::client::{ClientConfig, LinkEvent, connect};
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

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse::<u32>());
    let agents = arguments.next().unwrap_or(Ok(1))?;
    let seconds = arguments.next().unwrap_or(Ok(60))?;
    let authority = Arc::new(Authority::create(SystemClock.wall())?);
    let config = ServerConfig {
        listen: ([127, 0, 0, 1], 0).into(),
        names: vec![],
        authority: Arc::clone(&authority),
        gate: Arc::new(Open),
        clock: Arc::new(SystemClock),
        limits: ServerLimits::default(),
    };
    let (server, mut server_events, task) = listen(config)?;
    tokio::spawn(task.run());
    tokio::spawn(async move { while server_events.recv().await.is_some() {} });

    let mut links = Vec::new();
    let before = resident_kib()?;
    for number in 0..agents {
        let (handle, mut events, task) = connect(agent(&authority, number, server.local_address().to_string())?)?;
        tokio::spawn(task.run());
        while !matches!(events.recv().await, Some(LinkEvent::Connected { .. }) | None) {}
        links.push((handle, events));
    }
    let after = resident_kib()?;
    println!("{agents} agents: {:.1} KiB resident each, both ends", f64::from(after - before) / f64::from(agents));

    // The first seconds hold the end of the handshake and the search for the path's MTU.
    tokio::time::sleep(Duration::from_secs(10)).await;
    let total = |links: &[(vedette_link::client::LinkHandle, _)]| {
        links.iter().fold((0, 0, 0), |(sent, received, datagrams), (handle, _)| {
            let stats = handle.stats();
            (sent + stats.udp_bytes_sent, received + stats.udp_bytes_received, datagrams + stats.datagrams_sent)
        })
    };
    let start = total(&links);
    println!("connect: {} bytes up, {} down each", start.0 / u64::from(agents), start.1 / u64::from(agents));
    tokio::time::sleep(Duration::from_secs(seconds.into())).await;
    let end = total(&links);
    let minutes = f64::from(seconds) / 60.0 * f64::from(agents);
    let per_minute = |from: u64, to: u64| f64::from(u32::try_from(to - from).unwrap_or(u32::MAX)) / minutes;
    println!(
        "idle: {:.0} bytes up and {:.0} down, {:.1} datagrams up, per agent and minute",
        per_minute(start.0, end.0),
        per_minute(start.1, end.1),
        per_minute(start.2, end.2)
    );
    Ok(())
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
