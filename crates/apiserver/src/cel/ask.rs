//! The server's authorizer, as expressions ask it.

use std::sync::Arc;

use cel_rules::{Answer, Authorize, Check};

use crate::server::{ApiServer, Call};
use crate::who::{Attributes, Decision, User};

/// Asks for the user of a request.
pub(super) struct Ask {
    server: Arc<ApiServer>,
    user: User,
}

impl Ask {
    pub(super) fn of(call: &Call) -> Arc<dyn Authorize> {
        Arc::new(Ask { server: call.server.clone(), user: call.user.clone() })
    }
}

impl Authorize for Ask {
    fn check(&self, what: &Check) -> Answer {
        let asked = match &what.account {
            None => self.user.clone(),
            Some((namespace, name)) => {
                let groups = ["system:serviceaccounts", &format!("system:serviceaccounts:{namespace}")];
                User::new(&format!("system:serviceaccount:{namespace}:{name}"), &groups)
            }
        };
        let attributes = Attributes {
            verb: &what.verb,
            group: &what.group,
            version: if what.resource.is_empty() { "" } else { "*" },
            resource: &what.resource,
            subresource: &what.subresource,
            namespace: &what.namespace,
            name: &what.name,
            path: &what.path,
        };
        match self.server.authorizer.authorize(&asked, &attributes) {
            Decision::Allow => Answer { is_allowed: true, ..Answer::default() },
            Decision::Deny(reason) => Answer { reason, ..Answer::default() },
        }
    }
}
