//! Clocks, sockets, threads: link server ↔ writer and engine ↔ API.

mod agents;
pub(crate) mod core;
pub(crate) mod counters;
pub(crate) mod enrolment;
mod first_start;
pub(crate) mod health;
mod intake;
pub(crate) mod policy;
pub(crate) mod twins;

use crate::api::{self, Api};
use crate::config::Config;
use crate::engine::{Engine, Setup};
use crate::store::{SqliteStore, Store};
use crate::topology::Topology;
use agents::{DenyList, Directives, LinkOutbox};
use anyhow::Context as _;
use core::{Core, QUEUE_JOBS};
use counters::Counters;
use enrolment::Enrolment;
use health::Healths;
use intake::{Intake, IntakeParts};
use policy::PolicyDesk;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc, watch};
use twins::Twins;
use vedette_link::clock::{Clock, SystemClock};
use vedette_link::server::{ServerConfig, ServerHandle, ServerLimits, listen};
use vedette_protocol::policy::Directive;
use vedette_protocol::signature::Domain;

/// After this the process goes even if somebody still waits for an answer.
const SHUTDOWN_MAX: Duration = Duration::from_secs(10);

pub(crate) use agents::DenyList as Denied;

/// Runs a collector until SIGTERM or SIGINT.
///
/// # Errors
///
/// Whatever keeps it from starting, and a store that fails for good.
pub async fn run(config: Config, topology: Topology) -> anyhow::Result<()> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let secrets = first_start::open(&config.data_dir, clock.wall())?;
    let database = config.data_dir.join(first_start::DATABASE);
    first_start::private(&database).with_context(|| database.display().to_string())?;
    let store = SqliteStore::open(&database).with_context(|| database.display().to_string())?;
    let reader = store.reader()?;
    let counters = Arc::new(Counters::default());
    let deny_list = Arc::new(DenyList::new(reader.denied()?));
    let authority = Arc::new(secrets.authority);
    let (server, events, server_task) = listen(ServerConfig {
        listen: config.listen,
        names: config.names.clone(),
        authority: Arc::clone(&authority),
        gate: Arc::clone(&deny_list) as Arc<_>,
        clock: Arc::clone(&clock),
        limits: ServerLimits::default(),
    })?;
    let listener =
        tokio::net::TcpListener::bind(config.api).await.with_context(|| format!("cannot listen on {}", config.api))?;

    let directives = Arc::new(Directives::default());
    remember_directives(&*reader, &directives, &secrets.online, &*clock)?;
    let (jobs, jobs_waiting) = mpsc::channel(QUEUE_JOBS);
    let online_public = secrets.online.public();
    let engine = Arc::new(Mutex::new(Engine::new()));
    let mut core = Core {
        store: Box::new(store),
        engine: Arc::clone(&engine),
        jobs: jobs_waiting,
        outbox: Arc::new(LinkOutbox { server: server.clone(), directives: Arc::clone(&directives) }),
        online: secrets.online,
        counters: Arc::clone(&counters),
        clock: Arc::clone(&clock),
        retention: config.retention.clone(),
        pending: Vec::new(),
        snapshotted: (0, 0),
        told: core::Told::default(),
    };
    core.start(Setup { correlate: config.correlate.clone(), topology })?;
    let policy = Arc::new(PolicyDesk::new(config.policy_keys.clone(), reader.policy()?, Arc::clone(&counters)));
    let twins = Arc::new(Twins::default());
    let healths = Arc::new(Healths::default());
    let enrolment = Arc::new(Enrolment {
        jobs: jobs.clone(),
        authority: Arc::clone(&authority),
        online_key: online_public.0,
        counters: Arc::clone(&counters),
        clock: Arc::clone(&clock),
        seats: Semaphore::new(enrolment::SEATS),
    });
    let readers = (core.store.reader()?, core.store.reader()?);
    let core = spawn_core(core)?;
    let intake = Intake::new(IntakeParts {
        events,
        jobs: jobs.clone(),
        server: server.clone(),
        directives,
        policy: Arc::clone(&policy),
        twins: Arc::clone(&twins),
        healths: Arc::clone(&healths),
        enrolment: Arc::clone(&enrolment),
        counters: Arc::clone(&counters),
        clock: Arc::clone(&clock),
    });
    let server_task = tokio::spawn(server_task.run());
    let (stop, stopped) = watch::channel(false);
    let intake = tokio::spawn(intake.run(stopped.clone()));
    let api = Api {
        jobs,
        readers: api::Readers::new(readers.0, readers.1),
        engine,
        server: server.clone(),
        policy,
        twins,
        healths,
        enrolment,
        deny_list,
        authority,
        online_key: online_public,
        counters,
        clock,
        api_token: secrets.api_token.clone(),
    };
    let api = tokio::spawn(api::serve(listener, api, stopped));
    eprintln!("vedette-collector ready: agents on {} (QUIC), API on http://{}", server.local_address(), config.api);
    let outcome = until_stopped(core, &server).await;
    stop.send_replace(true);
    server.shutdown();
    let ended = async {
        drop(tokio::join!(server_task, intake, api));
        outcome.finish().await
    };
    tokio::time::timeout(SHUTDOWN_MAX, ended).await.context("the collector did not end in time")?
}

/// What is known of the writer's thread.
enum CoreState {
    Running(tokio::sync::oneshot::Receiver<anyhow::Result<()>>),
    Ended(anyhow::Result<()>),
}

impl CoreState {
    /// The writer ends once nobody can send it jobs any more.
    async fn finish(self) -> anyhow::Result<()> {
        match self {
            Self::Running(ended) => ended.await.context("the writer was lost")?,
            Self::Ended(outcome) => outcome,
        }
    }
}

fn spawn_core(core: Core) -> anyhow::Result<tokio::sync::oneshot::Receiver<anyhow::Result<()>>> {
    let (tell, ended) = tokio::sync::oneshot::channel();
    let runtime = tokio::runtime::Handle::current();
    std::thread::Builder::new().name("core".to_owned()).spawn(move || {
        let outcome = core.run(&runtime).map_err(anyhow::Error::from);
        // Nobody listens only if the process is already on its way out.
        drop(tell.send(outcome));
    })?;
    Ok(ended)
}

async fn until_stopped(
    mut core: tokio::sync::oneshot::Receiver<anyhow::Result<()>>,
    server: &ServerHandle,
) -> CoreState {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut term), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) else {
        return CoreState::Ended(Err(anyhow::anyhow!("signals cannot be received")));
    };
    tokio::select! {
        _ = term.recv() => {}
        _ = interrupt.recv() => {}
        ended = &mut core => {
            let outcome = ended.context("the writer was lost").and_then(|outcome| outcome);
            tracing::error!(?outcome, "the writer ended; the collector goes down");
            return CoreState::Ended(outcome);
        }
    }
    tracing::info!(agents = server.connections().len(), "shutting down");
    CoreState::Running(core)
}

/// Directives that were issued before the restart and have not ended.
fn remember_directives(
    reader: &dyn crate::store::Reader,
    directives: &Directives,
    online: &vedette_protocol::signature::SigningKey,
    clock: &dyn Clock,
) -> anyhow::Result<()> {
    let now = clock.wall();
    for agent in reader.agents(100_000)? {
        for signed in reader.directives(agent.host, now)? {
            let Ok(bytes) = signed.verify(Domain::Directive, &[online.public()]) else { continue };
            if let Ok(directive) = postcard::from_bytes::<Directive>(bytes) {
                directives.remember(agent.host, directive.expires, signed);
            }
        }
    }
    Ok(())
}
