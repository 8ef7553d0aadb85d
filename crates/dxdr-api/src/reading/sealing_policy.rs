//! `SealingPolicy` into the model.

use dxdr_environment::{EnvironmentName, FieldPath};
use dxdr_policy::{EscrowPolicy, SealingPolicy};
use jiff::SignedDuration;

use super::{Reading, field_path};
use crate::specification::sealing_policy::SealingPolicySpec;

/// What Sealed Secrets does by itself, too.
const RENEW_EVERY: SignedDuration = SignedDuration::from_hours(30 * 24);

/// Four times a year somebody sees whether what opens the escrow is still where it was.
const PROVE_EVERY: SignedDuration = SignedDuration::from_hours(90 * 24);

/// The characters of bech32, in which public keys of age are written.
const BECH32: &str = "qpzry9x8gf2tvdw0s3jn54khce6mua7l";

impl Reading<'_> {
    /// The policy; only to be used when there are no problems.
    pub(crate) fn sealing_policy(&mut self, name: &str, spec: &SealingPolicySpec) -> Option<SealingPolicy> {
        self.name(name, "policy name");
        let environments = spec.environments.iter().enumerate();
        let environments = environments
            .filter_map(|(index, name)| self.accept(&field_path!["spec", "environments", index], EnvironmentName::parse(name)))
            .collect();
        let renew_every = match &spec.renew_every {
            Some(text) => self.duration(&field_path!["spec", "renewEvery"], text),
            None => Some(RENEW_EVERY),
        };
        let prove_every = match &spec.escrow.prove_every {
            Some(text) => self.duration(&field_path!["spec", "escrow", "proveEvery"], text),
            None => Some(PROVE_EVERY),
        };
        for (index, recipient) in spec.escrow.recipients.iter().enumerate() {
            self.recipient(&field_path!["spec", "escrow", "recipients", index], recipient);
        }
        Some(SealingPolicy {
            name: name.to_owned(),
            environments,
            renew_every: renew_every?,
            escrow: EscrowPolicy {
                recipients: spec.escrow.recipients.clone(),
                store: spec.escrow.store.clone(),
                required: spec.escrow.required.unwrap_or(true),
                prove_every: prove_every?,
            },
        })
    }

    /// Whether it looks like a public key; its checksum is looked at where it is used. What is found is not repeated: it may be a private one.
    fn recipient(&mut self, path: &FieldPath, text: &str) {
        let is_age =
            text.strip_prefix("age1").is_some_and(|key| key.len() == 58 && key.chars().all(|digit| BECH32.contains(digit)));
        let is_ssh = ["ssh-ed25519 ", "ssh-rsa "].iter().any(|kind| text.starts_with(kind));
        if is_age || is_ssh {
            return;
        }
        if text.to_ascii_uppercase().starts_with("AGE-SECRET-KEY-") {
            let problem = self.wrong(path, "this is a private identity, which opens the escrow".to_owned());
            self.report(
                problem
                    .expected("its public key, `age1…`")
                    .hint("take it out of use: whoever has seen this file can open what it opens"),
            );
            return;
        }
        let problem = self.wrong(path, "this is no public key".to_owned());
        self.report(
            problem
                .expected("`age1…`, `ssh-ed25519 …` or `ssh-rsa …`")
                .hint("`age-keygen -o identity.txt` makes an identity and prints its public key"),
        );
    }
}
