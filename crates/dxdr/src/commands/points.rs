//! `dxdr points`

use dxdr_provider::{Clock, clock::SystemClock};
use dxdr_report::points::{self, Points as Page};
use dxdr_run::catalog;

use crate::{
    app::Global,
    configuration::World,
    failure::{Failure, Kind},
    terminal::Terminal,
};

/// List recovery points, newest first.
///
/// Velero's own backups in the same store are listed too: they can be restored, and are shown as having no manifest of dxdr's.
/// A point is damaged when one of its objects is missing, or does not have the size that was written.
/// A point is complete when everything it should hold is in it, and partial when something could not be captured; that is named.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  dxdr points\n  dxdr points staging --output json\n  dxdr points staging --reindex")]
pub(crate) struct Points {
    /// Only those of this environment.
    environment: Option<String>,
    /// Write the index of points anew from their manifests, after the store was copied from elsewhere.
    #[arg(long)]
    reindex: bool,
}

/// Lists the points.
pub(crate) async fn run(command: Points, global: &Global, terminal: &Terminal) -> Result<(), Failure> {
    let world = World::load(global)?;
    let environment = command.environment.as_deref().map(|name| world.environment(Some(name))).transpose()?;
    let store = world.store(environment).await?;
    let only = environment.map(|environment| (environment.name.as_str(), environment.namespace.as_str()));
    let found = catalog::all(&store, only).await?;
    if command.reindex {
        let mut written = 0;
        for entry in &found.entries {
            if let dxdr_catalog::Entry::Ours(point) = entry {
                catalog::index(&store, point).await?;
                written += 1;
            }
        }
        terminal.note(&format!("index written: {}", dxdr_report::quantity::counted(written, "point")));
    }
    let described = store.storage.describe();
    let page = Page {
        entries: &found.entries,
        unreadable: &found.unreadable,
        damaged: &found.damaged,
        leftovers: &found.leftovers,
        store: &described,
    };
    terminal.value(&points::json(&page), || points::text(&page, SystemClock.now()));
    if let [(name, reason), others @ ..] = found.damaged.as_slice() {
        let others = if others.is_empty() { String::new() } else { format!(", and {} more", others.len()) };
        return Err(Failure::new(Kind::Partial, format!("recovery point {name} is damaged: {reason}{others}"))
            .hint("bring the objects back if the store keeps versions; without its archive a point cannot be restored")
            .hint("find out who removes or changes objects there: dxdr writes each of them once"));
    }
    if found.unreadable.is_empty() { Ok(()) } else { Err(super::runs::unreadable_failure("manifest", &found.unreadable)) }
}
