//! Calls of `kube::Api`.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Event, ObjectReference, Pod, Secret};
use kube::api::{
    DeleteParams, DynamicObject, EvictParams, ListParams, LogParams, Patch, PatchParams, PostParams,
    Preconditions, PropagationPolicy,
};
use kube::core::GroupVersionKind;
use kube::discovery::{Discovery, Scope, verbs};
use kube::runtime::conditions;
use kube::runtime::events::{Event as Note, EventType, Recorder, Reporter};
use kube::runtime::wait::await_condition;
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};

use crate::NS;
use crate::kit::{Outcome, equal, eventually, object, refused};

/// The ConfigMaps of the namespace.
pub fn maps(client: &Client) -> Api<ConfigMap> {
    Api::namespaced(client.clone(), NS)
}

/// A ConfigMap of a group.
pub fn map(name: &str, group: &str, value: &str) -> ConfigMap {
    object(json!({"metadata": {"name": name, "labels": {"group": group}}, "data": {"v": value}}))
        .expect("a ConfigMap")
}

/// Its value.
pub fn value(map: &ConfigMap) -> &str {
    map.data.as_ref().and_then(|d| d.get("v")).map_or("", String::as_str)
}

fn deployment(replicas: u8) -> Value {
    let container =
        json!({"name": "main", "image": "registry.example/web:1", "env": [{"name": "A", "value": "1"}]});
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "labels": {"app": "web"}},
        "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": "web"}}, "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"terminationGracePeriodSeconds": 1, "containers": [container]}}},
    })
}

async fn available(client: &Client, replicas: i32) -> Outcome {
    let api: Api<Deployment> = Api::namespaced(client.clone(), NS);
    eventually("the deployment settles", || async {
        let found = api.get("web").await?;
        let s = found.status.clone().unwrap_or_default();
        let all = [s.replicas, s.updated_replicas, s.available_replicas].map(Option::unwrap_or_default);
        Ok((s.observed_generation == found.metadata.generation && all == [replicas; 3]).then_some(()))
    })
    .await
}

pub async fn typed(client: &Client) -> Outcome {
    let pp = PostParams::default();
    let made = maps(client).create(&pp, &map("plain", "typed", "1")).await?;
    equal("value", value(&made), "1")?;
    equal("namespace", made.namespace().as_deref(), Some(NS))?;
    if made.uid().is_none() || made.creation_timestamp().is_none() {
        return Err(format!("{:?}", made.metadata).into());
    }
    let secrets: Api<Secret> = Api::namespaced(client.clone(), NS);
    let secret = secrets
        .create(&pp, &object(json!({"metadata": {"generateName": "s-"}, "stringData": {"k": "v"}}))?)
        .await?;
    equal("bytes", secret.data.map(|d| d["k"].0.clone()), Some(b"v".to_vec()))?;
    let api: Api<Deployment> = Api::namespaced(client.clone(), NS);
    let web = api.create(&pp, &object(deployment(2))?).await?;
    let strategy = web.spec.and_then(|s| s.strategy).and_then(|s| s.type_);
    equal("strategy", strategy.as_deref(), Some("RollingUpdate"))?;
    available(client, 2).await?;
    await_condition(api, "web", conditions::is_deployment_completed()).await?;
    let mut seen = maps(client).get("plain").await?;
    seen.data = Some([("v".to_owned(), "2".to_owned())].into());
    equal("replaced", value(&maps(client).replace("plain", &pp, &seen).await?), "2")?;
    equal("absent", maps(client).get_opt("absent").await?, None)?;
    let meta = maps(client).get_metadata("plain").await?;
    equal("labels", meta.labels()["group"].as_str(), "typed")
}

pub async fn refusals(client: &Client) -> Outcome {
    let (api, pp) = (maps(client), PostParams::default());
    let found = refused(api.create(&pp, &map("plain", "typed", "1")).await, 409, &["already exists"])?;
    equal("reason", found.reason.as_str(), "AlreadyExists")?;
    let details = found.details.ok_or("no details")?;
    equal("details", (details.name.as_str(), details.kind.as_str()), ("plain", "configmaps"))?;
    refused(api.get("absent").await, 404, &["configmaps \"absent\" not found"])?;
    let found = refused(api.create(&pp, &map("Not_A_Name", "typed", "1")).await, 422, &["RFC 1123"])?;
    let causes = found.details.map(|d| d.causes).unwrap_or_default();
    equal("field", causes.first().map(|c| c.field.as_str()), Some("metadata.name"))?;
    let stale = api.get("plain").await?;
    api.patch("plain", &PatchParams::default(), &Patch::Merge(json!({"data": {"w": "1"}}))).await?;
    refused(api.replace("plain", &pp, &stale).await, 409, &["the object has been modified"])?;
    let strict = PatchParams::apply("strict").validation_strict();
    let wrong = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "odd"}, "dta": {}});
    // What the schema does not know cannot be applied at all.
    refused(api.patch("odd", &strict, &Patch::Apply(wrong)).await, 500, &["field not declared in schema"])
        .map(drop)
}

pub async fn patches(client: &Client) -> Outcome {
    let merged = maps(client)
        .patch("plain", &PatchParams::default(), &Patch::Merge(json!({"data": {"v": null, "x": "1"}})))
        .await?;
    equal(
        "after a null",
        merged.data.map(|d| d.into_keys().collect::<Vec<_>>()),
        Some(vec!["w".to_owned(), "x".to_owned()]),
    )?;
    let api: Api<Deployment> = Api::namespaced(client.clone(), NS);
    let containers = json!([{"name": "main", "env": [{"name": "B", "value": "2"}]}, {"name": "side", "image": "registry.example/side:1"}]);
    let patch = json!({"spec": {"template": {"spec": {"containers": containers}}}});
    let found = api.patch("web", &PatchParams::default(), &Patch::Strategic(patch)).await?;
    let names = |d: Deployment| -> Vec<(String, usize)> {
        let pod = d.spec.and_then(|s| s.template.spec);
        pod.into_iter()
            .flat_map(|p| p.containers)
            .map(|c| (c.name, c.env.unwrap_or_default().len()))
            .collect()
    };
    let mut found = names(found);
    found.sort();
    equal("containers", found, vec![("main".to_owned(), 2), ("side".to_owned(), 0)])?;
    let patch =
        json!({"spec": {"template": {"spec": {"containers": [{"name": "side", "$patch": "delete"}]}}}});
    let found = api.patch("web", &PatchParams::default(), &Patch::Strategic(patch)).await?;
    equal("containers", names(found), vec![("main".to_owned(), 2)])?;
    available(client, 2).await
}

pub async fn apply(client: &Client) -> Outcome {
    let api = maps(client);
    let keys = |m: ConfigMap| {
        m.data.unwrap_or_default().into_iter().map(|(k, v)| k + "=" + &v).collect::<Vec<_>>().join(" ")
    };
    let wanted = |data: Value| {
        Patch::Apply(
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "shared"}, "data": data}),
        )
    };
    let (one, two) = (PatchParams::apply("one"), PatchParams::apply("two"));
    equal(
        "created",
        keys(api.patch("shared", &one, &wanted(json!({"a": "1", "b": "1"}))).await?),
        "a=1 b=1",
    )?;
    let both = api.patch("shared", &two, &wanted(json!({"c": "2"}))).await?;
    let again = api.patch("shared", &two, &wanted(json!({"c": "2"}))).await?;
    equal("version after an apply of nothing new", again.resource_version(), both.resource_version())?;
    refused(
        api.patch("shared", &two, &wanted(json!({"a": "2", "c": "2"}))).await,
        409,
        &["conflict with \"one\"", ".data.a"],
    )?;
    let forced = api.patch("shared", &two.clone().force(), &wanted(json!({"a": "2", "c": "2"}))).await?;
    equal("forced", keys(forced), "a=2 b=1 c=2")?;
    equal("given up", keys(api.patch("shared", &one, &wanted(json!({}))).await?), "a=2 c=2")?;
    let dry = api.patch("shared", &one.dry_run(), &wanted(json!({"d": "1"}))).await?;
    equal("dry", keys(dry), "a=2 c=2 d=1")?;
    equal("stored", keys(api.get("shared").await?), "a=2 c=2")
}

pub async fn pages(client: &Client) -> Outcome {
    let (api, pp) = (maps(client), PostParams::default());
    for n in 0..7 {
        api.create(&pp, &map(&format!("page-{n}"), "pages", "1")).await?;
    }
    let (mut names, mut versions, mut params) =
        (Vec::new(), Vec::new(), ListParams::default().labels("group=pages").limit(3));
    loop {
        let part = api.list(&params).await?;
        names.extend(part.items.iter().map(ResourceExt::name_any));
        versions.push(part.metadata.resource_version.clone());
        match part.metadata.continue_ {
            Some(token) if !token.is_empty() => params = params.continue_token(&token),
            _ => break,
        }
        api.create(&pp, &map(&format!("page-z{}", names.len()), "pages", "1")).await?;
    }
    equal("names", names, (0..7).map(|n| format!("page-{n}")).collect::<Vec<_>>())?;
    versions.dedup();
    equal("moments", versions.len(), 1)
}

pub async fn deletions(client: &Client) -> Outcome {
    let api = maps(client);
    let uid = api.get("plain").await?.uid();
    let wrong = Preconditions {
        uid: Some("00000000-0000-0000-0000-000000000000".to_owned()),
        resource_version: None,
    };
    refused(
        api.delete("plain", &DeleteParams::default().preconditions(wrong)).await,
        409,
        &["the UID in the precondition"],
    )?;
    let right = DeleteParams::default().preconditions(Preconditions { uid, resource_version: None });
    let gone = api.delete("plain", &right).await?;
    equal("what is answered", gone.right().map(|s| s.is_success()), Some(true))?;
    api.delete_collection(&DeleteParams::default(), &ListParams::default().labels("group=pages")).await?;
    equal("left", api.list(&ListParams::default().labels("group=pages")).await?.items.len(), 0)
}

pub async fn doors(client: &Client) -> Outcome {
    let deployments: Api<Deployment> = Api::namespaced(client.clone(), NS);
    let pods: Api<Pod> = Api::namespaced(client.clone(), NS);
    let patch = Patch::Merge(json!({"spec": {"replicas": 3}}));
    let scale = deployments.patch_scale("web", &PatchParams::default(), &patch).await?;
    equal("replicas", scale.spec.and_then(|s| s.replicas), Some(3))?;
    available(client, 3).await?;
    let all = pods.list(&ListParams::default().labels("app=web").fields("status.phase=Running")).await?;
    let pod = all.into_iter().find(|p| p.metadata.deletion_timestamp.is_none()).ok_or("no pod runs")?;
    let ours = client.apiserver_version().await?.git_version.contains("knarr");
    if ours {
        // A foreign server cannot know that nobody listens on a simulated node.
        pods.logs(&pod.name_any(), &LogParams::default()).await?;
    }
    let absent = LogParams { container: Some("absent".to_owned()), ..LogParams::default() };
    refused(pods.logs(&pod.name_any(), &absent).await, 400, &["container absent is not valid for pod"])?;
    let evicted = pods.evict(&pod.name_any(), &EvictParams::default()).await?;
    equal("eviction", evicted.is_success(), true)?;
    await_condition(pods, &pod.name_any(), conditions::is_deleted(&pod.uid().unwrap_or_default())).await?;
    let dp =
        DeleteParams { propagation_policy: Some(PropagationPolicy::Foreground), ..DeleteParams::default() };
    let uid = deployments.get("web").await?.uid().unwrap_or_default();
    deployments.delete("web", &dp).await?;
    await_condition(deployments, "web", conditions::is_deleted(&uid)).await?;
    let pods: Api<Pod> = Api::namespaced(client.clone(), NS);
    equal(
        "pods after a foreground deletion",
        pods.list(&ListParams::default().labels("app=web")).await?.items.len(),
        0,
    )
}

pub async fn dynamic(client: &Client) -> Outcome {
    let discovery = Discovery::new(client.clone()).run().await?;
    let (resource, caps) =
        discovery.resolve_gvk(&GroupVersionKind::gvk("apps", "v1", "Deployment")).ok_or("no deployments")?;
    equal("plural", resource.plural.as_str(), "deployments")?;
    equal("scope", matches!(caps.scope, Scope::Namespaced), true)?;
    equal("verbs", [verbs::WATCH, verbs::PATCH].map(|v| caps.supports_operation(v)), [true, true])?;
    let (resource, _) =
        discovery.resolve_gvk(&GroupVersionKind::gvk("", "v1", "ConfigMap")).ok_or("no maps")?;
    let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), NS, &resource);
    let made = api
        .create(
            &PostParams::default(),
            &DynamicObject::new("dynamic", &resource).data(json!({"data": {"v": "1"}})),
        )
        .await?;
    equal("data", &made.data["data"]["v"], &json!("1"))
}

pub async fn events(client: &Client) -> Outcome {
    let about = maps(client).get("dynamic").await?;
    let reference = ObjectReference {
        api_version: Some("v1".to_owned()),
        kind: Some("ConfigMap".to_owned()),
        name: Some(about.name_any()),
        namespace: Some(NS.to_owned()),
        uid: about.uid(),
        ..ObjectReference::default()
    };
    let reporter =
        Reporter { controller: "conformance.example/kube-rs".to_owned(), instance: Some("one".to_owned()) };
    let recorder = Recorder::new(client.clone(), reporter);
    let note = Note {
        type_: EventType::Normal,
        reason: "Looked".to_owned(),
        note: Some("looked at".to_owned()),
        action: "Look".to_owned(),
        secondary: None,
    };
    recorder.publish(&note, &reference).await?;
    recorder.publish(&note, &reference).await?;
    let api: Api<Event> = Api::namespaced(client.clone(), NS);
    let fields = format!("involvedObject.uid={},reason=Looked", about.uid().unwrap_or_default());
    let found = api.list(&ListParams::default().fields(&fields)).await?.items;
    equal("events", found.len(), 1)?;
    equal("series", found[0].series.as_ref().and_then(|s| s.count), Some(2))
}
