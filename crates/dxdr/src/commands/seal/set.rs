//! One item of a SealedSecret in a file.

use std::path::PathBuf;

use dxdr_api::yaml::edit::{self, Edit, Uneditable};
use dxdr_sealing::{Plaintext, SealedObject, manifest::is_item_name};

use super::{
    certificate::{CertificateChoice, namespace_of_context},
    documents::{self, Input},
    prompt, refused,
};
use crate::{
    app::Global,
    failure::{Failure, Kind},
    terminal::Terminal,
};

#[derive(Debug, clap::Args)]
pub(super) struct Set {
    /// File with the SealedSecret.
    file: PathBuf,
    /// The item.
    item: String,
    #[command(flatten)]
    certificate: CertificateChoice,
    /// Which SealedSecret, where the file has more than one.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// The namespace that it is for, where neither it nor its template says; or which one, where the file has several of that name.
    #[arg(long, short = 'n', value_name = "NAME")]
    namespace: Option<String>,
    /// File that holds the value, taken as it is [default: asked for, or standard input].
    #[arg(long, value_name = "FILE")]
    from_file: Option<PathBuf>,
    /// Write nothing.
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn run(set: &Set, global: &Global, terminal: &Terminal) -> Result<(), Failure> {
    if !is_item_name(&set.item) {
        return Err(Failure::new(Kind::Usage, format!("`{}` is no name of an item", set.item))
            .hint("expected letters, digits, `-`, `_` and `.`, at most 253 of them"));
    }
    let input = Input::read(Some(&set.file), terminal)?;
    let target = Target::find(&input, set.name.as_deref(), set.namespace.as_deref(), global)?;
    let value = match &set.from_file {
        Some(file) => Plaintext::new(std::mem::take(&mut *documents::read_file(file)?)),
        None => prompt::value(&set.item, terminal)?,
    };
    if value.expose().is_empty() && set.from_file.is_none() {
        return Err(Failure::new(Kind::Refused, "the value is empty")
            .hint("whatever should have written it may have failed; an empty value that is meant comes from an empty file: `--from-file /dev/null`"));
    }
    let certificate = set.certificate.get(global, terminal).await?;
    let sealed = certificate
        .seal(&target.sealed.identity.label(), value.expose())
        .map_err(|error| Failure::from_error(Kind::Failed, error))?;
    let known = target.sealed.items.iter().any(|item| item.name == set.item);
    let edit = Edit { document: target.document, path: target.sealed.item_path(&set.item), text: sealed.to_base64() };
    let text = edited(&input, &[edit])?;
    if !set.dry_run {
        input.replace(&set.file, &text)?;
    }
    let done = match (known, set.dry_run) {
        (true, false) => "sealed anew",
        (false, false) => "added",
        (true, true) => "would be sealed anew",
        (false, true) => "would be added",
    };
    terminal.note(&format!("{}: {} of {} {done}.", set.file.display(), set.item, target.sealed.identity));
    Ok(())
}

/// The SealedSecret that is changed.
pub(super) struct Target {
    /// Which document of the file.
    pub(super) document: usize,
    pub(super) sealed: SealedObject,
}

impl Target {
    /// The only one of the input; or the only one that is called so.
    pub(super) fn find(input: &Input, name: Option<&str>, namespace: Option<&str>, global: &Global) -> Result<Self, Failure> {
        let documents = input.documents()?;
        let all = documents.iter().enumerate().flat_map(|(document, content)| {
            SealedObject::all_in(content.value(), None).into_iter().map(move |sealed| Self { document, sealed })
        });
        let is_meant = |target: &Self| {
            let identity = &target.sealed.identity;
            name.is_none_or(|name| identity.name == name)
                && namespace.is_none_or(|namespace| identity.namespace.is_empty() || identity.namespace == namespace)
        };
        let mut meant: Vec<Self> = all.filter(is_meant).collect();
        let Some(mut target) = meant.pop() else {
            let called = name.map(|name| format!(" called {name}")).unwrap_or_default();
            return Err(refused(format!("there is no SealedSecret{called} in {}", input.name))
                .hint("`kubectl create secret … --dry-run=client -o yaml | dxdr seal` makes one"));
        };
        if let Some(other) = meant.last() {
            return Err(Failure::new(Kind::Usage, format!("{} has more than one SealedSecret", input.name))
                .hint(format!("choose with --name and --namespace: {}, {}", other.sealed.identity, target.sealed.identity)));
        }
        if target.sealed.is_whole() {
            return Err(refused(format!(
                "{} has the deprecated spec.data, beside which there can be no item",
                target.sealed.identity
            ))
            .hint("`dxdr seal --recovery-unseal` and then `dxdr seal` bring it into today's form"));
        }
        let identity = &mut target.sealed.identity;
        if identity.namespace.is_empty() && identity.scope != dxdr_environment::Scope::ClusterWide {
            let context = if namespace.is_none() { namespace_of_context(global)? } else { None };
            identity.namespace = namespace.map(str::to_owned).or(context).ok_or_else(|| {
                refused(format!("{} does not say its namespace, to which its ciphertexts are bound", input.name))
                    .hint("name it with `--namespace NAME`, or write metadata.namespace into the file")
            })?;
        }
        if identity.name.is_empty() && identity.scope == dxdr_environment::Scope::Strict {
            return Err(refused(format!("the SealedSecret in {} has no metadata.name", input.name))
                .hint("strict ciphertexts are bound to it: write it into the file"));
        }
        Ok(target)
    }
}

/// The input with edits.
pub(super) fn edited(input: &Input, edits: &[Edit]) -> Result<String, Failure> {
    edit::set(&input.source(), edits)
        .map_err(|problem| match problem {
            Uneditable::Unreadable(problems) => refused(problems),
            Uneditable::Shared { .. } => {
                refused(format!("{}: {problem}", input.name)).hint("write the text out where the alias stands, and try again")
            }
            other => refused(format!("{}: {other}", input.name)),
        })
        .map_err(|failure| failure.hint("the file was left as it is"))
}
