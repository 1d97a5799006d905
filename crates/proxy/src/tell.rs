//! Telling users which ports of their Service are not listened on, and what to do: a condition and an event.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::net::SocketAddrV4;

use api_client::{Class, Client, Error, Patch, WriteOptions};
use api_core::Service;
use api_meta::{Condition, Object, ObjectKey, Resource};
use serde::de::IgnoredAny;
use serde_json::{Value, json};
use stdx::Time;

use crate::facts::{SERVING, ServiceFact};

const EVENTS: Resource = Resource::namespaced("", "v1", "events", "Event");
const COMPONENT: &str = "knarr-proxy";

/// Why an address is not listened on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Trouble {
    /// One word.
    pub(crate) reason: &'static str,
    /// What, why, what to do.
    pub(crate) message: String,
}

impl Trouble {
    /// What a failed attempt to listen means.
    pub(crate) fn of(address: SocketAddrV4, error: &io::Error) -> Trouble {
        let (port, unprivileged) = (address.port(), 1024);
        match error.kind() {
            io::ErrorKind::PermissionDenied if port < unprivileged => Trouble {
                reason: "PortNeedsPrivilege",
                message: format!(
                    "{address} cannot be listened on: ports below {unprivileged} need privilege on this machine. Give the Service a port of {unprivileged} or above, or allow low ports: sudo sysctl net.ipv4.ip_unprivileged_port_start={port}"
                ),
            },
            io::ErrorKind::AddrInUse => Trouble {
                reason: "PortTaken",
                message: format!(
                    "{address} cannot be listened on: another program does, on it or on all addresses. End that program (sudo ss -ltnp 'sport = :{port}' names it), or give the Service another port"
                ),
            },
            _ => Trouble {
                reason: "CannotListen",
                message: format!(
                    "{address} cannot be listened on: {error}. It is tried again every few seconds"
                ),
            },
        }
    }
}

/// The condition that a Service should have and has not. One that never had trouble needs none.
pub(crate) fn wanted(service: &ServiceFact, troubles: &[Trouble], now: Time) -> Option<Condition> {
    let old = service.serving.as_ref();
    let mut new = match troubles.first() {
        None if old.is_none_or(|c| c.status == "True") => return None,
        None => condition("True", "Listening", "every port is listened on".to_owned()),
        Some(first) => {
            let all: Vec<&str> = troubles.iter().map(|t| t.message.as_str()).collect();
            condition("False", first.reason, all.join("; "))
        }
    };
    let same = |c: &&Condition| c.status == new.status;
    new.last_transition_time =
        old.filter(same).and_then(|c| c.last_transition_time).or(Some(now.whole_secs()));
    let says_so =
        |c: &Condition| (&c.status, &c.reason, &c.message) == (&new.status, &new.reason, &new.message);
    (!old.is_some_and(says_so)).then_some(new)
}

fn condition(status: &str, reason: &str, message: String) -> Condition {
    Condition {
        r#type: SERVING.to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message,
        ..Condition::default()
    }
}

/// Writes the condition, and an event when it is bad news. Who calls looks again later whether the condition stands.
pub(crate) async fn tell(client: Client, key: ObjectKey, uid: String, condition: Condition, now: Time) {
    let patch = json!({"metadata": {"uid": uid}, "status": {"conditions": [condition]}});
    let target = (key.namespace.as_str(), key.name.as_str());
    // Strategic: conditions are merged by their type, others are left alone.
    let patch = Patch::Strategic(patch);
    let told: Result<IgnoredAny, Error> =
        client.patch(&Service::RESOURCE, target, "status", &patch, &WriteOptions::default()).await;
    if condition.status == "False"
        && let Err(error) = post(&client, &key, &uid, &condition, now).await
    {
        tracing::debug!(service = %key, %error, "event not posted");
    }
    if let Err(error) = told {
        tracing::debug!(service = %key, %error, reason = %condition.reason, "condition not written");
    }
}

/// The same trouble is the same event, however often it is told.
async fn post(
    client: &Client,
    key: &ObjectKey,
    uid: &str,
    condition: &Condition,
    now: Time,
) -> Result<(), Error> {
    let mut hasher = DefaultHasher::new();
    (uid, &condition.reason, &condition.message).hash(&mut hasher);
    let name = format!("{}.{:016x}", key.name, hasher.finish());
    let body = event(&name, key, uid, condition, now);
    let options = WriteOptions::default();
    let made: Result<IgnoredAny, Error> = client.create(&EVENTS, &key.namespace, &body, &options).await;
    match made {
        Err(error) if error.class() == Class::Exists => {
            let again = Patch::Merge(json!({"lastTimestamp": now}));
            let target = (key.namespace.as_str(), name.as_str());
            let done: Result<IgnoredAny, Error> = client.patch(&EVENTS, target, "", &again, &options).await;
            done.map(drop)
        }
        other => other.map(drop),
    }
}

fn event(name: &str, key: &ObjectKey, uid: &str, condition: &Condition, now: Time) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Event",
        "metadata": {"name": name, "namespace": key.namespace},
        "involvedObject": {"apiVersion": "v1", "kind": "Service", "namespace": key.namespace, "name": key.name, "uid": uid},
        "reason": condition.reason, "message": condition.message, "type": "Warning",
        "source": {"component": COMPONENT}, "reportingComponent": COMPONENT, "reportingInstance": COMPONENT,
        "firstTimestamp": now, "lastTimestamp": now, "count": 1,
    })
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    fn check(address: &str, kind: io::ErrorKind, expected: Expect) {
        let trouble = Trouble::of(address.parse().unwrap(), &io::Error::from(kind));
        expected.assert_eq(&format!("{}: {}\n", trouble.reason, trouble.message));
    }

    #[test]
    fn trouble_says_what_and_why_and_what_to_do() {
        check(
            "127.4.0.9:80",
            io::ErrorKind::PermissionDenied,
            expect![[r"
                PortNeedsPrivilege: 127.4.0.9:80 cannot be listened on: ports below 1024 need privilege on this machine. Give the Service a port of 1024 or above, or allow low ports: sudo sysctl net.ipv4.ip_unprivileged_port_start=80
            "]],
        );
        check(
            "127.4.0.9:8080",
            io::ErrorKind::AddrInUse,
            expect![[r"
                PortTaken: 127.4.0.9:8080 cannot be listened on: another program does, on it or on all addresses. End that program (sudo ss -ltnp 'sport = :8080' names it), or give the Service another port
            "]],
        );
        check(
            "127.4.0.9:8080",
            io::ErrorKind::AddrNotAvailable,
            expect![[r"
                CannotListen: 127.4.0.9:8080 cannot be listened on: address not available. It is tried again every few seconds
            "]],
        );
    }

    #[test]
    fn a_condition_is_written_when_it_says_something_new_and_only_then() {
        let now = Time::from_secs(100);
        let trouble = Trouble::of("127.4.0.9:80".parse().unwrap(), &io::ErrorKind::AddrInUse.into());
        let troubles = std::slice::from_ref(&trouble);
        let mut service = ServiceFact {
            uid: "u".into(),
            address: [127, 4, 0, 9].into(),
            ports: Vec::new(),
            selector: Default::default(),
            prefers_cell: false,
            affinity: None,
            serving: None,
        };
        assert_eq!(wanted(&service, &[], now), None, "all is well and was");
        service.serving = wanted(&service, troubles, now);
        assert_eq!(service.serving.as_ref().unwrap().status, "False");
        assert_eq!(wanted(&service, troubles, Time::from_secs(200)), None);
        let two = wanted(&service, &[trouble.clone(), trouble.clone()], Time::from_secs(200)).unwrap();
        assert_eq!(two.last_transition_time, Some(now), "still False: the time stays");
        service.serving = wanted(&service, &[], Time::from_secs(300));
        assert_eq!(service.serving.as_ref().unwrap().reason, "Listening");
        assert_eq!(wanted(&service, &[], Time::from_secs(400)), None);
    }
}
