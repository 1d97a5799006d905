//! Our own kinds: their CustomResourceDefinitions, and what the embedded server knows beyond them: defaults and validation.

use std::collections::BTreeMap;

use apiserver::registry::{Context, ConvertFn, Facts};
use serde_json::Value;

/// The definitions of all our kinds.
pub(crate) fn crds() -> Vec<Value> {
    api_workload::crds().into_iter().chain(guard::crds()).collect()
}

/// CloneSet: what OpenKruise's admission webhooks do.
static CLONESET: Facts = Facts {
    default: api_workload::default_cloneset,
    validate_create: |new: &Value, _: &Context<'_>| api_workload::validate_create(new),
    validate_update: |new: &Value, old: &Value, _: &Context<'_>| api_workload::validate_update(new, old),
    warnings: |new: &Value, _: Option<&Value>| api_workload::inert_fields(new),
    ..Facts::PLAIN
};

/// CafeDeployment.
static CAFE: Facts = Facts {
    default: api_workload::default_cafedeployment,
    validate_create: |new: &Value, _: &Context<'_>| api_workload::validate_cafedeployment(new),
    validate_update: |new: &Value, old: &Value, _: &Context<'_>| {
        api_workload::validate_cafedeployment_update(new, old)
    },
    ..Facts::PLAIN
};

/// InPlaceSet.
static INPLACESET: Facts = Facts {
    default: api_workload::default_inplaceset,
    validate_create: |new: &Value, _: &Context<'_>| api_workload::validate_inplaceset(new),
    validate_update: |new: &Value, old: &Value, _: &Context<'_>| {
        api_workload::validate_inplaceset_update(new, old)
    },
    ..Facts::PLAIN
};

/// PodUnavailableBudget.
static BUDGET: Facts = Facts {
    validate_create: |new: &Value, _: &Context<'_>| api_workload::unavailable_budget::validate_budget(new),
    validate_update: |new: &Value, _: &Value, _: &Context<'_>| {
        api_workload::unavailable_budget::validate_budget(new)
    },
    ..Facts::PLAIN
};

/// Guard and EmergencyPlan.
static GUARD: Facts = Facts {
    validate_create: |new: &Value, _: &Context<'_>| guard::validate(new),
    validate_update: |new: &Value, _: &Value, _: &Context<'_>| guard::validate(new),
    ..Facts::PLAIN
};

/// What is known of our kinds, by the names of their definitions.
pub(crate) fn facts() -> BTreeMap<String, &'static Facts> {
    let all: [(&str, &'static Facts); 6] = [
        ("clonesets.apps.kruise.io", &CLONESET),
        ("cafedeployments.apps.cafe.cloud.alipay.com", &CAFE),
        ("inplacesets.apps.cafe.cloud.alipay.com", &INPLACESET),
        ("podunavailablebudgets.policy.kruise.io", &BUDGET),
        ("guards.knarr.dev", &GUARD),
        ("emergencyplans.knarr.dev", &GUARD),
    ];
    all.into_iter().map(|(name, facts)| (name.to_owned(), facts)).collect()
}

/// Conversions within the server, by the names of the definitions.
pub(crate) fn converters() -> BTreeMap<String, ConvertFn> {
    let names = ["clonesets.apps.kruise.io", "podunavailablebudgets.policy.kruise.io"];
    names.into_iter().map(|name| (name.to_owned(), convert as ConvertFn)).collect()
}

/// Conversion of an object of ours within the server.
fn convert(object: &mut Value, version: &str) -> Result<(), String> {
    let whole = std::mem::take(object);
    *object = crate::webhook::convert(whole, version)?;
    Ok(())
}
