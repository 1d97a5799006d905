//! Making what a pod and its containers need: directories, volumes, variables; and refusing what cannot be.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Component, Path, PathBuf};

use node_agent::{ContainerOrder, Content, PodOrder, Refusal, Volume};
use rustix::fs::{FileType, Mode};

use crate::catalogue::Image;
use crate::records::{self, InstanceConfig, InstanceDir, PodRecord};

/// Where programs are looked for.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Where a container expects token and authority of its service account; a process finds them where KNARR_SERVICE_ACCOUNT says.
const ACCOUNT_PATH: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// Removes instances older than the one before this, and the remains of a start that got nowhere.
pub(crate) fn tidy(pod: &Path, order: &ContainerOrder) -> io::Result<()> {
    let container = pod.join("containers").join(&order.name);
    for old in fs::read_dir(&container).into_iter().flatten().flatten() {
        let number: Option<u32> = old.file_name().to_str().and_then(|n| n.parse().ok());
        if number.is_none_or(|n| n + 1 < order.attempt || n >= order.attempt) {
            fs::remove_dir_all(old.path())?;
        }
    }
    Ok(())
}

pub(crate) fn make(
    pod: &Path,
    dir: &InstanceDir,
    order: &ContainerOrder,
    config: &InstanceConfig,
) -> io::Result<()> {
    fs::create_dir_all(dir.root())?;
    for mount in &order.mounts {
        let from = within(&pod.join("volumes").join(&mount.volume), &mount.sub_path);
        if !mount.sub_path.is_empty() && !from.exists() {
            fs::create_dir_all(&from)?;
        }
        let to = within(&dir.root(), &mount.path);
        if to == dir.root() {
            continue;
        }
        if let Some(parent) = to.parent() {
            fs::create_dir_all(parent)?;
        }
        std::os::unix::fs::symlink(&from, &to)?;
    }
    fs::create_dir_all(&config.working_dir)?;
    rustix::fs::mknodat(rustix::fs::CWD, dir.control(), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)?;
    records::write(&dir.config(), config)
}

/// Variables of a container: those every pod here has, the image's, then the container's own.
pub(crate) fn variables(
    pod: &Path,
    record: &PodRecord,
    image: &Image,
    order: &ContainerOrder,
    dir: &InstanceDir,
) -> BTreeMap<String, String> {
    let mut env = BTreeMap::new();
    let mut put = |key: &str, value: String| env.insert(key.to_owned(), value);
    put("PATH", PATH.to_owned());
    put("HOME", dir.root().display().to_string());
    put("HOSTNAME", record.name.clone());
    put("POD_IP", record.address.to_string());
    put("POD_NAME", record.name.clone());
    put("POD_NAMESPACE", record.namespace.clone());
    put("NODE_NAME", record.node.clone());
    for mount in &order.mounts {
        let name = mount.volume.to_ascii_uppercase().replace(['-', '.'], "_");
        let dir = pod.join("volumes").join(&mount.volume).display().to_string();
        if mount.path == ACCOUNT_PATH {
            put("KNARR_SERVICE_ACCOUNT", dir.clone());
        }
        put(&format!("KNARR_VOLUME_{name}"), dir);
    }
    env.extend(image.env.clone());
    env.extend(order.env.iter().cloned());
    env
}

/// Brings a volume to its content; what containers have put into an empty one stays.
pub(crate) fn fill(dir: &Path, volume: &Volume) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    let Content::Files(files) = &volume.content else { return Ok(()) };
    for (path, bytes) in files {
        let path = within(dir, path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        let new = path.with_extension("knarr-new");
        // For the cluster's owner alone: it may be a secret or a token.
        let mut options = fs::OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(bytes)?;
        fs::rename(&new, &path)?;
    }
    Ok(())
}

/// `path` below `root`, whatever dots and slashes it has.
pub(crate) fn within(root: &Path, path: &str) -> PathBuf {
    let parts = Path::new(path).components().filter(|c| matches!(c, Component::Normal(_)));
    root.components().chain(parts).collect()
}

pub(crate) fn find_program(program: &str) -> Option<PathBuf> {
    if program.is_empty() {
        return None;
    }
    if program.contains('/') {
        return Path::new(program).is_file().then(|| PathBuf::from(program));
    }
    PATH.split(':').map(|dir| Path::new(dir).join(program)).find(|p| p.is_file())
}

/// Names become parts of paths: what the API server lets through is fine, anything else is refused.
pub(crate) fn check_names(order: &PodOrder) -> Result<(), Refusal> {
    let is_plain = |name: &str| {
        !name.is_empty()
            && !name.starts_with('.')
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
    };
    let bad = [&order.uid].into_iter().chain(order.volumes.iter().map(|v| &v.name)).find(|n| !is_plain(n));
    match bad {
        Some(name) => {
            Err(Refusal::new("CreatePodSandboxError", format!("{name:?} cannot be part of a path")))
        }
        None => Ok(()),
    }
}

pub(crate) fn check_ports(ports: &[(String, u16)]) -> Result<(), Refusal> {
    let text = fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").unwrap_or_default();
    let first_free = text.trim().parse().unwrap_or(1024);
    match privileged(ports, rustix::process::geteuid().is_root(), first_free) {
        None => Ok(()),
        Some((container, port)) => {
            let message = format!(
                "container {container} listens on port {port}: ports below {first_free} need root here; use a higher one, such as 8080"
            );
            Err(Refusal::new("PortNeedsRoot", message))
        }
    }
}

fn privileged(ports: &[(String, u16)], is_root: bool, first_free: u16) -> Option<&(String, u16)> {
    ports.iter().find(|(_, port)| !is_root && *port < first_free)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_below_their_root() {
        assert_eq!(within(Path::new("/a"), "../../etc/./x"), Path::new("/a/etc/x"));
        assert_eq!(within(Path::new("/a"), "/"), Path::new("/a"));
    }

    #[test]
    fn low_ports_need_root() {
        let ports = [("web".to_owned(), 80), ("admin".to_owned(), 8080)];
        assert_eq!(privileged(&ports, false, 1024), Some(&ports[0]));
        assert_eq!(privileged(&ports, true, 1024), None);
        assert_eq!(privileged(&ports, false, 80), None);
    }
}
