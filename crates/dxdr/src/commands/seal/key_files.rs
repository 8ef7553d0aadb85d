//! The private keys that open what was sealed: from files, or from the controller's own Secrets.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use dxdr_api::yaml;
use dxdr_environment::{KeyFingerprint, ObjectReference, ResourceKind};
use dxdr_provider::{Cluster, ClusterError, cluster::ListScope};
use dxdr_sealing::{
    KeyRing, KeySecret, KeySecretError, OpeningKey, SealingCertificate,
    key_secret::{KEY_LABEL, KEY_PREFIX, item_text},
    sealed::objects,
};
use jiff::Timestamp;
use serde_json::Value;

use super::{certificate, deployment::Deployment, documents::read_file, refused};
use crate::{
    app::Global,
    failure::{Failure, Kind},
    terminal::Terminal,
};

/// Files with private keys.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct KeyFiles {
    /// Private keys to open with: PEM, or Secrets and Lists of them; may be given more than once, and be a list with commas.
    #[arg(long, value_name = "FILE", value_delimiter = ',')]
    pub(super) recovery_private_key: Vec<PathBuf>,
}

/// A key, and since when there is it, where that is known and the controller loads it.
struct FoundKey {
    key: OpeningKey,
    since: Option<Timestamp>,
}

/// What opens, and which of it is the newest.
pub(super) struct Keys {
    pub(super) ring: KeyRing,
    /// Since when there is each, by the clock that the controller goes by: the newest first. Bare keys do not say.
    since: Vec<(KeyFingerprint, Timestamp)>,
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
        let KeySecrets { keys, unusable, by_creation } = key_secrets(&cluster, controller).await?;
        unusable.iter().for_each(|problem| terminal.warn(problem));
        // What the controller does not load opens here, too: what a compromised key sealed must be moved.
        let found: Vec<FoundKey> = keys
            .into_iter()
            .map(|key| FoundKey { since: since(&key, by_creation).filter(|_| key.is_loaded()), key: key.into_opening_key() })
            .collect();
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
        found.sort_by_key(|key| std::cmp::Reverse(key.since));
        let since = found.iter().filter_map(|found| Some((found.key.fingerprint().clone(), found.since?))).collect();
        Self { ring: KeyRing::new(found.into_iter().map(|found| found.key)), since }
    }

    /// The key that the controller would rather seal with than with that of a certificate, both of which are here.
    pub(super) fn newer_than(&self, certificate: &SealingCertificate) -> Option<&KeyFingerprint> {
        let known = |(key, _): &&(KeyFingerprint, Timestamp)| key == certificate.fingerprint();
        let since = self.since.iter().find(known).map_or(certificate.not_before(), |(_, since)| *since);
        let is_here = self.ring.keys().iter().any(|key| key.fingerprint() == certificate.fingerprint());
        let (newest, newest_since) = self.since.first()?;
        (is_here && newest != certificate.fingerprint() && *newest_since > since).then_some(newest)
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
    let documents = yaml::read(&source).map_err(|problems| refused(problems).hint("expected PEM, or Secrets with tls.key"))?;
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
    Ok(FoundKey { key, since: of_key.map(|certificate| certificate.not_before()) })
}

/// A Secret of type kubernetes.io/tls; the certificate may be missing.
fn of_secret(secret: &Value) -> Result<FoundKey, String> {
    let name = secret["metadata"]["name"].as_str().unwrap_or("without a name");
    let in_secret = |problem: String| format!("Secret {name}: {problem}");
    let key = item_text(secret, "tls.key").map_err(|problem| in_secret(problem.to_string()))?;
    let certificate = match item_text(secret, "tls.crt") {
        Err(KeySecretError::Missing(_)) => String::new(),
        certificate => certificate.map_err(|problem| in_secret(problem.to_string()))?.to_string(),
    };
    of_pem(&key, &certificate).map_err(in_secret)
}

/// Since when there is a key, as the controller has it: `by_creation` is what it was told.
fn since(key: &KeySecret, by_creation: bool) -> Option<Timestamp> {
    if by_creation { key.created } else { Some(key.certificate().not_before()) }
}

/// The Secrets with keys in a controller's namespace.
pub(super) struct KeySecrets {
    /// Those that the controller loads and those that it does not; the newest first, as it has it.
    pub(super) keys: Vec<KeySecret>,
    /// Why others that look like them are none.
    pub(super) unusable: Vec<String>,
    /// Whether the controller goes by when their Secrets were made, and not by their certificates.
    by_creation: bool,
}

/// The Secrets in which a controller finds its keys.
pub(super) async fn key_secrets(cluster: &dyn Cluster, controller: &certificate::Controller) -> Result<KeySecrets, Failure> {
    let (kind, namespace) = (kind("", "v1", "Secret", "secrets"), &controller.controller_namespace);
    let failed = |error: ClusterError| {
        Failure::from(error).hint(
            "this takes the controller's private keys: an account that may read its Secrets, or files (`--recovery-private-key`)",
        )
    };
    let deployment = Deployment::of(cluster, controller).await.map_err(failed)?;
    let prefix = deployment.as_ref().map_or(KEY_PREFIX, Deployment::key_prefix);
    let by_creation = deployment.as_ref().is_some_and(Deployment::orders_by_creation);
    let scope = ListScope { namespace: Some(namespace.clone()), label_selector: Some(KEY_LABEL.to_owned()) };
    let mut secrets = list(cluster, &kind, &scope).await.map_err(failed)?;
    let unlabelled = ObjectReference { kind, namespace: Some(namespace.clone()), name: prefix.to_owned() };
    secrets.extend(cluster.get(&unlabelled).await.map_err(failed)?);
    let (mut keys, mut unusable): (Vec<KeySecret>, Vec<String>) = (Vec::new(), Vec::new());
    for secret in secrets {
        let Ok(mut secret) = serde_json::from_slice::<Value>(&secret) else { continue };
        let name = secret["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        if keys.iter().all(|key| key.name.as_deref() != Some(&name)) {
            match KeySecret::read(&secret) {
                Ok(mut key) => {
                    key.loaded_by_name = name == prefix;
                    keys.push(key);
                }
                Err(problem) => unusable.push(format!("Secret {namespace}/{name}: {problem}")),
            }
        }
        yaml::wipe(&mut secret);
    }
    keys.sort_by_key(|key| std::cmp::Reverse(since(key, by_creation)));
    Ok(KeySecrets { keys, unusable, by_creation })
}

/// Every object of a kind.
pub(super) async fn list(cluster: &dyn Cluster, kind: &ResourceKind, scope: &ListScope) -> Result<Vec<Bytes>, ClusterError> {
    let (mut objects, mut continuation): (Vec<Bytes>, Option<String>) = (Vec::new(), None);
    loop {
        let page = cluster.list(kind, scope, 500, continuation.as_deref()).await?;
        objects.extend(page.items);
        continuation = page.continuation;
        if continuation.is_none() {
            return Ok(objects);
        }
    }
}

/// A kind whose objects live in namespaces.
pub(super) fn kind(group: &str, version: &str, kind: &str, plural: &str) -> ResourceKind {
    let [group, version, kind, plural] = [group, version, kind, plural].map(str::to_owned);
    ResourceKind { group, version, kind, plural, namespaced: true }
}
