//! A page as a list: its head, then the items one after the other.

use std::sync::Arc;

use api_client::Response;
use api_meta::Reason;
use bytes::Bytes;
use futures_util::stream;
use serde_json::{Value, json};
use store::{Page, Stored};

use super::{Place, View, protobuf, table};
use crate::answer;
use crate::pipeline::convert;
use crate::refuse::{Outcome, refuse};
use crate::registry::Served;
use crate::request::{Accept, As, Form};
use crate::server::Call;
use crate::stored;
use crate::verbs::streamed;

/// The answer to a list; `next` leads to the next page.
pub(crate) async fn list(
    call: &Call,
    served: &Arc<Served>,
    page: Page,
    next: Option<String>,
    accept: Accept,
) -> Outcome<Response> {
    if matches!(accept.shape, As::Partial(_)) {
        let kind = &served.list_kind;
        let text =
            format!("you requested PartialObjectMetadata, but the requested object is a list (*{kind})");
        return Err(refuse(Reason::NotAcceptable, text));
    }
    let view = View::of(call, served, accept)?;
    let metadata = list_metadata(served, &page, next);
    if let As::Table(version) = accept.shape {
        let table = table::list(&view, &page.items, metadata, version).await?;
        return answer::tree(200, accept.form, &table);
    }
    if accept.form == Form::Protobuf {
        return protobuf::list(view, page.items, &metadata, call.server.limits.list_chunk_items).await;
    }
    let head = head(&view, &metadata);
    let chunk = call.server.limits.list_chunk_items;
    if page.items.len() <= chunk || accept.form != Form::Json {
        let mut out = head;
        if page.items.is_empty() && matches!(accept.shape, As::PartialList(_)) {
            // As upstream: an empty list of metadata has no items at all.
            out.truncate(out.len() - 1);
            out.extend_from_slice(b"null}");
            return answer::json(200, accept.form, out);
        }
        items(&view, &page.items, &mut out, true).await?;
        out.extend_from_slice(b"]}");
        return answer::json(200, accept.form, out);
    }
    Ok(in_parts(view, page.items, head, chunk))
}

fn list_metadata(served: &Served, page: &Page, next: Option<String>) -> Value {
    let mut metadata = json!({"resourceVersion": page.revision.to_string()});
    match next {
        Some(token) => {
            metadata["continue"] = Value::String(token);
            if let Some(remaining) = page.remaining {
                metadata["remainingItemCount"] = json!(remaining);
            }
        }
        None if served.is_custom() => metadata["continue"] = json!(""),
        None => {}
    }
    metadata
}

fn head(view: &View, metadata: &Value) -> Vec<u8> {
    let (api_version, kind) = list_kind(view);
    format!("{{\"kind\":\"{kind}\",\"apiVersion\":\"{api_version}\",\"metadata\":{metadata},\"items\":[")
        .into_bytes()
}

/// `apiVersion` and `kind` of a list.
pub(super) fn list_kind(view: &View) -> (String, String) {
    match view.shape {
        As::PartialList(version) => {
            (format!("meta.k8s.io/{version}"), "PartialObjectMetadataList".to_owned())
        }
        _ => (view.served.resource.api_version(), view.served.list_kind.clone()),
    }
}

async fn items(view: &View, all: &[Arc<Stored>], out: &mut Vec<u8>, is_first: bool) -> Outcome<()> {
    let mut together = if convert::is_outside(&view.served) {
        convert::plains(&view.served, all).await?.into_iter()
    } else {
        Vec::new().into_iter()
    };
    for (i, item) in all.iter().enumerate() {
        if i > 0 || !is_first {
            out.push(b',');
        }
        let plain = match together.next() {
            Some(plain) => plain,
            None => convert::plain(&view.served, stored::unpack(item)?).await?,
        };
        view.write(out, &plain, item.revision, Place::Item, false)?;
    }
    Ok(())
}

/// A long list is encoded as the client reads it; the snapshot is held by its items.
fn in_parts(view: View, all: Vec<Arc<Stored>>, head: Vec<u8>, chunk: usize) -> Response {
    let state = (view, all, 0usize, Some(head));
    let chunks = stream::unfold(state, move |(view, all, at, mut head)| async move {
        if at > all.len() {
            return None;
        }
        let end = (at + chunk).min(all.len());
        let is_first = head.is_some();
        let mut out = head.take().unwrap_or_default();
        if let Err(refusal) = items(&view, &all[at..end], &mut out, is_first).await {
            // The status line is long gone; a torn list is the only way left to say so.
            tracing::error!(why = %refusal.status.message, "list broken off");
            return None;
        }
        let next = if end == all.len() {
            out.extend_from_slice(b"]}");
            all.len() + 1
        } else {
            end
        };
        Some((Bytes::from(out), (view, all, next, None)))
    });
    let mut response = answer::full(200, "application/json", Bytes::new());
    *response.body_mut() = streamed(chunks);
    response
}
