//! Fields that are stored but that nobody here acts on: an answer that takes them says so.

use serde_json::Value;

use crate::names;

/// One sentence for each inert field that a CloneSet of either version sets.
pub fn inert_fields(value: &Value) -> Vec<String> {
    let update = &value["spec"]["updateStrategy"];
    let strategies = [
        ("spec.updateStrategy.inPlaceUpdateStrategy", &update["inPlaceUpdateStrategy"]),
        (
            "spec.updateStrategy.rollingUpdate.inPlaceUpdateStrategy",
            &update["rollingUpdate"]["inPlaceUpdateStrategy"],
        ),
    ];
    let mut told = Vec::new();
    for (path, strategy) in strategies {
        for key in strategy.as_object().into_iter().flatten().map(|(key, _)| key) {
            if key.starts_with("imagePreDownload") {
                told.push(format!(
                    "{path}.{key}: images are not pulled ahead of an update; the field has no effect"
                ));
            }
        }
    }
    let annotations = &value["metadata"]["annotations"];
    for key in [names::PREDOWNLOAD_PARALLELISM, names::PREDOWNLOAD_TIMEOUT, names::PREDOWNLOAD_MIN_READY] {
        if !annotations[key].is_null() {
            told.push(format!(
                "metadata.annotations[{key}]: images are not pulled ahead of an update; it has no effect"
            ));
        }
    }
    told
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_nobody_acts_on_is_named() {
        let set = json!({
            "metadata": {"annotations": {names::PREDOWNLOAD_PARALLELISM: "2"}},
            "spec": {"updateStrategy": {"rollingUpdate": {"inPlaceUpdateStrategy": {
                "gracePeriodSeconds": 1, "imagePreDownloadTimeoutSeconds": 5}}}},
        });
        expect_test::expect![[r#"
            spec.updateStrategy.rollingUpdate.inPlaceUpdateStrategy.imagePreDownloadTimeoutSeconds: images are not pulled ahead of an update; the field has no effect
            metadata.annotations[apps.kruise.io/image-predownload-parallelism]: images are not pulled ahead of an update; it has no effect"#]]
        .assert_eq(&inert_fields(&set).join("\n"));
        assert_eq!(inert_fields(&json!({"spec": {}})), Vec::<String>::new());
    }
}
