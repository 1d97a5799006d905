//! Who is believed, and what they may.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::{Histogram, title};
use crate::server::Call;

const DAY_MICROS: u64 = 24 * 3_600 * 1_000_000;
/// Upper bounds of the buckets of how long certificates are still good, as upstream: from now to a year.
const CERTIFICATE_MICROS: [u64; 15] = [
    0,
    DAY_MICROS / 48,
    DAY_MICROS / 24,
    DAY_MICROS / 12,
    DAY_MICROS / 4,
    DAY_MICROS / 2,
    DAY_MICROS,
    2 * DAY_MICROS,
    4 * DAY_MICROS,
    7 * DAY_MICROS,
    30 * DAY_MICROS,
    90 * DAY_MICROS,
    180 * DAY_MICROS,
    270 * DAY_MICROS,
    365 * DAY_MICROS,
];

/// Credentials and permissions of requests.
#[derive(Debug)]
pub(super) struct Trust {
    believed: AtomicU64,
    disbelieved: AtomicU64,
    allowed: AtomicU64,
    denied: AtomicU64,
    certificates: Histogram<{ CERTIFICATE_MICROS.len() }>,
}

impl Default for Trust {
    fn default() -> Trust {
        Trust {
            believed: AtomicU64::new(0),
            disbelieved: AtomicU64::new(0),
            allowed: AtomicU64::new(0),
            denied: AtomicU64::new(0),
            certificates: Histogram::new(CERTIFICATE_MICROS),
        }
    }
}

impl Trust {
    pub(super) fn count(&self, call: &Call, code: u16, certificate: Option<Duration>) {
        let is_known = code != 401;
        let count = |n: &AtomicU64| n.fetch_add(1, Ordering::Relaxed);
        count(if is_known { &self.believed } else { &self.disbelieved });
        if let Some(left) = certificate {
            self.certificates.observe(left, 1);
        }
        // What was refused for another reason than permission was allowed.
        match call.denied() {
            true => _ = count(&self.denied),
            false if is_known => _ = count(&self.allowed),
            false => {}
        }
    }

    pub(super) fn write(&self, out: &mut String) {
        let load = |n: &AtomicU64| n.load(Ordering::Relaxed);
        title(out, "authentication_attempts", "requests by whether they were believed", "counter");
        for (result, n) in [("success", &self.believed), ("failure", &self.disbelieved)] {
            let _ = writeln!(out, "authentication_attempts{{result=\"{result}\"}} {}", load(n));
        }
        title(out, "authenticated_user_requests", "requests that were believed", "counter");
        let _ = writeln!(out, "authenticated_user_requests{{username=\"other\"}} {}", load(&self.believed));
        title(out, "authorization_attempts_total", "requests by whether they were permitted", "counter");
        for (result, n) in [("allowed", &self.allowed), ("denied", &self.denied)] {
            let _ = writeln!(out, "authorization_attempts_total{{result=\"{result}\"}} {}", load(n));
        }
        const NAME: &str = "apiserver_client_certificate_expiration_seconds";
        title(out, NAME, "how long certificates of clients are still good when they are used", "histogram");
        self.certificates.write(out, NAME, "");
    }
}
