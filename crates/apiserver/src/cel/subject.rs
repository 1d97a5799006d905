//! What an expression about a request sees: made once, whoever looks at it.

use std::sync::{Arc, OnceLock};

use api_admission::hooks::Invocation;
use api_admission::{Attributes, Kind, Place};
use cel_rules::{Activation, Budget, Check, Question, RunError, Value as Cel};
use serde_json::{Value, json};

use super::ask::Ask;
use super::env;
use crate::server::Call;
use crate::stored;

/// A write that is to be judged; objects come in the version that who judges knows.
pub(crate) struct Subject<'a> {
    pub(crate) call: &'a Call,
    pub(crate) request: &'a Attributes<'a>,
    invocation: &'a Invocation,
    /// The object as it would be; nothing on deletion.
    object: Option<&'a Value>,
    /// The object as it is; nothing on creation.
    old: Option<&'a Value>,
    seen: Seen,
}

/// Values that were asked for already.
#[derive(Default)]
struct Seen {
    object: OnceLock<Cel>,
    old: OnceLock<Cel>,
    request: OnceLock<Cel>,
    namespace: OnceLock<Cel>,
}

impl<'a> Subject<'a> {
    /// A request, met in the version of an invocation, with its objects.
    pub(crate) fn new(
        call: &'a Call,
        (request, invocation): (&'a Attributes<'a>, &'a Invocation),
        (object, old): (&'a Option<Value>, &'a Option<Value>),
    ) -> Subject<'a> {
        let (object, old) = (object.as_ref(), old.as_ref());
        Subject { call, request, invocation, object, old, seen: Seen::default() }
    }

    /// The Namespace object around the object; nothing for cluster-wide ones, and when it is gone.
    fn namespace_object(&self) -> Option<Value> {
        let is_itself = self.request.place.group.is_empty() && self.request.place.resource == "namespaces";
        if self.request.namespace.is_empty() || is_itself {
            return None;
        }
        let found = self.call.server.store.get(&store::Key::new("namespaces", "", self.request.namespace))?;
        stored::decode(&found).ok()
    }

    /// `AdmissionRequest` without objects.
    fn request(&self) -> Value {
        let kind = |k: &Kind| json!({"group": k.group, "version": k.version, "kind": k.kind});
        let plural = |p: &Place| json!({"group": p.group, "version": p.version, "resource": p.resource});
        let request = self.request;
        let mut out = json!({
            "kind": kind(&self.invocation.kind), "requestKind": kind(&request.kind),
            "resource": plural(&self.invocation.place), "requestResource": plural(&request.place),
            "userInfo": request.user, "operation": request.operation.as_str(), "dryRun": request.dry_run,
            "options": request.options,
        });
        let texts = [
            ("name", request.name),
            ("namespace", request.namespace),
            ("subResource", request.subresource),
            ("requestSubResource", request.subresource),
        ];
        for (key, text) in texts.into_iter().filter(|(_, text)| !text.is_empty()) {
            out[key] = text.into();
        }
        out
    }

    /// What `authorizer.requestResource` is about.
    fn check(&self) -> Check {
        let request = self.request;
        Check {
            group: request.place.group.clone(),
            resource: request.place.resource.clone(),
            subresource: request.subresource.to_owned(),
            namespace: request.namespace.to_owned(),
            name: request.name.to_owned(),
            ..Check::default()
        }
    }

    fn namespace_value(&self) -> Cel {
        let Some(found) = self.namespace_object() else { return Cel::Null };
        let mut shown = json!({
            "metadata": found["metadata"], "spec": found["spec"], "status": {"phase": found["status"]["phase"]}
        });
        if let Some(metadata) = shown["metadata"].as_object_mut()
            && let Some(uid) = metadata.remove("uid")
        {
            metadata.insert("UID".into(), uid);
        }
        cel_rules::schema::value(&shown, &env::namespace())
    }
}

impl Activation for Subject<'_> {
    fn get(&self, name: &str, _: &mut Budget) -> Option<Result<Cel, RunError>> {
        let json = |of: Option<&Value>| of.map_or(Cel::Null, Cel::of);
        Some(Ok(match name {
            "object" => self.seen.object.get_or_init(|| json(self.object)).clone(),
            "oldObject" => self.seen.old.get_or_init(|| json(self.old)).clone(),
            "request" => self.seen.request.get_or_init(|| Cel::of(&self.request())).clone(),
            "namespaceObject" => self.seen.namespace.get_or_init(|| self.namespace_value()).clone(),
            "authorizer" => Cel::Authorize(Arc::new(Question::new(Ask::of(self.call)))),
            "authorizer.requestResource" => {
                Cel::Authorize(Arc::new(Question::about(Ask::of(self.call), self.check())))
            }
            _ => return None,
        }))
    }
}
