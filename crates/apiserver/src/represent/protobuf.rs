//! Objects, lists and events in Kubernetes' protobuf form, translated from the JSON they rest in.
//!
//! ```text
//! stored bytes --splice--> JSON with its version --transcode--> message --seal--> "k8s\0" Unknown{typeMeta, raw}
//! ```
//!
//! No typed structs and no trees are between. What is absent: tables (upstream has no message for them) and objects of
//! custom kinds; both are settled when the form of the answer is chosen.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use api_client::Response;
use api_meta::Reason;
use api_schema::{Schema, proto};
use api_tables::tables;
use bytes::Bytes;
use futures_util::stream;
use serde_json::Value;
use store::{Revision, Stored};

use super::list::list_kind;
use super::{Place, View};
use crate::answer;
use crate::pipeline::convert;
use crate::refuse::{Outcome, Refusal, internal, refuse};
use crate::request::{As, Form};
use crate::stored;
use crate::verbs::streamed;

/// Most bytes of events that are kept for further watchers.
const KEPT_BYTES_MAX: usize = 8 << 20;

/// A tree that names its kind, in its wrapper: a `Status`, a review, a document of discovery.
pub(crate) fn tree(tree: &Value) -> Outcome<Vec<u8>> {
    let text = |key: &str| tree[key].as_str().unwrap_or_default();
    // Some documents of discovery leave the version out.
    let api_version = if text("apiVersion").is_empty() { "v1" } else { text("apiVersion") };
    let schema = schema(api_version, text("kind")).ok_or_else(|| no_message(text("kind")))?;
    let raw = proto::encode(schema, tree).map_err(failed)?;
    Ok(proto::seal(api_version, text("kind"), &raw))
}

/// An object in its wrapper.
pub(crate) fn object(view: &View, plain: &[u8], revision: Revision) -> Outcome<Bytes> {
    let (api_version, kind) = view.kind();
    let mut encoder = Encoder::of(view)?;
    let raw = encoder.message(view, plain, revision)?;
    Ok(proto::seal(&api_version, &kind, raw).into())
}

/// The type of a whole object; the metadata alone is the same in both of its versions.
fn schema(api_version: &str, kind: &str) -> Option<Schema<'static>> {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let version = if group == "meta.k8s.io" { "v1" } else { version };
    tables().schema(group, version, kind)
}

fn failed(error: proto::ProtoError) -> Box<Refusal> {
    internal(format!("encode as protobuf: {error}"))
}

fn no_message(kind: &str) -> Box<Refusal> {
    let text =
        "does not implement the protobuf marshalling interface and cannot be encoded to a protobuf message";
    refuse(Reason::NotAcceptable, format!("object {kind} {text}"))
}

/// Makes messages of one kind; its buffers serve one object after the other.
struct Encoder {
    schema: Schema<'static>,
    json: Vec<u8>,
    message: Vec<u8>,
}

impl Encoder {
    fn of(view: &View) -> Outcome<Encoder> {
        let (api_version, kind) = view.kind();
        let schema = schema(&api_version, &kind).ok_or_else(|| no_message(&kind))?;
        Ok(Encoder { schema, json: Vec::new(), message: Vec::new() })
    }

    fn message(&mut self, view: &View, plain: &[u8], revision: Revision) -> Outcome<&[u8]> {
        self.json.clear();
        view.write(&mut self.json, plain, revision, Place::Alone, false)?;
        self.message.clear();
        proto::transcode(self.schema, &self.json, &mut self.message).map_err(failed)?;
        Ok(&self.message)
    }

    async fn stored(&mut self, view: &View, item: &Stored) -> Outcome<&[u8]> {
        let plain = convert::plain(&view.served, stored::unpack(item)?).await?;
        self.message(view, &plain, item.revision)
    }
}

/// Field numbers of a list.
#[derive(Clone, Copy)]
struct Tags {
    metadata: u32,
    items: u32,
}

impl Tags {
    fn of(view: &View) -> Tags {
        match view.shape {
            // The one list that has them the other way round.
            As::PartialList("v1beta1") => Tags { metadata: 2, items: 1 },
            _ => Tags { metadata: 1, items: 2 },
        }
    }
}

/// A list. Its length stands in front of it: a long one is measured first and then made again as the client reads it, so
/// that no list is ever whole in memory.
pub(super) async fn list(
    view: View,
    items: Vec<Arc<Stored>>,
    metadata: &Value,
    chunk: usize,
) -> Outcome<Response> {
    let (api_version, kind) = list_kind(&view);
    let tags = Tags::of(&view);
    let mut head = Vec::new();
    let list_meta = tables().names.get("io.k8s.apimachinery.pkg.apis.meta.v1.ListMeta");
    let list_meta = list_meta.map(|id| tables().schema_of(*id)).ok_or_else(|| no_message("ListMeta"))?;
    proto::field(&mut head, tags.metadata, &proto::encode(list_meta, metadata).map_err(failed)?);
    let mut encoder = Encoder::of(&item_view(&view))?;
    let view = item_view(&view);
    if items.len() <= chunk {
        append(&view, &items, tags, &mut encoder, &mut head).await?;
        return Ok(answer::full(200, Form::Protobuf.media_type(), proto::seal(&api_version, &kind, &head)));
    }
    let mut length = head.len();
    for part in items.chunks(chunk) {
        for item in part {
            length += proto::field_length(encoder.stored(&view, item).await?.len());
        }
        tokio::task::yield_now().await;
    }
    let (before, after) = proto::seal_around(&api_version, &kind, length);
    let parts = Parts { view, items, tags, encoder, chunk, at: 0, before: [before, head].concat(), after };
    let mut response = answer::full(200, Form::Protobuf.media_type(), Bytes::new());
    *response.body_mut() = streamed(stream::unfold(parts, Parts::next));
    Ok(response)
}

/// How the items of a list are shown.
fn item_view(view: &View) -> View {
    let shape = match view.shape {
        As::PartialList(version) => As::Partial(version),
        shape => shape,
    };
    View { shape, ..view.clone() }
}

async fn append(
    view: &View,
    items: &[Arc<Stored>],
    tags: Tags,
    encoder: &mut Encoder,
    out: &mut Vec<u8>,
) -> Outcome<()> {
    for item in items {
        proto::field(out, tags.items, encoder.stored(view, item).await?);
    }
    Ok(())
}

/// A list on its way; the snapshot is held by its items.
struct Parts {
    view: View,
    items: Vec<Arc<Stored>>,
    tags: Tags,
    encoder: Encoder,
    chunk: usize,
    at: usize,
    before: Vec<u8>,
    after: [u8; 4],
}

impl Parts {
    async fn next(mut self) -> Option<(Bytes, Parts)> {
        if self.at >= self.items.len() {
            return None;
        }
        let mut out = std::mem::take(&mut self.before);
        let end = (self.at + self.chunk).min(self.items.len());
        let part = &self.items[self.at..end];
        if let Err(refusal) = append(&self.view, part, self.tags, &mut self.encoder, &mut out).await {
            // The status line is long gone; a torn list is the only way left to say so.
            tracing::error!(why = %refusal.status.message, "list broken off");
            return None;
        }
        self.at = end;
        if end == self.items.len() {
            out.extend_from_slice(&self.after);
        }
        Some((out.into(), self))
    }
}

/// What an encoded event depends on. Revisions come first: the oldest is the first to go.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct EncodedKey {
    /// Version of the object; one for each change of anything.
    object: Revision,
    /// Version that is shown, another one where a selector turns a change into a deletion.
    shown: Revision,
    /// What happened to it, where that is part of what is kept.
    event: &'static str,
    api_version: String,
    kind: String,
}

impl EncodedKey {
    pub(crate) fn of(view: &View, event: &'static str, object: Revision, shown: Revision) -> EncodedKey {
        let (api_version, kind) = view.kind();
        EncodedKey { object, shown, event, api_version, kind }
    }
}

/// The latest events in protobuf, so that many watchers cost one encoding.
#[derive(Default)]
pub(crate) struct Encoded {
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    events: BTreeMap<EncodedKey, Bytes>,
    bytes: usize,
}

impl Encoded {
    pub(crate) fn get(&self, key: &EncodedKey) -> Option<Bytes> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).events.get(key).cloned()
    }

    pub(crate) fn keep(&self, key: EncodedKey, sealed: Bytes) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.bytes += sealed.len();
        if let Some(old) = kept.events.insert(key, sealed) {
            kept.bytes -= old.len();
        }
        while kept.bytes > KEPT_BYTES_MAX {
            let Some((_, oldest)) = kept.events.pop_first() else { break };
            kept.bytes -= oldest.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_events_go_when_there_is_no_room() {
        let encoded = Encoded::default();
        let key = |n| EncodedKey {
            object: Revision(n),
            shown: Revision(n),
            event: "ADDED",
            api_version: "v1".into(),
            kind: "Pod".into(),
        };
        let half = Bytes::from(vec![0; KEPT_BYTES_MAX / 2]);
        (1..=3).for_each(|n| encoded.keep(key(n), half.clone()));
        assert!(encoded.get(&key(1)).is_none());
        assert!(encoded.get(&key(2)).is_some() && encoded.get(&key(3)).is_some());
    }
}
