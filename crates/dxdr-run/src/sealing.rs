//! What a backup says of sealing keys: which ones open its SealedSecrets, and whether somebody has them when the cluster is gone.
//!
//! ```text
//! SealedSecret ─► opened ─► keys, digest of what it makes ─┐
//! Secret that a SealedSecret makes ─► digest ──────────────┴─► left out only where they are the same
//! ```

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::Arc,
};

use dxdr_catalog::Gap;
use dxdr_environment::{KeyFingerprint, ResourceKind, sealed_secret};
use dxdr_format::velero::archive::ItemPath;
use dxdr_provider::{Unsealer, sealing::ContentDigest};

/// What SealedSecrets are called in archives.
const SEALED_SECRETS: &str = "sealedsecrets.bitnami.com";

/// What a point's gaps are about where keys are missing, or not known.
pub const SEALING_KEYS: &str = "sealing keys";

/// SealedSecrets that a message names at most.
const NAMED: usize = 5;

/// The keys behind an environment's SealedSecrets, and where they are kept.
#[derive(Clone)]
pub struct SealingKeys {
    /// The cluster's keys, which nobody else sees.
    pub unsealer: Arc<dyn Unsealer>,
    /// Those that are in escrow.
    pub in_escrow: BTreeSet<KeyFingerprint>,
    /// Whether a point whose keys are not all in escrow is partial, or only warned about.
    pub required: bool,
    /// Why the cluster's keys, or the escrow, could not be looked at.
    pub problem: Option<String>,
}

impl fmt::Debug for SealingKeys {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("SealingKeys").field("in_escrow", &self.in_escrow).finish_non_exhaustive()
    }
}

/// The SealedSecrets of one capture, as they come.
#[derive(Debug)]
pub(crate) struct Examination {
    keys: Option<SealingKeys>,
    /// What each makes, where keys in escrow open all of it; by namespace and name.
    contents: BTreeMap<(String, String), ContentDigest>,
    /// The SealedSecrets that need a key.
    needed: BTreeMap<KeyFingerprint, u64>,
    /// Those with items that no key opens.
    unopened: Vec<String>,
    sealed_secrets: u64,
}

/// What an examination found.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    /// The keys that the SealedSecrets need; `None` where nobody looked.
    pub(crate) fingerprints: Option<Vec<String>>,
    /// What makes the point partial.
    pub(crate) gaps: Vec<Gap>,
    /// What is only to be told.
    pub(crate) warnings: Vec<String>,
}

impl Examination {
    pub(crate) fn new(keys: Option<SealingKeys>) -> Self {
        let (contents, needed, unopened) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
        Self { keys, contents, needed, unopened, sealed_secrets: 0 }
    }

    /// Whether objects of a kind tell it anything.
    pub(crate) fn wants(&self, kind: &ResourceKind) -> bool {
        self.keys.is_some() && kind.kind == sealed_secret::KIND && kind.group == sealed_secret::GROUP
    }

    /// Looks into an object that is kept, if it is a SealedSecret.
    pub(crate) fn observe(&mut self, kind: &ResourceKind, namespace: Option<&str>, name: &str, json: &[u8]) {
        if self.wants(kind) {
            self.observe_sealed_secret(namespace, name, json);
        }
    }

    /// Looks into an item of an archive, if it is a SealedSecret.
    pub(crate) fn observe_item(&mut self, item: &ItemPath, json: &[u8]) {
        if self.keys.is_some() && item.group_resource == SEALED_SECRETS {
            self.observe_sealed_secret(item.namespace.as_deref(), &item.name, json);
        }
    }

    fn observe_sealed_secret(&mut self, namespace: Option<&str>, name: &str, json: &[u8]) {
        let Some(keys) = &self.keys else { return };
        self.sealed_secrets += 1;
        let place = (namespace.unwrap_or_default().to_owned(), name.to_owned());
        let unsealed = keys.unsealer.unseal(json);
        if !unsealed.unopened.is_empty() {
            self.unopened.push(format!("{}/{} ({})", place.0, place.1, unsealed.unopened.join(", ")));
        }
        if let Some(content) = unsealed.content.filter(|_| unsealed.keys.iter().all(|key| keys.in_escrow.contains(key))) {
            self.contents.insert(place, content);
        }
        for key in unsealed.keys {
            *self.needed.entry(key).or_default() += 1;
        }
    }

    /// Whether a Secret that a SealedSecret of its name made need not be kept: a SealedSecret beside it makes the same one again, with
    /// keys that are in escrow. Where no policy says where keys are kept, nobody can know, and the owner's word is taken for it.
    pub(crate) fn recreates(&self, namespace: Option<&str>, name: &str, secret: &[u8]) -> bool {
        let Some(keys) = &self.keys else { return true };
        let place = (namespace.unwrap_or_default().to_owned(), name.to_owned());
        let made = self.contents.get(&place);
        made.is_some_and(|made| keys.unsealer.content(secret).is_some_and(|content| content == *made))
    }

    pub(crate) fn finish(self) -> Findings {
        let Some(keys) = self.keys else { return Findings::default() };
        let mut problems = Vec::new();
        if let (Some(problem), true) = (&keys.problem, self.sealed_secrets > 0) {
            problems.push(format!("which keys open its {} SealedSecrets is not known: {problem}", self.sealed_secrets));
        } else if !self.unopened.is_empty() {
            let more = self.unopened.len().saturating_sub(NAMED);
            let listed = self.unopened.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
            let more = if more > 0 { format!(" and {more} more") } else { String::new() };
            problems.push(format!("no key of the cluster opens SealedSecret {listed}{more}"));
        }
        for (key, count) in self.needed.iter().filter(|(key, _)| !keys.in_escrow.contains(*key)) {
            problems.push(format!("{key}, which opens {count} of its SealedSecrets, is not in escrow"));
        }
        let mut findings = Findings::default();
        // A list that may lack one is worse than none: who takes a key out of use believes it. Where a gap says so, it is looked at.
        let is_whole = keys.problem.is_none() && (self.unopened.is_empty() || keys.required) || self.sealed_secrets == 0;
        if is_whole {
            findings.fingerprints = Some(self.needed.keys().map(|key| key.as_str().to_owned()).collect());
        }
        if keys.required {
            findings.gaps = problems.into_iter().map(|reason| Gap { what: SEALING_KEYS.to_owned(), reason }).collect();
        } else {
            findings.warnings = problems;
        }
        findings
    }
}
