//! The CustomResourceDefinitions of this crate's kinds.

use serde_json::Value;

/// The definition of CloneSet: both versions, columns, scale and status. The conversion strategy is left to the caller:
/// none is set, because only the caller knows whether an in-process converter or a webhook stands behind it.
pub fn cloneset_crd() -> Value {
    serde_json::from_str(include_str!("crds/clonesets.json"))
        .expect("the embedded definition is checked by a test")
}

/// The definition of CafeDeployment: columns, scale and status.
pub fn cafedeployment_crd() -> Value {
    serde_json::from_str(include_str!("crds/cafedeployments.json"))
        .expect("the embedded definition is checked by a test")
}

/// The definition of InPlaceSet: columns, scale and status.
pub fn inplaceset_crd() -> Value {
    serde_json::from_str(include_str!("crds/inplacesets.json"))
        .expect("the embedded definition is checked by a test")
}

/// The definition of PodUnavailableBudget: both versions, columns and status. As for CloneSet, no conversion is set.
pub fn budget_crd() -> Value {
    serde_json::from_str(include_str!("crds/podunavailablebudgets.json"))
        .expect("the embedded definition is checked by a test")
}

/// All definitions of this crate.
pub fn crds() -> Vec<Value> {
    vec![cloneset_crd(), inplaceset_crd(), cafedeployment_crd(), budget_crd()]
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

    #[test]
    fn every_definition_stores_one_version_and_has_a_status() {
        for crd in crds() {
            let versions = crd["spec"]["versions"].as_array().unwrap();
            assert_eq!(versions.iter().filter(|v| v["storage"] == true).count(), 1);
            assert!(versions.iter().all(|v| v["subresources"]["status"].is_object()));
            let group = crd["spec"]["group"].as_str().unwrap();
            let plural = crd["spec"]["names"]["plural"].as_str().unwrap();
            assert_eq!(crd["metadata"]["name"], format!("{plural}.{group}"));
        }
    }

    #[test]
    fn releases_by_cells_have_short_names_and_columns() {
        let columns = |crd: &Value| -> String {
            let all = crd["spec"]["versions"][0]["additionalPrinterColumns"].as_array().unwrap();
            let shown = all.iter().filter(|c| c["priority"].is_null());
            shown.map(|c| c["name"].as_str().unwrap()).collect::<Vec<_>>().join(" ")
        };
        let (cafe, set) = (cafedeployment_crd(), inplaceset_crd());
        assert_eq!(columns(&cafe), "DESIRED UPDATED READY AVAILABLE PHASE GROUP AGE");
        assert_eq!(columns(&set), "DESIRED UPDATED READY AVAILABLE PARTITION AGE");
        assert_eq!(cafe["spec"]["names"]["shortNames"][0], "cafed");
        assert_eq!(set["spec"]["names"]["shortNames"][0], "ips");
        for crd in [cafe, set] {
            let scale = &crd["spec"]["versions"][0]["subresources"]["scale"];
            assert_eq!(scale["labelSelectorPath"], ".status.selector");
        }
    }
}
