//! Why there is no way to a cluster: something about the kubeconfig, before any server was asked.

use std::{io, path::PathBuf};

/// What is wrong with the kubeconfig or with what was asked of it.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Neither a file nor a Pod around us.
    #[error("there is no kubeconfig: {} does not exist, and this is no Pod of a cluster", .looked.display())]
    NoKubeconfig {
        /// The place that is looked at when nothing else is said.
        looked: PathBuf,
    },
    /// A file that was named is not there.
    #[error("the kubeconfig {} named by {named_by} does not exist", join(.files))]
    Missing {
        /// The files that were named; none of them exists.
        files: Vec<PathBuf>,
        /// `--kubeconfig` or `KUBECONFIG`.
        named_by: &'static str,
    },
    /// The system does not let us read it.
    #[error("cannot read the kubeconfig {}", .file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It is no kubeconfig. What it says instead is not repeated: it may be a credential.
    #[error("{} is not a kubeconfig: {problem}", .file.display())]
    Malformed {
        /// The file.
        file: PathBuf,
        /// Where it stops making sense.
        problem: String,
    },
    /// The context asked for is not in it.
    #[error("there is no context `{context}` in {}", join(.files))]
    NoSuchContext {
        /// The files that were read.
        files: Vec<PathBuf>,
        /// The context asked for, by `--context` or as the current one.
        context: String,
        /// Whether it is the file that asks for it, as its `current-context`.
        is_current: bool,
        /// The contexts that exist.
        existing: Vec<String>,
    },
    /// No context was asked for, and it names none as the current one.
    #[error("no context was chosen, and {} names no current one", join(.files))]
    NoCurrentContext {
        /// The files that were read.
        files: Vec<PathBuf>,
        /// The contexts that exist.
        existing: Vec<String>,
    },
    /// The context leads nowhere, or to something that cannot be used.
    #[error("the context `{context}` of {} cannot be used: {problem}", join(.files))]
    Unusable {
        /// The files that were read.
        files: Vec<PathBuf>,
        /// The context.
        context: String,
        /// What is missing or wrong.
        problem: String,
    },
    /// The credential plugin or the token file of the context fails.
    #[error("cannot log in with the context `{context}`: {problem}")]
    Credentials {
        /// The context.
        context: String,
        /// What failed; never a credential.
        problem: String,
    },
    /// A server that needs no login cannot be reached from here.
    #[error("cannot reach {server}: {problem}")]
    Server {
        /// Its address.
        server: String,
        /// What is missing or wrong.
        problem: String,
    },
    /// We run in a Pod, and its service account cannot be used.
    #[error("cannot use the service account of this Pod: {problem}")]
    Pod {
        /// What is missing or wrong.
        problem: String,
    },
}

impl ConnectError {
    /// What to do next.
    pub fn hints(&self) -> Vec<String> {
        match self {
            Self::NoKubeconfig { .. } => vec![
                "name one with --kubeconfig or the variable KUBECONFIG".into(),
                "without a cluster at hand, `dxdr sandbox up` starts one and prints the kubeconfig to use".into(),
            ],
            Self::Missing { named_by, .. } => vec![format!("correct {named_by}, or leave it out to use ~/.kube/config")],
            Self::Unreadable { .. } => vec!["check the permissions of the file".into()],
            Self::Malformed { .. } => vec!["`kubectl config view --kubeconfig FILE` shows how kubectl reads it".into()],
            Self::NoSuchContext { context, existing, is_current, .. } => {
                let mut hints = Vec::new();
                if let Some(near) = nearest(context, existing) {
                    hints.push(format!("did you mean `--context {near}`?"));
                }
                hints.push(listed(existing));
                if *is_current {
                    hints.push(
                        "the file itself names it as its current-context; `kubectl config use-context NAME` changes that".into(),
                    );
                }
                hints
            }
            Self::NoCurrentContext { existing, .. } => {
                vec!["choose one with --context, or for good with `kubectl config use-context NAME`".into(), listed(existing)]
            }
            Self::Unusable { .. } => vec!["`kubectl config view` shows contexts, clusters and users; correct the entry".into()],
            Self::Credentials { .. } => vec!["log in to the cluster again, or choose another context with --context".into()],
            Self::Server { .. } => vec!["correct the address, or HTTPS_PROXY and HTTP_PROXY in the environment".into()],
            Self::Pod { .. } => {
                vec!["give the Pod a service account (automountServiceAccountToken), or name a kubeconfig".into()]
            }
        }
    }
}

fn listed(existing: &[String]) -> String {
    if existing.is_empty() {
        "no contexts exist there".into()
    } else {
        let quoted: Vec<String> = existing.iter().map(|name| format!("`{name}`")).collect();
        format!("these contexts exist: {}", quoted.join(", "))
    }
}

fn join(files: &[PathBuf]) -> String {
    let files: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
    files.join(", ")
}

/// The existing name that a typing error away from `asked` at most: equal but for case, or with up to two letters changed.
fn nearest<'a>(asked: &str, existing: &'a [String]) -> Option<&'a str> {
    let asked = asked.to_lowercase();
    let near = existing.iter().map(|name| (distance(&asked, &name.to_lowercase()), name.as_str())).min()?;
    (near.0 <= 2 && near.0 < asked.chars().count()).then_some(near.1)
}

/// Levenshtein's.
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (line, from) in left.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = line + 1;
        for (column, to) in right.iter().enumerate() {
            let replaced = diagonal + usize::from(from != *to);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistyped_context_is_answered_with_the_one_meant() {
        let existing = vec!["production".to_owned(), "staging".to_owned()];
        assert_eq!(nearest("stagin", &existing), Some("staging"));
        assert_eq!(nearest("Production", &existing), Some("production"));
        assert_eq!(nearest("dev", &existing), None);
        assert_eq!(nearest("", &["a".to_owned()]), None);
    }
}
