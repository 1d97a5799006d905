//! `confirm`, `pause`, `continue`.

use anyhow::bail;
use serde_json::{Value, json};

use super::Named;
use super::subject::{Kind, Subject, Wish};
use crate::session::Session;

/// Lets the next group begin.
pub(super) async fn confirm(session: &mut Session, named: &Named) -> anyhow::Result<()> {
    let mut subject = Subject::find(session, named).await?;
    subject.change(session, confirmation).await
}

fn confirmation(subject: &Subject) -> anyhow::Result<Wish> {
    if subject.kind != Kind::Cafe {
        bail!(
            "{} asks for no confirmations: only CafeDeployments with strategy.needWaitingForConfirm do",
            subject.title()
        );
    }
    let release = view::release(&subject.object).unwrap_or_default();
    let said = &subject.object["metadata"]["annotations"][view::CONFIRMED];
    if said == "true" {
        return Ok(Wish::Nothing("was confirmed before; the next group begins".to_owned()));
    }
    if said != "false" && release.unconfirmed().is_none() {
        let now = match release.current() {
            Some(g) if release.phase != "Stable" => {
                format!("waits for no confirmation now: {} is not done", g.title())
            }
            _ => "waits for no confirmation".to_owned(),
        };
        return Ok(Wish::Nothing(now));
    }
    let next = release.groups.iter().find(|g| g.phase == "Planned");
    let done = match next {
        Some(g) => format!("confirmed: {} begins", g.title()),
        None => "confirmed".to_owned(),
    };
    Ok(Wish::Merge(json!({"metadata": {"annotations": {view::CONFIRMED: "true"}}}), done))
}

/// Stops or lets go on.
pub(super) async fn pause(session: &mut Session, named: &Named, on: bool) -> anyhow::Result<()> {
    let mut subject = Subject::find(session, named).await?;
    subject
        .change(session, |subject| {
            let Some(path) = switch(subject) else {
                bail!("{} cannot be paused: CafeDeployments, CloneSets and Deployments can", subject.title());
            };
            if is_on(&subject.object, path) == on {
                let word = if on { "is paused already" } else { "is not paused" };
                return Ok(Wish::Nothing(word.to_owned()));
            }
            let done = if on { "paused: nothing new begins" } else { "goes on" };
            Ok(Wish::Merge(patch(path, json!(on)), done.to_owned()))
        })
        .await
}

/// Where the switch of a kind is.
pub(super) fn switch(subject: &Subject) -> Option<&'static [&'static str]> {
    Some(match subject.kind {
        Kind::Cafe => &["spec", "strategy", "pause"],
        Kind::CloneSet if subject.resource.version == "v1alpha1" => &["spec", "updateStrategy", "paused"],
        Kind::CloneSet => &["spec", "updateStrategy", "rollingUpdate", "paused"],
        Kind::Deployment => &["spec", "paused"],
        Kind::Other => return None,
    })
}

/// Whether it is on.
pub(super) fn is_on(object: &Value, path: &[&str]) -> bool {
    path.iter().fold(object, |at, field| &at[*field]) == true
}

/// A merge patch that sets one field.
pub(super) fn patch(path: &[&str], value: Value) -> Value {
    path.iter().rev().fold(value, |below, field| json!({ *field: below }))
}
