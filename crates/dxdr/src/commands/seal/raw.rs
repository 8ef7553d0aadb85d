//! One value.

use std::path::PathBuf;

use dxdr_environment::{Scope, SealedIdentity};

use super::{
    Identity,
    certificate::{CertificateChoice, namespace_of_context},
    documents,
};
use crate::{
    app::Global,
    failure::{Failure, Kind},
    terminal::Terminal,
};

#[derive(Debug, clap::Args)]
pub(super) struct Raw {
    #[command(flatten)]
    pub(super) certificate: CertificateChoice,
    #[command(flatten)]
    pub(super) identity: Identity,
    /// The file that holds the value [default: standard input].
    #[arg(long, value_name = "FILE")]
    pub(super) from_file: Option<PathBuf>,
    /// Where the ciphertext goes, in one step [default: standard output].
    #[arg(long, short = 'w', value_name = "FILE", env = "SEALED_SECRETS_SEALED_SECRET_FILE", hide_env = true)]
    pub(super) sealed_secret_file: Option<PathBuf>,
}

pub(super) async fn run(raw: &Raw, global: &Global, terminal: &Terminal) -> Result<(), Failure> {
    let identity = identity(&raw.identity, global)?;
    let value = match &raw.from_file {
        Some(file) => documents::read_file(file)?,
        None => documents::read_standard_input("the value", terminal)?,
    };
    if raw.from_file.is_none() && value.ends_with(b"\n") {
        terminal.warn("the value ends in a newline, which is sealed with it; `printf %s` writes none, `echo` does");
    }
    let certificate = raw.certificate.get(global, terminal).await?;
    let sealed = certificate.seal(&identity.label(), &value).map_err(|error| Failure::from_error(Kind::Failed, error))?;
    match &raw.sealed_secret_file {
        Some(file) => documents::write(file, &sealed.to_base64()),
        None => {
            terminal.exactly(&[&sealed.to_base64()]);
            Ok(())
        }
    }
}

fn identity(asked: &Identity, global: &Global) -> Result<SealedIdentity, Failure> {
    let scope = asked.scope.unwrap_or_default();
    let namespace = match (&asked.namespace, scope) {
        (Some(namespace), _) => namespace.clone(),
        (None, Scope::ClusterWide) => String::new(),
        (None, _) => namespace_of_context(global)?.ok_or_else(|| {
            Failure::new(Kind::Usage, format!("ciphertexts of scope {scope} are bound to a namespace, and none is named"))
                .hint("name it with `--namespace NAME`")
        })?,
    };
    let name = match (&asked.name, scope) {
        (Some(name), _) => name.clone(),
        (None, Scope::Strict) => {
            return Err(Failure::new(Kind::Usage, "strict ciphertexts are bound to the name of their Secret, and none is given")
                .hint("give it with `--name NAME`, or seal for the whole namespace with `--scope namespace-wide`"));
        }
        (None, _) => String::new(),
    };
    Ok(SealedIdentity { namespace, name, scope })
}
