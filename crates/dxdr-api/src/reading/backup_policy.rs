//! `BackupPolicy` into the model.

use dxdr_environment::{EnvironmentName, FieldPath};
use dxdr_policy::{
    BackupPolicy, Consistency, DATABASE_TIMEOUT, DatabaseMethod, DatabasePolicy, Engine, Objectives, References, ResourceFilters,
    Retention, SNAPSHOT_TIMEOUT, Schedule, SecretsPolicy, VolumeMethod, VolumePolicy,
};
use jiff::SignedDuration;

use super::{Reading, field_path};
use crate::{
    duration,
    specification::backup_policy::{
        BackupPolicySpec, ConsistencyName, DatabaseMethodName, DatabasesSpec, EngineName, ReferencesName, ResourcesSpec,
        RetentionSpec, ScheduleSpec, VolumeMethodName,
    },
};

impl Reading<'_> {
    /// The policy; only to be used when there are no problems.
    pub(crate) fn backup_policy(&mut self, name: &str, spec: &BackupPolicySpec) -> Option<BackupPolicy> {
        self.name(name, "policy name");
        let environments = spec.environments.iter().enumerate();
        let environments = environments
            .filter_map(|(index, name)| self.accept(&field_path!["spec", "environments", index], EnvironmentName::parse(name)))
            .collect();
        let data_loss = self.duration(&field_path!["spec", "objectives", "dataLoss"], &spec.objectives.data_loss);
        let recovery_time = self.duration(&field_path!["spec", "objectives", "recoveryTime"], &spec.objectives.recovery_time);
        let schedule = spec.schedule.as_ref().and_then(|schedule| self.schedule(schedule, data_loss));
        let max_skew = match &spec.max_skew {
            Some(text) => self.duration(&field_path!["spec", "maxSkew"], text).map(Some),
            None => Some(None),
        };
        let timeout = match &spec.volumes.timeout {
            Some(text) => self.duration(&field_path!["spec", "volumes", "timeout"], text),
            None => Some(SNAPSHOT_TIMEOUT),
        };
        let databases = self.database_policy(&spec.databases);
        let retention = self.retention(&spec.retention);
        let resources = self.resources(&spec.resources);
        Some(BackupPolicy {
            name: name.to_owned(),
            environments,
            objectives: Objectives { data_loss: data_loss?, recovery_time: recovery_time? },
            schedule,
            engine: match spec.engine {
                EngineName::Native => Engine::Native,
                EngineName::Velero => Engine::Velero,
            },
            store: spec.store.clone(),
            volumes: VolumePolicy {
                method: match spec.volumes.method {
                    VolumeMethodName::CsiSnapshot => VolumeMethod::CsiSnapshot,
                    VolumeMethodName::DataMover => VolumeMethod::DataMover,
                    VolumeMethodName::None => VolumeMethod::None,
                },
                timeout: timeout?,
            },
            databases,
            secrets: SecretsPolicy { sealed_only: spec.secrets.sealed_only },
            resources,
            max_skew: max_skew?,
            retention,
        })
    }

    /// The filters; an error when both styles are used.
    fn resources(&mut self, spec: &ResourcesSpec) -> ResourceFilters {
        let filters = ResourceFilters {
            included: spec.included.clone(),
            excluded: spec.excluded.clone(),
            include_cluster_resources: spec.include_cluster_resources,
            included_cluster_scoped: spec.included_cluster_scoped.clone(),
            excluded_cluster_scoped: spec.excluded_cluster_scoped.clone(),
            included_namespace_scoped: spec.included_namespace_scoped.clone(),
            excluded_namespace_scoped: spec.excluded_namespace_scoped.clone(),
        };
        if filters.mixed() {
            let problem = self.wrong(&field_path!["spec", "resources"], "filters of both styles exclude each other".to_owned());
            let hint = "use `included`, `excluded`, `includeClusterResources`, or the four lists for cluster-scoped and namespace-scoped kinds";
            self.report(problem.hint(hint));
        }
        filters
    }

    /// The schedule; an error when it fires too rarely for what may be lost.
    fn schedule(&mut self, spec: &ScheduleSpec, data_loss: Option<SignedDuration>) -> Option<Schedule> {
        let zone = match &spec.time_zone {
            Some(name) => self.time_zone(&field_path!["spec", "schedule", "timeZone"], name).map(|_| Some(name.as_str())),
            None => Some(None),
        };
        let path = field_path!["spec", "schedule", "cron"];
        // An unknown zone has been reported; the expression may be wrong as well.
        let schedule = self.accept(&path, Schedule::parse(&spec.cron, zone.flatten()))?;
        zone?;
        if let Some(data_loss) = data_loss {
            self.keeps_objective(&path, &schedule, data_loss);
        }
        Some(schedule)
    }

    fn keeps_objective(&mut self, path: &FieldPath, schedule: &Schedule, data_loss: SignedDuration) {
        let Some(interval) = schedule.longest_interval().filter(|interval| *interval > data_loss) else { return };
        let promised = duration::written(data_loss);
        let problem = self.wrong(path, format!("the schedule cannot keep `spec.objectives.dataLoss` of {promised}"));
        let expression = schedule.expression();
        let found = format!("`{expression}`, which leaves up to {} between recovery points", duration::written(interval));
        let keeps = |schedule: &Schedule| schedule.longest_interval().is_some_and(|interval| interval <= data_loss);
        let derived = Schedule::derived("", data_loss);
        // A day of 25 hours is no reason to refuse "every day".
        let problem = if Schedule::parse(expression, None).is_ok_and(|schedule| keeps(&schedule)) {
            problem.warning().found(found).hint(format!(
                "only where clocks are set back, since a repeated hour fires once; write `{{cron: \"{expression}\", timeZone: UTC}}`"
            ))
        } else if keeps(&derived) {
            problem.found(found).hint(format!(
                "leave `schedule` out: it then follows from `objectives.dataLoss`; or write `{{cron: \"{}\", timeZone: UTC}}`",
                derived.expression()
            ))
        } else {
            problem.found(found).hint("no schedule fires more often than every minute: promise at least `1m`")
        };
        self.report(problem);
    }

    fn retention(&mut self, spec: &RetentionSpec) -> Retention {
        let at_least = spec.at_least.unwrap_or_default();
        let retention = Retention {
            hourly: spec.hourly,
            daily: spec.daily,
            weekly: spec.weekly,
            monthly: spec.monthly,
            yearly: spec.yearly,
            at_least,
        };
        let asked = [spec.hourly, spec.daily, spec.weekly, spec.monthly, spec.yearly, at_least];
        let path = field_path!["spec", "retention"];
        if self.node.field("spec").is_some_and(|spec| spec.value.field("retention").is_some())
            && asked.iter().all(|count| *count == 0)
        {
            let problem = self.wrong(&path, format!("`{path}` keeps nothing in particular")).warning();
            self.report(problem.hint("without a rule, everything is kept for ever"));
        }
        retention
    }

    fn database_policy(&mut self, spec: &DatabasesSpec) -> Option<DatabasePolicy> {
        let Some(method) = spec.method else {
            if spec.offload {
                let path = field_path!["spec", "databases", "offload"];
                self.report(self.misplaced(&path, format!("`{path}` means nothing without a `method`")).warning());
            }
            return None;
        };
        let method = match method {
            DatabaseMethodName::Export => DatabaseMethod::Export,
            DatabaseMethodName::PointInTime => DatabaseMethod::PointInTime,
            DatabaseMethodName::Both => DatabaseMethod::Both,
            DatabaseMethodName::Backup => DatabaseMethod::Backup,
        };
        let timeout = match &spec.timeout {
            Some(text) => self.duration(&field_path!["spec", "databases", "timeout"], text)?,
            None => DATABASE_TIMEOUT,
        };
        let consistency = match spec.consistency {
            ConsistencyName::Independent => Consistency::Independent,
            ConsistencyName::Aligned => Consistency::Aligned,
            ConsistencyName::Quiesced => Consistency::Quiesced,
            ConsistencyName::Logged => Consistency::Logged,
        };
        let references = match spec.references {
            ReferencesName::DatabaseToVolumes => References::DatabaseToVolumes,
            ReferencesName::VolumesToDatabase => References::VolumesToDatabase,
        };
        Some(DatabasePolicy { method, offload: spec.offload, consistency, references, timeout })
    }
}
