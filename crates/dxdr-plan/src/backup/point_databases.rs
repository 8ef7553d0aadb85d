//! The databases of a point, and what is captured beside them: the same whoever captures that, dxdr itself or a Velero server.

use std::collections::BTreeMap;

use dxdr_environment::{DatabaseLocation, EnvironmentName};
use dxdr_policy::{Consistency, HoldTime};

use super::{BackupPlan, DatabasePlan, DumpPlan, ExportPlan, HookTime, InstanceBackupPlan, Late, LogPlan};

/// The databases of a point.
#[derive(Debug, Clone, Copy)]
pub struct PointDatabases<'a> {
    /// Name of the point.
    pub point: &'a str,
    /// The run that takes it.
    pub run: &'a str,
    /// Whose point it is.
    pub environment: &'a EnvironmentName,
    /// Where their Services and Secrets are.
    pub namespace: &'a str,
    /// What becomes of each.
    pub plans: &'a [DatabasePlan],
    /// Whether snapshots of volumes are taken.
    pub volumes: bool,
    /// Who has applications hold still around them.
    pub stillness: Stillness,
}

/// Who has applications hold still around the snapshots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stillness {
    /// The run, by hooks of pods, all at the same time: a database can be held within.
    Hooks,
    /// Nobody: no pod asks for it.
    Nobody,
    /// Velero, by hooks of one pod after the other: there is no moment in which all hold still, and nobody is told when one does.
    Velero,
}

impl<'a> PointDatabases<'a> {
    /// Those that are dumped.
    pub fn dumps(self) -> impl Iterator<Item = (&'a DatabasePlan, &'a DumpPlan)> {
        self.plans.iter().filter_map(|database| Some((database, database.dump()?)))
    }

    /// Those that the service exports.
    pub fn exports(self) -> impl Iterator<Item = (&'a DatabasePlan, &'a ExportPlan)> {
        self.plans.iter().filter_map(|database| Some((database, database.export()?)))
    }

    /// Those of which the point names an instant in their instance's log.
    pub fn logs(self) -> impl Iterator<Item = (&'a DatabasePlan, &'a LogPlan)> {
        self.plans.iter().filter_map(|database| Some((database, database.log()?)))
    }

    /// Those whose instance is backed up as a whole; several may be on one.
    pub fn backups(self) -> impl Iterator<Item = (&'a DatabasePlan, &'a InstanceBackupPlan)> {
        self.plans.iter().filter_map(|database| Some((database, database.backup()?)))
    }

    /// What can be promised of a dump.
    pub fn dumped(self, dump: &DumpPlan) -> Consistency {
        match self.stillness {
            Stillness::Hooks | Stillness::Nobody => dump.consistency,
            Stillness::Velero => dump.consistency.min(Consistency::Aligned),
        }
    }

    /// What can be promised of an export, with the volumes that there are.
    pub fn exported(self, export: &ExportPlan) -> Consistency {
        export.promise(self.volumes)
    }

    /// What can be promised of a backup, with the volumes that there are.
    pub fn backed_up(self, backup: &InstanceBackupPlan) -> Consistency {
        backup.promise(self.volumes)
    }

    /// Why a dump that was held at that time, and why no earlier, does not keep its promise; `None` when it does. `replica`: whether it was read from one.
    pub fn broken(self, dump: &DumpPlan, held: (HoldTime, Late), replica: bool) -> Option<String> {
        let promised = DumpPlan { consistency: self.dumped(dump), ..dump.clone() };
        promised.broken_by(held, replica, self.volumes, self.stillness == Stillness::Hooks)
    }

    /// How many connections each server has to hold until its dumps are read, one a database: their instants are fixed together. Servers by what people know
    /// them by.
    pub fn held_connections(self) -> BTreeMap<&'a str, usize> {
        let mut held = BTreeMap::new();
        for (database, _) in self.dumps() {
            if let DatabaseLocation::Postgresql(server) = &database.unit.location {
                let known = server.service.as_deref().or(server.address.as_deref()).or(server.credentials_secret.as_deref());
                *held.entry(known.unwrap_or(&database.unit.name)).or_default() += 1;
            }
        }
        held
    }

    /// Those whose level needs applications that hold still while nothing makes them.
    pub fn unquiet(self) -> impl Iterator<Item = (&'a DatabasePlan, &'a DumpPlan)> {
        self.dumps().filter(move |(_, dump)| dump.consistency.needs_hooks() && self.stillness != Stillness::Hooks)
    }
}

impl BackupPlan {
    /// The databases of the point.
    pub fn point_databases(&self) -> PointDatabases<'_> {
        let hooks = self.hooks(HookTime::Before).next().is_some();
        PointDatabases {
            point: &self.point,
            run: &self.run,
            environment: &self.environment,
            namespace: self.namespaces.first().map(String::as_str).unwrap_or_default(),
            plans: &self.databases,
            volumes: self.snapshots().next().is_some(),
            stillness: if hooks { Stillness::Hooks } else { Stillness::Nobody },
        }
    }
}
