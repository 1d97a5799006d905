//! What kinds with a selector and a template have in common.

use serde_json::Value;

use super::super::check::{Findings, Path, given, given_mut, int, text};
use super::super::{names, pod};

/// What is the same for all kinds that have a selector and a template.
#[derive(Clone, Copy)]
pub(super) struct Words {
    /// As in `empty selector is invalid for deployment`.
    pub(super) name: &'static str,
}

/// Selector and template, which must fit each other.
pub(super) fn selector_and_template(found: &mut Findings, spec: &Value, words: Words) {
    let path = Path::Root("spec");
    let at = path.field("selector");
    match given(spec, "selector") {
        None => found.required(&at, ""),
        Some(selector) => {
            names::selector(found, &at, selector);
            if names::is_empty_selector(selector) {
                found.invalid(
                    &at,
                    selector.clone(),
                    &format!("empty selector is invalid for {}", words.name),
                );
            }
        }
    }
    template(found, spec);
}

pub(super) fn template(found: &mut Findings, spec: &Value) {
    let at = Path::Root("spec.template");
    let labels = &spec["template"]["metadata"]["labels"];
    let selector = &spec["selector"];
    if selector.is_null() {
        mismatch(found, labels);
    } else if !names::is_empty_selector(selector) {
        let mut faults = Findings::default();
        names::selector(&mut faults, &Path::Root("spec.selector"), selector);
        match names::selects(selector, labels).filter(|_| faults.is_empty()) {
            Some(true) => {}
            Some(false) => mismatch(found, labels),
            None => found.invalid(&Path::Root("spec.selector"), selector.clone(), "invalid label selector"),
        }
    }
    pod::validate_template(found, &at, &spec["template"]);
}

pub(super) fn mismatch(found: &mut Findings, labels: &Value) {
    let at = Path::Root("spec.template.metadata.labels");
    found.invalid(&at, labels.clone(), "`selector` does not match template `labels`");
}

/// Templates of what keeps pods running must restart them.
pub(super) fn always_restarts(found: &mut Findings, spec: &Value) {
    let policy = text(&spec["template"]["spec"], "restartPolicy");
    if policy != "Always" {
        found.not_supported(&Path::Root("spec.template.spec.restartPolicy"), policy, &["Always"]);
    }
    let deadline = &spec["template"]["spec"]["activeDeadlineSeconds"];
    if !deadline.is_null() {
        let at = Path::Root("spec.template.spec.activeDeadlineSeconds");
        found.forbidden(&at, "activeDeadlineSeconds in ReplicaSet is not Supported");
    }
}

pub(super) fn default_template(v: &mut Value) {
    if let Some(template) = v.get_mut("spec").and_then(|s| given_mut(s, "template")) {
        pod::default_template(template);
    }
}

pub(super) fn warnings(new: &Value, old: Option<&Value>) -> Vec<String> {
    pod::template_warnings("spec.template", &new["spec"]["template"], old.map(|o| &o["spec"]["template"]))
}

pub(super) fn status_numbers(found: &mut Findings, status: &Value, numbers: &[&str]) {
    for name in numbers {
        found.non_negative(&Path::Root("status"), status, name);
    }
}

/// A part of the status that cannot be more than the whole.
pub(super) fn at_most(found: &mut Findings, status: &Value, part: &str, whole: &str, why: &str) {
    let (p, w) = (int(status, part).unwrap_or(0), int(status, whole).unwrap_or(0));
    if p > w {
        found.invalid(&Path::Root("status").field(part), p, why);
    }
}

pub(super) const OVER: &str = "cannot be greater than status.replicas";

/// Nothing, as a number or a percentage.
pub(super) fn is_zero(v: &Value) -> bool {
    v == 0 || v.as_str().and_then(|s| s.strip_suffix('%')).is_some_and(|d| d.parse() == Ok(0))
}
