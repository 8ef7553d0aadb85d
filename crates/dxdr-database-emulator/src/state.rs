//! Everything that is there: instances and operations. One lock around it, held for as long as a look takes.

use std::{collections::BTreeMap, sync::Arc};

use jiff::{SignedDuration, Timestamp};
use tokio::{sync::Notify, task::JoinHandle};

use crate::{
    Instance,
    backup::Backup,
    failure::Failure,
    instance::{Machine, Statement},
    operation::{Operation, Status},
    postgresql::Cluster,
};

/// How long a name stays taken after its instance is gone.
const NAME_KEPT: SignedDuration = SignedDuration::from_hours(24 * 7);

/// Rows that a query answers: columns, and values.
pub(crate) type Rows = (Vec<String>, Vec<Vec<String>>);

pub(crate) struct State {
    /// By project and name.
    instances: BTreeMap<(String, String), Machine>,
    /// Names of deleted instances, and when.
    deleted: BTreeMap<(String, String), Timestamp>,
    /// In the order in which they were accepted.
    operations: Vec<Operation>,
    tasks: Vec<JoinHandle<()>>,
    rows: BTreeMap<String, Rows>,
    seed: u64,
    /// In the order in which they were made.
    pub(crate) backups: Vec<Backup>,
    backup_numbers: u64,
}

impl State {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            instances: BTreeMap::new(),
            deleted: BTreeMap::new(),
            operations: Vec::new(),
            tasks: Vec::new(),
            rows: BTreeMap::new(),
            seed,
            backups: Vec::new(),
            backup_numbers: 0,
        }
    }

    pub(crate) fn put_instance(&mut self, project: &str, name: &str, instance: Instance, now: Timestamp) {
        self.instances.insert(key(project, name), Machine::new(instance, now));
    }

    pub(crate) fn instance_mut(&mut self, project: &str, name: &str) -> Option<&mut Instance> {
        self.instances.get_mut(&key(project, name)).map(|machine| &mut machine.instance)
    }

    pub(crate) fn machine(&self, project: &str, name: &str) -> Result<&Machine, Failure> {
        self.instances.get(&key(project, name)).ok_or_else(Failure::no_instance)
    }

    pub(crate) fn machine_mut(&mut self, project: &str, name: &str) -> Option<&mut Machine> {
        self.instances.get_mut(&key(project, name))
    }

    pub(crate) fn insert_machine(&mut self, project: &str, name: &str, machine: Machine) {
        self.instances.insert(key(project, name), machine);
    }

    pub(crate) fn remove_instance(&mut self, project: &str, name: &str, now: Timestamp) {
        if let Some(machine) = self.instances.remove(&key(project, name)) {
            self.deleted.insert(key(project, name), now);
            let is_its = |backup: &Backup| backup.gone.is_none() && backup.project == project && backup.instance == name;
            if machine.instance.retains_backups {
                self.backups.iter_mut().filter(|backup| is_its(backup)).for_each(|backup| backup.gone = Some(now));
            } else {
                self.backups.retain(|backup| !is_its(backup));
            }
        }
    }

    /// Whether a new instance may have this name.
    pub(crate) fn free_name(&self, project: &str, name: &str, now: Timestamp) -> Result<(), Failure> {
        let place = key(project, name);
        if self.instances.contains_key(&place) {
            return Err(Failure::new(409, "instanceAlreadyExists", "The Cloud SQL instance already exists."));
        }
        match self.deleted.get(&place) {
            Some(gone) if now.duration_since(*gone) < NAME_KEPT => Err(Failure::new(
                409,
                "instanceAlreadyExists",
                "The Cloud SQL instance already exists. When you delete an instance, you can't reuse the name of the deleted instance until one week from the deletion date.",
            )),
            _ => Ok(()),
        }
    }

    pub(crate) fn instance_names(&self, project: &str) -> Vec<String> {
        self.instances.keys().filter(|(owner, _)| owner == project).map(|(_, name)| name.clone()).collect()
    }

    /// The server that an instance is, if it is one.
    pub(crate) fn cluster(&self, project: &str, instance: &str) -> Option<Arc<Cluster>> {
        self.instances.get(&key(project, instance))?.server.clone()
    }

    /// Who writes and reads its objects, and by which token.
    pub(crate) fn account(&self, project: &str, instance: &str) -> (String, Option<String>) {
        let instance = self.instances.get(&key(project, instance)).map(|machine| &machine.instance);
        instance.map(|instance| (instance.service_account.clone(), instance.storage_token.clone())).unwrap_or_default()
    }

    pub(crate) fn create_database(&mut self, project: &str, instance: &str, database: &str) {
        if let Some(machine) = self.machine_mut(project, instance) {
            machine.databases.entry(database.to_owned()).or_default();
        }
    }

    pub(crate) fn execute(&mut self, project: &str, instance: &str, database: &str, text: &str, at: Timestamp) -> bool {
        let machine = self.machine_mut(project, instance);
        let statements = machine.and_then(|machine| machine.databases.get_mut(database));
        statements.map(|statements| statements.push(Statement { at, text: text.to_owned() })).is_some()
    }

    pub(crate) fn statements(&self, project: &str, instance: &str, database: &str) -> Option<Vec<String>> {
        let machine = self.instances.get(&key(project, instance)).filter(|machine| machine.server.is_none())?;
        let statements = machine.databases.get(database)?;
        Some(statements.iter().map(|statement| statement.text.clone()).collect())
    }

    pub(crate) fn prepare_rows(&mut self, query: &str, columns: &[&str], rows: &[&[&str]]) {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        self.rows.insert(query.to_owned(), (owned(columns), rows.iter().map(|row| owned(row)).collect()));
    }

    pub(crate) fn rows(&self, query: &str) -> Option<Rows> {
        self.rows.get(query).cloned()
    }

    pub(crate) fn next_backup(&mut self) -> u64 {
        self.backup_numbers += 1;
        self.backup_numbers
    }

    /// The backup of that name: `projects/p/backups/1`.
    pub(crate) fn backup(&self, name: &str) -> Result<&Backup, Failure> {
        let found = self.backups.iter().find(|backup| backup.name() == name);
        found.ok_or_else(|| Failure::new(404, "backupDoesNotExist", "The backup does not exist."))
    }

    /// The operation that keeps `kind` from beginning on an instance.
    pub(crate) fn in_the_way(&self, project: &str, instance: &str, kind: &str) -> Option<&Operation> {
        self.operations
            .iter()
            .find(|operation| operation.status != Status::Done && operation.is_on(project, instance) && operation.blocks(kind))
    }

    /// Accepts an operation under a name of its own.
    pub(crate) fn accept(&mut self, mut operation: Operation) -> (String, Arc<Notify>) {
        // Names are made of a number and the seed, as unlike one another as Google's are.
        let number = self.operations.len() as u64;
        let mixed = (self.seed ^ number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15)).rotate_left(17);
        operation.name = format!("{mixed:016x}-{number:04}");
        let released = Arc::clone(&operation.released);
        let name = operation.name.clone();
        self.operations.push(operation);
        (name, released)
    }

    pub(crate) fn operation(&self, name: &str) -> Option<&Operation> {
        self.operations.iter().find(|operation| operation.name == name)
    }

    pub(crate) fn operation_mut(&mut self, name: &str) -> Option<&mut Operation> {
        self.operations.iter_mut().find(|operation| operation.name == name)
    }

    /// The newest first.
    pub(crate) fn operations(&self) -> impl Iterator<Item = &Operation> {
        self.operations.iter().rev()
    }

    pub(crate) fn operations_of(&self, kind: &str) -> Vec<String> {
        let fitting = self.operations.iter().filter(|operation| operation.kind == kind);
        fitting.map(|operation| operation.name.clone()).collect()
    }

    pub(crate) fn release(&mut self, name: &str) -> bool {
        match self.operation_mut(name) {
            Some(operation) if operation.held => {
                operation.held = false;
                operation.released.notify_one();
                true
            }
            _ => false,
        }
    }

    pub(crate) fn keep(&mut self, task: JoinHandle<()>) {
        self.tasks.retain(|task| !task.is_finished());
        self.tasks.push(task);
    }

    pub(crate) fn abort(&mut self) {
        self.tasks.drain(..).for_each(|task| task.abort());
    }
}

fn key(project: &str, name: &str) -> (String, String) {
    (project.to_owned(), name.to_owned())
}
