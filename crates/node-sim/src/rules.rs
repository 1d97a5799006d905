//! Annotations that decide how simulated pods behave. On a node they hold for all its pods; on a pod they win over its node's.
//!
//! | annotation | value | effect |
//! |---|---|---|
//! | `knarr.dev/sim-start-seconds` | number | time from the decision to start until a container runs |
//! | `knarr.dev/sim-ready-seconds` | number | time from running to ready (containers with a readiness probe) |
//! | `knarr.dev/sim-stop-seconds` | number | time from TERM to the end; beyond the grace period the container is killed (137) |
//! | `knarr.dev/sim-fail-pull` | image glob | such images cannot be pulled: `ErrImagePull`, then `ImagePullBackOff` |
//! | `knarr.dev/sim-never-ready` | image glob, or `true` | such containers run but never get ready |
//! | `knarr.dev/sim-crash` | image glob, or `true` | such containers end with an error after `sim-run-seconds` (default 1) |
//! | `knarr.dev/sim-run-seconds` | number | containers end by themselves after so long, as jobs do |
//! | `knarr.dev/sim-exit-code` | number | with what they end: default 0, or 1 for those that crash |
//! | `knarr.dev/sim-offline` | `true` | on nodes only: no heartbeats, and nothing moves there until it is taken away |
//!
//! A glob knows `*` (any text) and `?` (one character). A value that cannot be read counts as absent.

use std::collections::BTreeMap;
use std::time::Duration;

/// Says whose nodes these are; on nodes only.
pub const OWNER: &str = "knarr.dev/sim-owner";

const START: &str = "knarr.dev/sim-start-seconds";
const READY: &str = "knarr.dev/sim-ready-seconds";
const STOP: &str = "knarr.dev/sim-stop-seconds";
const FAIL_PULL: &str = "knarr.dev/sim-fail-pull";
const NEVER_READY: &str = "knarr.dev/sim-never-ready";
const CRASH: &str = "knarr.dev/sim-crash";
const RUN: &str = "knarr.dev/sim-run-seconds";
const OFFLINE: &str = "knarr.dev/sim-offline";
const EXIT_CODE: &str = "knarr.dev/sim-exit-code";

/// What annotations say; absent where they say nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rules {
    /// Time until a container runs.
    pub start: Option<Duration>,
    /// Time until it is ready.
    pub ready: Option<Duration>,
    /// Time until it has stopped.
    pub stop: Option<Duration>,
    /// Images that cannot be pulled.
    pub fail_pull: Option<String>,
    /// Images that never get ready.
    pub never_ready: Option<String>,
    /// Images that crash.
    pub crash: Option<String>,
    /// Time after which containers end by themselves.
    pub run: Option<Duration>,
    /// With what they end.
    pub exit_code: Option<i32>,
    /// Whether the node is cut off.
    pub is_offline: bool,
}

impl Rules {
    /// Reads the annotations of a pod or node.
    pub fn of(annotations: &BTreeMap<String, String>) -> Rules {
        if !annotations.keys().any(|k| k.starts_with("knarr.dev/sim-")) {
            return Rules::default();
        }
        let text = |key: &str| annotations.get(key).filter(|v| !v.is_empty() && *v != "false").cloned();
        let secs = |key: &str| {
            let secs: f64 = annotations.get(key)?.parse().ok()?;
            Duration::try_from_secs_f64(secs).ok()
        };
        let glob = |key: &str| text(key).map(|v| if v == "true" { "*".to_owned() } else { v });
        Rules {
            start: secs(START),
            ready: secs(READY),
            stop: secs(STOP),
            fail_pull: glob(FAIL_PULL),
            never_ready: glob(NEVER_READY),
            crash: glob(CRASH),
            run: secs(RUN),
            exit_code: text(EXIT_CODE).and_then(|v| v.parse().ok()),
            is_offline: text(OFFLINE).is_some(),
        }
    }

    /// These rules, and those of `node` where these say nothing.
    pub fn over(&self, node: &Rules) -> Rules {
        Rules {
            start: self.start.or(node.start),
            ready: self.ready.or(node.ready),
            stop: self.stop.or(node.stop),
            fail_pull: self.fail_pull.clone().or_else(|| node.fail_pull.clone()),
            never_ready: self.never_ready.clone().or_else(|| node.never_ready.clone()),
            crash: self.crash.clone().or_else(|| node.crash.clone()),
            run: self.run.or(node.run),
            exit_code: self.exit_code.or(node.exit_code),
            is_offline: node.is_offline,
        }
    }

    /// Whether an image cannot be pulled.
    pub fn fails_pull(&self, image: &str) -> bool {
        self.fail_pull.as_ref().is_some_and(|g| glob_matches(g, image))
    }

    /// Whether containers of an image never get ready.
    pub fn is_never_ready(&self, image: &str) -> bool {
        self.never_ready.as_ref().is_some_and(|g| glob_matches(g, image))
    }

    /// When, after its start, a container of this image ends by itself, and with what.
    pub fn end_of(&self, image: &str) -> Option<(Duration, i32)> {
        if self.crash.as_ref().is_some_and(|g| glob_matches(g, image)) {
            return Some((self.run.unwrap_or(Duration::from_secs(1)), self.exit_code.unwrap_or(1)));
        }
        self.run.map(|length| (length, self.exit_code.unwrap_or(0)))
    }
}

/// Whether `text` matches a pattern of `*`, `?` and plain characters.
fn glob_matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.as_bytes(), text.as_bytes());
    let (mut p, mut t) = (0, 0);
    // Where the last star was, and how much of the text it has eaten.
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(c) if *c == b'?' || *c == text[t] => {
                p += 1;
                t += 1;
            }
            _ => {
                let Some((at, eaten)) = star else { return false };
                star = Some((at, eaten + 1));
                p = at + 1;
                t = eaten + 1;
            }
        }
    }
    pattern[p..].iter().all(|c| *c == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(pairs: &[(&str, &str)]) -> Rules {
        Rules::of(&pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect())
    }

    #[test]
    fn globs_match_whole_images() {
        for (glob, image, holds) in [
            ("*:v3", "shop:v3", true),
            ("*:v3", "shop:v31", false),
            ("shop:v?", "shop:v3", true),
            ("*", "", true),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbYbZ", false),
            ("shop", "shop:v3", false),
        ] {
            assert_eq!(glob_matches(glob, image), holds, "{glob} {image}");
        }
    }

    #[test]
    fn a_pods_rules_win_over_its_nodes() {
        let node = rules(&[(NEVER_READY, "true"), (STOP, "2.5")]);
        let pod = rules(&[(NEVER_READY, "*:bad")]).over(&node);
        assert!(pod.is_never_ready("x:bad") && !pod.is_never_ready("x:good"));
        assert_eq!(pod.stop, Some(Duration::from_millis(2500)));
    }

    #[test]
    fn unreadable_values_count_as_absent() {
        assert_eq!(rules(&[(START, "soon"), (RUN, "-1"), (CRASH, "false")]), Rules::default());
    }

    #[test]
    fn a_crash_has_an_error_code_and_a_job_has_none() {
        assert_eq!(rules(&[(CRASH, "*")]).end_of("x"), Some((Duration::from_secs(1), 1)));
        assert_eq!(rules(&[(RUN, "3")]).end_of("x"), Some((Duration::from_secs(3), 0)));
        assert_eq!(rules(&[(EXIT_CODE, "3")]).end_of("x"), None);
    }
}
