use std::path::PathBuf;

use apiserver::AuditLog;
use serde_json::{Value, json};

use super::{viewer, world};
use crate::fixture::{MAPS, config_map};

/// A file of this test alone, gone with it.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        Scratch(std::env::temp_dir().join(format!("apiserver-audit-{name}-{}", std::process::id())))
    }

    fn events(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(&self.0).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[tokio::test(start_paused = true)]
async fn every_request_leaves_a_line_that_tells_who_and_what_but_not_the_content() {
    let w = world().await;
    let file = Scratch::new("lines");
    w.server.audit_to(AuditLog::open(&file.0).unwrap());
    w.post(MAPS, config_map("a", "hidden")).await.created();
    viewer(&w).get(&format!("{MAPS}/a")).await.refused(403);
    let acting = [("impersonate-user", "alice")];
    w.call("GET", MAPS, &acting, bytes::Bytes::new()).await.refused(403);
    let events = file.events();
    let [made, refused, acted] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!((made["verb"].clone(), made["level"].clone()), (json!("create"), json!("Metadata")));
    assert_eq!(
        (made["responseStatus"]["code"].clone(), made["user"]["username"].clone()),
        (json!(201), json!("admin"))
    );
    assert_eq!(refused["annotations"]["authorization.k8s.io/decision"], "forbid");
    let about = json!({"resource": "configmaps", "namespace": "ns", "name": "a", "apiVersion": "v1"});
    assert_eq!(refused["objectRef"], about);
    assert_eq!(
        (acted["user"]["username"].clone(), acted["impersonatedUser"]["username"].clone()),
        (json!("admin"), json!("alice"))
    );
    assert_ne!(made["auditID"], refused["auditID"]);
    assert!(!std::fs::read_to_string(&file.0).unwrap().contains("hidden"));
}

#[tokio::test(start_paused = true)]
async fn an_answer_carries_the_name_of_its_request_and_the_clients_own_if_it_has_one() {
    let w = world().await;
    let named = w.send("GET", MAPS, &[("audit-id", "mine")], bytes::Bytes::new()).await;
    assert_eq!(named.headers()["audit-id"], "mine");
    let long = "x".repeat(65);
    let other = w.send("GET", MAPS, &[("audit-id", &long)], bytes::Bytes::new()).await;
    assert_eq!(other.headers()["audit-id"].len(), 36);
}

#[tokio::test(start_paused = true)]
async fn a_policy_decides_what_is_told_of_which_request_and_when() {
    let w = world().await;
    let file = Scratch::new("policy");
    let policy = "
apiVersion: audit.k8s.io/v1
kind: Policy
rules:
- {level: None, resources: [{group: '', resources: [configmaps]}], verbs: [get]}
- {level: Request, resources: [{group: '', resources: [configmaps]}], omitStages: [RequestReceived], omitManagedFields: true}
- {level: Metadata}
";
    let log = AuditLog::open(&file.0).unwrap().judged_by(apiserver::AuditPolicy::read(policy).unwrap());
    w.server.audit_to(log);
    w.post(MAPS, config_map("a", "told")).await.created();
    w.get(&format!("{MAPS}/a")).await.ok();
    w.get("/version").await.ok();
    let events = file.events();
    let [made, received, answered] = events.as_slice() else { panic!("{events:?}") };
    assert_eq!(
        (made["level"].clone(), made["requestObject"]["data"]["k"].clone()),
        (json!("Request"), json!("told"))
    );
    assert!(made["responseObject"].is_null());
    let stages = (received["stage"].clone(), answered["stage"].clone());
    assert_eq!(stages, (json!("RequestReceived"), json!("ResponseComplete")));
    assert_eq!(received["auditID"], answered["auditID"]);
    assert_eq!(received["requestReceivedTimestamp"], received["stageTimestamp"]);
}
