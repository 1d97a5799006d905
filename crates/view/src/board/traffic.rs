//! Requests and failures: totals that others count, turned into what moved between two looks.

use std::collections::{BTreeMap, VecDeque};

use serde::Serialize;
use serde_json::Value;
use stdx::Time;

/// What a proxy has counted since it started.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TrafficReading {
    services: BTreeMap<String, ServiceReading>,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct ServiceReading {
    requests: u64,
    failed: u64,
    endpoints: BTreeMap<String, EndpointReading>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct EndpointReading {
    requests: u64,
    open: u64,
}

/// What a load generator has counted since it started: the clients' view. All counts are totals.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LoadReading {
    /// Milliseconds on the generator's own clock; only differences count.
    pub t: f64,
    /// Requests sent.
    pub sent: u64,
    /// Answered as they should be.
    pub ok: u64,
    /// Not answered, or otherwise.
    pub failed: u64,
    /// Median time to answer lately, milliseconds.
    pub p50_ms: f64,
    /// 99th percentile of the same.
    pub p99_ms: f64,
}

/// What moved since the look before.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Tick {
    /// The moment, milliseconds since the epoch.
    pub at: i64,
    /// Through the proxy, by service as `NAMESPACE/NAME`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub services: BTreeMap<String, Moved>,
    /// At the load generator.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load: Option<Moved>,
    /// Pods with traffic, as `NAMESPACE/NAME`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub pods: BTreeMap<String, PodMoved>,
}

/// Requests that moved, and totals.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Moved {
    /// Requests per second.
    pub rps: f64,
    /// Failed since the tick before.
    pub failed: u64,
    /// All that were ever counted.
    pub requests_total: u64,
    /// Of these, failed.
    pub failed_total: u64,
    /// Median time to answer, milliseconds; 0 where nobody measures it.
    #[serde(skip_serializing_if = "is_zero")]
    pub p50_ms: f64,
    /// 99th percentile of the same.
    #[serde(skip_serializing_if = "is_zero")]
    pub p99_ms: f64,
}

/// Traffic of one pod.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct PodMoved {
    /// Open requests.
    pub open: u64,
    /// Requests per second.
    pub rps: f64,
}

fn is_zero(x: &f64) -> bool {
    *x == 0.0
}

impl TrafficReading {
    /// From the proxy's `/traffic`: a list of services, bare or under `services`.
    pub fn of(body: &Value) -> TrafficReading {
        let list = body.as_array().or_else(|| body["services"].as_array());
        let service = |s: &Value| {
            let key = format!("{}/{}", s["namespace"].as_str()?, s["name"].as_str()?);
            let namespace = s["namespace"].as_str()?;
            let mut endpoints: BTreeMap<String, EndpointReading> = BTreeMap::new();
            // A pod has one row for each port.
            for (pod, row) in
                s["endpoints"].as_array().into_iter().flatten().filter_map(|e| endpoint(namespace, e))
            {
                let sum = endpoints.entry(pod).or_default();
                sum.requests += row.requests;
                sum.open += row.open;
            }
            Some((
                key,
                ServiceReading {
                    requests: count(&s["totals"]["requests"]),
                    failed: count(&s["totals"]["failed"]),
                    endpoints,
                },
            ))
        };
        TrafficReading { services: list.into_iter().flatten().filter_map(service).collect() }
    }
}

fn endpoint(namespace: &str, e: &Value) -> Option<(String, EndpointReading)> {
    let pod = e["pod"].as_str().filter(|p| !p.is_empty())?;
    // Pods of Services are in the Service's namespace; a proxy may say so itself.
    let key = if pod.contains('/') { pod.to_owned() } else { format!("{namespace}/{pod}") };
    Some((key, EndpointReading { requests: count(&e["requests"]), open: count(&e["open"]) }))
}

fn count(v: &Value) -> u64 {
    v.as_u64().unwrap_or(0)
}

impl LoadReading {
    /// From a posted report; nothing when it is none.
    pub fn of(body: &Value) -> Option<LoadReading> {
        let number = |name: &str| body[name].as_f64().filter(|n| n.is_finite());
        Some(LoadReading {
            t: number("t")?,
            sent: count(&body["sent"]),
            ok: count(&body["ok"]),
            failed: body["failed"].as_u64()?,
            p50_ms: number("p50_ms").unwrap_or(0.0),
            p99_ms: number("p99_ms").unwrap_or(0.0),
        })
    }
}

/// Rates are taken over so many looks: a single one is too short to be steady.
const WINDOW: usize = 4;

/// Remembers the totals of the last looks.
#[derive(Clone, Debug, Default)]
pub struct Meter {
    /// Oldest first.
    traffic: VecDeque<(Time, TrafficReading)>,
    load: Option<LoadReading>,
    moved: Option<Moved>,
    fresh: u64,
}

impl Meter {
    /// Takes in what the load generator has counted. Totals that went back belong to a new run.
    pub fn load(&mut self, new: LoadReading) {
        let old = self.load.replace(new).filter(|old| old.sent <= new.sent && old.t < new.t);
        let rate = |old: LoadReading| {
            (new.ok + new.failed).saturating_sub(old.ok + old.failed) as f64 * 1000.0 / (new.t - old.t)
        };
        self.fresh += new.failed - old.map_or(0, |o| o.failed.min(new.failed));
        self.moved = Some(Moved {
            rps: old.map_or(0.0, rate).round(),
            failed: 0,
            requests_total: new.ok + new.failed,
            failed_total: new.failed,
            p50_ms: new.p50_ms,
            p99_ms: new.p99_ms,
        });
    }

    /// The load generator has stopped.
    pub fn load_ended(&mut self) {
        self.moved = self.moved.map(|m| Moved { rps: 0.0, p50_ms: 0.0, p99_ms: 0.0, ..m });
    }

    /// What moved since the last look. No reading means that the proxy did not answer, or that there is none.
    pub fn tick(&mut self, traffic: Option<TrafficReading>, now: Time) -> Tick {
        let mut tick = Tick { at: super::app::millis(now), ..Tick::default() };
        let fresh = std::mem::take(&mut self.fresh);
        tick.load = self.moved.map(|m| Moved { failed: fresh, ..m });
        let Some(new) = traffic else { return tick };
        let empty = (now, TrafficReading::default());
        let (since, first) = self.traffic.front().unwrap_or(&empty);
        let last = self.traffic.back().map_or(&empty.1, |(_, reading)| reading);
        let secs = now.since(*since).as_secs_f64();
        let rate = |moved: u64| if secs > 0.0 { (moved as f64 / secs).round() } else { 0.0 };
        for (key, service) in &new.services {
            let requests = first.services.get(key).map_or(0, |b| service.requests.saturating_sub(b.requests));
            let failed = last.services.get(key).map_or(0, |b| service.failed.saturating_sub(b.failed));
            let moved = Moved {
                rps: rate(requests),
                failed,
                requests_total: service.requests,
                failed_total: service.failed,
                ..Moved::default()
            };
            tick.services.insert(key.clone(), moved);
            for (pod, end) in &service.endpoints {
                let was = first.services.get(key).and_then(|b| b.endpoints.get(pod));
                let at = tick.pods.entry(pod.clone()).or_default();
                at.open += end.open;
                at.rps += rate(end.requests.saturating_sub(was.map_or(end.requests, |e| e.requests)));
            }
        }
        self.traffic.push_back((now, new));
        if self.traffic.len() > WINDOW {
            self.traffic.pop_front();
        }
        tick.pods.retain(|_, p| p.open > 0 || p.rps > 0.0);
        tick
    }
}
