//! Whole requests: paths, queries, headers, bodies in every form and pages, through the pipeline of a server in memory.
//!
//! Every write says that it is a dry run, so that each input finds the same world; that this holds is checked.

use api_client::Request;
use base64::Engine as _;
use bytes::Bytes;
use serde_json::Value;

use super::{Target, seeds};
use crate::parts::{kind, split, texts, tree};
use crate::sample;
use crate::world::{Answer, World};

pub(super) fn targets() -> Vec<Target> {
    vec![
        Target { name: "request", run: request, seeds: requests, words: REQUEST },
        Target {
            name: "object",
            run: object,
            seeds: || sample::of_hot_kinds(|_, _, value| serde_json::to_vec(value).unwrap_or_default()),
            words: sample::WORDS,
        },
        Target {
            name: "yaml",
            run: yaml,
            seeds: || {
                seeds(&[
                    "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: y}\ndata:\n  a: |\n    two\n    lines\n  b: 'x: \"y\"'\n  c: \"\\u00e9\"\n",
                    "a: &a [1, 2]\nb: *a\nc: {<<: {d: 1}}\n--- \n",
                    "metadata:\n  name: x\nmetadata:\n  name: y\ndata: {? k : v, \"yes\": \"1\"}\n",
                    "data: {a: \"0x1f\", b: \"12:30:45\", c: \"~\", d: \"- x\", e: \" lead\", f: \"nul\\0\"}\n",
                ])
            },
            words: &[
                "&a", "*a", "<<:", "? ", "- ", ": ", "|", ">", "|+", "\n  ", "---\n", "...\n", "!!str", "!t",
                "'", "\"", "#", "{", "}", "[", "]",
            ],
        },
        Target {
            name: "continue",
            run: page,
            seeds: || {
                seeds(&[
                    "limit=1\0{\"v\":\"meta.k8s.io/v1\",\"rv\":5,\"start\":\"n/a\\u0000\"}",
                    "limit=0&labelSelector=a\0{\"v\":\"meta.k8s.io/v1\",\"rv\":-1,\"start\":\"n/a\\u0000\"}",
                    "resourceVersion=0&resourceVersionMatch=Exact\0{}",
                ])
            },
            words: REQUEST,
        },
        Target {
            name: "cron",
            run: cron,
            seeds: || {
                seeds(&[
                    "*/5 * * * *",
                    "0 0 1,15 jan-dec mon-fri/2",
                    "@every 1h30m",
                    "TZ=UTC @daily",
                    "59 23 31 12 7\0Europe/Berlin",
                ])
            },
            words: &[
                "*", "/", "-", ",", "@", "@yearly", "@every ", "TZ=", "CRON_TZ=", "sun", "feb", "?", "L", " ",
            ],
        },
    ]
}

const REQUEST: &[&str] = &[
    "GET ",
    "POST ",
    "PUT ",
    "PATCH ",
    "DELETE ",
    "/api/v1/",
    "/apis/x.io/v1/",
    "/apis/apps/v1/",
    "namespaces/n/",
    "configmaps",
    "pods",
    "widgets",
    "deployments",
    "services",
    "/a",
    "/status",
    "/scale",
    "/binding",
    "/eviction",
    "/log",
    "?",
    "&",
    "=",
    "%",
    "%00",
    "+",
    "watch=1",
    "limit=1",
    "continue=",
    "labelSelector=",
    "fieldSelector=",
    "resourceVersion=",
    "resourceVersionMatch=NotOlderThan",
    "sendInitialEvents=true",
    "allowWatchBookmarks=1",
    "timeoutSeconds=1",
    "fieldManager=m",
    "force=1",
    "fieldValidation=Strict",
    "pretty=1",
    "propagationPolicy=Orphan",
    "accept: ",
    "content-type: ",
    "application/json",
    "application/yaml",
    "application/vnd.kubernetes.protobuf",
    ";as=Table;v=v1;g=meta.k8s.io",
    ";as=PartialObjectMetadata;v=v1;g=meta.k8s.io",
    ";stream=watch",
    "q=0.5",
    "*/*",
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+yaml",
    "impersonate-user: u",
    "impersonate-group: g",
    "/version",
    "/openapi/v3",
    "/healthz",
    "/metrics",
    "/apis/authorization.k8s.io/v1/subjectaccessreviews",
    "in (a,b)",
    "metadata.name%3Da",
    "-1",
    "18446744073709551615",
    "0",
    "\n",
    "\n\n",
    "{}",
];

fn requests() -> Vec<Vec<u8>> {
    seeds(&[
        "GET /api/v1/namespaces/n/configmaps?limit=1&labelSelector=a%3Db&fieldSelector=metadata.name%3Da\naccept: application/json;as=Table;v=v1;g=meta.k8s.io,application/json;q=0.5\n\n",
        "GET /api/v1/namespaces/n/pods?watch=1&resourceVersion=0&allowWatchBookmarks=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&timeoutSeconds=5\naccept: application/vnd.kubernetes.protobuf;stream=watch\n\n",
        "POST /api/v1/namespaces/n/configmaps?fieldManager=m&fieldValidation=Strict\ncontent-type: application/json\n\n{\"metadata\":{\"generateName\":\"x-\"},\"data\":{\"k\":\"v\"},\"x\":1}",
        "PUT /api/v1/namespaces/n/pods/a/status\ncontent-type: application/yaml\naccept: application/yaml\n\nmetadata: {name: a}\nstatus: {phase: Running}\n",
        "PATCH /apis/x.io/v1/namespaces/n/widgets/a?fieldManager=m&force=true\ncontent-type: application/apply-patch+yaml\n\n{\"apiVersion\":\"x.io/v1\",\"kind\":\"Widget\",\"metadata\":{\"name\":\"a\"},\"spec\":{\"n\":2,\"l\":[\"x\"]}}",
        "PATCH /apis/apps/v1/namespaces/n/deployments/a/scale\ncontent-type: application/merge-patch+json\nimpersonate-user: u\nimpersonate-group: system:masters\n\n{\"spec\":{\"replicas\":3}}",
        "PATCH /api/v1/namespaces/n/configmaps/a\ncontent-type: application/json-patch+json\n\n[{\"op\":\"add\",\"path\":\"/data/x\",\"value\":\"1\"}]",
        "PATCH /api/v1/namespaces/n/services/a\ncontent-type: application/strategic-merge-patch+json\n\n{\"spec\":{\"ports\":[{\"port\":80,\"$patch\":\"delete\"},{\"port\":81}]}}",
        "DELETE /api/v1/namespaces/n/pods/a?gracePeriodSeconds=0&propagationPolicy=Foreground\ncontent-type: application/json\n\n{\"kind\":\"DeleteOptions\",\"preconditions\":{\"uid\":\"x\"}}",
        "DELETE /api/v1/namespaces/n/configmaps?labelSelector=a\n\n",
        "POST /api/v1/namespaces/n/pods/a/binding\ncontent-type: application/json\n\n{\"metadata\":{\"name\":\"a\"},\"target\":{\"kind\":\"Node\",\"name\":\"x\"}}",
        "POST /api/v1/namespaces/n/pods/a/eviction\ncontent-type: application/json\n\n{\"apiVersion\":\"policy/v1\",\"kind\":\"Eviction\",\"metadata\":{\"name\":\"a\"}}",
        "POST /apis/authorization.k8s.io/v1/selfsubjectaccessreviews\ncontent-type: application/json\n\n{\"spec\":{\"resourceAttributes\":{\"verb\":\"get\",\"resource\":\"pods\"}}}",
        "GET /apis/x.io/v1/namespaces/n/widgets?resourceVersion=1&resourceVersionMatch=Exact&fieldSelector=spec.n%3D1\naccept: application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io\n\n",
        "GET /version?pretty=true\naccept: application/yaml\n\n",
    ])
}

thread_local! {
    static WORLD: World = World::new();
}

/// Sends a request, which may not change the world nor be a fault of the server's.
fn send(request: Request) -> Answer {
    WORLD.with(|world| {
        let before = world.revision();
        let what = format!("{} {}", request.method(), request.uri());
        let answer = world.send(request);
        assert_eq!(world.revision(), before, "{what} was a dry run");
        let text = String::from_utf8_lossy(&answer.body[..answer.body.len().min(300)]).into_owned();
        assert!(!text.contains("panicked"), "{what}: {text}");
        answer
    })
}

/// `METHOD PATH`, headers, an empty line, a body.
fn request(data: &[u8]) {
    let end = data.windows(2).position(|w| w == b"\n\n").unwrap_or(data.len());
    let (head, body) = (&data[..end], data.get(end + 2..).unwrap_or_default());
    let Ok(head) = std::str::from_utf8(head) else { return };
    let mut lines = head.lines();
    let Some((method, path)) = lines.next().and_then(|l| l.split_once(' ')) else { return };
    let path = if method == "GET" { path.to_owned() } else { dry(path) };
    let mut request = http::Request::builder().method(method).uri(path);
    for (name, value) in lines.filter_map(|l| l.split_once(':')) {
        request = request.header(name.trim(), value.trim());
    }
    let Ok(request) = request.body(Bytes::copy_from_slice(body)) else { return };
    if request.uri().path().is_empty() {
        return;
    }
    let answer = send(request);
    assert!((100..600).contains(&answer.code));
}

/// The path of a request that changes nothing.
fn dry(path: &str) -> String {
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    let kept = query.split('&').filter(|p| !p.is_empty() && !p.starts_with("dryRun"));
    let query: Vec<&str> = ["dryRun=All"].into_iter().chain(kept).collect();
    format!("{path}?{}", query.join("&"))
}

fn posted(path: &str, media: &str, accept: &str, body: &[u8]) -> Answer {
    let request = http::Request::post(path).header("content-type", media).header("accept", accept);
    send(request.body(Bytes::copy_from_slice(body)).expect("the path is a good one"))
}

/// An object of any kind, created in its collection: decoded, defaulted, judged, and shown as a table.
fn object(data: &[u8]) {
    let [name, body] = split(data);
    let (kind, _) = kind(name);
    let Some(mut object) = tree(body).filter(Value::is_object) else { return };
    (object["apiVersion"], object["kind"]) = (kind.api_version().into(), kind.kind.as_str().into());
    let root = if kind.group.is_empty() { "/api" } else { "/apis" };
    let namespace = if kind.namespaced { "/namespaces/n" } else { "" };
    let path = format!("{root}/{}{namespace}/{}?dryRun=All", kind.api_version(), kind.plural);
    let body = object.to_string();
    let table = "application/json;as=Table;v=v1;g=meta.k8s.io";
    let made = posted(&path, "application/json", "application/json", body.as_bytes());
    assert_ne!(made.code, 500, "{path}: {}", String::from_utf8_lossy(&made.body));
    if made.code == 201 {
        assert_eq!(posted(&path, "application/json", table, body.as_bytes()).code, 201, "{path}");
        let protobuf =
            posted(&path, "application/json", "application/vnd.kubernetes.protobuf", body.as_bytes());
        assert_eq!(protobuf.code, 201, "{path}");
    }
}

/// A YAML body, and the answer in YAML beside the answer in JSON.
fn yaml(data: &[u8]) {
    const PATH: &str = "/api/v1/namespaces/n/configmaps?dryRun=All";
    let in_json = posted(PATH, "application/yaml", "application/json", data);
    let in_yaml = posted(PATH, "application/yaml", "application/yaml", data);
    assert_eq!(in_json.code, in_yaml.code);
    if in_json.code != 201 {
        return;
    }
    let plain = |mut v: Value| {
        // Each request makes an identity of its own.
        v["metadata"]["uid"].take();
        v
    };
    let json: Value = serde_json::from_slice(&in_json.body).expect("an answer in JSON");
    let yaml: Value = serde_yaml_ng::from_slice(&in_yaml.body).expect("an answer in YAML");
    assert_eq!(plain(yaml), plain(json));
}

/// A page whose token holds any bytes.
fn page(data: &[u8]) {
    let [query, token] = split(data);
    let Ok(query) = std::str::from_utf8(query) else { return };
    let token = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(token);
    for resource in ["api/v1/namespaces/n/configmaps", "api/v1/pods", "apis/x.io/v1/widgets"] {
        let path = format!("/{resource}?continue={token}&{query}");
        let Ok(request) = http::Request::get(path).body(Bytes::new()) else { return };
        let answer = send(request);
        assert_ne!(answer.code, 500, "{}", String::from_utf8_lossy(&answer.body));
    }
}

/// The line of a CronJob, and its time zone.
fn cron(data: &[u8]) {
    let Some([line, zone]) = texts(data) else { return };
    let pod = serde_json::json!({"containers": [{"name": "c", "image": "i"}], "restartPolicy": "Never"});
    let mut spec =
        serde_json::json!({"schedule": line, "jobTemplate": {"spec": {"template": {"spec": pod}}}});
    if !zone.is_empty() {
        spec["timeZone"] = zone.into();
    }
    let body = serde_json::json!({"metadata": {"name": "c"}, "spec": spec}).to_string();
    let path = "/apis/batch/v1/namespaces/n/cronjobs?dryRun=All";
    let answer = posted(path, "application/json", "application/json", body.as_bytes());
    assert!(matches!(answer.code, 201 | 422), "{}", String::from_utf8_lossy(&answer.body));
}
