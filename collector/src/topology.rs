//! Declared topology: services with their tier, the hosts they run on, and what they depend on.

use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use vedette_protocol::document::{Document, Problem, Table, codes};

/// Most services in one file.
pub const SERVICES_MAX: usize = 10_000;

/// What a topology file says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Topology {
    /// Services in the file's order, names unique.
    pub services: Vec<Service>,
}

/// One service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// Name.
    pub name: String,
    /// Importance from 1 (most) to 4; `None` if not declared.
    pub tier: Option<u8>,
    /// `host.name` of the hosts it runs on.
    pub hosts: Vec<String>,
    /// Services it calls.
    pub depends_on: Vec<String>,
}

impl Topology {
    /// Reads and checks a topology file.
    ///
    /// ```toml
    /// [[services]]
    /// name = "checkout"
    /// tier = 1
    /// hosts = ["web-1", "web-2"]
    /// depends-on = ["payments"]
    /// ```
    ///
    /// # Errors
    ///
    /// All problems at once: syntax, unknown keys, missing names, names used twice, dependencies on nothing.
    pub fn parse(file_name: &str, text: &str) -> Result<Self, Vec<Problem>> {
        let document = Document::parse(file_name, text)?;
        let mut root = document.root();
        let mut tables = root.tables("services");
        let services: Vec<Service> = tables.iter_mut().take(SERVICES_MAX).map(service).collect();
        if let Some(table) = tables.get_mut(SERVICES_MAX) {
            let message = format!("more than {SERVICES_MAX} services are declared");
            table.problem("name", codes::OUT_OF_RANGE, &message, "declare those that matter most");
        }
        check_names(&services, &mut tables);
        drop(tables);
        drop(root);
        let problems = document.finish();
        if problems.is_empty() { Ok(Self { services }) } else { Err(problems) }
    }
}

fn service(table: &mut Table<'_>) -> Service {
    let name = table.string("name");
    if name.is_none() {
        table.missing("name", "name the service, for example `name = \"checkout\"`");
    }
    Service {
        name: name.unwrap_or_default(),
        tier: table.integer("tier", 1..=4).and_then(|tier| u8::try_from(tier).ok()),
        hosts: table.strings("hosts").unwrap_or_default(),
        depends_on: table.strings("depends-on").unwrap_or_default(),
    }
}

fn check_names(services: &[Service], tables: &mut [Table<'_>]) {
    let all: BTreeSet<&str> = services.iter().map(|service| service.name.as_str()).collect();
    let mut seen = BTreeSet::new();
    for (service, table) in services.iter().zip(tables) {
        if !service.name.is_empty() && !seen.insert(service.name.as_str()) {
            let message = format!("service `{}` is declared twice", service.name);
            table.problem("name", codes::CONTRADICTION, &message, "merge the two entries");
        }
        for missing in service.depends_on.iter().filter(|name| !all.contains(name.as_str())) {
            let message = format!("`{}` depends on `{missing}`, which is not declared", service.name);
            table.problem("depends-on", codes::CONTRADICTION, &message, "declare that service or remove the name");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_good_file_is_read_as_meant() {
        let text = "[[services]]\nname = \"shop\"\ntier = 1\nhosts = [\"a\"]\ndepends-on = [\"db\"]\n[[services]]\nname = \"db\"\n";
        let topology = Topology::parse("topology.toml", text).unwrap();
        assert_eq!(topology.services[0].tier, Some(1));
        assert_eq!(topology.services[1], Service { name: "db".into(), ..Service::default() });
    }

    #[test]
    fn all_problems_are_told_at_once() {
        let text = "[[services]]\ntier = 9\n[[services]]\nname = \"a\"\ndepends-on = [\"b\"]\n[[services]]\nname = \"a\"\nhots = []\n";
        let problems = Topology::parse("topology.toml", text).unwrap_err();
        let codes: Vec<_> = problems.iter().map(|problem| (problem.line, problem.code)).collect();
        assert_eq!(codes.len(), 5, "{problems:?}");
        assert!(codes.contains(&(2, codes::OUT_OF_RANGE)) && codes.contains(&(5, codes::CONTRADICTION)));
    }

    #[test]
    fn too_many_services_are_told_as_what_they_are() {
        let text: String = (0..=SERVICES_MAX).map(|n| format!("[[services]]\nname = \"s{n}\"\n")).collect();
        let problems = Topology::parse("topology.toml", &text).unwrap_err();
        assert!(problems.iter().any(|problem| problem.code == codes::OUT_OF_RANGE), "{problems:?}");
    }
}
