//! The CustomResourceDefinitions of the guard's own kinds.

use serde_json::Value;

/// The definitions of Guard and EmergencyPlan. Install them before the guard judges: it holds what it cannot judge.
pub fn crds() -> Vec<Value> {
    [include_str!("crds/guards.json"), include_str!("crds/emergencyplans.json")]
        .into_iter()
        .map(|text| serde_json::from_str(text).expect("the embedded definition is checked by a test"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_definitions_are_whole_and_named_by_their_plural() {
        for crd in crds() {
            let spec = &crd["spec"];
            let name =
                format!("{}.{}", spec["names"]["plural"].as_str().unwrap(), spec["group"].as_str().unwrap());
            assert_eq!(crd["metadata"]["name"], name);
            let limits = &spec["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
                ["limits"];
            assert!(limits["properties"]["cluster"].is_object(), "{name}");
        }
    }
}
