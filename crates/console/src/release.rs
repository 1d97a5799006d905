//! The buttons: what each writes to a CafeDeployment, fenced by the version that was looked at.

use api_client::{Class, Client, Error, Patch, WriteOptions};
use api_workload::names::cafe;
use http::StatusCode;
use serde_json::{Value, json};

use crate::mirror::APPS;

/// Somebody else may write in between so often before a person is asked to press again.
const ATTEMPTS: usize = 5;

/// A button.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    /// Lets the next group begin.
    Confirm,
    /// Stops after what is under way.
    Pause,
    /// Goes on.
    Continue,
    /// Goes back to the version before.
    Rollback,
}

impl Verb {
    /// By its word in the path.
    pub(crate) fn parse(word: &str) -> Option<Verb> {
        Some(match word {
            "confirm" => Verb::Confirm,
            "pause" => Verb::Pause,
            "continue" => Verb::Continue,
            "rollback" => Verb::Rollback,
            _ => return None,
        })
    }

    fn done(self) -> &'static str {
        match self {
            Verb::Confirm => "confirmed: the next group begins",
            Verb::Pause => "paused: what is under way is finished, nothing else begins",
            Verb::Continue => "it goes on",
            Verb::Rollback => "it goes back to the version before",
        }
    }

    /// What it writes, fenced by the version that was looked at.
    fn patch(self, version: &str) -> Value {
        let mut patch = match self {
            Verb::Confirm => json!({"metadata": {"annotations": {cafe::CONFIRMED: "true"}}}),
            Verb::Pause => json!({"spec": {"strategy": {"pause": true}}}),
            Verb::Continue => json!({"spec": {"strategy": {"pause": false}}}),
            Verb::Rollback => json!({"metadata": {"annotations": {cafe::ROLLBACK_TO: "previous"}}}),
        };
        patch["metadata"]["resourceVersion"] = json!(version);
        patch
    }
}

/// Presses a button. `group` is the group that the person saw waiting, if any was seen.
pub(crate) async fn press(
    client: &Client,
    key: (&str, &str),
    verb: Verb,
    group: Option<i64>,
) -> Result<&'static str, (StatusCode, String)> {
    for _ in 0..ATTEMPTS {
        let object: Value = client.get(&APPS, key.0, key.1).await.map_err(refusal)?;
        if verb == Verb::Confirm {
            waits(&object, group).map_err(|why| (StatusCode::CONFLICT, why))?;
        }
        let version = object["metadata"]["resourceVersion"].as_str().unwrap_or_default();
        let patch = Patch::Merge(verb.patch(version));
        match client.patch::<Value>(&APPS, key, "", &patch, &WriteOptions::default()).await {
            Ok(_) => return Ok(verb.done()),
            Err(e) if e.class() == Class::Conflict => {}
            Err(e) => return Err(refusal(e)),
        }
    }
    Err((StatusCode::CONFLICT, "the release changes all the time: look again and press again".to_owned()))
}

/// Whether the group that a person saw is the one that waits. One press must not let two groups begin.
fn waits(object: &Value, seen: Option<i64>) -> Result<(), String> {
    let release = view::release(object).unwrap_or_default();
    let waiting = release.groups.iter().find(|g| g.phase == "WaitingForConfirmation");
    if release.phase != "WaitingForConfirmation" && waiting.is_none() {
        return Err("nothing waits for confirmation any more".to_owned());
    }
    match (waiting, seen) {
        (Some(now), Some(seen)) if now.index != seen => {
            Err(format!("{} waits now, which is not what you saw: look again", now.name))
        }
        _ => Ok(()),
    }
}

fn refusal(error: Error) -> (StatusCode, String) {
    let code = match error.class() {
        Class::NotFound => StatusCode::NOT_FOUND,
        Class::Forbidden => StatusCode::FORBIDDEN,
        Class::Invalid => StatusCode::UNPROCESSABLE_ENTITY,
        _ => StatusCode::BAD_GATEWAY,
    };
    (code, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(index: i64) -> Value {
        json!({"kind": "CafeDeployment", "status": {"phase": "WaitingForConfirmation", "groups": [
            {"index": 0, "name": "beta", "phase": "Done"}, {"index": index, "name": "group-1", "phase": "WaitingForConfirmation"}]}})
    }

    #[test]
    fn a_group_that_was_not_seen_is_not_confirmed() {
        assert_eq!(waits(&waiting(1), Some(1)), Ok(()));
        assert_eq!(waits(&waiting(1), None), Ok(()), "a program that saw nothing");
        assert!(waits(&waiting(1), Some(0)).unwrap_err().contains("group-1 waits now"));
        assert!(waits(&json!({"kind": "CafeDeployment", "status": {"phase": "RollingOut"}}), None).is_err());
    }

    #[test]
    fn every_button_is_fenced_by_the_version_that_was_looked_at() {
        for word in ["confirm", "pause", "continue", "rollback"] {
            assert_eq!(Verb::parse(word).unwrap().patch("7")["metadata"]["resourceVersion"], "7", "{word}");
        }
        assert_eq!(Verb::parse("delete"), None);
    }
}
