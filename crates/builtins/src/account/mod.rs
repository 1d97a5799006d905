//! What every namespace is born with: the ServiceAccount `default` and the ConfigMap `kube-root-ca.crt`.
//!
//! The certificate is copied from the ConfigMap of that name in `kube-system`, which whoever owns the authority writes.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use api_core::{ConfigMap, Namespace, ServiceAccount};
use api_meta::{Object, ObjectKey};
use reconcile::{Action, Form, Permission, Plan, Risk, Target, Thinker, Watch, World};
use serde_json::json;
use stdx::Time;

const ROOT_CA: &str = "kube-root-ca.crt";
const SOURCE: &str = "kube-system";
/// Upstream's word about the ConfigMap.
const DESCRIPTION: &str = "Contains a CA bundle that can be used to verify the kube-apiserver when using internal \
endpoints such as the internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of \
Kubernetes clusters.";

/// Furnishes namespaces.
pub struct Accounts;

/// A namespace and what it has.
pub struct Observed {
    /// Its name.
    namespace: String,
    /// Whether it stays.
    active: bool,
    has_account: bool,
    /// Its copy of the certificate.
    copy: Option<std::sync::Arc<ConfigMap>>,
    /// The certificate to copy.
    source: Option<BTreeMap<String, String>>,
}

impl Thinker for Accounts {
    type Primary = Namespace;
    type Observed = Observed;
    const NAME: &'static str = "service-account-controller";

    fn watches() -> Vec<Watch> {
        let namespace_of = |namespace: &str| ObjectKey::new("", namespace);
        vec![
            Watch::mapped::<ServiceAccount>(move |_, account| {
                let is_default = account.metadata.name == "default";
                is_default.then(|| namespace_of(&account.metadata.namespace)).into_iter().collect()
            }),
            Watch::mapped::<ConfigMap>(move |world, map| {
                if map.metadata.name != ROOT_CA {
                    return Vec::new();
                }
                if map.metadata.namespace == SOURCE {
                    return world.cache::<Namespace>().iter().map(|n| n.metadata.key()).collect();
                }
                vec![namespace_of(&map.metadata.namespace)]
            }),
        ]
    }

    fn permissions() -> Vec<Permission> {
        let verbs = &["get", "create", "patch"];
        vec![
            Permission { group: "", resource: "serviceaccounts", verbs },
            Permission { group: "", resource: "configmaps", verbs },
            Permission { group: "", resource: "events", verbs: &["create", "patch"] },
        ]
    }

    fn observe(world: &World, key: &ObjectKey) -> Option<Observed> {
        let namespace = world.cache::<Namespace>().get(key)?;
        let map = |namespace: &str| world.cache::<ConfigMap>().get(&ObjectKey::new(namespace, ROOT_CA));
        let account = ObjectKey::new(&*key.name, "default");
        Some(Observed {
            namespace: key.name.clone(),
            active: !namespace.metadata.is_terminating() && namespace.status.phase != "Terminating",
            has_account: world.cache::<ServiceAccount>().get(&account).is_some(),
            copy: map(&key.name).cloned(),
            source: map(SOURCE).map(|m| m.data.clone()),
        })
    }

    fn plan(seen: &Observed, _: Time) -> Plan {
        let mut plan = Plan::new();
        if !seen.active {
            return plan;
        }
        if !seen.has_account {
            let body = json!({
                "apiVersion": "v1", "kind": "ServiceAccount",
                "metadata": {"name": "default", "namespace": seen.namespace},
            });
            plan.act(Action::Create { resource: ServiceAccount::RESOURCE, body });
        }
        plan.actions.extend(certificate(seen));
        plan
    }
}

fn certificate(seen: &Observed) -> Option<Action> {
    let data = seen.source.as_ref()?;
    match &seen.copy {
        Some(copy) if copy.data == *data => None,
        Some(copy) => Some(Action::Patch {
            target: Target::at(&**copy),
            subresource: "",
            form: Form::Merge,
            body: json!({ "data": data }),
            risk: Risk::None,
        }),
        None => Some(Action::Create {
            resource: ConfigMap::RESOURCE,
            body: json!({
                "apiVersion": "v1", "kind": "ConfigMap", "data": data,
                "metadata": {
                    "name": ROOT_CA, "namespace": seen.namespace,
                    "annotations": {"kubernetes.io/description": DESCRIPTION},
                },
            }),
        }),
    }
}
