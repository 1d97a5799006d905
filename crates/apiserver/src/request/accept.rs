//! Which form of answer a client accepts.

use api_meta::{Reason, Status, StatusDetails};

use crate::refuse::{Outcome, refuse};

/// How an answer is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Form {
    /// JSON in one line.
    #[default]
    Json,
    /// JSON for people.
    Pretty,
    /// YAML.
    Yaml,
    /// Kubernetes' protobuf envelope.
    Protobuf,
}

impl Form {
    pub(crate) fn media_type(self) -> &'static str {
        match self {
            Form::Json | Form::Pretty => "application/json",
            Form::Yaml => "application/yaml",
            Form::Protobuf => PROTOBUF,
        }
    }
}

const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";

/// What the answers to a request can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Offer {
    /// Objects of a built-in kind, in every form and shape.
    Builtin,
    /// Objects of a custom kind: protobuf has no message for them, only for their metadata.
    Custom,
    /// A `Status` or a document, in every form and no other shape.
    Plain,
}

/// As what an answer is given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum As {
    /// The object or list itself.
    #[default]
    Object,
    /// Rows and columns, in this version of meta.k8s.io.
    Table(&'static str),
    /// Metadata alone.
    Partial(&'static str),
    /// A list of metadata alone.
    PartialList(&'static str),
}

/// What the server chose from what the client accepts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Accept {
    pub(crate) form: Form,
    pub(crate) shape: As,
}

struct Clause<'a> {
    media: &'a str,
    quality: f32,
    params: Vec<(&'a str, &'a str)>,
}

impl Clause<'_> {
    fn param(&self, name: &str) -> &str {
        self.params.iter().find(|(k, _)| *k == name).map_or("", |(_, v)| v)
    }
}

impl Accept {
    /// Chooses; `pretty` is the query parameter.
    pub(crate) fn choose(header: &str, pretty: bool, offer: Offer) -> Outcome<Accept> {
        let json = if pretty { Form::Pretty } else { Form::Json };
        let mut clauses: Vec<Clause<'_>> = header.split(',').filter_map(clause).collect();
        if clauses.is_empty() {
            return Ok(Accept { form: json, shape: As::Object });
        }
        clauses.sort_by(|a, b| b.quality.total_cmp(&a.quality));
        let is_known =
            |c: &Clause<'_>| matches!(c.media, "application/json" | "application/yaml" | PROTOBUF | "*/*");
        match clauses.iter().find_map(|c| c.accept(json, offer)) {
            Some(accept) => Ok(accept),
            None if offer == Offer::Custom || clauses.iter().any(is_known) => {
                Err(refuse(Reason::NotAcceptable, ONLY))
            }
            None => Err(not_acceptable()),
        }
    }

    /// The form of a refusal: what the client accepts, or JSON.
    pub(crate) fn of_refusal(header: &str, pretty: bool) -> Form {
        Accept::choose(header, pretty, Offer::Plain).map_or(Form::Json, |accept| accept.form)
    }

    /// The same for watches: YAML cannot be streamed.
    pub(crate) fn for_watch(self) -> Outcome<Accept> {
        if self.form == Form::Yaml {
            let text = "only the following media types are accepted: application/json;stream=watch, \
                        application/vnd.kubernetes.protobuf;stream=watch";
            return Err(refuse(Reason::NotAcceptable, text));
        }
        Ok(self)
    }
}

fn clause(text: &str) -> Option<Clause<'_>> {
    let mut parts = text.split(';').map(str::trim);
    let media = parts.next().filter(|m| !m.is_empty())?;
    let params: Vec<_> = parts.filter_map(|p| p.split_once('=')).collect();
    let quality = params.iter().find(|(k, _)| *k == "q").and_then(|(_, v)| v.parse().ok()).unwrap_or(1.0);
    Some(Clause { media, quality, params })
}

impl Clause<'_> {
    fn accept(&self, json: Form, offer: Offer) -> Option<Accept> {
        let form = match self.media {
            "application/json" | "*/*" => json,
            "application/yaml" => Form::Yaml,
            PROTOBUF => Form::Protobuf,
            _ => return None,
        };
        let version = match (self.param("g"), self.param("v")) {
            ("meta.k8s.io", "v1") => "v1",
            ("meta.k8s.io", "v1beta1") => "v1beta1",
            _ if self.param("as").is_empty() => "",
            _ => return None,
        };
        let shape = match self.param("as") {
            "" => As::Object,
            "Table" => As::Table(version),
            "PartialObjectMetadata" => As::Partial(version),
            "PartialObjectMetadataList" => As::PartialList(version),
            _ => return None,
        };
        let is_offered = match (offer, shape) {
            (Offer::Plain, shape) => shape == As::Object,
            (_, As::Table(_)) => form != Form::Protobuf,
            (Offer::Custom, As::Object) => form != Form::Protobuf,
            _ => true,
        };
        is_offered.then_some(Accept { form, shape })
    }
}

/// What is said of a known form as something unknown.
const ONLY: &str = "only the following media types are accepted: application/json, application/yaml, \
                    application/vnd.kubernetes.protobuf";

fn not_acceptable() -> Box<crate::refuse::Refusal> {
    let text = "406: Not Acceptable\n\nAvailable representations: application/json, application/yaml, \
                application/vnd.kubernetes.protobuf";
    Status::failure(Reason::NotAcceptable, text).with_details(StatusDetails::default()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_known_form_of_best_quality_wins() {
        let form = |h: &str| Accept::choose(h, false, Offer::Builtin).map(|a| a.form).ok();
        assert_eq!(form(""), Some(Form::Json));
        assert_eq!(form("application/vnd.kubernetes.protobuf,application/json"), Some(Form::Protobuf));
        assert_eq!(form("application/json,application/vnd.kubernetes.protobuf"), Some(Form::Json));
        assert_eq!(form("application/json;q=0.1,application/yaml;q=0.9"), Some(Form::Yaml));
        assert_eq!(form("text/html,application/xhtml+xml,*/*;q=0.8"), Some(Form::Json));
        assert_eq!(form("application/*"), None);
        assert_eq!(form("application/xml"), None);
    }

    #[test]
    fn tables_are_asked_for_by_parameter() {
        let header = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
        assert_eq!(Accept::choose(header, false, Offer::Builtin).unwrap().shape, As::Table("v1"));
        let unknown = "application/json;as=Table;v=v7;g=meta.k8s.io,application/json";
        assert_eq!(Accept::choose(unknown, false, Offer::Builtin).unwrap().shape, As::Object);
    }
    #[test]
    fn protobuf_is_offered_where_there_is_a_message() {
        let of = |header: &str, offer| Accept::choose(header, false, offer).map(|a| (a.form, a.shape)).ok();
        let plain = "application/vnd.kubernetes.protobuf";
        let table = "application/vnd.kubernetes.protobuf;as=Table;v=v1;g=meta.k8s.io";
        let partial = "application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;v=v1;g=meta.k8s.io";
        assert_eq!(of(plain, Offer::Builtin), Some((Form::Protobuf, As::Object)));
        assert_eq!(of(plain, Offer::Custom), None);
        assert_eq!(of(&format!("{plain},application/json"), Offer::Custom), Some((Form::Json, As::Object)));
        assert_eq!(of(table, Offer::Builtin), None);
        assert_eq!(of(partial, Offer::Custom), Some((Form::Protobuf, As::Partial("v1"))));
        assert_eq!(Accept::of_refusal(&format!("{table},{plain}"), false), Form::Protobuf);
        assert_eq!(Accept::of_refusal(table, false), Form::Json);
    }
}
