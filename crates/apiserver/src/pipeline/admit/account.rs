//! Admission of pods: their service account, its token and its pull secrets (ServiceAccount).

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};
use store::Key;

use crate::pipeline::metadata;
use crate::refuse::{Outcome, forbidden};
use crate::registry::Served;
use crate::server::{ApiServer, Call};
use crate::stored;

/// The account of pods that name none.
const DEFAULT: &str = "default";
/// Where a container finds the token of its account.
const TOKEN_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";
/// What the name of a token's volume begins with.
const TOKEN_VOLUME: &str = "kube-api-access-";
/// Life of a mounted token; the odd seconds mark those that were not asked for.
const TOKEN_LIFE_SECS: u32 = 3607;
/// Annotation of accounts whose pods may use no other secrets than the account names.
const ENFORCE: &str = "kubernetes.io/enforce-mountable-secrets";
/// How often the account `default` of a new namespace is looked for, and the wait between; upstream waits 100 to 200 ms.
const LOOKS: usize = 10;
const LOOK: Duration = Duration::from_millis(150);

/// Waits a moment for the account `default`, which a controller makes in every new namespace.
pub(super) async fn wait(call: &Call, served: &Served, pod: &Value) {
    let server = &call.server;
    if &*served.storage_key != "pods" || !server.needs_accounts() || is_mirror(pod) {
        return;
    }
    let named = [&pod["spec"]["serviceAccountName"], &pod["spec"]["serviceAccount"]];
    if named.into_iter().any(|name| name.as_str().is_some_and(|name| !name.is_empty() && name != DEFAULT)) {
        return;
    }
    let key = Key::new("serviceaccounts", call.namespace(served), DEFAULT);
    for _ in 1..LOOKS {
        // A namespace that is going gets no account any more; what comes next says so.
        if server.store.get(&key).is_some() || super::namespace_for_create(call, served, "").is_err() {
            return;
        }
        server.env.sleep(LOOK).await;
    }
}

/// Pods run as the account `default` unless they say otherwise, and get their account's token and pull secrets.
///
/// An account that does not exist is refused where a controller makes accounts, and no obstacle elsewhere.
pub(super) fn create(server: &ApiServer, served: &Served, pod: &mut Value) -> Outcome<()> {
    let refused = |pod: &Value, why: &str| forbidden(&served.resource, metadata::text(pod, "name"), why);
    if is_mirror(pod) {
        return mirror_fault(pod).map_or(Ok(()), |why| Err(refused(pod, why)));
    }
    if text(&pod["spec"], "serviceAccountName").is_empty() {
        pod["spec"]["serviceAccountName"] = json!(DEFAULT);
    }
    pod["spec"]["serviceAccount"] = pod["spec"]["serviceAccountName"].clone();
    let (namespace, name) = (metadata::text(pod, "namespace"), text(&pod["spec"], "serviceAccountName"));
    let Some(found) = server.store.get(&Key::new("serviceaccounts", namespace, name)) else {
        if !server.needs_accounts() {
            return Ok(());
        }
        let why =
            format!("error looking up service account {namespace}/{name}: serviceaccount {name:?} not found");
        return Err(refused(pod, &why));
    };
    let account = stored::decode(&found)?;
    let wish = [&pod["spec"]["automountServiceAccountToken"], &account["automountServiceAccountToken"]];
    if wish.into_iter().find_map(Value::as_bool).unwrap_or(true) {
        mount(server, pod);
    }
    let has_secrets = pod["spec"]["imagePullSecrets"].as_array().is_some_and(|s| !s.is_empty());
    if let (false, Some(secrets)) = (has_secrets, account["imagePullSecrets"].as_array()) {
        pod["spec"]["imagePullSecrets"] = json!(secrets);
    }
    secret_fault(&account, pod).map_or(Ok(()), |why| Err(refused(pod, &why)))
}

fn text<'a>(object: &'a Value, key: &str) -> &'a str {
    object[key].as_str().unwrap_or_default()
}

/// A pod that a node has by itself and only shows: completed, it would no longer be that pod.
fn is_mirror(pod: &Value) -> bool {
    pod["metadata"]["annotations"].get("kubernetes.io/config.mirror").is_some()
}

fn containers<'a>(pod: &'a Value, list: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    pod["spec"][list].as_array().into_iter().flatten()
}

fn volumes(pod: &Value) -> impl Iterator<Item = &Value> {
    containers(pod, "volumes")
}

/// What a mirror pod uses of the cluster's, which its node did not get from there.
fn mirror_fault(pod: &Value) -> Option<&'static str> {
    if !text(&pod["spec"], "serviceAccountName").is_empty() {
        return Some("a mirror pod may not reference service accounts");
    }
    let env = ["initContainers", "containers", "ephemeralContainers"];
    let uses = |c: &Value| {
        let each = |key: &str| c[key].as_array().cloned().unwrap_or_default();
        each("env").iter().any(|e| e["valueFrom"]["secretKeyRef"].is_object())
            || each("envFrom").iter().any(|e| e["secretRef"].is_object())
    };
    let sources = |v: &Value| v["projected"]["sources"].as_array().cloned().unwrap_or_default();
    let is_secret = |v: &Value| v["secret"].is_object() || sources(v).iter().any(|s| s["secret"].is_object());
    let pulls = containers(pod, "imagePullSecrets").next().is_some();
    if pulls || env.iter().any(|list| containers(pod, list).any(uses)) || volumes(pod).any(is_secret) {
        return Some("a mirror pod may not reference secrets");
    }
    let is_token = |v: &Value| sources(v).iter().any(|s| s["serviceAccountToken"].is_object());
    volumes(pod).any(is_token).then_some("a mirror pod may not use ServiceAccountToken volume projections")
}

/// Mounts the token where nothing else is mounted; a volume that is there already, from an earlier round, is used again.
fn mount(server: &ApiServer, pod: &mut Value) {
    let own = |v: &&Value| v["projected"].is_object() && text(v, "name").starts_with(TOKEN_VOLUME);
    let known = volumes(pod).find(own).map(|v| text(v, "name").to_owned());
    let is_new = known.is_none();
    let name = known.unwrap_or_else(|| format!("{TOKEN_VOLUME}{}", stdx::name_suffix(&*server.env.rng, 5)));
    let mut is_mounted = false;
    for list in ["initContainers", "containers"] {
        // Not by index: that would store a null where there is no such list.
        let containers = pod["spec"].get_mut(list).and_then(Value::as_array_mut);
        for container in containers.into_iter().flatten() {
            let mounts = container["volumeMounts"].as_array().cloned().unwrap_or_default();
            if mounts.iter().any(|m| m["mountPath"] == TOKEN_PATH) {
                continue;
            }
            let own = json!({"name": name, "readOnly": true, "mountPath": TOKEN_PATH});
            container["volumeMounts"] = mounts.into_iter().chain([own]).collect();
            is_mounted = true;
        }
    }
    if !is_mounted || !is_new {
        return;
    }
    let field = json!({"apiVersion": "v1", "fieldPath": "metadata.namespace"});
    let volume = json!({"name": name, "projected": {"defaultMode": 420, "sources": [
        {"serviceAccountToken": {"expirationSeconds": TOKEN_LIFE_SECS, "path": "token"}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": field}]}},
    ]}});
    let all = volumes(pod).cloned().chain([volume]).collect();
    pod["spec"]["volumes"] = all;
}

/// The first secret a pod uses that its account does not name, where the account wants that to be told.
fn secret_fault(account: &Value, pod: &Value) -> Option<String> {
    let is_enforced = matches!(
        text(&account["metadata"]["annotations"], ENFORCE),
        "1" | "t" | "T" | "true" | "TRUE" | "True"
    );
    if !is_enforced {
        return None;
    }
    let name = metadata::text(account, "name");
    let names = |key: &str| -> BTreeSet<String> {
        let all = account[key].as_array().into_iter().flatten();
        all.map(|secret| text(secret, "name").to_owned()).collect()
    };
    let secrets = names("secrets");
    let unnamed = |secret: &Value| secret.as_str().filter(|s| !secrets.contains(*s)).map(str::to_owned);
    let end = format!("is not allowed because service account {name} does not reference that secret");
    let of_volume = volumes(pod).find_map(|v| unnamed(&v["secret"]["secretName"]));
    if let Some(secret) = of_volume {
        return Some(format!("volume with secret.secretName=\"{secret}\" {end}"));
    }
    for (list, word) in [("initContainers", "init container"), ("containers", "container")] {
        for c in containers(pod, list) {
            for env in c["env"].as_array().into_iter().flatten() {
                if let Some(secret) = unnamed(&env["valueFrom"]["secretKeyRef"]["name"]) {
                    let (container, variable) = (text(c, "name"), text(env, "name"));
                    return Some(format!(
                        "{word} {container} with envVar {variable} referencing secret.secretName=\"{secret}\" {end}"
                    ));
                }
            }
        }
    }
    let pulled = names("imagePullSecrets");
    let mut pulls = containers(pod, "imagePullSecrets").enumerate();
    pulls.find(|(_, s)| !pulled.contains(text(s, "name"))).map(|(i, secret)| {
        let secret = text(secret, "name");
        format!(
            "imagePullSecrets[{i}].name=\"{secret}\" is not allowed because service account {name} does not reference that \
             imagePullSecret"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_that_enforces_its_secrets_names_the_first_other_one() {
        let account = json!({
            "metadata": {"name": "sa", "annotations": {ENFORCE: "true"}},
            "secrets": [{"name": "mine"}], "imagePullSecrets": [{"name": "pull"}]
        });
        let fault = |spec: Value| secret_fault(&account, &json!({"spec": spec})).unwrap_or_default();
        assert_eq!(fault(json!({"volumes": [{"secret": {"secretName": "mine"}}]})), "");
        assert_eq!(
            fault(json!({"volumes": [{"secret": {"secretName": "x"}}]})),
            "volume with secret.secretName=\"x\" is not allowed because service account sa does not reference that secret"
        );
        let env = json!([{"name": "E", "valueFrom": {"secretKeyRef": {"name": "x", "key": "k"}}}]);
        assert_eq!(
            fault(json!({"initContainers": [{"name": "c", "env": env}]})),
            "init container c with envVar E referencing secret.secretName=\"x\" is not allowed because service account sa \
             does not reference that secret"
        );
        assert_eq!(
            fault(json!({"imagePullSecrets": [{"name": "pull"}, {"name": "x"}]})),
            "imagePullSecrets[1].name=\"x\" is not allowed because service account sa does not reference that \
             imagePullSecret"
        );
        let lax = json!({"metadata": {"name": "sa"}});
        assert_eq!(secret_fault(&lax, &json!({"spec": {"imagePullSecrets": [{"name": "x"}]}})), None);
    }

    #[test]
    fn a_mirror_pod_uses_nothing_of_the_cluster() {
        let fault = |spec: Value| mirror_fault(&json!({"spec": spec})).unwrap_or_default();
        assert_eq!(fault(json!({"containers": [{"name": "c"}]})), "");
        assert_eq!(
            fault(json!({"serviceAccountName": "x"})),
            "a mirror pod may not reference service accounts"
        );
        let volume = json!({"projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}});
        assert_eq!(
            fault(json!({"volumes": [volume]})),
            "a mirror pod may not use ServiceAccountToken volume projections"
        );
        let from = json!({"envFrom": [{"secretRef": {"name": "s"}}]});
        assert_eq!(fault(json!({"containers": [from]})), "a mirror pod may not reference secrets");
    }
}
