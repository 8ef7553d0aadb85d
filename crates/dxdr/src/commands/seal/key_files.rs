//! The private keys that open what was sealed: from files, or from the controller's own Secrets.

use std::path::{Path, PathBuf};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use dxdr_environment::{KeyFingerprint, ResourceKind};
use dxdr_provider::{Cluster as _, cluster::ListScope};
use dxdr_sealing::{KeyRing, OpeningKey, SealingCertificate, sealed::objects};
use jiff::Timestamp;
use serde_json::Value;
use zeroize::Zeroizing;

use super::{certificate, documents::read_file, refused};
use crate::{
    app::Global,
    failure::{Failure, Kind},
    terminal::Terminal,
};

/// The label by which the controller finds its keys.
const KEY_LABEL: &str = "sealedsecrets.bitnami.com/sealed-secrets-key";

/// The Secret that the controller reads whatever its label, as it is called by default.
const KEY_PREFIX: &str = "sealed-secrets-key";

/// Files with private keys.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct KeyFiles {
    /// Private keys to open with: PEM, or Secrets and Lists of them; may be given more than once, and be a list with commas.
    #[arg(long, value_name = "FILE", value_delimiter = ',')]
    pub(super) recovery_private_key: Vec<PathBuf>,
}

/// A key, and from when on its certificate is valid, where it has one.
struct FoundKey {
    key: OpeningKey,
    not_before: Option<Timestamp>,
}

/// What opens, and which of it is the newest.
pub(super) struct Keys {
    pub(super) ring: KeyRing,
    /// The key whose certificate begins last; bare keys do not say when they were made.
    pub(super) newest: Option<(KeyFingerprint, Timestamp)>,
}

impl KeyFiles {
    /// The keys of the files, or, where none is named, of the controller's namespace. At least one.
    pub(super) async fn load(
        &self,
        controller: &certificate::Controller,
        global: &Global,
        terminal: &Terminal,
    ) -> Result<Keys, Failure> {
        if !self.recovery_private_key.is_empty() {
            return self.read(terminal);
        }
        let cluster = certificate::cluster(global).await?;
        let found = of_cluster(&cluster, controller, terminal).await?;
        if found.is_empty() {
            let namespace = &controller.controller_namespace;
            return Err(Failure::new(Kind::Refused, format!("there is no sealing key in namespace {namespace}"))
                .hint("name the controller's namespace with `--controller-namespace`, or files with `--recovery-private-key`"));
        }
        Ok(Keys::of(found))
    }

    /// The keys of the files.
    pub(super) fn read(&self, terminal: &Terminal) -> Result<Keys, Failure> {
        let mut found = Vec::new();
        for file in &self.recovery_private_key {
            found.extend(of_file(file, terminal)?);
        }
        Ok(Keys::of(found))
    }
}

impl Keys {
    /// The newest first, as the controller has it: what has no certificate comes last.
    fn of(mut found: Vec<FoundKey>) -> Self {
        found.sort_by_key(|key| std::cmp::Reverse(key.not_before));
        let newest = found.first().and_then(|found| Some((found.key.fingerprint().clone(), found.not_before?)));
        Self { ring: KeyRing::new(found.into_iter().map(|found| found.key)), newest }
    }
}

fn of_file(file: &Path, terminal: &Terminal) -> Result<Vec<FoundKey>, Failure> {
    let bytes = read_file(file)?;
    let text = std::str::from_utf8(&bytes).map_err(|_| refused(format!("{} is no text in UTF-8", file.display())))?;
    let name = file.display().to_string();
    let is_pem = text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#'));
    if is_pem.is_some_and(|line| line.starts_with("-----BEGIN")) {
        return Ok(vec![of_pem(text, text).map_err(|problem| unusable(&name, &problem))?]);
    }
    let source = dxdr_api::SourceText { name: &name, text };
    let documents =
        dxdr_api::yaml::read(&source).map_err(|problems| refused(problems).hint("expected PEM, or Secrets with tls.key"))?;
    let mut found = Vec::new();
    for document in &documents {
        for (_, object) in objects(document.value()) {
            if object["kind"] != "Secret" {
                let kind = object["kind"].as_str().unwrap_or("a document without a kind");
                terminal.warn(&format!("{name}: {kind} is no Secret, and passed over"));
                continue;
            }
            found.push(of_secret(object).map_err(|problem| unusable(&name, &problem))?);
        }
    }
    if found.is_empty() {
        return Err(refused(format!("there is no private key in {name}")).hint("expected PEM, or Secrets with tls.key"));
    }
    Ok(found)
}

fn unusable(name: &str, problem: &str) -> Failure {
    refused(format!("{name}: {problem}")).hint("the controller's keys are RSA, in PEM (PKCS#1 or PKCS#8)")
}

fn of_pem(key: &str, certificate: &str) -> Result<FoundKey, String> {
    let key = OpeningKey::from_pem(key).map_err(|error| error.to_string())?;
    let certificate = SealingCertificate::from_pem(certificate).ok();
    let of_key = certificate.filter(|certificate| certificate.fingerprint() == key.fingerprint());
    Ok(FoundKey { key, not_before: of_key.map(|certificate| certificate.not_before()) })
}

/// A Secret of type kubernetes.io/tls.
fn of_secret(secret: &Value) -> Result<FoundKey, String> {
    let name = secret["metadata"]["name"].as_str().unwrap_or("without a name");
    let text = |item: &str| -> Result<Option<Zeroizing<String>>, String> {
        if let Some(text) = secret["stringData"][item].as_str() {
            return Ok(Some(Zeroizing::new(text.to_owned())));
        }
        let Some(encoded) = secret["data"][item].as_str() else { return Ok(None) };
        let encoded = Zeroizing::new(encoded.replace(['\n', '\r'], ""));
        let decoded = STANDARD.decode(&*encoded).map_err(|_| format!("Secret {name}: data.{item} is not base64"))?;
        let text = String::from_utf8(decoded).map_err(|_| format!("Secret {name}: {item} is no text"))?;
        Ok(Some(Zeroizing::new(text)))
    };
    let key = text("tls.key")?.ok_or_else(|| format!("Secret {name} has no tls.key"))?;
    let certificate = text("tls.crt")?.unwrap_or_default();
    of_pem(&key, &certificate).map_err(|problem| format!("Secret {name}: {problem}"))
}

/// The keys that the controller would find.
async fn of_cluster(
    cluster: &dxdr_kubernetes::KubernetesCluster,
    controller: &certificate::Controller,
    terminal: &Terminal,
) -> Result<Vec<FoundKey>, Failure> {
    let namespace = &controller.controller_namespace;
    let kind = ResourceKind {
        group: String::new(),
        version: "v1".to_owned(),
        kind: "Secret".to_owned(),
        plural: "secrets".to_owned(),
        namespaced: true,
    };
    let failed = |error: dxdr_provider::ClusterError| {
        Failure::from(error)
            .hint("opening takes the controller's private keys: an account that may read its Secrets, or files (`--recovery-private-key`)")
    };
    let scope = ListScope { namespace: Some(namespace.clone()), label_selector: Some(format!("{KEY_LABEL}=active")) };
    let mut secrets = Vec::new();
    let mut continuation: Option<String> = None;
    loop {
        let page = cluster.list(&kind, &scope, 100, continuation.as_deref()).await.map_err(failed)?;
        secrets.extend(page.items);
        continuation = page.continuation;
        if continuation.is_none() {
            break;
        }
    }
    let unlabelled = dxdr_environment::ObjectReference { kind, namespace: Some(namespace.clone()), name: KEY_PREFIX.to_owned() };
    secrets.extend(cluster.get(&unlabelled).await.map_err(failed)?);
    let mut found = Vec::new();
    for secret in secrets {
        let Ok(mut secret) = serde_json::from_slice::<Value>(&secret) else { continue };
        match of_secret(&secret) {
            Ok(key) => found.push(key),
            Err(problem) => terminal.warn(&format!("namespace {namespace}: {problem}")),
        }
        dxdr_api::yaml::wipe(&mut secret);
    }
    Ok(found)
}
