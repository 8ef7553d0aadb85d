//! Google's part of the demonstration, emulated in this process: the Cloud SQL instances that the shipped environments name, and the bucket that they export into.

use std::{sync::Arc, time::Duration};

use dxdr_cloud_sql::CloudSql;
use dxdr_database_emulator as database;
use dxdr_environment::{DatabaseLocation, Environment};
use dxdr_format::layout::StoreLayout;
use dxdr_object_storage::{GcsOptions, GcsStorage, gcs::GcsCredentials};
use dxdr_provider::Instances;
use dxdr_run::{Store, active, instance::InstanceAccess};
use dxdr_storage_emulator as storage;

use crate::{
    configuration::file::{CloudSqlConfiguration, CloudStorageConfiguration},
    failure::Failure,
};

/// The bucket of the demonstration.
pub(crate) const BUCKET: &str = "dxdr-demonstration";
/// Operations of emulated instances are done at once.
const SOON: Duration = Duration::from_millis(20);

/// Both servers, on loopback. They stop when this is dropped.
pub(crate) struct Cloud {
    storage: storage::Emulator,
    sql: database::Emulator,
}

impl Cloud {
    /// Starts them, with a few rows in every database that the environments have.
    pub(crate) async fn start(environments: &[Environment]) -> Result<Self, Failure> {
        let storage = storage::Emulator::start(storage::Options::default()).await?;
        storage.create_bucket(BUCKET, storage::Bucket::default());
        let options =
            database::Options { storage: Some(database::Storage::Endpoint(storage.endpoint())), ..database::Options::default() };
        let sql = database::Emulator::start(options).await?;
        let mut instances: Vec<(&str, &str)> = Vec::new();
        for (project, instance, name) in environments.iter().flat_map(databases) {
            if !instances.contains(&(project, instance)) {
                instances.push((project, instance));
                sql.create_instance(project, instance, database::Instance::default());
            }
            sql.create_database(project, instance, name);
            for statement in [
                "CREATE TABLE orders (number bigint PRIMARY KEY, state text NOT NULL)",
                "INSERT INTO orders VALUES (4711, 'paid'), (4712, 'packed'), (4713, 'sent')",
            ] {
                sql.execute(project, instance, name, statement);
            }
        }
        Ok(Self { storage, sql })
    }

    /// The store in the bucket.
    pub(crate) async fn store(&self) -> Result<Store, Failure> {
        let options = GcsOptions {
            bucket: BUCKET.to_owned(),
            endpoint: Some(self.storage.endpoint()),
            credentials: GcsCredentials::Anonymous,
            ..GcsOptions::default()
        };
        let storage = Arc::new(GcsStorage::connect(options).await?);
        Ok(Store { name: "primary".to_owned(), storage, layout: StoreLayout::new("") })
    }

    /// The way to the instances.
    pub(crate) fn instances(&self) -> Arc<dyn InstanceAccess> {
        Arc::new(Emulated(self.sql.endpoint()))
    }

    /// How other processes reach both.
    pub(crate) fn endpoints(&self) -> (CloudSqlConfiguration, CloudStorageConfiguration) {
        let sql = CloudSqlConfiguration { endpoint: Some(self.sql.endpoint()), ..CloudSqlConfiguration::default() };
        (sql, CloudStorageConfiguration { endpoint: Some(self.storage.endpoint()) })
    }

    /// Executes a statement in the databases of an environment, as its application would.
    pub(crate) fn execute(&self, environment: &Environment, statement: &str) {
        for (project, instance, name) in databases(environment) {
            self.sql.execute(project, instance, name, statement);
        }
    }

    /// The databases of an environment, each with everything that it consists of.
    pub(crate) fn contents(&self, environment: &Environment) -> Vec<(String, Vec<String>)> {
        let content = |(project, instance, name): (&str, &str, &str)| {
            (name.to_owned(), self.sql.statements(project, instance, name).unwrap_or_default())
        };
        databases(environment).into_iter().map(content).collect()
    }
}

/// Project, instance and name of each.
fn databases(environment: &Environment) -> Vec<(&str, &str, &str)> {
    let mut found = Vec::new();
    for declared in &environment.databases {
        if let DatabaseLocation::CloudSql { project, instance, databases } = &declared.location {
            found.extend(databases.iter().map(|name| (project.as_str(), instance.as_str(), name.as_str())));
        }
    }
    found
}

/// Cloud SQL at that address.
struct Emulated(String);

#[async_trait::async_trait]
impl InstanceAccess for Emulated {
    async fn connect(&self) -> Result<Arc<dyn Instances>, String> {
        let options = dxdr_cloud_sql::Options { endpoint: Some(self.0.clone()), credentials: None };
        let service = CloudSql::connect(options).await.map_err(|error| active::chain(&error))?;
        Ok(Arc::new(service))
    }

    fn first_pause(&self) -> Duration {
        SOON
    }
}
