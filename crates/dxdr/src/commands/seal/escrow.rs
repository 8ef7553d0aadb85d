//! Keys into escrow, and the proof that they come out again.

use dxdr_catalog::EscrowedKey;
use dxdr_provider::{Clock as _, clock::SystemClock};
use dxdr_report::quantity::counted;
use dxdr_run::escrow;
use serde_json::{Value, json};

use super::{
    keeping::{Keeping, PolicyChoice, Vault},
    opening::Opening,
    shares::{self, Shares},
};
use crate::{
    app::Global,
    failure::{Failure, Kind},
    terminal::Terminal,
};

#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Escrow {
    #[command(subcommand)]
    command: Option<EscrowCommand>,
    #[command(flatten)]
    policy: PolicyChoice,
    #[command(flatten)]
    opening: Opening,
    /// Write nothing.
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, clap::Subcommand)]
enum EscrowCommand {
    /// Open every key in escrow with an identity, and try each; exit code 9 when one does not open or does not work.
    #[command(
        after_help = "Examples:\n  dxdr seal escrow test --identity identity.txt\n  dxdr seal escrow test --share share-1.txt --share share-4.txt\n  dxdr seal escrow test --share -"
    )]
    Test(Test),
    /// Make an identity that nobody has, as shares: so many people get one each, and any few of them open the escrow together.
    ///
    /// The identity is in memory only, and gone when this ends; what is left is its public key, for `escrow.recipients` of the SealingPolicy. Each share is encrypted for
    /// its person, or shown to them alone, to be written down and typed once.
    #[command(
        after_help = "Examples:\n  dxdr seal escrow shares --threshold 3 --of 5\n  dxdr seal escrow shares --threshold 2 --out kept --recipient ann=age1... --recipient bob=age1..."
    )]
    Shares(Shares),
}

#[derive(Debug, clap::Args)]
#[command(mut_group("opening", |group| group.required(true)))]
struct Test {
    /// SealingPolicy, where the manifests have more than one.
    #[arg(long, value_name = "NAME")]
    policy: Option<String>,
    #[command(flatten)]
    opening: Opening,
}

pub(super) async fn run(escrow: &Escrow, global: &Global, terminal: &Terminal) -> Result<(), Failure> {
    match &escrow.command {
        Some(EscrowCommand::Test(test)) => return try_all(test, global, terminal).await,
        Some(EscrowCommand::Shares(asked)) => return shares::run(asked, global, terminal),
        None => {}
    }
    let keeping = Keeping::load(&escrow.policy, global).await?;
    let recipients = keeping.recipients()?;
    let identities = escrow.opening.identities(terminal)?;
    let in_cluster = keeping.in_cluster(terminal).await?;
    let in_escrow = keeping.vault.in_escrow().await?;
    let (mut rows, mut missing, mut damaged): (Vec<Value>, usize, usize) = (Vec::new(), 0, 0);
    let row = |key: &str, state: &str| json!({"fingerprint": key, "state": state});
    for key in &in_cluster {
        let kept = in_escrow.iter().find(|kept| kept.fingerprint == *key.fingerprint());
        let state = match kept {
            Some(kept) if keeping.vault.is_kept(kept) => "kept",
            _ if escrow.dry_run => "missing",
            Some(kept) if kept.whole => "re-encrypted",
            _ => "escrowed",
        };
        if matches!(state, "escrowed" | "re-encrypted") {
            keeping.keep(key, &recipients).await?;
        }
        rows.push(row(key.fingerprint().as_str(), state));
    }
    let only_there = |kept: &&EscrowedKey| in_cluster.iter().all(|key| *key.fingerprint() != kept.fingerprint);
    for kept in in_escrow.iter().filter(only_there) {
        let state = match &identities {
            _ if keeping.vault.is_kept(kept) => "kept",
            _ if !kept.whole => {
                damaged += 1;
                "damaged"
            }
            Some(_) if escrow.dry_run => "missing",
            Some(identities) => {
                let key = keeping.vault.open(kept, identities).await?;
                keeping.keep(&key, &recipients).await?;
                "re-encrypted"
            }
            None => {
                missing += 1;
                "needs-identity"
            }
        };
        rows.push(row(kept.fingerprint.as_str(), state));
    }
    let document =
        json!({"format": "dxdr.io/seal-escrow/v1", "store": keeping.vault.store.name, "keys": rows, "dryRun": escrow.dry_run});
    terminal.value(&document, || {
        let line = |row: &Value| {
            let said = match row["state"].as_str().unwrap_or_default() {
                "kept" => "is in escrow",
                "missing" => "would be put into escrow",
                "escrowed" => "was put into escrow, read back and opened",
                "damaged" => "is gone: its file in escrow is missing or damaged, and the cluster has no copy",
                "re-encrypted" => "was encrypted anew for the policy's recipients, read back and opened",
                _ => "is in escrow for others than the policy's recipients",
            };
            format!("{} {said}\n", row["fingerprint"].as_str().unwrap_or_default())
        };
        rows.iter().map(line).collect()
    });
    if rows.is_empty() {
        terminal.warn(&format!("there is no sealing key in namespace {}", keeping.namespace()));
    }
    if damaged > 0 {
        return Err(Failure::told(Kind::Partial, format!("{} in escrow cannot be brought back", counted(damaged, "key"))).hint(
            "look for its file in a version or a copy of the store; what only it opens must be sealed anew from its value",
        ));
    }
    if missing > 0 {
        return Err(Failure::told(
            Kind::Partial,
            format!("{} cannot be encrypted for the policy's recipients", counted(missing, "key")),
        )
        .hint("only the escrow has them: name what opens it: `--identity FILE`, or `--share FILE` as often as it takes"));
    }
    Ok(())
}

async fn try_all(test: &Test, global: &Global, terminal: &Terminal) -> Result<(), Failure> {
    let vault = Vault::load(test.policy.as_deref(), global).await?;
    let identities = test.opening.required(terminal)?;
    let in_escrow = vault.in_escrow().await?;
    let (mut rows, mut problems): (Vec<Value>, Vec<String>) = (Vec::new(), Vec::new());
    for kept in &in_escrow {
        let problem = match vault.open(kept, &identities).await {
            Ok(_) => {
                if let Err(error) = escrow::note_proof(&vault.store, &vault.policy.name, kept, SystemClock.now()).await {
                    terminal.warn(&format!("that {} opened is not written down: {error}", kept.fingerprint));
                }
                None
            }
            Err(failure) if failure.kind == Kind::Unreachable => return Err(failure),
            Err(failure) => Some(format!("{:#}", failure.error)),
        };
        rows.push(json!({"fingerprint": kept.fingerprint.as_str(), "opens": problem.is_none(), "problem": problem}));
        problems.extend(problem);
    }
    let document = json!({"format": "dxdr.io/seal-escrow-test/v1", "store": vault.store.name, "keys": rows});
    terminal.value(&document, || {
        let mut text: String = problems.iter().map(|problem| format!("{problem}\n")).collect();
        text.push_str(&format!("{} of {} open and work\n", rows.len() - problems.len(), counted(rows.len(), "key")));
        text
    });
    if rows.is_empty() {
        return Err(Failure::new(Kind::Refused, format!("there is no key in escrow in {}", vault.store.name))
            .hint("`dxdr seal escrow` puts the cluster's keys there"));
    }
    if problems.is_empty() {
        return Ok(());
    }
    Err(Failure::told(Kind::Corrupt, format!("{} cannot be brought back with this identity", counted(problems.len(), "key"))).hint(
        "try another identity; `dxdr seal keys` says whether the cluster still has the keys, and `dxdr seal escrow` puts them there again",
    ))
}
