//! Certificates, keys and kubeconfigs of one control plane.
//!
//! One authority for servers and clients, one for the front proxy (aggregated APIs), one key pair for service
//! account tokens; all EC P-256. A client certificate names its user and group, and the RBAC that Kubernetes brings
//! along does the rest. They are kept with the folder, so that a control plane that is started again still knows
//! the kubeconfigs it gave out.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose,
};

use super::files::write_private;
use super::node;

/// Where the certificates of one folder lie: `FOLDER/certificates/NAME.{crt,key}`.
pub(crate) struct Certificates {
    folder: PathBuf,
}

/// Who a client certificate says its holder is.
struct Client {
    name: &'static str,
    user: &'static str,
    group: Option<&'static str>,
}

const CLIENTS: [Client; 3] = [
    // system:masters passes every authorization check.
    Client { name: "administrator", user: "administrator", group: Some("system:masters") },
    Client { name: "controller-manager", user: "system:kube-controller-manager", group: None },
    Client { name: "scheduler", user: "system:kube-scheduler", group: None },
];

/// The names under which clients reach the servers: from this machine, and as Kubernetes' own Service.
const SERVER_NAMES: [&str; 7] = [
    "127.0.0.1",
    "localhost",
    "10.96.0.1",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
];

impl Certificates {
    /// Those of the folder; made when the folder has none.
    pub(crate) fn of(directory: &Path) -> Result<Self> {
        let folder = directory.join("certificates");
        if !folder.exists() {
            let unfinished = directory.join("certificates.unfinished");
            if unfinished.exists() {
                fs::remove_dir_all(&unfinished).with_context(|| format!("cannot delete {}", unfinished.display()))?;
            }
            fs::create_dir_all(&unfinished).with_context(|| format!("cannot create {}", unfinished.display()))?;
            make(&unfinished)?;
            fs::rename(&unfinished, &folder).with_context(|| format!("cannot put {} in place", folder.display()))?;
        }
        Ok(Self { folder })
    }

    pub(crate) fn certificate(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.crt"))
    }

    pub(crate) fn key(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.key"))
    }

    /// A kubeconfig that stands alone: it can be copied elsewhere.
    pub(crate) fn kubeconfig(&self, client: &str, port: u16) -> Result<String> {
        let encoded = |path: PathBuf| {
            fs::read(&path).map(|bytes| STANDARD.encode(bytes)).with_context(|| format!("cannot read {}", path.display()))
        };
        Ok(format!(
            "apiVersion: v1\n\
             kind: Config\n\
             current-context: dxdr-test\n\
             clusters:\n\
             - name: dxdr-test\n\
             \x20 cluster:\n\
             \x20   server: https://127.0.0.1:{port}\n\
             \x20   certificate-authority-data: {authority}\n\
             users:\n\
             - name: {client}\n\
             \x20 user:\n\
             \x20   client-certificate-data: {certificate}\n\
             \x20   client-key-data: {key}\n\
             contexts:\n\
             - name: dxdr-test\n\
             \x20 context: {{cluster: dxdr-test, user: {client}}}\n",
            authority = encoded(self.certificate("authority"))?,
            certificate = encoded(self.certificate(client))?,
            key = encoded(self.key(client))?,
        ))
    }
}

fn make(folder: &Path) -> Result<()> {
    let authority = authority(folder, "authority", "dxdr-test-authority")?;
    let front_proxy_authority = self::authority(folder, "front-proxy-authority", "dxdr-test-front-proxy-authority")?;

    let mut server = parameters("kube-apiserver", None);
    server.subject_alt_names =
        CertificateParams::new(SERVER_NAMES.map(str::to_owned)).context("cannot name the API server")?.subject_alt_names;
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    issue(folder, "server", &server, &authority)?;
    for client in &CLIENTS {
        issue(folder, client.name, &client_parameters(client.user, client.group), &authority)?;
    }
    // What a kubelet may do is decided for this user and group.
    let kubelet = client_parameters(&format!("system:node:{}", node::NAME), Some("system:nodes"));
    issue(folder, "node", &kubelet, &authority)?;
    issue(folder, "front-proxy", &client_parameters("front-proxy", None), &front_proxy_authority)?;

    let tokens = KeyPair::generate().context("cannot make the key of service account tokens")?;
    write_private(&folder.join("service-account.key"), &tokens.serialize_pem())?;
    write_private(&folder.join("service-account.pub"), &tokens.public_key_pem())
}

fn authority(folder: &Path, name: &str, common_name: &str) -> Result<CertifiedIssuer<'static, KeyPair>> {
    let mut parameters = parameters(common_name, None);
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    let key = KeyPair::generate().with_context(|| format!("cannot make the key of {common_name}"))?;
    let issuer =
        CertifiedIssuer::self_signed(parameters, key).with_context(|| format!("cannot make the certificate of {common_name}"))?;
    write_private(&folder.join(format!("{name}.crt")), &issuer.pem())?;
    write_private(&folder.join(format!("{name}.key")), &issuer.key().serialize_pem())?;
    Ok(issuer)
}

fn client_parameters(user: &str, group: Option<&str>) -> CertificateParams {
    let mut parameters = parameters(user, group);
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    parameters
}

fn parameters(common_name: &str, organization: Option<&str>) -> CertificateParams {
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name = rcgen::DistinguishedName::new();
    if let Some(organization) = organization {
        parameters.distinguished_name.push(DnType::OrganizationName, organization);
    }
    parameters.distinguished_name.push(DnType::CommonName, common_name);
    parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    parameters.use_authority_key_identifier_extension = true;
    parameters
}

fn issue(folder: &Path, name: &str, parameters: &CertificateParams, issuer: &CertifiedIssuer<'_, KeyPair>) -> Result<()> {
    let key = KeyPair::generate().with_context(|| format!("cannot make the key of {name}"))?;
    let certificate = parameters.signed_by(&key, issuer).with_context(|| format!("cannot make the certificate of {name}"))?;
    write_private(&folder.join(format!("{name}.crt")), &certificate.pem())?;
    write_private(&folder.join(format!("{name}.key")), &key.serialize_pem())
}
