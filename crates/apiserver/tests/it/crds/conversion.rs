//! Several versions of one kind.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use apiserver::auth::Authenticator;
use apiserver::registry::ConvertFn;
use base64::Engine as _;
use serde_json::{Value, json};
use store::MemoryDisk;

use super::{Known, WIDGETS, define, spec_of, start, version, widget, widgets, world};

/// v1 stores `a`; v1beta1 knows `a` too, and `old`.
fn two() -> Value {
    let mut beta = version(
        "v1beta1",
        spec_of(json!({"a": {"type": "string"}, "old": {"type": "string", "default": "d"}})),
    );
    (beta["storage"], beta["deprecated"]) = (json!(false), json!(true));
    widgets(vec![version("v1", spec_of(json!({"a": {"type": "string"}}))), beta])
}

fn beta(name: &str, spec: Value) -> Value {
    json!({"apiVersion": "example.com/v1beta1", "kind": "Widget", "metadata": {"name": name}, "spec": spec})
}

const BETA: &str = "/apis/example.com/v1beta1/namespaces/ns/widgets";

#[tokio::test(start_paused = true)]
async fn without_conversion_only_the_version_changes_and_the_stored_shape_counts() {
    let w = world().await;
    define(&w, two()).await;
    let made = w.post(BETA, beta("a", json!({"a": "x", "old": "y"}))).await;
    let warning = "299 - \"example.com/v1beta1 Widget is deprecated; use example.com/v1 Widget\"";
    assert_eq!(made.warnings, [warning]);
    assert_eq!(made.created()["spec"], json!({"a": "x"}));
    let read = w.get(&format!("{WIDGETS}/a")).await.ok();
    assert_eq!((&read["apiVersion"], &read["spec"]), (&json!("example.com/v1"), &json!({"a": "x"})));
    let read = w.get(&format!("{BETA}/a")).await.ok();
    assert_eq!((&read["apiVersion"], &read["spec"]), (&json!("example.com/v1beta1"), &json!({"a": "x"})));
    let refused = w.post(WIDGETS, beta("b", json!({}))).await.refused(400);
    assert!(refused.contains("does not match the expected API version"), "{refused}");
}

/// v1 says `{"size": n}`, v1beta1 says `{"dimension": "n"}`.
fn convert(object: &mut Value, api_version: &str) -> Result<(), String> {
    let spec = object["spec"].as_object_mut().ok_or("no spec")?;
    if api_version.ends_with("/v1") {
        let n = spec.remove("dimension").and_then(|d| d.as_str()?.parse::<i64>().ok());
        spec.insert("size".to_owned(), json!(n.ok_or("no dimension")?));
    } else {
        let n = spec.remove("size").ok_or("no size")?;
        spec.insert("dimension".to_owned(), Value::String(n.to_string()));
    }
    object["apiVersion"] = json!(api_version);
    Ok(())
}

fn sized() -> Value {
    let mut beta = version("v1beta1", spec_of(json!({"dimension": {"type": "string"}})));
    beta["storage"] = json!(false);
    widgets(vec![version("v1", spec_of(json!({"size": {"type": "integer"}}))), beta])
}

/// Written in one version, read and changed in the other.
async fn converts(w: &crate::fixture::World) {
    w.post(BETA, beta("a", json!({"dimension": "4"}))).await.created();
    assert_eq!(w.get(&format!("{WIDGETS}/a")).await.ok()["spec"], json!({"size": 4}));
    w.post(WIDGETS, widget("b", json!({"size": 5}))).await.created();
    let list = w.get(BETA).await.ok();
    let specs: Vec<&Value> = list["items"].as_array().unwrap().iter().map(|i| &i["spec"]).collect();
    assert_eq!(specs, [&json!({"dimension": "4"}), &json!({"dimension": "5"})]);
    let patched = w.patch(&format!("{BETA}/b"), "merge", json!({"spec": {"dimension": "6"}})).await.ok();
    assert_eq!(patched["spec"], json!({"dimension": "6"}));
    assert_eq!(w.get(&format!("{WIDGETS}/b")).await.ok()["spec"], json!({"size": 6}));
}

#[tokio::test(start_paused = true)]
async fn a_function_of_this_process_converts() {
    let converters = BTreeMap::from([("widgets.example.com".to_owned(), convert as ConvertFn)]);
    let w = start(&MemoryDisk::default(), Known { converters, ..Known::default() }).await;
    define(&w, sized()).await;
    converts(&w).await;
    let refused = w.post(BETA, beta("c", json!({}))).await;
    assert_eq!(refused.code, 500, "{}", refused.text);
    assert!(refused.text.contains("no dimension"), "{}", refused.text);
}

/// Answers conversion reviews over TLS on loopback; gives its address and authority, and notes how many objects it was asked about
/// each time.
async fn webhook(
    stop: tokio::sync::watch::Receiver<bool>,
    asked: Arc<Mutex<Vec<usize>>>,
) -> (std::net::SocketAddr, String) {
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let tls = apiserver::net::Tls {
        chain: vec![certificate.der().clone()],
        key: rustls::pki_types::PrivateKeyDer::Pkcs8(key.serialize_der().into()),
        client_authorities: vec![certificate.der().clone()],
    };
    let handler: apiserver::net::Handler = Arc::new(move |_, request: api_client::Request| {
        let asked = asked.clone();
        Box::pin(async move { review(&request, &asked) })
    });
    let authenticator = Arc::new(Authenticator::new());
    let serve =
        apiserver::net::serve(listener, tls, authenticator, handler, apiserver::net::Limits::default(), stop);
    tokio::spawn(async move { serve.await.unwrap() });
    (address, certificate.pem())
}

fn review(request: &api_client::Request, asked: &Mutex<Vec<usize>>) -> api_client::Response {
    let review: Value = serde_json::from_slice(request.body()).unwrap();
    let wanted = review["request"]["desiredAPIVersion"].as_str().unwrap();
    let mut objects = review["request"]["objects"].as_array().unwrap().clone();
    asked.lock().unwrap().push(objects.len());
    let outcome: Result<(), String> = objects.iter_mut().try_for_each(|o| convert(o, wanted));
    let result = match outcome {
        Ok(()) => json!({"status": "Success"}),
        Err(why) => json!({"status": "Failed", "message": why}),
    };
    let answer = json!({
        "kind": "ConversionReview", "apiVersion": "apiextensions.k8s.io/v1",
        "response": {"uid": review["request"]["uid"], "result": result, "convertedObjects": objects}
    });
    http::Response::new(api_client::Body::Full(answer.to_string().into()))
}

#[tokio::test]
async fn a_webhook_converts_over_tls() {
    let (end, stop) = tokio::sync::watch::channel(false);
    let asked = Arc::new(Mutex::new(Vec::new()));
    let (address, authority) = webhook(stop, asked.clone()).await;
    let w = world().await;
    let mut definition = sized();
    let bundle = base64::engine::general_purpose::STANDARD.encode(authority);
    definition["spec"]["conversion"] = json!({"strategy": "Webhook", "webhook": {
        "conversionReviewVersions": ["v1"], "clientConfig": {"url": format!("https://{address}/convert"), "caBundle": bundle}
    }});
    define(&w, definition).await;
    converts(&w).await;
    asked.lock().unwrap().clear();
    w.get(BETA).await.ok();
    assert_eq!(*asked.lock().unwrap(), [2], "a page is one question");
    let refused = w.post(BETA, beta("c", json!({}))).await;
    assert_eq!(refused.code, 500, "{}", refused.text);
    let why = "conversion webhook for example.com/v1beta1, Kind=Widget failed: no dimension";
    assert_eq!((&refused.body["message"], &refused.body["reason"]), (&json!(why), &Value::Null));
    end.send(true).unwrap();
}

/// v1 is stored, needs `new` and knows words for it; v1beta1 needs `old`.
fn unlike() -> Value {
    let needs = |field: &str, schema: Value| {
        let mut whole = spec_of(json!({field: schema, "both": {"type": "string"}}));
        whole["properties"]["spec"]["required"] = json!([field]);
        whole
    };
    let mut beta = version("v1beta1", needs("old", json!({"type": "integer", "minimum": 1})));
    beta["storage"] = json!(false);
    widgets(vec![version("v1", needs("new", json!({"type": "string", "enum": ["x", "y"]}))), beta])
}

#[tokio::test(start_paused = true)]
async fn an_object_is_judged_in_the_version_it_is_sent_in() {
    let w = world().await;
    define(&w, unlike()).await;
    let causes = |answer: crate::fixture::Answer| {
        let all = answer.body["details"]["causes"].as_array().cloned().unwrap_or_default();
        all.iter().map(|c| c["field"].as_str().unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(causes(w.post(BETA, beta("a", json!({"both": "b"}))).await), ["spec.old"]);
    assert_eq!(causes(w.post(BETA, beta("a", json!({"old": 0}))).await), ["spec.old"]);
    w.post(BETA, beta("a", json!({"old": 1, "both": "b"}))).await.created();
    // What it became is no valid v1, and rests nevertheless.
    assert_eq!(w.get(&format!("{WIDGETS}/a")).await.ok()["spec"], json!({"both": "b"}));
    let at = format!("{WIDGETS}/a");
    assert_eq!(causes(w.patch(&at, "merge", json!({"spec": {"new": "z"}})).await), ["spec.new"]);
    w.patch(&at, "merge", json!({"spec": {"new": "x"}})).await.ok();
    let at = format!("{BETA}/a");
    assert_eq!(causes(w.patch(&at, "merge", json!({"spec": {"old": 0}})).await), ["spec.old"]);
}

#[tokio::test(start_paused = true)]
async fn a_version_does_not_show_what_only_another_one_knows() {
    let w = world().await;
    define(&w, unlike()).await;
    let mut watch = w.watch(&format!("{BETA}?watch=1")).await;
    w.post(WIDGETS, widget("a", json!({"new": "x", "both": "b"}))).await.created();
    let shown = json!({"both": "b"});
    assert_eq!(w.get(&format!("{BETA}/a")).await.ok()["spec"], shown);
    assert_eq!(w.get(BETA).await.ok()["items"][0]["spec"], shown);
    assert_eq!(watch.next().await.unwrap()["object"]["spec"], shown);
}
