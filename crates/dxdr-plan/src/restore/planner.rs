//! Planning: one look at each item of an archive, and a settlement at the end.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    time::Duration,
};

use dxdr_catalog::{Gap, VolumeComponent};
use dxdr_environment::{DiscoveredKind, ObjectReference, ResourceKind};
use serde_json::Value;

use super::{
    change::Changes,
    claim::EmptyClaim,
    copies::{ArchivedPods, Awaited},
    finding::{Finding, Findings},
    live::{LiveObjects, differences},
    plan::{Action, Counts, Estimate, LeaveReason, LeftOut, LeftOutReason, PlannedObject, RestorePlan, Stage},
    prune::prune,
    quota::{KindCounts, Quota},
    request::{Executor, Existing, RestoreRequest},
    rules,
    shared_storage::ArchivedStorage,
    transform::{self, strip},
    volume::{CapturedVolume, VeleroVolume},
};
use crate::{
    error::PlanError,
    kind_name::{KindName, OtherNames},
    order::StageName,
};

/// Objects a second that a quiet API server takes from one client.
const USUAL_RATE: u32 = 500;

/// Plans a restore, item by item.
pub struct RestorePlanner {
    pub(super) request: RestoreRequest,
    include: Vec<(KindName, bool)>,
    exclude: Vec<(KindName, bool)>,
    /// What the target serves, by group and plural; `None`: there is no target to ask.
    pub(super) served: Option<HashMap<String, DiscoveredKind>>,
    pub(super) live: Option<LiveObjects>,
    captured: Option<BTreeSet<String>>,
    rate: u32,
    pub(super) items: Vec<Item>,
    pub(super) findings: Findings,
    /// Definitions in the archive: the kind and the versions they serve.
    pub(super) definitions: HashMap<String, Vec<String>>,
    /// Services in the archive whose endpoints their selector finds.
    pub(super) selecting_services: HashSet<String>,
    pub(super) priority_classes: HashSet<String>,
    pub(super) cluster_roles: HashSet<String>,
    /// ClusterRoles that bindings refer to, by the binding's index.
    pub(super) bound_roles: HashMap<u32, String>,
    quotas: Vec<Quota>,
    /// What was captured of volumes, by the claim in the source namespace.
    pub(super) captured_volumes: HashMap<String, CapturedVolume>,
    /// What the point lacks.
    pub(super) gaps: Vec<Gap>,
    /// Claims that are created with nothing in their volumes.
    pub(super) empty: Vec<EmptyClaim>,
    pub(super) through_velero: Vec<VeleroVolume>,
    /// Claims that Velero was asked to bring back before: being there does not mean that they are whole.
    pub(super) begun: BTreeSet<String>,
    /// Claims that copies made file by file come back into.
    pub(super) awaited: Vec<Awaited>,
    /// The archive's pods, where it has such copies.
    pub(super) pods: Option<ArchivedPods>,
    pub(super) storage: ArchivedStorage,
    archived_kinds: BTreeSet<String>,
}

/// What is kept of an item.
pub(super) struct Item {
    pub(super) index: u32,
    pub(super) target: ObjectReference,
    /// Its name in the archive, where the target's differs from it in more than the namespace.
    pub(super) renamed_from: Option<String>,
    pub(super) uid: Option<u128>,
    pub(super) verdict: Verdict,
    pub(super) detail: Detail,
    pub(super) volume: Option<Box<CapturedVolume>>,
}

pub(super) enum Verdict {
    Restore { action: Action, changes: Changes },
    LeftOut(LeftOutReason),
}

/// What must be settled when all items were seen.
pub(super) enum Detail {
    Nothing,
    /// Left to its owner, if the owner is restored.
    Owned {
        uid: u128,
        by: String,
        makes_again: bool,
    },
    /// Endpoints: left to the Service of that name, if it selects.
    OfService,
    /// A SealedSecret for another namespace.
    Sealed,
    /// A cluster-scoped object that is restored if something restored needs it.
    Needed(Need),
}

pub(super) enum Need {
    Definition,
    PriorityClass,
    ClusterRole,
}

impl RestorePlanner {
    /// For one restore. `kinds`: what the target serves; `None`: planned from the archive alone. `live`: what lives there.
    pub fn new(request: RestoreRequest, kinds: Option<&[DiscoveredKind]>, live: Option<LiveObjects>) -> Result<Self, PlanError> {
        let names = |given: &[String]| -> Result<Vec<(KindName, bool)>, PlanError> {
            given.iter().map(|name| Ok((KindName::parse(name)?, false))).collect()
        };
        let mut planner = Self {
            include: names(&request.include)?,
            exclude: names(&request.exclude)?,
            served: kinds.map(|kinds| kinds.iter().map(|kind| (kind.kind.group_resource(), kind.clone())).collect()),
            live: live.map(LiveObjects::without_carriers),
            captured: None,
            rate: USUAL_RATE,
            items: Vec::new(),
            findings: Findings::default(),
            definitions: HashMap::new(),
            selecting_services: HashSet::new(),
            priority_classes: HashSet::new(),
            cluster_roles: HashSet::new(),
            bound_roles: HashMap::new(),
            quotas: Vec::new(),
            captured_volumes: HashMap::new(),
            gaps: Vec::new(),
            empty: Vec::new(),
            through_velero: Vec::new(),
            begun: BTreeSet::new(),
            awaited: Vec::new(),
            pods: None,
            storage: ArchivedStorage::default(),
            archived_kinds: BTreeSet::new(),
            request,
        };
        planner.look_at_namespace()?;
        Ok(planner)
    }

    /// Names the kinds that were captured whole (`deployments.apps`), and so may be pruned of what is not in the archive. Without it,
    /// only kinds of which the archive holds something are pruned: of the others nobody knows what there was.
    #[must_use]
    pub fn captured(mut self, kinds: impl IntoIterator<Item = String>) -> Self {
        self.captured = Some(kinds.into_iter().collect());
        self
    }

    /// Tells what was captured of volumes.
    #[must_use]
    pub fn volumes<'a>(mut self, components: impl IntoIterator<Item = &'a VolumeComponent>) -> Self {
        for component in components {
            if component.namespace != self.request.source_namespace {
                continue;
            }
            if component.method == VolumeComponent::FILE_SYSTEM {
                self.pods.get_or_insert_default().copied(component);
            }
            match &component.pod {
                Some(volume) if component.claim.is_empty() => self.look_at_pod_volume(component, volume),
                _ => {
                    self.captured_volumes.insert(component.claim.clone(), CapturedVolume::of(component));
                }
            }
        }
        self
    }

    /// Names claims of the target that an earlier process of the same run had Velero bring back, and that it did not see whole. Velero makes a
    /// claim long before the data is in it.
    #[must_use]
    pub fn begun(mut self, claims: impl IntoIterator<Item = String>) -> Self {
        self.begun.extend(claims);
        self
    }

    /// Tells what the point lacks. Of what it has not and does not lack, either, somebody said that it be left out.
    #[must_use]
    pub fn gaps(mut self, gaps: &[Gap]) -> Self {
        self.gaps.extend_from_slice(gaps);
        self
    }

    /// For the estimate: writes a second. At least one.
    #[must_use]
    pub fn rate(mut self, writes_per_second: u32) -> Self {
        self.rate = writes_per_second.max(1);
        self
    }

    /// Looks at the next item of the archive. `index` grows from item to item; `group_resource`, `namespace` and `name` are those of
    /// its path, and must be those of the object.
    ///
    /// # Errors
    /// When the item is no object, or not the one that its path names. A planner that refused an item is of no more use.
    pub fn observe(
        &mut self,
        index: u32,
        group_resource: &str,
        namespace: Option<&str>,
        name: &str,
        json: &[u8],
    ) -> Result<(), PlanError> {
        let refuse = |reason: &str| PlanError::Item {
            index,
            item: format!("{group_resource} {}{name}", namespace.map(|namespace| format!("{namespace}/")).unwrap_or_default()),
            reason: reason.to_owned(),
        };
        let object: Value = serde_json::from_slice(json).map_err(|error| refuse(&format!("it is not JSON ({error})")))?;
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str);
        let (Some(api_version), Some(kind)) = (text("/apiVersion"), text("/kind")) else {
            return Err(refuse("it has no apiVersion and kind"));
        };
        if text("/metadata/name") != Some(name)
            || text("/metadata/namespace").filter(|namespace| !namespace.is_empty()) != namespace
        {
            return Err(refuse("its metadata names another object than its path"));
        }
        let (plural, group) = group_resource.split_once('.').unwrap_or((group_resource, ""));
        let (api_group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        if api_group != group {
            return Err(refuse("its apiVersion is of another group than its path"));
        }
        let kind = ResourceKind {
            group: group.to_owned(),
            version: version.to_owned(),
            kind: kind.to_owned(),
            plural: plural.to_owned(),
            namespaced: namespace.is_some(),
        };
        let uid = text("/metadata/uid").map(rules::uid_number);
        let source = ObjectReference { kind, namespace: namespace.map(str::to_owned), name: name.to_owned() };
        if namespace == Some(&self.request.source_namespace) {
            self.archived_kinds.insert(group_resource.to_owned());
            if let (Some(pods), "pods") = (&mut self.pods, group_resource) {
                pods.observe(name, &object);
            }
        }
        let item = match self.refusal(&source, &object) {
            Some(reason) => {
                self.mark_archived(&source);
                if !source.kind.namespaced {
                    self.storage.observe(&source, &object);
                }
                Item {
                    index,
                    target: source,
                    renamed_from: None,
                    uid,
                    verdict: Verdict::LeftOut(reason),
                    detail: Detail::Nothing,
                    volume: None,
                }
            }
            None => {
                self.storage.observe(&source, &object);
                self.consider(index, source, uid, object, json)?
            }
        };
        self.items.push(item);
        Ok(())
    }

    /// Settles what depends on other items, and makes the plan.
    pub fn finish(mut self) -> RestorePlan {
        self.leave_out_duplicates();
        self.leave_to_owners();
        self.leave_out_unneeded();
        self.leave_out_unserved();
        self.look_for_roles();
        self.name_unknown_kinds();
        self.look_at_shared_storage();
        self.assemble()
    }

    /// Of the kinds that could not be read in the target, names those that matter: what is written may be there, what is to be
    /// removed cannot be found, a namespace or a quota may stand in the way, and a claim may wait for its files.
    fn name_unknown_kinds(&mut self) {
        let Some(live) = &self.live else { return };
        for (kind, reason) in &live.unknown {
            let is_pruned = self.request.prune && self.captured.as_ref().is_none_or(|captured| captured.contains(kind));
            if is_pruned
                || self.archived_kinds.contains(kind)
                || ["namespaces", "resourcequotas", "persistentvolumeclaims"].contains(&kind.as_str())
            {
                self.findings.add(Finding::Unknown { kind: kind.clone(), reason: reason.clone() });
            }
        }
    }

    /// What is wrong with the target namespace before anything is read.
    fn look_at_namespace(&mut self) -> Result<(), PlanError> {
        let namespace = self.request.target_namespace().to_owned();
        let Some(live) = &self.live else { return Ok(()) };
        let Some(object) = live.get("namespaces", None, &namespace) else { return Ok(()) };
        let object: Value = serde_json::from_slice(&object.json)
            .map_err(|error| PlanError::Live { object: format!("namespaces {namespace}"), reason: error.to_string() })?;
        let terminating = object.pointer("/status/phase").and_then(Value::as_str) == Some("Terminating")
            || object.pointer("/metadata/deletionTimestamp").is_some();
        if terminating {
            self.findings.add(Finding::Terminating { namespace });
        } else if self.request.beside() {
            self.findings.add(Finding::TargetExists { namespace });
        }
        Ok(())
    }

    /// Why an item is left out whatever else is in the archive.
    fn refusal(&mut self, source: &ObjectReference, object: &Value) -> Option<LeftOutReason> {
        let ObjectReference { kind, namespace, name } = source;
        let is_namespace = kind.group.is_empty() && kind.plural == "namespaces";
        let of = if is_namespace { Some(name) } else { namespace.as_ref() };
        if of.is_some_and(|of| *of != self.request.source_namespace) {
            return Some(LeftOutReason::OtherNamespace);
        }
        if let Some(reason) = rules::never_restored(&kind.group, &kind.plural) {
            return Some(reason);
        }
        // Without its namespace nothing can be restored; so it is there unless it is excluded in so many words.
        if !self.asked_for(kind, is_namespace) {
            return Some(LeftOutReason::Filtered);
        }
        if let Some(reason) = rules::left_out(&kind.group, &kind.kind, name, object) {
            return Some(reason);
        }
        if self.request.beside() && rules::controls_outside(&kind.group) {
            self.findings.of(Finding::ControlsOutside, source);
            return Some(LeftOutReason::ControlsOutside);
        }
        if kind.namespaced || is_namespace {
            return None;
        }
        self.outside_of_namespace(source, object)
    }

    /// What the restored objects need and the cluster lacks comes along. Nothing that is there is changed, and a volume never comes: its claim gets
    /// another one, and two would write to its storage.
    fn outside_of_namespace(&mut self, source: &ObjectReference, object: &Value) -> Option<LeftOutReason> {
        let kind = &source.kind;
        let beside = self.request.beside();
        match (kind.group.as_str(), kind.plural.as_str()) {
            ("", "persistentvolumes") => {
                if object.pointer("/spec/persistentVolumeReclaimPolicy").and_then(Value::as_str) == Some("Delete") {
                    return Some(LeftOutReason::Provisioned);
                }
                self.findings.of(Finding::SharedStorage, source);
                Some(LeftOutReason::SharedStorage)
            }
            ("rbac.authorization.k8s.io", "clusterrolebindings") => {
                let subjects = object.get("subjects").and_then(Value::as_array).into_iter().flatten();
                let ours = subjects
                    .filter_map(|subject| subject.get("namespace"))
                    .any(|namespace| namespace == self.request.source_namespace.as_str());
                if !ours {
                    return Some(LeftOutReason::NotNeeded);
                }
                if beside {
                    self.findings.of(Finding::ClusterRights, source);
                }
                beside.then_some(LeftOutReason::ClusterRight)
            }
            ("apiextensions.k8s.io", "customresourcedefinitions")
            | ("rbac.authorization.k8s.io", "clusterroles")
            | ("scheduling.k8s.io", "priorityclasses") => None,
            _ => Some(LeftOutReason::NotNeeded),
        }
    }

    fn asked_for(&mut self, kind: &ResourceKind, needed: bool) -> bool {
        let served = self.served.as_ref().and_then(|served| served.get(&kind.group_resource()));
        let other =
            served.map_or(OtherNames::default(), |kind| OtherNames { singular: &kind.singular, short: &kind.short_names });
        let fits = |names: &mut Vec<(KindName, bool)>| {
            let mut any = false;
            for (name, used) in names.iter_mut() {
                let fits = name.fits(kind, other);
                *used |= fits;
                any |= fits;
            }
            any
        };
        let excluded = fits(&mut self.exclude);
        let included = self.include.is_empty() || fits(&mut self.include) || needed || !kind.namespaced;
        included && !excluded
    }

    /// Transforms an item, compares it with what lives in the target, and notes what must be settled later.
    fn consider(
        &mut self,
        index: u32,
        source: ObjectReference,
        uid: Option<u128>,
        object: Value,
        json: &[u8],
    ) -> Result<Item, PlanError> {
        let detail = self.detail(&source, &object);
        self.remember(index, &source, &object);
        if !matches!(detail, Detail::Owned { makes_again: true, .. } | Detail::OfService) {
            self.look_for_hazards(&source, &object, json);
        }
        let transformed = transform::transform(&self.request, object);
        let source_name = source.name.clone();
        let text = |pointer: &str| transformed.object.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        let target = ObjectReference {
            namespace: text("/metadata/namespace").filter(|namespace| !namespace.is_empty()),
            name: text("/metadata/name").unwrap_or_else(|| source.name.clone()),
            kind: source.kind.clone(),
        };
        let action = self.action(&target, &transformed.object)?;
        let is_namespace = target.kind.group.is_empty() && target.kind.plural == "namespaces";
        let renamed_from = (!is_namespace && target.name != source.name).then_some(source.name);
        let (verdict, volume) = match self.volume(&source_name, &target, &action, &transformed.object) {
            Ok(volume) => (Verdict::Restore { action, changes: transformed.changes }, volume),
            Err(reason) => (Verdict::LeftOut(reason), None),
        };
        if target.kind.group.is_empty() && target.kind.plural == "resourcequotas" {
            self.remember_quota(&target, &transformed.object, &verdict);
        }
        Ok(Item { index, target, renamed_from, uid, verdict, detail, volume })
    }

    fn detail(&self, source: &ObjectReference, object: &Value) -> Detail {
        let kind = &source.kind;
        match (kind.group.as_str(), kind.plural.as_str()) {
            ("", "endpoints") => return Detail::OfService,
            ("bitnami.com", "sealedsecrets") if self.request.beside() && !opens_anywhere(object) => return Detail::Sealed,
            _ => {}
        }
        if let Some(owner) = rules::controller(object) {
            return Detail::Owned {
                uid: rules::uid_number(owner.uid),
                by: format!("{} {}", owner.kind, owner.name),
                makes_again: rules::makes_again(&owner, &kind.group, &kind.kind),
            };
        }
        if !kind.namespaced {
            match (kind.group.as_str(), kind.plural.as_str()) {
                ("apiextensions.k8s.io", "customresourcedefinitions") => return Detail::Needed(Need::Definition),
                ("scheduling.k8s.io", "priorityclasses") => return Detail::Needed(Need::PriorityClass),
                ("rbac.authorization.k8s.io", "clusterroles") => return Detail::Needed(Need::ClusterRole),
                _ => {}
            }
        }
        Detail::Nothing
    }

    /// What other items need to know of this one.
    fn remember(&mut self, index: u32, source: &ObjectReference, object: &Value) {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        match (source.kind.group.as_str(), source.kind.plural.as_str()) {
            ("apiextensions.k8s.io", "customresourcedefinitions") => {
                let versions = object.pointer("/spec/versions").and_then(Value::as_array).into_iter().flatten();
                let served = versions.filter(|version| version.get("served").and_then(Value::as_bool) == Some(true));
                let names = served.filter_map(|version| version.get("name")?.as_str()).map(str::to_owned).collect();
                self.definitions.insert(source.name.clone(), names);
            }
            ("", "services")
                if object.pointer("/spec/selector").and_then(Value::as_object).is_some_and(|selector| !selector.is_empty()) =>
            {
                self.selecting_services.insert(source.name.clone());
            }
            ("rbac.authorization.k8s.io", "rolebindings" | "clusterrolebindings")
                if text("/roleRef/kind").as_deref() == Some("ClusterRole") =>
            {
                self.cluster_roles.extend(text("/roleRef/name"));
                self.bound_roles.extend(text("/roleRef/name").map(|role| (index, role)));
            }
            ("", "pods") => self.priority_classes.extend(text("/spec/priorityClassName")),
            ("batch", "cronjobs") => self.priority_classes.extend(text("/spec/jobTemplate/spec/template/spec/priorityClassName")),
            ("apps" | "batch", _) | ("", "replicationcontrollers") => {
                self.priority_classes.extend(text("/spec/template/spec/priorityClassName"));
            }
            _ => {}
        }
    }

    fn look_for_hazards(&mut self, source: &ObjectReference, object: &Value, json: &[u8]) {
        let kind = &source.kind;
        if kind.group == "batch" && kind.plural == "jobs" && !self.exists(source) {
            self.findings.of(Finding::RunningJobs, source);
        }
        if !self.request.beside() {
            return;
        }
        let list = |pointer: &str| object.pointer(pointer).and_then(Value::as_array).is_some_and(|list| !list.is_empty());
        match (kind.group.as_str(), kind.kind.as_str()) {
            ("networking.k8s.io" | "extensions", "Ingress") if list("/spec/rules") || list("/spec/tls") => {
                self.findings.of(Finding::Hosts, source);
            }
            ("traefik.io" | "traefik.containo.us", "IngressRoute" | "IngressRouteTCP")
            | ("gateway.networking.k8s.io", "HTTPRoute" | "GRPCRoute" | "TLSRoute")
            | ("networking.istio.io", "VirtualService")
            | ("route.openshift.io", "Route") => {
                self.findings.of(Finding::Hosts, source);
            }
            ("", "Service") if object.pointer("/spec/type").and_then(Value::as_str) == Some("LoadBalancer") => {
                self.findings.of(Finding::LoadBalancers, source);
            }
            ("batch", "CronJob") if object.pointer("/spec/suspend").and_then(Value::as_bool) != Some(true) => {
                self.findings.of(Finding::CronJobs, source);
            }
            _ => {}
        }
        let address = format!(".{}.svc", self.request.source_namespace);
        if kind.namespaced && std::str::from_utf8(json).is_ok_and(|text| text.contains(&address)) {
            self.findings.of(Finding::NamesSource { namespace: self.request.source_namespace.clone() }, source);
        }
    }

    fn exists(&self, source: &ObjectReference) -> bool {
        let namespace = source.namespace.as_ref().map(|_| self.request.target_namespace());
        self.live.as_ref().is_some_and(|live| live.get(&source.kind.group_resource(), namespace, &source.name).is_some())
    }

    /// A live object of the name of an item that is left out stays where it is: it was there.
    fn mark_archived(&mut self, source: &ObjectReference) {
        let namespace = source.namespace.as_ref().map(|_| self.request.target_namespace().to_owned());
        if source.namespace.as_ref().is_none_or(|namespace| *namespace == self.request.source_namespace)
            && let Some(live) = &mut self.live
            && let Some(object) = live.get_mut(&source.kind.group_resource(), namespace.as_deref(), &source.name)
        {
            object.archived = true;
        }
    }

    /// What is done for an object that is restored.
    fn action(&mut self, target: &ObjectReference, archived: &Value) -> Result<Action, PlanError> {
        let Some(live) = &mut self.live else { return Ok(Action::Create) };
        let Some(object) = live.get_mut(&target.kind.group_resource(), target.namespace.as_deref(), &target.name) else {
            return Ok(Action::Create);
        };
        object.archived = true;
        let mut live: Value = serde_json::from_slice(&object.json)
            .map_err(|error| PlanError::Live { object: target.to_string(), reason: error.to_string() })?;
        let leaving = live.pointer("/metadata/deletionTimestamp").is_some();
        let kind = &target.kind;
        strip(&kind.group, &kind.kind, &mut live, self.request.beside());
        // Lists leave them out.
        if let (Some(live), Some(archived)) = (live.as_object_mut(), archived.as_object()) {
            for key in ["apiVersion", "kind"] {
                if let Some(value) = archived.get(key) {
                    live.insert(key.to_owned(), value.clone());
                }
            }
        }
        let unlabelled;
        let archived = if self.request.executor == Executor::Velero {
            live = transform::without_velero_marks(live);
            unlabelled = transform::without_velero_marks(archived.clone());
            &unlabelled
        } else {
            archived
        };
        // Whatever it is like now, it will be gone, and what is written into it with it.
        if leaving {
            let secret = kind.group.is_empty() && kind.kind == "Secret";
            let differences = differences(archived, &live, secret);
            return Ok(Action::Leave { reason: LeaveReason::BeingDeleted, differences });
        }
        if live == *archived {
            return Ok(Action::Same);
        }
        let secret = kind.group.is_empty() && kind.kind == "Secret";
        let differences = differences(archived, &live, secret);
        if differences.is_empty() {
            return Ok(Action::Same);
        }
        let reason = if self.request.leaves_shared(kind) {
            Some(LeaveReason::SharedByCluster)
        } else if self.request.existing == Existing::Leave {
            Some(LeaveReason::Asked)
        } else {
            rules::immutable(&kind.group, &kind.kind, &live, &differences)
        };
        if reason == Some(LeaveReason::Immutable) && rules::recreated(&kind.group, &kind.kind) {
            self.findings.of(Finding::Recreated, target);
            return Ok(Action::Update { differences, removes: false, recreates: true });
        }
        match reason {
            Some(reason) => Ok(Action::Leave { reason, differences }),
            None => {
                let removes = differences.iter().any(|difference| difference.to.is_none());
                // A list that is shorter now than it was loses nothing by being applied; one that is longer might.
                let removes = removes || differences.iter().any(|difference| is_list(&difference.from));
                Ok(Action::Update { differences, removes, recreates: false })
            }
        }
    }

    fn remember_quota(&mut self, target: &ObjectReference, object: &Value, verdict: &Verdict) {
        let Verdict::Restore { action, .. } = verdict else { return };
        match action {
            // It comes last.
            Action::Create => self.quotas.push(Quota::of(&target.name, object, false)),
            // It comes first.
            Action::Update { .. } | Action::Same => self.quotas.push(Quota::of(&target.name, object, true)),
            Action::Leave { .. } => {}
        }
    }

    fn assemble(mut self) -> RestorePlan {
        let copies = self.copies();
        let mut counts = Counts { items: self.items.len() as u64, ..Counts::default() };
        let mut stages: BTreeMap<StageName, Vec<PlannedObject>> = BTreeMap::new();
        let (mut left_out, mut created) = (Vec::new(), KindCounts::new());
        let source_namespace = self.request.source_namespace.clone();
        let mut in_namespace = 0_u64;
        let mut creates_namespace = false;
        self.items.sort_by_key(|item| item.index);
        for item in std::mem::take(&mut self.items) {
            let Item { index, target, renamed_from, verdict, volume, .. } = item;
            match verdict {
                Verdict::LeftOut(reason) => {
                    counts.left_out += 1;
                    let object = self.in_archive(target, renamed_from, &source_namespace);
                    left_out.push(LeftOut { index, object, reason });
                }
                Verdict::Restore { action, changes } => {
                    in_namespace += u64::from(target.kind.namespaced);
                    creates_namespace |= target.kind.plural == "namespaces" && target.kind.group.is_empty();
                    match &action {
                        Action::Create => {
                            counts.create += 1;
                            if target.kind.namespaced {
                                *created.entry(target.kind.group_resource()).or_default() += 1;
                            }
                        }
                        Action::Update { .. } => counts.update += 1,
                        Action::Same => counts.same += 1,
                        Action::Leave { reason, .. } => {
                            counts.leave += 1;
                            match reason {
                                LeaveReason::Immutable => self.findings.of(Finding::Immutable, &target),
                                LeaveReason::SharedByCluster => self.findings.of(Finding::SharedByCluster, &target),
                                LeaveReason::BeingDeleted => self.findings.of(Finding::BeingDeleted, &target),
                                LeaveReason::Asked | LeaveReason::Larger => {}
                            }
                        }
                    }
                    stages.entry(stage(&target.kind, &action)).or_default().push(PlannedObject {
                        index,
                        target,
                        action,
                        changes,
                        volume,
                    });
                }
            }
        }
        if in_namespace == 0 && self.through_velero.is_empty() {
            self.findings.add(Finding::NothingThere { namespace: source_namespace.clone() });
        }
        let target_namespace = self.request.target_namespace().to_owned();
        if let Some(live) = &self.live
            && !creates_namespace
            && live.get("namespaces", None, &target_namespace).is_none()
            && !live.unknown.contains_key("namespaces")
        {
            self.findings.add(Finding::NamespaceMissing { namespace: target_namespace.clone() });
        }
        self.look_at_quotas(&created);
        let prune = self.prune();
        for object in prune.iter().filter(|object| object.reference.kind.plural == "persistentvolumeclaims") {
            self.findings.of(Finding::ClaimsRemoved, &object.reference);
        }
        let written = |object: &PlannedObject| matches!(object.action, Action::Create | Action::Update { .. });
        let starts = stages.iter().any(|(name, objects)| name.starts() && objects.iter().any(written));
        self.look_at_half_filled(copies.as_ref(), &prune, starts);
        let created = stages.values().flatten().filter(|object| object.action == Action::Create).map(|object| &object.target);
        let without_data = self.look_at_empty(&created.collect());
        for (name, _) in self.include.iter().chain(&self.exclude).filter(|(name, used)| !used && !name.is_everything()) {
            self.findings.add(Finding::UnresolvedKind { name: name.as_str().to_owned() });
        }
        counts.prune = prune.len() as u64;
        let writes = counts.create + counts.update + counts.prune;
        RestorePlan {
            environment: self.request.environment,
            point: self.request.point,
            instant: self.request.instant,
            source_namespace,
            target_namespace,
            executor: self.request.executor,
            offline: self.live.is_none(),
            stages: stages.into_iter().map(|(name, objects)| Stage::new(name, objects)).collect(),
            left_out,
            through_velero: self.through_velero,
            without_data,
            copies,
            databases: Vec::new(),
            prune,
            notes: self.findings.into_notes(),
            counts,
            estimate: Estimate { writes, duration: Duration::from_millis(writes * 1000 / u64::from(self.rate)) },
        }
    }

    /// The name of an item in the archive.
    fn in_archive(&self, mut target: ObjectReference, renamed_from: Option<String>, source_namespace: &str) -> ObjectReference {
        let mapped = |namespace: &str| namespace == self.request.target_namespace();
        if target.namespace.as_deref().is_some_and(mapped) {
            target.namespace = Some(source_namespace.to_owned());
        }
        if target.kind.group.is_empty() && target.kind.plural == "namespaces" && mapped(&target.name) {
            target.name = source_namespace.to_owned();
        }
        if let Some(name) = renamed_from {
            target.name = name;
        }
        target
    }

    fn look_at_quotas(&mut self, created: &KindCounts) {
        let mut counted = KindCounts::new();
        if let Some(live) = &self.live {
            let namespaced = live.kinds.iter().filter(|(_, kind)| kind.kind.namespaced);
            counted.extend(namespaced.map(|(name, kind)| (name.clone(), kind.objects.len() as u64)));
            let settled: HashSet<String> =
                self.quotas.iter().filter(|quota| quota.stands).map(|quota| quota.name.clone()).collect();
            let standing = live.kinds.get("resourcequotas").into_iter().flat_map(|kind| &kind.objects);
            for ((_, name), object) in standing.filter(|((_, name), _)| !settled.contains(name)) {
                if let Ok(object) = serde_json::from_slice::<Value>(&object.json) {
                    self.quotas.push(Quota::of(name, &object, true));
                }
            }
        }
        let found: Vec<Finding> = self.quotas.iter().flat_map(|quota| quota.exceeded(created, &counted)).collect();
        found.into_iter().for_each(|finding| self.findings.add(finding));
    }

    fn prune(&mut self) -> Vec<super::plan::PrunedObject> {
        if !self.request.prune || self.request.beside() {
            return Vec::new();
        }
        let Some(live) = self.live.take() else { return Vec::new() };
        let captured = self.captured.take().unwrap_or_else(|| std::mem::take(&mut self.archived_kinds));
        let wanted: BTreeSet<String> = live
            .kinds
            .values()
            .map(|kind| kind.kind.clone())
            .filter(|kind| self.asked_for(kind, false))
            .map(|kind| kind.group_resource())
            .collect();
        let pruned = prune(&live, &captured, |kind| wanted.contains(&kind.kind.group_resource()));
        self.live = Some(live);
        pruned
    }
}

impl std::fmt::Debug for RestorePlanner {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("RestorePlanner")
            .field("request", &self.request)
            .field("items", &self.items.len())
            .finish_non_exhaustive()
    }
}

/// The kind's stage; a quota that stands already is put right before anything counts against it.
fn stage(kind: &ResourceKind, action: &Action) -> StageName {
    match (StageName::of(&kind.group, &kind.plural), action) {
        (StageName::Quotas, Action::Update { .. }) => StageName::Limits,
        (stage, _) => stage,
    }
}

/// Sealed for the whole cluster, in the object or in the template of its Secret.
fn opens_anywhere(object: &Value) -> bool {
    let annotation = object.pointer("/metadata/annotations/sealedsecrets.bitnami.com~1cluster-wide");
    annotation.and_then(Value::as_str) == Some("true")
}

fn is_list(shown: &Option<String>) -> bool {
    shown.as_ref().is_some_and(|text| text.starts_with('['))
}
