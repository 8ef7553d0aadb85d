//! What operations do on real instances.

use std::{io, sync::Arc};

use super::{Cluster, SqlError, programs::Dump, stream};
use crate::{
    Shared,
    backup::{Backup, Kept},
    instance::Machine,
    object_store::{self, Refused},
    operation::Effect,
};

/// The part of an effect that a real server has in it; `None` where there is none, and what is left is the emulator's own.
pub(crate) async fn achieve(shared: &Arc<Shared>, project: &str, instance: &str, effect: &Effect) -> Option<Result<(), Refused>> {
    if let Effect::Create { machine } = effect {
        shared.servers.as_ref()?;
        return Some(create(shared, project, instance, machine).await);
    }
    if let Effect::CreateOfBackup { kept, settings } = effect {
        let (copy, servers) = (Arc::clone(kept.copy.as_ref()?), Arc::clone(shared.servers.as_ref()?));
        let made = blocking(move || servers.out_of(&copy)).await;
        return Some(made.map(|cluster| {
            let now = shared.now();
            let mut machine = Machine { server: Some(cluster), created: now, ..(*kept.machine).clone() };
            machine.instance.patch(settings);
            shared.state().insert_machine(project, instance, machine);
        }));
    }
    let cluster = shared.state().cluster(project, instance)?;
    match effect {
        Effect::Export { uri, databases, clean } => {
            let database = databases.first().cloned().unwrap_or_default();
            Some(export(shared, project, instance, cluster, uri, database, *clean).await)
        }
        Effect::Import { uri, database, user } => {
            Some(import(shared, project, instance, cluster, uri, database.clone(), user.clone()).await)
        }
        Effect::Clone { destination, at } => {
            let (at, servers) = (*at, Arc::clone(shared.servers.as_ref()?));
            let cloned = blocking(move || servers.clone_of(&cluster, at)).await;
            Some(cloned.map(|cluster| {
                let now = shared.now();
                let mut state = shared.state();
                // Its own account and the like are the source's.
                if let Ok(source) = state.machine(project, instance) {
                    let machine = Machine { server: Some(cluster), ..Machine::new(source.instance.clone(), now) };
                    state.insert_machine(project, destination, machine);
                }
            }))
        }
        Effect::Backup { id, description } => {
            let (started, servers) = (shared.now(), Arc::clone(shared.servers.as_ref()?));
            let copy = blocking(move || servers.copy_of(&cluster)).await;
            Some(copy.map(|copy| {
                let ended = shared.now();
                let mut state = shared.state();
                let kept = state.machine(project, instance).ok().map(|machine| Kept { copy: Some(copy), ..Kept::of(machine) });
                state.backups.push(Backup {
                    id: *id,
                    project: project.to_owned(),
                    instance: instance.to_owned(),
                    requested: true,
                    description: description.clone(),
                    started,
                    ended,
                    kept,
                    gone: None,
                });
            }))
        }
        Effect::RestoreBackup { kept } => {
            let copy = kept.copy.clone();
            let restored = blocking(move || match copy {
                Some(copy) => cluster.restore(&copy),
                None => Err(io::Error::other("the backup is of an instance of another kind")),
            });
            let restored = restored.await;
            Some(restored.map(|()| {
                let now = shared.now();
                if let Some(machine) = shared.state().machine_mut(project, instance) {
                    // There is no way back to before.
                    machine.created = now;
                }
            }))
        }
        Effect::CreateDatabase { database } => Some(sql(cluster, database, Cluster::create_database).await),
        Effect::DeleteDatabase { database } => Some(sql(cluster, database, Cluster::delete_database).await),
        Effect::CreateUser { user } => Some(sql(cluster, user, Cluster::create_user).await),
        Effect::DeleteUser { user } => Some(sql(cluster, user, Cluster::delete_user).await),
        Effect::Delete => {
            let ended = blocking(move || {
                cluster.end();
                Ok(())
            });
            ended.await.err().map(Err)
        }
        Effect::Create { .. }
        | Effect::CreateOfBackup { .. }
        | Effect::DeleteBackup { .. }
        | Effect::Nothing
        | Effect::Patch { .. } => None,
    }
}

async fn create(shared: &Arc<Shared>, project: &str, instance: &str, machine: &Machine) -> Result<(), Refused> {
    let servers = shared.servers.as_ref().map(Arc::clone).ok_or_else(|| internal("There is no PostgreSQL."))?;
    let cluster = blocking(move || servers.create()).await?;
    let machine = Machine { server: Some(cluster), created: shared.now(), ..machine.clone() };
    shared.state().insert_machine(project, instance, machine);
    Ok(())
}

async fn export(
    shared: &Arc<Shared>,
    project: &str,
    instance: &str,
    cluster: Arc<Cluster>,
    uri: &str,
    database: String,
    clean: bool,
) -> Result<(), Refused> {
    let (account, token) = shared.state().account(project, instance);
    let (writer, reader) = stream::pipe();
    let owners = shared.state().machine(project, instance).is_ok_and(|machine| machine.instance.owners_in_exports);
    let how = Dump { clean, owners, compressed: uri.ends_with(".gz") };
    let dumping = tokio::task::spawn_blocking(move || cluster.dump(&database, how, writer));
    let body = reqwest::Body::wrap_stream(reader.into_stream());
    let written = object_store::put(shared, token.as_deref(), &account, uri, body).await;
    match dumping.await.map_err(|error| internal(&error))? {
        // Of two that end each other, this one was first.
        Err(error) => Err(rdbms(&error)),
        Ok(true) => written,
        Ok(false) => written.and(Err(internal("Cloud Storage did not take the whole dump."))),
    }
}

async fn import(
    shared: &Arc<Shared>,
    project: &str,
    instance: &str,
    cluster: Arc<Cluster>,
    uri: &str,
    database: String,
    user: Option<String>,
) -> Result<(), Refused> {
    let (account, token) = shared.state().account(project, instance);
    let mut response = object_store::get(shared, token.as_deref(), &account, uri).await?;
    let (writer, reader) = stream::pipe();
    let loading = tokio::task::spawn_blocking(move || cluster.load(&database, user.as_deref(), reader));
    let fed = async {
        loop {
            match response.chunk().await {
                Ok(Some(piece)) => {
                    if writer.hand_over(piece).await.is_err() {
                        // Who does not read any more has failed, and says why.
                        return Ok(());
                    }
                }
                Ok(None) => {
                    let _ = writer.end().await;
                    return Ok(());
                }
                Err(error) => return Err(object_store::failed(&error)),
            }
        }
    };
    let fed = fed.await;
    let loaded = loading.await.map_err(|error| internal(&error))?;
    fed?;
    loaded.map_err(|error| rdbms(&error))
}

async fn sql(cluster: Arc<Cluster>, name: &str, what: fn(&Cluster, &str) -> Result<(), SqlError>) -> Result<(), Refused> {
    let name = name.to_owned();
    let done = tokio::task::spawn_blocking(move || what(&cluster, &name)).await.map_err(|error| internal(&error))?;
    done.map_err(|error| rdbms(&error))
}

async fn blocking<T: Send + 'static>(what: impl FnOnce() -> io::Result<T> + Send + 'static) -> Result<T, Refused> {
    tokio::task::spawn_blocking(what).await.map_err(|error| internal(&error))?.map_err(|error| internal(&error))
}

/// What PostgreSQL refused.
fn rdbms(error: &SqlError) -> Refused {
    ("ERROR_RDBMS".to_owned(), error.to_string())
}

fn internal(error: &(impl std::fmt::Display + ?Sized)) -> Refused {
    ("INTERNAL_ERROR".to_owned(), error.to_string())
}
