//! TLS towards webhooks: their certificates are judged by the bundle of their configuration alone.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

/// Bundles that are kept in compiled form; beyond that all are compiled anew.
const BUNDLES_MAX: usize = 64;

/// TLS configurations by bundle: compiled once, and with the sessions that connections resume.
#[derive(Default)]
pub(super) struct Trust(Mutex<BTreeMap<Bytes, Arc<rustls::ClientConfig>>>);

impl Trust {
    /// The configuration that trusts a bundle (PEM).
    pub(super) fn of(&self, bundle: &Bytes) -> Result<Arc<rustls::ClientConfig>, String> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(config) = kept.get(bundle) {
            return Ok(config.clone());
        }
        let config = Arc::new(compile(bundle)?);
        if kept.len() >= BUNDLES_MAX {
            kept.clear();
        }
        kept.insert(bundle.clone(), config.clone());
        Ok(config)
    }
}

fn compile(bundle: &[u8]) -> Result<rustls::ClientConfig, String> {
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(bundle) {
        let certificate = certificate.map_err(|e| format!("read caBundle: {e}"))?;
        roots.add(certificate).map_err(|e| format!("take an authority from caBundle: {e}"))?;
    }
    if roots.is_empty() {
        return Err(
            "tls: failed to verify certificate: x509: certificate signed by unknown authority (caBundle is \
                    empty, and this server trusts no authority by itself: put the authority of the webhook's \
                    certificate there)"
                .to_owned(),
        );
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|e| e.to_string())?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// A failed handshake in the words that Go's programs use.
pub(super) fn told(error: &std::io::Error, host: &str) -> String {
    use rustls::{CertificateError as Bad, Error};
    const HEAD: &str = "tls: failed to verify certificate: x509:";
    let inner = error.get_ref().and_then(|e| e.downcast_ref::<Error>());
    match inner {
        Some(Error::InvalidCertificate(bad)) => match bad {
            Bad::UnknownIssuer | Bad::BadSignature => {
                format!("{HEAD} certificate signed by unknown authority")
            }
            Bad::Expired | Bad::ExpiredContext { .. } | Bad::NotValidYet | Bad::NotValidYetContext { .. } => {
                format!("{HEAD} certificate has expired or is not yet valid")
            }
            Bad::NotValidForName | Bad::NotValidForNameContext { .. } => {
                format!("{HEAD} certificate is not valid for any names, but wanted to match {host}")
            }
            other => format!("{HEAD} {other}"),
        },
        Some(other) => format!("tls: {other}"),
        None => error.to_string(),
    }
}
