//! Objects and lists in the form that was asked for: themselves, their metadata alone, or rows of a table.

mod list;
mod partial;
pub(crate) mod path;
pub(crate) mod protobuf;
mod table;

use std::sync::Arc;

use api_client::Response;
use api_meta::Reason;
use stdx::Time;
use store::Revision;

pub(crate) use list::list;
pub(crate) use protobuf::{Encoded, EncodedKey};

use crate::answer;
use crate::pipeline::commit::Written;
use crate::pipeline::convert;
use crate::refuse::{Outcome, bad_request, refuse};
use crate::registry::Served;
use crate::request::{Accept, As, Form};
use crate::server::Call;
use crate::stored;

/// How much of an object a table row carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Include {
    Nothing,
    #[default]
    Metadata,
    Object,
}

impl Include {
    pub(crate) fn of(call: &Call) -> Outcome<Include> {
        match call.query.get("includeObject") {
            "" | "Metadata" => Ok(Include::Metadata),
            "None" => Ok(Include::Nothing),
            "Object" => Ok(Include::Object),
            other => Err(bad_request(format!(
                "Unable to convert to Table as requested: includeObject: Invalid value: {other:?}: must be 'Metadata', \
                 'Object', 'None', or empty"
            ))),
        }
    }
}

/// One way of showing objects of one resource.
#[derive(Clone)]
pub(crate) struct View {
    pub(crate) served: Arc<Served>,
    pub(crate) form: Form,
    pub(crate) shape: As,
    pub(crate) include: Include,
    pub(crate) now: Time,
}

/// Where an object stands: it decides about kind and version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Alone, or in an event.
    Alone,
    /// Among the items of a list; those of built-in kinds carry neither kind nor version.
    Item,
}

impl View {
    pub(crate) fn of(call: &Call, served: &Arc<Served>, accept: Accept) -> Outcome<View> {
        let include = match accept.shape {
            As::Table(_) => Include::of(call)?,
            _ => Include::default(),
        };
        let Accept { form, shape } = accept;
        Ok(View { served: served.clone(), form, shape, include, now: call.server.env.now() })
    }

    /// `apiVersion` and `kind` of what it shows of one object.
    pub(crate) fn kind(&self) -> (String, String) {
        match self.shape {
            As::Object => (self.served.resource.api_version(), self.served.resource.kind.to_string()),
            As::Partial(v) | As::PartialList(v) => {
                (format!("meta.k8s.io/{v}"), "PartialObjectMetadata".to_owned())
            }
            As::Table(v) => (format!("meta.k8s.io/{v}"), "Table".to_owned()),
        }
    }

    /// Appends an object as JSON; `plain` is in the version of the request (see [`convert::plain`]). `headers` asks for the columns
    /// of a table.
    pub(crate) fn write(
        &self,
        out: &mut Vec<u8>,
        plain: &[u8],
        revision: Revision,
        place: Place,
        headers: bool,
    ) -> Outcome<()> {
        match self.shape {
            As::Object => {
                let bare = place == Place::Item && !self.served.is_custom();
                stored::splice(
                    out,
                    if bare { stored::BARE_HEAD } else { &self.served.prefix },
                    plain,
                    revision,
                );
                Ok(())
            }
            As::Partial(version) | As::PartialList(version) => {
                partial::write(out, &self.served, plain, revision, version);
                Ok(())
            }
            As::Table(version) => table::write(self, out, plain, revision, version, headers),
        }
    }
}

/// The answer to a read or write of one object.
pub(crate) async fn written(
    call: &Call,
    served: &Arc<Served>,
    written: &Written,
    accept: Accept,
    code: u16,
) -> Outcome<Response> {
    if matches!(accept.shape, As::PartialList(_)) {
        let kind = &served.resource.kind;
        let text = format!(
            "you requested PartialObjectMetadataList, but the requested object is not a list (*{kind})"
        );
        return Err(refuse(Reason::NotAcceptable, text));
    }
    let view = View::of(call, served, accept)?;
    let plain = convert::plain(served, written.plain.clone()).await?;
    if view.form == Form::Protobuf {
        let sealed = protobuf::object(&view, &plain, written.revision)?;
        return Ok(answer::full(code, accept.form.media_type(), sealed));
    }
    let mut out = Vec::with_capacity(plain.len() + 64);
    view.write(&mut out, &plain, written.revision, Place::Alone, true)?;
    answer::json(code, accept.form, out)
}
