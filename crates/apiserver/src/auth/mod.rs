//! Who a request is from (tokens, client certificates) and what they may do (a table until RBAC is there).

mod authenticate;
mod authorize;

pub(crate) use authenticate::certificate_user;
pub use authenticate::{Authenticator, TokenFileError};
pub use authorize::TableAuthorizer;
