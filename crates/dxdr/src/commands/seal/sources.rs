//! Where SealedSecrets stand: in files, in a cluster, in the archive of a recovery point.

use std::path::PathBuf;

use dxdr_catalog::Entry;
use dxdr_environment::{FieldPath, ObjectReference, ResourceKind, sealed_secret};
use dxdr_provider::{Cluster, ClusterError, ClusterErrorKind, cluster::ListScope};
use dxdr_run::{Store, catalog, restore};
use dxdr_sealing::SealedObject;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::{
    documents::Input,
    items::{self, ItemRow},
    keeping::MANAGER,
    key_files::{kind, list},
};
use crate::{
    configuration::World,
    failure::{Failure, Kind},
};

/// One place to look at.
#[derive(Debug)]
pub(super) enum Source {
    /// A file that may hold some.
    File(PathBuf),
    /// One that was read from elsewhere, as JSON.
    Object(StandingObject),
}

/// A SealedSecret that stands in no file.
#[derive(Debug)]
pub(super) struct StandingObject {
    /// What people call the place: `cluster`, `point NAME`.
    place: String,
    pub(super) namespace: String,
    pub(super) name: String,
    /// Of the state that was read; empty in archives.
    pub(super) resource_version: String,
    text: String,
}

impl StandingObject {
    /// From an object as lists and archives have it; `None` where it makes no sense.
    fn of(place: &str, json: &[u8]) -> Option<Self> {
        let object: Value = serde_json::from_slice(json).ok()?;
        let metadata = &object["metadata"];
        let text = |field: &str| metadata[field].as_str().unwrap_or_default().to_owned();
        // Lists leave out what all of their items have in common.
        let named = json!({
            "apiVersion": sealed_secret::API_VERSION, "kind": sealed_secret::KIND, "metadata": metadata, "spec": object["spec"],
        });
        Some(Self {
            place: place.to_owned(),
            namespace: text("namespace"),
            name: text("name"),
            resource_version: text("resourceVersion"),
            text: named.to_string(),
        })
    }
}

impl StandingObject {
    /// What it is called in its cluster.
    pub(super) fn reference(&self) -> ObjectReference {
        ObjectReference { kind: resource(), namespace: Some(self.namespace.clone()), name: self.name.clone() }
    }

    /// The object as it is by now; `None` where it is gone or another one, or where its ciphertexts, or what they are bound to, are not what they were.
    pub(super) async fn now(&self, cluster: &dyn Cluster) -> Result<Option<Self>, ClusterError> {
        let found = cluster.get(&self.reference()).await?;
        let newer = found.and_then(|object| Self::of(&self.place, &object));
        Ok(newer.filter(|newer| newer.bound() == self.bound()))
    }

    /// What must not change while its ciphertexts do.
    fn bound(&self) -> [Value; 3] {
        let mut object: Value = serde_json::from_str(&self.text).unwrap_or_default();
        [object["metadata"]["uid"].take(), object["metadata"]["annotations"].take(), object["spec"].take()]
    }

    /// The ciphertexts that dxdr moved before, and where they stand: those it owns, which its next apply must name again.
    pub(super) fn applied_before(&self) -> Vec<(FieldPath, String)> {
        let object: Value = serde_json::from_str(&self.text).unwrap_or_default();
        let sealed = SealedObject::of(&object);
        let managers = object["metadata"]["managedFields"].as_array().into_iter().flatten();
        let ours = managers.filter(|entry| entry["manager"] == MANAGER && entry["operation"] == "Apply");
        let mut applied = Vec::new();
        for fields in ours.map(|entry| &entry["fieldsV1"]["f:spec"]) {
            for item in &sealed.items {
                let owned = if item.whole { &fields["f:data"] } else { &fields["f:encryptedData"][format!("f:{}", item.name)] };
                let field = if item.whole { &object["spec"]["data"] } else { &object["spec"]["encryptedData"][&item.name] };
                if let (false, Some(text)) = (owned.is_null(), field.as_str()) {
                    applied.push((sealed.path_of(item), text.to_owned()));
                }
            }
        }
        applied
    }
}

impl Source {
    pub(super) fn files(files: Vec<PathBuf>) -> Vec<Self> {
        files.into_iter().map(Self::File).collect()
    }

    /// Its text; `None` for a file that holds no SealedSecret.
    pub(super) fn input(&self) -> Option<Result<Input, String>> {
        match self {
            Self::File(file) => items::candidate(file),
            Self::Object(object) => {
                let name = format!("SealedSecret {}/{} of {}", object.namespace, object.name, object.place);
                let bytes = Zeroizing::new(object.text.clone().into_bytes());
                Some(Input::from_bytes(name, bytes).map_err(|failure| format!("{:#}", failure.error)))
            }
        }
    }

    /// Its name, for programs.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::File(file) => file.display().to_string(),
            Self::Object(object) => format!("{}/{}", object.namespace, object.name),
        }
    }

    /// Says in rows where they stand.
    pub(super) fn place(&self, rows: &mut [ItemRow]) {
        let Self::Object(object) = self else { return };
        for row in rows {
            row.file.clone_from(&object.place);
            row.line = None;
        }
    }
}

/// The SealedSecrets of a cluster, or of one of its namespaces.
pub(super) async fn live(cluster: &dyn Cluster, namespace: Option<&str>) -> Result<Vec<Source>, Failure> {
    let scope = ListScope { namespace: namespace.map(str::to_owned), label_selector: None };
    let objects = match list(cluster, &resource(), &scope).await {
        Ok(objects) => objects,
        // A cluster without their definition has none.
        Err(error) if error.kind == ClusterErrorKind::NotFound => Vec::new(),
        Err(error) => {
            return Err(Failure::from(error)
                .hint("this takes an account that may list sealedsecrets.bitnami.com in every namespace looked at"));
        }
    };
    Ok(objects.iter().filter_map(|object| StandingObject::of("cluster", object)).map(Source::Object).collect())
}

/// Where SealedSecrets are served.
pub(super) fn resource() -> ResourceKind {
    kind(sealed_secret::GROUP, "v1alpha1", sealed_secret::KIND, "sealedsecrets")
}

/// The SealedSecrets of a point's archive. Reads it whole.
pub(super) async fn archived(store: &Store, entry: &Entry, name: &str) -> Result<Vec<Source>, Failure> {
    let place = format!("point {name}");
    let wanted = format!("sealedsecrets.{}", sealed_secret::GROUP);
    let found = restore::source(store, entry)
        .visit(Vec::new(), move |found, _, item, json| {
            if item.group_resource == wanted {
                found.extend(StandingObject::of(&place, json).map(Source::Object));
            }
            Ok(true)
        })
        .await?;
    Ok(found)
}

/// The point of that name, in whichever of the declared stores it is.
pub(super) async fn point(world: &World, name: &str) -> Result<(Store, Entry), Failure> {
    for declared in &world.model.stores {
        let store = world.open(declared).await?;
        if let Some(entry) = catalog::named(&store, name).await? {
            return Ok((store, entry));
        }
    }
    Err(Failure::new(Kind::NoWayBack, format!("no store has a recovery point {name}"))
        .hint("`dxdr points` lists those there are"))
}
