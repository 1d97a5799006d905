//! DELETE of a collection: what a selector finds, one after the other.

use std::sync::Arc;

use api_client::Response;
use store::Page;

use super::delete::{Options, remove};
use super::list::{Filter, page};
use crate::pipeline::decode;
use crate::refuse::Outcome;
use crate::registry::Served;
use crate::represent;
use crate::request::{As, Form};
use crate::server::Call;

/// DELETE of a collection; answers with what it was.
pub(crate) async fn delete_collection(call: &Call, served: &Arc<Served>) -> Outcome<Response> {
    let mut accept = call.accepted()?;
    decode::check_size(call)?;
    let options = Options::of(call)?;
    let filter = Filter::of(call, served)?;
    let page = page(call, served, &filter).await?;
    for item in &page.items {
        match remove(call, served, &item.key.name, &options).await {
            Err(refusal) if refusal.status.code != 404 => return Err(refusal),
            _ => {}
        }
    }
    if let As::Partial(_) = accept.shape {
        accept.shape = As::Object;
        // What of a custom kind has a message is its metadata alone.
        if served.is_custom() && accept.form == Form::Protobuf {
            accept.form = Form::Json;
        }
    }
    let whole = Page { more: false, remaining: None, ..page };
    represent::list(call, served, whole, None, accept).await
}
