//! Logs: passed through from the agent of the pod's node.

use std::sync::Arc;

use api_client::Response;
use api_meta::Reason;
use serde_json::Value;
use store::Key;

use crate::refuse::{
    Outcome, bad_request, forbidden_field, internal, invalid, invalid_value, not_found, refuse,
};
use crate::registry::Served;
use crate::server::Call;
use crate::stored;

/// Parameters that the agent understands.
const PASSED_ON: [&str; 8] =
    ["follow", "previous", "sinceSeconds", "sinceTime", "timestamps", "tailLines", "limitBytes", "stream"];

/// Annotation of the nodes that a simulator drives; such nodes have no agent to ask.
const SIMULATED: &str = "knarr.dev/sim-owner";

/// GET of `pods/x/log`.
pub(crate) async fn log(call: &Call, pods: &Arc<Served>) -> Outcome<Response> {
    let name = &call.target.name;
    let found = call.server.store.get(&call.key(pods)).ok_or_else(|| not_found(&pods.resource, name))?;
    let pod = stored::decode(&found)?;
    let container = container(&pod, name, call.query.get("container"))?;
    check_options(call, name)?;
    let node = pod["spec"]["nodeName"].as_str().unwrap_or_default();
    if node.is_empty() {
        let mut nothing = crate::answer::text(204, "");
        nothing.headers_mut().clear();
        return Ok(nothing);
    }
    if is_simulated(call, node) {
        return Ok(crate::answer::text(200, ""));
    }
    let (address, port) = agent(call, node)?;
    let path = format!("/containerLogs/{}/{name}/{container}{}", call.target.namespace, query(call));
    let answer = call.server.nodes.get(address, port, path).await;
    answer.map_err(|e| internal(format!("reach the agent of node {node:?}: {e}")))
}

/// Whether a node is data only: its containers never say anything.
fn is_simulated(call: &Call, node: &str) -> bool {
    let found = call.server.store.get(&Key::new("nodes", "", node));
    let node = found.and_then(|n| stored::decode(&n).ok()).unwrap_or_default();
    node["metadata"]["annotations"].get(SIMULATED).is_some()
}

fn check_options(call: &Call, name: &str) -> Outcome<()> {
    let mut causes = Vec::new();
    for (key, least) in [("tailLines", 0), ("limitBytes", 1), ("sinceSeconds", 1)] {
        if let Some(n) = call.query.number(key)?.filter(|n| *n < least) {
            let why = match least {
                0 => "must be greater than or equal to 0",
                _ => "must be greater than 0",
            };
            causes.push(invalid_value(key, n, why));
        }
    }
    if call.query.has("sinceSeconds") && call.query.has("sinceTime") {
        let why = "at most one of `sinceTime` or `sinceSeconds` may be specified";
        causes.push(forbidden_field("", why));
    }
    if causes.is_empty() { Ok(()) } else { Err(invalid("", "PodLogOptions", name, causes)) }
}

fn query(call: &Call) -> String {
    let mut out = String::new();
    for key in PASSED_ON {
        let value = call.query.get(key);
        if call.query.has(key) {
            let sign = if out.is_empty() { '?' } else { '&' };
            let safe: String = value
                .bytes()
                .map(|b| {
                    if b.is_ascii_alphanumeric() || b"-_.:".contains(&b) {
                        char::from(b).to_string()
                    } else {
                        format!("%{b:02X}")
                    }
                })
                .collect();
            out.push_str(&format!("{sign}{key}={safe}"));
        }
    }
    out
}

/// The container that is meant; there must be only one when none is named.
fn container(pod: &Value, name: &str, asked: &str) -> Outcome<String> {
    let names = |key: &str| -> Vec<String> {
        let all = pod["spec"][key].as_array().into_iter().flatten();
        all.filter_map(|c| c["name"].as_str().map(str::to_owned)).collect()
    };
    let (plain, init, later) = (names("containers"), names("initContainers"), names("ephemeralContainers"));
    if !asked.is_empty() {
        let known = [&plain, &init, &later].iter().any(|list| list.iter().any(|c| c == asked));
        return if known {
            Ok(asked.to_owned())
        } else {
            Err(bad_request(format!("container {asked} is not valid for pod {name}")))
        };
    }
    let default = pod["metadata"]["annotations"]["kubectl.kubernetes.io/default-container"].as_str();
    match (plain.as_slice(), default) {
        ([only], _) => Ok(only.clone()),
        (many, Some(default)) if many.iter().any(|c| c == default) => Ok(default.to_owned()),
        (many, _) => {
            let inits = if init.is_empty() {
                String::new()
            } else {
                format!(" or one of the init containers: [{}]", init.join(" "))
            };
            Err(bad_request(format!(
                "a container name must be specified for pod {name}, choose one of: [{}]{inits}",
                many.join(" ")
            )))
        }
    }
}

/// Address and port of a node's agent.
fn agent(call: &Call, node: &str) -> Outcome<(String, u16)> {
    let found = call.server.store.get(&Key::new("nodes", "", node));
    let Some(found) = found else {
        return Err(refuse(Reason::NotFound, format!("node {node:?} of the pod not found")));
    };
    let object = stored::decode(&found)?;
    let port = object["status"]["daemonEndpoints"]["kubeletEndpoint"]["Port"].as_u64().unwrap_or(0);
    let port = u16::try_from(port).unwrap_or(0);
    let addresses = object["status"]["addresses"].as_array().cloned().unwrap_or_default();
    let of = |kind: &str| addresses.iter().find(|a| a["type"] == kind).and_then(|a| a["address"].as_str());
    match (of("InternalIP").or_else(|| of("Hostname")), port) {
        (Some(address), port) if port != 0 => Ok((address.to_owned(), port)),
        _ => Err(internal(format!("node {node:?} does not say where its agent listens"))),
    }
}

/// `exec`, `attach` and `portforward` need a connection of both directions, which this server does not offer.
pub(crate) fn no_connection(call: &Call, pods: &Served) -> Outcome<Response> {
    let name = &call.target.name;
    let found = call.server.store.get(&call.key(pods)).ok_or_else(|| not_found(&pods.resource, name))?;
    let pod = stored::decode(&found)?;
    if pod["spec"]["nodeName"].as_str().unwrap_or_default().is_empty() {
        return Err(bad_request(format!("pod {name} does not have a host assigned")));
    }
    let what = &call.target.subresource;
    Err(refuse(Reason::ServiceUnavailable, format!("{what} is not offered by this server")))
}
