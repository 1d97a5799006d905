//! Asks hooks about a write: mutating ones in turn, validating ones at once.
//!
//! ```text
//! mutate   hook 1 ─patch─> hook 2 ─patch─> …   whoever wants to, is asked again when a later one changed the object
//! validate hook 1 │ hook 2 │ …                 the first refusal in their order counts
//! ```

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use api_admission::hooks::{Equivalent, Failure, Hook, Invocation};
use api_admission::review::{self, Answer, Objects, Role, Unusable};
use api_admission::{Attributes, Kind, Operation, Place, is_exempt};
use api_meta::{Cause, Reason, StatusDetails};
use bytes::Bytes;
use futures_util::future::join_all;
use serde_json::{Value, json};
use stdx::Time;
use store::Key;

use super::call::Post;
use super::index::Prepared;
use crate::cel::{Conditions, Subject, Verdict, policy};
use crate::metrics::{self, HookCall};
use crate::pipeline::{convert, decode};
use crate::refuse::{Outcome, Refusal, forbidden, internal, not_found, refuse};
use crate::registry::Served;
use crate::server::Call;
use crate::stored;

/// Bytes of an answer (upstream reads any; a patch of an object is not larger than objects are).
const ANSWER_BYTES_MAX: usize = 8 << 20;
const NAMESPACES: api_meta::Resource = api_meta::Resource::cluster("", "v1", "namespaces", "Namespace");

/// A write as hooks see it.
#[derive(Clone, Debug)]
pub(crate) struct Write<'a> {
    /// What is done.
    pub(crate) operation: Operation,
    /// Subresource, or empty.
    pub(crate) subresource: &'a str,
    /// Name; empty while it is not known.
    pub(crate) name: &'a str,
    /// Kind of what the request carries, where that is not the object itself (`Scale`, `Eviction`).
    pub(crate) kind: Option<Kind>,
    /// Nothing will be stored.
    pub(crate) dry_run: bool,
    /// Options of the request as hooks see them.
    pub(crate) options: Value,
}

/// What mutating hooks did so far: they are asked in at most two rounds.
#[derive(Default)]
pub(crate) struct Rounds {
    is_second: bool,
    /// An object was changed by a hook.
    is_changed: bool,
    /// Hooks that were asked, want to be asked again, and have seen the last change.
    asked: BTreeSet<usize>,
    /// Hooks that want to see what was changed after them.
    again: BTreeSet<usize>,
    /// The object as hooks left it.
    last: Option<Value>,
}

impl Rounds {
    /// Whether a second round is due. What is not a hook then has its second turn too, before it.
    pub(crate) fn begin_second(&mut self) -> bool {
        let is_due = self.is_changed && !self.is_second;
        self.is_second = true;
        is_due
    }
}

/// Lets mutating hooks change an object, or refuse the write. `object` is none when it is deleted.
pub(crate) async fn mutate(
    call: &Call,
    served: &Served,
    write: &Write<'_>,
    mut object: Option<&mut Value>,
    old: Option<&Value>,
    rounds: &mut Rounds,
) -> Outcome<()> {
    let hooks = call.server.hooks.current();
    if hooks.mutating.is_empty() || is_exempt(&served.resource.group, &served.resource.plural) {
        return Ok(());
    }
    if rounds.is_second && rounds.last.as_ref() != object.as_deref() {
        rounds.again.append(&mut rounds.asked);
    }
    let (user, others) = (user(call), OnceLock::new());
    for (i, prepared) in hooks.mutating.iter().enumerate() {
        if rounds.is_second && !rounds.again.contains(&i) {
            continue;
        }
        let request = attributes(call, served, write, &user, object.as_deref());
        let review = Review { call, served, write, request: &request, others: &others };
        let Some(invocation) = review.invocation(prepared.wish(), object.as_deref(), old).await? else {
            continue;
        };
        let changed =
            review.change(prepared, &invocation, object.as_deref(), old, (rounds.is_second, i)).await?;
        if let (Some(changed), Some(object)) = (changed, object.as_deref_mut()) {
            *object = changed;
            rounds.is_changed = true;
            rounds.again.append(&mut rounds.asked);
        }
        if prepared.hook.is_reinvoked {
            rounds.asked.insert(i);
        }
    }
    rounds.last = rounds.is_changed.then(|| object.as_deref().cloned()).flatten();
    Ok(())
}

/// Lets policies and validating hooks refuse a write. The objects are in any version of their kind.
pub(crate) async fn validate(
    call: &Call,
    served: &Served,
    write: &Write<'_>,
    object: Option<&Value>,
    old: Option<&Value>,
) -> Outcome<()> {
    let hooks = call.server.hooks.current();
    let is_quiet = hooks.validating.is_empty() && !policy::is_any(call);
    if is_quiet || is_exempt(&served.resource.group, &served.resource.plural) {
        return Ok(());
    }
    let (user, others) = (user(call), OnceLock::new());
    let request = attributes(call, served, write, &user, object);
    let review = Review { call, served, write, request: &request, others: &others };
    policy::admit(&review, object, old).await?;
    let mut asked = Vec::new();
    for (i, prepared) in hooks.validating.iter().enumerate() {
        let Some(invocation) = review.invocation(prepared.wish(), object, old).await? else { continue };
        let objects = review.objects(&invocation, object, old).await?;
        asked.push((i, prepared, invocation, objects));
    }
    let answers =
        asked.iter().map(|(i, prepared, invocation, objects)| {
            let review = &review;
            async move {
                (*i, *prepared, review.ask(prepared, invocation, objects.seen(), Role::Validating).await)
            }
        });
    let began = call.server.env.now();
    let answers = join_all(answers).await;
    // They were asked at once: what they took together is not the sum.
    review.took(began);
    for (i, prepared, answer) in answers {
        review.judge(
            prepared,
            answer,
            Role::Validating,
            &format!("failed-open.validation.webhook.admission.k8s.io/round_0_index_{i}"),
        )?;
    }
    Ok(())
}

/// Who asks, as hooks see it.
fn user(call: &Call) -> Value {
    let user = &call.user;
    let mut out = json!({"username": user.name});
    for (key, value) in
        [("uid", json!(user.uid)), ("groups", json!(user.groups)), ("extra", json!(user.extra))]
    {
        let is_empty = value.as_str() == Some("")
            || value.as_array().is_some_and(Vec::is_empty)
            || value.as_object().is_some_and(serde_json::Map::is_empty);
        if !is_empty {
            out[key] = value;
        }
    }
    out
}

fn place(served: &Served) -> Place {
    let r = &served.resource;
    Place { group: r.group.to_string(), version: r.version.to_string(), resource: r.plural.to_string() }
}

fn kind(served: &Served) -> Kind {
    let r = &served.resource;
    Kind { group: r.group.to_string(), version: r.version.to_string(), kind: r.kind.to_string() }
}

fn attributes<'a>(
    call: &'a Call,
    served: &Served,
    write: &'a Write<'a>,
    user: &'a Value,
    object: Option<&'a Value>,
) -> Attributes<'a> {
    let own_name = object.and_then(|o| o["metadata"]["name"].as_str()).unwrap_or_default();
    let name = if write.name.is_empty() { own_name } else { write.name };
    let is_namespace = &*served.storage_key == "namespaces";
    Attributes {
        operation: write.operation,
        place: place(served),
        subresource: write.subresource,
        kind: write.kind.clone().unwrap_or_else(|| kind(served)),
        namespace: if is_namespace { name } else { call.namespace(served) },
        name,
        dry_run: write.dry_run,
        user,
        options: &write.options,
    }
}

/// Why a hook's verdict cannot be had, or what it is.
enum Trouble {
    /// It could not be called, or did not answer properly: its failure policy decides.
    Call(String),
    /// It allows, with a patch that cannot be read: whatever the policy, this write cannot go on.
    Patch(String),
    /// It refused, or whatever the policy, this write cannot go on.
    Ends(Box<Refusal>),
}

/// The objects of a write in the version of one hook.
pub(crate) struct Seen {
    pub(crate) new: Option<Value>,
    pub(crate) old: Option<Value>,
}

impl Seen {
    fn seen(&self) -> Objects<'_> {
        Objects { new: self.new.as_ref(), old: self.old.as_ref() }
    }
}

/// One write before hooks and policies.
pub(crate) struct Review<'a> {
    pub(crate) call: &'a Call,
    pub(crate) served: &'a Served,
    write: &'a Write<'a>,
    pub(crate) request: &'a Attributes<'a>,
    /// The same objects in their other versions; found when the first hook needs to know.
    others: &'a OnceLock<Vec<Equivalent>>,
}

impl Review<'_> {
    /// In which version a hook wants to be asked, if at all. A policy is met as a hook is.
    pub(crate) async fn invocation(
        &self,
        (hook, conditions): (&Hook, &Conditions),
        new: Option<&Value>,
        old: Option<&Value>,
    ) -> Outcome<Option<Invocation>> {
        if !hook.selects(new, old) {
            return Ok(None);
        }
        // Rules before namespaces: the cheaper question first. A namespace that is missing only matters to a hook that is met.
        let own = hook.invocation(self.request, &[]);
        let others = || self.others.get_or_init(|| self.equivalents());
        let met = own
            .or_else(|| if hook.takes_equivalents { hook.invocation(self.request, others()) } else { None });
        let Some(invocation) = met else { return Ok(None) };
        if !self.is_in_namespace(hook, new)? {
            return Ok(None);
        }
        if conditions.is_empty() {
            return Ok(Some(invocation));
        }
        let objects = self.objects(&invocation, new, old).await?;
        let seen = Subject::new(self.call, (self.request, &invocation), (&objects.new, &objects.old));
        match conditions.judge(&seen) {
            Verdict::Match => Ok(Some(invocation)),
            Verdict::Skip => Ok(None),
            Verdict::Failed(why) if hook.failure == Failure::Ignore => {
                tracing::warn!(webhook = %hook.name, why, "match conditions cannot be told, so the hook is not asked");
                Ok(None)
            }
            Verdict::Failed(why) => Err(forbidden(&self.served.resource, self.request.name, &why)),
        }
    }

    /// The same objects in their other versions.
    fn equivalents(&self) -> Vec<Equivalent> {
        let same = self.call.snapshot.all().filter(|s| s.storage_key == self.served.storage_key);
        let others = same.filter(|s| s.resource != self.served.resource);
        others.map(|s| (place(s), self.write.kind.clone().unwrap_or_else(|| kind(s)))).collect()
    }

    fn is_in_namespace(&self, hook: &Hook, new: Option<&Value>) -> Outcome<bool> {
        let name = self.request.namespace;
        if hook.namespaces.is_empty() || name.is_empty() {
            return Ok(true);
        }
        let is_namespace = &*self.served.storage_key == "namespaces" && self.write.subresource.is_empty();
        // A namespace is judged as it will be.
        if let (true, Some(new)) = (is_namespace, new) {
            return Ok(hook.selects_namespace(new));
        }
        let found = self.call.server.store.get(&Key::new("namespaces", "", name));
        let found = found.ok_or_else(|| not_found(&NAMESPACES, name))?;
        Ok(hook.selects_namespace(&stored::decode(&found)?))
    }

    /// The objects in the version of a hook.
    pub(crate) async fn objects(
        &self,
        to: &Invocation,
        new: Option<&Value>,
        old: Option<&Value>,
    ) -> Outcome<Seen> {
        Ok(Seen { new: self.seen(to, new).await?, old: self.seen(to, old).await? })
    }

    async fn seen(&self, to: &Invocation, object: Option<&Value>) -> Outcome<Option<Value>> {
        let Some(object) = object else { return Ok(None) };
        let Some(other) = self.other(to, object) else {
            let mut object = object.clone();
            api_patch::managed::unfold(&mut object);
            return Ok(Some(object));
        };
        let stored = convert::to_stored(self.served, object.clone()).await?;
        let mut object = convert::to_served(&other, stored).await?;
        api_patch::managed::unfold(&mut object);
        Ok(Some(object))
    }

    /// The resource that an object has to be converted to for a hook; none when it is as it should be.
    fn other(&self, to: &Invocation, object: &Value) -> Option<Arc<Served>> {
        let other = self.call.snapshot.get(&to.place.group, &to.place.version, &to.place.resource)?;
        let is_there = object["apiVersion"].as_str() == Some(&other.resource.api_version());
        (self.write.kind.is_none() && !is_there).then(|| other.clone())
    }

    /// Asks a mutating hook; gives the object when it is another one now.
    async fn change(
        &self,
        prepared: &Prepared,
        invocation: &Invocation,
        new: Option<&Value>,
        old: Option<&Value>,
        (is_second, i): (bool, usize),
    ) -> Outcome<Option<Value>> {
        let objects = self.objects(invocation, new, old).await?;
        let began = self.call.server.env.now();
        let answer = self.ask(prepared, invocation, objects.seen(), Role::Mutating).await;
        self.took(began);
        let at = format!("round_{}_index_{i}", u8::from(is_second));
        let note = format!("failed-open.mutation.webhook.admission.k8s.io/{at}");
        let Some(answer) = self.judge(prepared, answer, Role::Mutating, &note)? else { return Ok(None) };
        let changed = match answer.patch {
            Some(patch) => self.patched(&prepared.hook, invocation, objects.new, &patch).await?,
            None => None,
        };
        let hook = &prepared.hook;
        let told =
            json!({"configuration": hook.configuration, "webhook": hook.name, "mutated": changed.is_some()});
        self.call.note(format!("mutation.webhook.admission.k8s.io/{at}"), told.to_string());
        Ok(changed)
    }

    /// The object with a patch laid over it, decoded and defaulted as if a client had sent it; none when nothing changed.
    async fn patched(
        &self,
        hook: &Hook,
        invocation: &Invocation,
        seen: Option<Value>,
        patch: &Value,
    ) -> Outcome<Option<Value>> {
        let Some(seen) = seen else {
            let why = "attempted to modify the object, which is not supported for this operation";
            return Err(internal_error(&format!("admission webhook {:?} {why}", hook.name)));
        };
        let mut new = seen.clone();
        api_patch::json::apply(&mut new, patch).map_err(|e| internal_error(&e.to_string()))?;
        let place = &invocation.place;
        let other = self.call.snapshot.get(&place.group, &place.version, &place.resource);
        if let (None, Some(other)) = (&self.write.kind, other) {
            decode::check(&mut new, &decode::expected(other)).map_err(|e| internal_error(&e))?;
            decode::default(&mut new, other);
            if new != seen && other.resource != self.served.resource {
                let stored = convert::to_stored(other, new).await?;
                return convert::to_served(self.served, stored).await.map(Some);
            }
        }
        Ok((new != seen).then_some(new))
    }

    /// One question, one answer.
    async fn ask(
        &self,
        prepared: &Prepared,
        invocation: &Invocation,
        objects: Objects<'_>,
        role: Role,
    ) -> Result<Answer, Trouble> {
        let hook = &prepared.hook;
        if self.write.dry_run && !hook.takes_dry_runs {
            let text = format!("admission webhook {:?} does not support dry run", hook.name);
            return Err(Trouble::Ends(refuse(Reason::BadRequest, text)));
        }
        let Some(version) = hook.review else {
            let why = "could not create admission objects: webhook does not accept known AdmissionReview versions (v1beta1, v1)";
            return Err(Trouble::Call(why.to_owned()));
        };
        let Some(target) = &prepared.target else {
            return Err(Trouble::Call(
                "could not get REST client: clientConfig names no place to call".to_owned(),
            ));
        };
        let server = &self.call.server;
        let uid = stdx::uid(&*server.env.rng);
        let question = review::question(version, &uid, self.request, invocation, objects);
        let post = Post {
            target,
            bundle: &prepared.bundle,
            query: format!("timeout={}s", hook.timeout_secs),
            body: question.to_string().into(),
            timeout: Duration::from_secs(hook.timeout_secs),
            answer_bytes_max: ANSWER_BYTES_MAX,
        };
        let began = server.env.now();
        let body = server.caller.post(&post).await;
        let took = server.env.now().since(began);
        let outcome = self.read(prepared, (version, &uid, role), body);
        server.metrics.hook(&HookCall {
            name: &hook.name,
            operation: self.write.operation.as_str(),
            kind: role_name(role),
            took,
            code: match &outcome {
                Err(Trouble::Call(_)) => 0,
                Ok(_) | Err(Trouble::Patch(_) | Trouble::Ends(_)) => 200,
            },
            refused: match &outcome {
                Ok(_) => None,
                // The write goes on without it.
                Err(Trouble::Call(_)) if hook.failure == Failure::Ignore => None,
                Err(Trouble::Patch(_)) => Some((200, "apiserver_internal_error")),
                Err(Trouble::Ends(refusal)) => Some((refusal.status.code, "no_error")),
                Err(Trouble::Call(_)) => Some((0, "calling_webhook_error")),
            },
        });
        outcome
    }

    /// The time since then was spent on hooks.
    fn took(&self, began: Time) {
        let took = metrics::micros(self.call.server.env.now().since(began));
        self.call.webhook_micros.fetch_add(took, Ordering::Relaxed);
    }

    /// What a hook's answer says.
    fn read(
        &self,
        prepared: &Prepared,
        (version, uid, role): (api_admission::hooks::Review, &str, Role),
        body: Result<Bytes, String>,
    ) -> Result<Answer, Trouble> {
        let hook = &prepared.hook;
        let body = body.map_err(|why| Trouble::Call(format!("failed to call webhook: {why}")))?;
        let answer = review::answer(version, uid, role, &body).map_err(|unusable| match unusable {
            Unusable::Invalid(why) => Trouble::Call(format!("received invalid webhook response: {why}")),
            Unusable::Patch(why) => Trouble::Patch(why),
        })?;
        for (key, value) in review::annotations(&hook.name, &answer) {
            self.call.note(key, value.as_str().unwrap_or_default().to_owned());
        }
        answer.warnings.iter().for_each(|text| self.call.warn(text.clone()));
        if answer.is_allowed {
            Ok(answer)
        } else {
            Err(Trouble::Ends(review::denied(&hook.name, &answer.result).into()))
        }
    }

    /// Whether a write may go on after an answer, or without one.
    fn judge(
        &self,
        prepared: &Prepared,
        answer: Result<Answer, Trouble>,
        role: Role,
        note: &str,
    ) -> Outcome<Option<Answer>> {
        let hook = &prepared.hook;
        match answer {
            Ok(answer) => Ok(Some(answer)),
            Err(Trouble::Ends(refusal)) => Err(refusal),
            Err(Trouble::Patch(why)) => Err(internal_error(&why)),
            Err(Trouble::Call(why)) if hook.failure == Failure::Ignore => {
                tracing::warn!(webhook = %hook.name, why, "a webhook failed and is ignored");
                self.call.note(note.to_owned(), hook.name.clone());
                self.call.server.metrics.hook_failed_open(&hook.name, role_name(role));
                Ok(None)
            }
            Err(Trouble::Call(why)) => {
                Err(internal_error(&format!("failed calling webhook {:?}: {why}", hook.name)))
            }
        }
    }
}

/// Name of a role in upstream's metrics.
fn role_name(role: Role) -> &'static str {
    match role {
        Role::Mutating => "admit",
        Role::Validating => "validating",
    }
}

/// What upstream makes of an error: its words, and once more as a cause.
fn internal_error(why: &str) -> Box<Refusal> {
    let mut refusal = internal(why);
    let causes = vec![Cause { message: why.to_owned(), ..Cause::default() }];
    refusal.status.details = Some(StatusDetails { causes, ..StatusDetails::default() });
    refusal
}
