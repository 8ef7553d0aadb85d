//! A recovery point that a Velero server takes: what it is asked for, and what the run does around it.

use dxdr_catalog::name;
use dxdr_environment::{DesiredObject, Environment, EnvironmentName, ObjectReference, compile::ENVIRONMENT_LABEL};
use dxdr_policy::{BackupPolicy, BackupStore};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{
    POLICY_LABEL, backups, location,
    location::Settled,
    schedule::{Places, template},
    snapshot_location,
};
use crate::step::Step;

/// Label with the run's name: by it a resumed run finds its Backup.
pub const RUN_LABEL: &str = "dxdr.io/run";

/// A backup by Velero, decided.
#[derive(Debug, Clone, PartialEq)]
pub struct VeleroBackupPlan {
    /// Name of the recovery point, and of the Backup.
    pub point: String,
    /// Name of the run.
    pub run: String,
    /// Whose point it is.
    pub environment: EnvironmentName,
    /// The namespaces it covers.
    pub namespaces: Vec<String>,
    /// The policy it is taken under.
    pub policy: String,
    /// Velero's name for the store.
    pub location: String,
    /// When it was planned.
    pub started: Timestamp,
    /// The Backup to create.
    pub object: DesiredObject,
    /// What the run does.
    pub steps: VeleroBackupSteps,
}

/// The steps of a backup by Velero.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VeleroBackupSteps {
    /// Asking for it.
    pub ask: Step,
    /// Following it to its end.
    pub follow: Step,
    /// Making it a recovery point.
    pub adopt: Step,
}

impl VeleroBackupSteps {
    fn of(point: &str) -> Self {
        Self {
            ask: Step::new("ask", format!("Ask Velero for backup {point}"), "the policy's engine is velero", true),
            follow: Step::new(
                "follow",
                "Follow it to its end",
                "what Velero does goes on whether or not anybody follows it",
                true,
            ),
            adopt: Step::new(
                "adopt",
                format!("Hash what it wrote and write the manifest of {point}"),
                "the recovery point exists from here on; without it the backup is adopted when somebody looks",
                true,
            ),
        }
    }

    /// All of them in order.
    pub fn all(&self) -> [&Step; 3] {
        [&self.ask, &self.follow, &self.adopt]
    }
}

/// Why Velero cannot be asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoLocation {
    /// It has no location for the store.
    #[error("Velero has no location for BackupStore `{store}`")]
    Missing {
        /// The store.
        store: String,
    },
    /// The store's location is not what its name says.
    #[error("Velero's location for BackupStore `{store}` cannot be used: {reason}")]
    Unusable {
        /// The store.
        store: String,
        /// Why.
        reason: String,
    },
}

/// Velero's name for `store`, among its `locations`.
pub fn location_of(store: &BackupStore, locations: &[Value], namespace: &str) -> Result<String, NoLocation> {
    let unusable = |reason: String| NoLocation::Unusable { store: store.name.clone(), reason };
    let there = |name: &str| locations.iter().any(|live| live.pointer("/metadata/name").and_then(Value::as_str) == Some(name));
    match location::settle(store, locations, namespace, false) {
        Settled::Theirs { name, .. } => Ok(name),
        Settled::Ours(object) if there(&object.reference.name) => Ok(object.reference.name),
        Settled::Ours(_) => Err(NoLocation::Missing { store: store.name.clone() }),
        Settled::Taken { name, by } => Err(unusable(format!("`{name}` is for {by}"))),
        Settled::Twice { there, .. } => Err(unusable(format!("`{there}` is for the same bucket and prefix"))),
        Settled::NotForVelero => Err(unusable("it is a directory".to_owned())),
    }
}

/// Plans a backup of `environment` into `store`, which is `location` for Velero. The same arguments make the same plan.
pub fn backup_plan(
    environment: &Environment,
    policy: &BackupPolicy,
    (store, location): (&BackupStore, &str),
    namespace: &str,
    now: Timestamp,
    seed: u64,
) -> VeleroBackupPlan {
    let point = name::point_name(&environment.name, now, seed);
    let run = name::run_name("backup", &environment.name, now, seed);
    let labels = json!({
        "app.kubernetes.io/managed-by": "dxdr",
        ENVIRONMENT_LABEL: environment.name.as_str(),
        POLICY_LABEL: policy.name,
        RUN_LABEL: name::shortened(&run, name::LONGEST),
    });
    let places = Places { location, snapshots: &snapshot_location::names(policy, store) };
    let mut spec = template(environment, policy, &places, Value::Null);
    if let Some(spec) = spec.as_object_mut() {
        // Of a Schedule's template only: a Backup has labels of its own.
        spec.remove("metadata");
    }
    let value = json!({
        "apiVersion": backups().api_version(), "kind": backups().kind,
        "metadata": {"name": point, "namespace": namespace, "labels": labels}, "spec": spec,
    });
    let reference = ObjectReference { kind: backups(), namespace: Some(namespace.to_owned()), name: point.clone() };
    VeleroBackupPlan {
        steps: VeleroBackupSteps::of(&point),
        namespaces: vec![environment.namespace.to_string()],
        environment: environment.name.clone(),
        policy: policy.name.clone(),
        location: location.to_owned(),
        started: now,
        object: DesiredObject { reference, value },
        point,
        run,
    }
}

impl VeleroBackupPlan {
    /// What the journal must hold so that another process can go on.
    pub fn parameters(&self) -> Map<String, Value> {
        Map::from_iter([
            ("engine".to_owned(), "velero".into()),
            ("point".to_owned(), self.point.as_str().into()),
            ("policy".to_owned(), self.policy.as_str().into()),
            ("location".to_owned(), self.location.as_str().into()),
            ("namespaces".to_owned(), json!(self.namespaces)),
            ("started".to_owned(), self.started.to_string().into()),
            ("backup".to_owned(), self.object.value.clone()),
        ])
    }

    /// Whether a journal's parameters are of a backup by Velero.
    pub fn recorded(parameters: &Map<String, Value>) -> bool {
        parameters.get("engine").and_then(Value::as_str) == Some("velero")
    }

    /// The plan that a journal's parameters are of; `None` where they are unusable.
    pub fn parse(environment: EnvironmentName, run: &str, parameters: &Map<String, Value>) -> Option<Self> {
        let text = |key: &str| parameters.get(key).and_then(Value::as_str);
        let namespaces = parameters.get("namespaces")?.as_array()?;
        let value = parameters.get("backup")?.clone();
        let point = text("point")?.to_owned();
        let namespace = value.pointer("/metadata/namespace")?.as_str()?.to_owned();
        let reference = ObjectReference { kind: backups(), namespace: Some(namespace), name: point.clone() };
        Some(Self {
            steps: VeleroBackupSteps::of(&point),
            run: run.to_owned(),
            environment,
            namespaces: namespaces.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            policy: text("policy")?.to_owned(),
            location: text("location")?.to_owned(),
            started: text("started")?.parse().ok()?,
            object: DesiredObject { reference, value },
            point,
        })
    }
}

#[cfg(test)]
mod tests {
    use dxdr_environment::{NamespaceName, Tier};
    use dxdr_policy::{
        Engine, Objectives, ResourceFilters, Retention, S3Location, SecretsPolicy, StoreLocation, VolumeMethod, VolumePolicy,
    };
    use jiff::SignedDuration;

    use super::*;

    fn plan() -> VeleroBackupPlan {
        let name = EnvironmentName::parse("staging").unwrap();
        let policy = BackupPolicy {
            name: "non-production".to_owned(),
            environments: vec![name.clone()],
            objectives: Objectives { data_loss: SignedDuration::from_hours(1), recovery_time: SignedDuration::from_hours(1) },
            schedule: None,
            engine: Engine::Velero,
            store: "primary".to_owned(),
            volumes: VolumePolicy::by(VolumeMethod::CsiSnapshot),
            databases: None,
            secrets: SecretsPolicy::default(),
            resources: ResourceFilters::default(),
            max_skew: SignedDuration::from_mins(15),
            retention: Retention { daily: 14, ..Retention::default() },
        };
        let environment = Environment::bare(name, NamespaceName::parse("staging").unwrap(), Tier::NonProduction);
        backup_plan(&environment, &policy, (&store(), "default"), "velero", "2024-05-01T10:00:00Z".parse().unwrap(), 7)
    }

    #[test]
    fn a_backup_is_the_schedule_s_template_under_the_point_s_name() {
        let plan = plan();
        let object = &plan.object.value;
        assert_eq!(object["metadata"]["name"], plan.point.as_str());
        assert_eq!(object["metadata"]["labels"]["dxdr.io/environment"], "staging");
        assert_eq!((&object["spec"]["ttl"], &object["spec"]["storageLocation"]), (&json!("360h0m0s"), &json!("default")));
        assert_eq!(object["spec"].get("metadata"), None);
        assert!(object["metadata"]["labels"][RUN_LABEL].as_str().unwrap().len() <= 63);
    }

    #[test]
    fn a_journal_holds_all_that_another_process_needs() {
        let plan = plan();
        let parameters = plan.parameters();
        assert!(VeleroBackupPlan::recorded(&parameters));
        assert_eq!(VeleroBackupPlan::parse(plan.environment.clone(), &plan.run, &parameters), Some(plan));
        assert_eq!(VeleroBackupPlan::parse(EnvironmentName::parse("staging").unwrap(), "run", &Map::new()), None);
    }

    fn store() -> BackupStore {
        let bucket = S3Location { bucket: "dx-backups".to_owned(), prefix: "velero".to_owned(), ..S3Location::default() };
        BackupStore { name: "primary".to_owned(), location: StoreLocation::S3(bucket), velero: None }
    }

    #[test]
    fn a_store_without_a_location_is_told() {
        let store = store();
        let live = json!({"metadata": {"name": "default"}, "spec": {"provider": "aws", "objectStorage": {"bucket": "dx-backups", "prefix": "velero"}}});
        assert_eq!(location_of(&store, &[live], "velero"), Ok("default".to_owned()));
        assert_eq!(location_of(&store, &[], "velero"), Err(NoLocation::Missing { store: "primary".to_owned() }));
    }
}
