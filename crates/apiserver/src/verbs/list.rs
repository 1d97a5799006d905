//! LIST: one snapshot, in pages, filtered by index rows.

use std::sync::Arc;

use api_client::{Body, Response};
use api_meta::{FieldSelector, Requirement, Selector};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use store::{Error, Key, KeyRange, Page, Revision, Stored};

use super::get::{revision, wait_for};
use crate::pipeline::{commit, metadata};
use crate::refuse::{Outcome, bad_request, cause, expired, forbidden_field, not_supported};
use crate::registry::Served;
use crate::represent;
use crate::server::Call;
use crate::verbs::options;

/// Which objects of a range are wanted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filter {
    pub(crate) labels: Selector,
    pub(crate) fields: FieldSelector,
    /// Some fields are not in the index row and must be read from the body (custom kinds).
    reads_body: bool,
}

impl Filter {
    /// Reads the selectors of a request.
    pub(crate) fn of(call: &Call, served: &Served) -> Outcome<Filter> {
        let labels = Selector::parse(call.query.get("labelSelector")).map_err(|e| bad_request(e.0))?;
        let mut fields =
            FieldSelector::parse(call.query.get("fieldSelector")).map_err(|e| bad_request(e.0))?;
        if call.target.is_watch && !call.target.name.is_empty() {
            fields.0.push(("metadata.name".to_owned(), true, call.target.name.clone()));
        }
        labels.0.iter().try_for_each(check_label)?;
        for (field, ..) in &fields.0 {
            check_field(served, field)?;
        }
        let reads_body = fields.0.iter().any(|(f, ..)| served.selectable.contains(f));
        Ok(Filter { labels, fields, reads_body })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    /// Whether an object is wanted.
    pub(crate) fn matches(&self, stored: &Stored) -> bool {
        if !self.labels.matches(stored.row.labels()) {
            return false;
        }
        if self.fields.is_empty() {
            return true;
        }
        let body = if self.reads_body { crate::stored::decode(stored).ok() } else { None };
        self.fields.0.iter().all(|(field, equal, value)| {
            let is = match (&body, field.as_str()) {
                (_, "metadata.name") => &*stored.key.name,
                (_, "metadata.namespace") => &*stored.key.namespace,
                (Some(body), field) => return (represent::path::text(body, field) == *value) == *equal,
                (None, field) => row_field(stored, field),
            };
            (is == value) == *equal
        })
    }

    /// A field with the value that it must have, such that the index rows tell all that have it.
    pub(crate) fn interest(&self) -> Option<(&str, &str)> {
        let is_of_row = |field: &str| !field.starts_with("metadata.") && !self.reads_body;
        let found = self
            .fields
            .0
            .iter()
            .find(|(field, equal, value)| *equal && !value.is_empty() && is_of_row(field));
        found.map(|(field, _, value)| (field.as_str(), value.as_str()))
    }

    /// The one name that is wanted, if the selector names it.
    pub(crate) fn name(&self) -> Option<&str> {
        let named = self.fields.0.iter().find(|(f, equal, _)| f == "metadata.name" && *equal);
        named.map(|(_, _, value)| value.as_str())
    }
}

/// Keys and values of a label selector must be such that a label can have them.
fn check_label(requirement: &Requirement) -> Outcome<()> {
    let (key, values) = match requirement {
        Requirement::In(key, values) | Requirement::NotIn(key, values) => (key, values.as_slice()),
        Requirement::Exists(key) | Requirement::Absent(key) => (key, &[][..]),
        Requirement::Greater(key, _) | Requirement::Less(key, _) => (key, &[][..]),
    };
    let refused = |value: &str, faults: &[String]| {
        Err(bad_request(format!(
            "unable to parse requirement: Invalid value: {value:?}: {}",
            faults.join("; ")
        )))
    };
    let faults = metadata::key_faults(key);
    if !faults.is_empty() {
        return refused(key, &faults);
    }
    for value in values {
        let faults = metadata::label_value_faults(value);
        if !faults.is_empty() {
            return refused(value, &faults);
        }
    }
    Ok(())
}

fn row_field<'a>(stored: &'a Stored, field: &str) -> &'a str {
    stored.row.field(field).unwrap_or_default()
}

fn check_field(served: &Served, field: &str) -> Outcome<()> {
    let general = ["metadata.name", "metadata.namespace"];
    let known = general.contains(&field)
        || served.facts.selectable.contains(&field)
        || served.selectable.iter().any(|f| f == field);
    if known {
        return Ok(());
    }
    if served.facts.selectable.is_empty() && !served.is_custom() {
        let text = "is not a known field selector: only \"metadata.name\", \"metadata.namespace\"";
        return Err(bad_request(format!("{field:?} {text}")));
    }
    Err(bad_request(format!("field label not supported: {field}")))
}

/// The range a request is about.
pub(crate) fn range(call: &Call, served: &Served) -> KeyRange {
    let namespace = call.namespace(served);
    KeyRange {
        resource: served.storage_key.clone(),
        namespace: (!namespace.is_empty()).then(|| namespace.into()),
    }
}

/// The token that leads to the next page.
#[derive(Debug, Serialize, Deserialize)]
struct Token {
    v: String,
    rv: i64,
    start: String,
}

/// Where a page begins.
#[derive(Debug, Default)]
struct Start {
    /// Snapshot; the head when absent.
    at: Option<Revision>,
    after: Option<Key>,
}

fn token(revision: i64, last: &Key) -> String {
    let start = format!("{}/{}\0", last.namespace, last.name);
    let token = Token { v: "meta.k8s.io/v1".to_owned(), rv: revision, start };
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(&token).unwrap_or_default())
}

fn read_token(served: &Served, text: &str) -> Outcome<Start> {
    let bad = |why: &dyn std::fmt::Display| {
        bad_request(format!("invalid continue token: continue key is not valid: {why}"))
    };
    let bytes = URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).map_err(|e| bad(&e))?;
    let token: Token = serde_json::from_slice(&bytes).map_err(|e| bad(&e))?;
    let start = token.start.trim_end_matches('\0');
    let (namespace, name) = start.split_once('/').ok_or_else(|| bad(&"no key"))?;
    if token.v != "meta.k8s.io/v1" {
        return Err(bad(&"unknown version of the token"));
    }
    Ok(Start {
        at: u64::try_from(token.rv).ok().filter(|rv| *rv > 0).map(Revision),
        after: Some(Key {
            resource: served.storage_key.clone(),
            namespace: namespace.into(),
            name: name.into(),
        }),
    })
}

/// LIST of a collection.
pub(crate) async fn list(call: &Call, served: &Arc<Served>) -> Outcome<Response> {
    let accept = call.accepted()?;
    let filter = Filter::of(call, served)?;
    let page = page(call, served, &filter).await?;
    let next = page.more.then(|| page.items.last()).flatten();
    let next = next.map(|last| token(i64::try_from(page.revision.0).unwrap_or(i64::MAX), &last.key));
    represent::list(call, served, page, next, accept).await
}

/// The page a request asks for.
pub(crate) async fn page(call: &Call, served: &Served, filter: &Filter) -> Outcome<Page> {
    let limit = call.query.number("limit")?.unwrap_or(0);
    call.query.number("timeoutSeconds")?;
    let limit = usize::try_from(limit).unwrap_or(0);
    check_options(call, false)?;
    let start = start(call, served).await?;
    let range = range(call, served);
    if let (Some(name), None, None) = (filter.name(), start.at, &start.after)
        && range.namespace.is_some() | !served.resource.namespaced
    {
        return Ok(single(call, served, filter, name));
    }
    let wanted = |stored: &Stored| filter.matches(stored);
    let wanted: Option<store::Filter<'_>> = if filter.is_empty() { None } else { Some(&wanted) };
    let page = call.server.store.list(&range, start.at, start.after.as_ref(), limit, wanted);
    page.map_err(|error| match error {
        Error::Compacted { oldest } => gone(call, &start, oldest),
        Error::Future { head } => crate::refuse::too_large_revision(start.at.unwrap_or_default().0, head.0),
        other => commit::failed(&other),
    })
}

/// A list of at most one object, found by its name.
fn single(call: &Call, served: &Served, filter: &Filter, name: &str) -> Page {
    let store = &call.server.store;
    let found = store.get(&call.key_of(served, name)).filter(|s| filter.matches(s));
    Page { revision: store.revision(), items: found.into_iter().collect(), more: false, remaining: Some(0) }
}

async fn start(call: &Call, served: &Served) -> Outcome<Start> {
    let (token, asked) = (call.query.get("continue"), call.query.get("resourceVersion"));
    if !token.is_empty() {
        if !matches!(asked, "" | "0") {
            return Err(bad_request("specifying resource version is not allowed when using continue"));
        }
        return read_token(served, token);
    }
    let asked = revision(asked)?;
    wait_for(call, asked).await?;
    let exact = call.query.get("resourceVersionMatch") == "Exact";
    Ok(Start { at: exact.then_some(asked), after: None })
}

/// What a client is told whose snapshot is gone; with a token it may go on, at the price of consistency.
fn gone(call: &Call, start: &Start, oldest: Revision) -> Box<crate::refuse::Refusal> {
    let Some(after) = &start.after else {
        let asked = call.query.get("resourceVersion");
        return expired(format!("too old resource version: {asked} ({oldest})"));
    };
    let mut refusal = expired(
        "The provided continue parameter is too old to display a consistent list result. You can start a new list without \
         the continue parameter, or use the continue token in this response to retrieve the remainder of the results. \
         Continuing with the provided token results in an inconsistent list - objects that were created, modified, or \
         deleted between the time the first chunk was returned and now may show up in the list.",
    );
    refusal.next = Some(token(-1, after));
    refusal
}

/// Checks the parameters that say how fresh an answer must be (apimachinery `ValidateListOptions`).
pub(crate) fn check_options(call: &Call, is_watch: bool) -> Outcome<()> {
    let (version, rule) = (call.query.get("resourceVersion"), call.query.get("resourceVersionMatch"));
    let token = call.query.get("continue");
    let initial = call.query.optional_flag("sendInitialEvents");
    let field = "resourceVersionMatch";
    let mut causes = Vec::new();
    if initial.is_some() {
        if !is_watch {
            causes.push(forbidden_field("sendInitialEvents", "sendInitialEvents is forbidden for list"));
        } else if rule != "NotOlderThan" {
            let why = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
            causes.push(forbidden_field(field, why));
            if !rule.is_empty() {
                causes.push(not_supported(field, rule, &["NotOlderThan"]));
            }
        }
    } else if !rule.is_empty() {
        if is_watch {
            let why = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided";
            causes.push(forbidden_field(field, why));
        } else {
            causes.extend(match_faults(field, version, rule, token));
        }
    }
    options::judge("ListOptions", causes)
}

fn match_faults(field: &str, version: &str, rule: &str, token: &str) -> Option<api_meta::Cause> {
    if version.is_empty() {
        return Some(forbidden_field(
            field,
            "resourceVersionMatch is forbidden unless resourceVersion is provided",
        ));
    }
    if !token.is_empty() {
        return Some(forbidden_field(field, "resourceVersionMatch is forbidden when continue is provided"));
    }
    if !matches!(rule, "Exact" | "NotOlderThan") {
        return Some(not_supported(field, rule, &["Exact", "NotOlderThan", ""]));
    }
    let zero = "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"";
    (rule == "Exact" && version == "0")
        .then(|| cause("FieldValueForbidden", field, format!("Forbidden: {zero}")))
}

/// A body that is sent in parts.
pub(crate) fn streamed(chunks: impl futures_util::Stream<Item = bytes::Bytes> + Send + 'static) -> Body {
    use futures_util::StreamExt;
    Body::Stream(Box::pin(chunks.map(Ok)))
}
