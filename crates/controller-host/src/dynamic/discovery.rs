//! Which kinds an API server serves, each once, in its preferred version.

use std::collections::BTreeSet;

use api_client::{Client, Error};
use api_meta::Resource;
use serde::Deserialize;

/// What was found out.
#[derive(Clone, Debug, Default)]
pub(crate) struct Discovery {
    /// The kinds, in order of their groups.
    pub kinds: Vec<Kind>,
    /// Groups in a version that could not be asked, with the reason.
    pub failures: Vec<(String, String)>,
}

/// One kind.
#[derive(Clone, Debug)]
pub(crate) struct Kind {
    pub resource: Resource,
    verbs: Vec<String>,
}

impl Kind {
    /// Whether the server offers all these verbs for it.
    pub(crate) fn offers(&self, verbs: &[&str]) -> bool {
        verbs.iter().all(|v| self.verbs.iter().any(|w| w == v))
    }
}

impl Discovery {
    /// The collection of a kind in a group.
    pub(crate) fn resource_of(&self, group: &str, kind: &str) -> Option<&Resource> {
        self.kinds.iter().map(|k| &k.resource).find(|r| r.group == group && r.kind == kind)
    }
}

#[derive(Deserialize)]
struct Versions {
    #[serde(default)]
    versions: Vec<String>,
}

#[derive(Deserialize)]
struct Groups {
    #[serde(default)]
    groups: Vec<Group>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Group {
    name: String,
    #[serde(default)]
    versions: Vec<Version>,
    preferred_version: Option<Version>,
}

#[derive(Deserialize)]
struct Version {
    version: String,
}

#[derive(Deserialize)]
struct Resources {
    #[serde(default)]
    resources: Vec<Served>,
}

#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
struct Served {
    name: String,
    kind: String,
    namespaced: bool,
    verbs: Vec<String>,
}

/// Asks for everything. A group that does not answer is noted; no answer about the groups themselves is an error.
pub(crate) async fn discover(client: &Client) -> Result<Discovery, Error> {
    let core: Versions = client.json(http::Method::GET, "/api", &[], None).await?;
    let named: Groups = client.json(http::Method::GET, "/apis", &[], None).await?;
    let mut found = Discovery::default();
    let mut known = BTreeSet::new();
    for version in core.versions {
        add(client, "", &version, &mut known, &mut found).await;
    }
    for group in named.groups {
        let preferred = group.preferred_version.map(|v| v.version);
        let mut versions: Vec<String> = group.versions.into_iter().map(|v| v.version).collect();
        versions.sort_by_key(|v| Some(v) != preferred.as_ref());
        for version in versions {
            add(client, &group.name, &version, &mut known, &mut found).await;
        }
    }
    Ok(found)
}

async fn add(
    client: &Client,
    group: &str,
    version: &str,
    known: &mut BTreeSet<(String, String)>,
    found: &mut Discovery,
) {
    let path = if group.is_empty() { format!("/api/{version}") } else { format!("/apis/{group}/{version}") };
    let answer: Result<Resources, Error> = client.json(http::Method::GET, &path, &[], None).await;
    let served = match answer {
        Ok(served) => served.resources,
        Err(error) => {
            let name = path.trim_start_matches("/apis/").trim_start_matches("/api/").to_owned();
            return found.failures.push((name, error.to_string()));
        }
    };
    for kind in served.into_iter().filter(|s| !s.name.contains('/')) {
        if !known.insert((group.to_owned(), kind.name.clone())) {
            continue;
        }
        let resource = Resource {
            group: group.to_owned().into(),
            version: version.to_owned().into(),
            plural: kind.name.into(),
            kind: kind.kind.into(),
            namespaced: kind.namespaced,
        };
        found.kinds.push(Kind { resource, verbs: kind.verbs });
    }
}
