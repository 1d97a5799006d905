//! Part of authentication: a caller may act as somebody else, if the authorizer lets it.
//!
//! Two ways, tried in this order, as upstream does since 1.36: constrained (`impersonate:MODE` on whom to be, and
//! `impersonate-on:MODE:VERB` on what to do so), and plain (`impersonate` on whom to be, for any request).

use crate::refuse::{Outcome, Refusal, bad_request, forbidden};
use crate::request::unescape_path;
use crate::server::Call;
use crate::who::{Attributes, Decision, User};

use super::authorize::{attributes, denied};

const SERVICE_ACCOUNT: &str = "system:serviceaccount:";
const NODE: &str = "system:node:";
/// What a token of a service account says about the node its pod is on.
const OWN_NODE: &str = "authentication.kubernetes.io/node-name";
const AUTHENTICATION: &str = "authentication.k8s.io";

/// Who the caller wants to be; `None` when it is content with itself.
pub(super) fn wanted(call: &Call) -> Outcome<Option<User>> {
    let all = |name: &str| -> Vec<String> {
        let values = call.head.headers.get_all(name).iter();
        values.filter_map(|v| v.to_str().ok().map(str::to_owned)).collect()
    };
    let one = |name: &str| all(name).into_iter().next().unwrap_or_default();
    let mut user = User { name: one("impersonate-user"), uid: one("impersonate-uid"), ..User::default() };
    user.groups = all("impersonate-group");
    for (key, value) in &call.head.headers {
        if let (Some(key), Ok(value)) = (key.as_str().strip_prefix("impersonate-extra-"), value.to_str()) {
            user.extra.entry(unescape_path(key).to_lowercase()).or_default().push(value.to_owned());
        }
    }
    if user == User::default() {
        return Ok(None);
    }
    if user.name.is_empty() {
        return Err(bad_request(format!("requested {user:?} without impersonating a user name")));
    }
    become_one(call, user).map(Some)
}

/// The first way that is allowed; the refusal of the first one when none is.
fn become_one(call: &Call, wanted: User) -> Outcome<User> {
    let mut refusal = None;
    for way in ways(call, &wanted) {
        match way.check(call, &wanted) {
            Ok(()) => return Ok(complete(wanted, &way)),
            Err(why) => drop(refusal.get_or_insert(why)),
        }
    }
    Err(refusal.unwrap_or_else(|| bad_request("all impersonation modes failed")))
}

/// A way to become somebody: a constrained mode, or the plain one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Constrained(&'static str),
    Plain,
}

/// The ways that fit whom the caller wants to be. Nodes and service accounts have their own modes, which fix everything but
/// the name.
fn ways(call: &Call, wanted: &User) -> Vec<Way> {
    let only_name = wanted.groups.is_empty() && wanted.uid.is_empty() && wanted.extra.is_empty();
    let own_node = call.user.extra.get(OWN_NODE).map_or(&[][..], Vec::as_slice);
    let mut out = Vec::new();
    match (wanted.name.strip_prefix(NODE), account(&wanted.name)) {
        (Some(node), _) if only_name => {
            if account(&call.user.name).is_some() && own_node == [node] {
                out.push(Way::Constrained("associated-node"));
            }
            out.push(Way::Constrained("arbitrary-node"));
        }
        (_, Some(_)) if only_name => out.push(Way::Constrained("serviceaccount")),
        (None, None) => out.push(Way::Constrained("user-info")),
        _ => {}
    }
    out.push(Way::Plain);
    out
}

/// Namespace and name of a service account's user name.
fn account(user: &str) -> Option<(&str, &str)> {
    user.strip_prefix(SERVICE_ACCOUNT)?.split_once(':')
}

impl Way {
    fn check(self, call: &Call, wanted: &User) -> Outcome<()> {
        if let Way::Constrained(mode) = self {
            let request = attributes(call);
            let verb = format!("impersonate-on:{mode}:{}", request.verb);
            may(call, &Attributes { verb: &verb, ..request })?;
            if wanted.is_in("system:masters") {
                let why = "impersonating the system:masters group is not allowed";
                return Err(forbidden(
                    &api_meta::Resource::cluster(AUTHENTICATION, "v1", "groups", ""),
                    "system:masters",
                    why,
                ));
            }
        }
        let verb = match self {
            Way::Constrained(mode) => format!("impersonate:{mode}"),
            Way::Plain => "impersonate".to_owned(),
        };
        let group = if self == Way::Plain { "" } else { AUTHENTICATION };
        let base = Attributes { verb: &verb, group, version: "v1", ..Attributes::default() };
        may(call, &self.name(wanted, base))?;
        let of_user = Attributes { group: AUTHENTICATION, ..base };
        if !wanted.uid.is_empty() {
            may(call, &Attributes { resource: "uids", name: &wanted.uid, ..of_user })?;
        }
        for name in &wanted.groups {
            may(call, &Attributes { resource: "groups", name, ..base })?;
        }
        for (subresource, values) in &wanted.extra {
            for name in values {
                may(call, &Attributes { resource: "userextras", subresource, name, ..of_user })?;
            }
        }
        Ok(())
    }

    /// The attributes of the name itself: of a service account, a node, or any user.
    fn name<'a>(self, wanted: &'a User, base: Attributes<'a>) -> Attributes<'a> {
        if let Some((namespace, name)) = account(&wanted.name) {
            return Attributes { resource: "serviceaccounts", namespace, name, ..base };
        }
        match (self, wanted.name.strip_prefix(NODE)) {
            // Whichever node it is, it is the caller's own.
            (Way::Constrained("associated-node"), _) => Attributes { resource: "nodes", name: "*", ..base },
            (Way::Constrained("arbitrary-node"), Some(name)) => {
                Attributes { resource: "nodes", name, ..base }
            }
            _ => Attributes { resource: "users", name: &wanted.name, ..base },
        }
    }
}

fn may(call: &Call, what: &Attributes<'_>) -> Result<(), Box<Refusal>> {
    match call.server.authorizer.authorize(&call.user, what) {
        Decision::Allow => Ok(()),
        Decision::Deny(why) => Err(denied(&call.user.name, what, &why)),
    }
}

/// Groups that follow from the name.
fn complete(mut user: User, way: &Way) -> User {
    if let (Some((namespace, _)), true) = (account(&user.name), user.groups.is_empty()) {
        user.groups =
            vec!["system:serviceaccounts".to_owned(), format!("system:serviceaccounts:{namespace}")];
    }
    if matches!(way, Way::Constrained("associated-node" | "arbitrary-node")) {
        user.groups = vec!["system:nodes".to_owned()];
    }
    let group =
        if user.name == "system:anonymous" { "system:unauthenticated" } else { "system:authenticated" };
    if !user.is_in(group) && !user.is_in("system:unauthenticated") {
        user.groups.push(group.to_owned());
    }
    user
}
