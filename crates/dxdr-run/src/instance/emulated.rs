//! The emulated service, asked in this process: no socket, no real time.

use std::sync::Arc;

use async_trait::async_trait;
use dxdr_database_emulator::{Emulator, Request, Service};
use dxdr_environment::InstanceName;
use dxdr_provider::{
    InstanceError, InstanceErrorKind, Instances,
    instance::{
        BackupOrigin, Instance, InstanceBackup, InstanceOperation, InstanceRequest, OperationFailure, OperationState,
        RecoveryWindow, Rows,
    },
};
use jiff::Timestamp;
use serde_json::{Value, json};

/// Where the service is.
#[derive(Debug)]
pub(in crate::instance) enum Place {
    Here(Service),
    BehindHttp(Emulator),
}

impl Place {
    pub(in crate::instance) fn service(&self) -> &Service {
        match self {
            Self::Here(service) => service,
            Self::BehindHttp(emulator) => emulator,
        }
    }
}

/// Somebody who asks it in this process.
#[derive(Debug, Clone)]
pub(in crate::instance) struct Emulated {
    pub(in crate::instance) place: Arc<Place>,
    pub(in crate::instance) token: &'static str,
}

impl Emulated {
    pub(in crate::instance) async fn ask(
        &self,
        method: &str,
        project: &str,
        path: &str,
        body: Value,
    ) -> Result<Value, InstanceError> {
        let (method, path) = (method.parse().unwrap(), format!("/v1/projects/{project}/{path}"));
        let (status, answer) = self.place.service().ask(Request { method, path, token: Some(self.token.to_owned()), body }).await;
        if status == 200 { Ok(answer) } else { Err(refusal(status, &answer["error"])) }
    }

    async fn begin(&self, method: &str, instance: &InstanceName, path: &str, body: Value) -> Result<String, InstanceError> {
        let path = format!("instances/{}{path}", instance.instance);
        Ok(text(&self.ask(method, &instance.project, &path, body).await?["name"]).unwrap())
    }
}

/// In the words of the provider; what the adapter makes of refusals has tests of its own.
fn refusal(status: u16, error: &Value) -> InstanceError {
    let kind = match (status, error["errors"][0]["reason"].as_str().unwrap_or_default()) {
        (_, "operationInProgress") => InstanceErrorKind::Busy,
        (429, _) => InstanceErrorKind::Throttled,
        (403, _) => InstanceErrorKind::Forbidden,
        (404, _) => InstanceErrorKind::NotFound,
        (409, "instanceAlreadyExists") => InstanceErrorKind::NameTaken,
        (500.., _) => InstanceErrorKind::Unavailable,
        _ => InstanceErrorKind::Invalid,
    };
    failed(kind, error["message"].as_str().unwrap_or_default())
}

pub(in crate::instance) fn failed(kind: InstanceErrorKind, message: &str) -> InstanceError {
    let what = "the emulated instance".to_owned();
    InstanceError { kind, action: "ask", what, message: message.to_owned(), hint: None, source: None }
}

#[async_trait]
impl Instances for Emulated {
    fn describe(&self) -> String {
        "the emulated service".to_owned()
    }

    async fn instance(&self, instance: &InstanceName) -> Result<Instance, InstanceError> {
        let path = format!("instances/{}", instance.instance);
        Ok(seen(&instance.project, &self.ask("GET", &instance.project, &path, json!({})).await?))
    }

    async fn instances(&self, project: &str) -> Result<Vec<Instance>, InstanceError> {
        let list = self.ask("GET", project, "instances", json!({})).await?;
        Ok(items(&list).map(|instance| seen(project, instance)).collect())
    }

    async fn granted(&self, project: &str, permissions: &[&str]) -> Result<Vec<String>, InstanceError> {
        let (method, path) = ("POST".parse().unwrap(), format!("/v1/projects/{project}:testIamPermissions"));
        let body = json!({ "permissions": permissions });
        let (_, answer) = self.place.service().ask(Request { method, path, token: Some(self.token.to_owned()), body }).await;
        Ok(answer["permissions"].as_array().into_iter().flatten().filter_map(text).collect())
    }

    async fn recovery_window(&self, instance: &InstanceName) -> Result<Option<RecoveryWindow>, InstanceError> {
        let path = format!("instances/{}/getLatestRecoveryTime", instance.instance);
        let window = self.ask("GET", &instance.project, &path, json!({})).await?;
        let ends = time(&window["earliestRecoveryTime"]).zip(time(&window["latestRecoveryTime"]));
        Ok(ends.map(|(earliest, latest)| RecoveryWindow { earliest, latest }))
    }

    async fn users(&self, instance: &InstanceName) -> Result<Vec<String>, InstanceError> {
        let list = self.ask("GET", &instance.project, &format!("instances/{}/users", instance.instance), json!({})).await?;
        Ok(items(&list).filter_map(|user| text(&user["name"])).collect())
    }

    async fn backups(&self, instance: &InstanceName) -> Result<Vec<InstanceBackup>, InstanceError> {
        let path = format!("backups?filter=instance:{}", instance.instance);
        let list = self.ask("GET", &instance.project, &path, json!({})).await?;
        let backup = |backup: &Value| InstanceBackup {
            name: text(&backup["name"]).unwrap(),
            origin: if backup["type"] == "ON_DEMAND" { BackupOrigin::Requested } else { BackupOrigin::Automatic },
            description: text(&backup["description"]).unwrap_or_default(),
            whole: backup["state"] == "SUCCESSFUL",
            started: time(&backup["backupInterval"]["startTime"]),
            ended: time(&backup["backupInterval"]["endTime"]),
            size: None,
            expires: None,
        };
        Ok(list["backups"].as_array().into_iter().flatten().map(backup).collect())
    }

    async fn databases(&self, instance: &InstanceName) -> Result<Vec<String>, InstanceError> {
        let list = self.ask("GET", &instance.project, &format!("instances/{}/databases", instance.instance), json!({})).await?;
        Ok(items(&list).filter_map(|database| text(&database["name"])).collect())
    }

    async fn operations(&self, instance: &InstanceName) -> Result<Vec<InstanceOperation>, InstanceError> {
        let path = format!("operations?instance={}&maxResults=50", instance.instance);
        let list = self.ask("GET", &instance.project, &path, json!({})).await?;
        let mut operations = Vec::new();
        for found in items(&list) {
            let mut operation = operation(found);
            if let Some(id) = found["backupContext"]["backupId"].as_str() {
                let path = format!("instances/{}/backupRuns/{id}", instance.instance);
                // One that runs is not listed yet.
                let run = self.ask("GET", &instance.project, &path, json!({})).await.unwrap_or_default();
                operation.description = text(&run["description"]);
            }
            operations.push(operation);
        }
        Ok(operations)
    }

    async fn operation(&self, project: &str, name: &str) -> Result<Option<InstanceOperation>, InstanceError> {
        match self.ask("GET", project, &format!("operations/{name}"), json!({})).await {
            Ok(found) => Ok(Some(operation(&found))),
            Err(error) if error.kind == InstanceErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn submit(&self, instance: &InstanceName, request: &InstanceRequest) -> Result<String, InstanceError> {
        match request {
            InstanceRequest::Export { database, uri, offload } => {
                let context = json!({"uri": uri, "databases": [database], "offload": offload});
                self.begin("POST", instance, "/export", json!({ "exportContext": context })).await
            }
            InstanceRequest::Import { database, uri } => {
                let context = json!({"uri": uri, "database": database});
                self.begin("POST", instance, "/import", json!({ "importContext": context })).await
            }
            InstanceRequest::CreateDatabase { database } => {
                self.begin("POST", instance, "/databases", json!({ "name": database })).await
            }
            InstanceRequest::DeleteDatabase { database } => {
                self.begin("DELETE", instance, &format!("/databases/{database}"), json!({})).await
            }
            InstanceRequest::Backup { description } => {
                self.begin("POST", instance, "/backupRuns", json!({ "description": description })).await
            }
            InstanceRequest::Clone { destination, at } => {
                let context = json!({"destinationInstanceName": destination, "pointInTime": at.map(|at| at.to_string())});
                self.begin("POST", instance, "/clone", json!({ "cloneContext": context })).await
            }
            InstanceRequest::Restore { backup, labels } => {
                let new = json!({"settings": {"userLabels": labels, "deletionProtectionEnabled": false}});
                let body = json!({"backup": backup, "restoreInstanceSettings": new});
                self.begin("POST", instance, "/restoreBackup", body).await
            }
            InstanceRequest::DeleteBackup { backup } => {
                let id = backup.rsplit('/').next().unwrap();
                let begun = self.ask("DELETE", &instance.project, &format!("backups/{id}"), json!({})).await?;
                Ok(text(&begun["name"]).unwrap())
            }
            InstanceRequest::Label { labels, deletion_protection } => {
                let settings = json!({"userLabels": labels, "deletionProtectionEnabled": deletion_protection});
                self.begin("PATCH", instance, "", json!({ "settings": settings })).await
            }
            InstanceRequest::Delete => self.begin("DELETE", instance, "", json!({})).await,
        }
    }

    async fn execute(&self, instance: &InstanceName, database: &str, statement: &str) -> Result<Rows, InstanceError> {
        let path = format!("instances/{}/executeSql", instance.instance);
        let body = json!({"database": database, "sqlStatement": statement});
        let answer = self.ask("POST", &instance.project, &path, body).await?;
        if let Some(message) = answer["status"]["message"].as_str() {
            return Err(failed(InstanceErrorKind::Invalid, message));
        }
        let result = &answer["results"][0];
        let row = |row: &Value| row["values"].as_array().unwrap().iter().map(|value| text(&value["value"])).collect();
        let values = result["rows"].as_array().into_iter().flatten().map(row).collect();
        Ok(Rows { columns: Vec::new(), values, truncated: result["partialResult"].as_bool().unwrap_or(false) })
    }
}

/// What a list has.
pub(in crate::instance) fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list["items"].as_array().into_iter().flatten()
}

fn operation(found: &Value) -> InstanceOperation {
    let (export, import) = (&found["exportContext"], &found["importContext"]);
    let error = &found["error"]["errors"][0];
    let state = match found["status"].as_str().unwrap() {
        "PENDING" => OperationState::Pending,
        "RUNNING" => OperationState::Running,
        _ if error.is_null() => OperationState::Succeeded,
        _ => {
            let message = text(&error["message"]).unwrap_or_default();
            OperationState::Failed(OperationFailure { kind: InstanceErrorKind::Other, message, hint: None })
        }
    };
    let exported = export["databases"].as_array().into_iter().flatten().filter_map(text);
    InstanceOperation {
        name: text(&found["name"]).unwrap(),
        kind: text(&found["operationType"]).unwrap(),
        uri: text(&export["uri"]).or_else(|| text(&import["uri"])),
        databases: exported.chain(text(&import["database"])).collect(),
        offloaded: export["offload"].as_bool().unwrap_or(false),
        target: text(&found["targetId"]).unwrap(),
        description: None,
        user: text(&found["user"]).unwrap(),
        accepted: time(&found["insertTime"]),
        started: time(&found["startTime"]),
        ended: time(&found["endTime"]),
        state,
    }
}

fn seen(project: &str, found: &Value) -> Instance {
    let settings = &found["settings"];
    let labels = settings["userLabels"].as_object().into_iter().flatten();
    Instance {
        name: InstanceName::new(project, text(&found["name"]).unwrap()),
        version: text(&found["databaseVersion"]).unwrap(),
        state: text(&found["state"]).unwrap(),
        stopped: settings["activationPolicy"] == "NEVER",
        region: text(&found["region"]).unwrap(),
        service_account: text(&found["serviceAccountEmailAddress"]).unwrap(),
        deletion_protection: settings["deletionProtectionEnabled"] == true,
        automatic_backups: settings["backupConfiguration"]["enabled"] == true,
        log_kept: settings["backupConfiguration"]["pointInTimeRecoveryEnabled"] == true,
        log_days: Some(7),
        statements_allowed: settings["dataApiAccess"] == "ALLOW_DATA_API",
        account_login: true,
        labels: labels.map(|(key, value)| (key.clone(), text(value).unwrap())).collect(),
        disk_gigabytes: None,
        created: time(&found["createTime"]),
    }
}

fn time(value: &Value) -> Option<Timestamp> {
    value.as_str().map(|time| time.parse().unwrap())
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}
