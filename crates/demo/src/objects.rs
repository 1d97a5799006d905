//! What the story applies: the manifests of `examples/cafe`, and their releases by image.

use anyhow::{Context, bail};
use api_client::{Client, Patch, WriteOptions};
use api_meta::{Object, Resource};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::facts::{CONFIRMED, CafeDeployment};
use crate::steps::{SHOP, STOCK, StepId, UNDRAINED};

/// Namespace of the example.
pub(crate) const NAMESPACE: &str = "cafe";
/// Port of its Services.
pub(crate) const PORT: u16 = 8080;
/// Owner of the fields it applies; the same as that of `apply`.
const MANAGER: &str = "knarr";

const BASE: [&str; 3] = [
    include_str!("../../../examples/cafe/00-namespace.yaml"),
    include_str!("../../../examples/cafe/10-cafedeployment.yaml"),
    include_str!("../../../examples/cafe/20-service.yaml"),
];
const CONTROLS: [(StepId, &str); 2] = [
    (StepId::Undrained, include_str!("../../../examples/cafe/controls/undrained.yaml")),
    (StepId::Stock, include_str!("../../../examples/cafe/controls/stock.yaml")),
];

const NAMESPACES: Resource = Resource::cluster("", "v1", "namespaces", "Namespace");
pub(crate) const SERVICES: Resource = Resource::namespaced("", "v1", "services", "Service");
const DEPLOYMENTS: Resource = Resource::namespaced("apps", "v1", "deployments", "Deployment");

/// The objects that the steps need, in the order in which they are applied.
pub(crate) fn needed(steps: &[StepId]) -> anyhow::Result<Vec<Value>> {
    let controls = CONTROLS.into_iter().filter(|(id, _)| steps.contains(id)).map(|(_, text)| text);
    let mut out = Vec::new();
    for text in BASE.into_iter().chain(controls) {
        for document in serde_yaml_ng::Deserializer::from_str(text) {
            out.push(Value::deserialize(document).context("read the manifests of examples/cafe")?);
        }
    }
    Ok(out)
}

/// The deployment of an application with another version.
pub(crate) fn released(objects: &[Value], app: &str, version: &str) -> anyhow::Result<Value> {
    let is_it = |o: &&Value| o["metadata"]["name"] == app && o["spec"]["template"].is_object();
    let mut object =
        objects.iter().find(is_it).cloned().with_context(|| format!("find the manifest of {app}"))?;
    object["spec"]["template"]["spec"]["containers"][0]["image"] = json!(format!("knarr.dev/shop:{version}"));
    Ok(object)
}

/// Applies one object.
pub(crate) async fn apply(client: &Client, object: &Value) -> anyhow::Result<()> {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let (kind, name) = (text("/kind"), text("/metadata/name"));
    let resource = match kind {
        "Namespace" => NAMESPACES,
        "Service" => SERVICES,
        "Deployment" => DEPLOYMENTS,
        "CafeDeployment" => CafeDeployment::RESOURCE,
        other => bail!("apply {other} {name}: the story knows no such kind"),
    };
    let options = WriteOptions { manager: MANAGER.into(), force: true, ..WriteOptions::default() };
    let patch = Patch::Apply(object.clone());
    let key = (text("/metadata/namespace"), name);
    let applied = client.patch::<Value>(&resource, key, "", &patch, &options).await;
    applied.map(drop).with_context(|| format!("apply {kind} {name}"))
}

/// Confirms the group that waits, as `kubectl annotate` does.
pub(crate) async fn confirm(client: &Client, app: &str) -> anyhow::Result<()> {
    let patch = Patch::Merge(json!({"metadata": {"annotations": {CONFIRMED: "true"}}}));
    let key = (NAMESPACE, app);
    let confirmed =
        client.patch::<Value>(&CafeDeployment::RESOURCE, key, "", &patch, &WriteOptions::default()).await;
    confirmed.map(drop).with_context(|| format!("confirm a group of {app}"))
}

/// The applications that the steps are about.
pub(crate) fn apps(steps: &[StepId]) -> Vec<&'static str> {
    let is_needed = |app: &&str| steps.iter().any(|s| s.step().app == *app);
    [SHOP, UNDRAINED, STOCK].into_iter().filter(is_needed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::steps::chosen;

    fn all() -> Vec<Value> {
        needed(&chosen(None)).unwrap()
    }

    fn named<'a>(objects: &'a [Value], kind: &str, name: &str) -> &'a Value {
        objects.iter().find(|o| o["kind"] == kind && o["metadata"]["name"] == name).unwrap()
    }

    #[test]
    fn the_example_is_whole_and_each_application_has_its_service() {
        let objects = all();
        for app in apps(&chosen(None)) {
            let service = named(&objects, "Service", app);
            assert_eq!(service["spec"]["selector"]["app"], app);
            assert_eq!(service["spec"]["ports"][0]["port"], PORT);
            assert_eq!(service["spec"]["ports"][0]["appProtocol"], "http");
            let deployment = released(&objects, app, "v2").unwrap();
            assert_eq!(deployment["spec"]["replicas"], 12);
            assert_eq!(deployment["spec"]["template"]["spec"]["containers"][0]["image"], "knarr.dev/shop:v2");
        }
        assert_eq!(needed(&chosen(Some(StepId::Release))).unwrap().len(), 3);
    }

    #[test]
    fn the_controls_differ_from_the_release_in_nothing_but_what_they_control() {
        let objects = all();
        let mut shop = named(&objects, "CafeDeployment", SHOP).clone();
        let mut undrained = named(&objects, "CafeDeployment", UNDRAINED).clone();
        let off = undrained["spec"]["template"]["metadata"].as_object_mut().unwrap().remove("annotations");
        assert_eq!(off, Some(json!({"knarr.dev/drain": "disabled"})));
        for object in [&mut shop, &mut undrained] {
            object["metadata"] = json!(null);
            object["spec"]["selector"] = json!(null);
            object["spec"]["template"]["metadata"] = json!(null);
        }
        assert_eq!(shop, undrained);
        let stock = named(&objects, "Deployment", STOCK);
        assert_eq!(stock["spec"]["template"]["spec"], shop["spec"]["template"]["spec"]);
    }

    #[test]
    fn the_release_folder_is_the_same_object_with_another_image() {
        let text = include_str!("../../../examples/cafe/release/v2.yaml");
        let by_hand: Value = serde_yaml_ng::from_str(text).unwrap();
        assert_eq!(by_hand, released(&all(), SHOP, "v2").unwrap());
    }

    #[test]
    fn the_published_example_is_the_published_one() {
        let text = include_str!("../../../examples/cafe/published/published.yaml");
        let documents = serde_yaml_ng::Deserializer::from_str(text);
        let objects: Vec<Value> = documents.map(|d| Value::deserialize(d).unwrap()).collect();
        let spec = &named(&objects, "CafeDeployment", "web")["spec"];
        assert_eq!(spec["replicas"], 10);
        let strategy = json!({"upgradeType": "Beta", "batchSize": 4, "needWaitingForConfirm": true});
        assert_eq!(spec["strategy"], strategy);
        assert_eq!(spec["topology"], json!({"unitType": "Cell", "values": ["CellA", "CellB"]}));
    }
}
