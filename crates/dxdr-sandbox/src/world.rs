//! The operations: create, update, apply, patch, delete, each as one atomic step on the store.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use serde_json::{Map, Value, json};

use crate::apply::{self, Author};
use crate::kind::{Kind, Kinds};
use crate::status::{Cause, Failure};
use crate::store::{Store, Stored, key};
use crate::{Clock, admission, controllers, defaults, limits, patch, quota, schema};

/// Everything the server holds.
pub(crate) struct World {
    pub(crate) store: Store,
    pub(crate) kinds: Kinds,
    pub(crate) clock: Clock,
    random: u64,
    pub(crate) addresses: HashSet<String>,
    pub(crate) node_ports: HashSet<u64>,
    pub(crate) work: VecDeque<controllers::Work>,
}

/// How the client wants unknown fields treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FieldValidation {
    Ignore,
    Warn,
    Strict,
}

/// What stands around the object of a write.
#[derive(Debug, Clone)]
pub(crate) struct Write<'a> {
    pub(crate) kind: &'a Arc<Kind>,
    pub(crate) namespace: &'a str,
    pub(crate) manager: &'a str,
    pub(crate) subresource: &'a str,
    pub(crate) dry_run: bool,
    pub(crate) validation: FieldValidation,
}

/// An object after a write, rendered, with the warnings that go with it.
pub(crate) struct Written {
    pub(crate) code: u16,
    pub(crate) body: Bytes,
    pub(crate) warnings: Vec<String>,
}

/// A patch's format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PatchFormat {
    Json,
    Merge,
    Strategic,
    Apply { force: bool },
}

/// What a client says about a deletion.
#[derive(Debug, Clone, Default)]
pub(crate) struct DeleteOptions {
    pub(crate) uid: Option<String>,
    pub(crate) resource_version: Option<String>,
    pub(crate) propagation: Option<String>,
    pub(crate) dry_run: bool,
}

/// What a deletion left.
pub(crate) enum Deleted {
    Gone(Arc<Stored>),
    Going(Arc<Stored>),
}

impl World {
    pub(crate) fn new(clock: Clock, seed: u64, history: usize) -> Self {
        let mut world = Self {
            store: Store::new(history),
            kinds: Kinds::built_in(),
            clock,
            random: seed,
            addresses: HashSet::new(),
            node_ports: HashSet::new(),
            work: VecDeque::new(),
        };
        controllers::bootstrap(&mut world);
        world
    }

    pub(crate) fn now(&self) -> String {
        (self.clock)().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
    }

    /// The next number of a splitmix64 sequence.
    pub(crate) fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn uid(&mut self) -> String {
        let (a, b) = (self.random(), self.random());
        format!(
            "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
            a >> 32,
            (a >> 16) & 0xffff,
            a & 0xfff,
            0x8000 | ((b >> 48) & 0x3fff),
            b & 0xffff_ffff_ffff
        )
    }

    /// A kind of the built-in table.
    pub(crate) fn built_in(&self, group: &str, plural: &str) -> Option<Arc<Kind>> {
        self.kinds.of_resource(group, plural)
    }

    pub(crate) fn read(&self, kind: &Kind, namespace: &str, name: &str) -> Option<Arc<Stored>> {
        self.store.get(kind.resource, &key(namespace, name))
    }

    pub(crate) fn create(&mut self, write: &Write<'_>, mut object: Value) -> Result<Written, Failure> {
        let warnings = self.admit_shape(write, &mut object)?;
        self.create_owned(write, object, None, warnings)
    }

    /// Creates an object whose fields belong to `managers`, or to the author of the request.
    fn create_owned(
        &mut self,
        write: &Write<'_>,
        mut object: Value,
        managers: Option<Vec<apply::Manager>>,
        warnings: Vec<String>,
    ) -> Result<Written, Failure> {
        let kind = write.kind;
        let time = self.now();
        let metadata = metadata_mut(&mut object)?;
        if metadata.get("resourceVersion").and_then(Value::as_str).is_some_and(|version| !version.is_empty()) {
            return Err(Failure::bad_request("resourceVersion should not be set on objects to be created"));
        }
        let generate = text(metadata.get("generateName"));
        if text(metadata.get("name")).is_empty() && !generate.is_empty() {
            let suffix = self.suffix();
            let metadata = metadata_mut(&mut object)?;
            metadata.insert("name".to_owned(), format!("{generate}{suffix}").into());
        }
        let name = text(object["metadata"].get("name"));
        if name.is_empty() {
            return Err(Failure::invalid(kind, "", &[Cause::required("metadata.name", "name or generateName is required")]));
        }
        self.admit_namespace(write, &name)?;
        defaults::of_new(&mut object, kind);
        if let Some(custom) = &kind.custom {
            schema::default_values(&mut object, &custom.schema);
        }
        let uid = self.uid();
        metadata_mut(&mut object)?.insert("uid".to_owned(), uid.as_str().into());
        admission::admit_new(self, kind, write.namespace, &name, &uid, &mut object)?;
        if kind.has_status {
            defaults::initial_status(&mut object, kind);
        }
        let causes = admission::validate_new(kind, &object);
        if !causes.is_empty() {
            return Err(Failure::invalid(kind, &name, &causes));
        }
        limits::admit(self, kind, write.namespace, &name, &object)?;
        quota::admit(self, kind, write.namespace, &name, &object)?;
        if self.read(kind, write.namespace, &name).is_some() {
            return Err(Failure::already_exists(kind, &name));
        }
        admission::allocate(self, kind, &name, None, &mut object, write.dry_run)?;
        let metadata = metadata_mut(&mut object)?;
        metadata.insert("creationTimestamp".to_owned(), time.as_str().into());
        for name in ["selfLink", "deletionTimestamp", "deletionGracePeriodSeconds", "resourceVersion"] {
            metadata.remove(name);
        }
        if kind.has_generation {
            metadata.insert("generation".to_owned(), 1.into());
        } else {
            metadata.remove("generation");
        }
        controllers::observe(kind, &mut object);
        let managers = managers.unwrap_or_else(|| {
            let author = Author { manager: write.manager, subresource: write.subresource, time: &time };
            apply::record_update(None, &object, apply::managers_of(&object), kind, &author)
        });
        apply::set_managers(&mut object, managers);
        if write.dry_run {
            return Ok(Written { code: 201, body: render_value(kind, object), warnings });
        }
        let stored = self.put(kind, object);
        self.work.push_back(controllers::Work::Created(Arc::clone(kind), Arc::clone(&stored)));
        let body = render(kind, &stored);
        controllers::settle(self);
        Ok(Written { code: 201, body, warnings })
    }

    pub(crate) fn update(&mut self, write: &Write<'_>, name: &str, mut object: Value) -> Result<Written, Failure> {
        let kind = write.kind;
        let given = text(object["metadata"].get("name"));
        if given.is_empty() {
            return Err(Failure::invalid(kind, "", &[Cause::required("metadata.name", "name must be provided")]));
        }
        if given != name {
            return Err(Failure::bad_request(format!(
                "the name of the object ({given}) does not match the name on the URL ({name})"
            )));
        }
        let warnings = self.admit_shape(write, &mut object)?;
        let Some(live) = self.read(kind, write.namespace, name) else {
            return Err(Failure::not_found(kind, name));
        };
        let live_value = value(kind, &live);
        let version = text(object["metadata"].get("resourceVersion"));
        if version.is_empty() && kind.custom.is_some() {
            return Err(Failure::invalid(
                kind,
                name,
                &[Cause::invalid("metadata.resourceVersion", &json!(0), "must be specified for an update")],
            ));
        }
        if !version.is_empty() && version != live.revision.to_string() {
            return Err(Failure::modified(kind, name));
        }
        let managers = match object["metadata"].get("managedFields") {
            Some(Value::Array(entries)) if !entries.is_empty() => apply::managers_of(&object),
            _ => apply::managers_of(&live_value),
        };
        self.commit_update(write, &live, &live_value, object, managers, true, warnings)
    }

    /// The common end of updates and patches: what may change, who changed it, and whether anything did.
    #[allow(clippy::too_many_arguments)]
    fn commit_update(
        &mut self,
        write: &Write<'_>,
        live: &Arc<Stored>,
        live_value: &Value,
        mut object: Value,
        managers: Vec<apply::Manager>,
        record: bool,
        warnings: Vec<String>,
    ) -> Result<Written, Failure> {
        let kind = write.kind;
        let name = live.name.clone();
        let uid = text(object["metadata"].get("uid"));
        if !uid.is_empty() && uid != live.uid {
            return Err(Failure::conflict(
                kind,
                &name,
                &format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {}", live.uid),
            ));
        }
        if kind.has_status && write.subresource == "status" {
            let mut merged = live_value.clone();
            merged["status"] = object.get("status").cloned().unwrap_or(Value::Null);
            if kind.custom.is_none() {
                for name in ["labels", "annotations", "finalizers"] {
                    if let (Some(value), Some(metadata)) = (object["metadata"].get(name), merged["metadata"].as_object_mut()) {
                        metadata.insert(name.to_owned(), value.clone());
                    }
                }
            }
            merged["metadata"]["managedFields"] = object["metadata"]["managedFields"].clone();
            object = merged;
            remove_nulls(&mut object);
        } else if kind.has_status
            && let Some(map) = object.as_object_mut()
        {
            match live_value.get("status") {
                Some(status) => map.insert("status".to_owned(), status.clone()),
                None => map.remove("status"),
            };
        }
        let live_metadata = &live_value["metadata"];
        let metadata = metadata_mut(&mut object)?;
        for name in [
            "uid",
            "creationTimestamp",
            "generateName",
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
            "generation",
            "namespace",
            "name",
        ] {
            match live_metadata.get(name) {
                Some(value) => metadata.insert(name.to_owned(), value.clone()),
                None => metadata.remove(name),
            };
        }
        metadata.remove("selfLink");
        metadata.insert("resourceVersion".to_owned(), live.revision.to_string().into());
        metadata.remove("managedFields");
        defaults::of_update(&mut object, live_value, kind);
        if let Some(custom) = &kind.custom {
            schema::default_values(&mut object, &custom.schema);
        }
        if live_metadata.get("deletionTimestamp").is_some() {
            let finalizers = |value: &Value| -> Vec<String> {
                value["metadata"]["finalizers"].as_array().into_iter().flatten().map(|f| text(Some(f))).collect()
            };
            let before = finalizers(live_value);
            let added: Vec<String> = finalizers(&object).into_iter().filter(|finalizer| !before.contains(finalizer)).collect();
            if !added.is_empty() {
                let list: Vec<String> = added.iter().map(|finalizer| format!("{finalizer:?}")).collect();
                return Err(Failure::invalid(
                    kind,
                    &name,
                    &[Cause::forbidden(
                        "metadata.finalizers",
                        &format!(
                            "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
                            list.join(", ")
                        ),
                    )],
                ));
            }
        }
        let causes = admission::validate_update(kind, live_value, &object, write.subresource);
        if !causes.is_empty() {
            return Err(Failure::invalid(kind, &name, &causes));
        }
        if kind.is("", "persistentvolumeclaims") {
            limits::admit(self, kind, write.namespace, &name, &object)?;
        }
        quota::admit_update(self, kind, write.namespace, &name, live_value, &object)?;
        admission::allocate(self, kind, &name, Some(live_value), &mut object, write.dry_run)?;
        if kind.has_generation && write.subresource != "status" && generation_changes(live_value, &object, kind) {
            let generation = live_metadata["generation"].as_u64().unwrap_or(0) + 1;
            object["metadata"]["generation"] = generation.into();
            controllers::observe(kind, &mut object);
        }
        let time = self.now();
        let managers = if record {
            let author = Author { manager: write.manager, subresource: write.subresource, time: &time };
            apply::record_update(Some(live_value), &object, managers, kind, &author)
        } else {
            managers
        };
        apply::set_managers(&mut object, managers);
        if same_but_times(live_value, &object) {
            return Ok(Written { code: 200, body: render(kind, live), warnings });
        }
        if write.dry_run {
            return Ok(Written { code: 200, body: render_value(kind, object), warnings });
        }
        let stored = self.put(kind, object);
        self.work.push_back(controllers::Work::Updated(Arc::clone(kind), Arc::clone(&stored)));
        let body = render(kind, &stored);
        controllers::settle(self);
        Ok(Written { code: 200, body, warnings })
    }

    pub(crate) fn patch(&mut self, write: &Write<'_>, name: &str, body: &Value, format: PatchFormat) -> Result<Written, Failure> {
        let kind = write.kind;
        let live = self.read(kind, write.namespace, name);
        if let PatchFormat::Apply { force } = format {
            return self.apply(write, name, body, live, force);
        }
        let Some(live) = live else { return Err(Failure::not_found(kind, name)) };
        let live_value = value(kind, &live);
        let mut object = live_value.clone();
        match format {
            PatchFormat::Json => patch::json_patch(&mut object, body)?,
            PatchFormat::Merge => patch::merge_patch(&mut object, body),
            PatchFormat::Strategic => {
                if kind.custom.is_some() {
                    return Err(Failure::unsupported_media_type(
                        "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml",
                    ));
                }
                patch::strategic_patch(&mut object, body, &kind.shape)?;
            }
            PatchFormat::Apply { .. } => {}
        }
        let version = text(object["metadata"].get("resourceVersion"));
        if !version.is_empty() && version != live.revision.to_string() {
            return Err(Failure::modified(kind, name));
        }
        let given = text(object["metadata"].get("name"));
        if given != name {
            return Err(Failure::bad_request(format!(
                "the name of the object ({given}) does not match the name on the URL ({name})"
            )));
        }
        if format == PatchFormat::Strategic
            && let Some(problem) = schema::unconvertible(&object, &kind.shape)
        {
            let shown = Value::from(patch::as_go_map(body));
            return Err(Failure::invalid_patch(&Cause::invalid("patch", &shown, problem)));
        }
        let warnings = self.admit_shape(write, &mut object)?;
        let managers = match object["metadata"].get("managedFields") {
            Some(Value::Array(entries)) if !entries.is_empty() => apply::managers_of(&object),
            _ if object["metadata"].get("managedFields").is_some() => Vec::new(),
            _ => apply::managers_of(&live_value),
        };
        self.commit_update(write, &live, &live_value, object, managers, true, warnings)
    }

    fn apply(
        &mut self,
        write: &Write<'_>,
        name: &str,
        configuration: &Value,
        live: Option<Arc<Stored>>,
        force: bool,
    ) -> Result<Written, Failure> {
        let kind = write.kind;
        let mut configuration = configuration.clone();
        if configuration["metadata"].get("managedFields").is_some_and(|fields| !fields.is_null()) {
            return Err(Failure::bad_request("metadata.managedFields must be nil"));
        }
        for name in ["apiVersion", "kind"] {
            if configuration.get(name).and_then(Value::as_str).unwrap_or_default().is_empty() {
                return Err(Failure::bad_request(format!(
                    "invalid object type: /, Kind=: {name} must be set in an applied configuration"
                )));
            }
        }
        let problems = apply::untyped(&configuration, &kind.shape);
        if !problems.is_empty() {
            let list = match problems.as_slice() {
                [one] => one.clone(),
                several => format!("errors:\n  {}", several.join("\n  ")),
            };
            let api_version = if kind.group.is_empty() { format!("/{}", kind.version) } else { kind.api_version() };
            let at = if kind.namespaced { format!("{}/{name}", write.namespace) } else { format!("/{name}") };
            return Err(Failure::new(
                500,
                "",
                format!("failed to create typed patch object ({at}; {api_version}, Kind={}): {list}", kind.kind),
            ));
        }
        let warnings = self.admit_shape(write, &mut configuration)?;
        let metadata = metadata_mut(&mut configuration)?;
        let given = text(metadata.get("name"));
        if given.is_empty() {
            metadata.insert("name".to_owned(), name.into());
        } else if given != name {
            return Err(Failure::bad_request(format!(
                "the name of the object ({given}) does not match the name on the URL ({name})"
            )));
        }
        let version = text(metadata.get("resourceVersion"));
        metadata.remove("creationTimestamp");
        let time = self.now();
        let author = Author { manager: write.manager, subresource: write.subresource, time: &time };
        let Some(live) = live else {
            if !write.subresource.is_empty() {
                return Err(Failure::not_found(kind, name));
            }
            if !text(configuration["metadata"].get("uid")).is_empty() {
                return Err(Failure::not_found(kind, name));
            }
            metadata_mut(&mut configuration)?.remove("resourceVersion");
            let applied = apply::apply(None, &configuration, kind, &author, force)?;
            return self.create_owned(write, applied.object, Some(applied.managers), warnings);
        };
        let live_value = value(kind, &live);
        if !version.is_empty() && version != live.revision.to_string() {
            return Err(Failure::modified(kind, name));
        }
        let applied = apply::apply(Some(&live_value), &configuration, kind, &author, force)?;
        self.commit_update(write, &live, &live_value, applied.object, applied.managers, false, warnings)
    }

    pub(crate) fn delete(
        &mut self,
        kind: &Arc<Kind>,
        namespace: &str,
        name: &str,
        options: &DeleteOptions,
    ) -> Result<Deleted, Failure> {
        let Some(stored) = self.read(kind, namespace, name) else { return Err(Failure::not_found(kind, name)) };
        if let Some(uid) = options.uid.as_deref().filter(|uid| *uid != stored.uid) {
            return Err(Failure::unmet(
                kind,
                name,
                &format!(
                    "the UID in the precondition ({uid}) does not match the UID in record ({}). The object might have been deleted and then recreated",
                    stored.uid
                ),
            ));
        }
        if let Some(version) = options.resource_version.as_deref().filter(|version| *version != stored.revision.to_string()) {
            return Err(Failure::unmet(
                kind,
                name,
                &format!(
                    "the ResourceVersion in the precondition ({version}) does not match the ResourceVersion in record ({}). The object might have been modified",
                    stored.revision
                ),
            ));
        }
        if kind.is("", "namespaces") && matches!(name, "default" | "kube-system" | "kube-public") {
            return Err(Failure::forbidden(kind, name, "this namespace may not be deleted"));
        }
        if options.dry_run {
            return Ok(Deleted::Gone(stored));
        }
        let deleted = self.delete_now(kind, &stored, options.propagation.as_deref());
        controllers::settle(self);
        Ok(deleted)
    }

    /// Deletes as far as finalizers allow, without settling what follows.
    pub(crate) fn delete_now(&mut self, kind: &Arc<Kind>, stored: &Arc<Stored>, propagation: Option<&str>) -> Deleted {
        let mut object = value(kind, stored);
        let metadata = &mut object["metadata"];
        let marked = metadata.get("deletionTimestamp").is_some();
        let mut finalizers: Vec<Value> = metadata["finalizers"].as_array().cloned().unwrap_or_default();
        match propagation {
            Some("Orphan") => controllers::orphan(self, &stored.uid),
            Some("Foreground") if !marked && !self.store.dependents(&stored.uid).is_empty() => {
                finalizers.push("foregroundDeletion".into());
            }
            _ => {}
        }
        if kind.is("apiextensions.k8s.io", "customresourcedefinitions") && !marked {
            let cleanup = Value::from("customresourcecleanup.apiextensions.k8s.io");
            if !finalizers.contains(&cleanup) {
                finalizers.push(cleanup);
            }
        }
        let holds = !finalizers.is_empty() || kind.is("", "namespaces");
        if !holds {
            self.remove(kind, stored);
            return Deleted::Gone(Arc::clone(stored));
        }
        if marked {
            return Deleted::Going(Arc::clone(stored));
        }
        let now = self.now();
        let metadata = &mut object["metadata"];
        metadata["deletionTimestamp"] = now.into();
        metadata["deletionGracePeriodSeconds"] = 0.into();
        if kind.is("", "namespaces") {
            if let Some(metadata) = metadata.as_object_mut() {
                metadata.remove("deletionGracePeriodSeconds");
            }
            object["status"]["phase"] = "Terminating".into();
        } else {
            if let Some(generation) = metadata.get("generation").and_then(Value::as_u64) {
                metadata["generation"] = (generation + 1).into();
            }
            metadata["finalizers"] = Value::Array(finalizers);
        }
        let stored = self.put(kind, object);
        self.work.push_back(controllers::Work::Marked(Arc::clone(kind), Arc::clone(&stored)));
        Deleted::Going(stored)
    }

    /// Takes an object out of the store.
    pub(crate) fn remove(&mut self, kind: &Arc<Kind>, stored: &Arc<Stored>) {
        self.store.delete(kind.resource, key(&stored.namespace, &stored.name));
        admission::release(self, kind, stored);
        self.work.push_back(controllers::Work::Removed(Arc::clone(kind), Arc::clone(stored)));
    }

    /// Stores an object under the next revision.
    pub(crate) fn put(&mut self, kind: &Kind, mut object: Value) -> Arc<Stored> {
        let revision = self.store.next_revision();
        if let Some(map) = object.as_object_mut() {
            map.remove("apiVersion");
            map.remove("kind");
            for (at_rest, served) in kind.renamed {
                if let Some(value) = map.remove(*served) {
                    map.insert((*at_rest).to_owned(), value);
                }
            }
        }
        let metadata = &mut object["metadata"];
        metadata["resourceVersion"] = revision.to_string().into();
        let labels =
            metadata["labels"].as_object().into_iter().flatten().map(|(name, value)| (name.clone(), text(Some(value)))).collect();
        let owners = metadata["ownerReferences"].as_array().into_iter().flatten().map(|owner| text(owner.get("uid"))).collect();
        let (namespace, name, uid) = (text(metadata.get("namespace")), text(metadata.get("name")), text(metadata.get("uid")));
        let key = key(&namespace, &name);
        let body = Bytes::from(object.to_string());
        self.store.put(kind.resource, key, Stored { body, namespace, name, uid, labels, owners, revision })
    }

    /// Checks what the body says it is, decodes it, and reports unknown fields as the client asked.
    fn admit_shape(&self, write: &Write<'_>, object: &mut Value) -> Result<Vec<String>, Failure> {
        let kind = write.kind;
        let Some(map) = object.as_object_mut() else {
            return Err(Failure::bad_request("the body of the request is not an object"));
        };
        let api_version = kind.api_version();
        let (given_version, given_kind) = (text(map.get("apiVersion")), text(map.get("kind")));
        if kind.custom.is_some() && (given_version.is_empty() || given_kind.is_empty()) {
            return Err(Failure::bad_request("Object 'Kind' is missing in the request body"));
        }
        if !given_version.is_empty() && given_version != api_version {
            return Err(Failure::bad_request(format!(
                "the API version in the data ({given_version}) does not match the expected API version ({api_version})"
            )));
        }
        if !given_kind.is_empty() && given_kind != kind.kind {
            return Err(Failure::bad_request(format!(
                "{given_kind} in version \"{}\" cannot be handled as a {}: converting ({given_kind}) to ({}): unknown conversion",
                kind.version, kind.kind, kind.kind
            )));
        }
        map.insert("apiVersion".to_owned(), api_version.into());
        map.insert("kind".to_owned(), kind.kind.as_str().into());
        let mut unknown = Vec::new();
        schema::decode(object, kind, &mut unknown)?;
        metadata_mut(object)?;
        if kind.custom.is_some() {
            let mut metadata = object["metadata"].take();
            crate::schema::decode_metadata(&mut metadata, &mut unknown)?;
            object["metadata"] = metadata;
        }
        unknown.sort();
        let rules =
            kind.is("apiextensions.k8s.io", "customresourcedefinitions") && schema::has_rules(&object["spec"]["versions"]);
        let warnings: Vec<String> = unknown.iter().map(|path| format!("unknown field \"{path}\"")).collect();
        if write.validation == FieldValidation::Strict && !warnings.is_empty() {
            return Err(Failure::bad_request(format!(
                "{} in version \"{}\" cannot be handled as a {}: strict decoding error: {}",
                kind.kind,
                kind.version,
                kind.kind,
                warnings.join(", ")
            )));
        }
        let metadata = metadata_mut(object)?;
        metadata.retain(|_, value| !value.is_null());
        if kind.namespaced {
            let given = text(metadata.get("namespace"));
            if !given.is_empty() && given != write.namespace {
                return Err(Failure::bad_request(
                    "the namespace of the provided object does not match the namespace sent on the request",
                ));
            }
            metadata.insert("namespace".to_owned(), write.namespace.into());
        } else {
            metadata.remove("namespace");
        }
        let mut warnings = if write.validation == FieldValidation::Warn { warnings } else { Vec::new() };
        if rules {
            warnings.push(
                "the sandbox does not evaluate x-kubernetes-validations: their rules hold only on a real server".to_owned(),
            );
        }
        Ok(warnings)
    }

    fn admit_namespace(&self, write: &Write<'_>, name: &str) -> Result<(), Failure> {
        if !write.kind.namespaced {
            return Ok(());
        }
        let Some(namespaces) = self.built_in("", "namespaces") else { return Ok(()) };
        let Some(stored) = self.read(&namespaces, "", write.namespace) else {
            return Err(Failure::not_found(&namespaces, write.namespace));
        };
        if value(&namespaces, &stored)["metadata"].get("deletionTimestamp").is_some() {
            let namespace = write.namespace;
            return Err(Failure::forbidden(
                write.kind,
                name,
                &format!("unable to create new content in namespace {namespace} because it is being terminated"),
            )
            .with_causes(vec![json!({
                "reason": "NamespaceTerminating",
                "message": format!("namespace {namespace} is being terminated"),
                "field": "metadata.namespace",
            })]));
        }
        Ok(())
    }

    fn suffix(&mut self) -> String {
        const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
        let mut random = self.random();
        (0..5)
            .map(|_| {
                let letter = LETTERS[(random % LETTERS.len() as u64) as usize];
                random /= LETTERS.len() as u64;
                char::from(letter)
            })
            .collect()
    }
}

/// The object of a stored body, in the version of `kind`.
pub(crate) fn value(kind: &Kind, stored: &Stored) -> Value {
    let mut object: Value = serde_json::from_slice(&stored.body).unwrap_or_else(|_| json!({"metadata": {}}));
    if let Some(map) = object.as_object_mut() {
        for (at_rest, served) in kind.renamed {
            if let Some(value) = map.remove(*at_rest) {
                map.insert((*served).to_owned(), value);
            }
        }
    }
    object["apiVersion"] = kind.api_version().into();
    object["kind"] = kind.kind.as_str().into();
    object
}

/// The answer to a GET.
pub(crate) fn render(kind: &Kind, stored: &Stored) -> Bytes {
    if !kind.renamed.is_empty() {
        return Bytes::from(value(kind, stored).to_string());
    }
    let mut bytes = BytesMut::with_capacity(kind.prefix.len() + stored.body.len() + 1);
    bytes.put_slice(kind.prefix.as_bytes());
    bytes.put_u8(b',');
    bytes.put_slice(&stored.body[1..]);
    bytes.freeze()
}

fn render_value(kind: &Kind, mut object: Value) -> Bytes {
    object["apiVersion"] = kind.api_version().into();
    object["kind"] = kind.kind.as_str().into();
    Bytes::from(object.to_string())
}

pub(crate) fn text(value: Option<&Value>) -> String {
    value.and_then(Value::as_str).unwrap_or_default().to_owned()
}

pub(crate) fn metadata_mut(object: &mut Value) -> Result<&mut Map<String, Value>, Failure> {
    let Some(map) = object.as_object_mut() else {
        return Err(Failure::bad_request("the body of the request is not an object"));
    };
    let metadata = map.entry("metadata").or_insert_with(|| json!({}));
    if metadata.is_null() {
        *metadata = json!({});
    }
    metadata.as_object_mut().ok_or_else(|| Failure::bad_request("metadata is not an object"))
}

fn remove_nulls(object: &mut Value) {
    if let Some(map) = object.as_object_mut() {
        map.retain(|_, value| !value.is_null());
        if let Some(metadata) = map.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.retain(|_, value| !value.is_null());
        }
    }
}

fn generation_changes(before: &Value, after: &Value, kind: &Kind) -> bool {
    let relevant = |object: &Value| -> Map<String, Value> {
        let mut map = object.as_object().cloned().unwrap_or_default();
        map.remove("metadata");
        map.remove("apiVersion");
        map.remove("kind");
        if kind.has_status {
            map.remove("status");
        }
        map
    };
    relevant(before) != relevant(after)
}

/// Whether two objects differ in nothing but the times of their managers.
fn same_but_times(before: &Value, after: &Value) -> bool {
    let bare = |object: &Value| -> Value {
        let mut object = object.clone();
        for entry in object["metadata"]["managedFields"].as_array_mut().into_iter().flatten() {
            entry["time"] = Value::Null;
        }
        object
    };
    before == after || bare(before) == bare(after)
}
