//! Containers and volumes, of a pod or of a template.

use serde_json::Value;

use super::meta::{pairs, text};
use super::page::Page;

/// The containers of one list, each with its state when there is a status.
pub(super) fn containers(page: &mut Page, head: &str, list: &Value, statuses: &Value) {
    let Some(list) = list.as_array().filter(|l| !l.is_empty()) else { return };
    page.section(head, |page| {
        for c in list {
            let name = text(&c["name"]);
            let status = statuses.as_array().into_iter().flatten().find(|s| s["name"] == c["name"]);
            page.section(&name, |page| container(page, c, status));
        }
    });
}

fn container(page: &mut Page, c: &Value, status: Option<&Value>) {
    if let Some(s) = status {
        page.some("Container ID", s["containerID"].as_str());
    }
    page.field("Image", text(&c["image"]));
    if let Some(s) = status {
        page.some("Image ID", s["imageID"].as_str());
    }
    ports(page, c);
    words(page, "Command", &c["command"]);
    words(page, "Args", &c["args"]);
    if let Some(s) = status {
        state(page, "State", &s["state"]);
        if s["lastState"].as_object().is_some_and(|m| !m.is_empty()) {
            state(page, "Last State", &s["lastState"]);
        }
        page.field("Ready", if s["ready"] == true { "True" } else { "False" });
        page.field("Restart Count", text(&s["restartCount"]));
    }
    for (head, name) in [("Limits", "limits"), ("Requests", "requests")] {
        let values = &c["resources"][name];
        if values.as_object().is_some_and(|m| !m.is_empty()) {
            page.section(head, |page| {
                values.as_object().into_iter().flatten().for_each(|(k, v)| page.field(k, text(v)));
            });
        }
    }
    for (head, name) in
        [("Liveness", "livenessProbe"), ("Readiness", "readinessProbe"), ("Startup", "startupProbe")]
    {
        if let Some(probe) = c.get(name) {
            page.field(head, probe_words(probe));
        }
    }
    environment(page, c);
    let mounts = c["volumeMounts"].as_array().into_iter().flatten().map(|m| {
        let mode = if m["readOnly"] == true { "ro" } else { "rw" };
        format!("{} from {} ({mode})", text(&m["mountPath"]), text(&m["name"]))
    });
    page.list("Mounts", mounts);
}

fn ports(page: &mut Page, c: &Value) {
    let all: Vec<String> = c["ports"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|p| {
            let name = p["name"].as_str().map_or(String::new(), |n| format!(" ({n})"));
            format!("{}/{}{name}", text(&p["containerPort"]), p["protocol"].as_str().unwrap_or("TCP"))
        })
        .collect();
    page.field(
        if all.len() > 1 { "Ports" } else { "Port" },
        if all.is_empty() { "<none>".to_owned() } else { all.join(", ") },
    );
}

fn words(page: &mut Page, head: &str, list: &Value) {
    if let Some(list) = list.as_array().filter(|l| !l.is_empty()) {
        page.section(head, |page| list.iter().for_each(|w| page.line(text(w))));
    }
}

fn state(page: &mut Page, head: &str, state: &Value) {
    let found = state.as_object().into_iter().flatten().find(|(_, v)| !v.is_null());
    let Some((name, value)) = found else {
        page.field(head, "Waiting");
        return;
    };
    let mut name = name.clone();
    name[..1].make_ascii_uppercase();
    page.field(head, name);
    let keys = [
        ("  Reason", "reason"),
        ("  Message", "message"),
        ("  Exit Code", "exitCode"),
        ("  Signal", "signal"),
        ("  Started", "startedAt"),
        ("  Finished", "finishedAt"),
    ];
    for (key, field) in keys {
        page.some(key, Some(&text(&value[field])));
    }
}

fn probe_words(probe: &Value) -> String {
    let what = if let Some(h) = probe.get("httpGet") {
        let scheme = h["scheme"].as_str().unwrap_or("HTTP").to_lowercase();
        format!("http-get {scheme}://{}:{}{}", text(&h["host"]), text(&h["port"]), text(&h["path"]))
    } else if let Some(t) = probe.get("tcpSocket") {
        format!("tcp-socket {}:{}", text(&t["host"]), text(&t["port"]))
    } else if let Some(e) = probe.get("exec") {
        let command: Vec<String> = e["command"].as_array().into_iter().flatten().map(text).collect();
        format!("exec [{}]", command.join(" "))
    } else if let Some(g) = probe.get("grpc") {
        format!("grpc <pod>:{}", text(&g["port"]))
    } else {
        "unknown".to_owned()
    };
    let number = |name: &str, otherwise: i64| probe[name].as_i64().unwrap_or(otherwise);
    format!(
        "{what} delay={}s timeout={}s period={}s #success={} #failure={}",
        number("initialDelaySeconds", 0),
        number("timeoutSeconds", 1),
        number("periodSeconds", 10),
        number("successThreshold", 1),
        number("failureThreshold", 3)
    )
}

fn environment(page: &mut Page, c: &Value) {
    let Some(list) = c["env"].as_array().filter(|l| !l.is_empty()) else {
        page.field("Environment", "<none>");
        return;
    };
    page.section("Environment", |page| {
        for e in list {
            page.field(&text(&e["name"]), variable(e));
        }
    });
}

/// Values out of secrets are named, never shown.
fn variable(e: &Value) -> String {
    let Some(from) = e.get("valueFrom") else { return text(&e["value"]) };
    if let Some(f) = from.get("fieldRef") {
        return format!("({}:{})", f["apiVersion"].as_str().unwrap_or("v1"), text(&f["fieldPath"]));
    }
    for (name, what) in [("secretKeyRef", "secret"), ("configMapKeyRef", "config map")] {
        if let Some(r) = from.get(name) {
            return format!("<set to the key '{}' in {what} '{}'>", text(&r["key"]), text(&r["name"]));
        }
    }
    match from.get("resourceFieldRef") {
        Some(r) => format!("({})", text(&r["resource"])),
        None => "<from elsewhere>".to_owned(),
    }
}

/// The volumes by name and source.
pub(super) fn volumes(page: &mut Page, list: &Value) {
    let Some(list) = list.as_array().filter(|l| !l.is_empty()) else {
        page.field("Volumes", "<none>");
        return;
    };
    page.section("Volumes", |page| {
        for v in list {
            page.section(&text(&v["name"]), |page| {
                let source = v.as_object().into_iter().flatten().find(|(k, _)| *k != "name");
                let Some((kind, body)) = source else { return };
                page.field("Type", kind.as_str());
                for (key, value) in
                    body.as_object().into_iter().flatten().filter(|(_, v)| !v.is_object() && !v.is_array())
                {
                    page.field(key, text(value));
                }
            });
        }
    });
}

/// `k=v` of a map on one line each, under a head.
pub(super) fn labels(page: &mut Page, head: &str, map: &Value) {
    page.list(head, pairs(map, "="));
}
