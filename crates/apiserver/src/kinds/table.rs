//! Which behaviour belongs to which kind.

use super::{
    autoscaling, batch, core, endpoints, limits, machinery, network, pod, policy, service, storage, webhooks,
    workload,
};
use crate::registry::Facts;

const APPS: &str = "apps";
const BATCH: &str = "batch";
const NET: &str = "networking.k8s.io";
const STORAGE: &str = "storage.k8s.io";
const RBAC: &str = "rbac.authorization.k8s.io";
const ADMISSION: &str = "admissionregistration.k8s.io";
const FLOW: &str = "flowcontrol.apiserver.k8s.io";

/// Group, plural, behaviour.
const ROWS: [(&str, &str, &Facts); 55] = [
    ("", "configmaps", &core::CONFIG_MAP),
    ("", "endpoints", &endpoints::ENDPOINTS),
    ("", "events", &core::EVENT),
    ("", "limitranges", &limits::LIMIT_RANGE),
    ("", "namespaces", &core::NAMESPACE),
    ("", "nodes", &core::NODE),
    ("", "persistentvolumeclaims", &storage::CLAIM),
    ("", "persistentvolumes", &storage::VOLUME),
    ("", "pods", &pod::FACTS),
    ("", "podtemplates", &pod::TEMPLATE_FACTS),
    ("", "replicationcontrollers", &workload::REPLICATION_CONTROLLER),
    ("", "resourcequotas", &limits::QUOTA),
    ("", "secrets", &core::SECRET),
    ("", "serviceaccounts", &core::SERVICE_ACCOUNT),
    ("", "services", &service::SERVICE),
    ("events.k8s.io", "events", &core::EVENT),
    (APPS, "controllerrevisions", &workload::CONTROLLER_REVISION),
    (APPS, "daemonsets", &workload::DAEMON_SET),
    (APPS, "deployments", &workload::DEPLOYMENT),
    (APPS, "replicasets", &workload::REPLICA_SET),
    (APPS, "statefulsets", &workload::STATEFUL_SET),
    (BATCH, "cronjobs", &batch::CRON_JOB),
    (BATCH, "jobs", &batch::JOB),
    ("autoscaling", "horizontalpodautoscalers", &autoscaling::AUTOSCALER),
    ("coordination.k8s.io", "leases", &policy::LEASE),
    ("discovery.k8s.io", "endpointslices", &endpoints::ENDPOINT_SLICE),
    (NET, "ingressclasses", &network::INGRESS_CLASS),
    (NET, "ingresses", &network::INGRESS),
    (NET, "ipaddresses", &machinery::IP_ADDRESS),
    (NET, "networkpolicies", &network::NETWORK_POLICY),
    (NET, "servicecidrs", &machinery::SERVICE_CIDR),
    ("node.k8s.io", "runtimeclasses", &policy::RUNTIME_CLASS),
    ("policy", "poddisruptionbudgets", &policy::BUDGET),
    (RBAC, "clusterrolebindings", &policy::CLUSTER_ROLE_BINDING),
    (RBAC, "clusterroles", &policy::CLUSTER_ROLE),
    (RBAC, "rolebindings", &policy::ROLE_BINDING),
    (RBAC, "roles", &policy::ROLE),
    ("scheduling.k8s.io", "priorityclasses", &policy::PRIORITY_CLASS),
    (STORAGE, "csidrivers", &storage::DRIVER),
    (STORAGE, "csinodes", &storage::CSI_NODE),
    (STORAGE, "storageclasses", &storage::CLASS),
    (STORAGE, "volumeattachments", &storage::ATTACHMENT),
    (ADMISSION, "mutatingadmissionpolicies", &webhooks::MUTATING_POLICY),
    (ADMISSION, "mutatingadmissionpolicybindings", &webhooks::MUTATING_BINDING),
    (ADMISSION, "mutatingwebhookconfigurations", &webhooks::MUTATING),
    (ADMISSION, "validatingadmissionpolicies", &webhooks::VALIDATING_POLICY),
    (ADMISSION, "validatingadmissionpolicybindings", &webhooks::VALIDATING_BINDING),
    (ADMISSION, "validatingwebhookconfigurations", &webhooks::VALIDATING),
    (FLOW, "flowschemas", &machinery::FLOW_SCHEMA),
    (FLOW, "prioritylevelconfigurations", &machinery::PRIORITY_LEVEL),
    ("certificates.k8s.io", "certificatesigningrequests", &machinery::SIGNING_REQUEST),
    ("apiextensions.k8s.io", "customresourcedefinitions", &crate::crd::FACTS),
    ("apiregistration.k8s.io", "apiservices", &machinery::API_SERVICE),
    (STORAGE, "csistoragecapacities", &storage::CSI_CAPACITY),
    (STORAGE, "volumeattributesclasses", &storage::ATTRIBUTES_CLASS),
];

/// The behaviour of a kind; the plain one when it has no row.
pub(super) fn facts(group: &str, plural: &str) -> &'static Facts {
    let row = ROWS.iter().find(|(g, p, _)| *g == group && *p == plural);
    row.map_or(Facts::plain(), |(.., facts)| *facts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_belongs_to_a_served_kind() {
        for (group, plural, _) in ROWS {
            let known = api_tables::tables().kinds.iter().any(|k| k.group == group && k.plural == plural);
            assert!(known, "{group}/{plural}");
        }
    }

    #[test]
    fn every_row_has_a_cell_for_each_column() {
        let object = serde_json::json!({"metadata": {"name": "a"}, "spec": {}, "status": {}});
        for (group, plural, facts) in ROWS {
            let cells = (facts.row)(&object, stdx::Time::from_secs(0)).len();
            assert_eq!(cells, facts.columns.len(), "{group}/{plural}");
        }
    }

    #[test]
    fn an_object_of_nothing_makes_no_function_panic() {
        let context = crate::registry::Context {
            now: stdx::Time::from_secs(0),
            namespace: "d",
            subresource: "",
            user: "u",
        };
        for odd in [serde_json::json!({}), serde_json::json!({"metadata": {}, "spec": null, "status": null})]
        {
            for (_, _, facts) in ROWS {
                let mut v = odd.clone();
                (facts.default)(&mut v);
                (facts.prepare_create)(&mut v, &context);
                (facts.prepare_update)(&mut v, &odd, &context);
                let _ = (facts.validate_create)(&v, &context);
                let _ = (facts.validate_update)(&v, &odd, &context);
                let _ = (facts.warnings)(&v, Some(&odd));
            }
        }
    }
}
