//! `abort` and `rollback`.

use anyhow::bail;
use api_workload::names::cafe::ROLLBACK_TO;
use serde_json::{Value, json};

use super::revisions::{self, Past};
use super::steer;
use super::subject::{Kind, Subject, Wish};
use super::{Named, steer::is_on};
use crate::session::Session;

/// Flags of `rollback`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    pub(super) named: Named,
    /// Revision to go to: its name, the end of its name, or its number [default: the one before]
    #[arg(long, value_name = "REVISION")]
    to: Option<String>,
}

/// Gives up the release under way.
pub(super) async fn abort(session: &mut Session, named: &Named) -> anyhow::Result<()> {
    let mut subject = Subject::find(session, named).await?;
    let all = revisions::of(session, &subject).await?;
    subject
        .change(session, |subject| match under_way(subject, &all)? {
            Some(good) => Ok(go(subject, good, "aborted: goes")),
            None => Ok(Wish::Nothing(
                "has no release under way; `release rollback` goes back behind one that is done".to_owned(),
            )),
        })
        .await
}

/// Goes back to a revision.
pub(super) async fn rollback(session: &mut Session, args: &Args) -> anyhow::Result<()> {
    let mut subject = Subject::find(session, &args.named).await?;
    let all = revisions::of(session, &subject).await?;
    subject
        .change(session, |subject| {
            let target = match &args.to {
                Some(wish) => revisions::named(&all, wish)?,
                None if phase(subject) == "RollingBack" => {
                    return Ok(Wish::Nothing("is rolling back already".to_owned()));
                }
                None => previous(subject, &all)?,
            };
            Ok(go(subject, target, "goes"))
        })
        .await
}

fn phase(subject: &Subject) -> &str {
    subject.object["status"]["phase"].as_str().unwrap_or_default()
}

/// The last good revision, when another one is being rolled out.
fn under_way<'p>(subject: &Subject, all: &'p [Past]) -> anyhow::Result<Option<&'p Past>> {
    let status = &subject.object["status"];
    let named = |field: &str| status[field].as_str().unwrap_or_default();
    match subject.kind {
        Kind::Cafe | Kind::CloneSet => {
            let (good, new) = (named("currentRevision"), named("updateRevision"));
            if good == new || good.is_empty() {
                return Ok(None);
            }
            Ok(Some(revisions::named(all, good)?))
        }
        Kind::Deployment => {
            let is_done = view::progress(&subject.object).is_none_or(|p| p.is_done());
            if is_done { Ok(None) } else { previous(subject, all).map(Some) }
        }
        Kind::Other => bail!("{} is not released by itself: say the workload that owns it", subject.title()),
    }
}

/// The revision before the newest: the last good one while another is being rolled out.
fn previous<'p>(subject: &Subject, all: &'p [Past]) -> anyhow::Result<&'p Past> {
    if subject.kind == Kind::Other {
        bail!("{} has no revisions to go back to: say the workload that owns it", subject.title());
    }
    let newest = newest(subject, all);
    let good = subject.object["status"]["currentRevision"].as_str().unwrap_or_default();
    let is_older = |p: &&Past| newest.is_none_or(|n| p.name != n.name);
    let current = all.iter().find(|p| p.name == good).filter(is_older);
    match current.or_else(|| all.iter().rev().find(is_older)) {
        Some(past) => Ok(past),
        None => bail!(
            "{} has no revision before this one; there are: {}",
            subject.title(),
            revisions::listed(all)
        ),
    }
}

/// The revision that the template is at.
fn newest<'p>(subject: &Subject, all: &'p [Past]) -> Option<&'p Past> {
    let named = subject.object["status"]["updateRevision"].as_str();
    let by_name = named.and_then(|name| all.iter().find(|p| p.name == name));
    by_name.or_else(|| all.last())
}

/// What brings the workload to a revision; a pause is lifted, for else nothing would go anywhere.
fn go(subject: &Subject, target: &Past, word: &str) -> Wish {
    let paused = steer::switch(subject).filter(|path| is_on(&subject.object, path));
    let lifted = if paused.is_some() { "; the pause is lifted" } else { "" };
    let done = format!("{word} back to {} (revision {}){lifted}", target.name, target.number);
    if subject.kind == Kind::Cafe {
        let asked = &subject.object["metadata"]["annotations"][ROLLBACK_TO];
        if *asked == *target.name && paused.is_none() {
            return Wish::Nothing(format!("is asked already to go back to {}", target.name));
        }
        if is_at(subject, target) && asked.is_null() {
            return Wish::Nothing(format!("is at {} already, or on its way there", target.name));
        }
        let mut body = paused.map_or_else(|| json!({}), |path| steer::patch(path, json!(false)));
        body["metadata"]["annotations"][ROLLBACK_TO] = json!(target.name);
        return Wish::Merge(body, done);
    }
    if is_at(subject, target) {
        return Wish::Nothing(format!("is at {} already, or on its way there", target.name));
    }
    let mut steps = vec![json!({"op": "replace", "path": "/spec/template", "value": target.template})];
    if let Some(path) = paused {
        steps.push(json!({"op": "replace", "path": format!("/{}", path.join("/")), "value": false}));
    }
    Wish::Json(steps, done)
}

/// Whether the template is that of a revision already.
fn is_at(subject: &Subject, target: &Past) -> bool {
    same(&subject.object["spec"]["template"], &target.template)
}

/// Whether two templates are equal; what is null counts as absent.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Object(x), Value::Object(y)) => x
            .keys()
            .chain(y.keys())
            .all(|k| same(x.get(k).unwrap_or(&Value::Null), y.get(k).unwrap_or(&Value::Null))),
        (Value::Array(x), Value::Array(y)) => x.len() == y.len() && x.iter().zip(y).all(|(a, b)| same(a, b)),
        _ => a == b,
    }
}
