//! The socket side: TLS, HTTP/1.1 and HTTP/2, bodies in and out. Knows requests only as bytes with a user.

mod body;
mod listen;

pub(crate) use listen::Peer;
pub use listen::{Handler, Limits, ServeError, Tls, serve};
