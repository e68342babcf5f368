//! The way to the collector: its name, a QUIC handshake with both certificates, and the time of day.

use super::Step;
use crate::config::Config;
use crate::identity::Identity;
use crate::source::{self, Root, Sink};
use crate::status::Status;
use crate::uplink::remedy;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;
use vedette_edge::metric::MetricSpec;
use vedette_link::client::probe;
use vedette_link::clock::SystemClock;

const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);

/// Certificates and the order of events bear less than this; beyond, incidents are still ordered by the hello's offset.
const OFFSET_MS_MAX: f64 = 10_000.0;

pub(super) async fn name(config: &Config) -> Step {
    const NAME: &str = "name";
    let address = &config.collector.address;
    let told = "check `collector.address` and this host's resolver (`getent hosts NAME`)";
    match timeout(LOOKUP_TIMEOUT, tokio::net::lookup_host(address)).await {
        Err(_) => Step::fail(NAME, format!("{address}: no answer from the resolver in time"), told),
        Ok(Err(error)) => Step::fail(NAME, format!("{address}: {error}"), told),
        Ok(Ok(found)) => {
            let found: Vec<_> = found.map(|one| one.to_string()).collect();
            Step::ok(NAME, format!("{address} is {}", found.join(", ")))
        }
    }
}

/// UDP there and back, its certificate, ours, and whether it lets this host in.
pub(super) async fn handshake(config: &Config, identity: Option<&Identity>) -> Step {
    const NAME: &str = "collector";
    let Some(identity) = identity else { return Step::skip(NAME, "there is no identity to show") };
    let pair =
        vedette_link::identity::Identity { chain_der: identity.chain_der.clone(), key_der: identity.key_der.clone() };
    let (address, server_name) = (&config.collector.address, &config.collector.server_name);
    match probe(address, server_name, &pair, &identity.authorities_der, Arc::new(SystemClock)).await {
        Ok(()) => Step::ok(NAME, format!("{address} answers over UDP, both certificates are trusted")),
        Err(outage) => Step::fail(NAME, outage.to_string(), remedy(outage.obstacle)),
    }
}

/// By the collector's hello if the agent is connected, else by the kernel's own opinion.
pub(super) fn clock(status: Option<&Status>, root: &Root) -> Step {
    const NAME: &str = "clock";
    let told = "set it right and keep it so: `timedatectl set-ntp true`, or chrony";
    if let Some(offset_ms) = status.and_then(|status| status.link.offset_ms) {
        let found = format!("{offset_ms:+.1} ms from the collector's");
        return if offset_ms.abs() < OFFSET_MS_MAX { Step::ok(NAME, found) } else { Step::warn(NAME, found, told) };
    }
    let mut kernel = Unsynchronised(None);
    let read = source::find("clock").map(|spec| (spec.open)(root).read(&mut kernel));
    match (read, kernel.0) {
        (Some(Ok(())), Some(false)) => Step::ok(NAME, "the kernel holds it for synchronised"),
        (Some(Ok(())), Some(true)) => Step::warn(NAME, "the kernel holds it for unsynchronised", told),
        (Some(Err(error)), _) => Step::warn(NAME, error.to_string(), told),
        _ => Step::skip(NAME, "nobody knows"),
    }
}

struct Unsynchronised(Option<bool>);

impl Sink for Unsynchronised {
    fn reading(&mut self, metric: &'static MetricSpec, _attributes: &[(&str, &str)], value: f64) {
        if metric.name == "system.linux.clock.unsynchronized" {
            self.0 = Some(value > 0.0);
        }
    }
}
