//! Which certificate is sealed with, and where it comes from.

use std::{
    fs,
    path::{Path, PathBuf},
    str::FromStr as _,
};

use dxdr_kubernetes::{KubernetesCluster, context_namespace, plain_server};
use dxdr_provider::{Clock as _, clock::SystemClock};
use dxdr_sealing::SealingCertificate;
use http::Uri;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::documents;
use crate::{
    app::Global,
    configuration::{file, world},
    failure::{Failure, Kind},
    terminal::Terminal,
};

/// Where a project keeps the certificate of its cluster.
const PINNED: &str = "sealing-certificate.pem";

/// How long before its end people are told that a certificate ends.
pub(super) const SOON: SignedDuration = SignedDuration::from_hours(30 * 24);

/// Which certificate.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct CertificateChoice {
    /// Certificate to seal with: a file, or an http(s) or file URL [default: the pinned one here or in a folder above, then the cluster's].
    #[arg(long, value_name = "FILE|URL", env = "SEALED_SECRETS_CERT", hide_env = true)]
    pub(super) cert: Option<String>,
    #[command(flatten)]
    pub(super) controller: Controller,
}

/// Which controller.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Controller {
    /// Service of the controller [Helm's is called sealed-secrets].
    #[arg(
        long,
        value_name = "NAME",
        env = "SEALED_SECRETS_CONTROLLER_NAME",
        hide_env = true,
        default_value = "sealed-secrets-controller"
    )]
    pub(super) controller_name: String,
    /// Namespace of the controller.
    #[arg(
        long,
        value_name = "NAME",
        env = "SEALED_SECRETS_CONTROLLER_NAMESPACE",
        hide_env = true,
        default_value = "kube-system"
    )]
    pub(super) controller_namespace: String,
}

/// `dxdr seal certificate`
#[derive(Debug, clap::Args)]
pub(super) struct Pin {
    #[command(flatten)]
    certificate: CertificateChoice,
    /// Where to keep it [default: .dxdr/sealing-certificate.pem, in the folder that has a .dxdr].
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Take the place of another key's certificate.
    #[arg(long)]
    replace: bool,
    /// Write nothing.
    #[arg(long)]
    dry_run: bool,
}

impl CertificateChoice {
    /// The certificate, good to seal with now.
    pub(super) async fn get(&self, global: &Global, terminal: &Terminal) -> Result<SealingCertificate, Failure> {
        let certificate = match (&self.cert, pinned()) {
            (None, Some(file)) => self.pinned(&file, global, terminal).await?,
            _ => {
                let certificate = self.unpinned(global).await?;
                if self.cert.is_none() {
                    let fingerprint = certificate.fingerprint();
                    terminal.note(&format!(
                        "Sealing with the cluster's certificate ({fingerprint}); `dxdr seal certificate` pins it, and the cluster is asked no more."
                    ));
                }
                certificate
            }
        };
        let now = SystemClock.now();
        if certificate.not_after() <= now {
            return Err(Failure::new(
                Kind::Refused,
                format!("the certificate of {} ended on {}", certificate.fingerprint(), day(certificate.not_after())),
            )
            .hint("fetch the controller's newest one with `dxdr seal certificate --replace`")
            .hint(
                "where that has ended, too, the controller needs a new key: it makes one when it starts with `--key-cutoff-time`",
            ));
        }
        if certificate.not_after().duration_since(now) < SOON {
            terminal.warn(&format!(
                "the certificate ends on {}; `dxdr seal certificate --replace` fetches the newest",
                day(certificate.not_after())
            ));
        }
        Ok(certificate)
    }

    /// What is pinned, told where it is not of this very folder. Where a cluster is named, too, it is asked: one repository's certificate may be another
    /// cluster's.
    async fn pinned(&self, file: &Path, global: &Global, terminal: &Terminal) -> Result<SealingCertificate, Failure> {
        let certificate = read(file)?;
        let is_here = std::env::current_dir().is_ok_and(|here| file.strip_prefix(&here).is_ok());
        let named = global.context.is_some();
        if named || !is_here {
            terminal.note(&format!("Sealing with the certificate pinned in {} ({}).", file.display(), certificate.fingerprint()));
        }
        if !named {
            return Ok(certificate);
        }
        match self.unpinned(global).await {
            Ok(served) if served.fingerprint() == certificate.fingerprint() => Ok(certificate),
            Ok(served) => Err(Failure::new(
                Kind::Refused,
                format!(
                    "{} holds the certificate of {}, and the cluster's is {}",
                    file.display(),
                    certificate.fingerprint(),
                    served.fingerprint()
                ),
            )
            .hint("leave `--context` out to seal with the pinned one, or name a certificate with `--cert`")
            .hint("where the cluster's key was renewed: `dxdr seal certificate --replace`")),
            Err(failure) => {
                terminal.warn(&format!("that it is the cluster's is not known: {:#}", failure.error));
                Ok(certificate)
            }
        }
    }

    /// The certificate that `--cert` names, else the one of the cluster; what is pinned is not looked at.
    pub(super) async fn unpinned(&self, global: &Global) -> Result<SealingCertificate, Failure> {
        let Some(named) = &self.cert else {
            let cluster = cluster(global).await.map_err(|failure| {
                failure.hint("no cluster is needed with `--cert FILE`, or where `dxdr seal certificate` has pinned a certificate")
            })?;
            let pem = self.controller.ask(&cluster, "/v1/cert.pem").await?;
            return from_pem(&pem, &self.controller.to_string());
        };
        if let Some(file) = named.strip_prefix("file://") {
            return read(Path::new(file));
        }
        if named.starts_with("http://") || named.starts_with("https://") {
            return fetch(named).await;
        }
        read(Path::new(named))
    }
}

impl std::fmt::Display for Controller {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "the controller {}/{}", self.controller_namespace, self.controller_name)
    }
}

impl Controller {
    /// What it answers at a path.
    async fn ask(&self, cluster: &KubernetesCluster, path: &str) -> Result<Vec<u8>, Failure> {
        let service = self.service(cluster).await?;
        Ok(service.get(path).await.map_err(|error| self.unanswered(error))?.to_vec())
    }

    /// The way to it.
    pub(super) async fn service<'cluster>(
        &self,
        cluster: &'cluster KubernetesCluster,
    ) -> Result<dxdr_kubernetes::ServiceProxy<'cluster>, Failure> {
        let found =
            cluster.service(&self.controller_namespace, &self.controller_name).await.map_err(|error| self.unanswered(error))?;
        found.ok_or_else(|| {
            let Self { controller_name, controller_namespace } = self;
            Failure::new(Kind::Unreachable, format!("there is no Service {controller_name} in namespace {controller_namespace}"))
                .hint("name the controller with `--controller-name` and `--controller-namespace`; Helm calls it sealed-secrets")
                .hint("`kubectl get services -A -l app.kubernetes.io/name=sealed-secrets` finds it")
        })
    }

    pub(super) fn unanswered(&self, error: dxdr_provider::ClusterError) -> Failure {
        Failure::from(error).hint(format!("{self} is asked through the API server; `--cert FILE` seals without asking it"))
    }
}

/// Connects as every command does; the configuration names kubeconfig and context where no flag does.
pub(super) async fn cluster(global: &Global) -> Result<KubernetesCluster, Failure> {
    let configuration = file::load(global.config.as_deref())?;
    Ok(dxdr_kubernetes::connect(world::connect_options(global, &configuration)).await?)
}

/// The namespace of the kubeconfig's context; `None` without a kubeconfig.
pub(super) fn namespace_of_context(global: &Global) -> Result<Option<String>, Failure> {
    let configuration = file::load(global.config.as_deref())?;
    Ok(context_namespace(&world::connect_options(global, &configuration))?)
}

/// The pinned certificate, here or in a folder above.
pub(super) fn pinned() -> Option<PathBuf> {
    pinned_above(&std::env::current_dir().ok()?)
}

/// The pinned certificate of a folder, or of one above.
pub(super) fn pinned_above(folder: &Path) -> Option<PathBuf> {
    let folder = fs::canonicalize(folder).ok()?;
    let above = folder.ancestors().map(|folder| folder.join(file::FOLDER).join(PINNED));
    above.into_iter().find(|path| path.is_file())
}

/// Reads a certificate from a file.
pub(super) fn read(file: &Path) -> Result<SealingCertificate, Failure> {
    let bytes = documents::read_file(file)?;
    from_pem(&bytes, &file.display().to_string())
}

fn from_pem(pem: &[u8], name: &str) -> Result<SealingCertificate, Failure> {
    SealingCertificate::from_pem(&String::from_utf8_lossy(pem)).map_err(|error| {
        Failure::from_error(Kind::BadInput, error)
            .context(format!("{name} has no certificate to seal with"))
            .hint("`dxdr seal certificate` fetches the one of the cluster's controller")
    })
}

async fn fetch(url: &str) -> Result<SealingCertificate, Failure> {
    let malformed =
        || Failure::new(Kind::Usage, format!("`{url}` is no URL")).hint("name a file, or a URL such as https://HOST/v1/cert.pem");
    let uri = Uri::from_str(url).map_err(|_| malformed())?;
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else { return Err(malformed()) };
    let server = Uri::from_str(&format!("{scheme}://{authority}")).map_err(|_| malformed())?;
    let target = uri.path_and_query().map_or("/", |target| target.as_str());
    let pem = plain_server(&server)?.document(target).await?;
    from_pem(&pem, url)
}

/// A day, for people.
pub(super) fn day(instant: Timestamp) -> String {
    instant.strftime("%Y-%m-%d").to_string()
}

/// Fetches and pins.
pub(super) async fn pin(pin: &Pin, global: &Global, terminal: &Terminal) -> Result<(), Failure> {
    let file = match &pin.file {
        Some(file) => file.clone(),
        None => pinned().unwrap_or_else(default_place),
    };
    let certificate = pin.certificate.unpinned(global).await?;
    let known = match file.exists().then(|| read(&file)) {
        // What cannot be read is replaced, too.
        Some(Err(_)) if pin.replace => None,
        known => known.transpose()?,
    };
    let fingerprint = certificate.fingerprint();
    let state = match &known {
        None => "pinned",
        Some(known) if known.pem() == certificate.pem() => "unchanged",
        // The same key with another certificate opens the same things.
        Some(known) if known.fingerprint() == fingerprint => "renewed",
        Some(_) if pin.replace => "replaced",
        Some(known) => {
            let message = format!(
                "{} holds another key's certificate: {}, and the controller's is {fingerprint}",
                file.display(),
                known.fingerprint()
            );
            return Err(Failure::new(Kind::Refused, message)
                .hint("a controller renews its key once a month: where that is all, add `--replace`, and commit the file")
                .hint("nothing was changed"));
        }
    };
    if state != "unchanged" && !pin.dry_run {
        if let Some(folder) = file.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            fs::create_dir_all(folder)
                .map_err(|error| Failure::from(error).context(format!("cannot make {}", folder.display())))?;
        }
        documents::write(&file, certificate.pem())?;
    }
    let now = SystemClock.now();
    let document = json!({
        "format": "dxdr.io/seal-certificate/v1",
        "fingerprint": fingerprint.as_str(),
        "bits": certificate.bits(),
        "notBefore": certificate.not_before().to_string(),
        "notAfter": certificate.not_after().to_string(),
        "expired": certificate.not_after() <= now,
        "file": file.display().to_string(),
        "state": state,
        "replaced": known.as_ref().filter(|known| known.fingerprint() != fingerprint).map(|known| known.fingerprint().as_str()),
        "dryRun": pin.dry_run,
    });
    terminal.value(&document, || {
        let done = match (state, pin.dry_run) {
            ("unchanged", _) => "is pinned already, in".to_owned(),
            (state, true) => format!("would be {state}, in"),
            (state, false) => format!("{state} in"),
        };
        format!("{fingerprint} (RSA {}, until {}) {done} {}", certificate.bits(), day(certificate.not_after()), file.display())
    });
    if certificate.not_after() <= now {
        terminal.warn("it has ended: kubeseal and dxdr refuse to seal with it; the controller needs a new key");
    }
    Ok(())
}

/// Beside the configuration where there is one, else here.
fn default_place() -> PathBuf {
    let folder = Path::new(file::FOLDER);
    let here = std::env::current_dir().unwrap_or_default();
    let above = here.ancestors().map(|above| above.join(folder)).find(|folder| folder.is_dir());
    above.unwrap_or_else(|| folder.to_owned()).join(PINNED)
}
