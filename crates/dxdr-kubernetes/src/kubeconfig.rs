//! Which kubeconfig and which of its contexts: kubectl's rules, with errors that name the file.

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
};

use kube::config::{Kubeconfig, KubeconfigError};

use crate::connect_error::ConnectError;

/// What of the process's environment decides how a cluster is reached.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// `KUBECONFIG`: a list of files.
    pub kubeconfig: Option<OsString>,
    /// Where `.kube/config` is looked for.
    pub home: Option<PathBuf>,
    /// Whether `KUBERNETES_SERVICE_HOST` says that this is a Pod.
    pub in_pod: bool,
    /// `HTTPS_PROXY`
    pub https_proxy: Option<String>,
    /// `HTTP_PROXY`
    pub http_proxy: Option<String>,
    /// `NO_PROXY`
    pub no_proxy: Option<String>,
}

impl Surroundings {
    /// Those of this process.
    pub fn of_process() -> Self {
        let either = |upper: &str| env::var(upper).or_else(|_| env::var(upper.to_lowercase())).ok();
        Self {
            kubeconfig: env::var_os("KUBECONFIG"),
            home: env::home_dir(),
            in_pod: env::var_os("KUBERNETES_SERVICE_HOST").is_some(),
            https_proxy: either("HTTPS_PROXY"),
            http_proxy: either("HTTP_PROXY"),
            no_proxy: either("NO_PROXY"),
        }
    }
}

/// A context, settled.
#[derive(Debug)]
pub(crate) struct Chosen {
    pub(crate) kubeconfig: Kubeconfig,
    pub(crate) files: Vec<PathBuf>,
    pub(crate) context: String,
    /// The cluster's own `proxy-url`, which counts before any variable.
    pub(crate) proxy: Option<String>,
}

impl Chosen {
    /// The namespace that the context names.
    pub(crate) fn namespace(&self) -> Option<String> {
        let context = self.kubeconfig.contexts.iter().find(|context| context.name == self.context)?;
        context.context.as_ref()?.namespace.clone().filter(|namespace| !namespace.is_empty())
    }
}

/// Finds the context that was asked for, or the current one; `None` when the Pod's service account is to be used.
pub(crate) fn choose(
    file: Option<&Path>,
    context: Option<&str>,
    surroundings: &Surroundings,
) -> Result<Option<Chosen>, ConnectError> {
    let Some(files) = files(file, context, surroundings)? else { return Ok(None) };
    let mut kubeconfig = Kubeconfig::default();
    for file in &files {
        let read = Kubeconfig::read_from(file).map_err(|error| unreadable(file, error))?;
        kubeconfig = kubeconfig.merge(read).map_err(|error| unreadable(file, error))?;
    }
    let existing: Vec<String> = kubeconfig.contexts.iter().map(|context| context.name.clone()).collect();
    let current = kubeconfig.current_context.clone().filter(|name| !name.is_empty());
    let is_current = context.is_none();
    let Some(name) = context.map(str::to_owned).or(current) else {
        return Err(ConnectError::NoCurrentContext { files, existing });
    };
    let found = kubeconfig.contexts.iter().find(|context| context.name == name).and_then(|context| context.context.clone());
    let Some(found) = found else {
        return Err(ConnectError::NoSuchContext { files, context: name, is_current, existing });
    };
    let unusable = |problem: String| ConnectError::Unusable { files: files.clone(), context: name.clone(), problem };
    let cluster = kubeconfig.clusters.iter().find(|cluster| cluster.name == found.cluster);
    let Some(cluster) = cluster.and_then(|cluster| cluster.cluster.as_ref()) else {
        return Err(unusable(format!("its cluster `{}` does not exist", found.cluster)));
    };
    if cluster.server.as_deref().is_none_or(str::is_empty) {
        return Err(unusable(format!("its cluster `{}` has no `server`", found.cluster)));
    }
    if let Some(user) = found.user.as_deref().filter(|user| !user.is_empty())
        && !kubeconfig.auth_infos.iter().any(|known| known.name == user)
    {
        return Err(unusable(format!("its user `{user}` does not exist")));
    }
    let proxy = cluster.proxy_url.clone().filter(|proxy| !proxy.is_empty());
    Ok(Some(Chosen { files, context: name, proxy, kubeconfig }))
}

/// The files to read, which all exist; `None` for the Pod's service account.
fn files(file: Option<&Path>, context: Option<&str>, surroundings: &Surroundings) -> Result<Option<Vec<PathBuf>>, ConnectError> {
    if let Some(file) = file {
        return named(vec![file.to_owned()], "--kubeconfig").map(Some);
    }
    let listed = surroundings.kubeconfig.as_ref().map(|list| env::split_paths(list).collect::<Vec<_>>()).unwrap_or_default();
    let listed: Vec<PathBuf> = listed.into_iter().filter(|file| !file.as_os_str().is_empty()).collect();
    if !listed.is_empty() {
        return named(listed, "KUBECONFIG").map(Some);
    }
    let usual = surroundings.home.clone().unwrap_or_else(|| PathBuf::from("~")).join(".kube/config");
    if usual.exists() {
        Ok(Some(vec![usual]))
    } else if surroundings.in_pod && context.is_none() {
        Ok(None)
    } else {
        Err(ConnectError::NoKubeconfig { looked: usual })
    }
}

/// Of a list, the files that do not exist are passed over, as kubectl does, unless none does.
fn named(files: Vec<PathBuf>, named_by: &'static str) -> Result<Vec<PathBuf>, ConnectError> {
    let existing: Vec<PathBuf> = files.iter().filter(|file| file.exists()).cloned().collect();
    if existing.is_empty() { Err(ConnectError::Missing { files, named_by }) } else { Ok(existing) }
}

fn unreadable(file: &Path, error: KubeconfigError) -> ConnectError {
    let file = file.to_owned();
    match error {
        KubeconfigError::ReadConfig(source, _) => ConnectError::Unreadable { file, source },
        KubeconfigError::Parse(error) => {
            // The parser's own words quote the text, which may be a token.
            let problem = match error.location() {
                Some(place) => format!("line {}, column {} is not what is expected there", place.line(), place.column()),
                None => "it is no such YAML".into(),
            };
            ConnectError::Malformed { file, problem }
        }
        other => ConnectError::Malformed { file, problem: other.to_string() },
    }
}
