//! The socket side: TLS, HTTP/1.1 and HTTP/2, bodies in and out. Knows requests only as bytes with a user.

mod body;
mod listen;

pub(crate) use listen::{CertificateEnd, Peer};
pub use listen::{Handler, Keys, Limits, Refuse, ServeError, Service, Tls, serve, serve_with};
