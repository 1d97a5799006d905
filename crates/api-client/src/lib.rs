//! The one seam between controllers and an API server.
//!
//! ```text
//! controllers, scheduler, nodes, cli
//!        |  Client: get list watch create patch delete
//!   Transport: one http::Request in, one http::Response out
//!        |                         |
//!  in process (apiserver)     network (api-client-kube)
//! ```
//!
//! The seam speaks HTTP's words without its socket, so the in-process caller takes the same request pipeline as a remote
//! one, entering right after the socket. What is absent: TLS, kubeconfigs, retries of writes (who plans decides again).

mod client;
mod error;
mod reflector;
mod transport;
mod watch;

pub use client::{Client, DeleteOptions, List, ListMeta, ListOptions, MetaOnly, Patch, WriteOptions};
pub use error::{Class, Error};
pub use reflector::{Consumer, Delta, Reflector, Seen};
pub use transport::{Body, BodyStream, Request, Response, Transport};
pub use watch::{WatchEvent, WatchOptions, WatchStream};
