//! What webhooks of admission cost and refuse.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Mutex;
use std::time::Duration;

use super::{ADMISSION_MICROS, AdmissionHistogram, lock, title};

/// One question to a webhook and what came of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HookCall<'a> {
    /// Name of the hook.
    pub(crate) name: &'a str,
    /// `CREATE`, `UPDATE`, `DELETE` or `CONNECT`.
    pub(crate) operation: &'static str,
    /// `admit` or `validating`.
    pub(crate) kind: &'static str,
    /// How long it took.
    pub(crate) took: Duration,
    /// Status of the answer; 0 when there was none.
    pub(crate) code: u16,
    /// The code of a refusal, and whose it is: `no_error` where the hook has refused, else what went wrong.
    pub(crate) refused: Option<(u16, &'static str)>,
}

#[derive(Debug)]
struct Series {
    durations: AdmissionHistogram,
    codes: BTreeMap<u16, u64>,
}

#[derive(Debug, Default)]
struct State {
    /// By labels.
    asked: BTreeMap<String, Series>,
    refused: BTreeMap<String, u64>,
    open: BTreeMap<String, u64>,
}

/// All webhooks.
#[derive(Debug, Default)]
pub(super) struct Hooks(Mutex<State>);

impl Hooks {
    pub(super) fn count(&self, asked: &HookCall<'_>) {
        let HookCall { name, operation, kind, took, code, refused } = *asked;
        let is_refused = refused.is_some();
        let labels =
            format!("name=\"{name}\",operation=\"{operation}\",rejected=\"{is_refused}\",type=\"{kind}\"");
        let mut state = lock(&self.0);
        let series = state.asked.entry(labels).or_insert_with(|| Series {
            durations: AdmissionHistogram::new(ADMISSION_MICROS),
            codes: BTreeMap::new(),
        });
        series.durations.observe(took, 1);
        *series.codes.entry(code).or_default() += 1;
        if let Some((code, error)) = refused {
            let labels = format!(
                "error_type=\"{error}\",name=\"{name}\",operation=\"{operation}\",rejection_code=\"{code}\",type=\"{kind}\""
            );
            *state.refused.entry(labels).or_default() += 1;
        }
    }

    pub(super) fn count_open(&self, name: &str, kind: &str) {
        *lock(&self.0).open.entry(format!("name=\"{name}\",type=\"{kind}\"")).or_default() += 1;
    }

    pub(super) fn write(&self, out: &mut String) {
        let state = lock(&self.0);
        const NAME: &str = "apiserver_admission_webhook_admission_duration_seconds";
        title(out, NAME, "time that webhooks took", "histogram");
        for (labels, series) in &state.asked {
            series.durations.write(out, NAME, labels);
        }
        const COUNT: &str = "apiserver_admission_webhook_request_total";
        title(out, COUNT, "questions to webhooks by the code of the answer", "counter");
        for (labels, series) in &state.asked {
            for (code, n) in &series.codes {
                let _ = writeln!(out, "{COUNT}{{code=\"{code}\",{labels}}} {n}");
            }
        }
        let mut table = |name: &str, help: &str, rows: &BTreeMap<String, u64>| {
            title(out, name, help, "counter");
            for (labels, n) in rows {
                let _ = writeln!(out, "{name}{{{labels}}} {n}");
            }
        };
        table("apiserver_admission_webhook_rejection_count", "refusals because of webhooks", &state.refused);
        table(
            "apiserver_admission_webhook_fail_open_count",
            "webhooks that failed and were ignored",
            &state.open,
        );
    }
}
