//! Paths that are no resources: version, health, metrics, and the documents that describe the API.

use api_client::Response;
use bytes::Bytes;
use futures_util::stream;
use http::Method;
use serde_json::json;

use crate::answer;
use crate::pipeline::commit;
use crate::refuse::{Outcome, internal, method_not_allowed, no_page, unknown_path};
use crate::request::Form;
use crate::server::Call;
use crate::verbs;

/// Checks that the health paths name.
const CHECKS: [&str; 3] = ["ping", "log", "store"];
/// The one of readiness alone.
const SHUTDOWN: &str = "shutdown";

/// Answers a bare path.
pub(crate) fn answer(call: &Call) -> Outcome<Response> {
    if let Some(response) = documents(call) {
        return Ok(response);
    }
    let path = call.target.path.as_str();
    if !matches!(*call.method(), Method::GET | Method::HEAD) {
        return Err(if path == "/version" { method_not_allowed() } else { no_page() });
    }
    let mut parts = path.trim_start_matches('/').split('/');
    match (parts.next(), parts.next(), parts.next()) {
        (Some("version"), None, _) => version(call),
        (Some(name @ ("healthz" | "livez" | "readyz")), check, None) => health(call, name, check),
        (Some("metrics"), None, _) => Ok(metrics(call)),
        (Some("knarr"), Some("backup"), None) => backup(call),
        (Some(""), None, _) => paths(call),
        (Some(".well-known"), Some("openid-configuration"), None) => discovery(call),
        (Some("openid"), Some("v1"), Some("jwks")) => keys(call),
        (Some("api" | "apis"), Some(_), Some(_)) if call.snapshot.has_group(&call.target.group) => {
            Err(unknown_path())
        }
        _ => Err(no_page()),
    }
}

fn documents(call: &Call) -> Option<Response> {
    let mut request = http::Request::from_parts(call.head.clone(), call.body.clone());
    if call.head.uri.path().len() > 1 && call.head.uri.path().ends_with('/') {
        let query = call.head.uri.query().map(|q| format!("?{q}")).unwrap_or_default();
        if let Ok(uri) = format!("{}{query}", call.target.path).parse() {
            *request.uri_mut() = uri;
        }
    }
    call.server.documents.iter().find_map(|d| d.answer(&call.snapshot, &request))
}

fn version(call: &Call) -> Outcome<Response> {
    let v = &call.server.version;
    let mut numbers = v.git_version.trim_start_matches('v').split('.');
    let (major, minor) = (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default());
    let tree = json!({
        "major": major,
        "minor": minor,
        "gitVersion": v.git_version,
        "gitCommit": v.git_commit,
        "gitTreeState": "clean",
        "buildDate": v.build_date,
        "goVersion": "none",
        "emulationMajor": major,
        "emulationMinor": minor,
        "minCompatibilityMajor": major,
        "minCompatibilityMinor": minor,
        "compiler": "rustc",
        "platform": v.platform,
    });
    answer::tree(200, Form::Pretty, &tree)
}

fn health(call: &Call, name: &str, check: Option<&str>) -> Outcome<Response> {
    // A server that is about to go is well, and not ready.
    let fails = |check: &str| check == SHUTDOWN && call.server.is_going();
    let checks = || CHECKS.into_iter().chain((name == "readyz").then_some(SHUTDOWN));
    if let Some(check) = check {
        return match checks().find(|known| *known == check) {
            Some(check) if fails(check) => Ok(answer::text(500, "internal server error: shutting down\n")),
            Some(_) => Ok(answer::text(200, "ok")),
            None => Err(no_page()),
        };
    }
    let is_failed = checks().any(fails);
    if !call.query.has("verbose") && !is_failed {
        return Ok(answer::text(200, "ok"));
    }
    let line = |check: &str| match fails(check) {
        true => format!("[-]{check} failed: reason withheld\n"),
        false => format!("[+]{check} ok\n"),
    };
    let lines: String = checks().map(line).collect();
    Ok(match is_failed {
        true => answer::text(500, format!("{lines}{name} check failed\n")),
        false => answer::text(200, format!("{lines}{name} check passed\n")),
    })
}

fn metrics(call: &Call) -> Response {
    let server = &call.server;
    let mut text = server.metrics.text(
        &server.store.stats(),
        &server.store.resources(),
        &server.version,
        server.store.is_read_only(),
    );
    text.push_str(&server.gate.figures());
    text.push_str(&server.further_figures());
    answer::full(200, "text/plain; version=0.0.4; charset=utf-8", text)
}

/// How tokens of service accounts can be checked by others.
fn discovery(call: &Call) -> Outcome<Response> {
    let accounts = call.server.accounts().ok_or_else(no_page)?;
    Ok(for_an_hour("application/json", &accounts.discovery()))
}

/// The keys to check them with.
fn keys(call: &Call) -> Outcome<Response> {
    let accounts = call.server.accounts().ok_or_else(no_page)?;
    Ok(for_an_hour("application/jwk-set+json", &accounts.key_set()))
}

fn for_an_hour(media_type: &'static str, tree: &serde_json::Value) -> Response {
    let mut response = answer::full(200, media_type, tree.to_string());
    let hour = http::HeaderValue::from_static("public, max-age=3600");
    response.headers_mut().insert(http::header::CACHE_CONTROL, hour);
    response
}

/// All objects of this moment, for `knarr store backup`. A stream that breaks off has no end, which the reader notices.
fn backup(call: &Call) -> Outcome<Response> {
    let parts = call.server.store.backup().map_err(|e| commit::failed(&e))?;
    // Behind the objects, and only when asked for: keys are of no use to who wants the objects.
    let files = match call.query.flag("keys") {
        true => {
            let files = call.server.kept_files();
            let files = files.map_err(|e| internal(format!("read the cluster's keys: {e}")))?;
            Some(store::attach(&files).map_err(|e| commit::failed(&e))?)
        }
        false => None,
    };
    let parts = parts.chain(files.map(Ok)).map_while(|part| {
        part.inspect_err(|error| tracing::error!(%error, "backup broken off")).map(Bytes::from).ok()
    });
    let mut response = answer::full(200, "application/octet-stream", Bytes::new());
    *response.body_mut() = verbs::streamed(stream::iter(parts));
    Ok(response)
}

/// Every path there is, for people who look around.
fn paths(call: &Call) -> Outcome<Response> {
    let mut all = Vec::new();
    if call.server.accounts().is_some() {
        all.push("/.well-known/openid-configuration".to_owned());
    }
    all.extend(["/api", "/api/v1", "/apis"].map(str::to_owned));
    for group in call.snapshot.groups().iter().filter(|g| !g.name.is_empty()) {
        all.push(format!("/apis/{}", group.name));
        all.extend(group.versions.iter().map(|v| format!("/apis/{}/{v}", group.name)));
    }
    all.extend(["/healthz", "/livez", "/metrics", "/openapi/v2", "/openapi/v3"].map(str::to_owned));
    if call.server.accounts().is_some() {
        all.push("/openid/v1/jwks".to_owned());
    }
    all.extend(["/readyz", "/version"].map(str::to_owned));
    answer::tree(200, Form::Pretty, &json!({"paths": all}))
}
