//! The data directory: what a cluster keeps between starts, apart from its objects.
//!
//! ```text
//! DIR/store/        objects (crate store)        DIR/pki/         authority, keys, tokens
//! DIR/kubeconfig    how to reach it              DIR/cluster.json listen address, address block
//! DIR/agents/       node agents and their pods      DIR/proxy/       the proxy's record and log
//! ```

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

/// Blocks 127.N.0.0/16 that clusters of one machine share out.
const BLOCKS: std::ops::RangeInclusive<u8> = 64..=127;
/// Where clusters of this machine see each other's claims.
const CLAIMS: &str = "/tmp/knarr-address-blocks";

/// What is kept between starts.
pub(crate) const KEPT: &str = "cluster.json";

/// The address block of a data directory, alone, as another directory can begin with it: where that one listens is its own business.
/// Nothing when the directory has none.
///
/// # Errors
/// When its file cannot be read or makes no sense.
pub(crate) fn kept_block(dir: &Path) -> io::Result<Option<(String, Vec<u8>)>> {
    let Some(bytes) = unless_absent(fs::read(dir.join(KEPT)))? else { return Ok(None) };
    let kept: Kept = serde_json::from_slice(&bytes)?;
    let Some(block) = kept.block else { return Ok(None) };
    let block = Kept { block: Some(block), ..Kept::default() };
    Ok(Some((KEPT.to_owned(), serde_json::to_vec_pretty(&block)?)))
}

/// Nothing where there is no such file.
pub(crate) fn unless_absent<T>(found: io::Result<T>) -> io::Result<Option<T>> {
    match found {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        found => found.map(Some),
    }
}

/// An opened data directory.
pub(crate) struct Home {
    dir: PathBuf,
    kept: Kept,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Kept {
    /// Address of the API server, once chosen.
    listen: Option<SocketAddr>,
    /// N of the cluster's block 127.N.0.0/16.
    block: Option<u8>,
    /// Ports on 127.0.0.1 that were found once, by what they are for.
    #[serde(default)]
    ports: BTreeMap<String, u16>,
}

impl Home {
    /// Opens or makes the directory.
    pub(crate) fn open(dir: &Path) -> anyhow::Result<Home> {
        pki::make_dir(dir)?;
        let dir = dir.canonicalize().with_context(|| format!("find data directory {}", dir.display()))?;
        let path = dir.join(KEPT);
        let kept = match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).with_context(|| {
                format!("read {}: remove the file to have an address and a block chosen anew", path.display())
            })?,
            Err(e) if e.kind() == ErrorKind::NotFound => Kept::default(),
            Err(e) => return Err(e).with_context(|| format!("read {}", path.display())),
        };
        Ok(Home { dir, kept })
    }

    /// A path below it.
    pub(crate) fn path(&self, below: &str) -> PathBuf {
        self.dir.join(below)
    }

    /// Where to listen: as asked; else as before; else the default.
    pub(crate) fn listen(&self, asked: Option<SocketAddr>) -> SocketAddr {
        let default = SocketAddr::from((Ipv4Addr::LOCALHOST, 6443));
        match (asked, self.kept.listen) {
            (Some(asked), Some(kept)) if asked.port() == 0 && asked.ip() == kept.ip() => kept,
            (Some(asked), _) => asked,
            (None, kept) => kept.unwrap_or(default),
        }
    }

    /// Keeps the address that was bound.
    pub(crate) fn keep_listen(&mut self, bound: SocketAddr) -> anyhow::Result<()> {
        self.kept.listen = Some(bound);
        self.save()
    }

    /// A port on 127.0.0.1 for `purpose`, found at first use and kept as long as nobody else has it. `is_held`: by ourselves.
    pub(crate) fn port(&mut self, purpose: &str, is_held: bool) -> anyhow::Result<SocketAddr> {
        let at = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if let Some(port) = self.kept.ports.get(purpose)
            && (is_held || std::net::TcpListener::bind(at(*port)).is_ok())
        {
            return Ok(at(*port));
        }
        let found = std::net::TcpListener::bind(at(0)).and_then(|l| l.local_addr());
        let found = found.with_context(|| format!("find a free port for the {purpose}"))?;
        self.kept.ports.insert(purpose.to_owned(), found.port());
        self.save()?;
        Ok(found)
    }

    /// The cluster's address block, claimed at first use: N of 127.N.0.0/16.
    pub(crate) fn block(&mut self) -> anyhow::Result<u8> {
        if let Some(block) = self.kept.block
            && claim(block, &self.dir)?
        {
            return Ok(block);
        }
        for block in BLOCKS {
            if claim(block, &self.dir)? {
                self.kept.block = Some(block);
                self.save()?;
                return Ok(block);
            }
        }
        bail!(
            "all {} address blocks of this machine are taken by other clusters; see {CLAIMS}",
            BLOCKS.count()
        )
    }

    fn save(&self) -> anyhow::Result<()> {
        pki::write_private(&self.path(KEPT), &serde_json::to_vec_pretty(&self.kept)?)?;
        Ok(())
    }
}

/// Takes a block for `dir`. False when another living cluster has it; a claim whose directory is gone is void.
fn claim(block: u8, dir: &Path) -> anyhow::Result<bool> {
    let file = Path::new(CLAIMS).join(block.to_string());
    let wrong = || format!("claim address block 127.{block}.0.0/16 in {CLAIMS}");
    if let Ok(owner) = fs::read_to_string(&file) {
        let owner = Path::new(owner.trim());
        if owner == dir {
            return Ok(true);
        }
        if owner.join("cluster.json").exists() || owner.as_os_str().is_empty() {
            return Ok(false);
        }
        fs::remove_file(&file).with_context(wrong)?;
    }
    make_claims_dir().with_context(wrong)?;
    match fs::OpenOptions::new().write(true).create_new(true).open(&file) {
        Ok(mut f) => {
            use std::io::Write;
            f.write_all(dir.as_os_str().as_encoded_bytes()).with_context(wrong)?;
            Ok(true)
        }
        Err(e) if e.kind() == ErrorKind::AlreadyExists => Ok(false),
        Err(e) => Err(e).with_context(wrong),
    }
}

/// Like /tmp itself: everybody may claim, nobody may take away another's claim.
fn make_claims_dir() -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    match fs::create_dir(CLAIMS) {
        Ok(()) => fs::set_permissions(CLAIMS, fs::Permissions::from_mode(0o1777)),
        Err(e) if e.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(e) => Err(e),
    }
}

/// `$XDG_DATA_HOME/knarr`, or `~/.local/share/knarr`.
pub(crate) fn default_dir() -> PathBuf {
    let home =
        || PathBuf::from(std::env::var_os("HOME").unwrap_or_else(|| "/tmp".into())).join(".local/share");
    let base = std::env::var_os("XDG_DATA_HOME").filter(|v| !v.is_empty()).map_or_else(home, PathBuf::from);
    base.join("knarr")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("knarr-home-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        dir
    }

    #[test]
    fn a_free_port_is_kept() {
        let dir = scratch("port");
        let mut home = Home::open(&dir).unwrap();
        let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
        assert_eq!(home.listen(Some(any)), any);
        let bound = "127.0.0.1:4711".parse().unwrap();
        home.keep_listen(bound).unwrap();
        let home = Home::open(&dir).unwrap();
        assert_eq!((home.listen(Some(any)), home.listen(None)), (bound, bound));
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_port_that_somebody_else_has_is_found_anew() {
        let dir = scratch("ports");
        let mut home = Home::open(&dir).unwrap();
        let first = home.port("board", false).unwrap();
        assert_eq!(home.port("board", false).unwrap(), first);
        let other = std::net::TcpListener::bind(first).unwrap();
        assert_eq!(home.port("board", true).unwrap(), first);
        assert_ne!(home.port("board", false).unwrap(), first);
        drop(other);
        fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn two_clusters_take_two_blocks() {
        let (one, two) = (scratch("one"), scratch("two"));
        let (a, b) = (Home::open(&one).unwrap().block().unwrap(), Home::open(&two).unwrap().block().unwrap());
        assert_ne!(a, b);
        assert_eq!(Home::open(&one).unwrap().block().unwrap(), a);
        for (dir, block) in [(one, a), (two, b)] {
            fs::remove_dir_all(dir).unwrap();
            fs::remove_file(Path::new(CLAIMS).join(block.to_string())).unwrap();
        }
    }

    #[test]
    fn a_damaged_file_says_what_to_do() {
        let dir = scratch("damaged");
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("cluster.json"), "{").unwrap();
        let error = format!("{:#}", Home::open(&dir).err().unwrap());
        assert!(error.contains("remove the file"), "{error}");
        fs::remove_dir_all(dir).unwrap();
    }
}
