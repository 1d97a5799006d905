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
}

impl Form {
    pub(crate) fn media_type(self) -> &'static str {
        match self {
            Form::Json | Form::Pretty => "application/json",
            Form::Yaml => "application/yaml",
        }
    }
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
    pub(crate) fn choose(header: &str, pretty: bool) -> Outcome<Accept> {
        let json = if pretty { Form::Pretty } else { Form::Json };
        let mut clauses: Vec<Clause<'_>> = header.split(',').filter_map(clause).collect();
        if clauses.is_empty() {
            return Ok(Accept { form: json, shape: As::Object });
        }
        clauses.sort_by(|a, b| b.quality.total_cmp(&a.quality));
        let known = |c: &&Clause<'_>| matches!(c.media, "application/json" | "application/yaml" | "*/*");
        match clauses.iter().find_map(|c| c.accept(json)) {
            Some(accept) => Ok(accept),
            None if clauses.iter().any(|c| known(&c)) => Err(refuse(Reason::NotAcceptable, ONLY)),
            None => Err(not_acceptable()),
        }
    }

    /// The same for watches: YAML cannot be streamed.
    pub(crate) fn for_watch(self) -> Outcome<Accept> {
        if self.form == Form::Yaml {
            let text = "only the following media types are accepted: application/json;stream=watch";
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
    fn accept(&self, json: Form) -> Option<Accept> {
        let form = match self.media {
            "application/json" | "*/*" => json,
            "application/yaml" => Form::Yaml,
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
        Some(Accept { form, shape })
    }
}

/// What is said of a known form as something unknown.
const ONLY: &str = "only the following media types are accepted: application/json, application/yaml";

fn not_acceptable() -> Box<crate::refuse::Refusal> {
    let text = "406: Not Acceptable\n\nAvailable representations: application/json, application/yaml";
    Status::failure(Reason::NotAcceptable, text).with_details(StatusDetails::default()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_known_form_of_best_quality_wins() {
        let form = |h: &str| Accept::choose(h, false).map(|a| a.form).ok();
        assert_eq!(form(""), Some(Form::Json));
        assert_eq!(form("application/vnd.kubernetes.protobuf,application/json"), Some(Form::Json));
        assert_eq!(form("application/json;q=0.1,application/yaml;q=0.9"), Some(Form::Yaml));
        assert_eq!(form("text/html,application/xhtml+xml,*/*;q=0.8"), Some(Form::Json));
        assert_eq!(form("application/*"), None);
        assert_eq!(form("application/xml"), None);
    }

    #[test]
    fn tables_are_asked_for_by_parameter() {
        let header = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
        assert_eq!(Accept::choose(header, false).unwrap().shape, As::Table("v1"));
        let unknown = "application/json;as=Table;v=v7;g=meta.k8s.io,application/json";
        assert_eq!(Accept::choose(unknown, false).unwrap().shape, As::Object);
    }
}
