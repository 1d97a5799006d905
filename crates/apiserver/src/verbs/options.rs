//! Parameters of writes, refused before anything is read.

use api_meta::Cause;

use crate::refuse::{Outcome, cause, forbidden_field, invalid_options, not_supported, required};
use crate::server::Call;

/// Longest name of a manager.
const MANAGER_BYTES_MAX: usize = 128;

/// Checks the parameters of a create, update or patch; `kind` is `CreateOptions`, `UpdateOptions`, `PatchOptions`.
pub(crate) fn check(call: &Call, kind: &str) -> Outcome<()> {
    let mut causes = dry_run(call);
    let validation = call.query.get("fieldValidation");
    if !matches!(validation, "" | "Ignore" | "Strict" | "Warn") {
        causes.push(not_supported("fieldValidation", validation, &["", "Ignore", "Strict", "Warn"]));
    }
    causes.extend(manager(call.query.get("fieldManager")));
    if kind == "PatchOptions" {
        let is_apply = super::patch::is_apply(call);
        if is_apply && call.query.get("fieldManager").is_empty() {
            causes.push(required("fieldManager", "is required for apply patch"));
        }
        if !is_apply && call.query.has("force") {
            causes.push(forbidden_field("force", "may not be specified for non-apply patch"));
        }
    }
    judge(kind, causes)
}

/// Findings about `dryRun`.
pub(crate) fn dry_run(call: &Call) -> Vec<Cause> {
    let given: Vec<&str> = call.query.all("dryRun").collect();
    if given.iter().all(|v| *v == "All") {
        return Vec::new();
    }
    vec![not_supported("dryRun", given, &["All"])]
}

fn manager(name: &str) -> Vec<Cause> {
    let mut out = Vec::new();
    if name.len() > MANAGER_BYTES_MAX {
        let text = format!("Too long: may not be more than {MANAGER_BYTES_MAX} bytes");
        out.push(cause("FieldValueTooLong", "fieldManager", text));
    }
    if let Some((at, c)) = name.chars().enumerate().find(|(_, c)| c.is_control()) {
        let text =
            format!("Invalid value: {name:?}: invalid character U+{:04X} (at position {at})", u32::from(c));
        out.push(cause("FieldValueInvalid", "fieldManager", text));
    }
    out
}

/// One refusal for all findings.
pub(crate) fn judge(kind: &str, causes: Vec<Cause>) -> Outcome<()> {
    if causes.is_empty() { Ok(()) } else { Err(invalid_options(kind, causes)) }
}
