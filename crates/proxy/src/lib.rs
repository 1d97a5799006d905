//! Service addresses: what a Service's ClusterIP answers on the machine of the process nodes.
//!
//! ```text
//! Services, EndpointSlices, Pods, nodes ──watch──▶ Mirror ──plan──▶ Plan { routes, edits }
//!                                                    ▲                 │           │
//!                                  counts of what is open              ▼           ▼
//!                                                    │         listeners, snapshots  pod patches, fenced
//! client ──▶ 127.N.0.x:port ──pick──▶ Upstream (open, idle) ──▶ 127.N.64.x:port, a pod
//! ```
//!
//! - Ports with `appProtocol: http` are forwarded request by request, all other TCP ports connection by connection. What is
//!   open is counted for each endpoint, from before the first byte is sent until after the last was received.
//! - No request is ever repeated. Another endpoint is tried only when nothing was sent to the first.
//! - A pod that takes part in the drain protocol (`api_core::drain`) gets the Service's finalizer before its first request,
//!   and loses it when it is not chosen any more, nothing is open and no connection to it is left.
//! - It never connects outside 127.0.0.0/8: nobody who can write an EndpointSlice can point it at another machine.
//! - The forwarding side only reads snapshots. While the API server is away it goes on with the last ones.
//!
//! Which endpoint is eligible: ready ones. When a port has none, those that are terminating and still serving (as
//! kube-proxy does), except pods that take part in the drain protocol: those left service by agreement before.
//!
//! What is absent: UDP and SCTP, IPv6, TLS and HTTP/2 (they are forwarded as connections), external and load balancer
//! addresses, `internalTrafficPolicy`. It knows no workloads: who leaves service is decided by gates and EndpointSlices.

mod body;
mod config;
mod control;
mod edit;
mod facts;
mod headers;
mod http1;
mod l4;
mod listen;
mod mirror;
mod pick;
mod plan;
mod port;
mod status;
mod tell;
mod traffic;
mod upstream;

pub use config::{Config, Error};
pub use control::run;
