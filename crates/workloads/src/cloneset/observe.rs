//! What a decision about a CloneSet depends on.

use api_core::{ControllerRevision, Node, PersistentVolumeClaim, Pod};
use api_meta::{Object, ObjectKey};
use api_workload::{CloneSet, names};
use reconcile::{Permission, Plan, Thinker, Watch, World};
use serde_json::json;
use stdx::Time;

use crate::set::{self, Observed, Set};

/// The CloneSet controller.
pub enum Controller {}

impl Thinker for Controller {
    type Primary = CloneSet;
    type Observed = Observed;
    const NAME: &'static str = "cloneset-controller";

    fn watches() -> Vec<Watch> {
        vec![
            Watch::owned::<Pod>(names::GROUP, "CloneSet"),
            Watch::owned::<ControllerRevision>(names::GROUP, "CloneSet"),
            Watch::owned::<PersistentVolumeClaim>(names::GROUP, "CloneSet"),
            Watch::silent::<Node>(),
        ]
    }

    fn permissions() -> Vec<Permission> {
        let rule = |group, resource, verbs| Permission { group, resource, verbs };
        vec![
            rule("", "pods", &["create", "patch", "delete"]),
            rule("", "pods/status", &["patch"]),
            rule("", "persistentvolumeclaims", &["create", "patch", "delete"]),
            rule("apps", "controllerrevisions", &["create", "patch", "delete"]),
            rule(names::GROUP, "clonesets", &["patch"]),
            rule(names::GROUP, "clonesets/status", &["patch"]),
            rule(names::GROUP, "clonesets/finalizers", &["update"]),
        ]
    }

    fn observe(world: &World, key: &ObjectKey) -> Option<Observed> {
        let object = world.cache::<CloneSet>().get(key)?;
        let claims = world.cache::<PersistentVolumeClaim>().owned_by(&object.metadata.uid);
        let claims = claims.filter(|c| !c.metadata.is_terminating()).cloned().collect();
        let set = Set {
            resource: CloneSet::RESOURCE,
            metadata: object.metadata.clone(),
            status: object.status.clone(),
            form: |status| json!(status),
        };
        let failure = world.failure(Controller::NAME, key).cloned();
        Some(Observed::of(world, set, object.read_spec(), claims, failure))
    }

    fn plan(seen: &Observed, now: Time) -> Plan {
        set::plan(seen, now)
    }
}
