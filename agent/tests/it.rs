//! The binary through its public doors, alone on a host: no detectors, and no collector but where one is named.

#[path = "it/kills.rs"]
mod kills;

use serde_json::Value;
use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use vedette_agent::identity::Identity;
use vedette_link::authority::Authority;
use vedette_link::clock::{Clock as _, SystemClock};
use vedette_link::server::{Denied, Gate, PeerIdentity, ServerConfig, ServerEvent, ServerLimits, listen};
use vedette_protocol::ids::{Digest, HostId, TenantId};
use vedette_protocol::signature::PublicKey;
use vedette_protocol::v1::{EnrollReply, RenewReply};

mod it {
    mod anew;
    mod journal;
    mod live;
    mod recorder;
    mod told;
    mod unprivileged;
}

const PATIENCE: Duration = Duration::from_secs(20);
const HOST: HostId = HostId([7; 16]);
const NEW_HOST: HostId = HostId([9; 16]);

/// A folder with a configuration and what the agent makes of it.
struct Bench {
    folder: TempDir,
}

impl Bench {
    fn new() -> Self {
        let bench = Self { folder: tempfile::tempdir().expect("temporary folder") };
        bench.write_config("");
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `more` goes to the end of a configuration whose collector nobody serves.
    fn write_config(&self, more: &str) {
        self.write_config_for("127.0.0.1:9", more);
    }

    fn write_config_for(&self, collector: &str, more: &str) {
        let (data, socket, detectors) = (self.path("data"), self.path("agent.sock"), self.path("detectors"));
        let text = format!(
            "[agent]\ndata-dir = {data:?}\nsocket = {socket:?}\n[collector]\naddress = {collector:?}\n\
             [detectors]\ndirectory = {detectors:?}\n{more}"
        );
        fs::write(self.path("agent.toml"), text).expect("configuration");
    }

    fn agent(&self, command: &str) -> Command {
        let mut agent = Command::new(env!("CARGO_BIN_EXE_vedette-agent"));
        agent.arg(command).env_clear().stdin(Stdio::null()).arg("--config").arg(self.path("agent.toml"));
        agent
    }

    fn output(&self, command: &str, more: &[&str]) -> Output {
        self.agent(command).args(more).output().expect("the binary runs")
    }

    /// An identity that a test authority might have issued.
    fn enrol(&self) {
        self.enrol_with(&Authority::create(SystemClock.wall()).expect("authority"), Duration::ZERO);
    }

    /// An identity that `authority` issued so long ago, for 30 days.
    fn enrol_with(&self, authority: &Authority, ago: Duration) {
        let issued = SystemClock.wall().offset_by(-i64::try_from(ago.as_nanos()).expect("days"));
        let key = rcgen::KeyPair::generate().expect("key");
        let request = rcgen::CertificateParams::default().serialize_request(&key).expect("request");
        let identity = Identity {
            tenant: TenantId(0),
            host: HOST,
            online_key: PublicKey([0; 32]),
            machine: None,
            chain_der: authority.sign_host(request.der(), TenantId(0), HOST, 30, issued).expect("certificate"),
            key_der: key.serialize_der(),
            authorities_der: vec![authority.certificate_der().to_vec()],
        };
        identity.store(&self.path("data")).expect("identity");
    }

    fn start(&self) -> Running {
        Running { child: self.agent("run").stderr(Stdio::piped()).spawn().expect("the binary runs") }
    }

    fn status(&self) -> Option<Value> {
        serde_json::from_slice(&self.output("status", &["--output", "json"]).stdout).ok()
    }

    /// Asks until the answer satisfies `wanted`.
    fn status_with(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        let begun = Instant::now();
        loop {
            let status = self.status();
            if let Some(status) = status.clone().filter(|status| wanted(status)) {
                return status;
            }
            assert!(begun.elapsed() < PATIENCE, "the agent does not come to it: {status:?}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

/// Killed when the test ends early.
struct Running {
    child: Child,
}

impl Running {
    fn stop(&mut self) -> (Option<i32>, String) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it runs");
        let status = self.child.wait().expect("it ends");
        let mut log = String::new();
        let mut stderr = self.child.stderr.take().expect("piped");
        stderr.read_to_string(&mut log).expect("text");
        (status.code(), log)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn bad_configuration_exits_78_with_all_problems_at_once() {
    let bench = Bench::new();
    bench.write_config("[limits]\nseries-max = \"many\"\nmemory-spol = \"8MiB\"\n");
    for command in ["check", "run"] {
        let output = bench.output(command, &[]);
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(78), "{text}");
        assert!(text.contains("series-max") && text.contains("memory-spol"), "{text}");
        assert!(text.contains("agent.toml:9:") && text.contains("2 problems"), "{text}");
    }
}

#[test]
fn missing_configuration_says_how_to_get_one() {
    let bench = Bench::new();
    fs::remove_file(bench.path("agent.toml")).expect("remove");
    let output = bench.output("check", &[]);
    assert_eq!(output.status.code(), Some(78));
    assert!(stderr(&output).contains("print-config --reference"));
}

#[test]
fn printed_configuration_is_checked_configuration() {
    let bench = Bench::new();
    let printed = bench.output("print-config", &[]);
    assert_eq!(printed.status.code(), Some(0), "{}", stderr(&printed));
    fs::write(bench.path("agent.toml"), &printed.stdout).expect("configuration");
    assert_eq!(bench.output("check", &[]).status.code(), Some(0));
    assert_eq!(bench.output("print-config", &[]).stdout, printed.stdout);
}

#[test]
fn status_without_an_agent_exits_69_and_names_what_it_tried() {
    let bench = Bench::new();
    let output = bench.output("status", &[]);
    assert_eq!(output.status.code(), Some(69));
    let told = stderr(&output);
    assert!(told.contains("no agent answers") && told.contains(text(&bench.path("agent.sock"))), "{told}");
    assert!(told.contains(text(&bench.path("agent.toml"))) && told.contains("--socket"), "{told}");
}

#[test]
fn usage_errors_exit_2_and_help_has_examples() {
    let run = |arguments: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_vedette-agent")).args(arguments).output().expect("the binary runs")
    };
    assert_eq!(run(&["fly"]).status.code(), Some(2));
    let help = String::from_utf8(run(&["--help"]).stdout).expect("text");
    assert!(help.contains("Examples:") && !help.contains("  worker"), "{help}");
}

#[test]
fn run_without_an_identity_says_how_to_enrol() {
    let output = Bench::new().output("run", &[]);
    assert_eq!(output.status.code(), Some(78), "restarting would not help");
    let text = stderr(&output);
    assert!(text.contains("not enrolled") && text.contains("vedette-agent enroll --config"), "{text}");
}

#[test]
fn enrolment_without_a_collector_exits_69_and_leaves_no_identity() {
    let bench = Bench::new();
    bench.enrol();
    let authority = bench.path("ca.pem");
    fs::rename(bench.path("data/identity/authorities.pem"), &authority).expect("move");
    fs::remove_dir_all(bench.path("data")).expect("remove");
    let token = bench.path("token");
    fs::write(&token, "token\n").expect("token");
    fs::set_permissions(&token, fs::Permissions::from_mode(0o600)).expect("permissions");
    let arguments = ["--collector-ca", text(&authority), "--token-file", text(&token)];
    let output = bench.output("enroll", &arguments);
    assert_eq!(output.status.code(), Some(69), "{}", stderr(&output));
    assert!(!bench.path("data/identity/identity.json").exists());
}

#[test]
fn clone_of_an_enrolled_disk_does_not_run_as_the_original() {
    let bench = Bench::new();
    bench.enrol();
    let mut identity = Identity::load(&bench.path("data")).expect("identity");
    identity.machine = Some(Digest([1; 32]));
    identity.store(&bench.path("data")).expect("identity");
    let root = bench.path("root");
    fs::create_dir_all(root.join("etc")).expect("root");
    fs::write(root.join("etc/machine-id"), "6f3c0c8e52d14b9b9a520d1c2b3a4f5e\n").expect("id");
    let output = bench.agent("run").env("HOST_ROOT", &root).output().expect("the binary runs");
    assert_eq!(output.status.code(), Some(78), "{}", stderr(&output));
    assert!(stderr(&output).contains("another machine") && stderr(&output).contains("vedette-agent enroll"));
    let arguments = ["--collector-ca", "/nowhere", "--token-file", "/nowhere"];
    let output = bench.agent("enroll").env("HOST_ROOT", &root).args(arguments).output().expect("the binary runs");
    assert_eq!(output.status.code(), Some(78), "it is enrolled anew, with what it was not given: {}", stderr(&output));
}

#[test]
fn enrolled_host_is_not_enrolled_twice() {
    let bench = Bench::new();
    bench.enrol();
    let output = bench.output("enroll", &["--collector-ca", "/nowhere", "--token-file", "/nowhere"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(String::from_utf8_lossy(&output.stdout).contains("already enrolled as 07070707"));
}

#[test]
fn without_detectors_and_collector_the_agent_samples_and_keeps_its_features() {
    let bench = Bench::new();
    bench.enrol();
    let log = bench.path("app.log");
    fs::write(&log, "").expect("log");
    bench.write_config(&format!("[[logs]]\npath = {log:?}\nservice = \"app\"\n"));
    let mut agent = bench.start();
    bench.status_with(|status| status["ready"] == true);
    fs::write(&log, "first line\nsecond line\n").expect("log");
    let status =
        bench.status_with(|status| status["ticks"]["run"].as_u64() >= Some(3) && status["logs"][0]["lines"] == 2);
    assert_eq!(status["ticks"]["missed"], 0);
    assert_eq!(status["link"]["connected"], false);
    assert!(status["series"]["at_1s"].as_u64() > Some(20), "{status}");
    assert_eq!(status["detectors"].as_array().map(Vec::len), Some(0));
    assert_eq!(status["worker"]["pid"], Value::Null);
    assert_eq!(status["policy"]["version_in_effect"], 0);
    let spool = &status["spool"];
    assert_eq!(spool["made"].as_u64(), spool["pending"].as_u64(), "nothing acknowledged, nothing shed: {spool}");
    for name in ["no-new-privs", "non-dumpable", "umask-0077", "close-on-exec"] {
        assert!(
            status["agent"]["confinement"].as_array().is_some_and(|list| list.iter().any(|one| one == name)),
            "{name}"
        );
    }
    let (code, log) = agent.stop();
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("batches are left that the collector has not acknowledged pending="), "{log}");
    assert!(!bench.path("agent.sock").exists());
}

/// Lets everybody in but one.
#[derive(Debug, Default)]
struct AllBut(Option<HostId>);

impl Gate for AllBut {
    fn admit(&self, peer: &PeerIdentity) -> Result<(), Denied> {
        if self.0 == Some(peer.host) { Err(Denied) } else { Ok(()) }
    }
}

/// A collector that does nothing but give certificates; gives its address. It ends with `runtime`.
fn serve_certificates(runtime: &tokio::runtime::Runtime, authority: &Arc<Authority>, gate: AllBut) -> String {
    let authority = Arc::clone(authority);
    runtime.block_on(async move {
        let config = ServerConfig {
            listen: "127.0.0.1:0".parse().expect("an address"),
            names: Vec::new(),
            authority: Arc::clone(&authority),
            gate: Arc::new(gate),
            clock: Arc::new(SystemClock),
            limits: ServerLimits::default(),
        };
        let (handle, mut events, task) = listen(config).expect("a server");
        tokio::spawn(task.run());
        let address = handle.local_address().to_string();
        tokio::spawn(async move {
            while let Some(event) = events.recv().await {
                let authorities_der = vec![authority.certificate_der().to_vec()];
                let sign = |csr_der: &[u8], host| {
                    authority.sign_host(csr_der, TenantId(0), host, 30, SystemClock.wall()).expect("signed")
                };
                match event {
                    ServerEvent::Renew { connection, identity, request } => {
                        let chain_der = sign(&request.csr_der, identity.host);
                        handle.renew(connection, RenewReply::Issued { chain_der, authorities_der });
                    }
                    ServerEvent::Enroll { request, reply, .. } => {
                        let chain_der = sign(&request.csr_der, NEW_HOST);
                        let _ = reply.send(EnrollReply::Issued { chain_der, authorities_der, online_key: [0; 32] });
                    }
                    _ => {}
                }
            }
        });
        address
    })
}

#[test]
fn certificate_is_renewed_without_a_restart_and_outlives_one() {
    let bench = Bench::new();
    let authority = Arc::new(Authority::create(SystemClock.wall()).expect("authority"));
    let runtime = runtime();
    bench.write_config_for(&serve_certificates(&runtime, &authority, AllBut::default()), "");
    bench.enrol_with(&authority, Duration::from_secs(25 * 86_400));
    let old = Identity::load(&bench.path("data")).expect("identity");

    let mut agent = bench.start();
    let pid = agent.child.id();
    let is_new = |status: &Value| {
        let ends = status["host"]["certificate_ends"].as_str().and_then(|ends| ends.parse().ok());
        ends > old.certificate_ends() && status["link"]["connected"] == true
    };
    let is_stored = || Identity::load(&bench.path("data")).is_ok_and(|new| new.key_der != old.key_der);
    let status = bench.status_with(|status| is_new(status) && is_stored());
    assert_eq!(status["agent"]["pid"], pid);
    assert_eq!(status["host"]["id"], HOST.to_string());
    // The link uses the new key first, then the disk gets it.
    bench.status_with(|_| {
        let new = Identity::load(&bench.path("data")).expect("identity");
        new.key_der != old.key_der && new.certificate_ends() > old.certificate_ends()
    });
    // What was not acknowledged waits for a collector that does; nobody needs to.
    agent.child.kill().expect("it runs");
    agent.child.wait().expect("it ends");
    let _agent = bench.start();
    bench.status_with(is_new);
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("runtime")
}

#[test]
fn identity_that_the_collector_does_not_accept_gives_way_and_one_that_it_does_stays() {
    let runtime = runtime();
    let authority = || Arc::new(Authority::create(SystemClock.wall()).expect("authority"));
    let (ours, foreign) = (authority(), authority());
    for (issuer, shut_out, told) in [
        (&ours, None, "already enrolled as 07070707"),
        (&ours, Some(HOST), "but the collector has revoked this host"),
        (&foreign, None, "but the collector's certificate is not trusted here"),
    ] {
        let bench = Bench::new();
        bench.write_config_for(&serve_certificates(&runtime, &ours, AllBut(shut_out)), "");
        bench.enrol_with(issuer, Duration::ZERO);
        let (ca, token) = (bench.path("ca.pem"), bench.path("token"));
        fs::write(&ca, ours.certificate_pem()).expect("authority");
        fs::write(&token, "token\n").expect("token");
        fs::set_permissions(&token, fs::Permissions::from_mode(0o600)).expect("permissions");
        let output = bench.output("enroll", &["--collector-ca", text(&ca), "--token-file", text(&token)]);
        let screen = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(output.status.code(), Some(0), "{screen}{}", stderr(&output));
        assert!(screen.contains(told), "{told} is not in {screen}");
        let host = Identity::load(&bench.path("data")).expect("identity").host;
        assert_eq!(host, if told.starts_with("already") { HOST } else { NEW_HOST }, "{screen}");
    }
}

#[test]
fn wrong_authority_is_told_from_a_collector_that_is_away() {
    let (bench, runtime) = (Bench::new(), runtime());
    let authority = Arc::new(Authority::create(SystemClock.wall()).expect("authority"));
    bench.write_config_for(&serve_certificates(&runtime, &authority, AllBut::default()), "");
    let (ca, token) = (bench.path("ca.pem"), bench.path("token"));
    fs::write(&ca, Authority::create(SystemClock.wall()).expect("authority").certificate_pem()).expect("authority");
    fs::write(&token, "token\n").expect("token");
    fs::set_permissions(&token, fs::Permissions::from_mode(0o600)).expect("permissions");
    let output = bench.output("enroll", &["--collector-ca", text(&ca), "--token-file", text(&token)]);
    let told = stderr(&output);
    assert_eq!(output.status.code(), Some(78), "{told}");
    assert!(told.contains("certificate is not trusted") && told.contains("`vedette ca`"), "{told}");
}

#[test]
fn revoked_host_says_so_in_status_and_log_at_once() {
    let (bench, runtime) = (Bench::new(), runtime());
    let authority = Arc::new(Authority::create(SystemClock.wall()).expect("authority"));
    bench.write_config_for(&serve_certificates(&runtime, &authority, AllBut(Some(HOST))), "");
    bench.enrol_with(&authority, Duration::ZERO);
    let mut agent = bench.start();
    let status = bench.status_with(|status| status["link"]["obstacle"] == "host-revoked");
    let problems = status["problems"].to_string();
    assert!(problems.contains("has revoked this host") && problems.contains("vedette-agent enroll"), "{problems}");
    let (_, log) = agent.stop();
    assert!(log.contains("collector not connected obstacle=\"host-revoked\""), "{log}");
}

#[test]
fn unhealthy_agent_answers_and_exits_1() {
    let bench = Bench::new();
    bench.enrol();
    fs::create_dir(bench.path("detectors")).expect("folder");
    fs::write(bench.path("detectors/broken.json"), "{}").expect("manifest");
    let _agent = bench.start();
    bench.status_with(|status| status["ready"] == true);
    let output = bench.output("status", &[]);
    let screen = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(1), "{screen}");
    assert!(screen.contains("NOT HEALTHY") && screen.contains("detector `broken` is refused"), "{screen}");
}

/// What a service supervisor hears.
struct Supervisor {
    socket: UnixDatagram,
}

impl Supervisor {
    fn listen(path: &Path) -> Self {
        let socket = UnixDatagram::bind(path).expect("bind");
        socket.set_read_timeout(Some(PATIENCE)).expect("timeout");
        Self { socket }
    }

    /// Waits for a datagram that begins with `wanted`.
    fn hears(&self, wanted: &str) -> String {
        let begun = Instant::now();
        let mut buffer = [0; 512];
        loop {
            let length = self.socket.recv(&mut buffer).unwrap_or_else(|error| panic!("no {wanted}: {error}"));
            let heard = String::from_utf8_lossy(&buffer[..length]).into_owned();
            if heard.starts_with(wanted) {
                return heard;
            }
            assert!(begun.elapsed() < PATIENCE, "no {wanted}, but {heard}");
        }
    }
}

#[test]
fn service_supervisor_hears_readiness_progress_reload_and_the_end() {
    let bench = Bench::new();
    bench.enrol();
    let supervisor = Supervisor::listen(&bench.path("notify"));
    let mut agent = bench.agent("run");
    agent.env("NOTIFY_SOCKET", bench.path("notify")).env("WATCHDOG_USEC", "30000000").stderr(Stdio::piped());
    let mut agent = Running { child: agent.spawn().expect("the binary runs") };
    supervisor.hears("READY=1\nSTATUS=");
    supervisor.hears("WATCHDOG=1");
    supervisor.hears("WATCHDOG=1");
    bench.write_config("[sources]\nload = { interval = \"7s\" }\n");
    let pid = rustix::process::Pid::from_child(&agent.child);
    rustix::process::kill_process(pid, rustix::process::Signal::HUP).expect("it runs");
    supervisor.hears("RELOADING=1\nMONOTONIC_USEC=");
    supervisor.hears("READY=1\nSTATUS=");
    let status = bench.status_with(|status| status["reload"]["count"] == 1);
    assert_eq!(status["reload"]["applied"], serde_json::json!(["sources.load"]));
    let (code, log) = agent.stop();
    assert_eq!(code, Some(0), "{log}");
    supervisor.hears("STOPPING=1");
}

fn text(path: &Path) -> &str {
    path.to_str().expect("temporary folders have plain names")
}
