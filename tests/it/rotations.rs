//! A log that is rotated under load while its agent is killed again and again: the counts in the collector's store are the
//! lines that were written, exactly.
//!
//! `cargo test` runs a short form. The full one, a hundred rotations in three minutes:
//! `VEDETTE_ROTATIONS=100 cargo test -p vedette-tests --test it rotations`.

use crate::guide::programs;
use crate::workspace::root;
use rusqlite::{Connection, OpenFlags};
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::net::{TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use vedette_protocol::v1::Body;
use vedette_sim::{Rng, Seed};

const ROTATIONS: u32 = 20;
/// Time from one rotation to the next, on average.
const BETWEEN: Duration = Duration::from_millis(1_700);
/// Time from one kill to the next, at least and at most: shorter and longer than it takes to ship a window of counts.
const LIFE_MS: (u64, u64) = (1_000, 14_000);
/// Lines of one burst, and time between two.
const BURST_LINES: u64 = 60;
const PAUSE: Duration = Duration::from_millis(20);
/// Rotated files that are kept: none goes before it is read.
const KEPT: u32 = 30;
const PATIENCE: Duration = Duration::from_secs(60);

/// Ends with its process.
struct Running(Child);

impl Running {
    fn start(program: &Path, config: &Path, log: &Path) -> Self {
        let log = OpenOptions::new().append(true).create(true).open(log).expect("a file for what it says");
        let mut command = Command::new(program);
        command.args(["run", "--config"]).arg(config).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        Self(command.spawn().expect("the binary runs"))
    }

    fn kill(&mut self) {
        self.0.kill().expect("it runs");
        self.0.wait().expect("it ends");
    }

    /// SIGTERM: it hands over what it has.
    fn stop(&mut self) {
        let asked = Command::new("kill").arg(self.0.id().to_string()).status().expect("kill starts");
        assert!(asked.success() && self.0.wait().expect("it ends").success());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A collector, an agent and the log between them.
struct Site {
    folder: tempfile::TempDir,
    programs: PathBuf,
    _collector: Running,
}

impl Site {
    fn new() -> Self {
        let (folder, programs) = (tempfile::tempdir().expect("a temporary folder"), programs());
        let path = |name: &str| folder.path().join(name);
        let quic = UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port").port();
        let api = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port").port();
        let collector = format!(
            "[collector]\ndata-dir = {:?}\nlisten = \"127.0.0.1:{quic}\"\napi = \"127.0.0.1:{api}\"\n[trust]\npolicy-keys = []\n",
            path("collector")
        );
        fs::write(path("collector.toml"), collector).expect("a file");
        fs::create_dir(path("log")).expect("a folder");
        let agent = format!(
            "[agent]\ndata-dir = {:?}\nsocket = {:?}\n[collector]\naddress = \"127.0.0.1:{quic}\"\n[detectors]\n\
             directory = {:?}\n[journald]\nenabled = false\n[[logs]]\npath = {:?}\nmultiline = \"off\"\n",
            path("agent"),
            path("agent.sock"),
            path("detectors"),
            path("log/app.log"),
        );
        fs::write(path("agent.toml"), agent).expect("a file");
        let binary = root().join(&programs).join("vedette-collector");
        assert!(binary.exists(), "{} is missing: `cargo build -p vedette-collector` makes it", binary.display());
        let collector = Running::start(&binary, &path("collector.toml"), &path("collector.log"));
        let site = Self { folder, programs, _collector: collector };
        site.enrol(&format!("http://127.0.0.1:{api}"));
        site
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A one-time token from the collector, then the agent's enrolment with it.
    fn enrol(&self, api: &str) {
        let ask = |words: &[&str]| {
            let mut command = Command::new(self.programs.join("vedette"));
            command.env("VEDETTE_URL", api).env("VEDETTE_TOKEN_FILE", self.path("collector/api-token"));
            command.args(words).output().ok().filter(|output| output.status.success()).map(|output| output.stdout)
        };
        let begun = Instant::now();
        let token = loop {
            match ask(&["fleet", "token", "--uses", "1", "--ttl", "1h"]) {
                Some(token) => break token,
                None => assert!(begun.elapsed() < PATIENCE, "the collector does not answer"),
            }
            std::thread::sleep(Duration::from_millis(50));
        };
        let mut file = private_file(&self.path("token"));
        file.write_all(token.trim_ascii()).expect("the token");
        fs::write(self.path("ca.pem"), ask(&["ca"]).expect("its certificate")).expect("a file");
        let mut enroll = Command::new(self.programs.join("vedette-agent"));
        enroll.args(["enroll", "--config"]).arg(self.path("agent.toml")).arg("--collector-ca").arg(self.path("ca.pem"));
        let enrolled = enroll.arg("--token-file").arg(self.path("token")).output().expect("the binary runs");
        assert!(enrolled.status.success(), "{}", String::from_utf8_lossy(&enrolled.stderr));
    }

    fn agent(&self) -> Running {
        Running::start(&self.programs.join("vedette-agent"), &self.path("agent.toml"), &self.path("agent.log"))
    }

    /// Sum of the counts of all templates in the collector's store.
    fn lines_stored(&self) -> u64 {
        let path = self.path("collector/collector.db");
        let store = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).expect("the store");
        store.busy_timeout(PATIENCE).expect("a time");
        let mut select = store.prepare("SELECT body FROM block WHERE kind = 'logs'").expect("the table");
        let bodies = select.query_map([], |row| row.get::<_, Vec<u8>>(0)).expect("rows");
        let lines = |body: Vec<u8>| -> u64 {
            match postcard::from_bytes(&body).expect("a batch's body") {
                Body::Logs(window) => window.counts.iter().map(|(_, count)| count).sum(),
                other => panic!("no log counts: {other:?}"),
            }
        };
        bodies.map(|body| lines(body.expect("a row"))).sum()
    }

    fn said(&self) -> String {
        let said = fs::read_to_string(self.path("agent.log")).unwrap_or_default();
        said.lines().rev().take(20).collect::<Vec<_>>().join("\n")
    }
}

fn private_file(path: &Path) -> File {
    use std::os::unix::fs::OpenOptionsExt as _;
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).expect("a file")
}

/// A service that writes its log, and what rotates it.
struct Service {
    path: PathBuf,
    file: File,
    rng: Rng,
    written: u64,
}

impl Service {
    fn new(path: PathBuf, rng: Rng) -> Self {
        let file = append_to(&path);
        Self { path, file, rng, written: 0 }
    }

    fn write(&mut self, lines: u64) {
        let mut text = String::new();
        for _ in 0..lines {
            let (n, number) = (self.written, self.rng.below(100_000));
            let line = match self.rng.below(4) {
                0 => format!("INFO request {n} GET /api/items/{number} served in {} ms\n", number % 90),
                1 => format!("WARN connection {number} to db.internal idle for {n} s, closing\n"),
                2 => format!("ERROR worker {} lost job {n}: timeout after {number} ms\n", number % 8),
                _ => format!("INFO session {n} of user u{number} ended\n"),
            };
            text.push_str(&line);
            self.written += 1;
        }
        self.file.write_all(text.as_bytes()).expect("room on the disk");
    }

    fn rotated(&self, n: u32) -> PathBuf {
        PathBuf::from(format!("{}.{n}", self.path.display()))
    }

    /// As logrotate does, by renaming or by copying and cutting.
    fn rotate(&mut self) {
        for n in (1..KEPT).rev() {
            if self.rotated(n).exists() {
                fs::rename(self.rotated(n), self.rotated(n + 1)).expect("rename");
            }
        }
        if self.rng.below(2) == 0 {
            fs::copy(&self.path, self.rotated(1)).expect("copy");
            // Nothing is written between copying and cutting: that is what is lost with `copytruncate`.
            self.file.set_len(0).expect("cut");
            return;
        }
        fs::rename(&self.path, self.rotated(1)).expect("rename");
        if self.rng.below(2) == 0 {
            drop(append_to(&self.path)); // As `create` does.
        }
        // The service goes on with the old file until it is told.
        let late = self.rng.below(3 * BURST_LINES);
        self.write(late);
        self.file = append_to(&self.path);
    }
}

fn append_to(path: &Path) -> File {
    OpenOptions::new().append(true).create(true).open(path).expect("the log")
}

#[test]
fn rotations_and_kills_under_load_lose_and_double_no_line() {
    let rotations = std::env::var("VEDETTE_ROTATIONS").ok().map_or(ROTATIONS, |count| count.parse().expect("a count"));
    let seed = Seed(11).announce("rotations_and_kills_under_load");
    let (site, mut rng) = (Site::new(), seed.rng("kills"));
    let mut service = Service::new(site.path("log/app.log"), seed.rng("service"));
    let life = |rng: &mut Rng| Duration::from_millis(LIFE_MS.0 + rng.below(LIFE_MS.1 - LIFE_MS.0));
    let (mut agent, mut kills) = (site.agent(), 0);
    let begun = Instant::now();
    let (mut rotate_at, mut kill_at, mut done) = (BETWEEN, life(&mut rng), 0);
    while done < rotations {
        let burst = 1 + service.rng.below(2 * BURST_LINES);
        service.write(burst);
        std::thread::sleep(PAUSE);
        if begun.elapsed() >= rotate_at {
            service.rotate();
            done += 1;
            rotate_at += BETWEEN.mul_f64(0.2 + 1.6 * rng.unit());
        }
        if begun.elapsed() >= kill_at {
            agent.kill();
            kills += 1;
            kill_at = begun.elapsed() + life(&mut rng);
            agent = site.agent();
        }
    }
    let written = service.written;
    let end = Instant::now();
    while site.lines_stored() < written && end.elapsed() < PATIENCE {
        std::thread::sleep(Duration::from_millis(200));
    }
    agent.stop();
    let stored = site.lines_stored();
    println!("{rotations} rotations, {kills} kills, {written} lines in {:.0} s", begun.elapsed().as_secs_f64());
    assert!(kills > 1, "the run was too easy");
    assert_eq!(stored, written, "each line counts once: {}", site.said());
}
