//! Part of authentication: a caller may act as somebody else, if the authorizer lets it.

use api_meta::{Reason, Status, StatusDetails};

use crate::refuse::{Outcome, bad_request};
use crate::server::Call;
use crate::who::{Attributes, Decision, User};

const SERVICE_ACCOUNT: &str = "system:serviceaccount:";

/// Who the caller wants to be; `None` when it is content with itself.
pub(crate) fn wanted(call: &Call) -> Outcome<Option<User>> {
    let all = |name: &str| -> Vec<String> {
        let values = call.head.headers.get_all(name).iter();
        values.filter_map(|v| v.to_str().ok().map(str::to_owned)).collect()
    };
    let one = |name: &str| all(name).into_iter().next().unwrap_or_default();
    let mut user = User { name: one("impersonate-user"), uid: one("impersonate-uid"), ..User::default() };
    user.groups = all("impersonate-group");
    for (key, value) in &call.head.headers {
        if let (Some(key), Ok(value)) = (key.as_str().strip_prefix("impersonate-extra-"), value.to_str()) {
            user.extra.entry(key.to_owned()).or_default().push(value.to_owned());
        }
    }
    if user == User::default() {
        return Ok(None);
    }
    if user.name.is_empty() {
        return Err(bad_request(format!("requested {user:?} without impersonating a user name")));
    }
    check(call, &user)?;
    complete(&mut user);
    Ok(Some(user))
}

/// Groups that follow from the name.
fn complete(user: &mut User) {
    if let Some((namespace, _)) = user.name.strip_prefix(SERVICE_ACCOUNT).and_then(|r| r.split_once(':'))
        && user.groups.is_empty()
    {
        user.groups =
            vec!["system:serviceaccounts".to_owned(), format!("system:serviceaccounts:{namespace}")];
    }
    let group =
        if user.name == "system:anonymous" { "system:unauthenticated" } else { "system:authenticated" };
    if !user.is_in(group) {
        user.groups.push(group.to_owned());
    }
}

fn check(call: &Call, user: &User) -> Outcome<()> {
    let may = |group: &str, resource: &str, subresource: &str, namespace: &str, name: &str| {
        let what = Attributes {
            verb: "impersonate",
            group,
            version: "v1",
            resource,
            subresource,
            namespace,
            name,
            path: "",
        };
        match call.server.authorizer.authorize(&call.user, &what) {
            Decision::Allow => Ok(()),
            Decision::Deny(why) => Err(denied(call, resource, name, &why)),
        }
    };
    match user.name.strip_prefix(SERVICE_ACCOUNT).and_then(|r| r.split_once(':')) {
        Some((namespace, name)) => may("", "serviceaccounts", "", namespace, name)?,
        None => may("", "users", "", "", &user.name)?,
    }
    for group in &user.groups {
        may("", "groups", "", "", group)?;
    }
    if !user.uid.is_empty() {
        may("authentication.k8s.io", "uids", "", "", &user.uid)?;
    }
    for (key, values) in &user.extra {
        for value in values {
            may("authentication.k8s.io", "userextras", key, "", value)?;
        }
    }
    Ok(())
}

fn denied(call: &Call, resource: &str, name: &str, why: &str) -> Box<crate::refuse::Refusal> {
    let because = if why.is_empty() { String::new() } else { format!(": {why}") };
    let text = format!(
        "{resource} {name:?} is forbidden: User {:?} cannot impersonate resource {resource:?} at the cluster scope{because}",
        call.user.name
    );
    let details = StatusDetails {
        group: call.target.group.clone(),
        kind: call.target.resource.clone(),
        ..StatusDetails::default()
    };
    Status::failure(Reason::Forbidden, text).with_details(details).into()
}
