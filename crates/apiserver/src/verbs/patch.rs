//! PATCH in its four forms: JSON, merge, strategic merge, apply.

use std::sync::Arc;

use api_client::Response;
use api_meta::{Reason, Status, StatusDetails};
use serde_json::Value;

use super::update::{check_name, undeterminable};
use super::{Change, Retry, change_asked, create, options};
use crate::pipeline::decode::{self, Strictness, expected};
use crate::pipeline::owners::{self, Writer};
use crate::pipeline::{admit, metadata, read_yaml};
use crate::refuse::{Outcome, Refusal, bad_request, cause, invalid, refuse};
use crate::registry::Served;
use crate::represent;
use crate::server::Call;

/// The form of a patch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Json,
    Merge,
    Strategic,
    Apply,
}

/// Whether the request is a server-side apply.
pub(crate) fn is_apply(call: &Call) -> bool {
    decode::media_type(call) == "application/apply-patch+yaml"
}

fn form(call: &Call, served: &Served) -> Outcome<Form> {
    match decode::media_type(call) {
        "application/json-patch+json" => Ok(Form::Json),
        "application/merge-patch+json" => Ok(Form::Merge),
        "application/strategic-merge-patch+json" if !served.is_custom() => Ok(Form::Strategic),
        "application/apply-patch+yaml" => Ok(Form::Apply),
        _ => {
            let status = Status::failure(Reason::UnsupportedMediaType, "415: Unsupported Media Type");
            Err(status.with_details(StatusDetails::default()).into())
        }
    }
}

/// PATCH of an object, or of its status.
pub(crate) async fn patch(call: &Call, served: &Arc<Served>, subresource: &str) -> Outcome<Response> {
    let form = form(call, served)?;
    options::check(call, "PatchOptions")?;
    let accept = call.accepted()?;
    decode::check_size(call)?;
    if form == Form::Apply {
        return apply(call, served, subresource).await;
    }
    let patch = Patch::read(call, form)?;
    let name = &call.target.name;
    let manager = call.manager();
    let how = Change {
        name,
        subresource,
        manager: &manager,
        retry: patch.retry(),
        dry_run: call.query.dry_run(),
        uid: None,
    };
    let written = change_asked(call, served, how, |old| {
        let mut new = patch.lay_over(served, old)?;
        patch.judge(call, served, old, &mut new)?;
        create::check_namespace(call, served, &mut new)?;
        check_name(name, metadata::text(&new, "name"))?;
        decode::default(&mut new, served);
        Ok(new)
    });
    represent::written(call, served, &written.await?, accept, 200).await
}

/// A patch that was read.
pub(crate) struct Patch {
    form: Form,
    tree: Value,
    duplicates: Vec<String>,
}

impl Patch {
    /// A merge patch from a tree; how subresources that are views of an object are patched.
    fn read(call: &Call, form: Form) -> Outcome<Patch> {
        let (tree, duplicates) = api_schema::decode_json(&call.body)
            .map_err(|e| bad_request(format!("error decoding patch: {e}")))?;
        if matches!(form, Form::Merge | Form::Strategic) && !tree.is_object() {
            let found = if tree.is_array() { "array" } else { "value" };
            return Err(bad_request(format!(
                "error decoding patch: json: cannot unmarshal {found} into Go value of type map[string]interface {{}}"
            )));
        }
        Ok(Patch { form, tree, duplicates })
    }

    /// The patch in the body of a request on a subresource that has an object of its own.
    pub(crate) fn of(call: &Call, served: &Served) -> Outcome<Patch> {
        let form = form(call, served)?;
        options::check(call, "PatchOptions")?;
        decode::check_size(call)?;
        if form == Form::Apply {
            return Err(refuse(Reason::UnsupportedMediaType, "apply is not offered for this subresource"));
        }
        Patch::read(call, form)
    }

    /// A patch that names a version is refused when that is stale; others are laid over the newest object.
    pub(crate) fn retry(&self) -> Retry {
        let names_version = match self.form {
            Form::Json => {
                let ops = self.tree.as_array().into_iter().flatten();
                ops.into_iter().any(|op| op["path"] == "/metadata/resourceVersion")
            }
            _ => !self.tree["metadata"]["resourceVersion"].is_null(),
        };
        if names_version { Retry::Never } else { Retry::Again }
    }

    /// The object with the patch laid over it.
    pub(crate) fn lay_over(&self, served: &Served, old: &Value) -> Outcome<Value> {
        self.lay_over_typed(served.schema(), old)
    }

    /// The same for an object of any schema.
    pub(crate) fn lay_over_typed(
        &self,
        schema: Option<api_schema::Schema<'_>>,
        old: &Value,
    ) -> Outcome<Value> {
        let mut new = old.clone();
        match (self.form, schema) {
            (Form::Json, _) => {
                // The others replace lists as a whole; this one sees into them.
                api_patch::managed::unfold(&mut new);
                api_patch::json::apply(&mut new, &self.tree).map_err(refused_json)?;
            }
            (Form::Strategic, Some(schema)) => {
                let done = api_patch::strategic::apply(schema.types, schema.root, &mut new, &self.tree);
                done.map_err(|e| self.refused_strategic(&e))?;
            }
            _ => api_patch::merge::apply(&mut new, &self.tree),
        }
        Ok(new)
    }

    fn refused_strategic(&self, error: &api_patch::strategic::Error) -> Box<Refusal> {
        if !matches!(error, api_patch::strategic::Error::NotAnObject) {
            // Upstream answers 500 here, without a reason.
            let message = error.to_string();
            return Status { status: "Failure".to_owned(), message, code: 500, ..Status::default() }.into();
        }
        let shown = api_patch::strategic::go_text(&self.tree);
        let text = format!("Invalid value: {shown:?}: {error}");
        invalid_patch(text)
    }

    /// Brings the patched tree into its stored form and judges what does not belong there.
    fn judge(&self, call: &Call, served: &Served, old: &Value, new: &mut Value) -> Outcome<()> {
        let expected = expected(served);
        self.check_kind(served, new)?;
        let unknown = decode::check(new, &expected)
            .map_err(|e| invalid_patch(format!("Invalid value: {:?}: {e}", self.shown(served, old))))?;
        let findings = decode::findings(&self.duplicates, &unknown);
        match decode::strictness(call) {
            Strictness::Ignore => {}
            Strictness::Warn => findings.into_iter().for_each(|f| call.warn(f)),
            Strictness::Strict if findings.is_empty() => {}
            Strictness::Strict => {
                let why = format!("strict decoding error: {}", findings.join(", "));
                return Err(invalid_patch(format!("Invalid value: {:?}: {why}", self.shown(served, old))));
            }
        }
        Ok(())
    }

    /// What a refusal quotes: the patch, or the object that it made.
    fn shown(&self, served: &Served, old: &Value) -> String {
        match self.form {
            Form::Strategic => api_patch::strategic::go_text(&self.tree),
            _ => self.lay_over(served, old).map(unfolded).unwrap_or_default(),
        }
    }

    /// A patch cannot make an object of another kind.
    fn check_kind(&self, served: &Served, new: &Value) -> Outcome<()> {
        let (kind, version) =
            (new["kind"].as_str().unwrap_or_default(), new["apiVersion"].as_str().unwrap_or_default());
        let wanted = served.resource.api_version();
        if kind == served.resource.kind && version == wanted {
            return Ok(());
        }
        if served.is_custom() && version != wanted {
            return Err(bad_request(format!(
                "the API version in the data ({version}) does not match the expected API version ({wanted})"
            )));
        }
        let why = format!("no kind {kind:?} is registered for version {version:?}");
        Err(invalid_patch(format!("Invalid value: {:?}: {why}", unfolded(new.clone()))))
    }
}

/// An object as messages quote it.
fn unfolded(mut object: Value) -> String {
    api_patch::managed::unfold(&mut object);
    object.to_string()
}

/// What upstream says of a patch whose result is no object of the kind.
fn invalid_patch(text: String) -> Box<Refusal> {
    let causes = vec![cause("FieldValueInvalid", "patch", text)];
    invalid("", "", "", causes)
}

fn refused_json(error: api_patch::json::Error) -> Box<Refusal> {
    use api_patch::json::Error;
    let text = error.to_string();
    match error {
        Error::NotAPatch(_) => bad_request(text),
        Error::TooMany(_) => refuse(Reason::RequestEntityTooLarge, text),
        _ => {
            let words = "the server rejected our request due to an error in our request";
            Status::failure(Reason::Invalid, words).with_details(StatusDetails::default()).into()
        }
    }
}

/// Server-side apply: creates what is missing, merges what is there.
async fn apply(call: &Call, served: &Arc<Served>, subresource: &str) -> Outcome<Response> {
    let accept = call.accepted()?;
    let applied = read_applied(call, served)?;
    let name = &call.target.name;
    let manager = call.query.get("fieldManager").to_owned();
    let writer = Writer { manager: &manager, subresource, now: call.server.env.now() };
    let force = call.query.flag("force");
    let is_missing = call.server.store.get(&call.key(served)).is_none();
    if is_missing && subresource.is_empty() {
        if !metadata::text(&applied, "uid").is_empty() {
            let why = format!(
                "uid mismatch: the provided object specified uid {}, and no existing object was found",
                metadata::text(&applied, "uid")
            );
            return Err(crate::refuse::conflict(&served.resource, name, &why));
        }
        admit::namespace_for_create(call, served, name)?;
        let mut object = owners::apply(served, &writer, None, &applied, force)?;
        settle(&mut object, served)?;
        let written = create::store(call, served, object).await?;
        return represent::written(call, served, &written, accept, 201).await;
    }
    let how = Change {
        name,
        subresource,
        manager: "",
        retry: Retry::Again,
        dry_run: call.query.dry_run(),
        uid: None,
    };
    let written = change_asked(call, served, how, |old| {
        let mut new = owners::apply(served, &writer, Some(old), &applied, force)?;
        settle(&mut new, served)?;
        if metadata::text(&applied, "resourceVersion").is_empty() {
            metadata::of(&mut new).remove("resourceVersion");
        }
        Ok(new)
    });
    represent::written(call, served, &written.await?, accept, 200).await
}

/// Brings a merged object into its stored form; what the schema does not know was refused before.
fn settle(object: &mut Value, served: &Served) -> Outcome<()> {
    decode::check(object, &expected(served)).map_err(bad_request)?;
    decode::default(object, served);
    Ok(())
}

fn read_applied(call: &Call, served: &Served) -> Outcome<Value> {
    let text =
        std::str::from_utf8(&call.body).map_err(|e| bad_request(format!("error decoding YAML: {e}")))?;
    let parsed = match api_schema::decode_json(&call.body) {
        Ok((tree, _)) => tree,
        Err(_) => read_yaml::read(text).map_err(|e| bad_request(format!("error decoding YAML: {e}")))?.0,
    };
    if !parsed.is_object() {
        return Err(bad_request("error decoding YAML: the configuration is not an object"));
    }
    let mut applied = parsed;
    if applied["kind"].as_str().unwrap_or_default().is_empty() {
        return Err(bad_request("invalid object type: /, Kind="));
    }
    let kind = applied["kind"].as_str().unwrap_or_default();
    if kind != served.resource.kind {
        let version = applied["apiVersion"].as_str().unwrap_or_default();
        return Err(bad_request(format!("invalid object type: {version}, Kind={kind}")));
    }
    create::same_namespace(call, served, &applied)?;
    let given = metadata::text(&applied, "name").to_owned();
    if given.is_empty() {
        if !metadata::text(&applied, "generateName").is_empty() {
            return Err(undeterminable(&call.target.name));
        }
        metadata::of(&mut applied).insert("name".into(), call.target.name.clone().into());
    } else {
        check_name(&call.target.name, &given)?;
    }
    Ok(applied)
}
