//! node_exporter, collectd and netdata as Debian packs them, on loopback, each second, with configurations of this run.
//!
//! Each does its usual: node_exporter is scraped with gzip, collectd sends to a server on this host that counts, netdata
//! keeps what it collects to itself. None reads or writes below `/etc` or `/var/lib`.

use super::window::{Counts, Samples};
use crate::install::debian_packages;
use crate::process::Service;
use crate::progress::say;
use anyhow::{Context, Result};
use serde_json::Value;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Longest wait for an answer of a peer.
const PATIENCE: Duration = Duration::from_secs(10);
/// What is read of one answer.
const ANSWER_BYTES_MAX: u64 = 64 << 20;

/// Another agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    NodeExporter,
    Collectd,
    Netdata,
}

impl Peer {
    pub(crate) const ALL: [Self; 3] = [Self::NodeExporter, Self::Collectd, Self::Netdata];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::NodeExporter => "node_exporter",
            Self::Collectd => "collectd",
            Self::Netdata => "netdata",
        }
    }

    pub(crate) const fn package(self) -> &'static str {
        match self {
            Self::NodeExporter => "prometheus-node-exporter",
            Self::Collectd => "collectd-core",
            Self::Netdata => "netdata",
        }
    }

    /// Where it is installed.
    pub(crate) fn program(self) -> Option<PathBuf> {
        let name = match self {
            Self::NodeExporter => "prometheus-node-exporter",
            Self::Collectd => "collectd",
            Self::Netdata => "netdata",
        };
        let path = std::env::var_os("PATH").unwrap_or_default();
        let dirs = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/bin".into()]);
        dirs.map(|dir| dir.join(name)).find(|program| program.is_file())
    }
}

/// Installs what is missing, as root through apt. A package may start a service of its own, which is not touched.
pub(crate) fn install() -> Result<()> {
    let missing = Peer::ALL.into_iter().filter(|peer| peer.program().is_none());
    let packages: Vec<&str> = missing.map(Peer::package).collect();
    if packages.is_empty() { Ok(()) } else { debian_packages(&packages, "measuring beside peers") }
}

/// A peer that runs until dropped.
pub(crate) struct Running {
    pub(crate) peer: Peer,
    service: Service,
    counts: Counting,
}

/// How what a peer did is known.
enum Counting {
    /// Somebody takes what it gives, and counts.
    Taken(Taker),
    /// It is asked how many samples it collects a second.
    Asked(SocketAddr),
}

impl Running {
    /// Starts an installed peer with its files below `dir`.
    pub(crate) fn start(peer: Peer, program: &Path, dir: &Path) -> Result<Self> {
        say(&format!("starting {} ({})", peer.name(), program.display()));
        let dir = dir.join(peer.name());
        fs::create_dir_all(&dir)?;
        let mut command = Command::new(program);
        let counts = match peer {
            Peer::NodeExporter => {
                let address = free_address()?;
                command.arg(format!("--web.listen-address={address}"));
                Counting::Taken(Taker::scrape(address))
            }
            Peer::Collectd => {
                let socket = UdpSocket::bind("127.0.0.1:0")?;
                let config = dir.join("collectd.conf");
                fs::write(&config, collectd_conf(&dir, socket.local_addr()?.port()))?;
                command.arg("-f").arg("-C").arg(config);
                Counting::Taken(Taker::receive(socket)?)
            }
            Peer::Netdata => {
                let (address, statsd) = (free_address()?, free_address()?.port());
                netdata_files(&dir, address, statsd)?;
                command.arg("-D").arg("-c").arg(dir.join("netdata.conf"));
                command.env("DISABLE_TELEMETRY", "1").env("DO_NOT_TRACK", "1");
                Counting::Asked(address)
            }
        };
        let service = Service::start(peer.name(), &mut command, &dir.join("output.txt"))?;
        Ok(Self { peer, service, counts })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.service.pid()
    }

    pub(crate) fn ensure_alive(&mut self) -> Result<()> {
        self.service.ensure_alive()
    }

    /// What it did so far.
    pub(crate) fn counts(&self) -> Result<Counts> {
        match &self.counts {
            Counting::Taken(taker) => Ok(taker.counts()),
            Counting::Asked(address) => {
                let answer = http_get(*address, "/api/v1/charts", false)?;
                let charts: Value = serde_json::from_slice(&answer).context("netdata's charts are no JSON")?;
                Ok(Counts { samples: Samples::PerSecond(netdata_samples_per_s(&charts)), sent_bytes: None })
            }
        }
    }

    /// Asks it to end and waits; its helpers end with it.
    pub(crate) fn stop(mut self) -> Result<()> {
        self.service.terminate(Duration::from_secs(20)).map(drop)
    }
}

/// Takes what a peer gives, in a thread, and counts it.
struct Taker {
    taken: Arc<Taken>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Taken {
    samples: AtomicU64,
    bytes: AtomicU64,
    stop: AtomicBool,
}

impl Taker {
    /// Scrapes each second, as Prometheus does but for a connection each time.
    fn scrape(address: SocketAddr) -> Self {
        Self::spawn(move |taken| {
            let mut samples_each = 0;
            while !taken.stop.load(Ordering::Relaxed) {
                let begun = Instant::now();
                if samples_each == 0 {
                    let page = http_get(address, "/metrics", false).unwrap_or_default();
                    samples_each = samples_of_page(&page);
                } else if let Ok(page) = http_get(address, "/metrics", true) {
                    taken.samples.fetch_add(samples_each, Ordering::Relaxed);
                    taken.bytes.fetch_add(page.len() as u64, Ordering::Relaxed);
                }
                std::thread::park_timeout(Duration::from_secs(1).saturating_sub(begun.elapsed()));
            }
        })
    }

    /// Receives collectd's packets.
    fn receive(socket: UdpSocket) -> Result<Self> {
        socket.set_read_timeout(Some(Duration::from_millis(500)))?;
        Ok(Self::spawn(move |taken| {
            let mut packet = [0; 65_536];
            while !taken.stop.load(Ordering::Relaxed) {
                let Ok(length) = socket.recv(&mut packet) else { continue };
                taken.samples.fetch_add(samples_of_packet(&packet[..length]), Ordering::Relaxed);
                taken.bytes.fetch_add(length as u64, Ordering::Relaxed);
            }
        }))
    }

    fn spawn(take: impl FnOnce(&Taken) + Send + 'static) -> Self {
        let taken = Arc::<Taken>::default();
        let thread = std::thread::spawn({
            let taken = Arc::clone(&taken);
            move || take(&taken)
        });
        Self { taken, thread: Some(thread) }
    }

    fn counts(&self) -> Counts {
        Counts {
            samples: Samples::Counted(self.taken.samples.load(Ordering::Relaxed)),
            sent_bytes: Some(self.taken.bytes.load(Ordering::Relaxed)),
        }
    }
}

impl Drop for Taker {
    fn drop(&mut self) {
        self.taken.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

/// Body of the answer. HTTP/1.0, so that the connection's end is the answer's.
fn http_get(address: SocketAddr, path: &str, zipped: bool) -> Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let accept = if zipped { "Accept-Encoding: gzip\r\n" } else { "" };
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n{accept}Connection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer)?;
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").context("no HTTP answer")?;
    anyhow::ensure!(answer.starts_with(b"HTTP/1.") && answer.get(9..12) == Some(b"200"), "the answer is not 200");
    Ok(answer.split_off(end + 4))
}

/// Lines of the text format that are no comments.
fn samples_of_page(page: &[u8]) -> u64 {
    page.split(|byte| *byte == b'\n').filter(|line| !line.is_empty() && line[0] != b'#').count() as u64
}

/// Values in a packet of collectd's binary protocol: parts of type, length and content; of values, type 6, a count first.
fn samples_of_packet(mut packet: &[u8]) -> u64 {
    const VALUES: u16 = 6;
    let mut samples = 0;
    while let [t0, t1, l0, l1, rest @ ..] = packet {
        let length = usize::from(u16::from_be_bytes([*l0, *l1]));
        if u16::from_be_bytes([*t0, *t1]) == VALUES
            && let [n0, n1, ..] = rest
        {
            samples += u64::from(u16::from_be_bytes([*n0, *n1]));
        }
        // A length counts its own four bytes; one that does not is no packet of collectd's.
        packet = if length < 4 { &[] } else { packet.get(length..).unwrap_or_default() };
    }
    samples
}

/// Dimensions of all charts over their intervals.
fn netdata_samples_per_s(charts: &Value) -> f64 {
    let charts = charts["charts"].as_object().into_iter().flat_map(|charts| charts.values());
    let rate = |chart: &Value| {
        let dimensions = chart["dimensions"].as_object().map_or(0, serde_json::Map::len) as f64;
        dimensions / chart["update_every"].as_f64().unwrap_or(1.0).max(1.0)
    };
    charts.map(rate).sum()
}

fn collectd_conf(dir: &Path, port: u16) -> String {
    let plugins = ["cpu", "memory", "df", "disk", "interface", "load", "processes", "network"];
    let plugins: String = plugins.iter().map(|plugin| format!("LoadPlugin {plugin}\n")).collect();
    format!(
        "Hostname \"bench\"\nFQDNLookup false\nBaseDir {dir:?}\nPIDFile {:?}\nInterval 1\n{plugins}\
         <Plugin network>\n  Server \"127.0.0.1\" \"{port}\"\n</Plugin>\n",
        dir.join("pid"),
    )
}

/// Its configuration and folders, which belong to its own user if this is root.
fn netdata_files(dir: &Path, address: SocketAddr, statsd: u16) -> Result<()> {
    let own = ["etc", "cache", "lib", "log"];
    for name in own {
        fs::create_dir_all(dir.join(name))?;
    }
    fs::create_dir_all(dir.join("lib/cloud.d"))?;
    fs::write(dir.join("lib/cloud.d/cloud.conf"), "[global]\n    enabled = no\n")?;
    fs::write(dir.join("etc/.opt-out-from-anonymous-statistics"), "")?;
    let user = user_id("netdata");
    let runs_as = user.map_or_else(String::new, |_| "[global]\n    run as user = netdata\n".to_owned());
    let text = format!(
        "{runs_as}[directories]\n    config = {}\n    cache = {}\n    lib = {}\n    log = {}\n\
         [web]\n    bind to = {address}\n[statsd]\n    bind to = udp:127.0.0.1:{statsd} tcp:127.0.0.1:{statsd}\n\
         [health]\n    script to execute on alarm = /bin/true\n[registry]\n    registry to announce = http://127.0.0.1:1\n",
        dir.join("etc").display(),
        dir.join("cache").display(),
        dir.join("lib").display(),
        dir.join("log").display(),
    );
    fs::write(dir.join("netdata.conf"), text)?;
    for path in own.iter().map(|name| dir.join(name)).chain([dir.join("lib/cloud.d")]) {
        // Who is not root runs it as himself.
        let _ = std::os::unix::fs::chown(path, user, user);
    }
    Ok(())
}

fn user_id(name: &str) -> Option<u32> {
    let passwd = fs::read_to_string("/etc/passwd").ok()?;
    let line = passwd.lines().find(|line| line.split(':').next() == Some(name))?;
    line.split(':').nth(2)?.parse().ok()
}

fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_of_a_page_are_its_lines_without_comments() {
        assert_eq!(samples_of_page(b"# HELP a b\n# TYPE a gauge\na 1\na{b=\"c\"} 2\n\n"), 2);
    }

    #[test]
    fn values_of_a_packet_are_counted_and_nonsense_is_none() {
        let host = b"\x00\x00\x00\x0abench\x00";
        let two = b"\x00\x06\x00\x18\x00\x02\x01\x01AAAAAAAABBBBBBBB";
        let one = b"\x00\x06\x00\x0f\x00\x01\x01AAAAAAAA";
        assert_eq!(samples_of_packet(&[&host[..], two, one].concat()), 3);
        assert_eq!(samples_of_packet(b"\x00\x06\x00\x00\x00\x02"), 2, "and no endless loop");
        assert_eq!(samples_of_packet(b"\x00\x06\x00"), 0);
    }

    #[test]
    fn charts_count_by_their_own_intervals() {
        let charts = serde_json::json!({ "charts": {
            "a": { "update_every": 1, "dimensions": { "x": {}, "y": {} } },
            "b": { "update_every": 5, "dimensions": { "x": {} } },
        }});
        assert!((netdata_samples_per_s(&charts) - 2.2).abs() < 1e-12);
    }

    #[test]
    fn answers_are_read_to_their_end_and_failures_are_none() {
        let serve = |answer: &'static [u8]| {
            let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
            let address = listener.local_addr().expect("an address");
            let thread = std::thread::spawn(move || {
                let (mut stream, _) = listener.accept().expect("a connection");
                let mut asked = [0; 512];
                let length = stream.read(&mut asked).expect("a question");
                stream.write_all(answer).expect("an answer");
                String::from_utf8_lossy(&asked[..length]).into_owned()
            });
            let body = http_get(address, "/metrics", true);
            (body, thread.join().expect("it was asked"))
        };
        let (body, asked) = serve(b"HTTP/1.0 200 OK\r\nA: b\r\n\r\na 1\n");
        assert_eq!(body.expect("a body"), b"a 1\n");
        assert!(asked.starts_with("GET /metrics HTTP/1.0\r\n") && asked.contains("Accept-Encoding: gzip\r\n"));
        assert!(serve(b"HTTP/1.0 503 No\r\n\r\nno").0.is_err());
    }
}
