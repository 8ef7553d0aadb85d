//! A sealing policy and what it leads to: a controller, a store, and those who can open it.

use bytes::Bytes;
use dxdr_catalog::EscrowedKey;
use dxdr_environment::ObjectReference;
use dxdr_kubernetes::KubernetesCluster;
use dxdr_policy::SealingPolicy;
use dxdr_provider::{
    Clock as _, Cluster as _, ClusterErrorKind,
    clock::SystemClock,
    cluster::{ListScope, WriteOptions},
};
use dxdr_run::{Store, escrow};
use dxdr_sealing::{
    KeySecret, SealingCertificate,
    escrow::{self as age_file, EscrowError, Identities, Recipients},
    key_secret::created,
};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::{collections::BTreeSet, time::Duration};

use super::{
    certificate::{self, Controller},
    deployment::{self, Deployment},
    key_files::{KeySecrets, key_secrets, kind, list},
    refused,
};
use crate::{
    app::Global,
    configuration::World,
    failure::{Failure, Kind},
    terminal::Terminal,
};

/// Who writes keys into clusters.
pub(super) const MANAGER: &str = "dxdr-sealing";

/// How long a controller that was restarted may take to be up again.
const RESTART: Duration = Duration::from_secs(120);

/// Longer than a second that has begun.
const A_SECOND: Duration = Duration::from_millis(1_050);

/// How long a second of a server's clock is waited for.
const A_SECOND_AT_MOST: Duration = Duration::from_secs(5);

/// Between two looks at it.
const LOOKS: Duration = Duration::from_millis(500);

/// Which policy, and which controller where the policy's environments name several.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct PolicyChoice {
    /// SealingPolicy, where the manifests have more than one.
    #[arg(long, value_name = "NAME")]
    policy: Option<String>,
    /// Service and Deployment of the controller [default: as the policy's environments name it].
    #[arg(long, value_name = "NAME")]
    controller_name: Option<String>,
    /// Namespace of the controller [default: as the policy's environments name it].
    #[arg(long, value_name = "NAME")]
    controller_namespace: Option<String>,
}

/// A policy and its escrow: all that is left when there is no cluster any more.
pub(super) struct Vault {
    pub(super) policy: SealingPolicy,
    pub(super) store: Store,
}

impl Vault {
    /// Reads the manifests and opens the store.
    pub(super) async fn load(policy: Option<&str>, global: &Global) -> Result<Self, Failure> {
        Self::of(&World::load(global)?, policy).await
    }

    async fn of(world: &World, named: Option<&str>) -> Result<Self, Failure> {
        let policies = &world.model.sealing_policies;
        let names = || policies.iter().map(|policy| policy.name.as_str()).collect::<Vec<_>>().join(", ");
        let policy = match (named, policies.as_slice()) {
            (Some(name), _) => policies.iter().find(|policy| policy.name == name).ok_or_else(|| {
                refused(format!("there is no SealingPolicy `{name}`")).hint(format!("the manifests have: {}", names()))
            })?,
            (None, [only]) => only,
            (None, []) => {
                return Err(refused("the manifests have no SealingPolicy")
                    .hint("declare one: `kind: SealingPolicy` with `environments` and `escrow`, as in policies/sealing.yaml"));
            }
            (None, _) => {
                return Err(Failure::new(Kind::Usage, "there is more than one SealingPolicy")
                    .hint(format!("choose with `--policy`: {}", names())));
            }
        };
        let declared = world.model.store(&policy.escrow.store).ok_or_else(|| {
            refused(format!("there is no BackupStore `{}`", policy.escrow.store))
                .hint("`dxdr check` says what is wrong with the manifests")
        })?;
        Ok(Self { policy: policy.clone(), store: world.open(declared).await? })
    }

    /// The keys in escrow, the newest first.
    pub(super) async fn in_escrow(&self) -> Result<Vec<EscrowedKey>, Failure> {
        Ok(escrow::list(&self.store, &self.policy.name).await?)
    }

    /// The keys in escrow that open, at least one; what does not open is warned about, and counted.
    pub(super) async fn open_all(
        &self,
        identities: &Identities,
        terminal: &Terminal,
    ) -> Result<(Vec<KeySecret>, usize), Failure> {
        let (mut keys, mut first) = (Vec::new(), None);
        let in_escrow = self.in_escrow().await?;
        for kept in &in_escrow {
            match self.open(kept, identities).await {
                Ok(key) => keys.push(key),
                Err(failure) if failure.kind == Kind::Unreachable => return Err(failure),
                Err(failure) => {
                    if in_escrow.len() > 1 {
                        terminal.warn(&format!("{:#}", failure.error));
                    }
                    first.get_or_insert(failure);
                }
            }
        }
        match first {
            Some(failure) if keys.is_empty() => Err(failure),
            None if keys.is_empty() => Err(Failure::new(
                Kind::NoWayBack,
                format!("policy {} has no key in escrow in {}", self.policy.name, self.store.name),
            )
            .hint("name another policy; without a key, every SealedSecret must be sealed anew from its values")),
            _ => {
                let missing = in_escrow.len() - keys.len();
                Ok((keys, missing))
            }
        }
    }

    /// A key in escrow, opened.
    pub(super) async fn open(&self, kept: &EscrowedKey, identities: &Identities) -> Result<KeySecret, Failure> {
        let file = escrow::read_file(&self.store, &self.policy.name, kept).await?;
        let key = age_file::open(&file, identities).map_err(|error| {
            Failure::from_error(Kind::Refused, error)
                .context(format!("key {} cannot be taken out of escrow", kept.fingerprint))
                .hint(format!("it was put there for {}; nothing was changed", kept.recipients.join(", ")))
        })?;
        if *key.fingerprint() == kept.fingerprint {
            return Ok(key);
        }
        Err(Failure::new(Kind::Corrupt, format!("what is in escrow for {} is {}", kept.fingerprint, key.fingerprint()))
            .hint("put it there again while the cluster has it: `dxdr seal escrow`"))
    }

    /// Whether it is there, as it was written, for exactly those whom the policy names.
    pub(super) fn is_kept(&self, kept: &EscrowedKey) -> bool {
        let sorted = |recipients: &[String]| recipients.iter().map(|text| key_of(text)).collect::<BTreeSet<_>>();
        kept.whole && sorted(&kept.recipients) == sorted(&self.policy.escrow.recipients)
    }
}

/// Everything that keeping a cluster's keys takes.
pub(super) struct Keeping {
    pub(super) vault: Vault,
    pub(super) controller: Controller,
    pub(super) cluster: KubernetesCluster,
}

impl Keeping {
    /// A policy and one of its controllers.
    pub(super) async fn of(world: &World, policy: &str, controller: Controller, global: &Global) -> Result<Self, Failure> {
        let vault = Vault::of(world, Some(policy)).await?;
        Ok(Self { vault, controller, cluster: certificate::cluster(global).await? })
    }

    /// Reads the manifests, opens the store and prepares the way to the cluster.
    pub(super) async fn load(choice: &PolicyChoice, global: &Global) -> Result<Self, Failure> {
        let world = World::load(global)?;
        let vault = Vault::of(&world, choice.policy.as_deref()).await?;
        let policy = &vault.policy;
        let named: BTreeSet<(&str, &str)> = policy
            .environments
            .iter()
            .filter_map(|name| world.model.environment(name.as_str())?.sealing.as_ref())
            .map(|sealing| (sealing.controller_namespace.as_str(), sealing.controller_name.as_str()))
            .filter(|(namespace, name)| {
                choice.controller_namespace.as_deref().is_none_or(|asked| asked == *namespace)
                    && choice.controller_name.as_deref().is_none_or(|asked| asked == *name)
            })
            .collect();
        let controller = match (&choice.controller_namespace, &choice.controller_name, named.first()) {
            (_, _, Some((namespace, name))) if named.len() == 1 => {
                Controller { controller_name: (*name).to_owned(), controller_namespace: (*namespace).to_owned() }
            }
            (Some(namespace), Some(name), _) => {
                Controller { controller_name: name.clone(), controller_namespace: namespace.clone() }
            }
            _ => {
                let listed: Vec<String> = named.iter().map(|(namespace, name)| format!("{namespace}/{name}")).collect();
                return Err(Failure::new(
                    Kind::Usage,
                    format!("the environments of the policy `{}` name {} controllers", policy.name, named.len()),
                )
                .hint(format!("choose with `--controller-namespace` and `--controller-name`: {}", listed.join(", "))));
            }
        };
        Ok(Self { controller, cluster: certificate::cluster(global).await?, vault })
    }

    pub(super) fn namespace(&self) -> &str {
        &self.controller.controller_namespace
    }

    /// The keys in the cluster, the newest first; what looks like one and is none is warned about.
    pub(super) async fn in_cluster(&self, terminal: &Terminal) -> Result<Vec<KeySecret>, Failure> {
        let KeySecrets { keys, unusable, .. } = key_secrets(&self.cluster, &self.controller).await?;
        for problem in unusable {
            terminal.warn(&format!("{problem}; a controller that starts may crash over it"));
        }
        Ok(keys)
    }

    pub(super) fn recipients(&self) -> Result<Recipients, Failure> {
        Recipients::read(&self.vault.policy.escrow.recipients).map_err(|error| {
            refused(format!("SealingPolicy `{}`: {error}", self.vault.policy.name))
                .hint("`age-keygen -o identity.txt` makes an identity of your own and prints its public key; nothing was changed")
        })
    }

    /// Puts a key into escrow, and proves that what is there now opens and works.
    pub(super) async fn keep(&self, key: &KeySecret, recipients: &Recipients) -> Result<EscrowedKey, Failure> {
        let failed = |error: EscrowError| {
            Failure::from_error(Kind::Failed, error).context(format!("key {} could not be put into escrow", key.fingerprint()))
        };
        let (file, trial) = age_file::seal(key, self.namespace(), recipients).map_err(failed)?;
        let now = SystemClock.now();
        // The name has seconds.
        let escrowed = jiff::Timestamp::from_second(now.as_second()).unwrap_or(now);
        let entry = EscrowedKey {
            fingerprint: key.fingerprint().clone(),
            certificate: key.certificate().pem().to_owned(),
            not_before: key.certificate().not_before(),
            not_after: key.certificate().not_after(),
            namespace: self.namespace().to_owned(),
            name: key.name.clone().unwrap_or_default(),
            cluster: self.cluster.describe(),
            recipients: self.vault.policy.escrow.recipients.clone(),
            escrowed,
            proved: None,
            size: 0,
            sha256: dxdr_catalog::Sha256([0; 32]),
            whole: true,
        };
        let (store, policy) = (&self.vault.store, self.vault.policy.name.as_str());
        let (entry, stored) = escrow::put_file(store, policy, entry, &file).await?;
        let opened = age_file::open(&stored, &trial).map_err(failed)?;
        if opened.fingerprint() != key.fingerprint() {
            return Err(Failure::new(
                Kind::Corrupt,
                format!("what was put into escrow for {} is {}", key.fingerprint(), opened.fingerprint()),
            ));
        }
        escrow::put_entry(store, policy, &entry).await?;
        Ok(entry)
    }

    /// Makes the Secret of a key, and answers when the server says that it did. One of its name that is there already is an error.
    pub(super) async fn create(&self, key: &KeySecret) -> Result<Option<Timestamp>, Failure> {
        self.send(key, &options()).await
    }

    /// Whether something else has the name that the Secret of a key would get.
    pub(super) async fn is_name_taken(&self, key: &KeySecret) -> Result<bool, Failure> {
        Ok(self.cluster.get(&self.reference(key)).await?.is_some())
    }

    fn reference(&self, key: &KeySecret) -> ObjectReference {
        ObjectReference {
            kind: kind("", "v1", "Secret", "secrets"),
            namespace: Some(self.namespace().to_owned()),
            name: key.name.clone().unwrap_or_default(),
        }
    }

    /// Waits until the server would store the Secret of `key` in a later second than any of `others`: a controller may order its keys by when their
    /// Secrets were made, and goes on with the one that it knew first when both are of one second. Nothing is stored.
    pub(super) async fn let_a_second_pass(&self, key: &KeySecret, others: impl IntoIterator<Item = Timestamp>) {
        let Some(latest) = others.into_iter().max() else { return };
        let began = tokio::time::Instant::now();
        // A server whose clock was set back is not waited for: controllers go by certificates, unless they are told otherwise.
        while began.elapsed() < A_SECOND_AT_MOST {
            // Not every webhook lets itself be asked for nothing: then it is waited for as long as a second takes.
            let Ok(stored) = self.send(key, &WriteOptions { dry_run: true, ..options() }).await else {
                tokio::time::sleep(A_SECOND).await;
                break;
            };
            if stored.is_none_or(|stored| stored > latest) {
                break;
            }
            tokio::time::sleep(LOOKS).await;
        }
    }

    /// Sends the Secret of a key, and answers when the server says that it was made.
    async fn send(&self, key: &KeySecret, options: &WriteOptions) -> Result<Option<Timestamp>, Failure> {
        let secret = key.to_secret(self.namespace());
        let stored = self.cluster.create(&self.reference(key), Bytes::copy_from_slice(secret.as_bytes()), options).await?;
        let Ok(mut stored) = serde_json::from_slice::<Value>(&stored) else { return Ok(None) };
        let created = created(&stored);
        dxdr_api::yaml::wipe(&mut stored);
        Ok(created)
    }

    async fn deployment(&self) -> Result<Option<Deployment>, Failure> {
        Ok(Deployment::of(&self.cluster, &self.controller).await?)
    }

    /// Whether the controller makes keys by itself; `None` where nobody can tell.
    pub(super) async fn renews_itself(&self) -> Result<Option<bool>, Failure> {
        Ok(self.deployment().await?.and_then(|deployment| deployment.makes_keys()))
    }

    /// Restarts the controller where it is a Deployment, so that it loads every key, and waits for it. Says whether it was restarted and is up;
    /// where it cannot be, nothing was done.
    pub(super) async fn restart(&self, terminal: &Terminal) -> Result<bool, Failure> {
        if self.deployment().await?.is_none() {
            return Ok(false);
        }
        let annotations = json!({"dxdr.io/restarted-at": SystemClock.now().to_string()});
        let patch = json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": self.controller.controller_name, "namespace": self.namespace()},
            "spec": {"template": {"metadata": {"annotations": annotations}}},
        });
        match self.cluster.apply(&deployment::reference(&self.controller), Bytes::from(patch.to_string()), true, &options()).await
        {
            Ok(_) => {}
            Err(error) if error.kind == ClusterErrorKind::Forbidden => return Ok(false),
            Err(error) => return Err(error.into()),
        }
        terminal.note(&format!("{} restarts, to load its keys.", self.controller));
        let began = tokio::time::Instant::now();
        while began.elapsed() < RESTART {
            if self.deployment().await?.is_some_and(|deployment| deployment.is_rolled_out()) {
                return Ok(true);
            }
            tokio::time::sleep(LOOKS).await;
        }
        Ok(false)
    }

    /// Whether the controller has the keys whose Secrets were there at `latest`: it loads them when it starts. `None` where nobody can tell.
    pub(super) async fn has_loaded(&self, latest: Timestamp) -> Result<Option<bool>, Failure> {
        let Some(selector) = self.deployment().await?.and_then(|deployment| deployment.selector()) else { return Ok(None) };
        let scope = ListScope { namespace: Some(self.namespace().to_owned()), label_selector: Some(selector) };
        let pods = match list(&self.cluster, &kind("", "v1", "Pod", "pods"), &scope).await {
            Ok(pods) => pods,
            Err(error) if error.kind == ClusterErrorKind::Forbidden => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let pods = pods.iter().filter_map(|pod| serde_json::from_slice::<Value>(pod).ok());
        let pods: Vec<Value> = pods.filter(|pod| pod.pointer("/metadata/deletionTimestamp").is_none()).collect();
        // Both are whole seconds: within one, nobody knows which came first.
        let behind = |pod: &Value| deployment::started(pod).is_some_and(|started| started > latest);
        Ok((!pods.is_empty()).then(|| pods.iter().all(behind)))
    }

    /// Whether the controller serves this certificate, within a while: one that watches its Secrets has a new key within a second. Where it
    /// has no Service, there is nothing to wait for.
    pub(super) async fn comes_to_serve(&self, wanted: &SealingCertificate) -> bool {
        let found = self.cluster.service(self.namespace(), &self.controller.controller_name).await;
        let began = tokio::time::Instant::now();
        while matches!(found, Ok(Some(_))) && began.elapsed() < Duration::from_secs(3) {
            if self.serves().await.is_some_and(|served| served.fingerprint() == wanted.fingerprint()) {
                return true;
            }
            tokio::time::sleep(LOOKS).await;
        }
        false
    }

    /// The certificate that the controller serves, where it answers.
    pub(super) async fn serves(&self) -> Option<SealingCertificate> {
        let service = self.cluster.service(self.namespace(), &self.controller.controller_name).await.ok()??;
        let pem = service.get("/v1/cert.pem").await.ok()?;
        SealingCertificate::from_pem(&String::from_utf8_lossy(&pem)).ok()
    }

    /// Whether a controller is there, as far as can be seen: its Deployment with replicas, or its Service that answers.
    pub(super) async fn runs(&self) -> Result<bool, Failure> {
        let deployed = self.deployment().await?.is_some_and(|deployment| deployment.has_replicas());
        Ok(deployed || self.serves().await.is_some())
    }

    /// How a controller that is no Deployment of that name gets to load its keys.
    pub(super) fn restart_hint(&self) -> String {
        format!(
            "restart it: `kubectl rollout restart deployment {} --namespace {}`",
            self.controller.controller_name,
            self.namespace()
        )
    }
}

/// A public key without the comment that SSH's may have.
fn key_of(recipient: &str) -> String {
    recipient.split_whitespace().take(2).collect::<Vec<_>>().join(" ")
}

/// How sealing writes into clusters.
pub(super) fn options() -> WriteOptions {
    WriteOptions { manager: MANAGER.to_owned(), dry_run: false, retry: true }
}
