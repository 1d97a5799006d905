//! Questions to the authorizer of the server, put by expressions: `authorizer.group('').resource('pods').check('get')`.

use std::fmt;
use std::sync::Arc;

/// Answers whether somebody may do something.
pub trait Authorize: Send + Sync {
    /// The answer for the user of the request, or for a service account.
    fn check(&self, what: &Check) -> Answer;
}

/// What is asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Check {
    /// Verb.
    pub verb: String,
    /// Path of a question that is not about a resource.
    pub path: String,
    /// API group.
    pub group: String,
    /// Plural; empty for paths.
    pub resource: String,
    /// Subresource, or empty.
    pub subresource: String,
    /// Namespace, or empty.
    pub namespace: String,
    /// Name, or empty.
    pub name: String,
    /// Service account that is asked for (namespace, name); the user of the request when absent.
    pub account: Option<(String, String)>,
}

/// What the authorizer says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// Whether it is allowed.
    pub is_allowed: bool,
    /// Why; often empty.
    pub reason: String,
    /// What kept it from answering; empty when nothing did.
    pub error: String,
}

/// How far a question is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    Authorizer,
    Path,
    Group,
    Resource,
    Decision,
}

/// A question on its way, with who answers it.
#[derive(Clone)]
pub struct Question {
    pub(crate) stage: Stage,
    pub(crate) what: Check,
    pub(crate) answer: Answer,
    pub(crate) asked: Arc<dyn Authorize>,
}

impl Question {
    /// The variable `authorizer`.
    pub fn new(asked: Arc<dyn Authorize>) -> Question {
        Question { stage: Stage::Authorizer, what: Check::default(), answer: Answer::default(), asked }
    }

    /// The variable `authorizer.requestResource`: about the resource of the request.
    pub fn about(asked: Arc<dyn Authorize>, what: Check) -> Question {
        Question { stage: Stage::Resource, what, answer: Answer::default(), asked }
    }

    pub(crate) fn type_name(&self) -> &'static str {
        match self.stage {
            Stage::Authorizer => "kubernetes.authorization.Authorizer",
            Stage::Path => "kubernetes.authorization.PathCheck",
            Stage::Group => "kubernetes.authorization.GroupCheck",
            Stage::Resource => "kubernetes.authorization.ResourceCheck",
            Stage::Decision => "kubernetes.authorization.Decision",
        }
    }
}

impl fmt::Debug for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Question")
            .field("stage", &self.stage)
            .field("what", &self.what)
            .finish_non_exhaustive()
    }
}
