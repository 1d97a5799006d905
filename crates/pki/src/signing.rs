//! The key that signs tokens of service accounts, and those that did so before.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rcgen::KeyPair;
use rustls::pki_types::PrivateKeyDer;
use stdx::{Env, Time};

use crate::{Error, YEAR, make_dir, private_key, read, write_private};

/// How long tokens of a key count after it was replaced; tokens that were asked for longer end with it.
const KEEP_OLDER: Duration = Duration::from_secs(YEAR);

/// Keys for signatures (P-256, PKCS #8).
#[derive(Debug, PartialEq, Eq)]
pub struct SigningKeys {
    /// Signs.
    pub current: PrivateKeyDer<'static>,
    /// Have signed, and are still believed.
    pub older: Vec<PrivateKeyDer<'static>>,
}

fn current_path(dir: &Path) -> PathBuf {
    dir.join("service-account.key")
}

fn older_dir(dir: &Path) -> PathBuf {
    dir.join("service-account-older")
}

/// Reads the keys of a folder; the one that signs is made at first use, and older ones whose time is over are removed.
///
/// # Errors
/// Names a file that is damaged or cannot be read.
pub fn signing_keys(dir: &Path, env: &Env) -> Result<SigningKeys, Error> {
    let path = current_path(dir);
    if !path.exists() {
        write_private(&path, KeyPair::generate()?.serialize_pem().as_bytes())?;
    }
    let current = key(&path)?;
    let mut older = Vec::new();
    for (since, path) in replaced(dir) {
        if since + KEEP_OLDER < env.now() {
            // Whoever cannot remove it believes it a little longer.
            let _ = fs::remove_file(&path);
        } else {
            older.push(key(&path)?);
        }
    }
    Ok(SigningKeys { current, older })
}

/// Makes a new key that signs; the one before it is kept among the older ones.
///
/// # Errors
/// When the folder cannot be written; then the key stays.
pub fn rotate_signing_key(dir: &Path, env: &Env) -> Result<(), Error> {
    let path = current_path(dir);
    if path.exists() {
        key(&path)?;
        make_dir(&older_dir(dir))?;
        let aside = older_dir(dir).join(format!("{}.key", env.now().secs()));
        // First kept, then replaced: after a crash in between it is both, which does no harm.
        write_private(&aside, read(&path)?.as_bytes())?;
    }
    write_private(&path, KeyPair::generate()?.serialize_pem().as_bytes())
}

/// Older keys and when they were replaced, the newest first.
fn replaced(dir: &Path) -> Vec<(Time, PathBuf)> {
    let entries = fs::read_dir(older_dir(dir)).into_iter().flatten().flatten();
    let mut found: Vec<(Time, PathBuf)> = entries
        .filter_map(|entry| {
            let path = entry.path();
            let is_key = path.extension().is_some_and(|end| end == "key");
            let secs = path.file_stem()?.to_str()?.parse().ok()?;
            is_key.then_some((Time::from_secs(secs), path))
        })
        .collect();
    found.sort();
    found.reverse();
    found
}

fn key(path: &Path) -> Result<PrivateKeyDer<'static>, Error> {
    private_key(&read(path)?).ok_or_else(|| Error::Damaged {
        path: path.to_owned(),
        what: "no private key in it".to_owned(),
        folder: path.parent().unwrap_or(path).to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn scratch(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("knarr-pki-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        make_dir(&dir).unwrap();
        dir
    }

    #[test]
    fn a_signing_key_is_made_once_and_a_damaged_one_is_told() {
        let (dir, env) = (scratch("signing"), os::env());
        let first = signing_keys(&dir, &env).unwrap();
        assert_eq!(first, signing_keys(&dir, &env).unwrap());
        let path = current_path(&dir);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::write(&path, "nonsense").unwrap();
        let refused = signing_keys(&dir, &env).unwrap_err().to_string();
        assert!(refused.contains("service-account.key is damaged"), "{refused}");
        assert!(rotate_signing_key(&dir, &env).is_err());
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_replaced_key_is_kept_for_a_year() {
        let (dir, env) = (scratch("rotation"), os::env());
        let first = signing_keys(&dir, &env).unwrap();
        rotate_signing_key(&dir, &env).unwrap();
        let second = signing_keys(&dir, &env).unwrap();
        assert_ne!(second.current, first.current);
        assert_eq!(second.older, [first.current]);
        let kept = fs::read_dir(older_dir(&dir)).unwrap().next().unwrap().unwrap().path();
        let long_ago = env.now().secs() - i64::try_from(KEEP_OLDER.as_secs()).unwrap() - 1;
        fs::rename(&kept, older_dir(&dir).join(format!("{long_ago}.key"))).unwrap();
        let third = signing_keys(&dir, &env).unwrap();
        assert_eq!((third.current, third.older.len()), (second.current, 0));
        assert_eq!(fs::read_dir(older_dir(&dir)).unwrap().count(), 0);
        fs::remove_dir_all(dir).unwrap();
    }
}
