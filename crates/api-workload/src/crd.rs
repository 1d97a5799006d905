//! The CustomResourceDefinitions of this crate's kinds.

use serde_json::Value;

/// The definition of CloneSet: both versions, columns, scale and status. The conversion strategy is left to the caller:
/// none is set, because only the caller knows whether an in-process converter or a webhook stands behind it.
pub fn cloneset_crd() -> Value {
    serde_json::from_str(include_str!("crds/clonesets.json"))
        .expect("the embedded definition is checked by a test")
}

/// All definitions of this crate.
pub fn crds() -> Vec<Value> {
    vec![cloneset_crd()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_serves_both_versions_and_stores_one() {
        let crd = cloneset_crd();
        let versions: Vec<_> = crd["spec"]["versions"].as_array().unwrap().iter().collect();
        let shape: Vec<_> = versions
            .iter()
            .map(|v| (v["name"].as_str(), v["served"] == true, v["storage"] == true))
            .collect();
        assert_eq!(shape, [(Some("v1alpha1"), true, false), (Some("v1beta1"), true, true)]);
        for version in versions {
            let columns: Vec<_> = version["additionalPrinterColumns"]
                .as_array()
                .unwrap()
                .iter()
                .map(|c| c["name"].as_str().unwrap())
                .collect();
            assert_eq!(
                columns.join(" "),
                "DESIRED UPDATED UPDATED_READY UPDATED_AVAILABLE READY TOTAL AGE CONTAINERS IMAGES SELECTOR"
            );
            assert_eq!(version["subresources"]["scale"]["specReplicasPath"], ".spec.replicas");
            assert_eq!(
                version["schema"]["openAPIV3Schema"]["properties"]["spec"]["required"],
                serde_json::json!(["selector", "template"])
            );
        }
    }
}
