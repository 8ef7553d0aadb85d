//! A backup as its journal has it: all that it takes to finish what was begun, whatever the manifests say by then.

use dxdr_catalog::{Gap, Sha256, Trigger};
use dxdr_environment::{DiscoveredKind, EnvironmentName};
use dxdr_policy::{VolumeMethod, VolumePolicy};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value, json};

use super::{
    BackupPlan, BackupRequest, DatabasePlan, HookPlan, SecretsRule, VolumePlan, assembled, database, group, hook, plan, volume,
};
use crate::{
    error::PlanError,
    label::LabelSelector,
    selection::{Filters, Selection},
};

/// What a process planned that is not there any more.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordedBackup {
    /// Name of the recovery point.
    pub point: String,
    /// The run that takes it: the backup's own, or the restore's that it protects from.
    pub run: String,
    /// When it was planned.
    pub started: Timestamp,
    /// When retention may remove the point.
    pub expires: Option<Timestamp>,
    /// What was asked for.
    pub request: BackupRequest,
    /// What was to become of each volume: it is not decided anew, or a snapshot would be taken that nothing else knows of.
    pub volumes: Vec<VolumePlan>,
    /// Namespaces of which nobody knew what volumes there are.
    pub unknown_volumes: Vec<Gap>,
    /// What runs in pods around the snapshots.
    pub hooks: Vec<HookPlan>,
    /// What was to become of each database.
    pub databases: Vec<DatabasePlan>,
}

impl BackupPlan {
    /// What tells this backup from another one, for its journal. [`RecordedBackup::parse`] reads it.
    pub fn parameters(&self) -> Map<String, Value> {
        let trigger = match self.trigger {
            Trigger::Requested => "requested",
            Trigger::Scheduled => "scheduled",
            Trigger::Protective { .. } => "protective",
        };
        let secrets = match self.secrets {
            SecretsRule::All => "all",
            SecretsRule::LeaveOutSealed => "leave-out-sealed",
        };
        [
            ("point", json!(self.point)),
            ("namespaces", json!(self.namespaces)),
            ("started", json!(self.started.to_string())),
            ("expires", json!(self.expires.map(|expires| expires.to_string()))),
            ("trigger", json!(trigger)),
            ("policy", json!(self.policy)),
            ("environment-digest", json!(self.environment_digest.map(|digest| digest.to_string()))),
            ("secrets", json!(secrets)),
            ("filters", filters(&self.filters)),
            ("volumeMethod", json!(method_word(self.volume_policy.method))),
            ("volumeTimeout", json!(self.volume_policy.timeout.as_secs())),
            ("volumes", volume::parameters(&self.volumes)),
            ("hooks", hook::parameters(&self.hooks)),
            ("databases", database::parameters(&self.databases)),
            ("unknownVolumes", self.unknown_volumes.iter().map(|gap| json!({"what": gap.what, "reason": gap.reason})).collect()),
        ]
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect()
    }
}

/// Objects that a backup makes in the cluster for snapshots.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MadeSnapshots {
    /// Namespace and name of each VolumeSnapshot that is of no group.
    pub single: Vec<(String, String)>,
    /// The groups.
    pub groups: Vec<MadeGroup>,
}

/// A VolumeGroupSnapshot that a backup makes. The names of its members are the cluster's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MadeGroup {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Version of its kind.
    pub version: String,
}

impl RecordedBackup {
    /// The backup of a journal; `None` when something is missing or not understood.
    pub fn parse(environment: EnvironmentName, run: &str, parameters: &Map<String, Value>) -> Option<Self> {
        let text = |key: &str| parameters.get(key)?.as_str();
        let optional = |key: &str| parameters.get(key).is_none_or(Value::is_null);
        let unknown = |gap: &Value| {
            Some(Gap { what: gap.get("what")?.as_str()?.to_owned(), reason: gap.get("reason")?.as_str()?.to_owned() })
        };
        Some(Self {
            volumes: volume::recorded(parameters.get("volumes")?)?,
            hooks: Self::planned_hooks(parameters)?,
            // Runs that were begun before there were any have none.
            databases: parameters.get("databases").map_or_else(|| Some(Vec::new()), database::recorded)?,
            unknown_volumes: parameters.get("unknownVolumes")?.as_array()?.iter().map(unknown).collect::<Option<_>>()?,
            point: text("point")?.to_owned(),
            run: run.to_owned(),
            started: text("started")?.parse().ok()?,
            expires: if optional("expires") { None } else { Some(text("expires")?.parse().ok()?) },
            request: BackupRequest {
                environment,
                namespaces: list(parameters.get("namespaces")?)?,
                filters: parsed_filters(parameters.get("filters")?)?,
                secrets: match text("secrets")? {
                    "all" => SecretsRule::All,
                    "leave-out-sealed" => SecretsRule::LeaveOutSealed,
                    _ => return None,
                },
                volumes: VolumePolicy {
                    method: method(text("volumeMethod")?)?,
                    timeout: SignedDuration::from_secs(parameters.get("volumeTimeout")?.as_i64()?),
                },
                keep: None,
                trigger: match text("trigger")? {
                    "requested" => Trigger::Requested,
                    "scheduled" => Trigger::Scheduled,
                    "protective" => Trigger::Protective { restore_run: run.to_owned() },
                    _ => return None,
                },
                policy: text("policy").map(str::to_owned),
                environment_digest: if optional("environment-digest") {
                    None
                } else {
                    Some(Sha256::parse(text("environment-digest")?)?)
                },
            },
        })
    }

    /// What a journal's backup makes in the cluster for snapshots.
    pub fn planned_snapshots(parameters: &Map<String, Value>) -> Option<MadeSnapshots> {
        let point = parameters.get("point")?.as_str()?;
        let volumes = volume::recorded(parameters.get("volumes")?)?;
        let single = volumes.iter().filter(|volume| volume.snapshot().is_some_and(|snapshot| snapshot.group.is_none()));
        let groups = group::of(&volumes).into_iter().map(|planned| MadeGroup {
            namespace: planned.namespace.to_owned(),
            name: planned.group.snapshot_name(point),
            version: planned.group.version.clone(),
        });
        Some(MadeSnapshots {
            single: single.map(|volume| (volume.namespace.clone(), volume.snapshot_name(point))).collect(),
            groups: groups.collect(),
        })
    }

    /// The hooks that a journal's backup runs.
    pub fn planned_hooks(parameters: &Map<String, Value>) -> Option<Vec<HookPlan>> {
        hook::recorded(parameters.get("hooks")?)
    }

    /// Plans it again, under the names and times that it has, on the cluster as it is now.
    ///
    /// # Errors
    /// As [`plan`].
    pub fn plan(&self, kinds: &[DiscoveredKind], failed_groups: &[(String, String)]) -> Result<BackupPlan, PlanError> {
        Ok(self.dressed(plan(&self.request, kinds, failed_groups, self.started, 0)?))
    }

    /// The plan of what is left when everything was captured: nothing is read from the cluster any more.
    ///
    /// # Errors
    /// When its filters make no sense, which those of a backup that was planned do.
    pub fn captured(&self) -> Result<BackupPlan, PlanError> {
        let selection = Selection::parse(&self.request.filters)?.resolve(&[]);
        Ok(self.dressed(assembled(&self.request, selection, Vec::new(), self.started, 0)))
    }

    fn dressed(&self, plan: BackupPlan) -> BackupPlan {
        let plan = plan.decided(self.volumes.clone(), self.unknown_volumes.clone());
        let plan = BackupPlan { hooks: self.hooks.clone(), ..plan }.with_databases(self.databases.clone());
        BackupPlan { expires: self.expires, ..plan.named(&self.point, &self.run) }
    }
}

fn method_word(method: VolumeMethod) -> &'static str {
    match method {
        VolumeMethod::CsiSnapshot => "csi-snapshot",
        VolumeMethod::DataMover => "data-mover",
        VolumeMethod::None => "none",
    }
}

fn method(word: &str) -> Option<VolumeMethod> {
    [VolumeMethod::CsiSnapshot, VolumeMethod::DataMover, VolumeMethod::None]
        .into_iter()
        .find(|method| method_word(*method) == word)
}

fn filters(filters: &Filters) -> Value {
    json!({
        "includedNamespaces": filters.included_namespaces,
        "excludedNamespaces": filters.excluded_namespaces,
        "includedResources": filters.included_resources,
        "excludedResources": filters.excluded_resources,
        "includeClusterResources": filters.include_cluster_resources,
        "includedClusterScoped": filters.included_cluster_scoped,
        "excludedClusterScoped": filters.excluded_cluster_scoped,
        "includedNamespaceScoped": filters.included_namespace_scoped,
        "excludedNamespaceScoped": filters.excluded_namespace_scoped,
        "labelSelector": filters.label_selector.as_ref().map(ToString::to_string),
        "orLabelSelectors": filters.or_label_selectors.iter().map(ToString::to_string).collect::<Vec<_>>(),
    })
}

fn parsed_filters(value: &Value) -> Option<Filters> {
    let names = |key: &str| list(value.get(key)?);
    let selectors: Option<Vec<LabelSelector>> =
        names("orLabelSelectors")?.iter().map(|text| LabelSelector::parse(text).ok()).collect();
    Some(Filters {
        included_namespaces: names("includedNamespaces")?,
        excluded_namespaces: names("excludedNamespaces")?,
        included_resources: names("includedResources")?,
        excluded_resources: names("excludedResources")?,
        include_cluster_resources: value.get("includeClusterResources").and_then(Value::as_bool),
        included_cluster_scoped: names("includedClusterScoped")?,
        excluded_cluster_scoped: names("excludedClusterScoped")?,
        included_namespace_scoped: names("includedNamespaceScoped")?,
        excluded_namespace_scoped: names("excludedNamespaceScoped")?,
        label_selector: match value.get("labelSelector")?.as_str() {
            Some(text) => Some(LabelSelector::parse(text).ok()?),
            None => None,
        },
        or_label_selectors: selectors?,
    })
}

fn list(value: &Value) -> Option<Vec<String>> {
    value.as_array()?.iter().map(|name| name.as_str().map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use dxdr_environment::ResourceKind;

    use super::*;

    fn kinds() -> Vec<DiscoveredKind> {
        let kind = ResourceKind {
            group: String::new(),
            version: "v1".to_owned(),
            kind: "ConfigMap".to_owned(),
            plural: "configmaps".to_owned(),
            namespaced: true,
        };
        vec![DiscoveredKind {
            kind,
            verbs: ["create", "delete", "get", "list"].map(str::to_owned).to_vec(),
            short_names: Vec::new(),
            singular: "configmap".to_owned(),
            served_versions: vec!["v1".to_owned()],
        }]
    }

    fn planned() -> BackupPlan {
        let environment = EnvironmentName::parse("staging").unwrap();
        let mut request = BackupRequest::of_environment(environment, vec!["staging".to_owned()]);
        request.filters.included_namespace_scoped = vec!["configmaps".to_owned()];
        request.filters.label_selector = Some(LabelSelector::parse("app in (api,web)").unwrap());
        request.secrets = SecretsRule::LeaveOutSealed;
        request.policy = Some("non-production".to_owned());
        request.environment_digest = Some(Sha256([7; 32]));
        request.keep = Some(jiff::SignedDuration::from_hours(24));
        plan(&request, &kinds(), &[], "2024-05-01T10:00:00Z".parse().unwrap(), 7).unwrap()
    }

    #[test]
    fn what_the_journal_has_makes_the_same_plan_again() {
        let plan = planned();
        let recorded = RecordedBackup::parse(plan.environment.clone(), &plan.run, &plan.parameters()).unwrap();
        assert_eq!(recorded.plan(&kinds(), &[]).unwrap(), plan);
    }

    #[test]
    fn of_what_was_captured_nothing_is_read_again_and_everything_else_is_kept() {
        let plan = planned();
        let recorded = RecordedBackup::parse(plan.environment.clone(), &plan.run, &plan.parameters()).unwrap();
        let captured = recorded.captured().unwrap();
        assert_eq!(captured.lists, []);
        assert_eq!((&captured.point, &captured.run, captured.expires), (&plan.point, &plan.run, plan.expires));
        assert_eq!((captured.policy, captured.environment_digest), (plan.policy, plan.environment_digest));
    }

    #[test]
    fn a_journal_that_lacks_something_is_not_guessed_at() {
        let plan = planned();
        for key in ["point", "started", "namespaces", "filters", "secrets", "trigger", "volumes"] {
            let mut parameters = plan.parameters();
            parameters.remove(key);
            assert_eq!(RecordedBackup::parse(plan.environment.clone(), &plan.run, &parameters), None, "{key}");
        }
    }
}
