//! Asking the controller whether it can open something.

use bytes::Bytes;
use dxdr_provider::ClusterErrorKind;
use dxdr_sealing::sealed::{is_sealed_secret, objects};

use super::{
    Manifests,
    certificate::{cluster, namespace_of_context},
    documents::Input,
    refused,
};
use crate::{
    app::Global,
    failure::{Failure, Kind},
    terminal::Terminal,
};

pub(super) async fn run(manifests: &Manifests, global: &Global, terminal: &Terminal) -> Result<(), Failure> {
    let input = Input::read(manifests.secret_file.as_deref(), terminal)?;
    let asked = manifests.identity.namespace.as_deref();
    let of_context = if asked.is_none() { namespace_of_context(global)? } else { None };
    let documents = input.documents()?;
    let mut sealed = Vec::new();
    for document in &documents {
        for (path, object) in objects(document.value()) {
            let place = input.place(document, &path);
            if !is_sealed_secret(object) {
                let kind = object["kind"].as_str().unwrap_or("document without a kind");
                return Err(refused(format!("{place}: it is a {kind}, and only SealedSecrets can be validated"))
                    .hint("`dxdr check` is for dxdr's own manifests"));
            }
            let said = object["metadata"]["namespace"].as_str().filter(|said| !said.is_empty());
            if let (Some(said), Some(asked)) = (said, asked)
                && said != asked
            {
                return Err(refused(format!("{place}: its metadata.namespace is {said}, and {asked} was asked for"))
                    .hint("leave `--namespace` out, or name its own"));
            }
            // Without one, the controller would look at it as if it were in none.
            let mut object = object.clone();
            if let (None, Some(namespace)) = (said, asked.or(of_context.as_deref())) {
                object["metadata"]["namespace"] = namespace.into();
            }
            sealed.push((place, Bytes::from(object.to_string())));
        }
    }
    let cluster = cluster(global).await?;
    let controller = &manifests.certificate.controller;
    let service = controller.service(&cluster).await?;
    let mut refusals = Vec::new();
    for (place, body) in sealed {
        // Two a second are answered, and a burst of two: the client waits where it is told to.
        match service.post("/v1/verify", body).await {
            Ok(_) => {}
            Err(error) if matches!(error.kind, ClusterErrorKind::Conflict | ClusterErrorKind::AlreadyExists) => {
                refusals.push(format!("{place}: the controller cannot open it"));
            }
            Err(error) => return Err(controller.unanswered(error)),
        }
    }
    if refusals.is_empty() {
        return Ok(());
    }
    Err(Failure::new(Kind::Refused, refusals.join("\n"))
        .hint("it was sealed for another cluster, name, namespace or scope, or changed since; `dxdr seal verify` says which key opens what"))
}
