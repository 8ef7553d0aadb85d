//! `dxdr seal`

mod certificate;
mod check;
mod deployment;
mod documents;
mod duties;
mod escrow;
mod files;
mod items;
mod keeping;
mod key_files;
mod keys;
mod manifests;
mod merge;
mod opening;
mod parallel;
mod prompt;
mod raw;
mod recovery;
mod reencrypt;
mod restore_keys;
mod retire;
mod rotate;
mod set;
mod shares;
mod sources;
mod unseal;
mod validate;
mod verify;

use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use dxdr_environment::Scope;

use self::{certificate::CertificateChoice, key_files::KeyFiles};
pub(crate) use self::{
    duties::rows as duties,
    recovery::{Missing, keys, note},
};
use crate::{
    app::Global,
    failure::{Failure, Kind},
    secrecy,
    terminal::Terminal,
};

/// Seal Secrets for the Sealed Secrets controller of a cluster.
///
/// Without a command, it reads Secrets (YAML or JSON, any number, Lists too) and prints SealedSecrets; flags mean what they mean to
/// kubeseal. Nothing is contacted where a certificate is at hand: `--cert`, or the one that `dxdr seal certificate` has pinned.
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:\n  kubectl create secret generic db --dry-run=client --from-literal=user=shop -o yaml | dxdr seal > db.yaml\n  dxdr seal -f secret.yaml -w sealed.yaml --namespace staging\n  dxdr seal set db.yaml password\n  dxdr seal check ."
)]
pub(crate) struct Seal {
    #[command(subcommand)]
    command: Option<SealCommand>,
    #[command(flatten)]
    manifests: Manifests,
}

#[derive(Debug, clap::Subcommand)]
enum SealCommand {
    /// Seal one value, read from standard input as it is, and print its ciphertext.
    ///
    /// Strict ciphertexts are bound to a name and a namespace, namespace-wide ones to a namespace.
    #[command(
        after_help = "Examples:\n  printf %s \"$value\" | dxdr seal raw --name db --namespace staging\n  dxdr seal raw --scope cluster-wide --from-file password.txt"
    )]
    Raw(raw::Raw),
    /// Give an item of a SealedSecret in a file another value; nothing else of the file changes.
    ///
    /// The value is asked for, hidden and twice; or read from standard input where that is no terminal. An item that is not there yet is added.
    #[command(
        after_help = "Examples:\n  dxdr seal set apps/db.yaml password\n  openssl rand -hex 16 | dxdr seal set apps/db.yaml password\n  dxdr seal set apps/tls.yaml tls.key --from-file key.pem"
    )]
    Set(set::Set),
    /// Check files and folders before they are committed: Secrets in clear, SealedSecrets that cannot open, an expired certificate.
    ///
    /// Needs no key and no cluster. What .gitignore names is passed over. Exit code 8 when something must be mended.
    #[command(
        after_help = "Examples:\n  dxdr seal check .\n  dxdr seal check apps/ --exclude '**/testdata/**'\n  dxdr seal check . --output json"
    )]
    Check(check::Check),
    /// Fetch the certificate of the cluster's controller and pin it: `.dxdr/sealing-certificate.pem`, to be committed.
    #[command(
        after_help = "Examples:\n  dxdr seal certificate\n  dxdr seal certificate --controller-name sealed-secrets\n  dxdr seal certificate --cert https://sealed-secrets.example.com/v1/cert.pem --replace"
    )]
    Certificate(certificate::Pin),
    /// Move every item of files and folders, or of the cluster, to the newest key; only ciphertexts change, and only those under older keys.
    ///
    /// Needs the private keys, from files or the cluster. Each value is compared before and after, in memory. A second run has nothing to do.
    #[command(
        after_help = "Examples:\n  dxdr seal reencrypt . --recovery-private-key keys.yaml\n  dxdr seal reencrypt apps/ --check\n  dxdr seal reencrypt . --dry-run --output json\n  dxdr seal reencrypt --cluster --namespace staging"
    )]
    Reencrypt(reencrypt::Reencrypt),
    /// Open every item of files and folders, of the cluster or of a recovery point, and say with which key; exit code 3 when something does not open.
    #[command(
        after_help = "Examples:\n  dxdr seal verify apps/ --recovery-private-key keys.yaml\n  dxdr seal verify --cluster\n  dxdr seal verify --point 20240501t100000z-staging-ab12c --identity identity.txt"
    )]
    Verify(verify::Verify),
    /// List the sealing keys: which one is sealed with, how many items each opens, and whether it is in escrow.
    #[command(after_help = "Examples:\n  dxdr seal keys\n  dxdr seal keys --output json")]
    Keys(keys::Keys),
    /// Put the controller's keys into escrow: encrypted for the recipients of the SealingPolicy, in its store.
    ///
    /// Keys that are there already stay. Where the policy names other recipients than it did, they are encrypted anew: those that the cluster has by themselves,
    /// those that only the escrow has with what opens it (`--identity`, `--share`). Each file is read back and opened, with an identity made for that, before it counts.
    #[command(
        after_help = "Examples:\n  dxdr seal escrow\n  dxdr seal escrow test --identity identity.txt\n  dxdr seal escrow shares --threshold 3 --of 5\n  dxdr seal escrow --dry-run"
    )]
    Escrow(escrow::Escrow),
    /// Make a new sealing key: it goes into escrow and is proved to open there, before the controller gets it.
    ///
    /// A controller that is a Deployment is restarted to load it. What older keys sealed still opens.
    #[command(after_help = "Examples:\n  dxdr seal rotate --dry-run\n  dxdr seal rotate --yes --identity identity.txt")]
    Rotate(rotate::Rotate),
    /// Bring the keys in escrow into a cluster that has lost them, or never had them.
    ///
    /// The order that works: the keys, the controller, the SealedSecrets. The escrow is opened with an identity, or with as many shares of one as it takes.
    #[command(
        after_help = "Examples:\n  dxdr seal restore-keys --identity identity.txt --dry-run\n  dxdr seal restore-keys --identity identity.txt --context new-cluster\n  dxdr seal restore-keys --share -"
    )]
    RestoreKeys(restore_keys::RestoreKeys),
    /// Take a key out of the cluster that nothing needs any more; its copy in escrow stays.
    ///
    /// Looks at every SealedSecret of the cluster, every recovery point of the policy's environments, and the files that are named. Refused while one of
    /// them needs the key, and for the key that is sealed with.
    #[command(after_help = "Examples:\n  dxdr seal retire SHA256:m3k2x . --dry-run\n  dxdr seal retire SHA256:m3k2x apps/ --yes")]
    Retire(retire::Retire),
}

/// What sealing whole manifests takes: the flags of kubeseal.
#[derive(Debug, clap::Args)]
struct Manifests {
    #[command(flatten)]
    certificate: CertificateChoice,
    /// Secrets to seal [default: standard input].
    #[arg(long, short = 'f', value_name = "FILE", env = "SEALED_SECRETS_SECRET_FILE", hide_env = true)]
    secret_file: Option<PathBuf>,
    /// Where the SealedSecrets go, in one step [default: standard output].
    #[arg(long, short = 'w', value_name = "FILE", env = "SEALED_SECRETS_SEALED_SECRET_FILE", hide_env = true)]
    sealed_secret_file: Option<PathBuf>,
    /// Form of the result; `-o` says the same [default: as --sealed-secret-file is called, else as the input].
    #[arg(long, value_enum, env = "SEALED_SECRETS_FORMAT", hide_env = true)]
    format: Option<documents::Format>,
    #[command(flatten)]
    identity: Identity,
    /// Seal Secrets that hold nothing, too.
    #[arg(long, env = "SEALED_SECRETS_ALLOW_EMPTY_DATA", hide_env = true)]
    allow_empty_data: bool,
    /// Add what is sealed to the SealedSecret in this file; nothing else of the file changes.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["raw", "validate", "re_encrypt", "recovery_unseal", "fetch_cert", "sealed_secret_file"])]
    merge_into: Option<PathBuf>,
    /// Seal one value instead of a manifest, as `dxdr seal raw`.
    #[arg(long, conflicts_with_all = ["validate", "re_encrypt", "recovery_unseal", "fetch_cert"])]
    raw: bool,
    /// With --raw: the file that holds the value, `[NAME=]FILE` [default: standard input].
    #[arg(long, value_name = "FILE", requires = "raw")]
    from_file: Option<String>,
    /// Ask the cluster's controller whether it can open the SealedSecrets in the input.
    #[arg(long, conflicts_with_all = ["re_encrypt", "recovery_unseal", "fetch_cert"])]
    validate: bool,
    /// Move the SealedSecrets in the input to the newest key; a file that is named by -f alone is changed itself.
    #[arg(long, visible_alias = "rotate", conflicts_with_all = ["recovery_unseal", "fetch_cert"])]
    re_encrypt: bool,
    /// Open the SealedSecrets in the input with keys from files, and print Secrets.
    #[arg(long, conflicts_with_all = ["fetch_cert", "sealed_secret_file"], requires = "recovery_private_key")]
    recovery_unseal: bool,
    #[command(flatten)]
    keys: KeyFiles,
    /// Print the certificate that would be sealed with.
    #[arg(long)]
    fetch_cert: bool,
}

/// What ciphertexts are bound to.
#[derive(Debug, Clone, clap::Args)]
struct Identity {
    /// Namespace of the Secrets; one that contradicts a manifest is refused [default: the manifest's, then the context's].
    #[arg(long, short = 'n', value_name = "NAME", env = "SEALED_SECRETS_NAMESPACE", hide_env = true)]
    namespace: Option<String>,
    /// Name of the SealedSecret; of a manifest's instead of its own.
    #[arg(long, value_name = "NAME", env = "SEALED_SECRETS_NAME", hide_env = true)]
    name: Option<String>,
    /// What ciphertexts are bound to: name and namespace, the namespace alone, or nothing [default: as the manifest says, else strict].
    #[arg(
        long,
        value_name = "SCOPE",
        env = "SEALED_SECRETS_SCOPE",
        hide_env = true,
        value_parser = PossibleValuesParser::new(Scope::ALL.map(Scope::as_str)).try_map(|word| word.parse::<Scope>())
    )]
    scope: Option<Scope>,
}

/// Runs the command.
pub(crate) async fn run(command: Seal, global: &Global, terminal: &Terminal) -> Result<(), Failure> {
    secrecy::keep();
    match command.command {
        None => whole_manifests(command.manifests, global, terminal).await,
        Some(SealCommand::Raw(raw)) => raw::run(&raw, global, terminal).await,
        Some(SealCommand::Set(set)) => set::run(&set, global, terminal).await,
        Some(SealCommand::Check(check)) => check::run(&check, global, terminal),
        Some(SealCommand::Certificate(pin)) => certificate::pin(&pin, global, terminal).await,
        Some(SealCommand::Reencrypt(reencrypt)) => reencrypt::run(&reencrypt, global, terminal).await,
        Some(SealCommand::Verify(verify)) => verify::run(&verify, global, terminal).await,
        Some(SealCommand::Keys(keys)) => keys::run(&keys, global, terminal).await,
        Some(SealCommand::Escrow(escrow)) => escrow::run(&escrow, global, terminal).await,
        Some(SealCommand::Rotate(rotate)) => rotate::run(&rotate, global, terminal).await,
        Some(SealCommand::RestoreKeys(restore)) => restore_keys::run(&restore, global, terminal).await,
        Some(SealCommand::Retire(retire)) => retire::run(&retire, global, terminal).await,
    }
}

async fn whole_manifests(manifests: Manifests, global: &Global, terminal: &Terminal) -> Result<(), Failure> {
    if manifests.fetch_cert {
        let certificate = manifests.certificate.unpinned(global).await?;
        return match &manifests.sealed_secret_file {
            Some(file) => documents::write(file, certificate.pem()),
            None => {
                terminal.data(certificate.pem());
                Ok(())
            }
        };
    }
    if manifests.raw {
        let file =
            manifests.from_file.map(|named| named.split_once('=').map_or(named.clone(), |(_, file)| file.to_owned()).into());
        let raw = raw::Raw {
            certificate: manifests.certificate,
            identity: manifests.identity,
            from_file: file,
            sealed_secret_file: manifests.sealed_secret_file,
        };
        return raw::run(&raw, global, terminal).await;
    }
    if manifests.validate {
        return validate::run(&manifests, global, terminal).await;
    }
    if manifests.re_encrypt {
        return reencrypt::one(&manifests, global, terminal).await;
    }
    if manifests.recovery_unseal {
        return unseal::run(&manifests, global, terminal);
    }
    match &manifests.merge_into {
        Some(file) => merge::run(file, &manifests, global, terminal).await,
        None => manifests::run(&manifests, global, terminal).await,
    }
}

/// A refusal of what stands in a file.
fn refused(message: impl std::fmt::Display) -> Failure {
    Failure::new(Kind::BadInput, message.to_string())
}
