use std::sync::Arc;
use std::time::Duration;

use apiserver::auth::{Accounts, Authenticator, Issuer};
use apiserver::{ApiServer, User};
use serde_json::{Value, json};

use super::world;
use crate::fixture::{PODS, World, pod};

const ACCOUNTS: &str = "/api/v1/namespaces/ns/serviceaccounts";
const OWN: &str = "https://issuer.example";

fn authenticator(server: &ApiServer) -> Arc<Authenticator> {
    let key = rcgen::KeyPair::generate().unwrap().serialize_der();
    let issuer = Issuer { name: OWN.to_owned(), keys_url: format!("{OWN}/openid/v1/jwks") };
    let accounts = Accounts::new(server.store().clone(), server.env().clone(), &key, issuer).unwrap();
    let mut who = Authenticator::new();
    who.add_accounts(Arc::new(accounts));
    who.add("static", User::new("carol", &["people"]));
    Arc::new(who)
}

/// A server with the account `robot` and a pod that runs as it.
async fn tokens() -> (World, Arc<Authenticator>) {
    let w = world().await;
    let who = authenticator(&w.server);
    w.server.trust(who.clone());
    w.post(ACCOUNTS, json!({"metadata": {"name": "robot"}})).await.created();
    let mut own = pod("p");
    own["spec"]["serviceAccountName"] = json!("robot");
    w.post(PODS, own).await.created();
    (w, who)
}

async fn issue(w: &World, spec: Value) -> String {
    let path = format!("{ACCOUNTS}/robot/token");
    let answer = w.post(&path, json!({"spec": spec})).await.created();
    answer["status"]["token"].as_str().unwrap().to_owned()
}

fn bound_to(kind: &str, name: &str) -> Value {
    json!({"boundObjectRef": {"apiVersion": "v1", "kind": kind, "name": name}})
}

fn user(who: &Authenticator, token: &str) -> Option<User> {
    who.user(Some(&format!("Bearer {token}")), None)
}

#[tokio::test(start_paused = true)]
async fn a_token_is_its_accounts_until_it_expires() {
    let (w, who) = tokens().await;
    let token = issue(&w, json!({"expirationSeconds": 600})).await;
    let robot = user(&who, &token).unwrap();
    assert_eq!(robot.name, "system:serviceaccount:ns:robot");
    assert_eq!(robot.groups, ["system:serviceaccounts", "system:serviceaccounts:ns", "system:authenticated"]);
    tokio::time::advance(Duration::from_secs(599)).await;
    assert!(user(&who, &token).is_some());
    // A minute of grace for clocks that differ.
    tokio::time::advance(Duration::from_secs(62)).await;
    assert_eq!(user(&who, &token), None);
}

#[tokio::test(start_paused = true)]
async fn a_pod_without_its_account_is_refused_where_accounts_are_made_and_default_is_waited_for() {
    let w = world().await;
    w.post(PODS, pod("free")).await.created();
    w.server.require_accounts();
    let mut other = pod("p");
    other["spec"]["serviceAccountName"] = json!("nobody");
    assert_eq!(
        w.post(PODS, other).await.refused(403),
        "pods \"p\" is forbidden: error looking up service account ns/nobody: serviceaccount \"nobody\" not found"
    );
    let w2 = w.clone();
    let waiting = tokio::spawn(async move { w2.post(PODS, pod("waits")).await.created() });
    tokio::time::sleep(Duration::from_millis(500)).await;
    w.post(ACCOUNTS, json!({"metadata": {"name": "default"}})).await.created();
    let made = waiting.await.unwrap();
    let volume = made["spec"]["volumes"][0]["name"].as_str().unwrap();
    assert!(volume.starts_with("kube-api-access-"), "{volume}");
    w.delete(&format!("{ACCOUNTS}/default"), json!(null)).await.ok();
    w.post(PODS, pod("late")).await.refused(403);
}

#[tokio::test(start_paused = true)]
async fn a_token_of_a_deleted_pod_secret_or_account_is_refused() {
    let (w, who) = tokens().await;
    w.post("/api/v1/namespaces/ns/secrets", json!({"metadata": {"name": "s"}})).await.created();
    let of_pod = issue(&w, bound_to("Pod", "p")).await;
    let of_secret = issue(&w, bound_to("Secret", "s")).await;
    let plain = issue(&w, json!({})).await;
    assert_eq!(user(&who, &of_pod).unwrap().extra["authentication.kubernetes.io/pod-name"], ["p"]);
    assert!(user(&who, &of_secret).is_some());
    w.delete(&format!("{PODS}/p"), json!({"gracePeriodSeconds": 0})).await.ok();
    assert_eq!(user(&who, &of_pod), None);
    w.delete("/api/v1/namespaces/ns/secrets/s", json!(null)).await.ok();
    assert_eq!(user(&who, &of_secret), None);
    assert!(user(&who, &plain).is_some());
    w.delete(&format!("{ACCOUNTS}/robot"), json!(null)).await.ok();
    assert_eq!(user(&who, &plain), None);
    w.post(ACCOUNTS, json!({"metadata": {"name": "robot"}})).await.created();
    assert_eq!(user(&who, &plain), None, "another account of the same name is another account");
}

#[tokio::test(start_paused = true)]
async fn a_token_for_others_opens_nothing_here_and_is_known_to_who_asks_for_them() {
    let (w, who) = tokens().await;
    let token = issue(&w, json!({"audiences": ["vault"]})).await;
    assert_eq!(user(&who, &token), None);
    let review = |token: &str, audiences: Value| {
        let body = json!({"spec": {"token": token, "audiences": audiences}});
        let w = w.clone();
        async move {
            w.post("/apis/authentication.k8s.io/v1/tokenreviews", body).await.created()["status"].clone()
        }
    };
    let known = review(&token, json!(["other", "vault"])).await;
    assert_eq!((known["authenticated"].clone(), known["audiences"].clone()), (json!(true), json!(["vault"])));
    assert_eq!(known["user"]["username"], "system:serviceaccount:ns:robot");
    let unknown = json!({"user": {}, "error": "invalid bearer token"});
    assert_eq!(review(&token, json!(null)).await, unknown);
    assert_eq!(review("nonsense", json!(null)).await, unknown);
    let carol = review("static", json!(null)).await;
    assert_eq!(
        (carol["user"]["username"].clone(), carol["audiences"].clone()),
        (json!("carol"), json!([OWN]))
    );
}

#[tokio::test(start_paused = true)]
async fn requests_for_tokens_are_judged_in_upstreams_words() {
    let (w, _) = tokens().await;
    w.post(ACCOUNTS, json!({"metadata": {"name": "other"}})).await.created();
    let ask = |name: &str, spec: Value| {
        let (w, path) = (w.clone(), format!("{ACCOUNTS}/{name}/token"));
        async move { w.post(&path, json!({"spec": spec})).await }
    };
    let short = ask("robot", json!({"expirationSeconds": 599})).await.refused(422);
    assert!(short.contains("may not specify a duration less than 10 minutes"), "{short}");
    let stranger = ask("other", bound_to("Pod", "p")).await.refused(400);
    let words =
        r#"cannot bind token for serviceaccount "other" to pod running with different serviceaccount name."#;
    assert_eq!(stranger, words);
    assert_eq!(ask("robot", bound_to("Pod", "q")).await.refused(404), r#"pods "q" not found"#);
    assert_eq!(ask("nobody", json!({})).await.refused(404), r#"serviceaccounts "nobody" not found"#);
    ask("robot", bound_to("ConfigMap", "x")).await.refused(400);
    let mut wrong = bound_to("Pod", "p");
    wrong["boundObjectRef"]["uid"] = json!("1");
    ask("robot", wrong).await.refused(409);
}

#[tokio::test(start_paused = true)]
async fn others_can_look_up_the_keys() {
    let (w, _) = tokens().await;
    let robot = w.as_user(User::new("system:serviceaccount:ns:robot", &["system:serviceaccounts"]));
    let document = robot.get("/.well-known/openid-configuration").await.ok();
    assert_eq!(
        (document["issuer"].as_str(), document["jwks_uri"].as_str()),
        (Some(OWN), Some("https://issuer.example/openid/v1/jwks"))
    );
    let keys = robot.get("/openid/v1/jwks").await.ok();
    assert_eq!(
        (keys["keys"][0]["crv"].as_str(), keys["keys"][0]["use"].as_str()),
        (Some("P-256"), Some("sig"))
    );
}
