//! The stages every request passes, in this order.
//!
//! ```text
//! authenticate   before this room: the caller hands over a User, who may act as another one
//! authorize      the authorizer's verdict
//! flow control   a seat in the lane of the request, at once or in turn
//! decode         body -> tree, unknown and duplicate fields judged       \
//! convert        version of the request <-> version of storage           |
//! mutate         built-in admission                                      | called by the verbs, because a patch
//! default        schema defaults, then the kind's                        | decodes after it was laid over the
//! validate       metadata, schema, kind                                  | stored object, and again on conflict
//! managed fields who owns what                                           |
//! commit         one conditional write                                  /
//! audit          one line, the metrics, the audit log
//! ```

pub(crate) mod admit;
mod audit;
mod authorize;
pub(crate) mod commit;
pub(crate) mod convert;
pub(crate) mod decode;
pub(crate) mod escalate;
mod flow;
mod impersonate;
pub(crate) mod metadata;
pub(crate) mod owners;
pub(crate) mod protobuf;
pub(crate) mod read_yaml;
pub(crate) mod validate;

use api_client::Response;

pub(crate) use admit::{DefaultClass, SYSTEM_CLASSES, Turnstiles};
pub(crate) use audit::{audit, id, received};

use crate::refuse::Outcome;
use crate::route;
use crate::server::Call;

/// Takes one request through all stages.
pub(crate) async fn run(call: &mut Call) -> Outcome<Response> {
    if let Some(user) = impersonate::wanted(call)? {
        call.caller = Some(std::mem::replace(&mut call.user, user));
    }
    let call = &*call;
    authorize::check(call)?;
    let place = flow::enter(call).await?;
    let response = route::dispatch(call).await?;
    Ok(flow::hold(call, place, response))
}
