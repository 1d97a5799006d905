//! Job and CronJob.

use api_meta::Cause;
use serde_json::{Value, json};
use stdx::Time;

use super::check::{Findings, Path, default, entries, flag, given, given_mut, int, list, put, text};
use super::show::{age_of, ago, containers, none_if_empty, since};
use super::{cron, indexed, names, pod};
use crate::registry::{Cell, Column, Context, Facts};

const UID: &str = "batch.kubernetes.io/controller-uid";
const NAME: &str = "batch.kubernetes.io/job-name";
const OLD_UID: &str = "controller-uid";
const OLD_NAME: &str = "job-name";

pub(super) static JOB: Facts = Facts {
    default: default_job,
    prepare_create: |v, _| own_selector(v),
    validate_create: |v, _| {
        let mut found = Findings::default();
        own_labels(&mut found, v);
        job_spec(&mut found, &Path::Root("spec"), &v["spec"]);
        found.causes
    },
    validate_update: job_update,
    warnings: |new, old| {
        pod::template_warnings("spec.template", &new["spec"]["template"], old.map(|o| &o["spec"]["template"]))
    },
    selectable: &["status.successful"],
    field: |v, _| int(&v["status"], "succeeded").unwrap_or(0).to_string(),
    columns: &JOB_COLUMNS,
    row: job_row,
    ..Facts::PLAIN
};

static JOB_COLUMNS: [Column; 8] = [
    Column::new("Name", "string", "name", 0),
    Column::new("Status", "string", "", 0),
    Column::new("Completions", "string", "", 0),
    Column::new("Duration", "string", "", 0),
    Column::new("Age", "string", "", 0),
    Column::new("Containers", "string", "", 1),
    Column::new("Images", "string", "", 1),
    Column::new("Selector", "string", "", 1),
];

fn default_job(v: &mut Value) {
    let Some(spec) = v.get_mut("spec").filter(|s| s.is_object()) else { return };
    let (completions, parallelism) = (int(spec, "completions"), int(spec, "parallelism"));
    if completions.is_none() && parallelism.is_none() {
        default(spec, "completions", 1);
    }
    default(spec, "parallelism", 1);
    let limit = if given(spec, "backoffLimitPerIndex").is_some() { i32::MAX } else { 6 };
    default(spec, "backoffLimit", limit);
    default(spec, "completionMode", "NonIndexed");
    default(spec, "suspend", false);
    default(spec, "manualSelector", false);
    let replacement =
        if given(spec, "podFailurePolicy").is_some() { "Failed" } else { "TerminatingOrFailed" };
    default(spec, "podReplacementPolicy", replacement);
    if let Some(policy) = given_mut(spec, "podFailurePolicy") {
        for rule in super::check::each_mut(policy, "rules") {
            for pattern in super::check::each_mut(rule, "onPodConditions") {
                default(pattern, "status", "True");
            }
        }
    }
    if let Some(template) = given_mut(spec, "template") {
        pod::default_template(template);
    }
    let labels = v["spec"]["template"]["metadata"]["labels"].clone();
    if entries(&v["metadata"], "labels").next().is_none() && labels.as_object().is_some_and(|l| !l.is_empty())
    {
        v["metadata"]["labels"] = labels;
    }
}

/// A job that does not choose its pods by hand gets a selector of its own identity.
fn own_selector(v: &mut Value) {
    if flag(&v["spec"], "manualSelector") {
        return;
    }
    let (uid, name) = (text(&v["metadata"], "uid").to_owned(), text(&v["metadata"], "name").to_owned());
    let labels = [(OLD_NAME, &name), (NAME, &name), (OLD_UID, &uid), (UID, &uid)];
    // The job shares the labels of its template when it had none of its own.
    let shares = v["metadata"]["labels"] == v["spec"]["template"]["metadata"]["labels"];
    let template = &mut v["spec"]["template"]["metadata"];
    for (key, value) in labels {
        if given(&template["labels"], key).is_none() {
            template["labels"][key] = value.as_str().into();
        }
    }
    let all = template["labels"].clone();
    if shares {
        v["metadata"]["labels"] = all;
    }
    let selector = &mut v["spec"]["selector"];
    if !selector.is_object() {
        *selector = json!({});
    }
    if given(&selector["matchLabels"], UID).is_none() {
        selector["matchLabels"][UID] = uid.into();
    }
}

/// A generated selector must be the generated one.
fn own_labels(found: &mut Findings, v: &Value) {
    let spec = &v["spec"];
    if flag(spec, "manualSelector") {
        return;
    }
    let (uid, name) = (text(&v["metadata"], "uid"), text(&v["metadata"], "name"));
    let labels = &spec["template"]["metadata"]["labels"];
    let at = Path::Root("spec.template.metadata.labels");
    for (key, wanted) in [(OLD_UID, uid), (UID, uid), (OLD_NAME, name), (NAME, name)] {
        match given(labels, key).and_then(Value::as_str) {
            None => found.required(&at.key(key), &format!("must be '{wanted}'")),
            Some(is) if is != wanted => found.invalid(&at, labels.clone(), &format!("must be '{wanted}'")),
            Some(_) => {}
        }
    }
    let only = json!({"matchLabels": {UID: uid}});
    let older = json!({"matchLabels": {OLD_UID: uid}});
    if spec["selector"] != only && spec["selector"] != older {
        found.invalid(
            &Path::Root("spec.selector"),
            spec["selector"].clone(),
            "`selector` not auto-generated",
        );
    }
    if names::selects(&spec["selector"], labels) == Some(false) {
        found.invalid(&at, labels.clone(), "`selector` does not match template `labels`");
    }
}

fn job_spec(found: &mut Findings, path: &Path<'_>, spec: &Value) {
    numbers(found, path, spec);
    let at = path.field("selector");
    match given(spec, "selector") {
        None => found.required(&at, ""),
        Some(selector) => names::selector(found, &at, selector),
    }
    let labels = &spec["template"]["metadata"]["labels"];
    if spec["selector"].is_null() || names::selects(&spec["selector"], labels) == Some(false) {
        let at = path.field("template").field("metadata").field("labels").to_string();
        found.invalid(&Path::Root(&at), labels.clone(), "`selector` does not match template `labels`");
    }
    template(found, path, spec);
}

fn numbers(found: &mut Findings, path: &Path<'_>, spec: &Value) {
    for name in
        ["parallelism", "completions", "activeDeadlineSeconds", "backoffLimit", "ttlSecondsAfterFinished"]
    {
        found.non_negative(path, spec, name);
    }
    let mode = text(spec, "completionMode");
    let is_indexed = mode == "Indexed";
    if !mode.is_empty() {
        found.one_of(&path.field("completionMode"), mode, &["Indexed", "NonIndexed"]);
    }
    if is_indexed && given(spec, "completions").is_none() {
        found.required(&path.field("completions"), "when completion mode is Indexed");
    }
    const INDEXED: &str = "requires indexed completion mode";
    for name in ["backoffLimitPerIndex", "maxFailedIndexes"] {
        found.non_negative(path, spec, name);
        if let Some(n) = int(spec, name).filter(|_| !is_indexed) {
            found.invalid(&path.field(name), n, INDEXED);
        }
    }
    indexed::counts(found, path, spec, is_indexed);
    match given(spec, "successPolicy") {
        Some(policy) if !is_indexed => found.invalid(&path.field("successPolicy"), policy.clone(), INDEXED),
        Some(policy) => indexed::success(
            found,
            &path.field("successPolicy"),
            policy,
            int(spec, "completions").unwrap_or(0),
        ),
        None => {}
    }
    let manager = text(spec, "managedBy");
    if !manager.is_empty() {
        found.faults(&path.field("managedBy"), manager, names::domain_prefixed_path(manager));
        if manager.len() > 63 {
            found.too_long(&path.field("managedBy"), 63);
        }
    }
    replacement(found, path, spec);
    if let Some(policy) = given(spec, "podFailurePolicy") {
        failure_policy(found, &path.field("podFailurePolicy"), policy, spec);
    }
}

fn replacement(found: &mut Findings, path: &Path<'_>, spec: &Value) {
    let policy = text(spec, "podReplacementPolicy");
    if policy.is_empty() {
        return;
    }
    let at = path.field("podReplacementPolicy");
    if given(spec, "podFailurePolicy").is_some() {
        found.one_of(&at, policy, &["Failed"]);
    } else {
        found.one_of(&at, policy, &["Failed", "TerminatingOrFailed"]);
    }
}

fn failure_policy(found: &mut Findings, path: &Path<'_>, policy: &Value, spec: &Value) {
    let at = path.field("rules");
    let has_index = given(spec, "backoffLimitPerIndex").is_some();
    for (i, rule) in list(policy, "rules").iter().enumerate() {
        let path = at.index(i);
        let action = text(rule, "action");
        found.required_one_of(&path.field("action"), action, &["Count", "FailIndex", "FailJob", "Ignore"]);
        if action == "FailIndex" && !has_index {
            found.invalid(&path.field("action"), action, "requires the backoffLimitPerIndex to be set");
        }
        let codes = given(rule, "onExitCodes");
        let conditions = list(rule, "onPodConditions");
        match (codes, conditions.is_empty()) {
            (Some(_), false) => {
                found.invalid(&path, "", "specifying both OnExitCodes and OnPodConditions is not supported");
            }
            (None, true) => {
                found.invalid(&path, "", "specifying one of OnExitCodes and OnPodConditions is required");
            }
            (Some(codes), true) => exit_codes(found, &path.field("onExitCodes"), codes, spec),
            (None, false) => {
                let at = path.field("onPodConditions");
                for (i, one) in conditions.iter().enumerate() {
                    let kind = text(one, "type");
                    found.faults(&at.index(i).field("type"), kind, names::qualified(kind));
                    let status = text(one, "status");
                    found.required_one_of(
                        &at.index(i).field("status"),
                        status,
                        &["False", "True", "Unknown"],
                    );
                }
            }
        }
    }
}

fn exit_codes(found: &mut Findings, path: &Path<'_>, codes: &Value, spec: &Value) {
    let operator = text(codes, "operator");
    found.required_one_of(&path.field("operator"), operator, &["In", "NotIn"]);
    let container = text(codes, "containerName");
    if !container.is_empty() {
        let all = ["containers", "initContainers"].iter().flat_map(|k| list(&spec["template"]["spec"], k));
        if !all.into_iter().any(|c| text(c, "name") == container) {
            found.invalid(
                &path.field("containerName"),
                container,
                "must be one of the container or initContainer names in the pod template",
            );
        }
    }
    let at = path.field("values");
    let values = list(codes, "values");
    if values.is_empty() {
        found.invalid(&at, json!([]), "at least one value is required");
    }
    for (i, value) in values.iter().enumerate() {
        if operator == "In" && value == 0 {
            found.invalid(&at.index(i), 0, "must not be 0 for the In operator");
        } else if values[..i].contains(value) {
            found.duplicate(&at.index(i), value.clone());
        }
    }
    let is_sorted = values.windows(2).all(|w| w[0].as_i64() <= w[1].as_i64());
    if !is_sorted {
        found.invalid(&at, Value::Array(values.to_vec()), "must be ordered");
    }
}

fn template(found: &mut Findings, path: &Path<'_>, spec: &Value) {
    let at = path.field("template");
    pod::validate_template(found, &at, &spec["template"]);
    let inner = at.field("spec");
    let policy_at = inner.field("restartPolicy");
    let policy = text(&spec["template"]["spec"], "restartPolicy");
    match policy {
        "OnFailure" | "Never" => {}
        "" | "Always" => found.required(&policy_at, "valid values: \"OnFailure\", \"Never\""),
        other => found.not_supported(&policy_at, other, &["OnFailure", "Never"]),
    }
    if given(spec, "podFailurePolicy").is_some() && policy != "Never" && !policy.is_empty() {
        let why = "only \"Never\" is supported when podFailurePolicy is specified";
        found.invalid(&policy_at, policy, why);
    }
}

fn job_update(new: &Value, old: &Value, context: &Context<'_>) -> Vec<Cause> {
    let mut found = Findings::default();
    if context.subresource == "status" {
        job_status(&mut found, new, old);
        return found.causes;
    }
    own_labels(&mut found, new);
    let path = Path::Root("spec");
    let (spec, was) = (&new["spec"], &old["spec"]);
    job_spec(&mut found, &path, spec);
    let can_resize = text(spec, "completionMode") == "Indexed" && spec["completions"] == spec["parallelism"];
    if !(can_resize && text(was, "completionMode") == "Indexed") {
        found.immutable(&path.field("completions"), &spec["completions"], &was["completions"]);
    }
    found.immutable(&path.field("selector"), &spec["selector"], &was["selector"]);
    template_update(&mut found, spec, was, &old["status"]);
    for name in ["completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy", "successPolicy"] {
        found.immutable(&path.field(name), &spec[name], &was[name]);
    }
    found.causes
}

/// The template is fixed, but for where its pods run while the job is suspended and has not begun.
fn template_update(found: &mut Findings, spec: &Value, was: &Value, status: &Value) {
    let (mut now, before) = (spec["template"].clone(), &was["template"]);
    let may_move = flag(was, "suspend") && given(status, "startTime").is_none();
    if may_move {
        for name in ["nodeSelector", "tolerations", "affinity", "schedulingGates"] {
            let kept = before["spec"][name].clone();
            put(&mut now["spec"], name, kept);
        }
        for name in ["labels", "annotations"] {
            let kept = before["metadata"][name].clone();
            put(&mut now["metadata"], name, kept);
        }
    }
    if may_move {
        found.immutable(&Path::Root("spec.template.spec"), &now["spec"], &before["spec"]);
    } else {
        found.immutable(&Path::Root("spec.template"), &now, before);
    }
}

fn job_status(found: &mut Findings, v: &Value, old: &Value) {
    let (status, path) = (&v["status"], Path::Root("status"));
    for name in ["active", "succeeded", "failed", "ready", "terminating"] {
        found.non_negative(&path, status, name);
    }
    let active = int(status, "active").unwrap_or(0);
    if let Some(n) = int(status, "ready").filter(|n| *n > active) {
        found.invalid(&path.field("ready"), n, "cannot set more ready pods than active");
    }
    let condition = |kind: &str| {
        list(status, "conditions").iter().any(|c| text(c, "type") == kind && text(c, "status") == "True")
    };
    let (is_complete, is_failed) = (condition("Complete"), condition("Failed"));
    let has_end = given(status, "completionTime").is_some();
    if is_complete && !has_end {
        found.required(&path.field("completionTime"), "completionTime is required for Complete jobs");
    }
    if has_end && !is_complete {
        let shown = status["completionTime"].clone();
        found.invalid(
            &path.field("completionTime"),
            shown,
            "completionTime cannot be set for non-finished jobs",
        );
    }
    let conditions = path.field("conditions");
    if is_complete && is_failed {
        found.invalid(&conditions, "", "cannot set Complete=True and Failed=true conditions");
    }
    if is_complete && !condition("SuccessCriteriaMet") {
        found.invalid(
            &conditions,
            "",
            "cannot set Complete=True condition without the SuccessCriteriaMet=true condition",
        );
    }
    if is_failed && !condition("FailureTarget") {
        found.invalid(
            &conditions,
            "",
            "cannot set Failed=True condition without the FailureTarget=true condition",
        );
    }
    if (is_complete || is_failed) && active > 0 {
        found.invalid(&path.field("active"), active, "active>0 is invalid for finished job");
    }
    let (start, was) = (given(status, "startTime"), given(&old["status"], "startTime"));
    if let (Some(was), Some(now)) = (was, start)
        && was != now
        && !flag(&v["spec"], "suspend")
        && !flag(&old["spec"], "suspend")
    {
        found.required(&path.field("startTime"), "startTime cannot be modified for unsuspended job");
    }
}

fn job_row(v: &Value, now: Time) -> Vec<Cell> {
    let (spec, status) = (&v["spec"], &v["status"]);
    let done = int(status, "succeeded").unwrap_or(0);
    let completions = match (int(spec, "completions"), int(spec, "parallelism")) {
        (Some(n), _) => format!("{done}/{n}"),
        (None, Some(p)) if p > 1 => format!("{done}/1 of {p}"),
        _ => format!("{done}/1"),
    };
    let moment = |name: &str| text(status, name).parse::<Time>().ok();
    let duration = match (moment("startTime"), moment("completionTime")) {
        (None, _) => String::new(),
        (Some(start), Some(end)) => ago(end, start),
        (Some(start), None) => ago(now, start),
    };
    let condition = |kind: &str| {
        list(status, "conditions").iter().any(|c| text(c, "type") == kind && text(c, "status") == "True")
    };
    let state = if condition("Complete") {
        "Complete"
    } else if condition("Failed") {
        "Failed"
    } else if given(&v["metadata"], "deletionTimestamp").is_some() {
        "Terminating"
    } else if condition("Suspended") {
        "Suspended"
    } else if condition("FailureTarget") {
        "FailureTarget"
    } else if condition("SuccessCriteriaMet") {
        "SuccessCriteriaMet"
    } else {
        "Running"
    };
    let (names, images) = containers(&spec["template"]["spec"]);
    vec![
        v["metadata"]["name"].clone(),
        state.into(),
        completions.into(),
        duration.into(),
        age_of(v, now).into(),
        names.into(),
        images.into(),
        names::show_selector(&spec["selector"]).into(),
    ]
}

// --- CronJob ------------------------------------------------------------------------------------------------------

pub(super) static CRON_JOB: Facts = Facts {
    default: |v| {
        let Some(spec) = v.get_mut("spec").filter(|s| s.is_object()) else { return };
        default(spec, "concurrencyPolicy", "Allow");
        default(spec, "suspend", false);
        default(spec, "successfulJobsHistoryLimit", 3);
        default(spec, "failedJobsHistoryLimit", 1);
        if let Some(template) = given_mut(spec, "jobTemplate").and_then(|t| t.pointer_mut("/spec/template")) {
            pod::default_template(template);
        }
    },
    validate_create: |v, _| {
        let mut found = Findings::default();
        cron_job(&mut found, v);
        found.causes
    },
    validate_update: |v, _, context| {
        let mut found = Findings::default();
        if context.subresource != "status" {
            cron_job(&mut found, v);
        }
        found.causes
    },
    warnings: |new, old| {
        let template = |v: &Value| v["spec"]["jobTemplate"]["spec"]["template"].clone();
        let was = old.map(template);
        pod::template_warnings("spec.jobTemplate.spec.template", &template(new), was.as_ref())
    },
    columns: &CRON_COLUMNS,
    row: |v, now| {
        let spec = &v["spec"];
        let (names, images) = containers(&spec["jobTemplate"]["spec"]["template"]["spec"]);
        let last = match text(&v["status"], "lastScheduleTime") {
            "" => "<none>".to_owned(),
            at => since(now, at),
        };
        vec![
            v["metadata"]["name"].clone(),
            spec["schedule"].clone(),
            match text(spec, "timeZone") {
                "" => none_if_empty(""),
                zone => zone.into(),
            },
            (if flag(spec, "suspend") { "True" } else { "False" }).into(),
            list(&v["status"], "active").len().into(),
            last.into(),
            age_of(v, now).into(),
            names.into(),
            images.into(),
            names::show_selector(&spec["jobTemplate"]["spec"]["selector"]).into(),
        ]
    },
    ..Facts::PLAIN
};

static CRON_COLUMNS: [Column; 10] = [
    Column::new("Name", "string", "name", 0),
    Column::new("Schedule", "string", "", 0),
    Column::new("Timezone", "string", "", 0),
    Column::new("Suspend", "boolean", "", 0),
    Column::new("Active", "integer", "", 0),
    Column::new("Last Schedule", "string", "", 0),
    Column::new("Age", "string", "", 0),
    Column::new("Containers", "string", "", 1),
    Column::new("Images", "string", "", 1),
    Column::new("Selector", "string", "", 1),
];

fn cron_job(found: &mut Findings, v: &Value) {
    let (spec, path) = (&v["spec"], Path::Root("spec"));
    let schedule = text(spec, "schedule");
    let at = path.field("schedule");
    if schedule.is_empty() {
        found.required(&at, "");
    } else if schedule.contains("TZ") {
        found.invalid(&at, schedule, "cannot use TZ or CRON_TZ in schedule, use timeZone field instead");
    } else if let Err(why) = cron::check(schedule) {
        found.invalid(&at, schedule, &why);
    }
    time_zone(found, &path, spec);
    for name in ["startingDeadlineSeconds", "successfulJobsHistoryLimit", "failedJobsHistoryLimit"] {
        found.non_negative(&path, spec, name);
    }
    let policy = text(spec, "concurrencyPolicy");
    found.required_one_of(&path.field("concurrencyPolicy"), policy, &["Allow", "Forbid", "Replace"]);
    let at = path.field("jobTemplate");
    let inner = at.field("spec");
    let job = &spec["jobTemplate"]["spec"];
    numbers(found, &inner, job);
    if flag(job, "manualSelector") {
        found.not_supported(&inner.field("manualSelector"), true, &["nil", "false"]);
    }
    template(found, &inner, job);
    let name = text(&v["metadata"], "name");
    // A job's name is the cron job's with eleven more characters.
    if name.len() > 52 {
        found.invalid(&Path::Root("metadata.name"), name, "must be no more than 52 characters");
    }
}

fn time_zone(found: &mut Findings, path: &Path<'_>, spec: &Value) {
    let Some(zone) = given(spec, "timeZone").and_then(Value::as_str) else { return };
    let at = path.field("timeZone");
    if zone.is_empty() {
        found.invalid(&at, zone, "timeZone must be nil or non-empty string");
    } else if zone.eq_ignore_ascii_case("local") {
        let why = "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones";
        found.invalid(&at, zone, why);
    } else if !cron::is_time_zone(zone) {
        found.invalid(&at, zone, &format!("unknown time zone {zone}"));
    }
}
