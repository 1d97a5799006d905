//! Turns a pod's spec into orders: variables with their values, volumes with their content.

use std::collections::BTreeMap;

use api_client::{Client, Error};
use api_core::{Container, Pod};
use api_meta::Resource;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use stdx::{Env, Time};

use crate::order::{ContainerOrder, Content, Mount, PodOrder, Volume};
use crate::runtime::Refusal;
use crate::token::{self, Token, Wanted};

const CONFIG_MAPS: Resource = Resource::namespaced("", "v1", "configmaps", "ConfigMap");
/// Reason of a container that names what is not there.
const CONFIG_ERROR: &str = "CreateContainerConfigError";
const SECRETS: Resource = Resource::namespaced("", "v1", "secrets", "Secret");

/// Keys and values of the ConfigMaps and Secrets a pod names, absent ones `None`, and the tokens its volumes ask for.
#[derive(Clone, Default)]
pub(crate) struct Sources {
    maps: BTreeMap<(bool, String), Option<Entries>>,
    tokens: BTreeMap<Wanted, Token>,
}

/// Values by key.
type Entries = BTreeMap<String, Vec<u8>>;

impl Sources {
    /// Reads everything the pod names.
    pub(crate) async fn read(client: &Client, env: &Env, pod: &Pod) -> Result<Sources, Refusal> {
        let mut sources = Sources::default();
        let namespace = &pod.metadata.namespace;
        for (is_secret, name) in names(pod) {
            let resource = if is_secret { &SECRETS } else { &CONFIG_MAPS };
            let object: Option<Value> = match client.get(resource, namespace, &name).await {
                Ok(object) => Some(object),
                Err(error) if error.is_not_found() => None,
                Err(error) => return Err(unreadable(&name, &error)),
            };
            sources.maps.insert((is_secret, name), object.map(|o| content(&o, is_secret)));
        }
        sources.renewed(client, env, pod).await
    }

    /// The same with new tokens.
    pub(crate) async fn renewed(mut self, client: &Client, env: &Env, pod: &Pod) -> Result<Sources, Refusal> {
        for wanted in projections(pod).filter_map(Wanted::of) {
            let token = token::request(client, env, pod, &wanted).await?;
            self.tokens.insert(wanted, token);
        }
        Ok(self)
    }

    /// When the first token is to be renewed.
    pub(crate) fn renew_at(&self) -> Option<Time> {
        self.tokens.values().map(|token| token.renew_at).min()
    }

    fn get(&self, is_secret: bool, name: &str) -> Option<&Entries> {
        self.maps.get(&(is_secret, name.to_owned()))?.as_ref()
    }
}

fn unreadable(name: &str, error: &Error) -> Refusal {
    Refusal::new(CONFIG_ERROR, format!("read {name}: {error}"))
}

fn missing(is_secret: bool, name: &str) -> Refusal {
    let kind = if is_secret { "secret" } else { "configmap" };
    Refusal::new(CONFIG_ERROR, format!("{kind} {name:?} not found"))
}

fn content(object: &Value, is_secret: bool) -> Entries {
    let mut out = BTreeMap::new();
    let decode = |v: &str| STANDARD.decode(v).unwrap_or_default();
    for (key, value) in object["data"].as_object().into_iter().flatten() {
        let text = value.as_str().unwrap_or_default();
        out.insert(key.clone(), if is_secret { decode(text) } else { text.as_bytes().to_vec() });
    }
    for (key, value) in object["binaryData"].as_object().into_iter().flatten() {
        out.insert(key.clone(), decode(value.as_str().unwrap_or_default()));
    }
    out
}

/// What the pod's projected volumes are made of.
fn projections(pod: &Pod) -> impl Iterator<Item = &Value> {
    pod.spec.volumes.iter().flat_map(|volume| volume["projected"]["sources"].as_array().into_iter().flatten())
}

/// (is a Secret, name) of everything the pod names.
fn names(pod: &Pod) -> Vec<(bool, String)> {
    let mut out = Vec::new();
    let mut add = |is_secret: bool, name: &Value| {
        if let Some(name) = name.as_str() {
            out.push((is_secret, name.to_owned()));
        }
    };
    for container in pod.spec.init_containers.iter().chain(&pod.spec.containers) {
        for from in &container.env_from {
            add(false, &from["configMapRef"]["name"]);
            add(true, &from["secretRef"]["name"]);
        }
        for from in container.env.iter().filter_map(|e| e.value_from.as_ref()) {
            add(false, &from["configMapKeyRef"]["name"]);
            add(true, &from["secretKeyRef"]["name"]);
        }
    }
    for volume in &pod.spec.volumes {
        add(false, &volume["configMap"]["name"]);
        add(true, &volume["secret"]["secretName"]);
    }
    for source in projections(pod) {
        add(false, &source["configMap"]["name"]);
        add(true, &source["secret"]["name"]);
    }
    out.sort();
    out.dedup();
    out
}

/// Values known of the pod while it runs.
#[derive(Clone, Copy)]
pub(crate) struct Around<'a> {
    pub(crate) pod: &'a Pod,
    pub(crate) address: &'a str,
    pub(crate) host_address: &'a str,
    pub(crate) sources: &'a Sources,
}

/// The order to make a pod ready.
pub(crate) fn pod(pod: &Pod, sources: &Sources) -> Result<PodOrder, Refusal> {
    let containers = || pod.spec.init_containers.iter().chain(&pod.spec.containers);
    let ports = containers().flat_map(|c| {
        let of = |p: &api_core::ContainerPort| Some((c.name.clone(), u16::try_from(p.container_port).ok()?));
        c.ports.iter().filter_map(of).collect::<Vec<_>>()
    });
    let around = Around { pod, address: "", host_address: "", sources };
    let volumes: Result<Vec<Volume>, Refusal> = pod.spec.volumes.iter().map(|v| volume(&around, v)).collect();
    Ok(PodOrder {
        node: pod.spec.node_name.clone(),
        namespace: pod.metadata.namespace.clone(),
        name: pod.metadata.name.clone(),
        uid: pod.metadata.uid.clone(),
        ports: ports.collect(),
        volumes: volumes?,
    })
}

fn volume(around: &Around<'_>, volume: &Value) -> Result<Volume, Refusal> {
    let name = volume["name"].as_str().unwrap_or_default().to_owned();
    let content = if volume["emptyDir"].is_object() {
        Content::Empty
    } else if volume["configMap"].is_object() {
        let source = &volume["configMap"];
        Content::Files(files(around.sources, false, &source["name"], source)?)
    } else if volume["secret"].is_object() {
        let source = &volume["secret"];
        Content::Files(files(around.sources, true, &source["secretName"], source)?)
    } else if volume["downwardAPI"].is_object() {
        Content::Files(downward(around, &volume["downwardAPI"]))
    } else if let Some(sources) = volume["projected"]["sources"].as_array() {
        Content::Files(projected(around, sources)?)
    } else {
        let kind =
            volume.as_object().and_then(|v| v.keys().find(|k| *k != "name")).cloned().unwrap_or_default();
        let message = format!(
            "volume {name:?} is of kind {kind:?}; nodes of this kind know emptyDir, configMap, secret, downwardAPI and projected"
        );
        return Err(Refusal::new("UnsupportedVolume", message));
    };
    Ok(Volume { name, content })
}

fn files(sources: &Sources, is_secret: bool, name: &Value, source: &Value) -> Result<Entries, Refusal> {
    let name = name.as_str().unwrap_or_default();
    let Some(all) = sources.get(is_secret, name) else {
        let is_optional = source["optional"] == true;
        return if is_optional { Ok(BTreeMap::new()) } else { Err(missing(is_secret, name)) };
    };
    let Some(items) = source["items"].as_array() else { return Ok(all.clone()) };
    let pick =
        |item: &Value| Some((item["path"].as_str()?.to_owned(), all.get(item["key"].as_str()?)?.clone()));
    Ok(items.iter().filter_map(pick).collect())
}

fn downward(around: &Around<'_>, source: &Value) -> Entries {
    let items = source["items"].as_array().into_iter().flatten();
    let file = |item: &Value| {
        let path = item["path"].as_str()?.to_owned();
        Some((path, field(around, item["fieldRef"]["fieldPath"].as_str()?)?.into_bytes()))
    };
    items.filter_map(file).collect()
}

fn projected(around: &Around<'_>, sources: &[Value]) -> Result<Entries, Refusal> {
    let mut out = BTreeMap::new();
    for source in sources {
        if source["configMap"].is_object() {
            let source = &source["configMap"];
            out.extend(files(around.sources, false, &source["name"], source)?);
        } else if source["secret"].is_object() {
            let source = &source["secret"];
            out.extend(files(around.sources, true, &source["name"], source)?);
        } else if source["downwardAPI"].is_object() {
            out.extend(downward(around, &source["downwardAPI"]));
        } else if let Some(wanted) = Wanted::of(source) {
            let path = source["serviceAccountToken"]["path"].as_str().unwrap_or_default();
            let missing =
                || Refusal::new("FailedMount", "the token of the pod's service account is not there");
            let token = around.sources.tokens.get(&wanted).ok_or_else(missing)?;
            out.insert(path.to_owned(), token.text.as_bytes().to_vec());
        }
    }
    Ok(out)
}

/// Whether everything the containers name is there.
pub(crate) fn check(pod: &Pod, sources: &Sources) -> Result<(), Refusal> {
    let around = Around { pod, address: "", host_address: "", sources };
    for c in pod.spec.init_containers.iter().chain(&pod.spec.containers) {
        env(&around, c)?;
    }
    Ok(())
}

/// The order to start a container of the pod.
pub(crate) fn container(around: &Around<'_>, c: &Container, attempt: u32) -> Result<ContainerOrder, Refusal> {
    let env = env(around, c)?;
    let lookup: BTreeMap<&str, &str> = env.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mounts = c.volume_mounts.iter().map(|m| Mount {
        volume: text(&m["name"]),
        path: text(&m["mountPath"]),
        sub_path: text(&m["subPath"]),
    });
    Ok(ContainerOrder {
        name: c.name.clone(),
        image: c.image.as_str().into(),
        attempt,
        command: c.command.iter().map(|t| expand(t, &lookup)).collect(),
        args: c.args.iter().map(|t| expand(t, &lookup)).collect(),
        working_dir: c.working_dir.clone(),
        mounts: mounts.collect(),
        resources: c.resources.clone(),
        env,
    })
}

fn env(around: &Around<'_>, c: &Container) -> Result<Vec<(String, String)>, Refusal> {
    let mut out: Vec<(String, String)> = Vec::new();
    for from in &c.env_from {
        let is_secret = from["secretRef"].is_object();
        let source = if is_secret { &from["secretRef"] } else { &from["configMapRef"] };
        let name = source["name"].as_str().unwrap_or_default();
        let Some(all) = around.sources.get(is_secret, name) else {
            if source["optional"] == true {
                continue;
            }
            return Err(missing(is_secret, name));
        };
        let prefix = from["prefix"].as_str().unwrap_or_default();
        let pairs =
            all.iter().map(|(k, v)| (format!("{prefix}{k}"), String::from_utf8_lossy(v).into_owned()));
        out.extend(pairs);
    }
    for variable in &c.env {
        let value = match (&variable.value, &variable.value_from) {
            (Some(text), _) => {
                let known: BTreeMap<&str, &str> = out.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
                Some(expand(text, &known))
            }
            (None, Some(from)) => value_from(around, c, from)?,
            (None, None) => Some(String::new()),
        };
        out.extend(value.map(|value| (variable.name.clone(), value)));
    }
    Ok(out)
}

fn value_from(around: &Around<'_>, c: &Container, from: &Value) -> Result<Option<String>, Refusal> {
    if let Some(path) = from["fieldRef"]["fieldPath"].as_str() {
        let unknown = || Refusal::new(CONFIG_ERROR, format!("field {path:?} is not supported"));
        return field(around, path).map(Some).ok_or_else(unknown);
    }
    if let Some(name) = from["resourceFieldRef"]["resource"].as_str() {
        return Ok(Some(resource(c, name)));
    }
    let is_secret = from["secretKeyRef"].is_object();
    let source = if is_secret { &from["secretKeyRef"] } else { &from["configMapKeyRef"] };
    let (name, key) =
        (source["name"].as_str().unwrap_or_default(), source["key"].as_str().unwrap_or_default());
    let value = around.sources.get(is_secret, name).map(|all| all.get(key));
    match value {
        Some(Some(value)) => Ok(Some(String::from_utf8_lossy(value).into_owned())),
        _ if source["optional"] == true => Ok(None),
        None => Err(missing(is_secret, name)),
        Some(None) => {
            let message = format!("couldn't find key {key} in {}/{name}", around.pod.metadata.namespace);
            Err(Refusal::new(CONFIG_ERROR, message))
        }
    }
}

/// A field of the pod by its path, as the downward API knows them.
fn field(around: &Around<'_>, path: &str) -> Option<String> {
    let meta = &around.pod.metadata;
    let quoted = |map: &BTreeMap<String, String>| {
        map.iter().map(|(k, v)| format!("{k}={v:?}")).collect::<Vec<_>>().join("\n")
    };
    if let Some((map, key)) = path.strip_suffix("']").and_then(|p| p.split_once("['")) {
        let map = match map {
            "metadata.labels" => &meta.labels,
            "metadata.annotations" => &meta.annotations,
            _ => return None,
        };
        return Some(map.get(key).cloned().unwrap_or_default());
    }
    Some(match path {
        "metadata.name" => meta.name.clone(),
        "metadata.namespace" => meta.namespace.clone(),
        "metadata.uid" => meta.uid.clone(),
        "metadata.labels" => quoted(&meta.labels),
        "metadata.annotations" => quoted(&meta.annotations),
        "spec.nodeName" => around.pod.spec.node_name.clone(),
        "spec.serviceAccountName" => around.pod.spec.service_account_name.clone(),
        "status.podIP" | "status.podIPs" => around.address.to_owned(),
        "status.hostIP" | "status.hostIPs" => around.host_address.to_owned(),
        _ => return None,
    })
}

fn resource(c: &Container, name: &str) -> String {
    let quantity = match name.split_once('.') {
        Some(("limits", name)) => c.resources.limit(name),
        Some(("requests", name)) => c.resources.request(name),
        _ => None,
    };
    quantity.map_or_else(|| "0".to_owned(), |q| q.units().to_string())
}

/// Replaces `$(NAME)` by values known; `$$` stands for `$`; unknown names stay as they are.
fn expand(text: &str, known: &BTreeMap<&str, &str>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
            continue;
        }
        let name = rest.strip_prefix('(').and_then(|r| r.split_once(')'));
        match name {
            Some((name, after)) => {
                match known.get(name) {
                    Some(value) => out.push_str(value),
                    None => out.push_str(&format!("$({name})")),
                }
                rest = after;
            }
            None => out.push('$'),
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn references_expand_and_escapes_stay() {
        let known = BTreeMap::from([("A", "1"), ("B", "2")]);
        assert_eq!(expand("$(A)-$(B)-$(C)-$$(A)-$x-$", &known), "1-2-$(C)-$(A)-$x-$");
    }

    #[test]
    fn variables_come_from_fields_maps_and_each_other() {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "p", "namespace": "d", "labels": {"app": "shop"}},
            "spec": {"nodeName": "n", "containers": [{
                "name": "a", "image": "x", "args": ["--listen=$(POD_IP):80"],
                "envFrom": [{"prefix": "C_", "configMapRef": {"name": "c"}}],
                "env": [
                    {"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
                    {"name": "APP", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['app']"}}},
                    {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
                    {"name": "NONE", "valueFrom": {"secretKeyRef": {"name": "s", "key": "x", "optional": true}}},
                    {"name": "BOTH", "value": "$(APP)/$(C_one)"},
                ]}]}
        }))
        .unwrap();
        let mut sources = Sources::default();
        let map = |k: &str, v: &str| Some(BTreeMap::from([(k.to_owned(), v.as_bytes().to_vec())]));
        sources.maps.insert((false, "c".into()), map("one", "1"));
        sources.maps.insert((true, "s".into()), map("k", "v"));
        assert_eq!(names(&pod), [(false, "c".to_owned()), (true, "s".to_owned())]);
        let around =
            Around { pod: &pod, address: "127.64.64.1", host_address: "127.0.0.1", sources: &sources };
        let order = container(&around, &pod.spec.containers[0], 0).unwrap();
        let env: Vec<String> = order.env.iter().map(|(k, v)| format!("{k}={v}")).collect();
        assert_eq!(env, ["C_one=1", "POD_IP=127.64.64.1", "APP=shop", "KEY=v", "BOTH=shop/1"]);
        assert_eq!(order.args, ["--listen=127.64.64.1:80"]);
    }

    #[test]
    fn what_cannot_be_resolved_is_named() {
        let pod_of = |spec: Value| Pod { spec: serde_json::from_value(spec).unwrap(), ..Pod::default() };
        let disk = pod_of(json!({"volumes": [{"name": "v", "hostPath": {"path": "/"}}]}));
        let refusal = pod(&disk, &Sources::default()).unwrap_err();
        assert_eq!(refusal.reason, "UnsupportedVolume");
        assert!(refusal.message.contains("hostPath"));
        let map = pod_of(json!({"volumes": [{"name": "v", "configMap": {"name": "c"}}]}));
        assert_eq!(pod(&map, &Sources::default()).unwrap_err().message, "configmap \"c\" not found");
    }
}
