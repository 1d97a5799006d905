//! Questions to the authorizer.

use std::sync::Arc;

use super::{Outcome, Row, member};
use crate::authorize::{Question, Stage};
use crate::cost::Price;
use crate::fault::RunError;
use crate::value::Value;

pub(super) const TABLE: &[Row] = &[
    member("path", &["Authorizer, string -> PathCheck"], Price::One, |_, args| {
        step(args, Stage::Authorizer, |q, text| {
            q.stage = Stage::Path;
            q.what.path = text;
        })
    }),
    member("group", &["Authorizer, string -> GroupCheck"], Price::One, |_, args| {
        step(args, Stage::Authorizer, |q, text| {
            q.stage = Stage::Group;
            q.what.group = text;
        })
    }),
    member("serviceAccount", &["Authorizer, string, string -> Authorizer"], Price::One, |_, args| {
        let [Value::Authorize(question), Value::Text(namespace), Value::Text(name)] = args else {
            return Err(RunError::overload());
        };
        let mut next = Question::clone(question);
        next.what.account = Some((namespace.to_string(), name.to_string()));
        Ok(Value::Authorize(Arc::new(next)))
    }),
    member("resource", &["GroupCheck, string -> ResourceCheck"], Price::One, |_, args| {
        step(args, Stage::Group, |q, text| {
            q.stage = Stage::Resource;
            q.what.resource = text;
        })
    }),
    member("subresource", &["ResourceCheck, string -> ResourceCheck"], Price::One, |_, args| {
        step(args, Stage::Resource, |q, text| q.what.subresource = text)
    }),
    member("namespace", &["ResourceCheck, string -> ResourceCheck"], Price::One, |_, args| {
        step(args, Stage::Resource, |q, text| q.what.namespace = text)
    }),
    member("name", &["ResourceCheck, string -> ResourceCheck"], Price::One, |_, args| {
        step(args, Stage::Resource, |q, text| q.what.name = text)
    }),
    // Selectors narrow a question; whoever answers without looking at them says no more than is so.
    member("fieldSelector", &["ResourceCheck, string -> ResourceCheck"], Price::One, |_, args| {
        step(args, Stage::Resource, |_, _| {})
    }),
    member("labelSelector", &["ResourceCheck, string -> ResourceCheck"], Price::One, |_, args| {
        step(args, Stage::Resource, |_, _| {})
    }),
    member(
        "check",
        &["PathCheck, string -> Decision", "ResourceCheck, string -> Decision"],
        Price::Ask,
        |_, args| {
            let [Value::Authorize(question), Value::Text(verb)] = args else {
                return Err(RunError::overload());
            };
            if !matches!(question.stage, Stage::Path | Stage::Resource) {
                return Err(RunError::overload());
            }
            let mut next = Question::clone(question);
            next.what.verb = verb.to_string();
            next.answer = next.asked.check(&next.what);
            next.stage = Stage::Decision;
            Ok(Value::Authorize(Arc::new(next)))
        },
    ),
    member("allowed", &["Decision -> bool"], Price::One, |_, args| {
        Ok(Value::Bool(decision(args)?.answer.is_allowed))
    }),
    member("reason", &["Decision -> string"], Price::One, |_, args| {
        Ok(Value::text(&decision(args)?.answer.reason))
    }),
    member("errored", &["Decision -> bool"], Price::One, |_, args| {
        Ok(Value::Bool(!decision(args)?.answer.error.is_empty()))
    }),
    member("error", &["Decision -> string"], Price::One, |_, args| {
        Ok(Value::text(&decision(args)?.answer.error))
    }),
];

fn step(args: &[Value], from: Stage, change: fn(&mut Question, String)) -> Outcome {
    match args {
        [Value::Authorize(question), Value::Text(text)] if question.stage == from => {
            let mut next = Question::clone(question);
            change(&mut next, text.to_string());
            Ok(Value::Authorize(Arc::new(next)))
        }
        _ => Err(RunError::overload()),
    }
}

fn decision(args: &[Value]) -> Result<&Question, RunError> {
    match args {
        [Value::Authorize(question)] if question.stage == Stage::Decision => Ok(question),
        _ => Err(RunError::overload()),
    }
}
