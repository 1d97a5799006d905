//! Kubernetes' protobuf form of built-in kinds, driven by the schema tables.
//!
//! ```text
//! "k8s\0" runtime.Unknown{ typeMeta, raw, contentEncoding, contentType } --open--> raw --decode--> tree
//! ```
//!
//! The way out is a translation of text: a stored body becomes a message without a tree between ([`transcode`]).
//!
//! Decoding gives the raw tree: zero values that Go always writes are still in it, `check_fields` drops them.
//! Encoding leaves out what the tree does not have; Go reads an absent field as its zero.

mod decode;
mod encode;
mod frame;
mod slot;
mod wire;

pub use decode::decode;
pub use encode::{encode, transcode};
pub use frame::{field, field_length, frame, seal, seal_around};
pub use wire::ProtoError;

use wire::Cursor;

/// First bytes of every protobuf body.
pub const MAGIC: [u8; 4] = *b"k8s\0";

/// The wrapper around an object (`runtime.Unknown`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Envelope<'a> {
    /// `apiVersion` of the object.
    pub api_version: String,
    /// `kind` of the object.
    pub kind: String,
    /// The object's message.
    pub raw: &'a [u8],
    /// Media type of `raw` when it is not protobuf.
    pub content_type: String,
}

/// Takes the wrapper off.
pub fn open(bytes: &[u8]) -> Result<Envelope<'_>, ProtoError> {
    let body = bytes.strip_prefix(&MAGIC).ok_or(ProtoError::Magic)?;
    let mut envelope = Envelope::default();
    let mut cursor = Cursor::new(body);
    while let Some((tag, field)) = cursor.field()? {
        match tag {
            1 => {
                let mut meta = Cursor::new(field.bytes()?);
                while let Some((tag, field)) = meta.field()? {
                    match tag {
                        1 => envelope.api_version = field.text()?,
                        2 => envelope.kind = field.text()?,
                        _ => {}
                    }
                }
            }
            2 => envelope.raw = field.bytes()?,
            4 => envelope.content_type = field.text()?,
            _ => {}
        }
    }
    Ok(envelope)
}
