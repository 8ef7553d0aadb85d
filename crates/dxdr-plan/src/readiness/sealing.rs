//! The keys of Sealed Secrets: in escrow, renewed in time, and tried.

use dxdr_catalog::EscrowedKey;
use dxdr_environment::KeyFingerprint;
use dxdr_policy::{Escrowed, SealingPolicy};
use jiff::Timestamp;

use super::{Outcome, Row, Trouble};

/// What was seen of a policy's controller and its escrow.
#[derive(Debug, Clone)]
pub struct SealingObserved {
    /// `NAMESPACE/NAME` of the controller.
    pub controller: String,
    /// The key that it seals with, and from when on its certificate is valid; `None` where no controller answers.
    pub sealing: Result<Option<(KeyFingerprint, Timestamp)>, Trouble>,
    /// The keys in escrow, as they were written, for exactly those whom the policy names.
    pub escrow: Result<Vec<EscrowedKey>, Trouble>,
}

/// How it stands. What is public is enough for it: nobody's private key is looked at.
pub fn sealing(policy: &SealingPolicy, seen: &SealingObserved, now: Timestamp) -> Row {
    let what = format!("sealing keys of {}", seen.controller);
    let (sealing, escrow) = match (&seen.sealing, &seen.escrow) {
        (Err(trouble), _) | (_, Err(trouble)) => return Row::trouble(what, trouble),
        (Ok(sealing), Ok(escrow)) => (sealing, escrow),
    };
    let Some((fingerprint, begins)) = sealing else {
        return Row::new(what, Outcome::Unknown, "no controller answers, and so it is not known which key it seals with")
            .remedy("where it is installed elsewhere: `sealing.controller` of the Environment; `dxdr seal keys` looks at the keys themselves");
    };
    if escrow.iter().all(|kept| kept.fingerprint != *fingerprint) {
        return Row::failed(what, format!("{fingerprint}, which is sealed with, is not in escrow as the policy says"))
            .remedy("`dxdr seal escrow`");
    }
    let renewal = policy.renewal([*begins], now);
    let proof = policy.next_proof(escrow.iter().map(|kept| Escrowed { at: kept.escrowed, proved: kept.proved }), now);
    let day = |at: Timestamp| at.strftime("%Y-%m-%d").to_string();
    let mut late = Vec::new();
    let mut remedies = Vec::new();
    if renewal.overdue.is_some() {
        late.push(format!("a new key was due on {}", day(renewal.at)));
        remedies.push("`dxdr seal rotate`".to_owned());
    }
    if let Some(proof) = proof.filter(|proof| proof.overdue.is_some()) {
        late.push(format!("the escrow was to be tried by {}", day(proof.at)));
        remedies.push("`dxdr seal escrow test --identity FILE`".to_owned());
    }
    if late.is_empty() {
        let tried = proof.map(|proof| format!(", the escrow to be tried by {}", day(proof.at))).unwrap_or_default();
        return Row::good(what, format!("{fingerprint} is in escrow; a new key is due on {}{tried}", day(renewal.at)));
    }
    Row { remedies, ..Row::warning(what, format!("{fingerprint} is in escrow; {}", late.join("; "))) }
}

#[cfg(test)]
mod tests {
    use dxdr_catalog::Sha256;
    use dxdr_policy::EscrowPolicy;
    use jiff::SignedDuration;

    use super::*;

    fn policy() -> SealingPolicy {
        let day = SignedDuration::from_hours(24);
        let escrow = EscrowPolicy { recipients: Vec::new(), store: "primary".to_owned(), required: true, prove_every: day * 90 };
        SealingPolicy { name: "default".to_owned(), environments: Vec::new(), renew_every: day * 30, escrow }
    }

    fn kept(fingerprint: &KeyFingerprint) -> EscrowedKey {
        let at: Timestamp = "2024-01-01T00:00:00Z".parse().unwrap();
        EscrowedKey {
            fingerprint: fingerprint.clone(),
            certificate: String::new(),
            not_before: at,
            not_after: at,
            namespace: String::new(),
            name: String::new(),
            cluster: String::new(),
            recipients: Vec::new(),
            escrowed: at,
            proved: None,
            size: 0,
            sha256: Sha256([0; 32]),
            whole: true,
        }
    }

    fn row(sealing: Result<Option<(KeyFingerprint, Timestamp)>, Trouble>, escrow: Vec<EscrowedKey>, now: &str) -> Row {
        let seen = SealingObserved { controller: "seals/sealed-secrets".to_owned(), sealing, escrow: Ok(escrow) };
        super::sealing(&policy(), &seen, now.parse().unwrap())
    }

    #[test]
    fn what_is_late_or_lost_is_said_with_what_to_do() {
        let fingerprint = "SHA256:tj6dotW1wnT1W6u7KImPixNn/+UFMO/nrJwCM3jVI4k".parse::<KeyFingerprint>().unwrap();
        let begins: Timestamp = "2024-01-01T00:00:00Z".parse().unwrap();
        let seals = || Ok(Some((fingerprint.clone(), begins)));
        let good = row(seals(), vec![kept(&fingerprint)], "2024-01-30T00:00:00Z");
        assert_eq!(good.outcome, Outcome::Good);
        assert!(
            good.detail.ends_with("is in escrow; a new key is due on 2024-01-31, the escrow to be tried by 2024-03-31"),
            "{}",
            good.detail
        );
        let late = row(seals(), vec![kept(&fingerprint)], "2024-02-01T00:00:00Z");
        assert_eq!((late.outcome, late.remedies.len()), (Outcome::Warning, 1));
        let both = row(seals(), vec![kept(&fingerprint)], "2024-04-01T00:00:00Z");
        assert_eq!((both.outcome, both.remedies.len()), (Outcome::Warning, 2));
        let lost = row(seals(), Vec::new(), "2024-01-02T00:00:00Z");
        assert_eq!((lost.outcome, lost.remedies), (Outcome::Failed, vec!["`dxdr seal escrow`".to_owned()]));
        assert_eq!(row(Ok(None), Vec::new(), "2024-01-02T00:00:00Z").outcome, Outcome::Unknown);
        let trouble = Trouble { message: "refused".to_owned(), hints: Vec::new(), unreachable: true };
        assert_eq!(row(Err(trouble), Vec::new(), "2024-01-02T00:00:00Z").outcome, Outcome::Unreachable);
    }
}
