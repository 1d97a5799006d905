//! Binding volumes before their pod: volumes set aside for claims, claims told for which node a volume is to be made. The rest is
//! the volume controller's and the provisioner's; the pod waits for them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use api_client::{Client, Patch, WriteOptions};
use api_core::PersistentVolumeClaim;
use api_meta::{Object, ObjectKey, ObjectMeta, Resource};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use sched_core::{ClaimFact, Snapshot, VolumeFact, VolumePlan};
use serde::Deserialize;
use serde_json::{Value, json};
use stdx::{BoxFuture, Time};

use crate::core::Bind;

/// The collection of volumes.
pub(crate) const VOLUMES: Resource = Resource::cluster("", "v1", "persistentvolumes", "PersistentVolume");
/// The collection of classes of storage.
pub(crate) const CLASSES: Resource =
    Resource::cluster("storage.k8s.io", "v1", "storageclasses", "StorageClass");
/// The collection of what nodes say of their CSI drivers.
pub(crate) const CSI_NODES: Resource = Resource::cluster("storage.k8s.io", "v1", "csinodes", "CSINode");

/// So long a pod waits for its volumes, as upstream does.
pub(crate) const WAIT_MAX: Duration = Duration::from_secs(600);
/// Greatest number of pods whose volumes are being written about at once; others wait.
const IN_FLIGHT_MAX: usize = 16;

/// A pod that waits for its volumes.
pub(crate) struct Waiting {
    pub(crate) bind: Bind,
    pub(crate) until: Time,
    /// Versions of what was written for it; nothing before that.
    written: Option<Versions>,
}

/// Versions of objects as written; claims by namespace and name, volumes by name alone.
pub(crate) type Versions = BTreeMap<ObjectKey, u64>;

/// How far the volumes of a pod are.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// Not yet.
    Waits,
    /// All bound.
    Ready,
    /// It will not come to that; why.
    Failed(String),
}

impl Waiting {
    pub(crate) fn new(bind: Bind, now: Time) -> Waiting {
        Waiting { bind, until: now + WAIT_MAX, written: None }
    }

    pub(crate) fn set_written(&mut self, versions: Versions) {
        self.written = Some(versions);
    }

    /// How far they are, by what the mirrors show.
    pub(crate) fn state(&self, snapshot: &Snapshot) -> State {
        let Some(written) = &self.written else { return State::Waits };
        let volumes = snapshot.volumes();
        let mut state = State::Ready;
        for claim in self.bind.volumes.claims() {
            let Some(now) = volumes.claim(&claim.key).filter(|c| c.uid == claim.uid) else {
                return State::Failed(format!("persistentvolumeclaim {:?} not found", claim.key.name));
            };
            if now.is_bound {
                continue;
            }
            // The mirror may be older than what was written.
            let is_seen = written.get(&claim.key).is_none_or(|version| now.revision >= *version);
            let provides = self.bind.volumes.provisions.iter().any(|p| p.key == claim.key);
            if is_seen && provides && now.selected.as_ref() != Some(&self.bind.volumes.node) {
                return State::Failed(format!("provisioning failed for PVC {:?}", claim.key.name));
            }
            state = State::Waits;
        }
        for (_, volume) in &self.bind.volumes.matches {
            let key = ObjectKey::new(String::new(), volume.name.clone());
            let Some(now) = volumes.volume(&volume.name) else {
                return State::Failed(format!("persistentvolume {:?} not found", volume.name));
            };
            let is_seen = written.get(&key).is_none_or(|version| now.revision >= *version);
            if is_seen && now.claim.is_none() {
                return State::Failed(format!("ClaimRef got reset for pv {:?}", volume.name));
            }
        }
        state
    }
}

/// What came of writing: the versions written, or what went wrong.
pub(crate) type Written = (Arc<str>, Result<Versions, String>);

/// Writes under way and waiting.
pub(crate) struct Storekeeper {
    client: Client,
    waiting: VecDeque<(Arc<str>, VolumePlan)>,
    flying: FuturesUnordered<BoxFuture<Written>>,
}

impl Storekeeper {
    pub(crate) fn new(client: Client) -> Storekeeper {
        Storekeeper { client, waiting: VecDeque::new(), flying: FuturesUnordered::new() }
    }

    /// Takes what is to be done for a pod.
    pub(crate) fn push(&mut self, uid: Arc<str>, plan: VolumePlan) {
        self.waiting.push_back((uid, plan));
    }

    /// Starts as many as may be under way.
    pub(crate) fn start(&mut self) {
        while self.flying.len() < IN_FLIGHT_MAX {
            let Some((uid, plan)) = self.waiting.pop_front() else { return };
            let client = self.client.clone();
            self.flying.push(Box::pin(async move {
                let written = write(&client, &plan).await;
                (uid, written)
            }));
        }
    }

    /// The next finished one; never ends while none is under way.
    pub(crate) async fn next(&mut self) -> Written {
        match self.flying.next().await {
            Some(written) => written,
            None => std::future::pending().await,
        }
    }
}

#[derive(Deserialize)]
struct Answer {
    metadata: ObjectMeta,
}

async fn write(client: &Client, plan: &VolumePlan) -> Result<Versions, String> {
    let mut versions = Versions::new();
    for (claim, volume) in &plan.matches {
        let key = ObjectKey::new(String::new(), volume.name.clone());
        versions.insert(key.clone(), patch(client, &VOLUMES, &key, reference(claim, volume)).await?);
    }
    for claim in &plan.provisions {
        let mut body = json!({"metadata": {"uid": claim.uid, "annotations": {
            "volume.kubernetes.io/selected-node": &*plan.node}}});
        fence(&mut body, claim.revision);
        let resource = &PersistentVolumeClaim::RESOURCE;
        versions.insert(claim.key.clone(), patch(client, resource, &claim.key, body).await?);
    }
    Ok(versions)
}

/// The change that sets a volume aside for a claim, as the volume controller would.
fn reference(claim: &ClaimFact, volume: &VolumeFact) -> Value {
    let mut body = json!({
        "metadata": {"annotations": {"pv.kubernetes.io/bound-by-controller": "yes"}},
        "spec": {"claimRef": {
            "apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": claim.key.namespace,
            "name": claim.key.name, "uid": claim.uid, "resourceVersion": claim.revision.to_string(),
        }},
    });
    fence(&mut body, volume.revision);
    body
}

fn fence(body: &mut Value, revision: u64) {
    if revision != 0 {
        body["metadata"]["resourceVersion"] = json!(revision.to_string());
    }
}

async fn patch(client: &Client, resource: &Resource, key: &ObjectKey, body: Value) -> Result<u64, String> {
    let (path, options) = ((key.namespace.as_str(), key.name.as_str()), WriteOptions::default());
    let answer = client.patch::<Answer>(resource, path, "", &Patch::Merge(body), &options).await;
    answer.map(|a| a.metadata.revision()).map_err(|error| error.to_string())
}
