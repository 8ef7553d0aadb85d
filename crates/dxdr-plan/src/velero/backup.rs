//! A recovery point that a Velero server takes: what it is asked for, and what the run does around it.
//!
//! ```text
//! [hold] ─► ask ─► cut: Velero has read the objects and cut the snapshots ─► [hold] ─► dump ─► export ─► follow to the end ─► adopt
//! ```
//!
//! Databases that hold before the snapshots hold before Velero is asked, since nobody is told when it begins; the others hold when it has cut them all.

use dxdr_catalog::name;
use dxdr_environment::{DesiredObject, Environment, EnvironmentName, ObjectReference, compile::ENVIRONMENT_LABEL};
use dxdr_policy::{BackupPolicy, BackupStore, VolumeMethod};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{
    POLICY_LABEL, backups, location,
    location::Settled,
    logs,
    schedule::{Destination, template, time_to_live},
    snapshot_location,
};
use crate::{
    backup::{
        DatabasePlan, PointDatabases, Stillness, database,
        export::{self, Asked},
    },
    step::Step,
};

/// Annotation of a Backup with the run that captures databases beside it: until that run is over, the point is the run's to finish.
pub const DATABASES_ANNOTATION: &str = "dxdr.io/databases-by";
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
    /// What becomes of each database.
    pub databases: Vec<DatabasePlan>,
    /// Whether Velero is to capture volumes, and there are any.
    pub volumes: bool,
    /// What the run does.
    pub steps: VeleroBackupSteps,
}

/// The steps of a backup by Velero.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VeleroBackupSteps {
    /// Asking for it.
    pub ask: Step,
    /// Following it until what it captures is of the past, where databases are captured behind that.
    pub cut: Option<Step>,
    /// Bringing databases into the store.
    pub dump: Option<Step>,
    /// Having the database service write databases into the store.
    pub export: Option<Step>,
    /// Following it to its end.
    pub follow: Step,
    /// Making it a recovery point.
    pub adopt: Step,
}

impl VeleroBackupSteps {
    fn of(point: &str, databases: &[DatabasePlan]) -> Self {
        let dumps = databases.iter().filter_map(DatabasePlan::dump).count();
        // Logs are looked at when it is adopted.
        let asked = Asked { logs: 0, ..Asked::of(databases) };
        Self {
            ask: Step::new("ask", format!("Ask Velero for backup {point}"), "the policy's engine is velero", true),
            cut: (dumps + asked.exports + asked.backups > 0).then(|| {
                Step::new(
                    "cut",
                    "Follow it until it has read the objects and cut the snapshots",
                    "databases that must not be older than the volumes are captured behind that",
                    true,
                )
            }),
            dump: database::dump_step(dumps),
            export: export::step(asked),
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
    pub fn all(&self) -> Vec<&Step> {
        let databases = [self.cut.as_ref(), self.dump.as_ref(), self.export.as_ref()];
        [&self.ask].into_iter().chain(databases.into_iter().flatten()).chain([&self.follow, &self.adopt]).collect()
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

/// Velero's name for `store`, one of `stores`, among its `locations`.
pub fn location_of(
    store: &BackupStore,
    stores: &[BackupStore],
    locations: &[Value],
    namespace: &str,
) -> Result<String, NoLocation> {
    let unusable = |reason: String| NoLocation::Unusable { store: store.name.clone(), reason };
    let there = |name: &str| locations.iter().any(|live| live.pointer("/metadata/name").and_then(Value::as_str) == Some(name));
    match location::settle(store, stores, locations, namespace, false) {
        Settled::Theirs { name, .. } => Ok(name),
        Settled::Ours(object) if there(&object.reference.name) => Ok(object.reference.name),
        Settled::Ours(_) => Err(NoLocation::Missing { store: store.name.clone() }),
        Settled::Taken { name, by } => Err(unusable(format!("`{name}` is for {by}"))),
        Settled::Twice { there, .. } => Err(unusable(format!("`{there}` is for the same bucket and prefix"))),
        Settled::NotForVelero => Err(unusable("it is a directory".to_owned())),
    }
}

/// Plans a backup of `environment` into `store`, which is `location` for Velero, with what becomes of its `databases`; `volumes`: whether it has any. The
/// same arguments make the same plan.
pub fn backup_plan(
    environment: &Environment,
    policy: &BackupPolicy,
    (store, location): (&BackupStore, &str),
    (databases, volumes): (Vec<DatabasePlan>, bool),
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
        RUN_LABEL: name::in_label(&run),
    });
    let destination = Destination { location, snapshots: &snapshot_location::names(policy, store), kept: time_to_live(policy) };
    let mut spec = template(environment, policy, &destination, Value::Null);
    if let Some(spec) = spec.as_object_mut() {
        // Of a Schedule's template only: a Backup has labels of its own.
        spec.remove("metadata");
    }
    let mut value = json!({
        "apiVersion": backups().api_version(), "kind": backups().kind,
        "metadata": {
            "name": point, "namespace": namespace, "labels": labels, "annotations": {logs::ANNOTATION: logs::annotation(&databases)},
        },
        "spec": spec,
    });
    if databases.iter().any(DatabasePlan::needs_run) {
        value["metadata"]["annotations"][DATABASES_ANNOTATION] = run.as_str().into();
    }
    let reference = ObjectReference { kind: backups(), namespace: Some(namespace.to_owned()), name: point.clone() };
    VeleroBackupPlan {
        steps: VeleroBackupSteps::of(&point, &databases),
        namespaces: vec![environment.namespace.to_string()],
        environment: environment.name.clone(),
        policy: policy.name.clone(),
        location: location.to_owned(),
        started: now,
        object: DesiredObject { reference, value },
        databases,
        volumes: volumes && policy.volumes.method != VolumeMethod::None,
        point,
        run,
    }
}

impl VeleroBackupPlan {
    /// The databases of the point.
    pub fn point_databases(&self) -> PointDatabases<'_> {
        PointDatabases {
            point: &self.point,
            run: &self.run,
            environment: &self.environment,
            namespace: self.namespaces.first().map(String::as_str).unwrap_or_default(),
            plans: &self.databases,
            volumes: self.volumes,
            stillness: Stillness::Velero,
        }
    }

    /// What the journal must hold so that another process can go on.
    pub fn parameters(&self) -> Map<String, Value> {
        Map::from_iter([
            ("engine".to_owned(), "velero".into()),
            ("point".to_owned(), self.point.as_str().into()),
            ("policy".to_owned(), self.policy.as_str().into()),
            ("location".to_owned(), self.location.as_str().into()),
            ("namespaces".to_owned(), json!(self.namespaces)),
            ("started".to_owned(), self.started.to_string().into()),
            ("databases".to_owned(), database::parameters(&self.databases)),
            ("volumes".to_owned(), self.volumes.into()),
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
        // Runs that were begun before there were any have none.
        let databases = parameters.get("databases").map_or_else(|| Some(Vec::new()), database::recorded)?;
        Some(Self {
            steps: VeleroBackupSteps::of(&point, &databases),
            databases,
            volumes: parameters.get("volumes").and_then(Value::as_bool).unwrap_or_default(),
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
    use dxdr_environment::{
        DatabaseLocation, DatabaseUnit, NamespaceName, PostgresqlServer, Tier,
        database::{SecretKeys, TlsMode},
    };
    use dxdr_policy::{
        Consistency, DatabaseMethod, DatabasePolicy, Engine, Objectives, ResourceFilters, Retention, S3Location, SecretsPolicy,
        StoreLocation, VolumeMethod, VolumePolicy,
    };
    use jiff::SignedDuration;

    use super::*;
    use crate::backup::{Late, planned_databases};

    fn plan() -> VeleroBackupPlan {
        plan_with(Vec::new())
    }

    fn plan_with(units: Vec<DatabaseUnit>) -> VeleroBackupPlan {
        let name = EnvironmentName::parse("staging").unwrap();
        let policy = BackupPolicy {
            name: "non-production".to_owned(),
            environments: vec![name.clone()],
            objectives: Objectives { data_loss: SignedDuration::from_hours(1), recovery_time: SignedDuration::from_hours(1) },
            schedule: None,
            engine: Engine::Velero,
            store: "primary".to_owned(),
            volumes: VolumePolicy::by(VolumeMethod::CsiSnapshot),
            databases: Some(DatabasePolicy { consistency: Consistency::Quiesced, ..DatabasePolicy::by(DatabaseMethod::Both) }),
            secrets: SecretsPolicy::default(),
            resources: ResourceFilters::default(),
            max_skew: None,
            retention: Retention { daily: 14, ..Retention::default() },
        };
        let environment = Environment::bare(name, NamespaceName::parse("staging").unwrap(), Tier::NonProduction);
        let databases = planned_databases(units, policy.databases, Some(&policy.name), None);
        let now = "2024-05-01T10:00:00Z".parse().unwrap();
        backup_plan(&environment, &policy, (&store(), "default"), (databases, true), "velero", now, 7)
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

    fn units() -> Vec<DatabaseUnit> {
        let server = PostgresqlServer {
            service: Some("postgres".to_owned()),
            port: None,
            address: None,
            databases: Vec::new(),
            credentials_secret: None,
            secret_keys: SecretKeys::default(),
            tls: TlsMode::default(),
        };
        let cloud =
            DatabaseLocation::CloudSql { project: "p".to_owned(), instance: "i".to_owned(), databases: vec!["shop".to_owned()] };
        let unit = |name: &str, location| DatabaseUnit { name: name.to_owned(), database: Some("shop".to_owned()), location };
        vec![unit("orders", DatabaseLocation::Postgresql(server)), unit("carts", cloud)]
    }

    #[test]
    fn databases_are_captured_beside_what_velero_captures_and_the_backup_says_by_whom() {
        let plan = plan_with(units());
        let ids: Vec<&str> = plan.steps.all().iter().map(|step| step.id.as_str()).collect();
        assert_eq!(ids, ["ask", "cut", "dump", "export", "follow", "adopt"]);
        assert_eq!(plan.object.value["metadata"]["annotations"][DATABASES_ANNOTATION], plan.run.as_str());
        let annotated = serde_json::from_value(plan.object.value["metadata"]["annotations"].clone()).unwrap();
        let logs = logs::logs_then(&annotated).unwrap();
        assert_eq!(logs.iter().map(DatabasePlan::what).collect::<Vec<_>>(), ["database carts"]);
        let of = plan.point_databases();
        assert_eq!((of.dumps().count(), of.exports().count(), of.logs().count()), (1, 1, 1));
        assert_eq!(VeleroBackupPlan::parse(plan.environment.clone(), &plan.run, &plan.parameters()), Some(plan));
        // Without any, nothing is waited for, and anybody may finish the point.
        let plan = super::tests::plan();
        assert_eq!(plan.steps.all().len(), 3);
        assert_eq!(plan.object.value["metadata"]["annotations"].get(DATABASES_ANNOTATION), None);
    }

    #[test]
    fn velero_has_nobody_hold_still_at_one_moment_so_no_more_than_the_order_is_promised() {
        use dxdr_policy::HoldTime::{BeforeSnapshots, BehindSnapshots};
        let plan = plan_with(units());
        let of = plan.point_databases();
        let (_, dump) = of.dumps().next().unwrap();
        assert_eq!((dump.consistency, of.dumped(dump)), (Consistency::Quiesced, Consistency::Aligned));
        assert_eq!(of.unquiet().count(), 1);
        assert_eq!(of.broken(dump, (BeforeSnapshots, Late::Interrupted), false), None);
        let broken = of.broken(dump, (BehindSnapshots, Late::Interrupted), false).unwrap();
        assert!(
            broken.starts_with("it is not `aligned`") && broken.ends_with("rows may name files that the volumes do not have")
        );
        let let_go = of.broken(dump, (BehindSnapshots, Late::LetGo), false).unwrap();
        assert!(let_go.contains("Velero had not cut its snapshots within 1h, after which the database was let go"), "{let_go}");
        // Nothing to dangle into.
        let alone = VeleroBackupPlan { volumes: false, ..plan.clone() };
        assert_eq!(alone.point_databases().broken(dump, (BehindSnapshots, Late::LetGo), false), None);
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
        assert_eq!(location_of(&store, &[], &[live], "velero"), Ok("default".to_owned()));
        assert_eq!(location_of(&store, &[], &[], "velero"), Err(NoLocation::Missing { store: "primary".to_owned() }));
    }
}
