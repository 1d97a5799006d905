//! `knarr store`: verifies, backs up and restores what a cluster keeps.
//!
//! Offline all three take the lock of the data directory. A running cluster is backed up through its API server: what is sent is one
//! moment, and the server goes on meanwhile. The keys of the cluster (its folder pki) go with it unless left out; the file is for its
//! owner alone.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Component, Path, PathBuf};

use crate::home::{kept_block, unless_absent};
use anyhow::{Context, bail};
use api_client::{Body, Transport};
use clap::Subcommand;
use futures_util::StreamExt;
use store::{Attachment, Census, DataDir, Key, verify_backup};

/// Look after what a cluster keeps
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Read everything and check it: checksums, order, meaning. Changes nothing; the cluster must be down
    Verify(Dir),
    /// Write all objects of one moment into a file: of a running cluster with --kubeconfig, else of a data directory
    Backup(Backup),
    /// Fill an empty data directory from a backup; no version that anybody saw is given again
    Restore(Restore),
    /// Make a new key for tokens of service accounts; a running cluster takes it up within a minute, and tokens of the former one
    /// count for another year
    RotateKey(Dir),
}

#[derive(clap::Args)]
struct Dir {
    /// Directory of everything the cluster keeps [default: $XDG_DATA_HOME/knarr]
    #[arg(long, value_name = "DIR", env = "KNARR_DATA_DIR")]
    data_dir: Option<PathBuf>,
}

#[derive(clap::Args)]
struct Backup {
    /// File to write; it must not be there yet
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
    /// Kubeconfig of a running cluster, with a user of system:masters; then no data directory is read
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Leave out certificates, keys and tokens: the restored cluster gets new ones, and clients a new kubeconfig
    #[arg(long)]
    without_keys: bool,
    #[command(flatten)]
    dir: Dir,
}

#[derive(clap::Args)]
struct Restore {
    /// Backup to read
    #[arg(long, value_name = "FILE")]
    from: PathBuf,
    #[command(flatten)]
    dir: Dir,
}

impl Dir {
    fn path(&self) -> PathBuf {
        self.data_dir.clone().unwrap_or_else(crate::home::default_dir)
    }

    /// The directory of a cluster that was there before.
    fn open(&self) -> anyhow::Result<DataDir> {
        let path = self.path();
        if !path.join("store").is_dir() {
            bail!("{} holds no cluster: name its directory with --data-dir", path.display());
        }
        Ok(DataDir::open(&path)?)
    }
}

/// Runs one of the verbs.
pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    match args.command {
        Command::Verify(dir) => tell("in order", &dir.open()?.verify(&is_object)?),
        Command::Backup(args) => {
            let found = backup(&args).await?;
            tell(&format!("saved to {}", args.to.display()), &found);
        }
        Command::Restore(args) => {
            let file = File::open(&args.from).with_context(|| format!("open {}", args.from.display()))?;
            let dir = DataDir::open(&args.dir.path())?;
            let pki = dir.path().join("pki");
            if pki.exists() {
                bail!("{} is there already: restore into an empty directory", pki.display());
            }
            let found = dir.restore(&mut BufReader::new(file))?;
            put_back(dir.path(), &found.files)?;
            tell(&format!("restored to {}", dir.path().display()), &found);
        }
        Command::RotateKey(dir) => {
            let pki = dir.path().join("pki");
            if !pki.is_dir() {
                bail!("{} holds no cluster: name its directory with --data-dir", dir.path().display());
            }
            pki::rotate_signing_key(&pki, &os::env())?;
        }
    }
    Ok(())
}

/// Longest file that can be a key.
const KEY_BYTES_MAX: u64 = 64 << 10;

/// Certificates, keys and tokens of a data directory by their path in it, and the address block that its Services have.
///
/// # Errors
/// When one of them cannot be read: a backup without it would not be one.
pub(crate) fn keys(dir: &Path) -> io::Result<Vec<Attachment>> {
    let mut out: Vec<Attachment> = kept_block(dir)?.into_iter().collect();
    let mut folders = vec![PathBuf::from("pki")];
    while let Some(folder) = folders.pop() {
        for entry in unless_absent(fs::read_dir(dir.join(&folder)))?.into_iter().flatten() {
            let entry = entry?;
            let (name, meta) = (folder.join(entry.file_name()), entry.metadata()?);
            if meta.is_dir() {
                folders.push(name);
            } else if meta.is_file() && name.extension().is_none_or(|e| e != "tmp") {
                out.push((key_name(&name, meta.len())?, fs::read(entry.path())?));
            }
        }
    }
    out.sort();
    Ok(out)
}

/// The name of a key in a backup.
fn key_name(path: &Path, bytes: u64) -> io::Result<String> {
    let wrong = |what: &str| {
        io::Error::other(format!("{}: {what}: take it away or use --without-keys", path.display()))
    };
    if bytes > KEY_BYTES_MAX {
        return Err(wrong("too long for a key"));
    }
    Ok(path.to_str().ok_or_else(|| wrong("no name in UTF-8"))?.to_owned())
}

/// Writes the keys of a backup where they were.
fn put_back(dir: &Path, files: &[Attachment]) -> anyhow::Result<()> {
    for (name, bytes) in files {
        let path = Path::new(name);
        let is_plain = path.components().all(|part| matches!(part, Component::Normal(_)));
        if !is_plain || !path.starts_with("pki") && name != crate::home::KEPT {
            bail!("the backup holds a file {name:?}, which is no key of a cluster: use another backup");
        }
        let path = dir.join(path);
        pki::make_dir(path.parent().unwrap_or(dir))?;
        pki::write_private(&path, bytes)?;
    }
    Ok(())
}

/// A body must be a JSON object that bears the name it is stored under.
fn is_object(key: &Key, body: &[u8]) -> Result<(), String> {
    let object: serde_json::Value = serde_json::from_slice(body).map_err(|e| format!("no JSON: {e}"))?;
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    if name != &*key.name {
        return Err(format!("it bears the name {name:?}"));
    }
    Ok(())
}

#[allow(clippy::print_stdout, reason = "the answer of a command")]
fn tell(what: &str, found: &Census) {
    println!("{} objects {what}, newest version {}", found.objects(), found.head);
}

/// Writes beside the file first: what bears its name is whole and was read back.
async fn backup(args: &Backup) -> anyhow::Result<Census> {
    if args.to.exists() {
        bail!("{} is there already: choose another name", args.to.display());
    }
    let next = args.to.with_extension("partial");
    let outcome = write(args, &next).await;
    if outcome.is_err() {
        let _ = fs::remove_file(&next);
    }
    let found = outcome?;
    fs::rename(&next, &args.to).with_context(|| format!("rename {}", next.display()))?;
    Ok(found)
}

async fn write(args: &Backup, file: &Path) -> anyhow::Result<Census> {
    let wrong = || format!("write {}", file.display());
    let mut options = OpenOptions::new();
    let opened = options.write(true).create(true).truncate(true).mode(0o600).open(file);
    let mut out = BufWriter::new(opened.with_context(wrong)?);
    match &args.kubeconfig {
        Some(kubeconfig) => {
            let server = crate::connect(kubeconfig.clone()).await?;
            fetch(server.as_ref(), !args.without_keys, &mut out).await?;
        }
        None => {
            let dir = args.dir.open()?;
            dir.backup(&mut out)?;
            if !args.without_keys {
                out.write_all(&store::attach(&keys(dir.path()).context("read the cluster's keys")?)?)
                    .with_context(wrong)?;
            }
        }
    }
    let inner = out.into_inner().map_err(|e| e.into_error()).with_context(wrong)?;
    inner.sync_all().with_context(wrong)?;
    let mut written = BufReader::new(File::open(file).with_context(wrong)?);
    Ok(verify_backup(&mut written)?)
}

/// Fetches a backup from a running API server.
async fn fetch(transport: &dyn Transport, with_keys: bool, out: &mut impl Write) -> anyhow::Result<()> {
    let path = if with_keys { "/knarr/backup?keys=true" } else { "/knarr/backup" };
    let request = http::Request::get(path).body(bytes::Bytes::new())?;
    let response = transport.send(request).await.context("ask the API server for a backup")?;
    let code = response.status();
    if !code.is_success() {
        let body = response.into_body().collect().await.unwrap_or_default();
        bail!("the API server gives no backup: {code}: {}", String::from_utf8_lossy(&body));
    }
    let mut parts = match response.into_body() {
        Body::Full(bytes) => return Ok(out.write_all(&bytes)?),
        Body::Stream(parts) => parts,
    };
    while let Some(part) = parts.next().await {
        out.write_all(&part.context("read the backup from the API server")?)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_bears_its_name() {
        let key = Key::new("pods", "shop", "web");
        assert!(is_object(&key, br#"{"metadata":{"name":"web"}}"#).is_ok());
        assert!(is_object(&key, br#"{"metadata":{"name":"other"}}"#).is_err());
        assert!(is_object(&key, b"{").is_err());
    }

    #[test]
    fn keys_go_back_where_they_were_and_nowhere_else() {
        let dir = std::env::temp_dir().join(format!("knarr-keys-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        let (from, to) = (dir.join("a"), dir.join("b"));
        pki::Authority::open(&from.join("pki"), &os::env()).unwrap();
        pki::signing_keys(&from.join("pki"), &os::env()).unwrap();
        pki::rotate_signing_key(&from.join("pki"), &os::env()).unwrap();
        let saved = keys(&from).unwrap();
        let names: Vec<&str> = saved.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names.len(), 4, "{names:?}");
        assert!(names.contains(&"pki/ca.key") && names.contains(&"pki/service-account.key"), "{names:?}");
        put_back(&to, &saved).unwrap();
        assert_eq!(keys(&to).unwrap(), saved);
        fs::write(to.join("pki/heap"), vec![0; 70_000]).unwrap();
        let why = keys(&to).unwrap_err().to_string();
        assert!(why.contains("pki/heap: too long for a key"), "{why}");
        for bad in ["store/knarr.redb", "pki/../x", "/etc/x", "../pki/x"] {
            assert!(put_back(&to, &[(bad.to_owned(), Vec::new())]).is_err(), "{bad}");
        }
        fs::remove_dir_all(dir).unwrap();
    }
}
