//! What a request says, before anything is known about the world: path, parameters, accepted forms.

mod accept;
mod path;
mod query;

pub(crate) use accept::{Accept, As, Form, Offer};
pub(crate) use path::Target;
pub(crate) use query::{Query, unescape_path};
