//! What a decision about an InPlaceSet depends on, in the form that sets are planned in.

use api_core::{ControllerRevision, Node, Pod};
use api_meta::{IntOrPercent, Object, ObjectKey};
use api_workload::names::cafe;
use api_workload::{
    CloneSetSpec, CloneSetStatus, InPlaceSet, InPlaceSetSpec, InPlaceSetStatus, PodUpdatePolicy,
    RollingUpdate, UpdateStrategy,
};
use reconcile::{Permission, Plan, Thinker, Watch, World};
use serde_json::json;
use stdx::Time;

use crate::set::{self, Observed, Set};

/// Unused revisions kept: a rollback goes to one of them.
const REVISIONS_KEPT: i32 = 10;

/// The InPlaceSet controller.
pub enum Controller {}

impl Thinker for Controller {
    type Primary = InPlaceSet;
    type Observed = Observed;
    const NAME: &'static str = "inplaceset-controller";

    fn watches() -> Vec<Watch> {
        vec![
            Watch::owned::<Pod>(cafe::GROUP, "InPlaceSet"),
            Watch::owned::<ControllerRevision>(cafe::GROUP, "InPlaceSet"),
            Watch::silent::<Node>(),
        ]
    }

    fn permissions() -> Vec<Permission> {
        let rule = |group, resource, verbs| Permission { group, resource, verbs };
        vec![
            rule("", "pods", &["create", "patch", "delete"]),
            rule("", "pods/status", &["patch"]),
            rule("apps", "controllerrevisions", &["create", "patch", "delete"]),
            rule(cafe::GROUP, "inplacesets", &["patch"]),
            rule(cafe::GROUP, "inplacesets/status", &["patch"]),
            rule(cafe::GROUP, "inplacesets/finalizers", &["update"]),
        ]
    }

    fn observe(world: &World, key: &ObjectKey) -> Option<Observed> {
        let object = world.cache::<InPlaceSet>().get(key)?;
        let set = Set {
            resource: InPlaceSet::RESOURCE,
            metadata: object.metadata.clone(),
            status: whole_status(&object.status),
            form: |status| json!(own_status(status)),
        };
        let failure = world.failure(Controller::NAME, key).cloned();
        Some(Observed::of(world, set, object.read_spec().map(whole_spec), Vec::new(), failure))
    }

    fn plan(seen: &Observed, now: Time) -> Plan {
        set::plan(seen, now)
    }
}

/// The spec with every field of every kind.
fn whole_spec(own: InPlaceSetSpec) -> CloneSetSpec {
    let rolling_update = RollingUpdate {
        pod_update_policy: PodUpdatePolicy::InPlaceIfPossible,
        partition: Some(IntOrPercent::Int(own.strategy.partition)),
        max_unavailable: Some(IntOrPercent::Percent(100)),
        max_surge: Some(IntOrPercent::Int(0)),
        ..RollingUpdate::default()
    };
    CloneSetSpec {
        replicas: own.replicas,
        selector: own.selector,
        template: own.template,
        update_strategy: UpdateStrategy { rolling_update, ..UpdateStrategy::default() },
        revision_history_limit: REVISIONS_KEPT,
        min_ready_seconds: own.min_ready_seconds,
        ..CloneSetSpec::default()
    }
}

fn whole_status(own: &InPlaceSetStatus) -> CloneSetStatus {
    CloneSetStatus {
        observed_generation: own.observed_generation,
        replicas: own.replicas,
        ready_replicas: own.ready_replicas,
        available_replicas: own.available_replicas,
        updated_replicas: own.updated_replicas,
        updated_ready_replicas: own.updated_ready_replicas,
        updated_available_replicas: own.updated_available_replicas,
        expected_updated_replicas: 0,
        update_revision: own.update_revision.clone(),
        current_revision: own.current_revision.clone(),
        collision_count: own.collision_count,
        conditions: own.conditions.clone(),
        label_selector: own.selector.clone(),
    }
}

fn own_status(whole: &CloneSetStatus) -> InPlaceSetStatus {
    InPlaceSetStatus {
        observed_generation: whole.observed_generation,
        replicas: whole.replicas,
        ready_replicas: whole.ready_replicas,
        available_replicas: whole.available_replicas,
        updated_replicas: whole.updated_replicas,
        updated_ready_replicas: whole.updated_ready_replicas,
        updated_available_replicas: whole.updated_available_replicas,
        current_revision: whole.current_revision.clone(),
        update_revision: whole.update_revision.clone(),
        collision_count: whole.collision_count,
        selector: whole.label_selector.clone(),
        conditions: whole.conditions.clone(),
    }
}
