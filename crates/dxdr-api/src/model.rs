//! Documents held against one another: what one refers to must be there, and no two may claim the same thing.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use dxdr_environment::{DatabaseLocation, Environment, EnvironmentName, FieldPath, Tier};
use dxdr_policy::{
    BackupPolicy, BackupStore, Because, DatabaseMethod, SealingPolicy, StoreLocation, Together, timings, together,
};

use crate::{
    Kind,
    document::{self, Document, Resource},
    problem::{Problem, Problems, SourceText},
    reading::field_path,
    shape::listed,
};

/// Everything that was declared. Names are unique, and what is referred to is there.
#[derive(Debug, Clone, Default)]
pub struct Model {
    /// In the order of the documents.
    pub environments: Vec<Environment>,
    /// In the order of the documents.
    pub stores: Vec<BackupStore>,
    /// In the order of the documents.
    pub policies: Vec<BackupPolicy>,
    /// In the order of the documents.
    pub sealing_policies: Vec<SealingPolicy>,
    /// What is suspicious and does not forbid anything.
    pub warnings: Vec<Problem>,
}

impl Model {
    /// The environment of that name.
    pub fn environment(&self, name: &str) -> Option<&Environment> {
        self.environments.iter().find(|environment| environment.name.as_str() == name)
    }

    /// The store of that name.
    pub fn store(&self, name: &str) -> Option<&BackupStore> {
        self.stores.iter().find(|store| store.name.as_str() == name)
    }

    /// The policy that an environment is under.
    pub fn policy_of(&self, environment: &str) -> Option<&BackupPolicy> {
        self.policies.iter().find(|policy| policy.environments.iter().any(|name| name.as_str() == environment))
    }
}

/// Reads texts and holds all documents against one another: all problems of all texts at once. Texts that belong to one directory
/// belong in one call.
pub fn load(sources: &[SourceText<'_>]) -> Result<Model, Problems> {
    let mut documents = Vec::new();
    let mut problems = Vec::new();
    let mut broken = Vec::new();
    for source in sources {
        let parsed = document::read(source);
        documents.extend(parsed.documents);
        problems.extend(parsed.problems);
        broken.extend(parsed.broken);
    }
    // Warnings of documents are among the problems of their text already.
    for document in &mut documents {
        document.warnings.clear();
    }
    join(documents, &broken, problems)
}

/// Holds documents against one another.
pub fn manifests(documents: Vec<Document>) -> Result<Model, Problems> {
    join(documents, &[], Vec::new())
}

fn join(documents: Vec<Document>, broken: &[(Kind, String)], mut problems: Vec<Problem>) -> Result<Model, Problems> {
    problems.extend(documents.iter().flat_map(|document| document.warnings.clone()));
    let mut check = Check { documents: &documents, broken, problems };
    check.unique_names();
    check.namespaces();
    check.hosts();
    check.instances();
    check.policies();
    check.exports();
    check.schedules();
    check.environments_without_policy();
    check.sealing_policies();
    let problems = Problems(check.problems).sorted();
    if problems.has_errors() {
        return Err(problems);
    }
    let mut model = Model { warnings: problems.0, ..Model::default() };
    for document in documents {
        match document.resource {
            Resource::Environment(environment) => model.environments.push(*environment),
            Resource::BackupStore(store) => model.stores.push(store),
            Resource::BackupPolicy(policy) => model.policies.push(policy),
            Resource::SealingPolicy(policy) => model.sealing_policies.push(policy),
        }
    }
    Ok(model)
}

struct Check<'a> {
    documents: &'a [Document],
    /// Documents that exist and could not be read: nothing may be concluded from their absence.
    broken: &'a [(Kind, String)],
    problems: Vec<Problem>,
}

impl<'a> Check<'a> {
    fn environments(&self) -> impl Iterator<Item = (&'a Document, &'a Environment)> + use<'a> {
        self.documents.iter().filter_map(|document| match &document.resource {
            Resource::Environment(environment) => Some((document, environment.as_ref())),
            _ => None,
        })
    }

    fn backup_policies(&self) -> impl Iterator<Item = (&'a Document, &'a BackupPolicy)> + use<'a> {
        self.documents.iter().filter_map(|document| match &document.resource {
            Resource::BackupPolicy(policy) => Some((document, policy)),
            _ => None,
        })
    }

    /// Names of a kind, also of those documents that could not be read.
    fn names(&self, kind: Kind) -> BTreeSet<&'a str> {
        let read = self.documents.iter().filter(|document| document.kind() == kind).map(Document::name);
        let broken = self.broken.iter().filter(|(broken, _)| *broken == kind).map(|(_, name)| name.as_str());
        read.chain(broken).collect()
    }

    fn report(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    /// Reports each document whose `claim` an earlier one made.
    fn claimed_once(&mut self, claims: Vec<(&'a Document, FieldPath, String)>, message: impl Fn(&str, &Document) -> String) {
        let mut first: BTreeMap<String, &Document> = BTreeMap::new();
        for (document, path, claim) in claims {
            if let Some(other) = first.get(&claim) {
                let problem = document.wrong(path, message(&claim, other));
                self.report(problem.hint(format!("the other one stands at {}", place(other))));
            } else {
                first.insert(claim, document);
            }
        }
    }

    fn unique_names(&mut self) {
        for kind in Kind::ALL {
            let of_kind = self.documents.iter().filter(|document| document.kind() == kind);
            let claims = of_kind.map(|document| (document, field_path!["metadata", "name"], document.name().to_owned()));
            self.claimed_once(claims.collect(), |name, _| format!("there is another {} named `{name}`", kind.as_str()));
        }
    }

    fn namespaces(&mut self) {
        let claims = self
            .environments()
            .map(|(document, environment)| (document, field_path!["spec", "namespace"], environment.namespace.to_string()));
        let message =
            |namespace: &str, other: &Document| format!("namespace `{namespace}` is the environment `{}` already", other.name());
        self.claimed_once(claims.collect(), message);
    }

    fn hosts(&mut self) {
        let claims = self.environments().flat_map(|(document, environment)| {
            // Twice in one environment is a warning of its own.
            let hosts: BTreeMap<_, _> = environment.hosts.iter().enumerate().rev().map(|(index, host)| (host, index)).collect();
            hosts.into_iter().map(move |(host, index)| (document, field_path!["spec", "hosts", index], host.clone()))
        });
        let message =
            |host: &str, other: &Document| format!("host `{host}` belongs to the environment `{}` already", other.name());
        self.claimed_once(claims.collect(), message);
    }

    /// One database belongs to one environment. An instance that production shares is slowed down, and restored, with the others.
    fn instances(&mut self) {
        struct Use<'a> {
            document: &'a Document,
            path: FieldPath,
            tier: Tier,
            databases: &'a [String],
        }
        let mut uses: BTreeMap<(&str, &str), Vec<Use<'a>>> = BTreeMap::new();
        for (document, environment) in self.environments() {
            for (index, database) in environment.databases.iter().enumerate() {
                if let DatabaseLocation::CloudSql { project, instance, databases } = &database.location {
                    let path = field_path!["spec", "databases", index, "cloudSql"];
                    uses.entry((project, instance)).or_default().push(Use { document, path, tier: environment.tier, databases });
                }
            }
        }
        for ((project, instance), uses) in uses {
            for (index, this) in uses.iter().enumerate() {
                let others = uses[..index].iter().filter(|other| other.document.name() != this.document.name());
                for other in others {
                    let name = other.document.name();
                    let shared = this.databases.iter().find(|database| other.databases.contains(database));
                    let whole = this.databases.is_empty() || other.databases.is_empty();
                    if let Some(database) = shared {
                        let message = format!(
                            "database `{database}` of the instance `{project}:{instance}` belongs to the environment `{name}` already"
                        );
                        self.report(this.document.wrong(this.path.clone(), message));
                    } else if whole {
                        let message = format!(
                            "the instance `{project}:{instance}` is shared with the environment `{name}`, and one of them claims all of it"
                        );
                        let problem = this.document.wrong(this.path.clone(), message);
                        self.report(problem.hint("list the databases that belong to each environment in `databases`"));
                    } else if this.tier != other.tier {
                        let message = format!(
                            "the instance `{project}:{instance}` is shared with the environment `{name}`, and only one of them is production"
                        );
                        let problem = this.document.wrong(this.path.clone(), message).warning();
                        self.report(problem.hint("exports and restores of either environment are felt by the other"));
                    }
                }
            }
        }
    }

    fn policies(&mut self) {
        let environments: BTreeMap<&str, &Environment> =
            self.environments().map(|(_, environment)| (environment.name.as_str(), environment)).collect();
        let names = self.names(Kind::Environment);
        let stores = self.names(Kind::BackupStore);
        let mut covered: BTreeMap<&str, &Document> = BTreeMap::new();
        for (document, policy) in self.backup_policies() {
            let mut tiers = BTreeSet::new();
            for (index, environment) in policy.environments.iter().enumerate() {
                let path = field_path!["spec", "environments", index];
                let name = environment.as_str();
                tiers.extend(environments.get(name).map(|environment| environment.tier));
                if !names.contains(name) {
                    self.report(unknown(document, path, "environment", name, &names));
                } else if policy.environments[..index].contains(environment) {
                    self.report(document.wrong(path, format!("`{name}` stands here twice")).warning());
                } else if let Some(other) = covered.insert(name, document) {
                    let message = format!("environment `{name}` is under the policy `{}` already", other.name());
                    let problem = document.wrong(path, message);
                    self.report(problem.hint(format!("the other policy stands at {}", place(other))));
                }
            }
            if tiers.len() > 1 {
                let problem =
                    document.wrong(field_path!["spec", "environments"], "one policy covers production and something else");
                self.report(problem.warning().hint("what is promised for production is then promised, and paid for, everywhere"));
            }
            if !stores.contains(policy.store.as_str()) {
                self.report(unknown(document, field_path!["spec", "store"], "store", policy.store.as_str(), &stores));
            }
        }
    }

    /// What a policy promises of databases of Cloud SQL and the service cannot do. Points are partial then, each time: no reason to refuse
    /// everything else.
    fn exports(&mut self) {
        let environments: BTreeMap<&str, &Environment> =
            self.environments().map(|(_, environment)| (environment.name.as_str(), environment)).collect();
        let stores: BTreeMap<&str, &BackupStore> = self
            .documents
            .iter()
            .filter_map(|document| match &document.resource {
                Resource::BackupStore(store) => Some((store.name.as_str(), store)),
                _ => None,
            })
            .collect();
        for (document, policy) in self.backup_policies() {
            let exports = policy
                .databases
                .is_some_and(|databases| matches!(databases.method, DatabaseMethod::Export | DatabaseMethod::Both));
            if !exports {
                continue;
            }
            let path = field_path!["spec", "databases", "method"];
            let covered = policy.environments.iter().filter_map(|name| environments.get(name.as_str()).copied());
            let on_instances = covered.flat_map(|environment| {
                environment.databases.iter().filter_map(move |database| match &database.location {
                    DatabaseLocation::CloudSql { project, instance, databases } => {
                        Some((environment.name.as_str(), format!("{project}:{instance}"), databases.is_empty()))
                    }
                    DatabaseLocation::Postgresql(_) => None,
                })
            });
            let on_instances: Vec<(&str, String, bool)> = on_instances.collect();
            let elsewhere =
                stores.get(policy.store.as_str()).is_some_and(|store| !matches!(store.location, StoreLocation::Gcs(_)));
            if elsewhere && !on_instances.is_empty() {
                let names: BTreeSet<&str> = on_instances.iter().map(|(environment, ..)| *environment).collect();
                let message = format!(
                    "nothing of Cloud SQL can be exported for {}: the store `{}` is no bucket of Google Cloud Storage",
                    listed(&names.into_iter().collect::<Vec<_>>(), "and"),
                    policy.store
                );
                let problem = document.wrong(path.clone(), message).warning();
                self.report(problem.hint("name a store with `spec.gcs`, or say `pointInTime`"));
            }
            for (environment, instance, _) in on_instances.iter().filter(|(.., whole)| *whole) {
                let message =
                    format!("nothing is exported for `{environment}`: it names no database on the instance `{instance}`");
                let problem = document.wrong(path.clone(), message).warning();
                self.report(problem.hint("list them in `databases[].cloudSql.databases` of the environment"));
            }
        }
    }

    /// Environments that wait for each other on an instance because their policies say so.
    fn schedules(&mut self) {
        let environments: Vec<Environment> = self.environments().map(|(_, environment)| environment.clone()).collect();
        let policies: Vec<BackupPolicy> = self.backup_policies().map(|(_, policy)| policy.clone()).collect();
        let timings = timings(&environments, &policies);
        for Together { instance, environments } in together(&environments, &policies, &timings) {
            let written: Vec<&str> = environments
                .iter()
                .filter(|name| timings.get(*name).is_some_and(|timing| timing.because == Because::Written))
                .map(EnvironmentName::as_str)
                .collect();
            let says = |policy: &BackupPolicy| policy.environments.iter().any(|name| written.contains(&name.as_str()));
            let Some((document, _)) = self.backup_policies().find(|(_, policy)| says(policy)) else { continue };
            if written.len() > 1 {
                let message = format!(
                    "{} begin at the same minute and share the instance `{}:{}`, where one waits for the other",
                    listed(&written, "and"),
                    instance.project,
                    instance.instance
                );
                let problem = document.wrong(field_path!["spec", "schedule"], message).warning();
                self.report(
                    problem.hint("leave `schedule` out: it then follows from `objectives.dataLoss`, at minutes that are apart"),
                );
            }
        }
    }

    fn sealing_policies(&mut self) {
        let environments: BTreeMap<&str, &Environment> =
            self.environments().map(|(_, environment)| (environment.name.as_str(), environment)).collect();
        let names = self.names(Kind::Environment);
        let stores = self.names(Kind::BackupStore);
        let mut covered: BTreeMap<&str, &Document> = BTreeMap::new();
        let policies = self.documents.iter().filter_map(|document| match &document.resource {
            Resource::SealingPolicy(policy) => Some((document, policy)),
            _ => None,
        });
        for (document, policy) in policies {
            for (index, environment) in policy.environments.iter().enumerate() {
                let path = field_path!["spec", "environments", index];
                let name = environment.as_str();
                if !names.contains(name) {
                    self.report(unknown(document, path, "environment", name, &names));
                } else if policy.environments[..index].contains(environment) {
                    self.report(document.wrong(path, format!("`{name}` stands here twice")).warning());
                } else if let Some(other) = covered.insert(name, document) {
                    let message = format!("environment `{name}` is under the sealing policy `{}` already", other.name());
                    let problem = document.wrong(path, message);
                    self.report(problem.hint(format!("the other policy stands at {}", place(other))));
                } else if environments.get(name).is_some_and(|environment| environment.sealing.is_none()) {
                    let problem = document.wrong(path, format!("environment `{name}` names no Sealed Secrets controller"));
                    self.report(problem.hint("name it there: `spec.sealing.controller` with `namespace` and `name`"));
                }
            }
            if !stores.contains(policy.escrow.store.as_str()) {
                let path = field_path!["spec", "escrow", "store"];
                self.report(unknown(document, path, "store", policy.escrow.store.as_str(), &stores));
            }
        }
    }

    /// Only where there are policies at all: a directory with nothing but environments is a model, not an oversight.
    fn environments_without_policy(&mut self) {
        let any_broken = self.broken.iter().any(|(kind, _)| *kind == Kind::BackupPolicy);
        let covered: BTreeSet<&str> =
            self.backup_policies().flat_map(|(_, policy)| &policy.environments).map(|name| name.as_str()).collect();
        if covered.is_empty() || any_broken {
            return;
        }
        for (document, environment) in self.environments().filter(|(_, environment)| !covered.contains(environment.name.as_str()))
        {
            let message = format!("no policy covers the environment `{}`: it is not backed up", environment.name);
            let problem = document.wrong(field_path!["metadata", "name"], message).warning();
            self.report(problem.hint("add it to `spec.environments` of a BackupPolicy"));
        }
    }
}

fn unknown(document: &Document, path: FieldPath, what: &str, name: &str, known: &BTreeSet<&str>) -> Problem {
    let known: Vec<&str> = known.iter().copied().collect();
    let problem = document.wrong(path, format!("there is no {what} `{name}`"));
    let problem = if known.is_empty() { problem } else { problem.expected(listed(&known, "or")) };
    problem.suggest(name, known)
}

fn place(document: &Document) -> String {
    let place = document.node.place(&field_path!["metadata", "name"]);
    let file: &Arc<str> = &document.file;
    format!("{file}:{}:{}", place.line, place.column)
}
