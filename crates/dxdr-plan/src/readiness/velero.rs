//! Velero: installed, answering, of a version that was tried, and with a location for each store.

use dxdr_policy::{BackupStore, VolumeMethod};
use serde_json::Value;

use super::{Model, Observed, Outcome, Row, VeleroObserved};
use crate::velero::{
    CredentialObserved, VeleroVersion,
    location::{self, Settled},
    remedy, snapshot_location,
};

const INSTALLED: &str = "velero: installation";
const SERVER: &str = "velero: server";

pub(super) fn rows(model: &Model<'_>, observed: &Observed) -> Vec<Row> {
    let namespace = model.velero_namespace;
    let found = match &observed.velero {
        Ok(Some(found)) => found,
        Ok(None) if model.needs_velero() => {
            let policies: Vec<&str> = model.by_velero().map(|policy| policy.name.as_str()).collect();
            let detail = format!("none in namespace `{namespace}`, and these policies need it: {}", policies.join(", "));
            return vec![
                Row::failed(INSTALLED, detail)
                    .remedy("install it: `velero install`, or its Helm chart")
                    .remedy("another namespace is named with `--velero-namespace`")
                    .remedy("or use `engine: native` in these policies, which needs no Velero"),
            ];
        }
        Ok(None) => return vec![Row::not_needed(INSTALLED, format!("none in namespace `{namespace}`, and no policy needs it"))],
        Err(trouble) if model.needs_velero() => return vec![Row::trouble(INSTALLED, trouble)],
        Err(trouble) => {
            let detail = format!("no policy needs it, and it cannot be looked at: {}", trouble.message);
            return vec![Row::not_needed(INSTALLED, detail)];
        }
    };
    let mut rows = vec![installation(namespace, found), server(model, found)];
    rows.extend(plugins(model, found));
    rows.extend(features(model, found));
    rows.extend(node_agent(model, found));
    rows
}

fn installation(namespace: &str, found: &VeleroObserved) -> Row {
    match &found.deployment {
        Some(_) => Row::good(INSTALLED, format!("its kinds are served, and Deployment `velero` is in namespace `{namespace}`")),
        None => Row::warning(
            INSTALLED,
            format!("its kinds are served, but Deployment `velero` in namespace `{namespace}` cannot be seen"),
        )
        .remedy("every restore by Velero reads its image from the Deployment of that name, and fails without it"),
    }
}

fn server(model: &Model<'_>, found: &VeleroObserved) -> Row {
    if !found.asked {
        return Row::new(SERVER, Outcome::Unknown, "not asked, since nothing is to be changed")
            .remedy("without `--dry-run` it is asked by a ServerStatusRequest, which is removed again");
    }
    let Some(text) = &found.objects.server_version else {
        let detail = "no server answers: backups and restores that are asked for stay as they are";
        let outcome = if model.needs_velero() { Outcome::Failed } else { Outcome::Warning };
        return Row::new(SERVER, outcome, detail).remedy(format!(
            "`kubectl --namespace {0} get pods` and `kubectl --namespace {0} logs deployment/velero` say why",
            model.velero_namespace
        ));
    };
    match VeleroVersion::parse(text) {
        Some(version) if version.too_old() => {
            Row::failed(SERVER, format!("{version} is too old: CSI snapshots are part of Velero from v1.14 on"))
                .remedy("update Velero, or use `engine: native`")
        }
        Some(version) if version.untried() => {
            Row::warning(SERVER, format!("{version} is newer than what dxdr was tried with, v1.18"))
                .remedy("look for a newer dxdr, or try a backup and a restore before you rely on them")
        }
        Some(version) => {
            let differences = version.differences();
            let unlike = if differences.is_empty() { "" } else { ", unlike newer ones: " };
            Row::good(SERVER, format!("{version}{unlike}{}", differences.join("; ")))
        }
        None => Row::warning(SERVER, format!("its version `{text}` is no number, so that nobody knows what it does differently"))
            .remedy("run a released version of Velero, v1.14 to v1.18"),
    }
}

/// One row a store that policies have Velero write to.
fn plugins(model: &Model<'_>, found: &VeleroObserved) -> Vec<Row> {
    if found.objects.server_version.is_none() {
        return Vec::new();
    }
    let mut wanted: Vec<String> = stores(model).filter_map(location::plugin).collect();
    wanted.sort();
    wanted.dedup();
    let row = |plugin: String| {
        let what = format!("velero: plugin {plugin}");
        if found.objects.plugins.contains(&plugin) {
            return Row::good(what, "the server has it");
        }
        Row::failed(what, "the server lacks it, and cannot use the store without it").remedy(format!(
            "`velero plugin add velero/velero-plugin-for-{}:VERSION`",
            plugin.rsplit('/').next().unwrap_or_default()
        ))
    };
    wanted.into_iter().map(row).collect()
}

/// CSI snapshots are a feature that must be switched on, and nothing but the server's flags says whether it is.
fn features(model: &Model<'_>, found: &VeleroObserved) -> Option<Row> {
    const WHAT: &str = "velero: feature EnableCSI";
    if !model.by_velero().any(|policy| policy.volumes.method != VolumeMethod::None) {
        return None;
    }
    let deployment = found.deployment.as_ref()?;
    let containers = deployment.pointer("/spec/template/spec/containers").and_then(Value::as_array).into_iter().flatten();
    let texts = containers.flat_map(|container| {
        let list = |key: &str| container.get(key).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
        list("command").chain(list("args")).map(str::to_owned).collect::<Vec<_>>()
    });
    let on = texts.into_iter().any(|text| text.split([',', '=']).any(|word| word == "EnableCSI"));
    Some(if on {
        Row::good(WHAT, "on, by the flags of Deployment `velero`")
    } else {
        Row::failed(WHAT, "not among the flags of Deployment `velero`: backups complete without the content of CSI volumes")
            .remedy(format!(
                "add `--features=EnableCSI` to the arguments: `kubectl --namespace {} edit deployment velero`",
                model.velero_namespace
            ))
    })
}

/// Who moves data runs on every node.
fn node_agent(model: &Model<'_>, found: &VeleroObserved) -> Option<Row> {
    const WHAT: &str = "velero: node agents";
    if !model.by_velero().any(|policy| policy.volumes.method == VolumeMethod::DataMover) {
        return None;
    }
    let remedy = "`velero install --use-node-agent`, or `deployNodeAgent: true` in the Helm chart's values";
    let Some(agent) = &found.node_agent else {
        let detail = "policies move data (`volumes.method: dataMover`), and DaemonSet `node-agent` cannot be seen";
        return Some(Row::failed(WHAT, detail).remedy(remedy));
    };
    let number = |key: &str| agent.pointer(&format!("/status/{key}")).and_then(Value::as_u64).unwrap_or_default();
    let (ready, wanted) = (number("numberReady"), number("desiredNumberScheduled"));
    Some(if wanted > 0 && ready == wanted {
        Row::good(WHAT, format!("{ready} of {wanted} ready"))
    } else {
        Row::failed(WHAT, format!("{ready} of {wanted} ready: data of volumes on the other nodes is not moved"))
            .remedy(format!("`kubectl --namespace {} describe daemonset node-agent`", model.velero_namespace))
    })
}

fn stores<'a>(model: &Model<'a>) -> impl Iterator<Item = &'a BackupStore> {
    let policies = model.policies;
    let by_velero = move |store: &BackupStore| {
        policies.iter().any(|policy| policy.engine == dxdr_policy::Engine::Velero && policy.store == store.name)
    };
    model.stores.iter().filter(move |store| by_velero(store))
}

/// A row for each store that policies have Velero write to, and one for locations of native snapshots.
pub(super) fn locations(model: &Model<'_>, observed: &Observed) -> Vec<Row> {
    let Ok(Some(found)) = &observed.velero else { return Vec::new() };
    let mut rows = Vec::new();
    for store in stores(model) {
        rows.extend(of_store(model, store, found));
    }
    rows.extend(native(model, observed, found));
    rows
}

fn of_store(model: &Model<'_>, store: &BackupStore, found: &VeleroObserved) -> Vec<Row> {
    let what = format!("velero: location of store {}", store.name);
    let locations = &found.objects.locations;
    let named = |name: &str| locations.iter().find(|live| text(live, "/metadata/name") == name);
    let (name, differences) = match location::settle(store, model.stores, locations, model.velero_namespace, false) {
        Settled::Ours(object) => (object.reference.name, Vec::new()),
        Settled::Theirs { name, differences } => (name, differences),
        Settled::Taken { name, by } => {
            return vec![
                Row::failed(what, format!("a location of the name `{name}` is there already, for {by}"))
                    .remedy("give the BackupStore another name, or another one in `spec.velero.location`"),
            ];
        }
        Settled::Twice { name, there } => {
            return vec![
                Row::failed(
                    what,
                    format!("the store names location `{name}`, and location `{there}` is for the same bucket and prefix"),
                )
                .remedy("two locations of one place would both delete what expires: name that one"),
            ];
        }
        Settled::NotForVelero => {
            return vec![
                Row::failed(what, "the store is a directory, where Velero cannot write")
                    .remedy("use a bucket, or `engine: native`"),
            ];
        }
    };
    let Some(live) = named(&name) else {
        return vec![Row::failed(what, format!("`{name}` is not there")).remedy("`dxdr schedule apply` makes it")];
    };
    let mut row = match (text(live, "/status/phase"), text(live, "/spec/accessMode")) {
        ("Available", "ReadOnly") => {
            Row::failed(&what, format!("`{name}` is available, and read-only: every backup to it fails"))
                .remedy("set `spec.accessMode: ReadWrite` on it if this cluster is to back up")
        }
        ("Available", _) => Row::good(&what, format!("`{name}` is available and writable")),
        (phase, _) => {
            let why = Some(text(live, "/status/message")).filter(|message| !message.is_empty()).unwrap_or("it does not say why");
            let phase = if phase.is_empty() { "not looked at by Velero yet" } else { phase };
            let mut row = Row::failed(&what, format!("`{name}` is {phase}: {why}"));
            row.remedies.extend(remedy(why).map(str::to_owned));
            row.remedy("no backup or restore is made until that is mended; Velero looks again every minute")
        }
    };
    let differs =
        differences.iter().map(|(field, found, expected)| format!("{field} is `{found}`, the BackupStore says `{expected}`"));
    let differs: Vec<String> = differs.collect();
    if !differs.is_empty() {
        row.detail.push_str(&format!("; {}", differs.join("; ")));
        row.remedies.push("whoever made the location can change it, or you the BackupStore".to_owned());
        row.outcome = row.outcome.max(Outcome::Warning);
    }
    let doubles = location::doubles(store, model.stores, locations, &name);
    if !doubles.is_empty() {
        let (text, remedy) = location::doubled(&name, &doubles);
        row.detail.push_str(&format!("; {text}"));
        row.remedies.push(remedy.to_owned());
        row.outcome = row.outcome.max(Outcome::Warning);
    }
    let mut rows = vec![row];
    rows.extend(credential(model, &what, live, found));
    rows
}

fn credential(model: &Model<'_>, what: &str, live: &Value, found: &VeleroObserved) -> Option<Row> {
    let (name, key) = (text(live, "/spec/credential/name"), text(live, "/spec/credential/key"));
    if name.is_empty() {
        return None;
    }
    let what = format!("{what}: credential");
    let place = format!("Secret `{name}` in namespace `{}`", model.velero_namespace);
    let create = format!(
        "`kubectl --namespace {} create secret generic {name} --from-file={key}=FILE`, with the plugin's credentials file",
        model.velero_namespace
    );
    Some(match found.objects.credentials.get(name) {
        Some(CredentialObserved::Keys(keys)) if keys.iter().any(|there| there == key) => {
            Row::good(what, format!("{place} has key `{key}`"))
        }
        Some(CredentialObserved::Keys(keys)) => Row::failed(what, format!("{place} has no key `{key}`, but {}", keys.join(", ")))
            .remedy("name the right key in `spec.credential.key` of the location"),
        Some(CredentialObserved::Missing) => Row::failed(what, format!("{place} is not there")).remedy(create),
        Some(CredentialObserved::Hidden(why)) => Row::new(what, Outcome::Unknown, format!("{place} cannot be seen: {why}"))
            .remedy("Velero's own answer counts: the location's phase"),
        None => Row::new(what, Outcome::Unknown, format!("{place} was not looked at")),
    })
}

/// Snapshots by a plugin of Velero's own are taken of volumes that no CSI driver made, and only where such a location is.
fn native(model: &Model<'_>, observed: &Observed, found: &VeleroObserved) -> Option<Row> {
    const WHAT: &str = "velero: VolumeSnapshotLocations";
    if !model.by_velero().any(|policy| policy.volumes.method != VolumeMethod::None) {
        return None;
    }
    let others: Vec<String> = model
        .with_volumes()
        .filter(|(_, policy)| policy.engine == dxdr_policy::Engine::Velero)
        .filter_map(|(environment, _)| Some((environment, observed.claims.get(&environment.name)?.as_ref().ok()?)))
        .flat_map(|(environment, claims)| {
            let of_none = claims.iter().filter(|claim| claim.driver.is_none());
            of_none.map(|claim| format!("{}/{}", environment.namespace, claim.name)).collect::<Vec<_>>()
        })
        .collect();
    let unnamed = |provider: &str| snapshot_location::unnamed(model.by_velero(), model.stores, provider);
    let several = snapshot_location::several(&found.objects.snapshot_locations, unnamed);
    if !several.is_empty() {
        let texts: Vec<&str> = several.iter().map(|(text, _)| text.as_str()).collect();
        let mut row = Row::warning(WHAT, texts.join("; "));
        row.remedies.extend(several.iter().map(|(_, hint)| hint.clone()));
        return Some(row);
    }
    let there: Vec<&str> = found.objects.snapshot_locations.iter().map(|live| text(live, "/metadata/name")).collect();
    Some(match (others.is_empty(), there.is_empty()) {
        (true, true) => Row::not_needed(WHAT, "none, and none is needed: every claim's volume is of a CSI driver"),
        (true, false) => Row::not_needed(WHAT, format!("{}; CSI snapshots do not use them", there.join(", "))),
        (false, false) => {
            Row::good(WHAT, format!("{}, for claims without a CSI driver: {}", there.join(", "), others.join(", ")))
        }
        (false, true) => Row::warning(
            WHAT,
            format!("none, and these claims are of no CSI driver, so that nothing takes their content: {}", others.join(", ")),
        )
        .remedy("name one for the volumes' provider in `spec.velero.snapshotLocations` of the BackupStore: `dxdr schedule apply` makes it")
        .remedy("or move the data to a volume of a CSI driver"),
    })
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}
