//! What of another configuration can be applied while the agent runs.

use crate::config::{Config, DetectorsConfig, ExecutionConfig, LimitsConfig, SourceConfig, TrustConfig};
use std::collections::BTreeSet;
use vedette_protocol::ids::Digest;

/// The difference between two configurations. See the module's documentation.
#[derive(Debug, PartialEq)]
pub(super) struct Plan {
    /// What will be in effect: the wanted one, but for what takes a restart.
    pub(super) config: Config,
    /// Settings that change.
    pub(super) applied: Vec<String>,
    /// Settings that would change with a restart.
    pub(super) restart: Vec<String>,
}

impl Plan {
    /// From what is in effect to what is wanted. Each setting is named here once, so that a new one has to be decided on.
    pub(super) fn between(before: &Config, mut wanted: Config) -> Self {
        if wanted.detectors.execution == ExecutionConfig::Auto {
            // It was resolved at the start, before the agent gave up executable memory.
            wanted.detectors.execution = before.detectors.execution;
        }
        let (mut applied, mut restart) = (Vec::new(), Vec::new());
        let mut config = wanted.clone();
        {
            let mut keep = |name: &str, differs: bool| {
                if differs {
                    restart.push(name.to_owned());
                }
            };
            let Config { data_dir, socket, collector, metrics, .. } = before;
            keep("agent.data-dir", *data_dir != wanted.data_dir);
            keep("agent.socket", *socket != wanted.socket);
            keep("collector", *collector != wanted.collector);
            keep("metrics", *metrics != wanted.metrics);
            keep("spool", before.spool != wanted.spool);
            keep("masking", before.masking != wanted.masking);
            keep("journald", before.journald != wanted.journald);
            keep("trust.policy-keys", before.trust.policy_keys != wanted.trust.policy_keys);
            keep("detectors.execution", before.detectors.execution != wanted.detectors.execution);
            keep("limits.templates-max", before.limits.templates_max != wanted.limits.templates_max);
            keep("limits.detector-memory", before.limits.detector_memory_bytes != wanted.limits.detector_memory_bytes);
            keep("recorder", before.recorder != wanted.recorder);
        }
        config.data_dir.clone_from(&before.data_dir);
        config.socket.clone_from(&before.socket);
        config.collector.clone_from(&before.collector);
        config.metrics = before.metrics;
        config.spool.clone_from(&before.spool);
        config.masking.clone_from(&before.masking);
        config.journald = before.journald;
        config.trust.policy_keys.clone_from(&before.trust.policy_keys);
        config.detectors.execution = before.detectors.execution;
        config.limits.templates_max = before.limits.templates_max;
        config.limits.detector_memory_bytes = before.limits.detector_memory_bytes;
        config.recorder = before.recorder;

        let mut take = |name: &str, differs: bool| {
            if differs {
                applied.push(name.to_owned());
            }
        };
        let Config {
            data_dir: _,
            socket: _,
            collector: _,
            metrics: _,
            spool: _,
            masking: _,
            journald: _,
            log,
            trust: TrustConfig { policy_keys: _, author_keys },
            detectors: DetectorsConfig { directory, shadow_directory, execution: _, parameters, shadow_parameters },
            budget,
            limits:
                LimitsConfig {
                    memory_spool_bytes,
                    series_max,
                    templates_max: _,
                    detector_memory_bytes: _,
                    memory_bytes_max,
                },
            recorder: _,
            sources,
            inventories,
            logs,
            watch,
        } = before;
        take("agent.log", *log != wanted.log);
        take("trust.author-keys", *author_keys != wanted.trust.author_keys);
        take("detectors.directory", *directory != wanted.detectors.directory);
        take("detectors.shadow-directory", *shadow_directory != wanted.detectors.shadow_directory);
        take("detectors.parameters", *parameters != wanted.detectors.parameters);
        take("detectors.shadow-parameters", *shadow_parameters != wanted.detectors.shadow_parameters);
        take("budget", *budget != wanted.budget);
        take("limits.memory-spool", *memory_spool_bytes != wanted.limits.memory_spool_bytes);
        take("limits.series-max", *series_max != wanted.limits.series_max);
        take("limits.memory-bytes-max", *memory_bytes_max != wanted.limits.memory_bytes_max);
        for (old, new) in sources.iter().zip(&wanted.sources) {
            let SourceConfig { spec, .. } = new;
            take(&format!("sources.{}", spec.name), old != new);
        }
        for (old, new) in inventories.iter().zip(&wanted.inventories) {
            take(&format!("inventories.{}", new.spec.name), old != new);
        }
        take("logs", *logs != wanted.logs);
        take("watch", *watch != wanted.watch);
        Self { config, applied, restart }
    }
}

/// Detectors of a name that came, went, or are another module from now on.
pub(super) fn other_detectors<'a>(
    before: impl Iterator<Item = (&'a str, Digest)>,
    after: impl Iterator<Item = (&'a str, Digest)>,
) -> Vec<String> {
    let (before, after): (BTreeSet<_>, BTreeSet<_>) = (before.collect(), after.collect());
    let names: BTreeSet<&str> = before.symmetric_difference(&after).map(|(name, _)| *name).collect();
    names.into_iter().map(|name| format!("detector {name}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use vedette_detector_host::engine::Execution;

    fn plan(change: impl FnOnce(&mut Config)) -> Plan {
        let mut before = Config::default();
        before.detectors.execution = ExecutionConfig::Always(Execution::Native);
        let mut wanted = Config::default();
        change(&mut wanted);
        Plan::between(&before, wanted)
    }

    #[test]
    fn same_file_changes_nothing() {
        let plan = plan(|_| {});
        assert!(plan.applied.is_empty() && plan.restart.is_empty(), "{plan:?}");
        assert_eq!(plan.config.detectors.execution, ExecutionConfig::Always(Execution::Native));
    }

    #[test]
    fn what_takes_a_restart_is_named_and_stays_as_it_is() {
        let plan = plan(|wanted| {
            wanted.collector.address = "other:1".to_owned();
            wanted.limits.templates_max = 7;
            wanted.limits.series_max = 8;
            wanted.detectors.execution = ExecutionConfig::Always(Execution::Pulley);
            wanted.sources[1].interval_ms = 9_000;
        });
        assert_eq!(plan.restart, ["collector", "detectors.execution", "limits.templates-max"]);
        assert_eq!(
            plan.applied,
            ["limits.series-max".to_owned(), format!("sources.{}", plan.config.sources[1].spec.name)]
        );
        let Config { collector, limits, .. } = plan.config;
        assert_eq!(collector, Config::default().collector);
        assert_eq!((limits.series_max, limits.templates_max), (8, Config::default().limits.templates_max));
    }

    #[test]
    fn detectors_that_came_went_or_changed_are_named() {
        let one = |byte| Digest([byte; 32]);
        let before = [("level", one(1)), ("flatline", one(2)), ("spike", one(3))];
        let after = [("level", one(1)), ("flatline", one(4)), ("mine", one(5))];
        let other = other_detectors(before.into_iter(), after.into_iter());
        assert_eq!(other, ["detector flatline", "detector mine", "detector spike"]);
        assert!(other_detectors(before.into_iter(), before.into_iter()).is_empty());
    }
}
