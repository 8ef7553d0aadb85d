//! Databases that a service has on an instance: the route, and what is to be said of it.

use dxdr_catalog::{DatabaseComponent, RecoveryPoint, StoredObject};
use dxdr_environment::{DatabaseFacts, DatabaseLocation, DatabaseUnit, Environment, InstanceName};
use dxdr_policy::Consistency;
use jiff::{SignedDuration, Timestamp};

use super::{DatabaseOrder, DatabaseRestore, DatabaseRestores, left_out, logged, restore};
use crate::{
    instance::{InstanceUse, TIME_TO_LIVE, label},
    restore::{
        choice::{self, BackedUp, Captured, Circumstances, Considered, RouteKind, Verdict, Window},
        recovery::Recovery,
        route::{CloneRoute, Route},
    },
    review::{Note, Severity},
};

/// Plans bringing a database back that a service has: by the best of the routes that there are.
pub(super) fn plan(
    point: &RecoveryPoint,
    components: &[&DatabaseComponent],
    unit: &DatabaseUnit,
    environment: &Environment,
    order: DatabaseOrder<'_>,
    planned: &mut DatabaseRestores,
) {
    let of = |method: &str| components.iter().copied().find(|component| component.method == method);
    let export = of(DatabaseComponent::EXPORT);
    let log = of(DatabaseComponent::POINT_IN_TIME).and_then(|component| Some((component, logged(component)?)));
    let backup =
        of(DatabaseComponent::BACKUP).and_then(|component| Some((component, component.backup.as_ref()?.instance.clone())));
    // What the whole instance comes back by, and the instance.
    let whole = log.clone().or_else(|| backup.clone());
    if let (Some(export), None, None) = (export, &whole, &unit.database) {
        let reason =
            format!("it was exported to {}, and the model names no database that it could be imported as", export.location);
        planned.notes.push(left_out(export, &reason, &import_by_hand(unit, &export.location)));
        return;
    }
    let captured = |component: &DatabaseComponent| Captured { instant: component.instant, consistency: promised(component) };
    let source = whole.as_ref().map(|(_, instance)| instance);
    let neighbours: Vec<String> = source.iter().flat_map(|instance| neighbours(instance, environment, order.uses)).collect();
    let seen = source.and_then(|instance| order.recoveries.get(instance));
    let gone = seen.is_some_and(|seen| seen.gone);
    let found = found(whole.as_ref().map(|(component, _)| *component), backup.as_ref().map(|(component, _)| *component), seen);
    let circumstances = Circumstances {
        export: export.map(captured),
        log: log.as_ref().map(|(component, _)| captured(component)),
        window: log.as_ref().and_then(|(component, instance)| window(component, instance, order)),
        backup: found.as_ref().map(|(_, backed_up)| *backed_up).map_err(String::clone),
        gone,
        nowhere: gone && source == instance_of(unit).as_ref(),
        neighbours: &neighbours,
        named: unit.database.is_some(),
        in_place: order.in_place,
        no_exports: order.no_exports,
        max_skew: order.max_skew,
    };
    let considered = choice::choose(&circumstances);
    let taken = considered.iter().find(|route| matches!(route.verdict, Verdict::Taken(_))).map(|route| route.kind);
    let new_instance = |out_of_backup: bool| {
        let (component, source) = whole.clone()?;
        let (at, backup) = match (&found, out_of_backup) {
            (Ok((name, backed_up)), true) => (backed_up.instant, Some(name.clone())),
            _ => (component.instant, None),
        };
        let destination = label::clone_name(environment.name.as_str(), &source.instance, order.now);
        let expires = order.now.checked_add(TIME_TO_LIVE).unwrap_or(Timestamp::MAX);
        Some((component, CloneRoute { source, destination, at, expires, backup }))
    };
    let route = match taken {
        Some(RouteKind::Import) => export.map(|component| {
            let key = exported(point, component).map(|object| object.key.clone());
            (component, Route::Import { uri: component.location.clone(), key })
        }),
        Some(kind @ (RouteKind::Clone | RouteKind::Backup)) => {
            new_instance(kind == RouteKind::Backup).map(|(component, clone)| (component, Route::Clone(clone)))
        }
        Some(kind @ (RouteKind::CloneAndImport | RouteKind::BackupAndImport)) => new_instance(kind == RouteKind::BackupAndImport)
            .map(|(component, clone)| (component, Route::CloneAndImport { clone, database: called_then(component, unit) })),
        None => None,
    };
    let Some((component, route)) = route else {
        planned.notes.push(impossible(unit, &considered));
        return;
    };
    if let (Ok((_, backed_up @ BackedUp { consistency: None, .. })), true) =
        (&found, route.clone_route().is_some_and(|clone| clone.backup.is_some()))
    {
        planned.notes.push(of_another_instant(component, backed_up));
    }
    let mut restored = restore(point, component, unit, route, &DatabaseFacts::default(), order);
    if let Route::Clone(_) = restored.route {
        restored.database = called_then(component, unit);
    }
    if restored.route.is_beside() && restored.kept.is_none() {
        planned.notes.push(unexported(component));
    }
    planned.restores.push(DatabaseRestore { considered, ..restored });
}

/// What the database was called at the component's instant; of a point that does not say, what the model calls it.
fn called_then(component: &DatabaseComponent, unit: &DatabaseUnit) -> String {
    let logged = component.log.as_ref().and_then(|log| log.database.clone());
    let then = logged.or_else(|| component.backup.as_ref()?.database.clone());
    then.or_else(|| unit.database.clone()).unwrap_or_default()
}

fn promised(component: &DatabaseComponent) -> Consistency {
    component.consistency.as_deref().and_then(Consistency::of_word).unwrap_or(Consistency::Independent)
}

/// The instance that the model has a database on.
fn instance_of(unit: &DatabaseUnit) -> Option<InstanceName> {
    match &unit.location {
        DatabaseLocation::CloudSql { project, instance, .. } => Some(InstanceName::new(project, instance)),
        DatabaseLocation::Postgresql(_) => None,
    }
}

/// The backup that the instance may come back out of, by its name: the point's own while it is there, or else the newest that holds nothing later than what is wanted.
fn found(
    wanted: Option<&DatabaseComponent>,
    own: Option<&DatabaseComponent>,
    seen: Option<&Recovery>,
) -> Result<(String, BackedUp), String> {
    let is_there = |own: &&DatabaseComponent| {
        seen.is_none_or(|seen| seen.no_backups.is_some() || seen.backups.iter().any(|backup| backup.name == own.location))
    };
    if let Some(own) = own.filter(is_there) {
        let backed_up = BackedUp { instant: own.instant, consistency: Some(promised(own)), wanted: own.instant };
        return Ok((own.location.clone(), backed_up));
    }
    let Some(wanted) = wanted.map(|component| component.instant) else {
        return Err("the point relies neither on a backup of the instance nor on its log".to_owned());
    };
    let seen = match seen {
        None => return Err("nobody has looked which backups of the instance there are".to_owned()),
        Some(Recovery { no_backups: Some(reason), .. }) => {
            return Err(format!("nobody knows which backups of the instance there are: {reason}"));
        }
        Some(seen) => seen,
    };
    if let Some(backup) = seen.newest_by(wanted) {
        return Ok((backup.name.clone(), BackedUp { instant: backup.started, consistency: None, wanted }));
    }
    let lost = if own.is_some() { "the backup of the point is not there any more, and " } else { "" };
    Err(match seen.first() {
        None => format!("{lost}there is no backup of the instance"),
        Some(first) => format!(
            "{lost}there is no backup in which nothing is later than {wanted:.0}: the first is of {:.0}, and took until {:.0}",
            first.started, first.ended
        ),
    })
}

/// What it means that a database comes out of a backup that was made for no point.
fn of_another_instant(component: &DatabaseComponent, backup: &BackedUp) -> Note {
    let lost = SignedDuration::from_secs(backup.wanted.duration_since(backup.instant).as_secs());
    Note {
        severity: Severity::Warning,
        text: format!(
            "database {} comes back as of {:.0}, and not as of {:.0} as the rest: what was written in the last {lost:#} before is missing, and references between it and the volumes may lead nowhere",
            component.name, backup.instant, backup.wanted
        ),
        object: None,
        count: 1,
        hint: None,
    }
}

/// Other environments on an instance, by the model.
fn neighbours(instance: &InstanceName, environment: &Environment, uses: &[InstanceUse]) -> Vec<String> {
    let used = uses.iter().filter(|used| used.instance == *instance);
    used.flat_map(|used| used.neighbours(&environment.name)).map(ToString::to_string).collect()
}

/// From when to when the instance can be cloned: as it says now, or as the point says that it would be by now.
fn window(component: &DatabaseComponent, instance: &InstanceName, order: DatabaseOrder<'_>) -> Option<Window> {
    if let Some(recovery) = order.recoveries.get(instance) {
        return recovery.window;
    }
    let log = component.log.as_ref()?;
    let kept = log.until.duration_since(component.instant);
    let begins = order.now.checked_sub(kept).unwrap_or(log.earliest);
    // It went on: what the point names was written out by then, or the point itself would not be there.
    Some(Window { earliest: begins.max(log.earliest), latest: log.latest.max(component.instant) })
}

/// That there is no way back, with every route and why not.
fn impossible(unit: &DatabaseUnit, considered: &[Considered]) -> Note {
    let reasons: Vec<String> =
        considered.iter().map(|route| format!("{}: {}", route.kind.word(), route.verdict.reason())).collect();
    Note {
        severity: Severity::Fatal,
        text: format!("{unit} cannot be brought back by any route ({})", reasons.join("; ")),
        object: None,
        count: 1,
        hint: Some("restore another point, or leave the databases out: `--without-databases`".to_owned()),
    }
}

/// The object of an export, among those of its point.
fn exported<'a>(point: &'a RecoveryPoint, component: &DatabaseComponent) -> Option<&'a StoredObject> {
    point.objects.iter().find(|object| component.location.ends_with(&format!("/{}", object.key)))
}

/// What belongs to a database and is in no export.
fn unexported(component: &DatabaseComponent) -> Note {
    Note {
        severity: Severity::Warning,
        text: format!(
            "database {} comes back beside as `cloudsqlsuperuser`'s, with the rights and settings of every new one: no export has its own",
            component.name
        ),
        object: None,
        count: 1,
        hint: Some(
            "`\\l` and `\\drds` in psql show those of the original; give them to the new one where applications need them"
                .to_owned(),
        ),
    }
}

/// What a person does with an export. An import does not replace what is there: it fails.
pub(super) fn import_by_hand(unit: &DatabaseUnit, url: &str) -> String {
    match &unit.location {
        DatabaseLocation::CloudSql { project, instance, .. } => format!(
            "import it by hand into an empty database: `gcloud sql databases create NAME --instance {instance} --project {project}`, then `gcloud sql import sql {instance} {url} --database NAME --project {project}`"
        ),
        DatabaseLocation::Postgresql(_) => "load it by hand: it is SQL text, compressed by gzip".to_owned(),
    }
}
