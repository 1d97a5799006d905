//! What OpenKruise's validating webhook refuses (master), in its words.

use std::collections::BTreeSet;

use api_meta::{Cause, IntOrPercent, LabelSelector, Round};
use serde_json::{Map, Value};

use crate::convert;

/// Everything wrong with a new CloneSet of either version, defaults applied. Field paths are those of its own version.
pub fn validate_create(value: &Value) -> Vec<Cause> {
    in_own_version(value, |beta| Checks::of("cloneset").whole(beta))
}

/// Everything wrong with a changed CloneSet; both of the same version, defaults applied.
pub fn validate_update(new: &Value, old: &Value) -> Vec<Cause> {
    let old = match convert(old.clone(), api_version(old), "v1beta1") {
        Ok(old) => old,
        Err(message) => return vec![cause("FieldValueInvalid", "spec", message)],
    };
    in_own_version(new, |beta| {
        let mut checks = Checks::of("cloneset");
        checks.change(&beta["spec"], &old["spec"]);
        checks.whole(beta)
    })
}

fn api_version(value: &Value) -> &str {
    value["apiVersion"].as_str().unwrap_or("v1beta1")
}

/// Checks the v1beta1 form; v1alpha1 users read v1alpha1 paths.
fn in_own_version(value: &Value, check: impl FnOnce(&Value) -> Vec<Cause>) -> Vec<Cause> {
    if !api_version(value).ends_with("v1alpha1") {
        return check(value);
    }
    let beta = match convert(value.clone(), "v1alpha1", "v1beta1") {
        Ok(beta) => beta,
        Err(message) => return vec![cause("FieldValueInvalid", "spec", message)],
    };
    let mut causes = check(&beta);
    for cause in &mut causes {
        cause.field =
            cause.field.replace(".rollingUpdate.podUpdatePolicy", ".type").replace(".rollingUpdate.", ".");
        cause.message = cause.message.replace("podUpdatePolicy InPlaceOnly", "strategy type InPlaceOnly");
    }
    causes
}

pub(crate) fn cause(reason: &str, field: &str, message: impl Into<String>) -> Cause {
    Cause { reason: reason.to_owned(), message: message.into(), field: field.to_owned() }
}

/// One cause for each member of the spec that may not change and did.
pub(crate) fn unchanged(new: &Value, old: &Value, members: &[&str]) -> Vec<Cause> {
    let changed = members.iter().filter(|m| new["spec"][**m] != old["spec"][**m]);
    let told = |m: &&str| {
        let message = format!("Invalid value: {}: field is immutable", new["spec"][*m]);
        cause("FieldValueInvalid", &format!("spec.{m}"), message)
    };
    changed.map(told).collect()
}

/// What was found wrong so far, and the kind as messages call it.
pub(crate) struct Checks {
    kind: &'static str,
    causes: Vec<Cause>,
}

/// Members of the spec in v1beta1.
const SPEC_FIELDS: [&str; 10] = [
    "replicas",
    "selector",
    "template",
    "volumeClaimTemplates",
    "scaleStrategy",
    "updateStrategy",
    "revisionHistoryLimit",
    "minReadySeconds",
    "lifecycle",
    "progressDeadlineSeconds",
];

/// Checks that kinds with a selector and a template share.
impl Checks {
    /// Nothing found yet.
    pub(crate) fn of(kind: &'static str) -> Checks {
        Checks { kind, causes: Vec::new() }
    }

    /// Everything found.
    pub(crate) fn done(self) -> Vec<Cause> {
        self.causes
    }

    /// Members of the spec that the kind does not have.
    pub(crate) fn known_fields(&mut self, value: &Value, known: &[&str]) {
        let empty = Map::new();
        let spec = value["spec"].as_object().unwrap_or(&empty);
        for key in spec.keys().filter(|k| !known.contains(&k.as_str())) {
            self.add("FieldValueForbidden", &format!("spec.{key}"), "Forbidden: unknown field");
        }
    }

    pub(crate) fn add(&mut self, reason: &str, field: &str, message: impl Into<String>) {
        self.causes.push(cause(reason, field, message));
    }

    pub(crate) fn required(&mut self, field: &str) {
        self.add("FieldValueRequired", field, "Required value");
    }

    pub(crate) fn invalid(&mut self, field: &str, value: &Value, why: &str) {
        self.add("FieldValueInvalid", field, format!("Invalid value: {value}: {why}"));
    }

    pub(crate) fn non_negative(&mut self, field: &str, value: &Value) {
        match value {
            Value::Null => {}
            _ if value.as_i64().is_some_and(|n| (0..=i64::from(i32::MAX)).contains(&n)) => {}
            _ if value.as_i64().is_some_and(|n| n < 0) => {
                self.invalid(field, value, "must be greater than or equal to 0");
            }
            _ => self.invalid(field, value, "must be a 32-bit integer"),
        }
    }

    pub(crate) fn selector(&mut self, spec: &Value) {
        if spec["selector"].is_null() {
            return self.required("spec.selector");
        }
        let parsed: Result<LabelSelector, _> = serde_json::from_value(spec["selector"].clone());
        let Ok(parsed) = parsed else {
            return self.invalid("spec.selector", &spec["selector"], "invalid label selector");
        };
        match parsed.selector() {
            Err(e) => self.invalid("spec.selector", &spec["selector"], &e.to_string()),
            Ok(s) if s.is_empty() => {
                let why = format!("empty selector is invalid for {}", self.kind);
                self.invalid("spec.selector", &spec["selector"], &why);
            }
            Ok(s) => {
                let labels = &spec["template"]["metadata"]["labels"];
                let map = serde_json::from_value(labels.clone()).unwrap_or_default();
                if !s.matches::<std::collections::BTreeMap<String, String>>(&map)
                    && !spec["template"].is_null()
                {
                    let why = "`selector` does not match template `labels`";
                    self.invalid("spec.template.metadata.labels", labels, why);
                }
            }
        }
    }

    pub(crate) fn template(&mut self, template: &Value) {
        if template.is_null() {
            return self.required("spec.template");
        }
        let spec = &template["spec"];
        let containers = spec["containers"].as_array().map_or(&[][..], Vec::as_slice);
        if containers.is_empty() {
            self.required("spec.template.spec.containers");
        }
        let mut names = BTreeSet::new();
        for (i, container) in containers.iter().enumerate() {
            let field = format!("spec.template.spec.containers[{i}]");
            match container["name"].as_str().filter(|n| !n.is_empty()) {
                None => self.required(&format!("{field}.name")),
                Some(name) if !names.insert(name) => {
                    self.add(
                        "FieldValueDuplicate",
                        &format!("{field}.name"),
                        format!("Duplicate value: {name:?}"),
                    );
                }
                Some(_) => {}
            }
            if container["image"].as_str().is_none_or(str::is_empty) {
                self.required(&format!("{field}.image"));
            }
        }
        let policy = &spec["restartPolicy"];
        if !policy.is_null() && policy != "" && policy != "Always" {
            let message = format!("Unsupported value: {policy}: supported values: \"Always\"");
            self.add("FieldValueNotSupported", "spec.template.spec.restartPolicy", message);
        }
        if !spec["activeDeadlineSeconds"].is_null() {
            let message = format!("Forbidden: activeDeadlineSeconds in {} is not Supported", self.kind);
            self.add("FieldValueForbidden", "spec.template.spec.activeDeadlineSeconds", message);
        }
    }
}

impl Checks {
    fn whole(mut self, value: &Value) -> Vec<Cause> {
        self.known_fields(value, &SPEC_FIELDS);
        let spec = &value["spec"];
        self.non_negative("spec.replicas", &spec["replicas"]);
        self.non_negative("spec.minReadySeconds", &spec["minReadySeconds"]);
        self.non_negative("spec.revisionHistoryLimit", &spec["revisionHistoryLimit"]);
        self.selector(spec);
        self.template(&spec["template"]);
        self.pods_to_delete(&spec["scaleStrategy"]["podsToDelete"]);
        self.share("spec.scaleStrategy.maxUnavailable", &spec["scaleStrategy"]["maxUnavailable"], 0);
        self.update_strategy(&spec["updateStrategy"], replicas(spec));
        self.deadline(spec);
        self.done()
    }

    fn pods_to_delete(&mut self, names: &Value) {
        let mut seen = BTreeSet::new();
        let all = names.as_array().map_or(&[][..], Vec::as_slice).iter().filter_map(Value::as_str);
        let twice: Vec<_> = all.filter(|n| !seen.insert(*n)).collect();
        if !twice.is_empty() {
            let why = format!("duplicated items [{}]", twice.join(" "));
            self.invalid("spec.scaleStrategy.podsToDelete", names, &why);
        }
    }

    fn update_strategy(&mut self, strategy: &Value, replicas: i32) {
        let kind = strategy["type"].as_str().unwrap_or_default();
        if !matches!(kind, "" | "RollingUpdate" | "OnDelete") {
            let why = "must be 'RollingUpdate' or 'OnDelete'";
            self.invalid("spec.updateStrategy.type", &strategy["type"], why);
        }
        let rolling = &strategy["rollingUpdate"];
        if rolling.is_null() {
            return;
        }
        let path = |field: &str| format!("spec.updateStrategy.rollingUpdate.{field}");
        let policy = rolling["podUpdatePolicy"].as_str().unwrap_or_default();
        if !matches!(policy, "" | "ReCreate" | "InPlaceIfPossible" | "InPlaceOnly") {
            let why = "must be 'ReCreate', 'InPlaceIfPossible' or 'InPlaceOnly'";
            self.invalid(&path("podUpdatePolicy"), &rolling["podUpdatePolicy"], why);
        }
        self.share(&path("partition"), &rolling["partition"], replicas);
        let unavailable = self.share(&path("maxUnavailable"), &rolling["maxUnavailable"], replicas);
        let surge = self.share(&path("maxSurge"), &rolling["maxSurge"], replicas);
        if policy == "InPlaceOnly" && surge > 0 {
            let why = "can not use maxSurge with podUpdatePolicy InPlaceOnly";
            self.invalid(&path("maxSurge"), &rolling["maxSurge"], why);
        }
        if kind != "OnDelete" && replicas > 0 && unavailable < 1 && surge < 1 {
            let why = "maxUnavailable and maxSurge should not both be less than 1";
            self.invalid(&path("maxUnavailable"), &rolling["maxUnavailable"], why);
        }
        self.priority(&path("priorityStrategy"), &rolling["priorityStrategy"]);
        self.scatter(&path("scatterStrategy"), &rolling["scatterStrategy"]);
        let in_place = &rolling["inPlaceUpdateStrategy"];
        self.non_negative(&path("inPlaceUpdateStrategy.gracePeriodSeconds"), &in_place["gracePeriodSeconds"]);
        let parallelism = &in_place["imagePreDownloadParallelism"];
        if parallelism.is_string() {
            let why = "imagePreDownloadParallelism does not support percentage value";
            self.invalid(&path("inPlaceUpdateStrategy.imagePreDownloadParallelism"), parallelism, why);
        }
    }

    /// The count a share stands for, rounded up; a share that cannot be read counts as 1, so that it is named once only.
    fn share(&mut self, field: &str, value: &Value, replicas: i32) -> i32 {
        if value.is_null() {
            return 0;
        }
        match serde_json::from_value::<IntOrPercent>(value.clone()) {
            Ok(share) => {
                let count = share.of(replicas, Round::Up);
                if count < 0 {
                    self.invalid(field, value, "must be greater than or equal to 0");
                    return 1;
                }
                count
            }
            Err(_) => {
                let name = field.rsplit('.').next().unwrap_or(field);
                let why = format!(
                    "failed GetScaledValueFromIntOrPercent for {name}: invalid value for IntOrString: invalid type: string is not a percentage"
                );
                self.invalid(field, value, &why);
                1
            }
        }
    }

    fn priority(&mut self, field: &str, strategy: &Value) {
        let list = |key: &str| strategy[key].as_array().map_or(&[][..], Vec::as_slice);
        let (weights, orders) = (list("weightPriority"), list("orderPriority"));
        if !weights.is_empty() && !orders.is_empty() {
            self.add(
                "FieldValueRequired",
                field,
                "Required value: only one of weightPriority and orderPriority can be used",
            );
        }
        for weight in weights {
            let selector = &weight["matchSelector"];
            if weight["weight"].as_i64().is_none_or(|w| !(0..=100).contains(&w)) {
                self.add(
                    "FieldValueRequired",
                    field,
                    "Required value: weight must be valid number in the range 1-100",
                );
            }
            if selector["matchLabels"].is_null() && selector["matchExpressions"].is_null() {
                self.add("FieldValueRequired", field, "Required value: selector can not be empty");
            }
        }
        if orders.iter().any(|o| o["orderedKey"].as_str().is_none_or(str::is_empty)) {
            self.add("FieldValueRequired", field, "Required value: order key can not be empty");
        }
    }

    fn scatter(&mut self, field: &str, terms: &Value) {
        let mut seen = BTreeSet::new();
        for term in terms.as_array().map_or(&[][..], Vec::as_slice) {
            let key = term["key"].as_str().unwrap_or_default();
            if key.is_empty() {
                self.add("FieldValueRequired", field, "Required value: key should not be empty");
            }
            if !seen.insert(term.to_string()) {
                self.add(
                    "FieldValueRequired",
                    field,
                    format!("Required value: duplicated key={key:?} and value={}", term["value"]),
                );
            }
        }
    }

    fn deadline(&mut self, spec: &Value) {
        let deadline = &spec["progressDeadlineSeconds"];
        self.non_negative("spec.progressDeadlineSeconds", deadline);
        let (Some(seconds), ready) = (deadline.as_i64(), spec["minReadySeconds"].as_i64().unwrap_or(0))
        else {
            return;
        };
        if seconds != i64::from(i32::MAX) && seconds <= ready {
            self.invalid("spec.progressDeadlineSeconds", deadline, "must be greater than minReadySeconds");
        }
    }

    fn change(&mut self, new: &Value, old: &Value) {
        if new["selector"] != old["selector"] {
            let message = "Forbidden: updates to cloneset spec for fields other than 'replicas', 'template', 'lifecycle', 'scaleStrategy', 'updateStrategy', 'minReadySeconds', 'progressDeadlineSeconds', 'volumeClaimTemplates' and 'revisionHistoryLimit' are forbidden";
            self.add("FieldValueForbidden", "spec", message);
        }
        if new["updateStrategy"]["rollingUpdate"]["podUpdatePolicy"] == "InPlaceOnly"
            && let Some(path) = first_not_image(&new["template"]["spec"], &old["template"]["spec"])
        {
            let message =
                format!("Forbidden: only allowed to update images in spec for InPlaceOnly, but found {path}");
            self.add("FieldValueForbidden", "spec", message);
        }
    }
}

fn replicas(spec: &Value) -> i32 {
    spec["replicas"].as_i64().and_then(|n| i32::try_from(n).ok()).unwrap_or(1)
}

/// Path of the first difference between two pod specs that is not the image of a container.
fn first_not_image(new: &Value, old: &Value) -> Option<String> {
    let mut found = None;
    differences(new, old, String::new(), &mut |path, replaced| {
        let image = path.strip_prefix("/containers/").and_then(|p| p.strip_suffix("/image"));
        let ok = replaced && image.is_some_and(|index| index.bytes().all(|b| b.is_ascii_digit()));
        if !ok && found.is_none() {
            found = Some(path.to_owned());
        }
    });
    found
}

/// Calls `each` with the path of every difference, and whether both sides have a plain value there.
fn differences(new: &Value, old: &Value, path: String, each: &mut impl FnMut(&str, bool)) {
    match (new, old) {
        _ if new == old => {}
        (Value::Object(a), Value::Object(b)) => {
            let keys: BTreeSet<_> = a.keys().chain(b.keys()).collect();
            for key in keys {
                let (x, y) = (a.get(key).unwrap_or(&Value::Null), b.get(key).unwrap_or(&Value::Null));
                differences(x, y, format!("{path}/{key}"), each);
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (i, (x, y)) in a.iter().zip(b).enumerate() {
                differences(x, y, format!("{path}/{i}"), each);
            }
        }
        _ => each(&path, new.is_string() && old.is_string()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn set(change: impl FnOnce(&mut Value)) -> Value {
        let mut value = json!({"apiVersion": "apps.kruise.io/v1beta1", "spec": {
            "selector": {"matchLabels": {"app": "a"}},
            "template": {"metadata": {"labels": {"app": "a"}}, "spec": {"containers": [{"name": "main", "image": "x:1"}]}}}});
        change(&mut value["spec"]);
        crate::default_cloneset(&mut value);
        value
    }

    fn told(causes: &[Cause]) -> String {
        causes.iter().map(|c| format!("{}: {}\n", c.field, c.message)).collect()
    }

    #[test]
    fn a_plain_set_is_accepted_in_both_versions() {
        let beta = set(|_| {});
        assert_eq!(validate_create(&beta), []);
        assert_eq!(validate_create(&convert(beta, "v1beta1", "v1alpha1").unwrap()), []);
    }

    #[test]
    fn mistakes_are_named_in_openkruise_words() {
        let bad = set(|spec| {
            spec["updateStrategy"]["rollingUpdate"] = json!({"maxUnavailable": "5", "maxSurge": 1, "podUpdatePolicy": "InPlaceOnly", "partition": -1});
            spec["template"]["spec"]["restartPolicy"] = json!("Never");
            spec["template"]["spec"]["activeDeadlineSeconds"] = json!(5);
            spec["template"]["metadata"]["labels"] = json!({"app": "b"});
            spec["scaleStrategy"]["podsToDelete"] = json!(["x", "x"]);
            spec["progressDeadlineSeconds"] = json!(5);
            spec["minReadySeconds"] = json!(5);
        });
        expect_test::expect![[r#"
            spec.template.metadata.labels: Invalid value: {"app":"b"}: `selector` does not match template `labels`
            spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always"
            spec.template.spec.activeDeadlineSeconds: Forbidden: activeDeadlineSeconds in cloneset is not Supported
            spec.scaleStrategy.podsToDelete: Invalid value: ["x","x"]: duplicated items [x]
            spec.updateStrategy.rollingUpdate.partition: Invalid value: -1: must be greater than or equal to 0
            spec.updateStrategy.rollingUpdate.maxUnavailable: Invalid value: "5": failed GetScaledValueFromIntOrPercent for maxUnavailable: invalid value for IntOrString: invalid type: string is not a percentage
            spec.updateStrategy.rollingUpdate.maxSurge: Invalid value: 1: can not use maxSurge with podUpdatePolicy InPlaceOnly
            spec.progressDeadlineSeconds: Invalid value: 5: must be greater than minReadySeconds
        "#]].assert_eq(&told(&validate_create(&bad)));
    }

    #[test]
    fn budgets_may_not_both_be_zero_and_alpha_reads_its_own_paths() {
        let bad = set(|spec| spec["updateStrategy"]["rollingUpdate"] = json!({"maxUnavailable": 0}));
        let alpha = convert(bad, "v1beta1", "v1alpha1").unwrap();
        expect_test::expect![[r#"
            spec.updateStrategy.maxUnavailable: Invalid value: 0: maxUnavailable and maxSurge should not both be less than 1
        "#]].assert_eq(&told(&validate_create(&alpha)));
        let none = set(|spec| {
            spec["replicas"] = json!(0);
            spec["updateStrategy"]["rollingUpdate"] = json!({"maxUnavailable": 0});
        });
        assert_eq!(validate_create(&none), []);
    }

    #[test]
    fn the_selector_never_changes_and_inplaceonly_changes_images_only() {
        let old =
            set(|spec| spec["updateStrategy"]["rollingUpdate"] = json!({"podUpdatePolicy": "InPlaceOnly"}));
        let mut image = old.clone();
        image["spec"]["template"]["spec"]["containers"][0]["image"] = json!("x:2");
        image["spec"]["template"]["metadata"]["annotations"] = json!({"a": "b"});
        assert_eq!(validate_update(&image, &old), []);
        let mut other = old.clone();
        other["spec"]["selector"]["matchLabels"] = json!({});
        other["spec"]["template"]["spec"]["containers"][0]["env"] = json!([]);
        expect_test::expect![[r#"
            spec: Forbidden: updates to cloneset spec for fields other than 'replicas', 'template', 'lifecycle', 'scaleStrategy', 'updateStrategy', 'minReadySeconds', 'progressDeadlineSeconds', 'volumeClaimTemplates' and 'revisionHistoryLimit' are forbidden
            spec: Forbidden: only allowed to update images in spec for InPlaceOnly, but found /containers/0/env
            spec.selector: Invalid value: {"matchLabels":{}}: empty selector is invalid for cloneset
        "#]].assert_eq(&told(&validate_update(&other, &old)));
    }

    #[test]
    fn priority_is_by_weight_or_by_order() {
        let bad = set(|spec| {
            spec["updateStrategy"]["rollingUpdate"]["priorityStrategy"] = json!({
                "orderPriority": [{"orderedKey": ""}],
                "weightPriority": [{"weight": 101, "matchSelector": {"matchLabels": {"a": "b"}}}]});
        });
        assert_eq!(validate_create(&bad).len(), 3);
    }
}
