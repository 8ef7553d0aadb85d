//! Which environments have databases on which instances.
//!
//! The unit of recovery is a database on an instance; the unit of waiting, and of everything that touches an instance as a whole, is the instance.

use std::collections::{BTreeMap, BTreeSet};

use dxdr_environment::{DatabaseLocation, Environment, EnvironmentName, InstanceName};

/// The databases of environments on one instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceUse {
    /// The instance.
    pub instance: InstanceName,
    /// Who has what there.
    pub parts: Vec<Part>,
}

/// What one environment has on an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The environment.
    pub environment: EnvironmentName,
    /// What its manifest calls it.
    pub name: String,
    /// The databases that it names; empty: the whole instance.
    pub databases: Vec<String>,
}

impl InstanceUse {
    /// The environments, each once.
    pub fn environments(&self) -> BTreeSet<&EnvironmentName> {
        self.parts.iter().map(|part| &part.environment).collect()
    }

    /// Whether what touches the instance as a whole touches more than one environment.
    pub fn is_shared(&self) -> bool {
        self.environments().len() > 1
    }

    /// Those besides `environment` that are there, for a refusal of what would take them along.
    pub fn neighbours(&self, environment: &EnvironmentName) -> Vec<&EnvironmentName> {
        self.environments().into_iter().filter(|other| *other != environment).collect()
    }

    /// Databases that more than one environment calls its own, and who does.
    pub fn contested(&self) -> Vec<(&str, Vec<&EnvironmentName>)> {
        let mut owners: BTreeMap<&str, BTreeSet<&EnvironmentName>> = BTreeMap::new();
        for part in &self.parts {
            for database in &part.databases {
                owners.entry(database).or_default().insert(&part.environment);
            }
        }
        owners
            .into_iter()
            .filter(|(_, owners)| owners.len() > 1)
            .map(|(name, owners)| (name, owners.into_iter().collect()))
            .collect()
    }
}

/// The instances that environments use, in the order of their names.
pub fn uses(environments: &[Environment]) -> Vec<InstanceUse> {
    let mut parts: BTreeMap<InstanceName, Vec<Part>> = BTreeMap::new();
    for environment in environments {
        for database in &environment.databases {
            if let DatabaseLocation::CloudSql { project, instance, databases } = &database.location {
                parts.entry(InstanceName::new(project, instance)).or_default().push(Part {
                    environment: environment.name.clone(),
                    name: database.name.clone(),
                    databases: databases.clone(),
                });
            }
        }
    }
    parts.into_iter().map(|(instance, parts)| InstanceUse { instance, parts }).collect()
}

#[cfg(test)]
mod tests {
    use dxdr_environment::{Database, NamespaceName, Tier};

    use super::*;

    fn environment(name: &str, instance: &str, databases: &[&str]) -> Environment {
        let (parsed, namespace) = (EnvironmentName::parse(name).unwrap(), NamespaceName::parse(name).unwrap());
        let mut environment = Environment::bare(parsed, namespace, Tier::NonProduction);
        let databases = databases.iter().map(|name| (*name).to_owned()).collect();
        let location = DatabaseLocation::CloudSql { project: "p".to_owned(), instance: instance.to_owned(), databases };
        environment.databases.push(Database { name: "orders".to_owned(), location });
        environment
    }

    #[test]
    fn an_instance_of_two_environments_is_shared_and_knows_the_neighbours() {
        let environments = [
            environment("staging", "shared", &["a"]),
            environment("dev", "shared", &["b"]),
            environment("production", "own", &[]),
        ];
        let uses = uses(&environments);
        assert_eq!(uses.iter().map(|used| used.instance.instance.as_str()).collect::<Vec<_>>(), ["own", "shared"]);
        assert_eq!(uses.iter().map(InstanceUse::is_shared).collect::<Vec<_>>(), [false, true]);
        assert_eq!(uses[1].neighbours(&environments[0].name), [&environments[1].name]);
        assert!(uses[1].contested().is_empty());
    }

    #[test]
    fn a_database_that_two_environments_call_their_own_is_named() {
        let environments = [environment("staging", "shared", &["a"]), environment("dev", "shared", &["a", "b"])];
        let uses = uses(&environments);
        assert_eq!(uses[0].contested(), [("a", vec![&environments[1].name, &environments[0].name])]);
    }
}
