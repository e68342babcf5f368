//! SIGHUP: the configuration is read anew and checked whole, in a thread of its own; then all that differs is applied
//! at once, or nothing. What only a start can apply is named.

mod plan;

use super::agent::Agent;
use super::detectors::{Found, Shelf};
use crate::clock::mono_now;
use crate::config::{Config, Unusable};
use crate::memory;
use crate::status::ReloadStatus;
use plan::{Plan, other_detectors};
use std::io;
use std::path::Path;
use vedette_detector_host::engine::Execution;

/// What was read. Nothing of it is in effect yet.
pub(super) enum Reread {
    /// Without a problem, with the detectors that it names.
    Fine { config: Box<Config>, found: Found },
    /// Its problems.
    Refused(Vec<String>),
}

/// Reads the configuration and the detectors that it names.
pub(super) fn reread(file: &Path, execution: Execution) -> Reread {
    let mut found = None;
    let read = Config::load_judged(file, |config| {
        let found = found.insert(Shelf::look_as(config, execution));
        memory::bound(config, found).objection(config).into_iter().collect()
    });
    match read {
        Ok(config) => {
            let found = found.unwrap_or_else(|| Shelf::look_as(&config, execution));
            Reread::Fine { config: Box::new(config), found }
        }
        Err(Unusable::Unreadable(error)) => Reread::Refused(vec![format!("{}: {error}", file.display())]),
        Err(Unusable::Problems(problems)) => Reread::Refused(problems),
    }
}

impl Agent {
    /// A person wants the configuration read anew: elsewhere, because it may take longer than a tick.
    pub(super) fn handle_reload(&mut self) {
        tracing::info!("the configuration is read anew");
        self.shelf.look_later();
    }

    /// A reading goes on, or another one will follow.
    pub(super) fn is_reloading(&self) -> bool {
        self.shelf.is_looking()
    }

    /// It was read.
    pub(super) fn handle_reread(&mut self, reread: Reread) {
        self.shelf.taken();
        match reread {
            Reread::Fine { config, found } => self.take_config(*config, found),
            Reread::Refused(problems) => self.refuse_config(problems),
        }
    }

    fn take_config(&mut self, wanted: Config, found: Found) {
        let plan = Plan::between(&self.config, wanted);
        let (mut applied, restart) = (plan.applied.clone(), plan.restart.clone());
        if found.whole {
            let before = self.supervisor.detectors();
            let before = before.iter().map(|detector| (detector.name.as_str(), detector.digest));
            let after = found.wanted.iter().map(|detector| (detector.name.as_str(), detector.digest));
            applied.extend(other_detectors(before, after));
        }
        if let Err(error) = self.apply(plan, found) {
            return self.refuse_config(vec![format!("nothing was changed: {error}")]);
        }
        tracing::info!(applied = applied.join(", "), "configuration read anew");
        if !restart.is_empty() {
            tracing::warn!(settings = restart.join(" "), "changed settings take a restart of the agent");
        }
        self.reload =
            ReloadStatus { count: self.reload.count + 1, refused: false, applied, restart, problems: Vec::new() };
    }

    fn refuse_config(&mut self, problems: Vec<String>) {
        for problem in &problems {
            tracing::error!(problem, "configuration refused: the one of before runs on");
        }
        let ReloadStatus { count, applied, restart, .. } = std::mem::take(&mut self.reload);
        self.reload = ReloadStatus { count: count + 1, refused: true, applied, restart, problems };
    }

    /// Whatever can fail comes first and changes nothing.
    fn apply(&mut self, plan: Plan, found: Found) -> io::Result<()> {
        let config = plan.config;
        let lanes = self.lanes.stage(&config.sources, &self.root)?;
        self.line_lane.stage(&config.logs, &self.root)?;
        self.change_lane.stage(&config.watch, &self.root)?;

        let now = mono_now();
        self.lanes.commit(&config.sources, lanes);
        self.pipeline.set_sources(now, config.intervals(), config.limits.series_max);
        self.pipeline.set_budgets(now, config.budget.budgets());
        self.spool.set_bytes_max(config.limits.memory_spool_bytes);
        if config.logs != self.config.logs {
            self.line_lane.follow(&config.logs);
        }
        if config.watch != self.config.watch {
            self.change_lane.watch(&config.watch);
        }
        if config.inventories != self.config.inventories {
            self.inventory_lane.schedule(&config.inventories);
        }
        self.log.set(&config.log);
        self.shelf.name(&config);
        self.memory = memory::bound(&config, &found);
        self.take_found(now, found);
        self.config = config;
        // A lane that is not read any more was perhaps the last one that the tick waited for.
        self.end_collecting_if_complete();
        Ok(())
    }
}
