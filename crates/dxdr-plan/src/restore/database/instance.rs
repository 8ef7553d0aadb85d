//! Databases that a service has on an instance: the route, and what is to be said of it.

use dxdr_catalog::{DatabaseComponent, RecoveryPoint, StoredObject};
use dxdr_environment::{DatabaseFacts, DatabaseLocation, DatabaseUnit, Environment, InstanceName};
use dxdr_policy::Consistency;
use jiff::Timestamp;

use super::{DatabaseOrder, DatabaseRestore, DatabaseRestores, left_out, logged, restore};
use crate::{
    instance::{InstanceUse, TIME_TO_LIVE, label},
    restore::{
        choice::{self, Captured, Circumstances, Considered, RouteKind, Verdict, Window},
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
    if let (Some(export), None, None) = (export, &log, &unit.database) {
        let reason =
            format!("it was exported to {}, and the model names no database that it could be imported as", export.location);
        planned.notes.push(left_out(export, &reason, &import_by_hand(unit, &export.location)));
        return;
    }
    let captured = |component: &DatabaseComponent| Captured {
        instant: component.instant,
        consistency: component.consistency.as_deref().and_then(Consistency::of_word).unwrap_or(Consistency::Independent),
    };
    let neighbours: Vec<String> = log.iter().flat_map(|(_, instance)| neighbours(instance, environment, order.uses)).collect();
    let circumstances = Circumstances {
        export: export.map(captured),
        log: log.as_ref().map(|(component, _)| captured(component)),
        window: log.as_ref().and_then(|(component, instance)| window(component, instance, order)),
        neighbours: &neighbours,
        named: unit.database.is_some(),
        in_place: order.in_place,
        no_exports: order.no_exports,
    };
    let considered = choice::choose(&circumstances);
    let taken = considered.iter().find(|route| matches!(route.verdict, Verdict::Taken(_))).map(|route| route.kind);
    let clone = || {
        let (component, source) = log.clone()?;
        let destination = label::clone_name(environment.name.as_str(), &source.instance, order.now);
        let expires = order.now.checked_add(TIME_TO_LIVE).unwrap_or(Timestamp::MAX);
        Some((component, CloneRoute { source, destination, at: component.instant, expires }))
    };
    let route = match taken {
        Some(RouteKind::Import) => export.map(|component| {
            let key = exported(point, component).map(|object| object.key.clone());
            (component, Route::Import { uri: component.location.clone(), key })
        }),
        Some(RouteKind::Clone) => clone().map(|(component, clone)| (component, Route::Clone(clone))),
        Some(RouteKind::CloneAndImport) => {
            clone().map(|(component, clone)| (component, Route::CloneAndImport { clone, database: called_then(component, unit) }))
        }
        None => None,
    };
    let Some((component, route)) = route else {
        planned.notes.push(impossible(unit, &considered));
        return;
    };
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
    let then = component.log.as_ref().and_then(|log| log.database.clone());
    then.or_else(|| unit.database.clone()).unwrap_or_default()
}

/// Other environments on an instance, by the model.
fn neighbours(instance: &InstanceName, environment: &Environment, uses: &[InstanceUse]) -> Vec<String> {
    let used = uses.iter().filter(|used| used.instance == *instance);
    used.flat_map(|used| used.neighbours(&environment.name)).map(ToString::to_string).collect()
}

/// From when to when the instance can be cloned: as it says now, or as the point says that it would be by now.
fn window(component: &DatabaseComponent, instance: &InstanceName, order: DatabaseOrder<'_>) -> Option<Window> {
    if let Some(window) = order.windows.get(instance) {
        return *window;
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
