//! Carries plans out: in order, fenced, in growing batches, up to the first failure. Decides nothing.

use std::ops::Range;
use std::time::Duration;

use api_client::{Class, Client, DeleteOptions, Error, MetaOnly, Patch, WriteOptions};
use api_meta::{ObjectKey, ObjectMeta, Reason, Resource, Status};
use futures_util::future::join_all;
use reconcile::{Action, Form, Propagation, Target, Verb};
use serde_json::{Value, json};
use stdx::Env;

use crate::metrics::Metrics;

/// Requests of one plan under way at a time.
const BATCH_MAX: usize = 64;

/// What became of a plan.
#[derive(Default)]
pub(crate) struct Outcome {
    /// How many of its actions are done, counted from the first.
    pub done: usize,
    /// What the caches will show.
    pub writes: Vec<Write>,
    /// What became of each action, from the first on; those that are missing were not tried.
    pub fates: Vec<reconcile::Outcome>,
    /// Why it was not carried out whole.
    pub failure: Option<Failed>,
}

/// A write that the caches will show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Write {
    /// The collection at this version.
    At { resource: Resource, revision: u64 },
    /// The object terminating or gone.
    Gone { resource: Resource, key: ObjectKey, uid: String },
}

/// The first failure of a plan.
pub(crate) struct Failed {
    pub verb: Verb,
    pub resource: Resource,
    pub error: Error,
}

/// Writes in the name of one controller.
#[derive(Clone)]
pub(crate) struct Executor {
    pub controller: &'static str,
    pub client: Client,
    pub env: Env,
    pub request_max: Duration,
    pub metrics: std::sync::Arc<Metrics>,
}

impl Executor {
    /// Carries out the actions. Neighbours of one sort go together, one, two, four, … at a time, so that a refusal that
    /// meets all of them costs one request.
    pub(crate) async fn carry_out(&self, actions: &[Action]) -> Outcome {
        let mut outcome = Outcome::default();
        while outcome.done < actions.len() {
            let run = run_of_one_sort(actions, outcome.done);
            let mut size = 1;
            while outcome.done < run.end {
                let end = run.end.min(outcome.done + size);
                self.batch(&actions[outcome.done..end], &mut outcome).await;
                if outcome.failure.is_some() {
                    return outcome;
                }
                size = (size * 2).min(BATCH_MAX);
            }
        }
        outcome
    }

    async fn batch(&self, actions: &[Action], outcome: &mut Outcome) {
        let results = join_all(actions.iter().map(|action| self.act(action))).await;
        for (action, result) in actions.iter().zip(results) {
            outcome.fates.push(fate(&result));
            match result {
                Ok(write) => {
                    outcome.writes.extend(write);
                    if outcome.failure.is_none() {
                        outcome.done += 1;
                    }
                }
                Err(error) if outcome.failure.is_none() => {
                    let (verb, resource) = (action.verb(), action.resource().clone());
                    outcome.failure = Some(Failed { verb, resource, error });
                }
                Err(_) => {}
            }
        }
    }

    /// Carries out one action, within the time a request may take.
    pub(crate) async fn act(&self, action: &Action) -> Result<Option<Write>, Error> {
        let result = tokio::select! {
            biased;
            result = self.request(action) => result,
            () = self.env.sleep(self.request_max) => {
                Err(Error::Unreachable(format!("no answer within {} s", self.request_max.as_secs())))
            }
        };
        let code = match &result {
            Ok(_) => "200".to_owned(),
            Err(Error::Refused(status)) => status.code.to_string(),
            Err(_) => "none".to_owned(),
        };
        self.metrics.wrote(self.controller, action.verb(), &action.resource().plural, &code);
        result
    }

    async fn request(&self, action: &Action) -> Result<Option<Write>, Error> {
        match action {
            Action::Require { target } => self.require(target).await.map(|()| None),
            Action::Create { resource, body } => self.create(resource, body).await.map(Some),
            Action::Patch { target, subresource, form, body, .. } => {
                let meta = self.patch(target, subresource, *form, body).await?;
                Ok(Some(at(&target.resource, &meta)))
            }
            Action::Delete { target, grace_seconds, propagation, .. } => {
                let options = DeleteOptions {
                    uid: target.uid.clone(),
                    resource_version: target.revision.map(|r| r.to_string()).unwrap_or_default(),
                    grace_period_seconds: *grace_seconds,
                    propagation: propagation.map_or("", propagation_name),
                    dry_run: false,
                };
                let key = (target.key.namespace.as_str(), target.key.name.as_str());
                match self.client.delete(&target.resource, key, &options).await {
                    Err(error) if error.is_not_found() => {}
                    other => other?,
                }
                let (resource, key, uid) = (target.resource.clone(), target.key.clone(), target.uid.clone());
                Ok(Some(Write::Gone { resource, key, uid }))
            }
        }
    }

    async fn require(&self, target: &Target) -> Result<(), Error> {
        let (namespace, name) = (&target.key.namespace, &target.key.name);
        let found = self.client.get::<MetaOnly>(&target.resource, namespace, name).await?.metadata;
        if found.uid == target.uid && !found.is_terminating() {
            return Ok(());
        }
        let message = format!("{} {} is going away or was replaced", target.resource, target.key);
        Err(Error::refused(Status::failure(Reason::Conflict, message)))
    }

    /// Creates, or finds what an earlier attempt has created: an object of that name with the same controller.
    async fn create(&self, resource: &Resource, body: &Value) -> Result<Write, Error> {
        let text = |field: &str| body["metadata"][field].as_str().unwrap_or_default();
        let (namespace, name) = (text("namespace"), text("name"));
        let result = self.client.create::<MetaOnly>(resource, namespace, body, &self.write_options()).await;
        let error = match result {
            Ok(created) => return Ok(at(resource, &created.metadata)),
            // Without an answer, too, it may be there: names are fixed, so a look tells.
            Err(error) if matches!(error.class(), Class::Exists) || is_unanswered(&error) => error,
            Err(error) => return Err(error),
        };
        let Ok(found) = self.client.get::<MetaOnly>(resource, namespace, name).await else {
            return Err(error);
        };
        let found = found.metadata;
        let wanted: ObjectMeta = serde_json::from_value(body["metadata"].clone()).unwrap_or_default();
        let uid = |meta: &ObjectMeta| meta.controller().map(|o| o.uid.clone());
        let ours = uid(&wanted).is_some() && uid(&wanted) == uid(&found) && !found.is_terminating();
        if ours { Ok(at(resource, &found)) } else { Err(error) }
    }

    async fn patch(
        &self,
        target: &Target,
        subresource: &'static str,
        form: Form,
        body: &Value,
    ) -> Result<ObjectMeta, Error> {
        let body = fenced(target, form, body);
        let key = (target.key.namespace.as_str(), target.key.name.as_str());
        let mut options = self.write_options();
        let answer: MetaOnly = match form {
            Form::Replace => self.client.replace(&target.resource, key, subresource, &body, &options).await?,
            Form::Merge => self.send(target, key, subresource, &Patch::Merge(body), &options).await?,
            Form::Strategic => self.send(target, key, subresource, &Patch::Strategic(body), &options).await?,
            Form::Apply => {
                options.force = true;
                self.send(target, key, subresource, &Patch::Apply(body), &options).await?
            }
        };
        Ok(answer.metadata)
    }

    async fn send(
        &self,
        target: &Target,
        key: (&str, &str),
        subresource: &str,
        patch: &Patch,
        options: &WriteOptions,
    ) -> Result<MetaOnly, Error> {
        self.client.patch(&target.resource, key, subresource, patch, options).await
    }

    fn write_options(&self) -> WriteOptions {
        WriteOptions { manager: self.controller.to_owned(), ..WriteOptions::default() }
    }
}

/// What a grant's keeper is told.
pub(crate) fn fate(result: &Result<Option<Write>, Error>) -> reconcile::Outcome {
    match result {
        Ok(Some(Write::At { revision, .. })) => reconcile::Outcome::Done(Some(*revision)),
        Ok(_) => reconcile::Outcome::Done(None),
        Err(error) if is_unanswered(error) => reconcile::Outcome::Unknown,
        Err(_) => reconcile::Outcome::Undone,
    }
}

fn is_unanswered(error: &Error) -> bool {
    matches!(error, Error::Unreachable(_))
}

fn at(resource: &Resource, meta: &ObjectMeta) -> Write {
    Write::At { resource: resource.clone(), revision: meta.revision() }
}

fn propagation_name(propagation: Propagation) -> &'static str {
    match propagation {
        Propagation::Foreground => "Foreground",
        Propagation::Background => "Background",
        Propagation::Orphan => "Orphan",
    }
}

/// The body with the identity, and the version when given, that the object must have.
fn fenced(target: &Target, form: Form, body: &Value) -> Value {
    let mut body = body.clone();
    if !target.uid.is_empty() {
        body["metadata"]["uid"] = json!(target.uid);
    }
    if let Some(revision) = target.revision {
        body["metadata"]["resourceVersion"] = json!(revision.to_string());
    }
    if matches!(form, Form::Apply | Form::Replace) {
        body["apiVersion"] = json!(target.resource.api_version());
        body["kind"] = json!(target.resource.kind);
        body["metadata"]["name"] = json!(target.key.name);
        if !target.key.namespace.is_empty() {
            body["metadata"]["namespace"] = json!(target.key.namespace);
        }
    }
    body
}

/// The neighbours from `start` on that do the same to different objects of one collection.
fn run_of_one_sort(actions: &[Action], start: usize) -> Range<usize> {
    let sort = |action: &Action| {
        let subresource = match action {
            Action::Patch { subresource, .. } => *subresource,
            _ => "",
        };
        (action.verb(), action.resource().clone(), subresource, action.risk())
    };
    let first = sort(&actions[start]);
    let mut keys = std::collections::BTreeSet::from([actions[start].key()]);
    let more = actions[start + 1..].iter().take_while(|a| sort(a) == first && keys.insert(a.key())).count();
    start..start + 1 + more
}

/// A failure that says nothing about the plan: somebody else was quicker, and another look settles it.
pub(crate) fn is_race(error: &Error) -> bool {
    matches!(error.class(), Class::Conflict | Class::NotFound | Class::Exists)
}

/// Whether the namespace is going away, which is no news.
pub(crate) fn is_namespace_terminating(status: &Status) -> bool {
    let causes = status.details.as_ref().map_or(&[][..], |d| &d.causes);
    status.is(Reason::Forbidden) && causes.iter().any(|c| c.reason == "NamespaceTerminating")
}
