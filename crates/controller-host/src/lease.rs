//! Makes one of several hosts the active one, through a Lease object that its holder renews.

use std::time::Duration;

use api_client::{Class, Client, Error, Patch, WriteOptions};
use api_core::Lease;
use api_meta::Object;
use serde_json::{Value, json};
use stdx::{Env, Time};

use crate::LeaseConfig;

/// Validity after a renewal (the three times are client-go's defaults).
const VALID: Duration = Duration::from_secs(15);
/// A holder that could not renew for so long gives up, before anybody else may take over.
const RENEW_MAX: Duration = Duration::from_secs(10);
const RETRY: Duration = Duration::from_secs(2);

/// A competitor for a lease.
pub(crate) struct Election {
    client: Client,
    env: Env,
    config: LeaseConfig,
    /// The last foreign holder's record, and when it was first seen here: clocks of other machines are not trusted.
    seen: Option<(String, Time)>,
}

impl Election {
    pub(crate) fn new(client: Client, env: Env, config: LeaseConfig) -> Election {
        Election { client, env, config, seen: None }
    }

    /// Waits until the lease is ours.
    pub(crate) async fn win(&mut self) {
        loop {
            match self.attempt().await {
                Ok(true) => return,
                Ok(false) => {}
                Err(error) => tracing::debug!(lease = %self.config.name, %error, "lease not taken"),
            }
            self.env.sleep(RETRY).await;
        }
    }

    /// Renews the lease; ends when it is lost.
    pub(crate) async fn keep(&mut self) {
        let mut renewed = self.env.now();
        while self.env.now().since(renewed) < RENEW_MAX {
            self.env.sleep(RETRY).await;
            let patience = self.env.sleep(RENEW_MAX);
            let attempt = tokio::select! {
                biased;
                result = self.attempt() => result,
                () = patience => Err(Error::Unreachable("no answer".to_owned())),
            };
            match attempt {
                Ok(true) => renewed = self.env.now(),
                Ok(false) => return,
                Err(error) => tracing::debug!(lease = %self.config.name, %error, "lease not renewed"),
            }
        }
    }

    /// Takes or renews the lease if it may; says whether it is ours now.
    async fn attempt(&mut self) -> Result<bool, Error> {
        let (namespace, name) = (self.config.namespace.clone(), self.config.name.clone());
        let resource = Lease::RESOURCE;
        let lease = match self.client.get::<Lease>(&resource, &namespace, &name).await {
            Ok(lease) => lease,
            Err(error) if error.class() == Class::NotFound => return self.create().await,
            Err(error) => return Err(error),
        };
        let now = self.env.now();
        let ours = lease.spec.holder_identity.as_deref() == Some(&self.config.identity);
        if !ours && !self.is_expired(&lease, now) {
            return Ok(false);
        }
        let mut spec = self.spec(now);
        if !ours {
            spec["leaseTransitions"] = json!(lease.spec.lease_transitions.unwrap_or(0) + 1);
            spec["acquireTime"] = json!(now.to_micro_string());
        }
        let version = &lease.metadata.resource_version;
        let patch = Patch::Merge(json!({"metadata": {"resourceVersion": version}, "spec": spec}));
        let options = WriteOptions::default();
        match self.client.patch::<Value>(&resource, (&namespace, &name), "", &patch, &options).await {
            Ok(_) => Ok(true),
            Err(error) if error.class() == Class::Conflict => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn create(&self) -> Result<bool, Error> {
        let now = self.env.now();
        let mut spec = self.spec(now);
        spec["acquireTime"] = json!(now.to_micro_string());
        spec["leaseTransitions"] = json!(0);
        let (namespace, name) = (self.config.namespace.as_str(), self.config.name.as_str());
        let body = json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": {"namespace": namespace, "name": name}, "spec": spec,
        });
        let options = WriteOptions::default();
        match self.client.create::<Value>(&Lease::RESOURCE, namespace, &body, &options).await {
            Ok(_) => Ok(true),
            Err(error) if error.class() == Class::Exists => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn spec(&self, now: Time) -> Value {
        json!({
            "holderIdentity": self.config.identity, "leaseDurationSeconds": VALID.as_secs(),
            "renewTime": now.to_micro_string(),
        })
    }

    /// Whether a foreign holder has not renewed for as long as its lease is valid, by our own clock.
    fn is_expired(&mut self, lease: &Lease, now: Time) -> bool {
        if lease.spec.holder_identity.as_deref().unwrap_or_default().is_empty() {
            return true;
        }
        let valid = u64::try_from(lease.spec.lease_duration_seconds.unwrap_or(0)).unwrap_or(0);
        let version = &lease.metadata.resource_version;
        match &self.seen {
            Some((seen, since)) if seen == version => now.since(*since) >= Duration::from_secs(valid),
            _ => {
                self.seen = Some((version.clone(), now));
                false
            }
        }
    }
}
