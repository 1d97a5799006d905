//! Runs claims and prints their outcome as the other conformance scripts do.

use std::error::Error;
use std::fmt::Debug;
use std::future::Future;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use kube::core::Status;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Whether a claim holds.
pub type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// How many claims held.
#[derive(Default)]
pub struct Tally {
    passed: usize,
    failed: usize,
}

impl Tally {
    /// Says so, and with what the program ends.
    pub fn end(&self) -> ExitCode {
        println!("{} passed, {} failed", self.passed, self.failed);
        if self.failed > 0 || self.passed == 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS }
    }
}

/// How long a claim may take.
const CLAIM_MAX: Duration = Duration::from_secs(120);

/// Checks one claim, unless others were named on the command line.
pub async fn run(tally: &mut Tally, name: &str, claim: impl Future<Output = Outcome>) {
    let only: Vec<String> = std::env::args().skip(1).collect();
    if !only.is_empty() && !only.iter().any(|o| name.contains(o.as_str())) {
        return;
    }
    let started = Instant::now();
    let outcome = tokio::time::timeout(CLAIM_MAX, claim).await.unwrap_or_else(|e| Err(e.into()));
    match outcome {
        Ok(()) => {
            tally.passed += 1;
            println!("ok   {name} ({:.1} s)", started.elapsed().as_secs_f64());
        }
        Err(e) => {
            tally.failed += 1;
            println!("FAIL {name}\n    {}", e.to_string().replace('\n', "\n    "));
        }
    }
}

/// A typed object from its JSON.
pub fn object<T: DeserializeOwned>(tree: Value) -> Outcome<T> {
    Ok(serde_json::from_value(tree)?)
}

/// Fails unless the two are the same.
pub fn equal<A: Debug + PartialEq<B>, B: Debug>(what: &str, found: A, wanted: B) -> Outcome {
    if found == wanted { Ok(()) } else { Err(format!("{what}: found {found:?}, wanted {wanted:?}").into()) }
}

/// The status of a call that must be refused with this code and these words.
pub fn refused<T: Debug>(answer: kube::Result<T>, code: u16, says: &[&str]) -> Outcome<Box<Status>> {
    match answer {
        Err(kube::Error::Api(status)) => {
            equal(&format!("code of {status:?}"), status.code, code)?;
            match says.iter().find(|s| !status.message.contains(**s)) {
                Some(missing) => Err(format!("expected {missing:?} in {}", status.message).into()),
                None => Ok(status),
            }
        }
        Err(e) => Err(e.into()),
        Ok(found) => Err(format!("expected {code}, was answered {found:?}").into()),
    }
}

/// Repeats a check until it gives something; its last complaint is the failure.
pub async fn eventually<T, F: Future<Output = Outcome<Option<T>>>>(
    what: &str,
    mut check: impl FnMut() -> F,
) -> Outcome<T> {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        let complaint = match check().await {
            Ok(Some(found)) => return Ok(found),
            Ok(None) => "not yet".to_owned(),
            Err(e) => e.to_string(),
        };
        if Instant::now() > end {
            return Err(format!("{what}: not within a minute: {complaint}").into());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
