//! Reading objects for the verbs that are about more than tables.

use api_client::{Error, ListOptions};
use api_meta::Resource;
use serde_json::Value;

use crate::output::without_managed_fields;
use crate::session::Session;
use crate::targets::Target;

/// Objects per page of a list.
pub(crate) const PAGE: usize = 500;

/// Which objects of a collection.
#[derive(Clone, Debug, Default, clap::Args)]
pub(super) struct Select {
    /// Only objects with these labels: `a=b,c!=d,e in (f,g)`
    #[arg(short = 'l', long, value_name = "LABELS")]
    pub(super) selector: Option<String>,
    /// Only objects with these fields: `spec.nodeName=n,status.phase!=Running`
    #[arg(long, value_name = "FIELDS")]
    pub(super) field_selector: Option<String>,
}

impl Select {
    pub(super) fn is_empty(&self) -> bool {
        self.selector.is_none() && self.field_selector.is_none()
    }

    pub(super) fn options(&self) -> ListOptions {
        ListOptions {
            labels: self.selector.clone().unwrap_or_default(),
            fields: self.field_selector.clone().unwrap_or_default(),
            limit: PAGE,
            ..ListOptions::default()
        }
    }
}

/// The whole of a collection; objects of a list come without their head, so it is put on.
pub(super) async fn list(
    session: &Session,
    resource: &Resource,
    namespace: &str,
    mut options: ListOptions,
) -> Result<Vec<Value>, Error> {
    let mut out = Vec::new();
    loop {
        let page = session.client.list::<Value>(resource, namespace, &options).await?;
        out.extend(page.items.into_iter().map(|object| with_head(object, resource)));
        options.r#continue = page.metadata.r#continue;
        if options.r#continue.is_empty() {
            return Ok(out);
        }
    }
}

/// The same object with the head that objects of a list lack.
pub(crate) fn with_head(mut object: Value, resource: &Resource) -> Value {
    if let Some(map) = object.as_object_mut() {
        map.entry("apiVersion").or_insert_with(|| resource.api_version().into());
        map.entry("kind").or_insert_with(|| resource.kind.clone().into_owned().into());
    }
    object
}

/// The objects of a target: those named, or those selected. Names that cannot be read are told and counted.
pub(super) async fn objects(
    session: &mut Session,
    target: &Target,
    namespace: &str,
    select: &Select,
    failures: &mut Failures,
) -> Result<Vec<Value>, Error> {
    let resource = &target.entry.resource;
    if target.names.is_empty() {
        return list(session, resource, namespace, select.options()).await;
    }
    let mut out = Vec::new();
    for name in &target.names {
        match session.client.get::<Value>(resource, namespace, name).await {
            Ok(object) => out.push(object),
            Err(error) => failures.note(session, error),
        }
    }
    Ok(out)
}

/// Failures that do not end a verb at once.
#[derive(Debug, Default)]
pub(super) struct Failures {
    /// Whether an object that is not there counts.
    ignore_not_found: bool,
    count: usize,
}

impl Failures {
    /// No failures yet.
    pub(super) fn new(ignore_not_found: bool) -> Failures {
        Failures { ignore_not_found, count: 0 }
    }

    /// Tells a failure and goes on.
    pub(super) fn note(&mut self, session: &mut Session, error: impl Into<anyhow::Error>) {
        let error = error.into();
        let absent = error.downcast_ref::<Error>().is_some_and(Error::is_not_found);
        if !(absent && self.ignore_not_found) {
            session.io.tell(&crate::fault::text(&error));
            self.count += 1;
        }
    }

    pub(super) fn code(&self) -> std::process::ExitCode {
        if self.count == 0 { std::process::ExitCode::SUCCESS } else { std::process::ExitCode::FAILURE }
    }
}

/// Events about one object, oldest first in the server's order.
pub(super) async fn events(session: &Session, object: &Value) -> Vec<Value> {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    crate::board::events_about(
        &session.client,
        text("/metadata/namespace"),
        text("/kind"),
        text("/metadata/name"),
        text("/metadata/uid"),
    )
    .await
}

/// Drops ownership from objects that are shown to people.
pub(super) fn tidy(objects: &mut [Value]) {
    objects.iter_mut().for_each(without_managed_fields);
}
