//! Which resource a word means: `po`, `pods`, `deployments.apps`, `Deployment`, or `apiVersion` and `kind` of a manifest.

use api_client::{Client, Error};
use api_meta::Resource;
use http::Method;
use serde::Deserialize;

/// What the server serves, in its own order.
#[derive(Debug, Default)]
pub struct Catalogue {
    entries: Vec<Entry>,
}

/// One served resource.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Where it lives.
    pub resource: Resource,
    /// Singular name.
    pub singular: String,
    /// Short names.
    pub short_names: Vec<String>,
    /// Groups of resources it is part of, such as `all`.
    pub categories: Vec<String>,
    /// What can be done with it.
    pub verbs: Vec<String>,
}

/// A word that no resource answers to.
#[derive(Debug, thiserror::Error)]
pub enum Unknown {
    /// A word of the command line.
    #[error("the server doesn't have a resource type {0:?}")]
    Word(String),
    /// The head of a manifest.
    #[error(
        "no matches for kind {kind:?} in version {api_version:?}; if it is a custom kind, apply its definition first"
    )]
    Kind {
        /// Its kind.
        kind: String,
        /// Its apiVersion.
        api_version: String,
    },
}

#[derive(Deserialize)]
struct Groups {
    #[serde(default)]
    groups: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    #[serde(default)]
    versions: Vec<Version>,
    #[serde(rename = "preferredVersion")]
    preferred: Option<Version>,
}

#[derive(Deserialize, Clone, PartialEq)]
struct Version {
    #[serde(rename = "groupVersion")]
    group_version: String,
}

#[derive(Deserialize)]
struct Resources {
    #[serde(default)]
    resources: Vec<Described>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Described {
    name: String,
    kind: String,
    namespaced: bool,
    #[serde(default)]
    singular_name: String,
    #[serde(default)]
    short_names: Vec<String>,
    #[serde(default)]
    categories: Vec<String>,
    #[serde(default)]
    verbs: Vec<String>,
}

impl Catalogue {
    /// Asks the server; preferred versions come before the others of their group. A group that cannot be read is left out.
    pub async fn fetch(client: &Client) -> Result<Catalogue, Error> {
        let mut out = Catalogue::default();
        out.read(client, "v1", "/api/v1").await?;
        let groups: Groups = client.json(Method::GET, "/apis", &[], None).await?;
        for group in groups.groups {
            let first = group.preferred.into_iter();
            let mut seen: Vec<Version> = Vec::new();
            for version in first.chain(group.versions) {
                if seen.contains(&version) {
                    continue;
                }
                let path = format!("/apis/{}", version.group_version);
                if let Err(error) = out.read(client, &version.group_version, &path).await {
                    tracing::warn!(group = %version.group_version, %error, "read the resources of a group");
                }
                seen.push(version);
            }
        }
        Ok(out)
    }

    async fn read(&mut self, client: &Client, group_version: &str, path: &str) -> Result<(), Error> {
        let found: Resources = client.json(Method::GET, path, &[], None).await?;
        let (group, version) = group_version.split_once('/').unwrap_or(("", group_version));
        for d in found.resources.into_iter().filter(|d| !d.name.contains('/')) {
            let resource = Resource {
                group: group.to_owned().into(),
                version: version.to_owned().into(),
                plural: d.name.into(),
                kind: d.kind.into(),
                namespaced: d.namespaced,
            };
            self.entries.push(Entry {
                resource,
                singular: d.singular_name,
                short_names: d.short_names,
                categories: d.categories,
                verbs: d.verbs,
            });
        }
        Ok(())
    }

    /// All of them.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The resource a word of the command line means: short name, singular, plural or kind, each perhaps with `.group` or
    /// `.version.group` behind it.
    pub fn word(&self, word: &str) -> Result<&Entry, Unknown> {
        let found = self.named(word, |_| true).or_else(|| {
            let (name, rest) = word.split_once('.')?;
            let by_group = self.named(name, |r| r.group == rest);
            by_group.or_else(|| {
                let (version, group) = rest.split_once('.')?;
                self.named(name, |r| r.group == group && r.version == version)
            })
        });
        found.ok_or_else(|| Unknown::Word(word.to_owned()))
    }

    fn named(&self, word: &str, fits: impl Fn(&Resource) -> bool) -> Option<&Entry> {
        let word = word.to_ascii_lowercase();
        let exact = |e: &&Entry| {
            e.resource.plural == word || e.singular == word || e.resource.kind.to_lowercase() == word
        };
        let mut fitting = self.entries.iter().filter(|e| fits(&e.resource));
        let exact = fitting.clone().find(exact);
        exact.or_else(|| fitting.find(|e| e.short_names.contains(&word)))
    }

    /// The resources of a category such as `all`.
    pub fn category(&self, word: &str) -> Vec<&Entry> {
        self.entries.iter().filter(|e| e.categories.iter().any(|c| c == word)).collect()
    }

    /// The resource of a manifest.
    pub fn kind(&self, api_version: &str, kind: &str) -> Result<&Entry, Unknown> {
        let found =
            self.entries.iter().find(|e| e.resource.kind == kind && e.resource.api_version() == api_version);
        found.ok_or_else(|| Unknown::Kind { kind: kind.to_owned(), api_version: api_version.to_owned() })
    }
}
