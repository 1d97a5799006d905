//! TLS towards webhooks: their certificates are judged by the bundle of their configuration alone.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, SignatureScheme};
use x509_parser::extensions::GeneralName;

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
    let mut certificates = Vec::new();
    for certificate in CertificateDer::pem_slice_iter(bundle) {
        let certificate = certificate.map_err(|e| format!("read caBundle: {e}"))?;
        certificates.push(certificate.clone());
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
    let by_authority = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build();
    let by_authority = by_authority.map_err(|e| e.to_string())?;
    let verifier = Arc::new(Bundled { by_authority, certificates });
    let builder = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.map_err(|e| e.to_string())?;
    Ok(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth())
}

/// Trusts what the authorities of a bundle vouch for, and the very certificates in the bundle.
///
/// The second is for certificates that are signed by themselves and may sign others too, as `openssl req -x509` makes them: no
/// path of authorities leads to such a one, but whoever put it into the bundle meant it. Name and dates must be right all the
/// same, and the handshake proves that the other side has its key.
#[derive(Debug)]
struct Bundled {
    by_authority: Arc<WebPkiServerVerifier>,
    certificates: Vec<CertificateDer<'static>>,
}

impl ServerCertVerifier for Bundled {
    fn verify_server_cert(
        &self,
        own: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        stapled: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let judged = self.by_authority.verify_server_cert(own, between, name, stapled, now);
        let is_bundled = || self.certificates.iter().any(|c| c == own) && is_for(own, name, now);
        match judged {
            Err(rustls::Error::InvalidCertificate(_)) if is_bundled() => Ok(ServerCertVerified::assertion()),
            judged => judged,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        own: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.by_authority.verify_tls12_signature(message, own, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        own: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.by_authority.verify_tls13_signature(message, own, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.by_authority.supported_verify_schemes()
    }
}

/// Whether a certificate is valid now, and for a name.
fn is_for(certificate: &[u8], name: &ServerName<'_>, now: UnixTime) -> bool {
    let Ok((_, read)) = x509_parser::parse_x509_certificate(certificate) else { return false };
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    let validity = read.validity();
    if now < validity.not_before.timestamp() || now > validity.not_after.timestamp() {
        return false;
    }
    let Ok(Some(names)) = read.subject_alternative_name() else { return false };
    names.value.general_names.iter().any(|given| match (given, name) {
        (GeneralName::DNSName(given), ServerName::DnsName(name)) => is_name(given, name.as_ref()),
        (GeneralName::IPAddress(given), ServerName::IpAddress(address)) => {
            match std::net::IpAddr::from(*address) {
                std::net::IpAddr::V4(v4) => **given == v4.octets(),
                std::net::IpAddr::V6(v6) => **given == v6.octets(),
            }
        }
        _ => false,
    })
}

/// `*` stands for the whole first label.
fn is_name(given: &str, name: &str) -> bool {
    let rest = |text: &str| text.split_once('.').map(|(_, rest)| rest.to_ascii_lowercase());
    match given.strip_prefix("*.") {
        Some(domain) => rest(name).is_some_and(|rest| rest.eq_ignore_ascii_case(domain)),
        None => given.eq_ignore_ascii_case(name),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_one_label() {
        assert!(is_name("*.ns.svc", "hook.ns.svc") && is_name("Hook.ns.svc", "hook.ns.svc"));
        assert!(!is_name("*.ns.svc", "ns.svc") && !is_name("*.svc", "hook.ns.svc") && !is_name("*", "hook"));
    }
}
