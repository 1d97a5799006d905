//! Which workload a name means, and how it is changed.

use anyhow::bail;
use api_client::{Class, Patch, WriteOptions};
use api_meta::Resource;
use serde_json::{Value, json};

use super::Named;
use crate::output::name as name_of;
use crate::session::Session;

/// A workload that is released.
pub(super) struct Subject {
    pub(super) kind: Kind,
    pub(super) resource: Resource,
    pub(super) namespace: String,
    pub(super) name: String,
    /// As last read.
    pub(super) object: Value,
}

/// Its kind, as far as words differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Cafe,
    CloneSet,
    Deployment,
    /// Only its status can be asked for.
    Other,
}

impl Kind {
    fn of(kind: &str) -> Kind {
        match kind {
            "CafeDeployment" => Kind::Cafe,
            "CloneSet" => Kind::CloneSet,
            "Deployment" => Kind::Deployment,
            _ => Kind::Other,
        }
    }
}

/// Kinds among which a bare name is looked for.
const SEARCHED: [&str; 3] =
    ["cafedeployments.apps.cafe.cloud.alipay.com", "clonesets.apps.kruise.io", "deployments.apps"];

/// What to do about a workload as read.
pub(super) enum Wish {
    /// It is so already, or there is nothing to do; the sentence says which.
    Nothing(String),
    /// A merge patch, and the sentence for when it is done.
    Merge(Value, String),
    /// JSON patch operations, and the sentence for when they are done.
    Json(Vec<Value>, String),
}

/// Writers that meet look again; after so many times somebody writes without end.
const TRIES_MAX: usize = 5;

impl Subject {
    /// The workload that the words of the shell mean.
    pub(super) async fn find(session: &mut Session, named: &Named) -> anyhow::Result<Subject> {
        let catalogue = session.catalogue().await?;
        let namespace = session.namespace(&named.scope);
        if let Some((word, name)) = named.name.split_once('/') {
            let resource = catalogue.word(word)?.resource.clone();
            let object = session.client.get::<Value>(&resource, &namespace, name).await?;
            return Ok(Subject::of(resource, namespace, object));
        }
        let mut found = Vec::new();
        for word in SEARCHED {
            let Ok(entry) = catalogue.word(word) else { continue };
            match session.client.get::<Value>(&entry.resource, &namespace, &named.name).await {
                Ok(object) => found.push(Subject::of(entry.resource.clone(), namespace.clone(), object)),
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error.into()),
            }
        }
        match found.pop() {
            Some(only) if found.is_empty() => Ok(only),
            Some(last) => {
                let names: Vec<String> = found.iter().chain([&last]).map(|s| name_of(&s.object)).collect();
                bail!("{:?} is the name of several workloads; say one of: {}", named.name, names.join(", "))
            }
            None => bail!(
                "no CafeDeployment, CloneSet or Deployment is named {:?} in namespace {namespace}; -n NAME looks in another, \
                 TYPE/NAME names another kind",
                named.name
            ),
        }
    }

    fn of(resource: Resource, namespace: String, object: Value) -> Subject {
        let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        Subject { kind: Kind::of(&resource.kind), resource, namespace, name, object }
    }

    /// Its name with its kind.
    pub(super) fn title(&self) -> String {
        name_of(&self.object)
    }

    /// Changes it as `wish` says, in exactly the version that was judged: who meets another writer judges anew.
    pub(super) async fn change(
        &mut self,
        session: &mut Session,
        wish: impl Fn(&Subject) -> anyhow::Result<Wish>,
    ) -> anyhow::Result<()> {
        for _ in 0..TRIES_MAX {
            let version = self.object["metadata"]["resourceVersion"].clone();
            let (patch, done) = match wish(self)? {
                Wish::Nothing(why) => {
                    session.io.say(&format!("{} {why}\n", self.title()));
                    return Ok(());
                }
                Wish::Merge(mut body, done) => {
                    body["metadata"]["resourceVersion"] = version;
                    (Patch::Merge(body), done)
                }
                Wish::Json(mut steps, done) => {
                    let test = json!({"op": "test", "path": "/metadata/resourceVersion", "value": version});
                    steps.insert(0, test);
                    (Patch::Json(steps.into()), done)
                }
            };
            let key = (self.namespace.as_str(), self.name.as_str());
            let written = session
                .client
                .patch::<Value>(&self.resource, key, "", &patch, &WriteOptions::default())
                .await;
            match written {
                Ok(object) => {
                    self.object = object;
                    session.io.say(&format!("{} {done}\n", self.title()));
                    return Ok(());
                }
                // A failed test of a JSON patch is invalid, not a conflict.
                Err(error) if matches!(error.class(), Class::Conflict | Class::Invalid) => {
                    let before = self.object["metadata"]["resourceVersion"].clone();
                    self.object = session.client.get(&self.resource, key.0, key.1).await?;
                    if self.object["metadata"]["resourceVersion"] == before {
                        return Err(error.into());
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
        bail!("{} is written without end by somebody else; try again in a moment", self.title())
    }
}
