//! The service itself.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use dxdr_environment::InstanceName;
use dxdr_provider::{
    InstanceError, InstanceErrorKind, Instances,
    instance::{Instance, InstanceBackup, InstanceOperation, InstanceRequest, RecoveryWindow, Rows},
};
use google_cloud_auth::credentials::Credentials;
use google_cloud_gax::{error::Error, options::RequestOptionsBuilder as _, retry_policy::NeverRetry};
use google_cloud_sql_v1::{
    client::{
        SqlBackupRunsService, SqlBackupsService, SqlDatabasesService, SqlInstancesService, SqlOperationsService, SqlUsersService,
    },
    model,
};

use crate::{
    connect::{ConnectError, Options, patience},
    failure::{self, Attempt},
    granted,
    request::{self, Engine},
    translation,
};

/// How long one request may take. With what is looked at before it, it is shorter than the half minute that those who ask allow for it.
const REQUEST: Duration = Duration::from_secs(24);
/// How long looking at the engine may take before a request is sent. When it is over, nothing was.
const BEFORE_SENDING: Duration = Duration::from_secs(5);
/// How long a statement may take, and the request for it.
const STATEMENT: Duration = Duration::from_secs(60);
/// Operations that one look shows. What runs is among the newest.
const OPERATIONS: u16 = 50;
/// Rows of a query, at most.
const ROWS: u32 = 10_000;

/// Cloud SQL.
pub struct CloudSql {
    options: Options,
    credentials: Credentials,
    instances: SqlInstancesService,
    databases: SqlDatabasesService,
    operations: SqlOperationsService,
    runs: SqlBackupRunsService,
    backups: SqlBackupsService,
    users: SqlUsersService,
    /// Exports differ by it, and it never changes.
    engines: Mutex<BTreeMap<InstanceName, Engine>>,
}

impl CloudSql {
    /// Finds the credentials. Nothing is asked of the service yet.
    pub async fn connect(options: Options) -> Result<Self, ConnectError> {
        let credentials = options.credentials()?;
        let failed = |error: google_cloud_gax::client_builder::Error| ConnectError {
            message: "its client cannot be made".to_owned(),
            hint: "the endpoint is a URL like `http://127.0.0.1:9002`".to_owned(),
            source: Some(Box::new(error)),
        };
        macro_rules! client {
            ($service:ty) => {{
                let builder = <$service>::builder().with_credentials(credentials.clone()).with_retry_policy(patience());
                let builder = match &options.endpoint {
                    Some(endpoint) => builder.with_endpoint(endpoint.clone()),
                    None => builder,
                };
                builder.build().await.map_err(failed)?
            }};
        }
        Ok(Self {
            instances: client!(SqlInstancesService),
            databases: client!(SqlDatabasesService),
            operations: client!(SqlOperationsService),
            runs: client!(SqlBackupRunsService),
            backups: client!(SqlBackupsService),
            users: client!(SqlUsersService),
            engines: Mutex::default(),
            credentials,
            options,
        })
    }

    /// The engine, for a request that has not been sent: whatever became of looking, nothing was accepted.
    async fn engine_before_sending(&self, instance: &InstanceName) -> Result<Engine, InstanceError> {
        match tokio::time::timeout(BEFORE_SENDING, self.engine(instance)).await {
            Ok(Err(error)) if !error.kind.definite() => Err(InstanceError { kind: InstanceErrorKind::NotSent, ..error }),
            Ok(answer) => answer,
            Err(_) => Err(failure::not_sent(instance)),
        }
    }

    async fn engine(&self, instance: &InstanceName) -> Result<Engine, InstanceError> {
        let known = self.engines.lock().unwrap_or_else(PoisonError::into_inner).get(instance).copied();
        if let Some(engine) = known {
            return Ok(engine);
        }
        let engine = Engine::of(&self.instance(instance).await?.version);
        self.engines.lock().unwrap_or_else(PoisonError::into_inner).insert(instance.clone(), engine);
        Ok(engine)
    }

    /// What the backups are called that the operations make, by the operations' names. One of ours whose name could not be read would be
    /// taken for a stranger's, and made again.
    async fn described(
        &self,
        instance: &InstanceName,
        operations: &[model::Operation],
    ) -> Result<BTreeMap<String, String>, InstanceError> {
        let made = |operation: &model::Operation| operation.backup_context.as_ref().map_or(0, |context| context.backup_id);
        if operations.iter().all(|operation| made(operation) == 0) {
            return Ok(BTreeMap::new());
        }
        let newest = self.runs.list().set_project(&instance.project).set_instance(&instance.instance);
        let newest = newest.set_max_results(OPERATIONS).with_attempt_timeout(REQUEST).send().await;
        let runs = match newest {
            Ok(newest) => newest.items,
            // Who may not see backups may make none of its own either: whose they are is of no use to it.
            Err(error) if error.http_status_code() == Some(403) => Vec::new(),
            Err(error) => return Err(looked(instance, "cloudsql.backupRuns.list")(error)),
        };
        // One that was deleted since has no description any more.
        let run_of = |operation: &model::Operation| runs.iter().find(|run| run.id != 0 && run.id == made(operation));
        let described = |operation: &model::Operation| Some((operation.name.clone(), run_of(operation)?.description.clone()));
        Ok(operations.iter().filter_map(described).collect())
    }
}

fn looked(instance: &InstanceName, permission: &'static str) -> impl FnOnce(Error) -> InstanceError {
    let attempt = Attempt { action: "look at", what: format!("instance `{instance}`"), permission, instance };
    move |error| failure::of_answer(attempt, error)
}

#[async_trait]
impl Instances for CloudSql {
    fn describe(&self) -> String {
        self.options.describe()
    }

    async fn instance(&self, instance: &InstanceName) -> Result<Instance, InstanceError> {
        let request = self.instances.get().set_project(&instance.project).set_instance(&instance.instance);
        let found = request.with_attempt_timeout(REQUEST).send().await.map_err(looked(instance, "cloudsql.instances.get"))?;
        Ok(translation::instance(&instance.project, &found))
    }

    async fn instances(&self, project: &str) -> Result<Vec<Instance>, InstanceError> {
        let all = InstanceName::new(project, "-");
        let mut instances = Vec::new();
        let mut token = String::new();
        loop {
            let request = self.instances.list().set_project(project).set_page_token(token);
            let page = request.with_attempt_timeout(REQUEST).send().await.map_err(looked(&all, "cloudsql.instances.list"))?;
            instances.extend(page.items.iter().map(|instance| translation::instance(project, instance)));
            if page.next_page_token.is_empty() {
                return Ok(instances);
            }
            token = page.next_page_token;
        }
    }

    async fn recovery_window(&self, instance: &InstanceName) -> Result<Option<RecoveryWindow>, InstanceError> {
        if !self.instance(instance).await?.log_kept {
            return Ok(None);
        }
        let request = self.instances.get_latest_recovery_time().set_project(&instance.project).set_instance(&instance.instance);
        let window = request.with_attempt_timeout(REQUEST).send().await.map_err(looked(instance, "cloudsql.instances.get"))?;
        let ends = (
            window.earliest_recovery_time.and_then(translation::instant),
            window.latest_recovery_time.and_then(translation::instant),
        );
        // A log that was switched on just now has neither beginning nor end.
        let (Some(earliest), Some(latest)) = ends else { return Ok(None) };
        Ok(Some(RecoveryWindow { earliest, latest }))
    }

    async fn databases(&self, instance: &InstanceName) -> Result<Vec<String>, InstanceError> {
        let request = self.databases.list().set_project(&instance.project).set_instance(&instance.instance);
        let list = request.with_attempt_timeout(REQUEST).send().await.map_err(looked(instance, "cloudsql.databases.list"))?;
        Ok(list.items.into_iter().map(|database| database.name).collect())
    }

    async fn users(&self, instance: &InstanceName) -> Result<Vec<String>, InstanceError> {
        let request = self.users.list().set_project(&instance.project).set_instance(&instance.instance);
        let list = request.with_attempt_timeout(REQUEST).send().await.map_err(looked(instance, "cloudsql.users.list"))?;
        Ok(list.items.into_iter().map(|user| user.name).collect())
    }

    async fn backups(&self, instance: &InstanceName) -> Result<Vec<InstanceBackup>, InstanceError> {
        let mut backups = Vec::new();
        let mut token = String::new();
        loop {
            // Those of an instance are listed by the project: there they are also when it is gone.
            let request = self.backups.list_backups().set_parent(format!("projects/{}", instance.project));
            let request = request.set_filter(format!("instance:{}", instance.instance)).set_page_token(token);
            let page =
                request.with_attempt_timeout(REQUEST).send().await.map_err(looked(instance, "cloudsql.backupRuns.list"))?;
            // A filter may find names that only resemble it.
            let own = page.backups.iter().filter(|backup| translation::is_of(backup, instance));
            backups.extend(own.map(translation::backup));
            if page.next_page_token.is_empty() {
                break;
            }
            token = page.next_page_token;
        }
        backups.sort_by_key(|backup| std::cmp::Reverse(backup.started));
        Ok(backups)
    }

    async fn operations(&self, instance: &InstanceName) -> Result<Vec<InstanceOperation>, InstanceError> {
        let request = self.operations.list().set_project(&instance.project).set_instance(&instance.instance);
        let request = request.set_max_results(OPERATIONS).with_attempt_timeout(REQUEST);
        let list = request.send().await.map_err(looked(instance, "cloudsql.instances.get"))?;
        let mut described = self.described(instance, &list.items).await?;
        let translated = list
            .items
            .iter()
            .map(|operation| translation::operation(&instance.project, operation, described.remove(&operation.name)));
        Ok(translated.collect())
    }

    async fn operation(&self, project: &str, name: &str) -> Result<Option<InstanceOperation>, InstanceError> {
        let request = self.operations.get().set_project(project).set_operation(name).with_attempt_timeout(REQUEST);
        match request.send().await {
            Ok(operation) => Ok(Some(translation::operation(project, &operation, None))),
            Err(error) if error.http_status_code() == Some(404) => Ok(None),
            Err(error) => {
                let instance = InstanceName::new(project, "-");
                let what = format!("operation `{name}` of project `{project}`");
                let attempt = Attempt { action: "look at", what, permission: "cloudsql.instances.get", instance: &instance };
                Err(failure::of_answer(attempt, error))
            }
        }
    }

    async fn submit(&self, instance: &InstanceName, request: &InstanceRequest) -> Result<String, InstanceError> {
        let (project, name) = (&instance.project, &instance.instance);
        let (action, permission) = request::action(request);
        let what = request::subject(instance, request);
        // The same for all: sent once, whatever happens.
        macro_rules! send {
            ($builder:expr) => {
                $builder
                    .set_project(project)
                    .set_instance(name)
                    .with_retry_policy(NeverRetry)
                    .with_attempt_timeout(REQUEST)
                    .send()
                    .await
            };
        }
        let answer = match request {
            InstanceRequest::Export { database, uri, offload } => {
                let context = request::export(database, uri, *offload, self.engine_before_sending(instance).await?);
                let body = model::InstancesExportRequest::new().set_export_context(context);
                send!(self.instances.export().set_body(body))
            }
            InstanceRequest::Import { database, uri } => {
                let context = request::import(database, uri, self.engine_before_sending(instance).await?);
                let body = model::InstancesImportRequest::new().set_import_context(context);
                send!(self.instances.import().set_body(body))
            }
            InstanceRequest::Backup { description } => {
                let body = model::BackupRun::new().set_description(description);
                send!(self.runs.insert().set_body(body))
            }
            InstanceRequest::Clone { destination, at } => {
                let body = model::InstancesCloneRequest::new().set_clone_context(request::clone(destination, *at));
                send!(self.instances.clone().set_body(body))
            }
            InstanceRequest::Restore { backup, labels } => {
                send!(self.instances.restore_backup().set_body(request::restore(instance, backup, labels)))
            }
            InstanceRequest::DeleteBackup { backup } => {
                let request = self.backups.delete_backup().set_name(backup);
                request.with_retry_policy(NeverRetry).with_attempt_timeout(REQUEST).send().await
            }
            InstanceRequest::CreateDatabase { database } => {
                let body = model::Database::new().set_name(database).set_project(project).set_instance(name);
                send!(self.databases.insert().set_body(body))
            }
            InstanceRequest::DeleteDatabase { database } => {
                if !request::names_itself(database) {
                    return Err(failure::of_name(instance, database));
                }
                send!(self.databases.delete().set_database(database))
            }
            InstanceRequest::Label { labels, deletion_protection } => {
                let labels = labels.iter().map(|(key, value)| (key.clone(), value.clone()));
                let settings = model::Settings::new().set_user_labels(labels);
                let settings = settings.set_or_clear_deletion_protection_enabled(*deletion_protection);
                let body = model::DatabaseInstance::new().set_settings(settings);
                send!(self.instances.patch().set_body(body))
            }
            InstanceRequest::Delete => send!(self.instances.delete()),
        };
        match answer {
            Ok(operation) => Ok(operation.name),
            Err(error) => Err(failure::of_answer(Attempt { action, what, permission, instance }, error)),
        }
    }

    async fn granted(&self, project: &str, permissions: &[&str]) -> Result<Vec<String>, InstanceError> {
        granted::granted(self.options.endpoint.as_deref(), &self.credentials, project, permissions).await
    }

    async fn execute(&self, instance: &InstanceName, database: &str, statement: &str) -> Result<Rows, InstanceError> {
        // As the account itself, by IAM: there is no password that would have to be kept.
        let payload =
            model::ExecuteSqlPayload::new().set_database(database).set_sql_statement(statement).set_row_limit(i64::from(ROWS));
        let payload = payload.set_auto_iam_authn(true);
        let request =
            self.instances.execute_sql().set_project(&instance.project).set_instance(&instance.instance).set_body(payload);
        let what = format!("database `{database}` of `{instance}`");
        let answer = request.with_retry_policy(NeverRetry).with_attempt_timeout(STATEMENT).send().await;
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                let attempt = Attempt { action: "query", what, permission: "cloudsql.instances.executeSql", instance };
                return Err(failure::of_query(attempt, error));
            }
        };
        // A statement that fails is an answer, not a refusal.
        let failed = answer.status.into_iter().chain(answer.results.iter().filter_map(|result| result.status.clone()));
        if let Some(status) = failed.into_iter().find(|status| status.code != 0) {
            return Err(failure::of_statement(instance, what, status.message));
        }
        // Statements have an answer each; what is asked for stands behind what is set for it.
        let asked = answer.results.into_iter().rfind(|result| !result.columns.is_empty());
        Ok(asked.map(|result| translation::rows(result, ROWS)).unwrap_or_default())
    }
}

impl fmt::Debug for CloudSql {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("CloudSql").field("options", &self.options).finish_non_exhaustive()
    }
}
