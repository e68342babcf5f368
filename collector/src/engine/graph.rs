//! How near services are to each other by declared dependencies.

use crate::topology::Topology;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// What one dependency leaves of nearness.
const PER_HOP: f64 = 0.8;
/// A service with more neighbours than this is a hub: nearness through it is damped in proportion.
const HUB_NEIGHBOURS: f64 = 8.0;
/// Farther apart than this is not near.
const HOPS_MAX: u32 = 2;
/// Less than this is not near: behind a hub of 18 neighbours nothing is, or whatever departs everywhere at one time
/// would be one incident of all that use the same name server.
const NEARNESS_MIN: f64 = 0.3;
/// Neighbours of one service that are looked at.
const NEAR_MAX: usize = 64;

/// Nearness of services, precomputed from a [`Topology`].
#[derive(Debug, Default)]
pub(crate) struct Graph {
    services_of_host: HashMap<String, Vec<String>>,
    hosts_of_service: HashMap<String, Vec<String>>,
    tiers: HashMap<String, u8>,
    /// For each service the services near it with their nearness, itself excluded.
    near: HashMap<String, BTreeMap<String, f64>>,
    dependencies: HashMap<String, BTreeSet<String>>,
}

impl Graph {
    pub(crate) fn new(topology: &Topology) -> Self {
        let mut graph = Self::default();
        let mut neighbours: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for service in &topology.services {
            neighbours.entry(&service.name).or_default();
            for other in &service.depends_on {
                neighbours.entry(&service.name).or_default().insert(other);
                neighbours.entry(other).or_default().insert(&service.name);
            }
            for host in &service.hosts {
                graph.services_of_host.entry(host.clone()).or_default().push(service.name.clone());
            }
            graph.hosts_of_service.insert(service.name.clone(), service.hosts.clone());
            graph.dependencies.insert(service.name.clone(), service.depends_on.iter().cloned().collect());
            if let Some(tier) = service.tier {
                graph.tiers.insert(service.name.clone(), tier);
            }
        }
        graph.near = neighbours.keys().map(|name| ((*name).to_owned(), near(name, &neighbours))).collect();
        graph
    }

    /// From 0 (unrelated) to 1 (the same).
    pub(crate) fn nearness(&self, one: &str, other: &str) -> f64 {
        if one == other {
            return 1.0;
        }
        self.near.get(one).and_then(|near| near.get(other)).copied().unwrap_or(0.0)
    }

    /// Services near `service`, itself excluded, at most 64.
    pub(crate) fn near(&self, service: &str) -> impl Iterator<Item = &str> {
        self.near.get(service).into_iter().flat_map(|near| near.keys().map(String::as_str).take(NEAR_MAX))
    }

    pub(crate) fn services_of_host(&self, host_name: &str) -> &[String] {
        self.services_of_host.get(host_name).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn hosts_of_service(&self, service: &str) -> &[String] {
        self.hosts_of_service.get(service).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn tier(&self, service: &str) -> Option<u8> {
        self.tiers.get(service).copied()
    }

    /// Whether `service` calls `other`.
    pub(crate) fn depends_on(&self, service: &str, other: &str) -> bool {
        self.dependencies.get(service).is_some_and(|all| all.contains(other))
    }
}

/// Breadth-first to [`HOPS_MAX`]; passing through a hub costs, ending at one does not.
fn near(start: &str, neighbours: &BTreeMap<&str, BTreeSet<&str>>) -> BTreeMap<String, f64> {
    let mut found: BTreeMap<String, f64> = BTreeMap::new();
    let mut frontier = vec![(start, 1.0)];
    for hop in 0..HOPS_MAX {
        let mut next = Vec::new();
        for (name, nearness) in frontier {
            let around = &neighbours[name];
            let degree = f64::from(u32::try_from(around.len()).unwrap_or(u32::MAX));
            let damping = if hop == 0 { 1.0 } else { (HUB_NEIGHBOURS / degree).min(1.0) };
            for other in around.iter().filter(|other| **other != start) {
                let nearness = nearness * PER_HOP * damping;
                let best = found.entry((*other).to_owned()).or_insert(0.0);
                if nearness > *best {
                    *best = nearness;
                    next.push((*other, nearness));
                }
            }
        }
        frontier = next;
    }
    found.retain(|_, nearness| *nearness >= NEARNESS_MIN);
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::Service;

    fn service(name: &str, depends_on: &[&str]) -> Service {
        let depends_on = depends_on.iter().map(|name| (*name).to_owned()).collect();
        Service { name: name.to_owned(), depends_on, ..Service::default() }
    }

    #[test]
    fn nearness_falls_with_each_dependency_and_ends() {
        let services = vec![service("a", &["b"]), service("b", &["c"]), service("c", &["d"]), service("d", &[])];
        let graph = Graph::new(&Topology { services });
        assert_eq!(graph.nearness("a", "a"), 1.0);
        assert_eq!(graph.nearness("a", "b"), 0.8);
        assert_eq!(graph.nearness("b", "a"), 0.8);
        assert!((graph.nearness("a", "c") - 0.64).abs() < 1e-12);
        assert_eq!(graph.nearness("a", "d"), 0.0);
    }

    #[test]
    fn a_hub_does_not_make_everything_near() {
        let names: Vec<String> = (0..64).map(|i| format!("s{i}")).collect();
        let mut services: Vec<_> = names.iter().map(|name| service(name, &["dns"])).collect();
        services.push(service("dns", &[]));
        let graph = Graph::new(&Topology { services });
        assert_eq!(graph.nearness("s0", "dns"), 0.8);
        assert_eq!(graph.nearness("s0", "s1"), 0.0);
    }

    #[test]
    fn passing_through_a_small_hub_is_damped() {
        let names: Vec<String> = (0..12).map(|i| format!("s{i}")).collect();
        let mut services: Vec<_> = names.iter().map(|name| service(name, &["db"])).collect();
        services.push(service("db", &[]));
        let graph = Graph::new(&Topology { services });
        assert!((graph.nearness("s0", "s1") - 0.64 * 8.0 / 12.0).abs() < 1e-12);
    }
}
