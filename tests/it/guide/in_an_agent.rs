//! The last step of the guide: the signed detectors in a running agent, which then ends and starts again.

use super::{blocks_of, run};
use crate::workspace::read;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use vedette_agent::identity::Identity;
use vedette_link::authority::Authority;
use vedette_link::clock::{Clock as _, SystemClock};
use vedette_protocol::ids::{HostId, TenantId};
use vedette_protocol::signature::{PublicKey, SigningKey};

const PATIENCE: Duration = Duration::from_secs(60);

/// A folder as the demo leaves one, with an agent of its own and no collector.
pub(crate) struct Demo {
    pub(crate) folder: PathBuf,
    program: PathBuf,
    agent: Option<Child>,
}

impl Demo {
    pub(crate) fn new(folder: PathBuf, program: PathBuf, key: &Path) -> Self {
        std::fs::create_dir_all(folder.join("detectors")).expect("a folder");
        std::fs::copy(key, folder.join("author.key")).expect("a key");
        let host = HostId([7; 16]);
        let authority = Authority::create(SystemClock.wall()).expect("an authority");
        let key = rcgen::KeyPair::generate().expect("a key");
        let request = rcgen::CertificateParams::default().serialize_request(&key).expect("a request");
        let chain_der = authority.sign_host(request.der(), TenantId(0), host, 30, SystemClock.wall());
        let identity = Identity {
            tenant: TenantId(0),
            host,
            online_key: PublicKey([0; 32]),
            machine: None,
            chain_der: chain_der.expect("a certificate"),
            key_der: key.serialize_der(),
            authorities_der: vec![authority.certificate_der().to_vec()],
        };
        identity.store(&folder.join("data")).expect("an identity");
        Self { folder, program, agent: None }
    }

    pub(crate) fn start(&mut self, execution: &str) {
        let key = std::fs::read(self.folder.join("author.key")).expect("a key");
        let author = SigningKey::from_pkcs8(&key).expect("a key").public();
        let path = |name: &str| self.folder.join(name);
        let text = format!(
            "[agent]\ndata-dir = {:?}\nsocket = {:?}\n[collector]\naddress = \"127.0.0.1:9\"\n\
             [trust]\nauthor-keys = [\"{author}\"]\n\
             [detectors]\ndirectory = {:?}\nshadow-directory = {:?}\nexecution = \"{execution}\"\n",
            path("data"),
            path("agent.sock"),
            path("detectors"),
            path("shadows"),
        );
        std::fs::write(path("agent.toml"), text).expect("a configuration");
        let mut command = Command::new(&self.program);
        command.args(["run", "--config"]).arg(path("agent.toml")).stdin(Stdio::null()).stderr(Stdio::null());
        self.agent = Some(command.spawn().expect("the agent starts"));
        self.status_with("it is ready", |status| status["ready"] == true);
    }

    pub(crate) fn status_with(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let begun = Instant::now();
        loop {
            let mut status = Command::new(&self.program);
            status.args(["status", "--output", "json", "--socket"]).arg(self.folder.join("agent.sock"));
            let status: Option<Value> =
                serde_json::from_slice(&status.output().expect("the agent's program starts").stdout).ok();
            if let Some(status) = status.clone().filter(|status| wanted(status)) {
                return status;
            }
            assert!(begun.elapsed() < PATIENCE, "waited too long: {what}; {status:?}");
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.agent.as_ref().expect("it runs").id()
    }

    /// SIGTERM, and waits.
    pub(crate) fn stop(&mut self) {
        let status = Command::new("kill").arg(self.pid().to_string()).status();
        assert!(status.is_ok_and(|status| status.success()), "it runs");
        let ended = self.agent.take().map(|mut agent| agent.wait().expect("it ends"));
        assert!(ended.is_some_and(|status| status.success()));
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        if let Some(mut agent) = self.agent.take() {
            let _ = agent.kill();
            let _ = agent.wait();
        }
    }
}

/// Both detectors judge: each has scored every series of a tick.
fn judge(status: &Value) -> bool {
    ["spike", "spike-c"].iter().all(|name| {
        let detectors = status["detectors"].as_array().map(Vec::as_slice).unwrap_or_default();
        detectors
            .iter()
            .any(|one| one["name"] == *name && one["state"] == "running" && one["values"].as_u64() > Some(20))
    })
}

pub(super) fn the_agent_runs_them(program: &Path, work: &Path, path: &str) {
    let guide = read("plugins/README.md");
    let block = blocks_of(&guide, "bash").into_iter().find(|block| block.contains("kill -HUP"));
    let mut demo = Demo::new(work.join("demo"), program.to_path_buf(), &work.join("author.key"));
    demo.start("native");
    let commands = block.expect("the guide says how a running agent takes a detector");
    let begin = format!("export DEMO={} AGENT={}", demo.folder.display(), demo.pid());
    // The last command's exit code tells that it has no collector, as soon as it has missed it.
    let said = run(&format!("{begin}\n{} || true", commands.trim_end()), work, path);
    for name in ["spike", "spike-c"] {
        assert!(said.lines().any(|line| line.trim_start().starts_with(name)), "{name} is not in {said}");
    }
    let before = demo.status_with("both judge", judge);
    assert_eq!(before["learnt"]["states"]["found"], 0);
    demo.stop();

    // Another way to execute takes the same states over.
    demo.start("pulley");
    let after = demo.status_with("both judge again", judge);
    assert_eq!(after["worker"]["execution"], "pulley");
    assert_eq!(after["learnt"]["refused"], "");
    assert!(after["learnt"]["states"]["returned"].as_u64() > Some(40), "{}", after["learnt"]);
    assert!(after["worker"]["states_restored"].as_u64() > Some(40), "{}", after["worker"]);
    assert_eq!(
        (after["worker"]["restores_refused"].as_u64(), after["learnt"]["states"]["other_module"].as_u64()),
        (Some(0), Some(0))
    );
    demo.stop();
}
