//! Whole Secrets, as kubeseal seals them.

use dxdr_api::yaml;
use dxdr_environment::FieldPath;
use dxdr_sealing::{SealedSecret, SecretManifest, manifest::SealRequest, sealed::objects};

use super::{
    Manifests,
    certificate::namespace_of_context,
    documents::{self, Format, Input},
    parallel, refused,
};
use crate::{app::Global, failure::Failure, terminal::Terminal};

pub(super) async fn run(manifests: &Manifests, global: &Global, terminal: &Terminal) -> Result<(), Failure> {
    // What is wrong with the input is said before anybody is asked for a certificate.
    let input = Input::read(manifests.secret_file.as_deref(), terminal)?;
    let secrets = secrets(&input)?;
    let certificate = manifests.certificate.get(global, terminal).await?;
    let request = request(manifests, global)?;
    let answers =
        tokio::task::block_in_place(|| parallel::in_order(&secrets, &|(_, secret)| secret.seal(&request, &certificate)));
    let mut sealed = Vec::with_capacity(secrets.len());
    let mut problems = Vec::new();
    for ((place, secret), answer) in secrets.iter().zip(answers) {
        for warning in secret.warnings() {
            terminal.warn(&format!("{place}: {warning}"));
        }
        match answer {
            Ok(secret) => sealed.push(secret),
            Err(problem) => problems.push(format!("{place}: {problem}")),
        }
    }
    if !problems.is_empty() {
        return Err(not_sealed(problems));
    }
    let file = manifests.sealed_secret_file.as_deref();
    let format = Format::asked(manifests.format, terminal.output, file).unwrap_or_else(|| input.format());
    let text = written(&sealed, format);
    match file {
        Some(file) => documents::write(file, &text),
        None => {
            terminal.data(&text);
            Ok(())
        }
    }
}

/// Every Secret of the input, and where it begins; all of them can be read.
pub(super) fn secrets(input: &Input) -> Result<Vec<(String, SecretManifest)>, Failure> {
    let mut secrets = Vec::new();
    let mut problems = Vec::new();
    for document in input.documents()? {
        for (path, object) in objects(document.value()) {
            match SecretManifest::read(object) {
                Ok(secret) => secrets.push((input.place(&document, &path), secret)),
                Err(problem) => {
                    let within = FieldPath(path.0.iter().chain(&problem.path().0).cloned().collect());
                    problems.push(format!("{}: {problem}", input.place(&document, &within)));
                }
            }
        }
    }
    if !problems.is_empty() {
        return Err(not_sealed(problems));
    }
    if secrets.is_empty() {
        return Err(not_sealed(vec![format!("there is no Secret in {}: its lists are empty", input.name)]));
    }
    Ok(secrets)
}

fn not_sealed(problems: Vec<String>) -> Failure {
    refused(problems.join("\n")).hint("nothing was written")
}

/// What was asked for on the command line.
pub(super) fn request(manifests: &Manifests, global: &Global) -> Result<SealRequest, Failure> {
    let identity = &manifests.identity;
    Ok(SealRequest {
        name: identity.name.clone(),
        namespace: identity.namespace.clone(),
        default_namespace: if identity.namespace.is_none() { namespace_of_context(global)? } else { None },
        scope: identity.scope,
        allow_empty: manifests.allow_empty_data,
    })
}

fn written(sealed: &[SealedSecret], format: Format) -> String {
    match format {
        Format::Json => sealed.iter().map(|secret| secret.to_json() + "\n").collect(),
        Format::Yaml => sealed.iter().map(|secret| format!("---\n{}", yaml::write(&secret.to_value()))).collect(),
    }
}
