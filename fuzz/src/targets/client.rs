//! What a server answers: watch streams in any chunks, lists, refusals, and reviews by webhooks.

use std::sync::Arc;

use api_admission::hooks::Review;
use api_admission::review::{Role, answer, denied};
use api_client::{Body, Client, Error, ListOptions, Request, Response, Transport, WatchOptions};
use api_core::Pod;
use api_meta::Object;
use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, stream};
use stdx::BoxFuture;

use super::{Target, seeds};

pub(super) fn targets() -> Vec<Target> {
    vec![
        Target {
            name: "watch",
            run: watch,
            seeds: || {
                seeds(&[
                    "\u{7}{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"name\":\"a\",\"resourceVersion\":\"1\"}}}\n{\"type\":\"BOOKMARK\",\"object\":{\"metadata\":{\"resourceVersion\":\"2\"}}}\n\n{\"type\":\"ERROR\",\"object\":{\"kind\":\"Status\",\"code\":410,\"reason\":\"Expired\"}}\n",
                    "\u{1}{\"type\":\"DELETED\",\"object\":{}}\n",
                ])
            },
            words: &[
                "\"type\":",
                "\"object\":",
                "ADDED",
                "MODIFIED",
                "DELETED",
                "BOOKMARK",
                "ERROR",
                "\n",
                "metadata",
            ],
        },
        Target {
            name: "answer",
            run: list,
            seeds: || {
                seeds(&[
                    "{\"metadata\":{\"resourceVersion\":\"5\",\"continue\":\"x\",\"remainingItemCount\":3},\"items\":[{\"metadata\":{\"name\":\"a\"}}]}",
                    "!{\"kind\":\"Status\",\"status\":\"Failure\",\"reason\":\"Conflict\",\"code\":409,\"details\":{\"causes\":[{\"field\":\"f\"}],\"retryAfterSeconds\":1}}",
                ])
            },
            words: &[
                "metadata",
                "items",
                "null",
                "Status",
                "reason",
                "details",
                "causes",
                "Expired",
                "TooManyRequests",
            ],
        },
        Target {
            name: "review",
            run: review,
            seeds: || {
                seeds(&[
                    "{\"apiVersion\":\"admission.k8s.io/v1\",\"kind\":\"AdmissionReview\",\"response\":{\"uid\":\"u\",\"allowed\":true,\"patchType\":\"JSONPatch\",\"patch\":\"W10=\",\"warnings\":[\"w\"],\"auditAnnotations\":{\"a\":\"b\"}}}",
                    "{\"response\":{\"allowed\":false,\"status\":{\"code\":200,\"message\":\"m\",\"reason\":\"r\"}}}",
                ])
            },
            words: &["response", "uid", "allowed", "patch", "patchType", "status", "code", "warnings"],
        },
    ]
}

/// Gives the same bytes to every request, in chunks.
struct Canned {
    code: u16,
    chunks: Vec<Bytes>,
}

impl Transport for Canned {
    fn send(&self, _: Request) -> BoxFuture<Result<Response, Error>> {
        let chunks = self.chunks.clone();
        let mut response = http::Response::new(Body::Stream(Box::pin(stream::iter(chunks).map(Ok))));
        *response.status_mut() = http::StatusCode::from_u16(self.code).unwrap_or_default();
        Box::pin(async move { Ok(response) })
    }
}

fn client(code: u16, data: &[u8], chunk: usize) -> Client {
    let chunks = data.chunks(chunk).map(Bytes::copy_from_slice).collect();
    Client::new(Arc::new(Canned { code, chunks }), "fuzz")
}

/// The same events, however the bytes were cut.
fn watch(data: &[u8]) {
    let Some((cut, data)) = data.split_first() else { return };
    let cut = 1 + usize::from(*cut);
    assert_eq!(events(data, cut), events(data, data.len().max(1)));
}

fn events(data: &[u8], chunk: usize) -> Vec<String> {
    let client = client(200, data, chunk);
    let all = async {
        let stream = client.watch::<Pod>(&Pod::RESOURCE, "", &WatchOptions::default()).await;
        let Ok(mut stream) = stream else { return Vec::new() };
        let mut out = Vec::new();
        while let Some(event) = stream.next().await {
            let is_over = event.is_err();
            out.push(format!("{event:?}"));
            if is_over {
                break;
            }
        }
        out
    };
    all.now_or_never().expect("nothing here waits")
}

fn list(data: &[u8]) {
    let (code, data) = match data.split_first() {
        Some((b'!', rest)) => (409, rest),
        _ => (200, data),
    };
    let client = client(code, data, 4096);
    let listed = client.list::<Pod>(&Pod::RESOURCE, "", &ListOptions::default()).now_or_never();
    if let Err(e) = listed.expect("nothing here waits") {
        let _ = (e.to_string(), e.class());
    }
}

fn review(data: &[u8]) {
    for version in [Review::V1, Review::V1Beta1] {
        for role in [Role::Mutating, Role::Validating] {
            if let Ok(answer) = answer(version, "u", role, data) {
                let _ = denied("hook", &answer.result).to_string();
            }
        }
    }
}
