//! `why`: which rule holds an object, in the words of the controllers that decide about it.
//!
//! The controllers are asked here, about the live state as just read: they are pure functions, so that the answer is the one
//! that a running controller acts on, and is there even when none runs.

mod advice;
mod budgets;
mod chain;
mod placing;
mod pod;

use std::process::ExitCode;

use api_meta::{ObjectKey, Resource};
use reconcile::{Note, PermitRequest, Plan, Row, Severity, Verdict};
use serde_json::Value;
use stdx::Time;
use view::{Answer, Reason};

use super::lookup::{self, Failures, Select};
use crate::Connect;
use crate::output::{self, Format, name as name_of};
use crate::scene::{self, NODES, PODS, Scene, is_same};
use crate::session::{Scope, Session};
use crate::thinkers::is_workload;
use crate::{targets, words};
use chain::Link;

/// Kinds of budgets that cover pods.
pub(super) const BUDGETS: [Resource; 2] = [budgets::DISRUPTIONS, budgets::UNAVAILABLE];

/// Flags of `why`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// `pod/NAME`, `cloneset NAME`, `cafedeployment/NAME`, `node/NAME`
    #[arg(value_name = "TYPE/NAME", required = true)]
    words: Vec<String>,
    #[command(flatten)]
    scope: Scope,
    /// Print the answer as: json, yaml
    #[arg(short, long, value_name = "FORMAT")]
    output: Option<String>,
    #[command(flatten)]
    pub(super) connect: Connect,
}

/// Actions named in an answer; the rest is counted.
const NEXT_MAX: usize = 8;
/// Pods of a workload that are looked into one by one.
const PODS_MAX: usize = 2000;

pub(super) async fn run(session: &mut Session, args: &Args) -> anyhow::Result<ExitCode> {
    let format = output::data_format(args.output.as_deref())?;
    let catalogue = session.catalogue().await?;
    let namespace = session.namespace(&args.scope);
    if session.thinkers.rows.is_empty() {
        session.io.tell("This program brings no controllers: only what objects say by themselves is told.");
    }
    let mut failures = Failures::default();
    let mut answers = Vec::new();
    for target in targets::parse(&catalogue, &args.words)? {
        if target.names.is_empty() {
            anyhow::bail!(
                "say which {}: `knarr why {}/NAME`",
                target.entry.resource.plural,
                target.entry.singular
            );
        }
        for object in lookup::objects(session, &target, &namespace, &Select::default(), &mut failures).await?
        {
            answers.push(answer(session, &target.entry.resource, object).await?);
        }
    }
    show(session, &format, &answers)?;
    Ok(failures.code())
}

fn show(session: &mut Session, format: &Format, answers: &[Answer]) -> anyhow::Result<()> {
    if answers.is_empty() {
        return Ok(());
    }
    let now = session.env.now();
    let text = match format.is_table() {
        true => answers.iter().map(|a| a.text(now)).collect::<Vec<_>>().join("\n"),
        false => output::data(format, answers)?,
    };
    session.io.say(&text);
    Ok(())
}

/// Looks into one object.
async fn answer(session: &mut Session, resource: &Resource, object: Value) -> anyhow::Result<Answer> {
    let catalogue = session.catalogue().await?;
    let owners = chain::owners(session, &catalogue, &object).await?;
    let namespace = scene::key_of(&object).namespace;
    let now = session.env.now();
    let mut kinds: Vec<Resource> = owners.iter().map(|o| o.resource.clone()).collect();
    kinds.push(resource.clone());
    let mut scene = Scene::new(now);
    let rows = session.thinkers.about(&kinds);
    session.thinkers.mirror(&mut scene, &rows);
    let places: Vec<String> = Some(namespace.clone()).filter(|n| !n.is_empty()).into_iter().collect();
    let places = session.thinkers.places(&session.client, places).await?;
    let pods = is_same(resource, &PODS) || is_workload(resource);
    let others: &[Resource] = if pods { &[PODS] } else { &[] };
    scene::read(&mut scene, &session.client, &places, others).await?;
    if let Some(permit) = &session.thinkers.permit {
        permit.observe(&scene.world, now);
    }
    let subject = Link { resource: resource.clone(), object };
    let mut out = Answer {
        object: name_of(&subject.object),
        namespace,
        part_of: owners.iter().map(|o| name_of(&o.object)).collect(),
        ..Answer::default()
    };
    let family = family_of(&scene, &subject);
    let members = pods_among(&scene, &family);
    state(&mut out, &subject, &members, now);
    for link in &owners {
        consult(session, &scene, &rows, (&link.resource, &scene::key_of(&link.object)), &mut out);
    }
    for (kind, key) in &family {
        consult(session, &scene, &rows, (kind, key), &mut out);
    }
    for object in &members {
        pod::tell(object, members.len() == 1 && is_same(resource, &PODS), now, &mut out);
    }
    finalizers(&subject, &mut out);
    if is_same(resource, &PODS) {
        placing::tell(session, &subject.object, &mut out).await?;
    }
    if is_same(resource, &NODES) {
        node(session, &subject.object, now, &mut out).await?;
    }
    budgets::tell(session, &subject, &members, &mut out).await?;
    warnings(session, &subject, &owners, now, &mut out).await;
    sort(&mut out);
    advice::give(&subject, &mut out);
    Ok(out)
}

/// The object itself, and what it owns.
fn family_of(scene: &Scene, subject: &Link) -> Vec<(Resource, ObjectKey)> {
    let uid = subject.object["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
    let mut family = vec![(subject.resource.clone(), scene::key_of(&subject.object))];
    family.extend(scene.family(&[uid]));
    family
}

fn pods_among(scene: &Scene, family: &[(Resource, ObjectKey)]) -> Vec<Value> {
    let pods = family.iter().filter(|(kind, _)| is_same(kind, &PODS)).take(PODS_MAX);
    pods.filter_map(|(kind, key)| scene.get(kind, key).cloned()).collect()
}

/// How it stands, and what its pods wait for.
fn state(out: &mut Answer, subject: &Link, pods: &[Value], now: Time) {
    let object = &subject.object;
    if is_same(&subject.resource, &PODS) {
        out.state = pod::state(object, now);
        return;
    }
    if let Some(progress) = view::progress(object) {
        out.state = match &progress.stage {
            view::Stage::Done => {
                format!("complete: {} of {} pods are available", progress.available, progress.desired)
            }
            view::Stage::Unseen => "its controller has not seen the newest spec yet".to_owned(),
            view::Stage::Paused => "paused".to_owned(),
            view::Stage::Failed(why) => format!("failed: {why}"),
            view::Stage::Rolling(what) => what.clone(),
        };
        if let Some(w) = view::release(object).and_then(|r| r.waits_for) {
            out.waits_for.push(Reason::new(name_of(object), w.reason, w.message).since(w.since));
        }
    } else {
        out.state = "it has no progress of its own".to_owned();
    }
    if scene::is_terminating(object) {
        out.state = format!(
            "being deleted since {}",
            view::age(object["metadata"]["deletionTimestamp"].as_str(), now)
        );
    }
    for wait in view::waits(object, pods, &[], now) {
        let by = if wait.pods == 0 { name_of(object) } else { String::new() };
        out.waits_for.push(Reason::new(by, "", wait.to_string()));
    }
}

/// Asks the controllers of one object what they would do now and what holds them back.
fn consult(
    session: &Session,
    scene: &Scene,
    rows: &[&Row],
    (kind, key): (&Resource, &ObjectKey),
    out: &mut Answer,
) {
    for row in rows.iter().filter(|r| is_same(&r.primary, kind)) {
        let Some(plan) = (row.step)(&scene.world, key, scene.now) else { continue };
        let name = output::reference(&row.primary.api_version(), &row.primary.kind, &key.name);
        notes(&plan, &name, out);
        let held = verdict(session, scene, row, key, &plan);
        let next: Vec<String> = plan.actions.iter().filter_map(words::told).collect();
        match held {
            Some(reason) => {
                let what = next.first().map_or("its next step".to_owned(), Clone::clone);
                out.held.push(Reason::new(&name, "Held", format!("{what}: {reason}")));
            }
            None => {
                let more = next.len().saturating_sub(NEXT_MAX);
                out.next.extend(next.into_iter().take(NEXT_MAX));
                out.next.extend((more > 0).then(|| format!("and {more} further steps")));
            }
        }
    }
}

/// What a plan says whether or not it is carried out.
fn notes(plan: &Plan, name: &str, out: &mut Answer) {
    let standing = |(i, _): &(usize, &Note)| !plan.after.contains_key(i);
    for (_, note) in plan.notes.iter().enumerate().filter(standing) {
        let by = match &note.about {
            Some(t) => output::reference(&t.resource.api_version(), &t.resource.kind, &t.key.name),
            None => name.to_owned(),
        };
        let message = note.message.strip_prefix("held: ").unwrap_or(&note.message);
        match note.severity {
            Severity::Why => out.held.push(Reason::new(by, note.reason, message)),
            Severity::Warning => out.warnings.push(format!("{}: {message} ({by})", note.reason)),
            Severity::Normal => {}
        }
    }
}

/// Why the permit point would not let the plan pass.
fn verdict(session: &Session, scene: &Scene, row: &Row, key: &ObjectKey, plan: &Plan) -> Option<String> {
    let permit = session.thinkers.permit.as_ref()?;
    plan.actions.iter().find_map(|action| {
        let request = PermitRequest::of(row.name, &key.to_string(), action)?;
        match permit.ask(&request, Some(&scene.world), scene.now) {
            Verdict::Granted => None,
            Verdict::Held { reason, .. } => Some(reason),
        }
    })
}

/// Who must act before a deletion is through.
fn finalizers(subject: &Link, out: &mut Answer) {
    if !scene::is_terminating(&subject.object) || is_same(&subject.resource, &PODS) {
        return;
    }
    for finalizer in scene::finalizers(&subject.object) {
        let message = format!("its deletion waits until {finalizer} is taken off by who put it there");
        out.waits_for.push(Reason::new("", "Finalizer", message));
    }
}

/// What a node says about itself, and the pods that have to leave it.
async fn node(session: &Session, node: &Value, now: Time, out: &mut Answer) -> anyhow::Result<()> {
    let name = node["metadata"]["name"].as_str().unwrap_or_default();
    let conditions = node["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let ready = conditions.iter().find(|c| c["type"] == "Ready");
    out.state = match ready.and_then(|c| c["status"].as_str()) {
        Some("True") => "ready".to_owned(),
        Some("False") => "not ready".to_owned(),
        _ => "unknown: it has not been heard of".to_owned(),
    };
    let bad = |c: &&Value| if c["type"] == "Ready" { c["status"] != "True" } else { c["status"] == "True" };
    for c in conditions.iter().filter(bad) {
        let text = |field: &str| c[field].as_str().unwrap_or_default().to_owned();
        let since = c["lastTransitionTime"].as_str().and_then(|t| t.parse().ok());
        out.held.push(Reason::new("", text("reason"), text("message")).since(since));
    }
    if node["spec"]["unschedulable"] == true {
        out.held.push(Reason::new("", "Cordoned", "no pod is placed here"));
    }
    for taint in node["spec"]["taints"].as_array().into_iter().flatten() {
        let text = |field: &str| taint[field].as_str().unwrap_or_default();
        let message = match text("effect") {
            "NoExecute" => format!("taint {} removes pods that do not tolerate it", text("key")),
            _ => format!("taint {} keeps pods away that do not tolerate it", text("key")),
        };
        out.held.push(Reason::new("", text("effect"), message));
    }
    let options =
        api_client::ListOptions { fields: format!("spec.nodeName={name}"), ..Select::default().options() };
    let pods = lookup::list(session, &PODS, "", options).await?;
    out.state = format!("{}, with {} pods", out.state, pods.len());
    pods.iter().for_each(|object| pod::leaving(object, now, out));
    Ok(())
}

/// Recent warnings about the object and its owners.
async fn warnings(session: &Session, subject: &Link, owners: &[Link], now: Time, out: &mut Answer) {
    for link in std::iter::once(subject).chain(owners) {
        let events = lookup::events(session, &link.object).await;
        out.warnings.extend(
            view::warnings(&events, now).into_iter().map(|w| format!("{w} ({})", name_of(&link.object))),
        );
    }
}

/// What names the object itself comes first; nothing is said twice.
fn sort(out: &mut Answer) {
    let own = out.object.clone();
    let short = own.rsplit('/').next().unwrap_or_default().to_owned();
    merge(out);
    for list in [&mut out.held, &mut out.waits_for] {
        let mut seen: Vec<String> = Vec::new();
        list.retain(|r| {
            // The same sentence may come with its reason in front, from a condition or an event.
            let is_new = !seen.iter().any(|s| r.message.ends_with(s.as_str()));
            seen.push(r.message.clone());
            is_new
        });
        list.sort_by_key(|r| !(r.by == own || r.message.contains(&short)));
    }
    let told = out.warnings.clone();
    let bare = |w: &str| w.rsplit_once(" (").map_or(w.to_owned(), |(text, _)| text.to_owned());
    let repeated = |w: &String| told.iter().any(|other| other != w && other.starts_with(&bare(w)));
    out.warnings.retain(|w| !repeated(w));
    out.warnings.dedup();
}

/// A note of a controller and its trace in a status are one reason: the status knows the word and the moment. What goes on
/// by itself is waited for, not held.
fn merge(out: &mut Answer) {
    for held in &mut out.held {
        if let Some(wait) = out.waits_for.iter().find(|w| w.message == held.message && !w.reason.is_empty()) {
            held.reason.clone_from(&wait.reason);
            held.since = held.since.or(wait.since);
        }
    }
    let waits = out.waits_for.clone();
    out.held
        .retain(|h| h.reason != "Draining" || !waits.iter().any(|w| w.reason == h.reason && w.by == h.by));
    let held: Vec<String> = out.held.iter().map(|h| h.message.clone()).collect();
    out.waits_for.retain(|w| !held.iter().any(|h| w.message.ends_with(h.as_str())));
}
