//! The JSON API: what is known of objects, and what is done to them without their bytes.

use std::collections::BTreeMap;

use dxdr_provider::object_storage::{ListPage, ListRequest, ObjectStat, StorageErrorKind};
use jiff::Timestamp;
use reqwest::{Method, RequestBuilder, Response, Url};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::json;

use super::{GcsStorage, failure::GcsFailure};
use crate::{key, listing, memory::directory_of};

/// An object, as far as it is of interest.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Resource {
    pub(super) name: String,
    size: String,
    generation: String,
    metageneration: String,
    time_created: Option<Timestamp>,
    pub(super) crc32c: Option<String>,
    #[serde(default)]
    pub(super) metadata: BTreeMap<String, String>,
    #[serde(default)]
    temporary_hold: bool,
    #[serde(default)]
    event_based_hold: bool,
    retention_expiration_time: Option<Timestamp>,
}

/// The fields of [`Resource`].
const FIELDS: &str =
    "name,size,generation,metageneration,timeCreated,crc32c,metadata,temporaryHold,eventBasedHold,retentionExpirationTime";

impl Resource {
    pub(super) fn size(&self) -> Result<u64, GcsFailure> {
        self.size.parse().map_err(|_| unreadable(&format!("`{}` as an object's size", self.size)))
    }

    pub(super) fn generation(&self) -> Result<i64, GcsFailure> {
        self.generation.parse().map_err(|_| unreadable(&format!("`{}` as an object's generation", self.generation)))
    }

    pub(super) fn stat(&self, key: &str) -> Result<ObjectStat, GcsFailure> {
        // Each version of the bytes is created anew; `updated` follows what is changed besides them, holds for example.
        let modified = self.time_created;
        Ok(ObjectStat { key: key.to_owned(), size: self.size()?, modified, tag: Some(self.generation.clone()) })
    }

    pub(super) fn protection(&self) -> GcsProtection {
        GcsProtection {
            temporary_hold: self.temporary_hold,
            event_based_hold: self.event_based_hold,
            retained_until: self.retention_expiration_time,
        }
    }
}

/// What keeps an object from being deleted or replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GcsProtection {
    /// Somebody holds it.
    pub temporary_hold: bool,
    /// It is held until an event; then the bucket's retention period begins.
    pub event_based_hold: bool,
    /// The bucket's retention policy keeps it until then.
    pub retained_until: Option<Timestamp>,
}

/// The two kinds of holds on an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GcsHold {
    /// Ends when it is released.
    Temporary,
    /// The bucket's retention period counts from its release.
    EventBased,
}

/// A role that the bucket's policy gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BucketRole {
    /// `roles/storage.objectUser`
    pub role: String,
    /// Whether it is given with a condition.
    pub conditional: bool,
}

#[derive(Debug, Deserialize)]
pub(super) struct Policy {
    #[serde(default)]
    bindings: Vec<Binding>,
}

#[derive(Debug, Deserialize)]
struct Binding {
    role: String,
    #[serde(default)]
    members: Vec<String>,
    condition: Option<serde_json::Value>,
}

impl Policy {
    /// The roles of an account.
    pub(super) fn roles_of(&self, account: &str) -> Vec<BucketRole> {
        let member = format!("serviceAccount:{account}");
        let of = self.bindings.iter().filter(|binding| binding.members.contains(&member));
        of.map(|binding| BucketRole { role: binding.role.clone(), conditional: binding.condition.is_some() }).collect()
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    #[serde(default)]
    items: Vec<Resource>,
    #[serde(default)]
    prefixes: Vec<String>,
    next_page_token: Option<String>,
}

impl GcsStorage {
    fn object_url(&self, key: &str) -> Url {
        self.connection().url(&["storage", "v1", "b", self.bucket(), "o", &self.full(key)])
    }

    fn request(&self, method: Method, url: Url) -> RequestBuilder {
        self.connection().client.request(method, url)
    }

    pub(super) async fn policy(&self) -> Result<Policy, GcsFailure> {
        let url = self.connection().url(&["storage", "v1", "b", self.bucket(), "iam"]);
        let asked = || async {
            // An older version shows no conditions.
            let request = self.request(Method::GET, url.clone()).query(&[("optionsRequestedPolicyVersion", "3")]);
            parsed(self.connection().send(request).await?).await
        };
        self.connection().persist(0, asked).await
    }

    pub(super) async fn resource(&self, key: &str) -> Result<Resource, GcsFailure> {
        let found = self.connection().persist(0, || async {
            let request = self.request(Method::GET, self.object_url(key)).query(&[("fields", FIELDS)]);
            parsed(self.connection().send(request).await?).await
        });
        match found.await {
            Err(failure) if failure.kind == StorageErrorKind::NotFound => Err(self.explain(failure).await),
            found => found,
        }
    }

    /// Not every server says which of bucket and object is missing. When nothing has worked yet, a listing is asked, which needs no object.
    pub(super) async fn explain(&self, failure: GcsFailure) -> GcsFailure {
        if self.was_reached() {
            return failure;
        }
        match self.list_once(&ListRequest { limit: Some(1), ..ListRequest::default() }).await {
            Err(listing) if listing.status == Some(404) => listing.with_kind(StorageErrorKind::NoSuchStore),
            Ok(_) => {
                self.reached();
                failure
            }
            // A listing may be forbidden to who may read.
            Err(_) => failure,
        }
    }

    /// Removes the object of this generation; whatever is there when that is not known.
    pub(super) async fn remove(&self, key: &str, generation: Option<i64>) -> Result<(), GcsFailure> {
        let outcome = self.connection().persist(0, || async {
            let mut request = self.request(Method::DELETE, self.object_url(key));
            if let Some(generation) = generation {
                request = request.query(&[("ifGenerationMatch", generation)]);
            }
            self.connection().send(request).await
        });
        match outcome.await {
            Ok(_) => Ok(()),
            // Gone, or another object by now: either way what was there is not.
            Err(failure) if failure.is_condition() || failure.kind == StorageErrorKind::NotFound => Ok(()),
            Err(failure) => Err(failure),
        }
    }

    pub(super) async fn hold(&self, key: &str, hold: GcsHold, is_held: bool) -> Result<GcsProtection, GcsFailure> {
        let resource = self.resource(key).await?;
        let field = match hold {
            GcsHold::Temporary => "temporaryHold",
            GcsHold::EventBased => "eventBasedHold",
        };
        let conditions =
            [("ifGenerationMatch", resource.generation.as_str()), ("ifMetagenerationMatch", resource.metageneration.as_str())];
        let changed = self.connection().persist(0, || async {
            let request = self.request(Method::PATCH, self.object_url(key)).query(&conditions).query(&[("fields", FIELDS)]);
            parsed::<Resource>(self.connection().send(request.json(&json!({field: is_held}))).await?).await
        });
        match changed.await {
            Ok(resource) => Ok(resource.protection()),
            // A change whose answer was lost meets its own metageneration.
            Err(failure) if failure.is_condition() => {
                let protection = self.resource(key).await?.protection();
                let is_so = match hold {
                    GcsHold::Temporary => protection.temporary_hold,
                    GcsHold::EventBased => protection.event_based_hold,
                };
                if is_so == is_held { Ok(protection) } else { Err(failure) }
            }
            Err(failure) => Err(failure),
        }
    }

    pub(super) async fn list_page(&self, request: &ListRequest) -> Result<ListPage, GcsFailure> {
        let listed = self.connection().persist(0, || self.list_once(request)).await?;
        let after = request.start_after.as_deref();
        let is_wanted = |name: &str| after.is_none_or(|after| name > after);
        let mut page = ListPage { continuation: listed.next_page_token.clone(), ..ListPage::default() };
        for resource in &listed.items {
            // Consoles mark "folders" by empty objects, whose keys end in a slash: they are nobody's objects.
            let Some(key) = self.below(&resource.name).filter(|key| key::validate(key).is_ok() && is_wanted(key)) else {
                continue;
            };
            page.objects.push(resource.stat(key)?);
        }
        let directories = listed.prefixes.iter().filter_map(|prefix| self.below(prefix)).filter(|prefix| is_wanted(prefix));
        page.directories = directories.map(str::to_owned).collect();
        // Pages are in this order; servers that are not Google's may do otherwise within one.
        page.objects.sort_unstable_by(|one, other| one.key.cmp(&other.key));
        page.directories.sort_unstable();
        Ok(page)
    }

    async fn list_once(&self, request: &ListRequest) -> Result<Listed, GcsFailure> {
        let url = self.connection().url(&["storage", "v1", "b", self.bucket(), "o"]);
        let fields = format!("items({FIELDS}),prefixes,nextPageToken");
        let mut query = vec![
            ("fields", fields),
            ("prefix", self.full(&request.prefix)),
            ("maxResults", listing::page_size(request).to_string()),
        ];
        if request.directories {
            query.push(("delimiter", "/".to_owned()));
        }
        if let Some(after) = request.start_after.as_deref().filter(|after| *after > request.prefix.as_str()) {
            // The key itself comes too, and is left out of the page. The server begins behind the whole directory that the key is in, whose
            // remaining keys would be rolled up into it again.
            let start = match directory_of(&request.prefix, after) {
                Some(directory) if request.directories => self.full(&format!("{directory}\u{10FFFF}")),
                _ => self.full(after),
            };
            query.push(("startOffset", start));
        }
        if let Some(token) = &request.continuation {
            query.push(("pageToken", token.clone()));
        }
        parsed(self.connection().send(self.request(Method::GET, url).query(&query)).await?).await
    }
}

/// The document of an answer.
pub(super) async fn parsed<T: DeserializeOwned>(response: Response) -> Result<T, GcsFailure> {
    let body = response.bytes().await.map_err(GcsFailure::of_client)?;
    serde_json::from_slice(&body).map_err(|error| unreadable(&format!("what the server answered: {error}")))
}

fn unreadable(what: &str) -> GcsFailure {
    GcsFailure::new(StorageErrorKind::Other, format!("cannot read {what}; is this Google Cloud Storage?"))
}
