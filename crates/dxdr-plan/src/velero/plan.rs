//! Everything that Velero must have, held against what it has.

use std::collections::BTreeMap;

use dxdr_environment::{
    Environment, ObjectReference, PlannedObject, comparison,
    compile::{DesiredObject, environment_of},
};
use dxdr_policy::{BackupPolicy, BackupStore, Engine, SnapshotLocation, VolumeMethod, timings};
use jiff::tz::Offset;
use serde_json::Value;

use super::{
    location::{self, Settled},
    observed::{CredentialObserved, Observed},
    reader::{Known, Reader},
    remedy::remedy,
    schedule::{Destination, outlived, schedule, time_to_live},
    schedules, snapshot_class, snapshot_classes, snapshot_location, snapshot_locations,
    version::{CronParser, VeleroVersion},
};
use crate::review::{Note, Severity};

/// The model, as far as Velero is concerned.
#[derive(Debug, Clone)]
pub struct SchedulesRequest<'a> {
    /// All environments.
    pub environments: &'a [Environment],
    /// All policies; those of other engines are passed over.
    pub policies: &'a [BackupPolicy],
    /// All stores.
    pub stores: &'a [BackupStore],
    /// Where Velero is installed.
    pub namespace: &'a str,
    /// Whether this cluster only stands by: nothing fires, nothing is written or deleted.
    pub standby: bool,
}

/// What there must be, and what there is.
#[derive(Debug, Clone, PartialEq)]
pub struct SchedulePlan {
    /// Where Velero is installed.
    pub namespace: String,
    /// The server's version, where one answered with one.
    pub version: Option<VeleroVersion>,
    /// In the order in which they can be applied: locations first.
    pub objects: Vec<PlannedObject>,
    /// Schedules of ours that nothing asks for any more.
    pub orphaned: Vec<ObjectReference>,
    /// Schedules of others, and the namespaces they back up; none: all.
    pub foreign: Vec<(String, Vec<String>)>,
    /// What a person should know.
    pub notes: Vec<Note>,
}

impl SchedulePlan {
    /// Whether everything is as it should be, and nothing of ours is left over.
    pub fn nothing_to_do(&self) -> bool {
        self.objects.iter().all(PlannedObject::is_same) && self.orphaned.is_empty()
    }

    /// The notes that forbid carrying it out.
    pub fn refusals(&self) -> impl Iterator<Item = &Note> {
        self.notes.iter().filter(|note| note.severity == Severity::Fatal)
    }
}

/// Compiles policies and stores, and compares them with what is there.
pub fn plan(request: &SchedulesRequest<'_>, observed: &Observed) -> SchedulePlan {
    let reader = Reader::of(observed);
    let mut notes = Vec::new();
    look_at_server(observed, &reader, &mut notes);
    let policies: Vec<&BackupPolicy> = request.policies.iter().filter(|policy| policy.engine == Engine::Velero).collect();
    if policies.is_empty() {
        notes.push(note(Severity::Information, "no policy has `engine: velero`", None));
    } else {
        notes.extend(spelling(&reader));
    }
    let mut desired = Vec::new();
    let locations = settle_locations(request, &policies, observed, &mut desired, &mut notes);
    let snapshots = |policy: &&BackupPolicy| policy.volumes.method != VolumeMethod::None;
    if policies.iter().any(snapshots) {
        settle_snapshots(request, &policies, observed, &mut desired, &mut notes);
        settle_snapshot_locations(request, &policies, observed, &mut desired, &mut notes);
    }
    let timings = timings(request.environments, request.policies);
    for policy in &policies {
        let Some(location) = locations.get(policy.store.as_str()) else { continue };
        let kept = time_to_live(policy);
        for name in &policy.environments {
            let Some(environment) = request.environments.iter().find(|environment| environment.name == *name) else { continue };
            let store = request.stores.iter().find(|store| store.name == policy.store);
            let snapshots = store.map(|store| snapshot_location::names(policy, store)).unwrap_or_default();
            let destination = Destination { location, snapshots: &snapshots, kept };
            let Some(timing) = timings.get(name) else { continue };
            desired.push(schedule(
                environment,
                policy,
                &timing.schedule,
                &destination,
                request.namespace,
                reader.parser,
                request.standby,
            ));
        }
        look_at_policy(policy, &reader, &mut notes);
    }
    let foreign = foreign(observed);
    look_at_overlaps(request, &policies, &foreign, &mut notes);
    SchedulePlan {
        namespace: request.namespace.to_owned(),
        version: reader.version.filter(|_| reader.because == Known::Said),
        // Locations and classes stay: backups and other policies may need them.
        orphaned: comparison::orphaned(&schedules(), &observed.schedules, &desired, is_ours),
        objects: desired.into_iter().map(|desired| compared(desired, observed)).collect(),
        foreign,
        notes,
    }
}

fn look_at_server(observed: &Observed, reader: &Reader, notes: &mut Vec<Note>) {
    match (&observed.server_version, reader.version) {
        (None, _) => notes.push(note(
            Severity::Warning,
            "no Velero server answers: what is applied takes effect when one runs",
            Some("`kubectl get deployments` in Velero's namespace says whether it is installed"),
        )),
        (Some(text), None) => notes.push(note(
            Severity::Warning,
            format!("the server's version `{text}` is no number, so that nobody knows what it does differently"),
            None,
        )),
        (Some(_), Some(_)) => {}
    }
    let Some(version) = reader.version else { return };
    if version.too_old() {
        notes.push(note(
            Severity::Fatal,
            format!("Velero {version} is too old: CSI snapshots are part of it from v1.14 on"),
            Some("update Velero, or use `engine: native`"),
        ));
    } else if version.untried() {
        notes.push(note(Severity::Warning, format!("Velero {version} is newer than what dxdr was tried with, v1.18"), None));
    } else if version.cron_parser() == CronParser::RobfigWithoutZones {
        notes.push(note(
            Severity::Information,
            format!("Velero {version} reads schedules in its own time zone, so that they are right where that is UTC"),
            Some("it is UTC unless Velero's Deployment sets `TZ`; v1.15 and newer read `CRON_TZ`"),
        ));
    }
}

/// How schedules are spelled for a server that does not say what it reads, and why.
fn spelling(reader: &Reader) -> Option<Note> {
    let spelled = match reader.parser {
        CronParser::RobfigWithoutZones => "schedules are written without their time zone",
        CronParser::Robfig | CronParser::GoCron => "schedules name their time zone",
    };
    let because = match &reader.because {
        Known::Said => return None,
        Known::Image(image) => format!("as the Velero of image `{image}` reads them, which its Deployment has"),
        Known::Refused(name) => format!("since the server has refused Schedule `{name}`, which names one"),
        Known::Spelled { schedule, fires: true } => format!("as Schedule `{schedule}` is, which the server has accepted"),
        Known::Spelled { schedule, fires: false } => {
            format!("as Schedule `{schedule}` is: nobody knows what the server reads")
        }
        Known::Hope => "which Velero reads from v1.15 on: nobody knows what the server reads".to_owned(),
    };
    let hint = "ask again when the server answers: `dxdr schedule diff` says then what is to be written otherwise";
    Some(note(Severity::Information, format!("{spelled}, {because}"), Some(hint)))
}

/// Classes of the drivers in use, and locations of snapshots by plugins of Velero's own.
fn settle_snapshots(
    request: &SchedulesRequest<'_>,
    policies: &[&BackupPolicy],
    observed: &Observed,
    desired: &mut Vec<DesiredObject>,
    notes: &mut Vec<Note>,
) {
    let (classes, undecided) = snapshot_class::settle(&observed.drivers, &observed.snapshot_classes);
    desired.extend(classes);
    for (text, hint) in undecided {
        notes.push(note(Severity::Warning, text, Some(&hint)));
    }
    let unnamed = |provider: &str| snapshot_location::unnamed(policies.iter().copied(), request.stores, provider);
    for (text, hint) in snapshot_location::several(&observed.snapshot_locations, unnamed) {
        notes.push(note(Severity::Warning, text, Some(&hint)));
    }
}

/// The snapshot locations that stores name. One name means one location, whoever names it.
fn settle_snapshot_locations(
    request: &SchedulesRequest<'_>,
    policies: &[&BackupPolicy],
    observed: &Observed,
    desired: &mut Vec<DesiredObject>,
    notes: &mut Vec<Note>,
) {
    let with_volumes = |store: &&BackupStore| {
        let mut policies = policies.iter().filter(|policy| policy.volumes.method != VolumeMethod::None);
        policies.any(|policy| policy.store == store.name)
    };
    let mut settled: BTreeMap<&str, &SnapshotLocation> = BTreeMap::new();
    for store in request.stores.iter().filter(with_volumes) {
        for location in store.snapshot_locations() {
            let name = location.name.as_str();
            if let Some(other) = settled.insert(name, location) {
                if other != location {
                    let text = format!(
                        "snapshot location `{name}` is declared twice, and differently: BackupStore `{}` is one",
                        store.name
                    );
                    notes.push(note(Severity::Fatal, text, Some("give one of them another name, or make them the same")));
                }
                continue;
            }
            match snapshot_location::settle(location, &observed.snapshot_locations, request.namespace) {
                snapshot_location::Settled::Ours(object) => {
                    look_at_credential(store, location.credential.as_ref(), request, observed, notes);
                    desired.push(object);
                }
                snapshot_location::Settled::Theirs(differences) => {
                    for (field, found, expected) in differences {
                        let text = format!(
                            "snapshot location `{name}`, which is not dxdr's, has `{found}` in {field}; BackupStore `{}` says `{expected}`",
                            store.name
                        );
                        let hint = "whoever made the location can change it, or the manifest";
                        notes.push(note(Severity::Warning, text, Some(hint)));
                    }
                }
                snapshot_location::Settled::Taken(provider) => {
                    let text = format!(
                        "a snapshot location of the name `{name}` is there already, of provider `{provider}`; BackupStore `{}` says `{}`",
                        store.name, location.provider
                    );
                    notes.push(note(
                        Severity::Fatal,
                        text,
                        Some("give the store's another name in `spec.velero.snapshotLocations`"),
                    ));
                }
            }
        }
    }
}

/// What is wrong with the Secret that a location of ours is to use.
fn look_at_credential(
    store: &BackupStore,
    credential: Option<&(String, String)>,
    request: &SchedulesRequest<'_>,
    observed: &Observed,
    notes: &mut Vec<Note>,
) {
    let Some((name, key)) = credential else { return };
    let place = format!("Secret `{name}` in namespace `{}`", request.namespace);
    let text = match observed.credentials.get(name) {
        Some(CredentialObserved::Missing) => format!("{place}, which BackupStore `{}` names, is not there", store.name),
        Some(CredentialObserved::Keys(keys)) if !keys.contains(key) => {
            format!("{place} lacks the key `{key}`, which BackupStore `{}` names", store.name)
        }
        _ => return,
    };
    let hint = format!(
        "until it has it, no backup is made: `kubectl --namespace {} create secret generic {name} --from-file={key}=FILE`",
        request.namespace
    );
    notes.push(note(Severity::Warning, text, Some(&hint)));
}

/// The location's name of each store that a policy uses.
fn settle_locations<'a>(
    request: &SchedulesRequest<'a>,
    policies: &[&'a BackupPolicy],
    observed: &Observed,
    desired: &mut Vec<DesiredObject>,
    notes: &mut Vec<Note>,
) -> BTreeMap<&'a str, String> {
    let mut names = BTreeMap::new();
    for store in request.stores.iter().filter(|store| policies.iter().any(|policy| policy.store == store.name)) {
        if let Some(plugin) = location::plugin(store)
            && !observed.plugins.is_empty()
            && !observed.plugins.contains(&plugin)
        {
            let text = format!("the server lacks the plugin {plugin}, without which it cannot use BackupStore `{}`", store.name);
            notes.push(note(Severity::Warning, text, Some("`velero plugin add` installs it")));
        }
        match location::settle(store, request.stores, &observed.locations, request.namespace, request.standby) {
            Settled::Ours(object) => {
                let credential = store.velero.as_ref().and_then(|velero| velero.credential.as_ref());
                look_at_credential(store, credential, request, observed, notes);
                names.insert(store.name.as_str(), object.reference.name.clone());
                desired.push(object);
            }
            Settled::Theirs { name, differences } => {
                for (field, found, expected) in differences {
                    let text = format!(
                        "location `{name}`, which is not dxdr's, has `{found}` in {field}; BackupStore `{}` says `{expected}`",
                        store.name
                    );
                    notes.push(note(Severity::Warning, text, Some("whoever made the location can change it, or the manifest")));
                }
                if request.standby {
                    let text = format!("location `{name}` is not dxdr's, and stays as writable as it is");
                    let hint = "set `spec.accessMode: ReadOnly` on it: otherwise Velero deletes here what expires there";
                    notes.push(note(Severity::Warning, text, Some(hint)));
                }
                names.insert(store.name.as_str(), name);
            }
            Settled::Taken { name, by } => notes.push(note(
                Severity::Fatal,
                format!("a location of the name `{name}` is there already, for {by}"),
                Some("give the BackupStore another name, or another one in `spec.velero.location`"),
            )),
            Settled::Twice { name, there } => notes.push(note(
                Severity::Fatal,
                format!(
                    "BackupStore `{}` names location `{name}`, and location `{there}` is for the same bucket and prefix",
                    store.name
                ),
                Some("two locations of one place would both delete what expires: name that one"),
            )),
            Settled::NotForVelero => notes.push(note(
                Severity::Fatal,
                format!("BackupStore `{}` is a directory, where Velero cannot write", store.name),
                Some("use a bucket, or `engine: native`"),
            )),
        }
    }
    let mut stores_of: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (store, location) in &names {
        stores_of.entry(location).or_default().push(store);
    }
    for (location, stores) in stores_of.into_iter().filter(|(_, stores)| stores.len() > 1) {
        let text = format!(
            "BackupStores {} have one bucket name and prefix, and location `{location}` may be any one's",
            stores.join(", ")
        );
        let hint = "`spec.velero.location` says which location is whose: name that one in one store, and another in each other; a store of the same server is declared once";
        notes.push(note(Severity::Fatal, text, Some(hint)));
    }
    for store in request.stores {
        let Some(used) = names.get(store.name.as_str()) else { continue };
        let doubles = location::doubles(store, request.stores, &observed.locations, used);
        if !doubles.is_empty() {
            let (text, hint) = location::doubled(used, &doubles);
            notes.push(note(Severity::Warning, format!("BackupStore `{}`: {text}", store.name), Some(hint)));
        }
    }
    for live in &observed.locations {
        let text = |pointer: &str| live.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let name = text("/metadata/name");
        if text("/status/phase") == "Unavailable" && names.values().any(|used| used == name) {
            let what = format!(
                "Velero says that location `{name}` is unavailable, and makes no backup until that is mended: {}",
                text("/status/message")
            );
            notes.push(note(Severity::Warning, what, remedy(text("/status/message"))));
        }
        if text("/spec/accessMode") == "ReadOnly" && !request.standby && names.values().any(|used| used == name) {
            let what = format!("location `{name}` is read-only, so that every backup to it fails");
            notes.push(note(Severity::Warning, what, Some("set `spec.accessMode: ReadWrite` if this cluster is to back up")));
        }
    }
    names
}

fn look_at_policy(policy: &BackupPolicy, reader: &Reader, notes: &mut Vec<Note>) {
    if policy.secrets.sealed_only {
        let text = format!("policy `{}`: Velero also takes the Secrets that a SealedSecret recreates", policy.name);
        notes.push(note(
            Severity::Information,
            text,
            Some("Velero cannot tell them apart; a restore leaves them to their owner"),
        ));
    }
    if let Some(kept) = outlived(policy) {
        let text = format!(
            "policy `{}`: after {} days without a backup Velero deletes the last ones, too: `atLeast` holds no longer then",
            policy.name,
            kept.as_hours() / 24
        );
        notes.push(note(Severity::Information, text, Some("an alert on the age of the newest point comes earlier")));
    }
    let Some(schedule) = &policy.schedule else { return };
    let zone = schedule.zone();
    match reader.parser {
        CronParser::RobfigWithoutZones if zone.to_fixed_offset().ok() != Some(Offset::UTC) => {
            let (text, hint) = match reader.version {
                Some(version) => (
                    format!("policy `{}`: Velero {version} refuses a schedule that names a time zone", policy.name),
                    "update Velero to v1.15 or newer, or write the schedule for `timeZone: UTC`",
                ),
                None => (
                    format!("policy `{}`: as far as is known, Velero refuses a schedule that names a time zone", policy.name),
                    "have the server say what it is: it does when it runs; or write the schedule for `timeZone: UTC`",
                ),
            };
            notes.push(note(Severity::Fatal, text, Some(hint)));
        }
        CronParser::Robfig if zone.to_fixed_offset().is_err() => notes.push(note(
            Severity::Information,
            format!("policy `{}`: this version of Velero does not fire in the hour that spring takes away", policy.name),
            Some("v1.18.3 and newer make up for it when the hour ends"),
        )),
        _ => {}
    }
}

/// Two schedules of one namespace wait for each other, and take twice the room.
fn look_at_overlaps(
    request: &SchedulesRequest<'_>,
    policies: &[&BackupPolicy],
    foreign: &[(String, Vec<String>)],
    notes: &mut Vec<Note>,
) {
    let ours = request.environments.iter().filter(|one| policies.iter().any(|policy| policy.environments.contains(&one.name)));
    for environment in ours {
        let namespace = environment.namespace.as_str();
        let covers =
            |namespaces: &[String]| namespaces.is_empty() || namespaces.iter().any(|name| name == "*" || name == namespace);
        for (name, _) in foreign.iter().filter(|(_, namespaces)| covers(namespaces)) {
            let text = format!("Schedule `{name}`, which is not dxdr's, backs up namespace {namespace}, too");
            notes.push(note(Severity::Warning, text, Some("it is left alone; delete it when dxdr's has taken over")));
        }
    }
}

fn is_ours(live: &Value) -> bool {
    environment_of(live).is_some()
}

fn name_of(live: &Value) -> &str {
    live.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default()
}

fn foreign(observed: &Observed) -> Vec<(String, Vec<String>)> {
    let namespaces = |live: &Value| -> Vec<String> {
        let list = live.pointer("/spec/template/includedNamespaces").and_then(Value::as_array).into_iter().flatten();
        list.filter_map(Value::as_str).map(str::to_owned).collect()
    };
    observed.schedules.iter().filter(|live| !is_ours(live)).map(|live| (name_of(live).to_owned(), namespaces(live))).collect()
}

fn compared(desired: DesiredObject, observed: &Observed) -> PlannedObject {
    let kind = &desired.reference.kind;
    let live = if *kind == schedules() {
        &observed.schedules
    } else if *kind == snapshot_classes() {
        &observed.snapshot_classes
    } else if *kind == snapshot_locations() {
        &observed.snapshot_locations
    } else {
        &observed.locations
    };
    let live = live.iter().find(|live| name_of(live) == desired.reference.name);
    PlannedObject::new(desired, live)
}

fn note(severity: Severity, text: impl Into<String>, hint: Option<&str>) -> Note {
    Note { severity, object: None, count: 0, text: text.into(), hint: hint.map(str::to_owned) }
}

#[cfg(test)]
mod tests;
