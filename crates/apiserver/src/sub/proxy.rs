//! The proxy subresources: what is said before a connection would be made. Connections themselves are not offered.

use std::net::IpAddr;

use api_client::Response;
use api_meta::Reason;

use crate::refuse::{Outcome, bad_request, not_found, refuse as refusal};
use crate::registry::Served;
use crate::server::Call;
use crate::stored;

/// Refuses a request to `x/proxy`: the target must be there and have an address that may be reached at all.
pub(crate) fn refuse(call: &Call, served: &Served) -> Outcome<Response> {
    let name = match &*served.storage_key {
        "nodes" => call.target.name.as_str(),
        _ => name_of(&call.target.name).ok_or_else(|| {
            bad_request(format!("invalid {} request {:?}", served.singular, call.target.name))
        })?,
    };
    let found = call.server.store.get(&call.key_of(served, name));
    let object = stored::decode(&*found.ok_or_else(|| not_found(&served.resource, name))?)?;
    match &*served.storage_key {
        "pods" if !is_reachable(object["status"]["podIP"].as_str().unwrap_or_default()) => {
            Err(bad_request("address not allowed"))
        }
        "services" => {
            Err(refusal(Reason::ServiceUnavailable, format!("no endpoints available for service {name:?}")))
        }
        _ => Err(refusal(Reason::ServiceUnavailable, "proxy is not offered by this server")),
    }
}

/// The name in `name`, `name:port` and `scheme:name:port`.
fn name_of(id: &str) -> Option<&str> {
    match id.split(':').collect::<Vec<_>>().as_slice() {
        [name] | [name, _] if !name.is_empty() => Some(name),
        ["" | "http" | "https", name, _] if !name.is_empty() => Some(name),
        _ => None,
    }
}

/// Whether an address may be connected to on behalf of others: not the server's own machine, not its link.
fn is_reachable(address: &str) -> bool {
    match address.parse::<IpAddr>() {
        Ok(IpAddr::V4(ip)) => {
            !(ip.is_loopback() || ip.is_unspecified() || ip.is_link_local() || ip.is_multicast())
        }
        Ok(IpAddr::V6(ip)) => {
            !(ip.is_loopback() || ip.is_unspecified() || ip.is_unicast_link_local() || ip.is_multicast())
        }
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_may_name_scheme_and_port() {
        for (id, name) in [
            ("a", Some("a")),
            ("a:80", Some("a")),
            ("https:a:", Some("a")),
            ("ftp:a:1", None),
            (":80", None),
            ("a:b:c:d", None),
        ] {
            assert_eq!(name_of(id), name, "{id}");
        }
    }

    #[test]
    fn the_machine_itself_is_out_of_reach() {
        assert!(is_reachable("10.0.0.1"));
        for address in ["", "127.0.0.1", "169.254.1.1", "0.0.0.0", "::1", "224.0.0.1"] {
            assert!(!is_reachable(address), "{address}");
        }
    }
}
