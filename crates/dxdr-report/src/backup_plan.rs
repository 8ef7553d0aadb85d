//! The plan of a backup.

use dxdr_plan::{
    backup::{
        BackupPlan, DatabaseFate, DatabasePlan, HookPlan, HookTime, PointDatabases, SecretsRule, Stillness, VolumeFate,
        VolumePlan,
    },
    velero::VeleroBackupPlan,
};
use dxdr_policy::{Consistency, HoldTime, References};
use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::quantity::{counted, instant};

/// What will be read and written, for people.
pub fn text(plan: &BackupPlan, store: &str) -> String {
    let mut text =
        format!("Recovery point {} of {} ({}) into {store}\n", plan.point, plan.environment, plan.namespaces.join(", "));
    for (number, step) in plan.steps.all().iter().enumerate() {
        text.push_str(&format!("  {}. {}: {}\n", number + 1, step.title, step.reason));
    }
    text.push_str(&format!("  Secrets: {}\n", secrets(plan.secrets)));
    if let Some(expires) = plan.expires {
        text.push_str(&format!("  It may be removed after {}.\n", instant(expires)));
    }
    if !plan.left_out_kinds.is_empty() {
        text.push_str(&format!(
            "  {} not read; `--output json` names them with the reasons.\n",
            counted(plan.left_out_kinds.len(), "kind")
        ));
    }
    for volume in &plan.volumes {
        text.push_str(&volume_text(volume));
    }
    for hook in &plan.hooks {
        text.push_str(&hook_text(hook));
    }
    text.push_str(&databases_text(plan.point_databases()));
    for name in &plan.unresolved {
        text.push_str(&format!("  The server does not know `{name}`.\n"));
    }
    for gap in &plan.gaps {
        text.push_str(&format!("  It will lack {}: {}\n", gap.what, gap.reason));
    }
    text
}

/// One that nothing protects is among what the point will lack.
fn volume_text(volume: &VolumePlan) -> String {
    let VolumePlan { namespace, claim, fate, .. } = volume;
    match fate {
        VolumeFate::Snapshot(snapshot) => {
            let group = snapshot.group.as_ref();
            let group = group.map(|group| format!(" in group {}, class {}", group.label, group.class)).unwrap_or_default();
            format!(
                "  Volume {namespace}/{claim}: snapshot by {}, class {} ({}){group}\n",
                snapshot.driver, snapshot.class, snapshot.why
            )
        }
        VolumeFate::LeftOut(reason) => format!("  Volume {namespace}/{claim} is left out: {reason}\n"),
        VolumeFate::Unprotected(_) => String::new(),
    }
}

/// What becomes of each database, and how far what is wanted of it can be promised.
fn databases_text(of: PointDatabases<'_>) -> String {
    let mut text: String = of.plans.iter().map(|database| database_text(of, database)).collect();
    let exports =
        of.exports().map(|(database, export)| (database, "an export", &export.instance, of.exported(export), export.consistency));
    let backups =
        of.backups().map(|(database, backup)| (database, "a backup", &backup.instance, of.backed_up(backup), backup.consistency));
    for (database, what, instance, promise, wanted) in exports.chain(backups).filter(|(.., promise, wanted)| promise != wanted) {
        text.push_str(&format!(
            "  Nothing fixes when {instance} begins {what}, so {} is `{}`, not `{}`\n",
            database.what(),
            promise.word(),
            wanted.word()
        ));
    }
    for (server, connections) in of.held_connections().into_iter().filter(|(_, connections)| *connections > 1) {
        text.push_str(&format!(
            "  {connections} connections to `{server}` are held until its dumps are read, and one more reads each\n"
        ));
    }
    for (database, dump) in of.unquiet() {
        let why = match of.stillness {
            Stillness::Velero => "Velero runs hooks of one pod after the other and tells nobody when",
            Stillness::Hooks | Stillness::Nobody => "No pod asks for hooks around the snapshots",
        };
        text.push_str(&format!("  {why}, so nothing makes {} `{}`: it is `aligned`\n", database.what(), dump.consistency.word()));
    }
    text
}

fn database_text(of: PointDatabases<'_>, database: &DatabasePlan) -> String {
    match &database.fate {
        DatabaseFate::Dump(dump) => {
            let when = match (dump.hold_time(), of.stillness) {
                (HoldTime::BeforeSnapshots, Stillness::Velero) => "as it is just before Velero is asked",
                (HoldTime::BeforeSnapshots, _) => "as it is just before the snapshots",
                (HoldTime::BehindSnapshots, _) => "as it is just behind the snapshots",
                (HoldTime::Whenever, _) => "as it is behind the snapshots",
            };
            format!("  {}: dump into {}, {when} ({})\n", capital(&database.what()), dump.key, of.dumped(dump).word())
        }
        DatabaseFate::Export(export) => format!(
            "  {}: export of `{}` by {} into {}, as it is behind the snapshots when its turn comes ({})\n",
            capital(&database.what()),
            export.database,
            export.instance,
            export.key,
            of.exported(export).word()
        ),
        DatabaseFate::Log(log) => format!(
            "  {}: the log of {}, at the instant {} ({})\n",
            capital(&database.what()),
            log.instance,
            log.instant_text(of.volumes),
            log.promise().word()
        ),
        DatabaseFate::Backup(backup) => format!(
            "  {}: a backup of all of {}, which Cloud SQL keeps, as it is behind the snapshots when its turn comes ({})\n",
            capital(&database.what()),
            backup.instance,
            of.backed_up(backup).word()
        ),
        DatabaseFate::LeftOut(reason) => format!("  {} is left out: {reason}\n", capital(&database.what())),
        DatabaseFate::Unprotected(_) => String::new(),
    }
}

fn capital(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map(|first| first.to_uppercase().chain(characters).collect()).unwrap_or_default()
}

fn database_json(of: PointDatabases<'_>, database: &DatabasePlan) -> Value {
    let captured = |key: &str, consistency: Consistency, references: References, timeout: SignedDuration| {
        (Some(key.to_owned()), Some(consistency.word()), Some(references.word()), Some(timeout.as_secs()))
    };
    let nothing = (None, None, None, None);
    let (what, (key, consistency, references, timeout), reason) = match &database.fate {
        DatabaseFate::Dump(dump) => ("dump", captured(&dump.key, of.dumped(dump), dump.references, dump.timeout), None),
        DatabaseFate::Export(export) => {
            ("export", captured(&export.key, of.exported(export), export.references, export.timeout), None)
        }
        DatabaseFate::Log(log) => {
            let consistency = (None, Some(log.promise().word()), Some(log.references.word()), None);
            ("point-in-time", consistency, None)
        }
        DatabaseFate::Backup(backup) => {
            let timeout = Some(backup.timeout.as_secs());
            ("backup", (None, Some(of.backed_up(backup).word()), Some(backup.references.word()), timeout), None)
        }
        DatabaseFate::LeftOut(reason) => ("left-out", nothing, Some(reason)),
        DatabaseFate::Unprotected(reason) => ("unprotected", nothing, Some(reason)),
    };
    json!({
        "name": database.unit.name,
        "database": database.unit.database,
        "what": what,
        "key": key,
        "consistency": consistency,
        "references": references,
        "timeoutSeconds": timeout,
        "reason": reason,
    })
}

fn databases_json(of: PointDatabases<'_>) -> Vec<Value> {
    of.plans.iter().map(|database| database_json(of, database)).collect()
}

fn hook_text(hook: &HookPlan) -> String {
    let failing = match (hook.fatal, hook.when) {
        (true, HookTime::Before) => "costs the point the pod's volumes",
        (true, HookTime::After) => "makes the point partial",
        (false, _) => "is told, and it goes on",
    };
    format!(
        "  A {}, container {}: `{}`, for {} s at most; a failure {failing}\n",
        hook.what(),
        hook.container,
        hook.command.join(" "),
        hook.timeout.as_secs()
    )
}

fn hook_json(hook: &HookPlan) -> Value {
    json!({
        "namespace": hook.namespace, "pod": hook.pod, "container": hook.container, "when": hook.when.word(),
        "command": hook.command, "timeoutSeconds": hook.timeout.as_secs(), "fatal": hook.fatal, "claims": hook.claims,
    })
}

fn volume_json(volume: &VolumePlan) -> Value {
    let (what, snapshot, reason) = match &volume.fate {
        VolumeFate::Snapshot(snapshot) => ("snapshot", Some(snapshot), snapshot.why.as_str()),
        VolumeFate::LeftOut(reason) => ("left-out", None, reason.as_str()),
        VolumeFate::Unprotected(reason) => ("unprotected", None, reason.as_str()),
    };
    json!({
        "namespace": volume.namespace,
        "claim": volume.claim,
        "volume": volume.volume,
        "what": what,
        "driver": snapshot.map(|snapshot| &snapshot.driver),
        "class": snapshot.map(|snapshot| &snapshot.class),
        "group": snapshot.and_then(|snapshot| snapshot.group.as_ref()).map(|group| &group.label),
        "reason": reason,
    })
}

/// The Secrets that go into the archive as plain as the API has them, each by its name, and what is known of the store's encryption:
/// the KMS key that its manifest names.
pub fn secrets_text(names: Option<&[String]>, kms_key: Option<&str>) -> String {
    let Some(names) = names else {
        return "  Secrets cannot be listed, so which of them go into the archive in plain is not known.".to_owned();
    };
    if names.is_empty() {
        return "  No Secret goes into the archive in plain.".to_owned();
    }
    let store = match kms_key {
        Some(key) => format!("the store encrypts them with KMS key {key}"),
        None => "the store's manifest names no KMS key: unless the bucket or the disk is encrypted, they lie there in plain"
            .to_owned(),
    };
    format!("  {} in plain in the archive: {}; {store}", counted(names.len(), "Secret"), names.join(", "))
}

/// The same as JSON: `null` where nobody knows; `encryption` is `null` where the store's manifest says nothing of it.
pub fn secrets_json(names: Option<&[String]>, kms_key: Option<&str>) -> Value {
    match names {
        Some(names) => json!({"names": names, "encryption": kms_key.map(|key| json!({"kmsKey": key}))}),
        None => Value::Null,
    }
}

fn secrets(rule: SecretsRule) -> &'static str {
    match rule {
        SecretsRule::All => {
            "all of them are in the archive as they are in the API; whether the store encrypts them is its own matter"
        }
        SecretsRule::LeaveOutSealed => {
            "those that a SealedSecret recreates are left out; the others are in the archive as they are in the API"
        }
    }
}

/// The same as `dxdr.io/backup-plan/v1`.
pub fn json(plan: &BackupPlan) -> Value {
    json!({
        "format": "dxdr.io/backup-plan/v1",
        "point": plan.point,
        "run": plan.run,
        "environment": plan.environment.as_str(),
        "namespaces": plan.namespaces,
        "expires": plan.expires.map(|at| at.to_string()),
        "secretsLeftOut": plan.secrets == SecretsRule::LeaveOutSealed,
        "lists": plan.lists.iter().map(|task| json!({"kind": task.kind.group_resource(), "version": task.kind.version, "namespace": task.namespace})).collect::<Vec<_>>(),
        "volumes": plan.volumes.iter().map(volume_json).collect::<Vec<_>>(),
        "databases": databases_json(plan.point_databases()),
        "hooks": plan.hooks.iter().map(hook_json).collect::<Vec<_>>(),
        "leftOut": plan.left_out_kinds.iter().map(|kind| json!({"kind": kind.kind.group_resource(), "reason": kind.reason.to_string()})).collect::<Vec<_>>(),
        "unresolved": plan.unresolved,
        "gaps": plan.gaps.iter().map(|gap| json!({"what": gap.what, "reason": gap.reason})).collect::<Vec<_>>(),
        "keys": plan.keys,
        "steps": plan.steps.all().iter().map(|step| json!({"id": step.id, "title": step.title, "reason": step.reason})).collect::<Vec<_>>(),
    })
}

/// What Velero will be asked for, for people.
pub fn velero_text(plan: &VeleroBackupPlan, store: &str) -> String {
    let mut text = format!(
        "Recovery point {} of {} ({}) by Velero, through its location `{}`, into {store}\n",
        plan.point,
        plan.environment,
        plan.namespaces.join(", "),
        plan.location
    );
    for (number, step) in plan.steps.all().iter().enumerate() {
        text.push_str(&format!("  {}. {}: {}\n", number + 1, step.title, step.reason));
    }
    text.push_str("  Secrets: all of them are in the archive as they are in the API; Velero cannot leave out what a SealedSecret recreates\n");
    text.push_str(&databases_text(plan.point_databases()));
    for gap in plan.databases.iter().filter_map(DatabasePlan::gap) {
        text.push_str(&format!("  It will lack {}: {}\n", gap.what, gap.reason));
    }
    text
}

/// The same as `dxdr.io/velero-backup-plan/v1`.
pub fn velero_json(plan: &VeleroBackupPlan) -> Value {
    json!({
        "format": "dxdr.io/velero-backup-plan/v1",
        "point": plan.point,
        "run": plan.run,
        "environment": plan.environment.as_str(),
        "namespaces": plan.namespaces,
        "policy": plan.policy,
        "location": plan.location,
        "backup": plan.object.value,
        "databases": databases_json(plan.point_databases()),
        "steps": plan.steps.all().iter().map(|step| json!({"id": step.id, "title": step.title, "reason": step.reason})).collect::<Vec<_>>(),
    })
}
