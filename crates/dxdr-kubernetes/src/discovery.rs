//! What a server serves: from aggregated discovery, two requests, or from the older one, a request for each group and version.

use std::collections::HashMap;

use dxdr_environment::{DiscoveredKind, ResourceKind};
use dxdr_provider::{ClusterError, cluster::Discovery};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde::{Deserialize, de::DeserializeOwned};

use crate::{
    call::{Call, JSON},
    cluster::KubernetesCluster,
};

/// Kubernetes 1.30 knows `v2`, 1.26 `v2beta1`; anything older answers with plain JSON.
const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,\
                          application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json";

/// Requests in flight when groups are asked for one by one.
const AT_ONCE: usize = 8;

/// Finds all groups; fails when the core group or the list of groups cannot be had.
pub(crate) async fn discover(cluster: &KubernetesCluster) -> Result<Discovery, ClusterError> {
    let (core, others) = futures::try_join!(core(cluster), others(cluster))?;
    Ok(settle(core.into_iter().chain(others)))
}

/// A group, its versions in the server's order of preference.
#[derive(Debug)]
struct Group {
    name: String,
    versions: Vec<Version>,
}

#[derive(Debug)]
struct Version {
    name: String,
    /// Or why they cannot be had.
    resources: Result<Vec<Resource>, String>,
}

#[derive(Debug)]
struct Resource {
    plural: String,
    singular: String,
    kind: String,
    namespaced: bool,
    verbs: Vec<String>,
    short_names: Vec<String>,
}

/// One entry a kind, in the first version that serves it.
fn settle(groups: impl Iterator<Item = Group>) -> Discovery {
    let mut discovery = Discovery::default();
    for group in groups {
        let mut places: HashMap<String, usize> = HashMap::new();
        for version in group.versions {
            let resources = match version.resources {
                Ok(resources) => resources,
                Err(why) => {
                    let name = if group.name.is_empty() { version.name } else { format!("{}/{}", group.name, version.name) };
                    discovery.failed_groups.push((name, why));
                    continue;
                }
            };
            for resource in resources {
                if let Some(&place) = places.get(&resource.plural) {
                    discovery.kinds[place].served_versions.push(version.name.clone());
                    continue;
                }
                places.insert(resource.plural.clone(), discovery.kinds.len());
                discovery.kinds.push(DiscoveredKind {
                    kind: ResourceKind {
                        group: group.name.clone(),
                        version: version.name.clone(),
                        kind: resource.kind,
                        plural: resource.plural,
                        namespaced: resource.namespaced,
                    },
                    verbs: resource.verbs,
                    short_names: resource.short_names,
                    singular: resource.singular,
                    served_versions: vec![version.name.clone()],
                });
            }
        }
    }
    discovery
}

async fn core(cluster: &KubernetesCluster) -> Result<Vec<Group>, ClusterError> {
    let call = call(cluster, "/api", AGGREGATED);
    let body = cluster.exchange().body(&call).await?;
    if let Some(groups) = aggregated(cluster, &call, &body)? {
        return Ok(groups);
    }
    let versions: CoreVersions = parse(cluster, &call, &body)?;
    let versions = stream::iter(versions.versions.unwrap_or_default())
        .map(|name| async move {
            let resources = resources(cluster, &format!("/api/{name}")).await?;
            Ok::<_, ClusterError>(Version { name, resources: Ok(resources) })
        })
        .buffered(AT_ONCE)
        .try_collect()
        .await?;
    Ok(vec![Group { name: String::new(), versions }])
}

async fn others(cluster: &KubernetesCluster) -> Result<Vec<Group>, ClusterError> {
    let call = call(cluster, "/apis", AGGREGATED);
    let body = cluster.exchange().body(&call).await?;
    if let Some(groups) = aggregated(cluster, &call, &body)? {
        return Ok(groups);
    }
    let list: LegacyGroups = parse(cluster, &call, &body)?;
    let wanted = list.groups.unwrap_or_default().into_iter().enumerate().flat_map(|(place, group)| {
        let mut names: Vec<String> = group.versions.unwrap_or_default().into_iter().map(|version| version.version).collect();
        if let Some(preferred) = group.preferred_version {
            // Stable: the others keep the server's order.
            names.sort_by_key(|name| *name != preferred.version);
        }
        names.into_iter().map(move |version| (place, group.name.clone(), version))
    });
    let found: Vec<(usize, String, Version)> = stream::iter(wanted)
        .map(|(place, group, name)| async move {
            let resources = resources(cluster, &format!("/apis/{group}/{name}")).await.map_err(|error| error.message);
            (place, group, Version { name, resources })
        })
        .buffered(AT_ONCE)
        .collect()
        .await;
    let mut groups: Vec<(usize, Group)> = Vec::new();
    for (place, name, version) in found {
        match groups.last_mut() {
            Some((last, group)) if *last == place => group.versions.push(version),
            _ => groups.push((place, Group { name, versions: vec![version] })),
        }
    }
    Ok(groups.into_iter().map(|(_, group)| group).collect())
}

/// The groups of an aggregated answer; `None` when the server does not know that kind of answer.
fn aggregated(cluster: &KubernetesCluster, call: &Call, body: &[u8]) -> Result<Option<Vec<Group>>, ClusterError> {
    let typed: Typed = parse(cluster, call, body)?;
    if typed.kind != "APIGroupDiscoveryList" {
        return Ok(None);
    }
    let list: AggregatedList = parse(cluster, call, body)?;
    let groups = list.items.unwrap_or_default().into_iter().map(|group| Group {
        name: group.metadata.name.unwrap_or_default(),
        versions: group.versions.unwrap_or_default().into_iter().map(AggregatedVersion::into_version).collect(),
    });
    Ok(Some(groups.collect()))
}

async fn resources(cluster: &KubernetesCluster, path: &str) -> Result<Vec<Resource>, ClusterError> {
    let call = call(cluster, path, JSON);
    let body = cluster.exchange().body(&call).await?;
    let list: LegacyResources = parse(cluster, &call, &body)?;
    let resources = list.resources.unwrap_or_default().into_iter().filter(|resource| !resource.name.contains('/'));
    Ok(resources
        .map(|resource| Resource {
            singular: singular(resource.singular_name, &resource.kind),
            plural: resource.name,
            kind: resource.kind,
            namespaced: resource.namespaced,
            verbs: resource.verbs.unwrap_or_default(),
            short_names: resource.short_names.unwrap_or_default(),
        })
        .collect())
}

fn call(cluster: &KubernetesCluster, path: &str, accept: &'static str) -> Call {
    let object = format!("the kinds of {path}");
    Call { accept, ..Call::read(path.into(), "discover", object, cluster.timeouts().request) }
}

fn parse<T: DeserializeOwned>(cluster: &KubernetesCluster, call: &Call, body: &[u8]) -> Result<T, ClusterError> {
    serde_json::from_slice(body).map_err(|error| cluster.malformed(call, "the answer is no discovery document", error))
}

/// Old servers leave the singular name of built-in kinds empty.
fn singular(name: Option<String>, kind: &str) -> String {
    name.filter(|name| !name.is_empty()).unwrap_or_else(|| kind.to_lowercase())
}

#[derive(Deserialize)]
struct Typed {
    #[serde(default)]
    kind: String,
}

#[derive(Deserialize)]
struct AggregatedList {
    items: Option<Vec<AggregatedGroup>>,
}

#[derive(Deserialize)]
struct AggregatedGroup {
    #[serde(default)]
    metadata: GroupMetadata,
    versions: Option<Vec<AggregatedVersion>>,
}

#[derive(Deserialize, Default)]
struct GroupMetadata {
    name: Option<String>,
}

#[derive(Deserialize)]
struct AggregatedVersion {
    version: String,
    resources: Option<Vec<AggregatedResource>>,
    freshness: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AggregatedResource {
    resource: String,
    response_kind: Option<ResponseKind>,
    scope: Option<String>,
    singular_resource: Option<String>,
    verbs: Option<Vec<String>>,
    short_names: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct ResponseKind {
    #[serde(default)]
    kind: String,
}

impl AggregatedVersion {
    fn into_version(self) -> Version {
        if self.freshness.as_deref() == Some("Stale") {
            let why = "the API server behind this group does not answer; what it served before is not known to be true";
            return Version { name: self.version, resources: Err(why.into()) };
        }
        // A resource without a kind has subresources only.
        let resources = self.resources.unwrap_or_default().into_iter().filter_map(|resource| {
            let kind = resource.response_kind.map(|response| response.kind).filter(|kind| !kind.is_empty())?;
            Some(Resource {
                singular: singular(resource.singular_resource, &kind),
                plural: resource.resource,
                kind,
                namespaced: resource.scope.as_deref() == Some("Namespaced"),
                verbs: resource.verbs.unwrap_or_default(),
                short_names: resource.short_names.unwrap_or_default(),
            })
        });
        Version { resources: Ok(resources.collect()), name: self.version }
    }
}

#[derive(Deserialize)]
struct CoreVersions {
    versions: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct LegacyGroups {
    groups: Option<Vec<LegacyGroup>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LegacyGroup {
    name: String,
    versions: Option<Vec<LegacyVersion>>,
    preferred_version: Option<LegacyVersion>,
}

#[derive(Deserialize)]
struct LegacyVersion {
    version: String,
}

#[derive(Deserialize)]
struct LegacyResources {
    resources: Option<Vec<LegacyResource>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LegacyResource {
    name: String,
    singular_name: Option<String>,
    namespaced: bool,
    kind: String,
    verbs: Option<Vec<String>>,
    short_names: Option<Vec<String>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(name: &str, plurals: &[&str]) -> Version {
        let resource = |plural: &&str| Resource {
            plural: (*plural).into(),
            singular: String::new(),
            kind: (*plural).to_uppercase(),
            namespaced: true,
            verbs: vec!["list".into()],
            short_names: Vec::new(),
        };
        Version { name: name.into(), resources: Ok(plurals.iter().map(resource).collect()) }
    }

    #[test]
    fn a_kind_comes_in_the_first_version_that_serves_it() {
        let down = Version { name: "v3".into(), resources: Err("down".into()) };
        let group = Group {
            name: "example.com".into(),
            versions: vec![down, version("v2", &["gadgets"]), version("v1", &["widgets", "gadgets"])],
        };
        let discovery = settle([group].into_iter());
        let found: Vec<_> = discovery.kinds.iter().map(|kind| (kind.kind.plural.as_str(), kind.kind.version.as_str())).collect();
        assert_eq!(found, [("gadgets", "v2"), ("widgets", "v1")]);
        assert_eq!(discovery.kinds[0].served_versions, ["v2", "v1"]);
        assert_eq!(discovery.failed_groups, [("example.com/v3".to_owned(), "down".to_owned())]);
    }
}
