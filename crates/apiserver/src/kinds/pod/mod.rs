//! Pods and pod templates.
//!
//! ```text
//! defaults  what a spec means when it does not say        validate   what a spec may say (container, volume, placing)
//! columns   how a pod is shown                            update     what may change, through which door
//! qos       the class that follows from the resources     warnings   what is taken but does nothing
//! ```

mod columns;
mod container;
mod defaults;
mod env;
mod placing;
mod qos;
mod resources;
mod security;
mod update;
mod validate;
mod volume;
mod warnings;

use serde_json::{Value, json};

use super::check::{Findings, Path, flag, put, text};
use crate::registry::{Context, Facts, Generation};
use api_meta::Cause;

use defaults::pod as default_pod;
pub(super) use defaults::{host_path as default_host_path, template as default_template};
pub(super) use placing::{node_selector, taint_effect};
pub(super) use resources::{quantity, resource_value};
pub(super) use validate::template as validate_template;
pub(super) use volume::{csi_driver, host_path};
pub(super) use warnings::template as template_warnings;

pub(super) static FACTS: Facts = Facts {
    default: default_pod,
    prepare_create,
    prepare_update: update::prepare,
    validate_create,
    validate_update: update::validate,
    warnings: warnings::pod,
    generation: Generation::Spec,
    selectable: &[
        "spec.nodeName",
        "spec.restartPolicy",
        "spec.schedulerName",
        "spec.serviceAccountName",
        "spec.hostNetwork",
        "status.phase",
        "status.podIP",
        "status.podIPs",
        "status.nominatedNodeName",
    ],
    field,
    columns: &columns::COLUMNS,
    row: columns::row,
    conditions: columns::conditions,
    ..Facts::PLAIN
};

/// PodTemplate objects.
pub(super) static TEMPLATE_FACTS: Facts = Facts {
    default: |v| template_of(v, "template"),
    validate_create: |v, _| {
        let mut found = Findings::default();
        validate_template(&mut found, &Path::Root("template"), &v["template"]);
        found.causes
    },
    validate_update: |v, _, _| {
        let mut found = Findings::default();
        validate_template(&mut found, &Path::Root("template"), &v["template"]);
        found.causes
    },
    generation: Generation::Whole,
    columns: &columns::TEMPLATE_COLUMNS,
    row: columns::template_row,
    ..Facts::PLAIN
};

fn template_of(v: &mut Value, name: &str) {
    if let Some(template) = v.get_mut(name) {
        default_template(template);
    }
}

/// A new pod waits; gated ones say so. The class of its quality of service is settled now.
fn prepare_create(pod: &mut Value, context: &Context<'_>) {
    let mut status = json!({"phase": "Pending", "qosClass": qos::class(&pod["spec"])});
    if !super::check::list(&pod["spec"], "schedulingGates").is_empty() {
        status["conditions"] = json!([{
            "type": "PodScheduled", "status": "False", "reason": "SchedulingGated",
            "message": "Scheduling is blocked due to non-empty scheduling gates",
            "lastProbeTime": null, "lastTransitionTime": context.now.to_string(),
        }]);
    }
    put(pod, "status", status);
    placing::merge_label_keys(pod);
    if super::check::int(&pod["spec"], "terminationGracePeriodSeconds").is_some_and(|n| n < 0) {
        pod["spec"]["terminationGracePeriodSeconds"] = 1.into();
    }
}

fn validate_create(pod: &Value, _: &Context<'_>) -> Vec<Cause> {
    let mut found = Findings::default();
    validate::pod(&mut found, pod);
    if !super::check::list(&pod["spec"], "ephemeralContainers").is_empty() {
        found.forbidden(&Path::Root("spec.ephemeralContainers"), "cannot be set on create");
    }
    if super::check::given(&pod["spec"], "resources").is_some() {
        validate::pod_resources(&mut found, pod);
    }
    found.causes
}

fn field(pod: &Value, name: &str) -> String {
    let (spec, status) = (&pod["spec"], &pod["status"]);
    match name {
        "spec.nodeName" => text(spec, "nodeName").to_owned(),
        "spec.restartPolicy" => text(spec, "restartPolicy").to_owned(),
        "spec.schedulerName" => text(spec, "schedulerName").to_owned(),
        "spec.serviceAccountName" => text(spec, "serviceAccountName").to_owned(),
        "spec.hostNetwork" => flag(spec, "hostNetwork").to_string(),
        "status.phase" => text(status, "phase").to_owned(),
        "status.podIP" | "status.podIPs" => text(status, "podIP").to_owned(),
        "status.nominatedNodeName" => text(status, "nominatedNodeName").to_owned(),
        _ => String::new(),
    }
}
