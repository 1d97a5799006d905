//! Who a request is from (tokens, client certificates, tokens of service accounts) and what they may do (rows of this
//! product's own components, roles and bindings in the store).

mod accounts;
mod authenticate;
mod authorize;
mod jwt;
mod roles;

pub use accounts::{Accounts, Issuer};
pub(crate) use accounts::{Bound, Grant, Known};
pub use authenticate::{Authenticator, TokenFileError};
pub(crate) use authenticate::{certificate_end, certificate_user};
pub use authorize::TableAuthorizer;
pub use jwt::KeyError;
pub use roles::Rbac;
