//! `serviceaccounts/x/token`: a token for a while, for an audience, and no longer than the object it is bound to.

use std::sync::Arc;
use std::time::Duration;

use api_client::Response;
use api_meta::{Reason, Resource};
use serde_json::{Value, json};
use store::Key;

use crate::answer;
use crate::auth::{Accounts, Bound, Grant};
use crate::pipeline::owners::{self, Writer};
use crate::pipeline::{decode, metadata};
use crate::refuse::{Outcome, bad_request, conflict, internal, invalid, invalid_value, not_found, refuse};
use crate::registry::{Served, builtin_kind};
use crate::server::Call;
use crate::stored;
use crate::verbs::options;

const GROUP: &str = "authentication.k8s.io";
const KIND: &str = "TokenRequest";
/// Life of a token that does not ask for one.
const LIFE_SECS: i64 = 3600;
/// Shortest and longest life that may be asked for.
const LIFE_SECS_MIN: i64 = 600;
const LIFE_SECS_MAX: i64 = 1 << 32;

const NODES: Resource = Resource::cluster("", "v1", "nodes", "Node");
const PODS: Resource = Resource::namespaced("", "v1", "pods", "Pod");
const SECRETS: Resource = Resource::namespaced("", "v1", "secrets", "Secret");
const REQUESTS: Resource = Resource::namespaced(GROUP, "v1", KIND, KIND);

/// POST to `serviceaccounts/x/token`.
pub(crate) async fn issue(call: &Call, served: &Arc<Served>) -> Outcome<Response> {
    options::check(call, "CreateOptions")?;
    let accept = call.accepted()?;
    let Some(accounts) = call.server.accounts() else {
        return Err(refuse(Reason::ServiceUnavailable, "this server was given no key to sign tokens with"));
    };
    let kind = builtin_kind(GROUP, "v1", KIND);
    let mut request = decode::object(call, &decode::expected(&kind))?;
    let name = &call.target.name;
    check_place(call, &request)?;
    let found = call.server.store.get(&call.key(served)).ok_or_else(|| not_found(&served.resource, name))?;
    let uid = found.row.uid.to_string();
    let given = metadata::text(&request, "uid");
    if !given.is_empty() && given != uid {
        let why = format!(
            "the UID in the token request ({given}) does not match the UID of the service account ({uid})"
        );
        return Err(conflict(&REQUESTS, name, &why));
    }
    let life = life(&mut request)?;
    let writer = Writer { manager: &call.manager(), subresource: "token", now: call.server.env.now() };
    owners::update(&kind, &writer, None, &mut request);
    api_patch::managed::unfold(&mut request);
    let audiences = audiences(&mut request, accounts);
    let mut grant = Grant { namespace: &call.target.namespace, account: name, uid: &uid, ..Grant::default() };
    bind(call, &request["spec"]["boundObjectRef"], &mut grant)?;
    (grant.audiences, grant.life) = (audiences, life);
    let now = call.server.env.now();
    let token = accounts.issue(&grant).ok_or_else(|| internal("failed to generate token"))?;
    let head = metadata::of(&mut request);
    for (key, value) in [("name", name), ("namespace", &call.target.namespace), ("uid", &uid)] {
        head.insert(key.into(), value.as_str().into());
    }
    head.insert("creationTimestamp".into(), now.to_string().into());
    request["status"] = json!({"token": token, "expirationTimestamp": (now + life).to_string()});
    answer::tree(201, accept.form, &request)
}

/// Name and namespace in the body must be those of the path.
fn check_place(call: &Call, request: &Value) -> Outcome<()> {
    let places = [("name", &call.target.name), ("namespace", &call.target.namespace)];
    for (key, wanted) in places {
        let given = metadata::text(request, key);
        if !given.is_empty() && given != wanted {
            let why = format!("must match the service account {key} if specified");
            let causes = vec![invalid_value(&format!("metadata.{key}"), given, &why)];
            return Err(invalid(GROUP, KIND, &call.target.name, causes));
        }
    }
    Ok(())
}

fn life(request: &mut Value) -> Outcome<Duration> {
    let asked = &mut request["spec"]["expirationSeconds"];
    let secs = asked.as_i64().unwrap_or(LIFE_SECS);
    *asked = secs.into();
    let why = match secs {
        ..LIFE_SECS_MIN => "may not specify a duration less than 10 minutes",
        LIFE_SECS_MIN..=LIFE_SECS_MAX => return Ok(Duration::from_secs(secs.unsigned_abs())),
        _ => "may not specify a duration larger than 2^32 seconds",
    };
    Err(invalid(GROUP, KIND, "", vec![invalid_value("spec.expirationSeconds", secs, why)]))
}

/// The audiences asked for, or this server's own.
fn audiences(request: &mut Value, accounts: &Accounts) -> Vec<String> {
    let spec = &mut request["spec"];
    let asked: Vec<String> = super::reviews::texts(&spec["audiences"]);
    let audiences = if asked.is_empty() { accounts.audiences() } else { asked };
    spec["audiences"] = json!(audiences);
    if spec["boundObjectRef"].is_null() {
        spec["boundObjectRef"] = Value::Null;
    }
    audiences
}

/// Notes the object the token ends with, which must exist and fit the account.
fn bind(call: &Call, to: &Value, grant: &mut Grant<'_>) -> Outcome<()> {
    if to.is_null() {
        return Ok(());
    }
    let text = |key: &str| to[key].as_str().unwrap_or_default();
    let (resource, namespace) = match (text("apiVersion"), text("kind")) {
        ("v1", "Pod") => (&PODS, grant.namespace),
        ("v1", "Secret") => (&SECRETS, grant.namespace),
        ("v1", "Node") => (&NODES, ""),
        (version, kind) => {
            let (group, version) = version.split_once('/').unwrap_or(("", version));
            let why = format!("cannot bind token to object of type {group}/{version}, Kind={kind}");
            return Err(bad_request(why));
        }
    };
    let name = text("name");
    let found = call.server.store.get(&Key::new(&resource.plural, namespace, name));
    let found = found.ok_or_else(|| not_found(resource, name))?;
    let bound = Bound { name: name.to_owned(), uid: found.row.uid.to_string() };
    let given = text("uid");
    if !given.is_empty() && given != bound.uid {
        let why = format!(
            "the UID in the bound object reference ({given}) does not match the UID in record. The object might have been \
             deleted and then recreated"
        );
        return Err(conflict(resource, name, &why));
    }
    match &*resource.kind {
        "Pod" => pod(call, &stored::decode(&found)?, bound, grant)?,
        "Secret" => grant.secret = Some(bound),
        _ => grant.node = Some(bound),
    }
    Ok(())
}

/// A pod must run as the account; its node is told in the token.
fn pod(call: &Call, pod: &Value, bound: Bound, grant: &mut Grant<'_>) -> Outcome<()> {
    if pod["spec"]["serviceAccountName"] != grant.account {
        let why = format!(
            "cannot bind token for serviceaccount {:?} to pod running with different serviceaccount name.",
            grant.account
        );
        return Err(bad_request(why));
    }
    grant.pod = Some(bound);
    if let Some(node) = pod["spec"]["nodeName"].as_str().filter(|n| !n.is_empty()) {
        let uid = call.server.store.get(&Key::new("nodes", "", node)).map(|n| n.row.uid.to_string());
        grant.node = Some(Bound { name: node.to_owned(), uid: uid.unwrap_or_default() });
    }
    Ok(())
}
