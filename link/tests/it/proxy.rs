//! A UDP network between agent and collector that fails as its seed says.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;
use vedette_protocol::session::backoff::Jitter;

/// Percentages per datagram.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Faults {
    pub(crate) lost: u64,
    pub(crate) doubled: u64,
    pub(crate) delayed: u64,
}

#[derive(Debug)]
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    pub(crate) parted: Arc<AtomicBool>,
    pub(crate) lost: Arc<AtomicU64>,
    task: JoinHandle<()>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Proxy {
    pub(crate) async fn start(server: SocketAddr, seed: u64, faults: Faults) -> Self {
        let socket = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
        let address = socket.local_addr().unwrap();
        let (parted, lost) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let line = Line { faults, parted: Arc::clone(&parted), lost: Arc::clone(&lost) };
        let task = tokio::spawn(run(socket, server, seed, line));
        Self { address, parted, lost, task }
    }
}

#[derive(Clone)]
struct Line {
    faults: Faults,
    parted: Arc<AtomicBool>,
    lost: Arc<AtomicU64>,
}

impl Line {
    /// Sends a datagram on, or not, or twice, or late.
    fn carry(&self, jitter: &mut Jitter, from: &Arc<UdpSocket>, to: SocketAddr, datagram: &[u8]) {
        let dice = |jitter: &mut Jitter, percent| jitter.within(&(0..=99)) < percent;
        if self.parted.load(Ordering::Relaxed) || dice(jitter, self.faults.lost) {
            self.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        for _ in 0..1 + u32::from(dice(jitter, self.faults.doubled)) {
            let late = if dice(jitter, self.faults.delayed) { jitter.within(&(1..=15)) } else { 0 };
            let (from, datagram) = (Arc::clone(from), datagram.to_vec());
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(late)).await;
                let _ = from.send_to(&datagram, to).await;
            });
        }
    }
}

async fn run(outside: Arc<UdpSocket>, server: SocketAddr, seed: u64, line: Line) {
    let mut insides: HashMap<SocketAddr, Arc<UdpSocket>> = HashMap::new();
    let mut jitter = Jitter::new(seed);
    let mut buffer = vec![0; 65_536];
    while let Ok((bytes, client)) = outside.recv_from(&mut buffer).await {
        let inside = match insides.entry(client) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                let inside = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
                tokio::spawn(answers(Arc::clone(&inside), Arc::clone(&outside), client, seed + 1, line.clone()));
                new.insert(inside)
            }
        };
        line.carry(&mut jitter, inside, server, &buffer[..bytes]);
    }
}

async fn answers(inside: Arc<UdpSocket>, outside: Arc<UdpSocket>, client: SocketAddr, seed: u64, line: Line) {
    let mut jitter = Jitter::new(seed);
    let mut buffer = vec![0; 65_536];
    while let Ok((bytes, _)) = inside.recv_from(&mut buffer).await {
        line.carry(&mut jitter, &outside, client, &buffer[..bytes]);
    }
}
