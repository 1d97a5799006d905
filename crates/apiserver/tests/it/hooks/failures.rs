//! Hooks that cannot be asked.

use serde_json::json;

use super::{Hook, allow, hook, mutating, validating};
use crate::fixture::{MAPS, World, config_map};

async fn refused(w: &World) -> String {
    w.post(MAPS, config_map("a", "1")).await.refused(500)
}

#[tokio::test]
async fn the_failure_policy_decides_when_nobody_answers() {
    let w = World::new().await;
    let closed = json!({"url": "https://127.0.0.1:1/x"});
    let h = Hook::start(allow).await;
    let trusted = json!({"url": "https://127.0.0.1:1/x", "caBundle": h.bundle()});
    validating(&w, "c", vec![hook("a", trusted, json!({"timeoutSeconds": 1}))]).await;
    let answer = w.post(MAPS, config_map("a", "1")).await;
    let why = "failed calling webhook \"a.example.com\": failed to call webhook: Post \
               \"https://127.0.0.1:1/x?timeout=1s\": dial tcp 127.0.0.1:1: connect: connection refused";
    assert_eq!(answer.body["details"], json!({"causes": [{"message": why}]}));
    assert_eq!(answer.refused(500), format!("Internal error occurred: {why}"));
    let path = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/c";
    w.patch(path, "strategic", json!({"webhooks": [{"name": "a.example.com", "failurePolicy": "Ignore"}]}))
        .await
        .ok();
    w.post(MAPS, config_map("a", "1")).await.created();
    mutating(&w, "m", vec![hook("m", closed, json!({"failurePolicy": "Ignore"}))]).await;
    w.post(MAPS, config_map("b", "1")).await.created();
}

#[tokio::test]
async fn a_slow_hook_is_not_waited_for() {
    let w = World::new().await;
    // It listens and never answers: the handshake waits.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let h = Hook::start(allow).await;
    let url = format!("https://{}/x", silent.local_addr().unwrap());
    let client = json!({"url": url, "caBundle": h.bundle()});
    validating(&w, "c", vec![hook("a", client, json!({"timeoutSeconds": 1}))]).await;
    let why = refused(&w).await;
    assert!(why.ends_with("?timeout=1s\": context deadline exceeded"), "{why}");
}

#[tokio::test]
async fn a_stranger_is_not_trusted() {
    let w = World::new().await;
    let (h, other) = (Hook::start(allow).await, Hook::start(allow).await);
    let mut client = h.client();
    client["caBundle"] = json!(other.bundle());
    validating(&w, "c", vec![hook("a", client, json!({}))]).await;
    let why = refused(&w).await;
    assert!(why.contains("x509: certificate signed by unknown authority"), "{why}");
    assert!(h.asked().is_empty());
}

#[tokio::test]
async fn a_certificate_that_vouches_for_itself_is_trusted_for_its_own_names() {
    let w = World::new().await;
    let authority = |name: &str| {
        let mut params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params
    };
    let h = Hook::certified(authority("127.0.0.1"), allow).await;
    validating(&w, "c", vec![hook("a", h.client(), json!({}))]).await;
    w.post(MAPS, config_map("b", "1")).await.created();
    let other = Hook::certified(authority("127.0.0.2"), allow).await;
    validating(&w, "d", vec![hook("b", other.client(), json!({}))]).await;
    let why = refused(&w).await;
    assert!(why.contains("tls: failed to verify certificate"), "{why}");
}

#[tokio::test]
async fn addresses_out_of_bounds_are_not_called() {
    let w = World::new().await;
    let h = Hook::start(allow).await;
    let client = json!({"url": "https://169.254.169.254/latest", "caBundle": h.bundle()});
    validating(&w, "c", vec![hook("a", client, json!({}))]).await;
    let why = refused(&w).await;
    assert!(why.contains("this server does not call webhooks at such addresses"), "{why}");
}

#[tokio::test]
async fn a_dry_run_does_not_meet_a_hook_with_side_effects() {
    let w = World::new().await;
    let h = Hook::start(allow).await;
    validating(&w, "c", vec![hook("a", h.client(), json!({}))]).await;
    w.post(&format!("{MAPS}?dryRun=All"), config_map("a", "1")).await.created();
    assert_eq!(h.asked()[0]["dryRun"], true);
    assert_eq!(w.get(&format!("{MAPS}/a")).await.code, 404);
}

#[tokio::test]
async fn an_answer_to_another_question_is_none() {
    let w = World::new().await;
    let h = Hook::start(|_| json!({"allowed": true, "patch": "W10=", "patchType": "JSONPatch"})).await;
    validating(&w, "c", vec![hook("a", h.client(), json!({}))]).await;
    assert_eq!(
        refused(&w).await,
        "Internal error occurred: failed calling webhook \"a.example.com\": received invalid webhook response: validating \
         webhook may not return response.patch"
    );
}

#[tokio::test]
async fn services_are_found_without_a_proxy() {
    let w = World::new().await;
    let h = Hook::named(&["hook.ns.svc"], allow).await;
    let client =
        json!({"service": {"namespace": "ns", "name": "hook", "path": "/ask"}, "caBundle": h.bundle()});
    validating(&w, "c", vec![hook("a", client, json!({}))]).await;
    let head = "Internal error occurred: failed calling webhook \"a.example.com\": failed to call webhook: Post \
                \"https://hook.ns.svc:443/ask?timeout=5s\"";
    assert_eq!(refused(&w).await, format!("{head}: service \"hook\" not found"));
    let service = json!({"metadata": {"name": "hook"}, "spec": {"ports": [{"name": "tls", "port": 443}]}});
    w.post("/api/v1/namespaces/ns/services", service).await.created();
    let slice = |ready: bool| {
        json!({
            "metadata": {"name": "hook-1", "labels": {"kubernetes.io/service-name": "hook"}}, "addressType": "IPv4",
            "endpoints": [{"addresses": ["127.0.0.1"], "conditions": {"ready": ready}}],
            "ports": [{"name": "tls", "port": h.address.port()}]
        })
    };
    const SLICES: &str = "/apis/discovery.k8s.io/v1/namespaces/ns/endpointslices";
    // Loopback endpoints are written by our own controllers alone.
    let own = w.as_user(apiserver::User::new("system:apiserver", &["system:masters"]));
    own.post(SLICES, slice(false)).await.created();
    assert_eq!(refused(&w).await, format!("{head}: no endpoints available for service \"hook\""));
    own.put(&format!("{SLICES}/hook-1"), slice(true)).await.ok();
    w.post(MAPS, config_map("a", "1")).await.created();
    assert_eq!(h.asked().len(), 1);
}

#[tokio::test]
async fn hooks_that_are_configured_are_asked_after_a_restart() {
    let w = World::new().await;
    let h = Hook::start(|_| json!({"allowed": false})).await;
    validating(&w, "c", vec![hook("a", h.client(), json!({}))]).await;
    // Setting up again is what a restart does; it is not in a hook's hands.
    w.server.bootstrap().await.unwrap();
    assert_eq!(w.post(MAPS, config_map("a", "1")).await.code, 400);
}
