//! Which sealing keys there are, and which of them would be lost with the cluster.

use std::collections::BTreeMap;

use dxdr_catalog::EscrowedKey;
use dxdr_environment::KeyFingerprint;
use dxdr_policy::{Due, Escrowed};
use dxdr_provider::{Clock as _, clock::SystemClock, cluster::ListScope};
use dxdr_report::{
    quantity::{self, counted},
    table,
};
use dxdr_sealing::{KeyRing, KeySecret, SealedObject};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    certificate::day,
    keeping::{Keeping, PolicyChoice},
    key_files::{kind, list},
};
use crate::{app::Global, failure::Failure, terminal::Terminal};

#[derive(Debug, clap::Args)]
pub(super) struct Keys {
    #[command(flatten)]
    policy: PolicyChoice,
}

/// A key, wherever it is.
struct Row {
    fingerprint: KeyFingerprint,
    secret: Option<String>,
    state: &'static str,
    not_before: Timestamp,
    not_after: Timestamp,
    items: Option<usize>,
    escrow: Option<EscrowedKey>,
}

pub(super) async fn run(keys: &Keys, global: &Global, terminal: &Terminal) -> Result<(), Failure> {
    let keeping = Keeping::load(&keys.policy, global).await?;
    let in_cluster = keeping.in_cluster(terminal).await?;
    let in_escrow = keeping.vault.in_escrow().await?;
    // What the controller says counts; where it does not answer, what it would choose when it starts.
    let served = keeping.serves().await.map(|certificate| certificate.fingerprint().clone());
    let newest = in_cluster.iter().find(|key| key.is_loaded()).map(|key| key.fingerprint().clone());
    let sealing = served.filter(|served| in_cluster.iter().any(|key| key.fingerprint() == served)).or(newest);
    let (policy, now) = (&keeping.vault.policy, SystemClock.now());
    let loaded = in_cluster.iter().filter(|key| key.is_loaded());
    let renewal = policy.renewal(loaded.map(|key| key.certificate().not_before()), now);
    let proof = policy.next_proof(in_escrow.iter().map(escrowed), now);
    let renews_itself = keeping.renews_itself().await?;
    let mut rows: Vec<Row> = in_cluster
        .iter()
        .map(|key| Row {
            fingerprint: key.fingerprint().clone(),
            secret: key.name.clone(),
            state: match key.label() {
                _ if Some(key.fingerprint()) == sealing.as_ref() => "sealing",
                _ if key.is_loaded() => "active",
                Some("compromised") => "compromised",
                _ => "not loaded",
            },
            not_before: key.certificate().not_before(),
            not_after: key.certificate().not_after(),
            items: None,
            escrow: in_escrow.iter().find(|kept| kept.fingerprint == *key.fingerprint()).cloned(),
        })
        .collect();
    let escrow_only = in_escrow.into_iter().filter(|kept| in_cluster.iter().all(|key| *key.fingerprint() != kept.fingerprint));
    rows.extend(escrow_only.map(|kept| Row {
        fingerprint: kept.fingerprint.clone(),
        secret: None,
        state: "in escrow only",
        not_before: kept.not_before,
        not_after: kept.not_after,
        items: None,
        escrow: Some(kept),
    }));
    let unopened = count_items(&keeping, in_cluster, &mut rows, terminal).await?;
    let document = json!({
        "format": "dxdr.io/seal-keys/v1",
        "policy": keeping.vault.policy.name,
        "controller": {"namespace": keeping.namespace(), "name": keeping.controller.controller_name, "renewsItself": renews_itself},
        "keys": rows.iter().map(|row| row.json(&keeping, now)).collect::<Vec<Value>>(),
        "unopenedItems": unopened,
        "renewal": due_json(renewal),
        "proof": proof.map(due_json),
    });
    terminal.value(&document, || {
        let headings = ["KEY", "SECRET", "STATE", "FROM", "UNTIL", "ITEMS", "IN ESCROW", "PROVED"];
        let mut text = table::table(&headings, rows.iter().map(|row| row.cells(&keeping)).collect());
        text.push_str(&format!("\nwhat is in escrow opens for {}\n", policy.escrow.recipients.join(", ")));
        let itself = match renews_itself {
            Some(true) => "; the controller also makes keys by itself, which `dxdr seal escrow` finds",
            Some(false) => "; the controller makes none by itself",
            None => "",
        };
        text.push_str(&format!("a new key {}{itself}\n", due_text(renewal)));
        if let Some(proof) = proof {
            text.push_str(&format!("`dxdr seal escrow test` {}\n", due_text(proof)));
        }
        text
    });
    let lost = rows
        .iter()
        .filter(|row| row.secret.is_some() && !row.escrow.as_ref().is_some_and(|kept| keeping.vault.is_kept(kept)))
        .count();
    if lost > 0 {
        terminal.warn(&format!(
            "{} not in escrow as the policy says: `dxdr seal escrow` puts what is missing there",
            counted(lost, "key")
        ));
    }
    if let Some(unopened) = unopened.filter(|unopened| *unopened > 0) {
        terminal.warn(&format!("{} of the cluster's SealedSecrets open with none of its keys", counted(unopened, "item")));
    }
    Ok(())
}

/// A key in escrow, as the policy looks at it.
pub(super) fn escrowed(kept: &EscrowedKey) -> Escrowed {
    Escrowed { at: kept.escrowed, proved: kept.proved }
}

fn due_json(due: Due) -> Value {
    json!({"due": due.at.to_string(), "overdueSeconds": due.overdue.map(|overdue| overdue.as_secs())})
}

/// `is due on …`, `was due on …, 3d4h ago`.
fn due_text(due: Due) -> String {
    match due.overdue {
        None => format!("is due on {}", day(due.at)),
        Some(overdue) => format!("was due on {}, {} ago", day(due.at), quantity::duration(overdue)),
    }
}

impl Row {
    fn json(&self, keeping: &Keeping, now: Timestamp) -> Value {
        json!({
            "fingerprint": self.fingerprint.as_str(),
            "secret": self.secret,
            "state": self.state,
            "notBefore": self.not_before.to_string(),
            "notAfter": self.not_after.to_string(),
            "items": self.items,
            "escrow": self.escrow.as_ref().map(|kept| json!({
                "escrowed": kept.escrowed.to_string(),
                "recipients": kept.recipients,
                "asThePolicySays": keeping.vault.is_kept(kept),
                "proved": kept.proved.map(|proved| proved.to_string()),
                "proof": due_json(keeping.vault.policy.proof(escrowed(kept), now)),
            })),
        })
    }

    fn cells(&self, keeping: &Keeping) -> Vec<String> {
        let kept = self.escrow.as_ref().map(|kept| match keeping.vault.is_kept(kept) {
            true => format!("{}, for {}", day(kept.escrowed), kept.recipients.len()),
            false if !kept.whole => "its file is missing or damaged".to_owned(),
            false => "for others than the policy's".to_owned(),
        });
        vec![
            self.fingerprint.to_string(),
            self.secret.clone().unwrap_or_else(|| "-".to_owned()),
            self.state.to_owned(),
            day(self.not_before),
            day(self.not_after),
            self.items.map_or_else(|| "-".to_owned(), |items| items.to_string()),
            kept.unwrap_or_else(|| "no".to_owned()),
            self.escrow.as_ref().and_then(|kept| kept.proved).map_or_else(|| "never".to_owned(), day),
        ]
    }
}

/// How many items of the cluster's SealedSecrets each key opens; how many none does. `None` where they may not be listed.
async fn count_items(
    keeping: &Keeping,
    keys: Vec<KeySecret>,
    rows: &mut [Row],
    terminal: &Terminal,
) -> Result<Option<usize>, Failure> {
    let kind = kind("bitnami.com", "v1alpha1", "SealedSecret", "sealedsecrets");
    let objects = match list(&keeping.cluster, &kind, &ListScope { namespace: None, label_selector: None }).await {
        Ok(objects) => objects,
        Err(error) => {
            terminal.warn(&format!("items are not counted: {error}"));
            return Ok(None);
        }
    };
    let ring = KeyRing::new(keys.into_iter().map(KeySecret::into_opening_key));
    let (mut counts, mut unopened): (BTreeMap<KeyFingerprint, usize>, usize) = (BTreeMap::new(), 0);
    tokio::task::block_in_place(|| {
        for object in objects.iter().filter_map(|object| serde_json::from_slice::<Value>(object).ok()) {
            let named = json!({
                "apiVersion": "bitnami.com/v1alpha1", "kind": "SealedSecret", "metadata": object["metadata"], "spec": object["spec"],
            });
            for sealed in SealedObject::all_in(&named, None) {
                let label = sealed.identity.label();
                for item in &sealed.items {
                    match item.content.as_ref().ok().and_then(|ciphertext| ring.open(&label, ciphertext)) {
                        Some((key, _)) => *counts.entry(key.fingerprint().clone()).or_default() += 1,
                        None => unopened += 1,
                    }
                }
            }
        }
    });
    for row in rows.iter_mut().filter(|row| row.secret.is_some()) {
        row.items = Some(counts.get(&row.fingerprint).copied().unwrap_or_default());
    }
    Ok(Some(unopened))
}
