//! The items of a Secret, added to a SealedSecret in a file.

use std::path::Path;

use dxdr_api::yaml::edit::Edit;
use dxdr_sealing::manifest::SealRequest;

use super::{
    Manifests,
    documents::Input,
    manifests, refused,
    set::{Target, edited},
};
use crate::{app::Global, failure::Failure, terminal::Terminal};

pub(super) async fn run(file: &Path, manifests: &Manifests, global: &Global, terminal: &Terminal) -> Result<(), Failure> {
    let input = Input::read(manifests.secret_file.as_deref(), terminal)?;
    let mut secrets = manifests::secrets(&input)?;
    let (place, secret) = match (secrets.pop(), secrets.len()) {
        (Some(secret), 0) => secret,
        _ => {
            return Err(refused(format!("{} has more than one Secret, and they would be merged into one", input.name))
                .hint("merge them one after the other"));
        }
    };
    let target_text = Input::read(Some(file), terminal)?;
    let asked = &manifests.identity;
    let name = asked.name.as_deref().or(secret.name());
    let target = Target::find(&target_text, name, asked.namespace.as_deref(), global)?;
    let identity = target.sealed.identity.clone();
    if let Some(scope) = asked.scope.filter(|scope| *scope != identity.scope) {
        return Err(refused(format!("{} is {}, and {scope} was asked for", file.display(), identity.scope))
            .hint("its items must be of one scope: leave `--scope` out, or seal the whole Secret anew"));
    }
    // The ciphertexts must open where they are going to stand: its scope, namespace and name are the file's.
    let request = SealRequest {
        name: Some(identity.name.clone()),
        namespace: Some(identity.namespace.clone()).filter(|namespace| !namespace.is_empty()),
        scope: Some(identity.scope),
        default_namespace: None,
        allow_empty: manifests.allow_empty_data,
    };
    let certificate = manifests.certificate.get(global, terminal).await?;
    if secret.has_more_than_items() {
        terminal.warn(&format!(
            "{place}: labels, annotations and type are not merged; the template of {} stays as it is",
            file.display()
        ));
    }
    let sealed = secret
        .seal(&request, &certificate)
        .map_err(|problem| refused(format!("{place}: {problem}")).hint("nothing was written"))?;
    let edits: Vec<Edit> = sealed
        .items
        .iter()
        .map(|(name, text)| Edit { document: target.document, path: target.sealed.item_path(name), text: text.clone() })
        .collect();
    let text = edited(&target_text, &edits)?;
    target_text.replace(file, &text)?;
    terminal.note(&format!("{}: {} of {identity} sealed.", file.display(), dxdr_report::quantity::counted(edits.len(), "item")));
    Ok(())
}
