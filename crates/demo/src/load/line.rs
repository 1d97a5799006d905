//! What a load says: one JSON object per line, times in microseconds since 1970.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// One line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "line", rename_all = "camelCase")]
pub enum Line {
    /// The first one.
    Start(Start),
    /// Figures of a tick.
    Tick(Tick),
    /// A request that failed.
    Failure(Failure),
    /// The last one.
    End(End),
}

/// How the load was asked to run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Start {
    /// When the first request was due.
    pub at: i64,
    /// What is asked for.
    pub url: String,
    /// Requests due per second.
    pub rate: f64,
    /// Connections at the start.
    pub connections: usize,
    /// Connections at most.
    pub connections_max: usize,
    /// Time a request has from when it is due.
    pub timeout_ms: u64,
}

/// What happened between two moments.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Tick {
    /// From.
    pub at: i64,
    /// To.
    pub until: i64,
    /// Requests that became due and were begun.
    pub sent: u64,
    /// Requests that were answered with 2xx, wholly.
    pub ok: u64,
    /// Requests that failed; each is a [`Failure`] of its own.
    pub failed: u64,
    /// Of those that ended: begun on the wire 10 ms or more after they were due.
    pub late: u64,
    /// Requests still open at `until`.
    pub open: u64,
    /// Connections at `until`.
    pub connections: usize,
    /// Half of the answers came within so many microseconds of when they were due.
    pub p50_us: u32,
    /// 99 of 100 answers did.
    pub p99_us: u32,
    /// All answers did.
    pub max_us: u32,
    /// Answers by the `version` in their body.
    pub versions: BTreeMap<String, u64>,
}

/// Why a request counts as failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum FailureKind {
    /// No connection could be opened.
    Connect,
    /// The connection was closed before the answer was there, wholly.
    Closed,
    /// The answer was not 2xx.
    Status,
    /// The answer did not come in time.
    Timeout,
    /// All connections were busy until the time was over: it was never sent.
    Unsent,
}

/// A request that failed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// When it was due.
    pub due: i64,
    /// When it had failed.
    pub end: i64,
    /// How.
    pub kind: FailureKind,
    /// Status of the answer, where there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Header `x-knarr-endpoint` of the answer: who was to serve it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub endpoint: String,
    /// Header `x-knarr-proxy` of the answer: what the proxy says of it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub proxy: String,
    /// Words of the failure.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
}

/// The sums.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct End {
    /// When the last request had its outcome.
    pub at: i64,
    /// All requests.
    pub sent: u64,
    /// Answered with 2xx.
    pub ok: u64,
    /// Failed.
    pub failed: u64,
    /// Failed, but not listed one by one: more came in one tick than are listed.
    pub unlisted: u64,
    /// Begun late.
    pub late: u64,
    /// Connections opened in all; without failures and queues it is the number of the first ones.
    pub opened: u64,
}
