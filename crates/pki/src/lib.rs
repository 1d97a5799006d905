//! The cluster's own certificate authority, certificates and tokens, kept under the data directory with mode 0600.
//!
//! ```text
//! pki/ca.crt ca.key            made once; the certificate is made again, for the same key, when less than a year of its ten is left
//! pki/<name>.crt <name>.key    made again when names change or less than thirty days are left
//! pki/service-account.key      signs tokens; those before it stand in pki/service-account-older/, named by when they were replaced
//! ```
//!
//! What is absent: who may do what (apiserver), and revocation: a leaked key is answered by removing the folder.

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use stdx::{Env, Time};

mod signing;

pub use signing::{SigningKeys, rotate_signing_key, signing_keys};

const CA_YEARS: u64 = 10;
/// The authority's certificate is made again this long before its end: whoever was given the old one has that much time.
const CA_RENEW_BEFORE: Duration = Duration::from_secs(YEAR);
const LEAF_YEARS: u64 = 1;
const RENEW_BEFORE: Duration = Duration::from_secs(30 * 24 * 3600);
const YEAR: u64 = 365 * 24 * 3600;

/// What can go wrong with keys and certificates.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or folder cannot be read or written.
    #[error("{verb} {path}: {source}")]
    File {
        /// What was tried.
        verb: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it did not work.
        source: io::Error,
    },
    /// A file holds something else than expected.
    #[error("{path} is damaged ({what}); restore it, or remove the folder {folder} to have new keys made")]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        what: String,
        /// Folder to remove.
        folder: PathBuf,
    },
    /// The certificate library refused.
    #[error("make a certificate: {0}")]
    Make(#[from] rcgen::Error),
}

/// A certificate authority on disk.
pub struct Authority {
    dir: PathBuf,
    issuer: Issuer<'static, KeyPair>,
    ca_pem: String,
}

/// A certificate with its key.
pub struct Identity {
    /// Certificate chain in PEM.
    pub cert_pem: String,
    /// Private key in PEM.
    pub key_pem: String,
}

/// Who a certificate is for.
pub struct Subject<'a> {
    /// Common name: of a client, its user name.
    pub name: &'a str,
    /// Organisations: of a client, its groups.
    pub groups: &'a [&'a str],
    /// DNS names and addresses a server answers to.
    pub hosts: &'a [String],
}

impl Authority {
    /// Opens the authority in `dir`, making it at first use.
    pub fn open(dir: &Path, env: &Env) -> Result<Authority, Error> {
        make_dir(dir)?;
        let (cert_path, key_path) = (dir.join("ca.crt"), dir.join("ca.key"));
        if !key_path.exists() {
            let key = KeyPair::generate()?;
            let cert = ca_params(env)?.self_signed(&key)?;
            write_private(&cert_path, cert.pem().as_bytes())?;
            // The key last: a crash before it leaves nothing half made.
            write_private(&key_path, key.serialize_pem().as_bytes())?;
        }
        let mut ca_pem = read(&cert_path)?;
        let damaged = |path: &Path, e: rcgen::Error| Error::Damaged {
            path: path.to_owned(),
            what: e.to_string(),
            folder: dir.to_owned(),
        };
        let key = KeyPair::from_pem(&read(&key_path)?).map_err(|e| damaged(&key_path, e))?;
        if end(&ca_pem).is_some_and(|end| end < env.now() + CA_RENEW_BEFORE) {
            // The same key and name: what it signed before is believed under either certificate.
            ca_pem = ca_params(env)?.self_signed(&key)?.pem();
            write_private(&cert_path, ca_pem.as_bytes())?;
        }
        let issuer = Issuer::from_ca_cert_pem(&ca_pem, key).map_err(|e| damaged(&cert_path, e))?;
        Ok(Authority { dir: dir.to_owned(), issuer, ca_pem })
    }

    /// The authority's certificate in PEM.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// A server certificate kept as `file`.{crt,key}; made again when its hosts change or it runs out.
    pub fn server(&self, file: &str, subject: &Subject<'_>, env: &Env) -> Result<Identity, Error> {
        self.leaf(file, subject, ExtendedKeyUsagePurpose::ServerAuth, env)
    }

    /// A client certificate kept as `file`.{crt,key}.
    pub fn client(&self, file: &str, subject: &Subject<'_>, env: &Env) -> Result<Identity, Error> {
        self.leaf(file, subject, ExtendedKeyUsagePurpose::ClientAuth, env)
    }

    fn leaf(
        &self,
        file: &str,
        subject: &Subject<'_>,
        usage: ExtendedKeyUsagePurpose,
        env: &Env,
    ) -> Result<Identity, Error> {
        let path = |end: &str| self.dir.join(format!("{file}.{end}"));
        let now = env.now();
        let note = format!("{}|{}|{}", subject.name, subject.groups.join(","), subject.hosts.join(","));
        // The note tells for what the files were made and until when, so that no certificate has to be parsed here.
        if let Ok(text) = fs::read_to_string(path("for"))
            && let Some((until, old)) = text.split_once('|')
            && old == note
            && until.parse::<Time>().is_ok_and(|t| t > now + RENEW_BEFORE)
        {
            return Ok(Identity { cert_pem: read(&path("crt"))?, key_pem: read(&path("key"))? });
        }
        let until = now + Duration::from_secs(LEAF_YEARS * YEAR);
        let mut params = CertificateParams::new(subject.hosts.to_vec())?;
        params.distinguished_name = name(subject.name, subject.groups);
        (params.not_before, params.not_after) = validity(now, until);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        params.extended_key_usages = vec![usage];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        let cert = params.signed_by(&key, &self.issuer)?;
        let made = Identity { cert_pem: cert.pem(), key_pem: key.serialize_pem() };
        write_private(&path("crt"), made.cert_pem.as_bytes())?;
        write_private(&path("key"), made.key_pem.as_bytes())?;
        write_private(&path("for"), format!("{until}|{note}").as_bytes())?;
        Ok(made)
    }
}

/// When the first certificate of a PEM text ends.
pub fn end(pem: &str) -> Option<Time> {
    let der = certificates(pem).into_iter().next()?;
    let (_, certificate) = x509_parser::parse_x509_certificate(&der).ok()?;
    Some(Time::from_secs(certificate.validity().not_after.timestamp()))
}

fn ca_params(env: &Env) -> Result<CertificateParams, Error> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name = name("knarr-ca", &[]);
    (params.not_before, params.not_after) =
        validity(env.now(), env.now() + Duration::from_secs(CA_YEARS * YEAR));
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages =
        vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    Ok(params)
}

fn name(common: &str, organisations: &[&str]) -> DistinguishedName {
    let mut out = DistinguishedName::new();
    for organisation in organisations {
        out.push(DnType::OrganizationName, *organisation);
    }
    out.push(DnType::CommonName, common);
    out
}

/// From an hour ago, for clocks that differ a little.
fn validity(now: Time, until: Time) -> (time::OffsetDateTime, time::OffsetDateTime) {
    let at = |t: Time| {
        time::OffsetDateTime::from_unix_timestamp(t.secs()).unwrap_or(time::OffsetDateTime::UNIX_EPOCH)
    };
    (at(now - Duration::from_secs(3600)), at(until))
}

/// Certificates of a PEM text.
pub fn certificates(pem: &str) -> Vec<CertificateDer<'static>> {
    sections(pem, "CERTIFICATE").into_iter().map(CertificateDer::from).collect()
}

/// The first private key (PKCS #8) of a PEM text.
pub fn private_key(pem: &str) -> Option<PrivateKeyDer<'static>> {
    let der = sections(pem, "PRIVATE KEY").into_iter().next()?;
    Some(PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(der)))
}

fn sections(pem: &str, label: &str) -> Vec<Vec<u8>> {
    let (begin, end) = (format!("-----BEGIN {label}-----"), format!("-----END {label}-----"));
    let mut out = Vec::new();
    let mut rest = pem;
    while let Some((_, after)) = rest.split_once(begin.as_str()) {
        let Some((body, tail)) = after.split_once(end.as_str()) else { break };
        let letters: String = body.chars().filter(|c| !c.is_whitespace()).collect();
        out.extend(STANDARD.decode(letters));
        rest = tail;
    }
    out
}

/// A bearer token kept in a file of its own, made at first use: 256 bits from the kernel.
///
/// The environment's generator will not do here: uids come from it, and those are public.
pub fn token(path: &Path) -> Result<String, Error> {
    if !path.exists() {
        let source = Path::new("/dev/urandom");
        let mut bytes = [0; 32];
        fs::File::open(source).and_then(|mut f| f.read_exact(&mut bytes)).map_err(|e| Error::File {
            verb: "read",
            path: source.to_owned(),
            source: e,
        })?;
        write_private(path, URL_SAFE_NO_PAD.encode(bytes).as_bytes())?;
    }
    Ok(read(path)?.trim().to_owned())
}

/// A folder that only its owner may enter.
pub fn make_dir(dir: &Path) -> Result<(), Error> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(|source| Error::File {
        verb: "create",
        path: dir.to_owned(),
        source,
    })
}

/// Writes a file that only its owner may read: whole and durable, or not at all.
pub fn write_private(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let wrong = |verb| move |source| Error::File { verb, path: path.to_owned(), source };
    let temporary = path.with_extension("tmp");
    let mut options = fs::OpenOptions::new();
    let mut file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)
        .map_err(wrong("create"))?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(wrong("write"))?;
    fs::rename(&temporary, path).map_err(wrong("rename"))?;
    if let Some(dir) = path.parent() {
        fs::File::open(dir).and_then(|d| d.sync_all()).map_err(wrong("sync the folder of"))?;
    }
    Ok(())
}

fn read(path: &Path) -> Result<String, Error> {
    fs::read_to_string(path).map_err(|source| Error::File { verb: "read", path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn scratch(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("knarr-pki-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        dir
    }

    #[test]
    fn keys_survive_and_change_only_with_their_hosts() {
        let (dir, env) = (scratch("keep"), os::env());
        let hosts = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let subject = Subject { name: "apiserver", groups: &[], hosts: &hosts };
        let first = Authority::open(&dir, &env).unwrap().server("server", &subject, &env).unwrap();
        let again = Authority::open(&dir, &env).unwrap().server("server", &subject, &env).unwrap();
        assert_eq!(first.cert_pem, again.cert_pem);
        let other = Subject { hosts: &hosts[..1], ..subject };
        let moved = Authority::open(&dir, &env).unwrap().server("server", &other, &env).unwrap();
        assert_ne!(first.cert_pem, moved.cert_pem);
        assert_eq!(fs::metadata(dir.join("ca.key")).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(certificates(&moved.cert_pem).len(), 1);
        assert!(private_key(&moved.key_pem).is_some());
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_damaged_key_says_which_file_and_what_to_do() {
        let (dir, env) = (scratch("damage"), os::env());
        Authority::open(&dir, &env).unwrap();
        fs::write(dir.join("ca.key"), "nonsense").unwrap();
        let error = Authority::open(&dir, &env).err().unwrap().to_string();
        assert!(error.contains("ca.key is damaged") && error.contains("remove the folder"), "{error}");
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn an_authority_is_renewed_for_the_same_key_before_it_ends() {
        struct Later;
        impl stdx::Clock for Later {
            fn now(&self) -> Time {
                os::env().now() + Duration::from_secs(9 * YEAR + 10)
            }
        }
        let (dir, env) = (scratch("renew"), os::env());
        let old = Authority::open(&dir, &env).unwrap().ca_pem().to_owned();
        let later = Env { clock: std::sync::Arc::new(Later), ..os::env() };
        let key = fs::read(dir.join("ca.key")).unwrap();
        let renewed = Authority::open(&dir, &later).unwrap();
        assert!(end(renewed.ca_pem()) > end(&old));
        assert_eq!(fs::read(dir.join("ca.key")).unwrap(), key);
        assert_eq!(Authority::open(&dir, &later).unwrap().ca_pem(), renewed.ca_pem());
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_token_is_made_once() {
        let dir = scratch("token");
        make_dir(&dir).unwrap();
        let first = token(&dir.join("admin.token")).unwrap();
        assert_eq!(first, token(&dir.join("admin.token")).unwrap());
        assert_eq!(first.len(), 43);
        fs::remove_dir_all(dir).unwrap();
    }
}
