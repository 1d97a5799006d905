//! Part of admission: nobody grants what they do not hold.
//!
//! Who may `escalate` a role may write any rule into it; who may `bind` a role may bind it to anybody; everybody else only what
//! their own rules include (upstream: the policy-based storage of RBAC).

use serde_json::Value;

use super::metadata;
use crate::refuse::{Outcome, forbidden, internal, not_found};
use crate::registry::Served;
use crate::server::Call;
use crate::who::{Attributes, Decision};

const GROUP: &str = "rbac.authorization.k8s.io";

/// Judges a new role or binding, or a changed one with what it was before. Other kinds pass.
pub(crate) fn check(call: &Call, served: &Served, new: &Value, old: Option<&Value>) -> Outcome<()> {
    let is_role = match &*served.storage_key {
        "roles.rbac.authorization.k8s.io" | "clusterroles.rbac.authorization.k8s.io" => true,
        "rolebindings.rbac.authorization.k8s.io" | "clusterrolebindings.rbac.authorization.k8s.io" => false,
        _ => return Ok(()),
    };
    if call.user.is_in("system:masters") || old.is_some_and(|old| is_bookkeeping(new, old)) {
        return Ok(());
    }
    if is_role { role(call, served, new, old) } else { binding(call, served, new) }
}

/// Owners and finalizers may be changed by whoever collects garbage, without holding what the object grants.
fn is_bookkeeping(new: &Value, old: &Value) -> bool {
    const KEPT_BY_OTHERS: [&str; 4] = ["ownerReferences", "finalizers", "managedFields", "resourceVersion"];
    let bare = |object: &Value| {
        let mut object = object.clone();
        if let Some(metadata) = object["metadata"].as_object_mut() {
            KEPT_BY_OTHERS.iter().for_each(|key| drop(metadata.remove(*key)));
        }
        object
    };
    bare(new) == bare(old)
}

fn role(call: &Call, served: &Served, new: &Value, old: Option<&Value>) -> Outcome<()> {
    if may(call, "escalate", &served.resource.plural, &call.target.name) {
        return Ok(());
    }
    let name = metadata::text(new, "name");
    let refused = |why: &str| forbidden(&served.resource, name, why);
    confirm(call, &rules(new)?).map_err(|why| refused(&why))?;
    // What a role gathers is not known when it is written, so it may be anything.
    let gathers = |role: &Value| role.get("aggregationRule").is_some_and(|a| !a.is_null());
    if (gathers(new) || old.is_some_and(gathers)) && confirm(call, &rbac::everything()).is_err() {
        return Err(refused("must have cluster-admin privileges to use the aggregationRule"));
    }
    Ok(())
}

fn rules(role: &Value) -> Outcome<Vec<rbac::Rule>> {
    match &role["rules"] {
        Value::Null => Ok(Vec::new()),
        rules => serde_json::from_value(rules.clone()).map_err(internal),
    }
}

fn binding(call: &Call, served: &Served, new: &Value) -> Outcome<()> {
    let role: rbac::RoleRef = serde_json::from_value(new["roleRef"].clone()).unwrap_or_default();
    let plural = match role.kind.as_str() {
        "Role" => "roles",
        "ClusterRole" => "clusterroles",
        // Validation has the words for it.
        _ => return Ok(()),
    };
    if may(call, "bind", plural, &role.name) {
        return Ok(());
    }
    // Upstream names the binding's resource here, not the role's.
    let granted = call.server.authorizer.role(&role, call.namespace(served));
    let granted = granted.ok_or_else(|| not_found(&served.resource, &role.name))?;
    let refused = |why: String| forbidden(&served.resource, metadata::text(new, "name"), &why);
    confirm(call, &granted).map_err(refused)
}

fn may(call: &Call, verb: &str, resource: &str, name: &str) -> bool {
    let what = Attributes {
        verb,
        group: GROUP,
        version: "*",
        resource,
        namespace: &call.target.namespace,
        name,
        ..Attributes::default()
    };
    call.server.authorizer.authorize(&call.user, &what) == Decision::Allow
}

fn confirm(call: &Call, wanted: &[rbac::Rule]) -> Result<(), String> {
    let who = rbac::Who { name: &call.user.name, groups: &call.user.groups };
    let held = call.server.authorizer.held(&call.user, &call.target.namespace);
    rbac::confirm(who, &held, wanted)
}
