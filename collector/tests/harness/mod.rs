//! A collector as a process, and an agent with the smallest spool there is.

pub(crate) mod made;

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::sync::mpsc;
use vedette_link::client::{ClientConfig, EncodedBatch, LinkEvent, LinkHandle, connect};
use vedette_link::clock::{Clock, SystemClock};
use vedette_link::enroll::enroll;
use vedette_protocol::ids::{BootId, HostId, QueueEpoch, Sequence, SeriesIndex, TemplateId, TenantId};
use vedette_protocol::session::agent::AgentIdentity;
use vedette_protocol::signature::PublicKey;
use vedette_protocol::v1::{self, Body, Class, EpisodeEvent, Feature, Finding, LogWindow, Template};

const PATIENCE: Duration = Duration::from_secs(60);
const BINARY: &str = env!("CARGO_BIN_EXE_vedette-collector");

pub(crate) fn run(arguments: &[&str]) -> Output {
    Command::new(BINARY).args(arguments).output().unwrap()
}

/// Waits until `ready` or fails.
pub(crate) fn wait_for(what: &str, mut ready: impl FnMut() -> bool) {
    let began = Instant::now();
    while !ready() {
        assert!(began.elapsed() < PATIENCE, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

pub(crate) struct Collector {
    child: Child,
    directory: TempDir,
    udp: u16,
    http: u16,
    client: ureq::Agent,
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Collector {
    /// Starts a collector in a directory of its own and waits until it is ready.
    pub(crate) fn start(policy_keys: &[PublicKey]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let http = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let keys: Vec<_> = policy_keys.iter().map(|key| format!("\"{key}\"")).collect();
        let data = directory.path().join("data");
        let config = format!(
            "[collector]\ndata-dir = {data:?}\nlisten = \"127.0.0.1:{udp}\"\napi = \"127.0.0.1:{http}\"\n[trust]\npolicy-keys = [{}]\n",
            keys.join(",")
        );
        std::fs::write(directory.path().join("collector.toml"), config).unwrap();
        let child = spawn(directory.path());
        let client =
            ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(PATIENCE)).build().into();
        let collector = Self { child, directory, udp, http, client };
        collector.wait_ready();
        collector
    }

    fn wait_ready(&self) {
        wait_for("the collector", || self.answers());
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again on the same directory and ports.
    pub(crate) fn restart(&mut self) {
        self.child = spawn(self.directory.path());
        self.wait_ready();
    }

    /// SIGTERM; the exit code.
    pub(crate) fn stop(&mut self) -> Option<i32> {
        let killed = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap();
        assert!(killed.success());
        self.child.wait().unwrap().code()
    }

    /// What it has logged so far.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap()
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.udp)
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.http)
    }

    pub(crate) fn bearer(&self) -> String {
        let token = std::fs::read_to_string(self.directory.path().join("data/api-token")).unwrap();
        format!("Bearer {}", token.trim())
    }

    /// The first `bytes` of a request, with nobody to wait for the answer.
    pub(crate) fn say(&self, request: &str) -> TcpStream {
        let mut stream = TcpStream::connect(("127.0.0.1", self.http)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        // The collector may have hung up by now; what it does then is what is tested.
        drop(stream.write_all(request.replace("TOKEN", &self.bearer()).as_bytes()));
        stream
    }

    /// Whether anybody at all answers.
    pub(crate) fn answers(&self) -> bool {
        self.client.get(self.url("/readyz")).call().is_ok_and(|reply| reply.status() == 200)
    }

    pub(crate) fn get_with(&self, path: &str, authorization: &str) -> (u16, String) {
        let mut reply = self.client.get(self.url(path)).header("authorization", authorization).call().unwrap();
        (reply.status().as_u16(), reply.body_mut().read_to_string().unwrap())
    }

    pub(crate) fn text(&self, path: &str) -> String {
        let (status, text) = self.get_with(path, &self.bearer());
        assert_eq!(status, 200, "{text}");
        text
    }

    pub(crate) fn get(&self, path: &str) -> Value {
        serde_json::from_str(&self.text(path)).unwrap()
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        self.send(self.client.post(self.url(path)), body)
    }

    pub(crate) fn put(&self, path: &str, body: &Value) -> (u16, Value) {
        self.send(self.client.put(self.url(path)), body)
    }

    fn send(&self, request: ureq::RequestBuilder<ureq::typestate::WithBody>, body: &Value) -> (u16, Value) {
        let request = request.header("authorization", self.bearer()).header("content-type", "application/json");
        let mut reply = request.send(body.to_string()).unwrap();
        let text = reply.body_mut().read_to_string().unwrap();
        (reply.status().as_u16(), serde_json::from_str(&text).unwrap_or_default())
    }

    pub(crate) fn token(&self) -> String {
        let (status, answer) = self.post("/api/v1/fleet/tokens", &json!({"uses": 1, "ttl_ms": 60_000}));
        assert_eq!(status, 200, "{answer}");
        answer["token"].as_str().unwrap().to_owned()
    }
}

fn spawn(directory: &Path) -> Child {
    let config = directory.join("collector.toml");
    let log = std::fs::OpenOptions::new().create(true).append(true).open(directory.join("log")).unwrap();
    Command::new(BINARY).args(["run", "--config"]).arg(config).stdin(Stdio::null()).stderr(log).spawn().unwrap()
}

pub(crate) struct Agent {
    pub(crate) handle: LinkHandle,
    events: mpsc::Receiver<LinkEvent>,
    link: tokio::task::JoinHandle<()>,
    /// As whom it connects.
    config: ClientConfig,
    pub(crate) host: HostId,
    pub(crate) online_key: PublicKey,
    pub(crate) tenant: TenantId,
    pub(crate) unacked: BTreeMap<Sequence, EncodedBatch>,
    pub(crate) acked: u64,
    next: u64,
    /// Sequences from here on were not handed to the link since it connected.
    to_send: Sequence,
    connected: bool,
}

impl Agent {
    pub(crate) async fn enroll(collector: &Collector, host_name: &str) -> Self {
        let ca = collector.get("/api/v1/ca")["pem"].as_str().unwrap().to_owned();
        let (address, token) = (collector.address(), collector.token());
        let clock = Arc::new(SystemClock);
        let enrolled = enroll(&address, vedette_link::SERVER_NAME, &ca, &token, host_name, clock).await.unwrap();
        let config = ClientConfig {
            address: collector.address(),
            server_name: vedette_link::SERVER_NAME.to_owned(),
            identity: enrolled.identity,
            authorities_der: enrolled.authorities_der,
            agent: AgentIdentity {
                software: "test".to_owned(),
                host_name: host_name.to_owned(),
                boot: BootId([1; 16]),
                queue_epoch: QueueEpoch(77),
                resource: Vec::new(),
            },
            clock: Arc::new(SystemClock),
        };
        let (handle, events, task) = connect(config.clone()).unwrap();
        Self {
            handle,
            events,
            link: tokio::spawn(task.run()),
            config,
            host: enrolled.host,
            online_key: enrolled.online_key,
            tenant: enrolled.tenant,
            unacked: BTreeMap::new(),
            acked: 0,
            next: 1,
            to_send: Sequence(1),
            connected: false,
        }
    }

    /// It is killed with its spool, and another begins in its place.
    pub(crate) fn restart(&mut self, epoch: QueueEpoch) {
        self.link.abort();
        self.config.agent.queue_epoch = epoch;
        let (handle, events, task) = connect(self.config.clone()).unwrap();
        (self.handle, self.events, self.link) = (handle, events, tokio::spawn(task.run()));
        self.unacked.clear();
        (self.acked, self.next, self.to_send, self.connected) = (0, 1, Sequence(1), false);
    }

    /// Puts a batch into the spool.
    pub(crate) fn make(&mut self, class: Class, body: Body) {
        let sequence = Sequence(self.next);
        self.next += 1;
        let epoch = self.config.agent.queue_epoch;
        let batch = made::batch(self.tenant, epoch, sequence, class, body, SystemClock.wall());
        let bytes = v1::encode(&batch).unwrap().into();
        self.unacked.insert(sequence, EncodedBatch { sequence, class, bytes });
    }

    fn pump(&mut self) {
        if !self.connected {
            return;
        }
        for (sequence, batch) in self.unacked.range(self.to_send..) {
            if self.handle.try_send(batch.clone()).is_err() {
                return;
            }
            self.to_send = Sequence(sequence.0 + 1);
        }
    }

    async fn event(&mut self) -> LinkEvent {
        self.pump();
        let event = tokio::time::timeout(PATIENCE, self.events.recv())
            .await
            .expect("an event in time")
            .expect("the link lives");
        match &event {
            LinkEvent::Connected { .. } => {
                self.connected = true;
                self.to_send = Sequence(0);
            }
            LinkEvent::Disconnected { .. } => self.connected = false,
            LinkEvent::Acked { sequence, .. } => self.acked += u64::from(self.unacked.remove(sequence).is_some()),
            LinkEvent::Unsendable { reason, .. } => panic!("unsendable: {reason}"),
            LinkEvent::Policy(_)
            | LinkEvent::Directive(_)
            | LinkEvent::Renewed { .. }
            | LinkEvent::NotRenewed { .. }
            | LinkEvent::BeginAnew
            | LinkEvent::Drained => {}
        }
        event
    }

    pub(crate) async fn run_until(&mut self, done: impl Fn(&Self) -> bool) {
        while !done(self) {
            self.event().await;
        }
    }

    pub(crate) async fn wait<T>(&mut self, wanted: impl Fn(LinkEvent) -> Option<T>) -> T {
        loop {
            if let Some(found) = wanted(self.event().await) {
                return found;
            }
        }
    }

    /// Whether it does not get in for so long.
    pub(crate) async fn stays_out(&mut self, wait: Duration) -> bool {
        tokio::time::timeout(wait, self.wait(|event| matches!(event, LinkEvent::Connected { .. }).then_some(())))
            .await
            .is_err()
    }
}

/// The opening of episode `n`, now.
pub(crate) fn finding(n: u32, metric: &str) -> Finding {
    made::finding(n, EpisodeEvent::Open, metric, SystemClock.wall())
}

/// In turn a finding, a window of features and a window of logs.
pub(crate) fn bodies(n: u32) -> (Class, Body) {
    let end = SystemClock.wall();
    let value = f64::from(n);
    match n % 3 {
        0 => (Class::Finding, Body::Findings(vec![finding(n, &format!("test.m{n}"))])),
        1 => {
            let series = SeriesIndex(n);
            let feature =
                Feature { series, end, window_ms: 60_000, count: 60, min: value, max: value, mean: value, last: value };
            (Class::Feature, Body::Features(vec![feature]))
        }
        _ => {
            let template = Template {
                id: TemplateId(u64::from(n)),
                text: format!("line <*> {n}"),
                exemplar: format!("line 1 {n}"),
            };
            let counts = vec![(template.id, 3)];
            let window = LogWindow { source: "/x".into(), end, window_ms: 1_000, counts, templates: vec![template] };
            (Class::Log, Body::Logs(window))
        }
    }
}
