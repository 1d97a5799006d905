//! Watchers, reflectors, finalizers and a controller.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::{Stream, StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, WatchEvent, WatchParams};
use kube::core::PartialObjectMeta;
use kube::runtime::controller::Action;
use kube::runtime::finalizer::{Event as Step, finalizer};
use kube::runtime::wait::await_condition;
use kube::runtime::watcher::{self, Event, watcher};
use kube::runtime::{Controller, WatchStreamExt, conditions, reflector};
use kube::{Api, Client, CustomResource, CustomResourceExt, Resource, ResourceExt};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::NS;
use crate::calls::{map, maps, value};
use crate::kit::{Outcome, equal, eventually, object, refused};

type Heard = Event<ConfigMap>;

fn tell(event: &Heard) -> String {
    let of = |m: &ConfigMap| format!("{}={}", m.name_any(), value(m));
    match event {
        Event::Init => "init".to_owned(),
        Event::InitApply(m) => format!("first {}", of(m)),
        Event::InitDone => "done".to_owned(),
        Event::Apply(m) => format!("apply {}", of(m)),
        Event::Delete(m) => format!("delete {}", of(m)),
    }
}

async fn next(
    stream: &mut (impl Stream<Item = watcher::Result<Heard>> + Unpin),
    events: usize,
) -> Outcome<Vec<String>> {
    let mut heard = Vec::new();
    while heard.len() < events {
        let event = tokio::time::timeout(Duration::from_secs(30), stream.try_next()).await;
        let event = event.map_err(|_| format!("heard only {heard:?}"))??;
        heard.push(tell(&event.ok_or("the stream ended")?));
    }
    Ok(heard)
}

async fn hears(client: &Client, group: &str, config: watcher::Config) -> Outcome {
    let (api, pp) = (maps(client), PostParams::default());
    for n in 0..3 {
        api.create(&pp, &map(&format!("{group}-{n}"), group, "0")).await?;
    }
    let mut stream = pin!(watcher(api.clone(), config.labels(&format!("group={group}"))));
    let mut first = next(&mut stream, 5).await?;
    first[1..4].sort();
    let names: Vec<String> = (0..3).map(|n| format!("first {group}-{n}=0")).collect();
    equal("the beginning", &first, &[vec!["init".to_owned()], names, vec!["done".to_owned()]].concat())?;
    api.create(&pp, &map(&format!("{group}-3"), group, "0")).await?;
    let change = |v: &str| Patch::Merge(json!({"data": {"v": v}}));
    api.patch(&format!("{group}-3"), &PatchParams::default(), &change("1")).await?;
    let leave = Patch::Merge(json!({"metadata": {"labels": {"group": "other"}}}));
    api.patch(&format!("{group}-0"), &PatchParams::default(), &leave).await?;
    api.delete(&format!("{group}-3"), &DeleteParams::default()).await?;
    let wanted = ["apply GROUP-3=0", "apply GROUP-3=1", "delete GROUP-0=0", "delete GROUP-3=1"]
        .map(|w| w.replace("GROUP", group));
    equal("changes", next(&mut stream, 4).await?, wanted.to_vec())
}

pub async fn listed(client: &Client) -> Outcome {
    hears(client, "listed", watcher::Config::default()).await
}

pub async fn streamed(client: &Client) -> Outcome {
    if !streams(client).await? {
        println!("     this server refuses to stream lists");
        return Ok(());
    }
    hears(client, "streamed", watcher::Config::default().streaming_lists()).await
}

/// Whether lists are streamed: a kube-apiserver over an etcd without progress notifications says that it cannot.
async fn streams(client: &Client) -> Outcome<bool> {
    let params = WatchParams::default().initial_events().timeout(3);
    let mut stream = match maps(client).watch(&params, "").await {
        Ok(stream) => stream.boxed(),
        Err(kube::Error::Api(status)) if status.message.contains("RequestWatchProgress") => return Ok(false),
        Err(e) => return Err(e.into()),
    };
    while let Some(event) = stream.try_next().await? {
        match event {
            WatchEvent::Bookmark(_) => return Ok(true),
            WatchEvent::Error(status) if status.message.contains("RequestWatchProgress") => return Ok(false),
            WatchEvent::Error(status) => return Err(status.into()),
            _ => {}
        }
    }
    Err("the list was not ended by a bookmark".into())
}

pub async fn reflected(client: &Client) -> Outcome {
    let (api, pp) = (maps(client), PostParams::default());
    for n in 0..5 {
        api.create(&pp, &map(&format!("r-{n}"), "reflected", "0")).await?;
    }
    let mut configs = vec![watcher::Config::default().page_size(2)];
    if streams(client).await? {
        configs.push(watcher::Config::default().streaming_lists());
    }
    for config in configs {
        let (store, writer) = reflector::store();
        let stream = reflector::reflector(writer, watcher(api.clone(), config.labels("group=reflected")));
        let driver = tokio::spawn(stream.default_backoff().touched_objects().for_each(|_| async {}));
        store.wait_until_ready().await?;
        equal("objects", store.len(), 5)?;
        let found = store.get(&reflector::ObjectRef::new("r-0").within(NS)).ok_or("r-0 is missing")?;
        let new = if value(&found) == "0" { "1" } else { "2" };
        api.patch("r-0", &PatchParams::default(), &Patch::Merge(json!({"data": {"v": new}}))).await?;
        eventually("the store follows", || async {
            Ok(store.find(|m| m.name_any() == "r-0").filter(|m| value(m) == new).map(drop))
        })
        .await?;
        driver.abort();
    }
    Ok(())
}

/// How many large writes make a server with a bounded history forget.
const BIG_WRITES: u32 = 48;

/// Text that does not pack well.
fn noise(seed: u32) -> String {
    let mut state = u64::from(seed) + 1;
    let mut out = String::with_capacity(800_000);
    while out.len() < 800_000 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        out.push_str(&format!("{:08x}", state >> 32));
    }
    out
}

pub async fn forgotten(client: &Client) -> Outcome {
    let (api, pp) = (maps(client), PostParams::default());
    let start = api.list(&ListParams::default()).await?.metadata.resource_version.ok_or("no version")?;
    api.create(&pp, &map("noise", "noise", "")).await?;
    for n in 0..BIG_WRITES {
        api.patch("noise", &PatchParams::default(), &Patch::Merge(json!({"data": {"v": noise(n)}}))).await?;
    }
    api.delete("noise", &DeleteParams::default()).await?;
    let params = WatchParams::default().fields("metadata.name=noise").timeout(20);
    let mut stream = api.watch(&params, &start).await?.boxed();
    let mut told = 0;
    while let Some(event) = stream.try_next().await? {
        match event {
            WatchEvent::Error(status) => {
                equal("code", status.code, 410)?;
                return equal("events before it", told, 0);
            }
            WatchEvent::Deleted(_) => return equal("events", told, BIG_WRITES + 1),
            WatchEvent::Bookmark(_) => {}
            _ => told += 1,
        }
    }
    Err(format!("the watch ended after {told} events").into())
}

pub async fn metadata(client: &Client) -> Outcome {
    let api: Api<PartialObjectMeta<ConfigMap>> = Api::namespaced(client.clone(), NS);
    let config = watcher::Config::default().labels("group=reflected");
    let mut stream = pin!(watcher(api, config).applied_objects());
    let mut names = Vec::new();
    while names.len() < 5 {
        let found = stream.try_next().await?.ok_or("the stream ended")?;
        equal("labels", found.labels()["group"].as_str(), "reflected")?;
        names.push(found.name_any());
    }
    names.sort();
    equal("names", names, (0..5).map(|n| format!("r-{n}")).collect::<Vec<_>>())
}

/// What a ship should be.
#[derive(CustomResource, Clone, Debug, Deserialize, Serialize)]
#[kube(
    group = "kube-rs.conformance.example",
    version = "v1",
    kind = "Ship",
    namespaced,
    status = "ShipStatus",
    schema = "disabled"
)]
pub struct ShipSpec {
    #[serde(default)]
    crew: i64,
    sail: String,
}

/// What a ship is.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct ShipStatus {
    #[serde(default)]
    phase: String,
}

const DEFINITION: &str = "ships.kube-rs.conformance.example";

/// Removes the definition, which is of no namespace.
pub async fn forget(client: &Client) -> Outcome {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    if let Some(old) = api.get_opt(DEFINITION).await? {
        // What nobody lets go any more would hold it for ever.
        let ships: Api<Ship> = Api::all(client.clone());
        for ship in ships.list(&ListParams::default()).await.map(|l| l.items).unwrap_or_default() {
            let own: Api<Ship> = Api::namespaced(client.clone(), &ship.namespace().unwrap_or_default());
            own.patch(
                &ship.name_any(),
                &PatchParams::default(),
                &Patch::Merge(json!({"metadata": {"finalizers": null}})),
            )
            .await?;
        }
        api.delete(DEFINITION, &DeleteParams::default()).await?;
        await_condition(api, DEFINITION, conditions::is_deleted(&old.uid().unwrap_or_default())).await?;
    }
    Ok(())
}

fn ships(client: &Client) -> Api<Ship> {
    Api::namespaced(client.clone(), NS)
}

pub async fn derived(client: &Client) -> Outcome {
    let schema = json!({"type": "object", "properties": {
        "spec": {"type": "object", "required": ["sail"], "properties": {
            "crew": {"type": "integer", "default": 3, "maximum": 40}, "sail": {"type": "string", "enum": ["red", "white"]}}},
        "status": {"type": "object", "properties": {"phase": {"type": "string"}}}}});
    let mut definition = serde_json::to_value(Ship::crd())?;
    definition["spec"]["versions"][0]["schema"] = json!({"openAPIV3Schema": schema});
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    definitions.patch(DEFINITION, &PatchParams::apply("kube-rs"), &Patch::Apply(definition)).await?;
    await_condition(definitions, DEFINITION, conditions::is_crd_established()).await?;
    let (api, pp) = (ships(client), PostParams::default());
    let bare: Ship = object(
        json!({"apiVersion": "kube-rs.conformance.example/v1", "kind": "Ship", "metadata": {"name": "knarr"}, "spec": {"sail": "red"}}),
    )?;
    let mut bare_tree = serde_json::to_value(&bare)?;
    bare_tree["spec"].as_object_mut().ok_or("no spec")?.remove("crew");
    let made = eventually("the kind is served", || async {
        Ok(Some(api.patch("knarr", &PatchParams::apply("captain"), &Patch::Apply(&bare_tree)).await?))
    })
    .await?;
    equal("default", made.spec.crew, 3)?;
    let mut wrong = Ship::new("wrong", ShipSpec { crew: 41, sail: "green".to_owned() });
    refused(api.create(&pp, &wrong).await, 422, &["spec.crew", "spec.sail: Unsupported value: \"green\""])?;
    wrong.spec = ShipSpec { crew: 1, sail: "white".to_owned() };
    api.create(&pp, &wrong).await?;
    let status = json!({"apiVersion": "kube-rs.conformance.example/v1", "kind": "Ship", "status": {"phase": "At sea"}, "spec": {"crew": 9}});
    let found = api.patch_status("knarr", &PatchParams::default(), &Patch::Merge(status)).await?;
    equal(
        "crew and phase",
        (found.spec.crew, found.status.map(|s| s.phase)),
        (3, Some("At sea".to_owned())),
    )?;
    api.delete("wrong", &DeleteParams::default()).await?;
    equal("ships", api.list(&ListParams::default()).await?.items.len(), 1)
}

pub async fn finalized(client: &Client) -> Outcome {
    let api = ships(client);
    let steps = Arc::new(Mutex::new(Vec::new()));
    let go = |ship: Ship| {
        let (api, steps) = (api.clone(), steps.clone());
        async move {
            finalizer(&api, "kube-rs.conformance.example/hold", Arc::new(ship), |step| async move {
                let word = match step {
                    Step::Apply(_) => "apply",
                    Step::Cleanup(_) => "cleanup",
                };
                steps.lock().expect("nobody panicked").push(word);
                Ok::<Action, std::io::Error>(Action::await_change())
            })
            .await
        }
    };
    // The first round adds the finalizer, the second applies.
    go(api.get("knarr").await?).await?;
    go(api.get("knarr").await?).await?;
    api.delete("knarr", &DeleteParams::default()).await?;
    let held = api.get("knarr").await?;
    equal("deletion", held.metadata.deletion_timestamp.is_some(), true)?;
    go(held).await?;
    equal("steps", steps.lock().expect("nobody panicked").clone(), vec!["apply", "cleanup"])?;
    equal("the ship", api.get_opt("knarr").await?.is_none(), true)
}

async fn reconcile(ship: Arc<Ship>, client: Arc<Client>) -> Result<Action, kube::Error> {
    let api = maps(&client);
    let owner = ship.controller_owner_ref(&()).into_iter().collect::<Vec<_>>();
    let wanted = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": ship.name_any(), "ownerReferences": owner},
        "data": {"v": ship.spec.crew.to_string()},
    });
    api.patch(&ship.name_any(), &PatchParams::apply("controller").force(), &Patch::Apply(wanted)).await?;
    Ok(Action::await_change())
}

pub async fn controlled(client: &Client) -> Outcome {
    let api = ships(client);
    let controller = Controller::new(api.clone(), watcher::Config::default())
        .owns(maps(client), watcher::Config::default())
        .run(reconcile, |_, _, _| Action::requeue(Duration::from_secs(1)), Arc::new(client.clone()));
    let driver = tokio::spawn(controller.for_each(|_| async {}));
    let wanted: BTreeMap<&str, i64> = [("skiff", 2), ("drakkar", 30)].into();
    for (name, crew) in &wanted {
        api.create(
            &PostParams::default(),
            &Ship::new(name, ShipSpec { crew: *crew, sail: "red".to_owned() }),
        )
        .await?;
    }
    let follows = async |name: &str, text: String| {
        eventually("an owned object follows", || async {
            Ok(maps(client).get_opt(name).await?.filter(|m| value(m) == text))
        })
        .await
    };
    for (name, crew) in &wanted {
        let owned = follows(name, crew.to_string()).await?;
        equal(
            "owner",
            owned.owner_references().first().map(|o| o.kind.clone()),
            Some(Ship::kind(&()).into_owned()),
        )?;
    }
    // What others do to it is put right, what its owner says is followed.
    maps(client).patch("skiff", &PatchParams::default(), &Patch::Merge(json!({"data": {"v": "99"}}))).await?;
    follows("skiff", "2".to_owned()).await?;
    maps(client).delete("skiff", &DeleteParams::default()).await?;
    follows("skiff", "2".to_owned()).await?;
    api.patch("drakkar", &PatchParams::default(), &Patch::Merge(json!({"spec": {"crew": 31}}))).await?;
    follows("drakkar", "31".to_owned()).await?;
    for name in wanted.keys() {
        api.delete(name, &DeleteParams::background()).await?;
        eventually("what was owned goes", || async {
            Ok(maps(client).get_opt(name).await?.is_none().then_some(()))
        })
        .await?;
    }
    driver.abort();
    Ok(())
}
