//! The agent's own log: to stderr, as text or JSON, with a filter that a reload can change.

use std::fmt;
use tracing_subscriber::EnvFilter;

/// Variable that decides on the filter, whatever the configuration says.
pub const FILTER_VARIABLE: &str = "VEDETTE_LOG";

/// What is logged unless said otherwise.
pub const FILTER: &str = "info";

/// The way to another filter.
#[derive(Default)]
pub struct Log {
    set: Option<Box<dyn Fn(EnvFilter) + Send>>,
}

impl Log {
    /// Begins to log with `filter`, unless [`FILTER_VARIABLE`] has another. In JSON if `VEDETTE_LOG_FORMAT` is `json`.
    pub fn start(filter: &str) -> Self {
        let named = EnvFilter::try_from_env(FILTER_VARIABLE);
        let is_fixed = named.is_ok();
        let filter = named.unwrap_or_else(|_| parsed(filter));
        let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false);
        let set: Box<dyn Fn(EnvFilter) + Send> =
            if std::env::var_os("VEDETTE_LOG_FORMAT").is_some_and(|it| it == "json") {
                let log = log.json().with_filter_reloading();
                let handle = log.reload_handle();
                log.init();
                // It fails only if the log is gone.
                Box::new(move |filter| drop(handle.reload(filter)))
            } else {
                let log = log.with_ansi(false).with_filter_reloading();
                let handle = log.reload_handle();
                log.init();
                Box::new(move |filter| drop(handle.reload(filter)))
            };
        Self { set: (!is_fixed).then_some(set) }
    }

    /// Another filter from now on; nothing happens where the variable decides.
    pub fn set(&self, filter: &str) {
        if let Some(set) = &self.set {
            set(parsed(filter));
        }
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log").finish_non_exhaustive()
    }
}

/// Whether it can be a filter.
pub fn is_filter(text: &str) -> bool {
    !text.is_empty() && EnvFilter::builder().parse(text).is_ok()
}

fn parsed(filter: &str) -> EnvFilter {
    EnvFilter::builder().parse_lossy(filter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_told_from_what_is_none() {
        for good in ["info", "warn,vedette_agent=debug", "off"] {
            assert!(is_filter(good), "{good}");
        }
        for bad in ["", "loud=noise", "vedette_agent=="] {
            assert!(!is_filter(bad), "{bad}");
        }
    }
}
