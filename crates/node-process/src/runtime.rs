//! `PodRuntime` over directories and shims. The files are the truth; what is kept in memory is an index of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Mutex;
use std::time::Duration;

use api_core::ResourceRequirements;
use node_agent::{ContainerOrder, ExecOutcome, LogSource, PodOrder, PodRuntime, PodTrace, Refusal, Remark};
use node_core::{ContainerFact, Ended, Shape};
use rustix::fs::FlockOperation;
use stdx::Env;

use crate::address::Pool;
use crate::catalogue::{Catalogue, Image, instance_id};
use crate::make::{check_names, check_ports, fill, find_program, make, tidy, variables, within};
use crate::observe::{Observed, START_MAX, Stage, instance, observe, poke};
use crate::procfs;
use crate::records::{self, InstanceConfig, InstanceDir, PodRecord, StopRecord, now};

/// Time between looks at the files of running containers.
const LOOK: Duration = Duration::from_millis(100);
/// Looks after which `changed` returns even if nothing has.
const LOOKS_MAX: u32 = 10;
/// Bytes after which a log is rotated.
const LOG_BYTES_MAX: u64 = 10 << 20;
/// How much of a command's output is kept.
const OUTPUT_BYTES_MAX: usize = 10 << 10;

/// Why a runtime cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another agent works on the same directory.
    #[error("directory {dir} is in use by the agent with pid {pid}")]
    Running {
        /// Which directory.
        dir: String,
        /// Its pid, as far as it is known.
        pid: i32,
    },
    /// The directory cannot be used.
    #[error("open {dir}")]
    Io {
        /// Which directory.
        dir: String,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

/// Runs pods as local processes.
pub struct ProcessRuntime {
    dir: PathBuf,
    inode: (u64, u64),
    catalogue: Catalogue,
    /// Program and arguments that lead to `shim_main`.
    shim: Vec<String>,
    env: Env,
    index: Mutex<Index>,
    /// Held as long as this lives: one agent per directory.
    _lock: fs::File,
}

struct Index {
    pods: BTreeMap<String, Entry>,
    pool: Pool,
    /// What `changed` saw last, by pod and container.
    seen: BTreeMap<(String, String), (u32, Stage)>,
}

struct Entry {
    record: PodRecord,
    /// Newest attempt of each container.
    attempts: BTreeMap<String, u32>,
}

impl ProcessRuntime {
    /// Opens the directory, and finds every pod that was left there. New pods get addresses of the block, or of its share.
    ///
    /// # Errors
    /// When another agent holds the directory, or it cannot be read or written.
    pub fn open(
        dir: &Path,
        (block, share): (u8, Option<u8>),
        catalogue: Catalogue,
        shim: Vec<String>,
        env: Env,
    ) -> Result<ProcessRuntime, OpenError> {
        let failed = |source| OpenError::Io { dir: dir.display().to_string(), source };
        fs::create_dir_all(dir.join("pods")).map_err(failed)?;
        let dir = dir.canonicalize().map_err(failed)?;
        let lock = lock(&dir)?;
        let meta = fs::metadata(&dir).map_err(failed)?;
        let mut index = Index { pods: BTreeMap::new(), pool: Pool::new(block, share), seen: BTreeMap::new() };
        for pod in fs::read_dir(dir.join("pods")).map_err(failed)?.flatten() {
            if let Some(entry) = recover(&pod.path()) {
                index.pool.keep(entry.record.address);
                index.pods.insert(entry.record.uid.clone(), entry);
            }
        }
        let inode = (meta.dev(), meta.ino());
        Ok(ProcessRuntime { dir, inode, catalogue, shim, env, index: Mutex::new(index), _lock: lock })
    }

    fn pod_dir(&self, uid: &str) -> PathBuf {
        self.dir.join("pods").join(uid)
    }

    fn index(&self) -> std::sync::MutexGuard<'_, Index> {
        self.index.lock().expect("no holder panics")
    }

    /// The newest instance of a container, if there is one.
    fn newest(&self, uid: &str, container: &str) -> Option<(u32, InstanceDir)> {
        let attempt = *self.index().pods.get(uid)?.attempts.get(container)?;
        Some((attempt, InstanceDir::of(&self.pod_dir(uid), container, attempt)))
    }

    fn fact(&self, uid: &str, container: &str) -> ContainerFact {
        let Some((attempt, dir)) = self.newest(uid, container) else { return ContainerFact::default() };
        let Some(newest) = instance(&dir, attempt) else { return ContainerFact::default() };
        let before = attempt.checked_sub(1).and_then(|last| {
            let last = instance(&InstanceDir::of(&self.pod_dir(uid), container, last), last)?;
            let exit = last.exit()?.clone();
            Some(Box::new(Ended { id: last.id, image: last.image, image_id: last.image_id, exit }))
        });
        ContainerFact { instance: Some(newest), before, ready: None }
    }

    /// Pods and containers whose stage is another than at the last look.
    fn changes(&self) -> Vec<String> {
        let known: Vec<(String, String, u32, Option<Stage>)> = {
            let index = self.index();
            let all = index.pods.iter().flat_map(|(uid, entry)| {
                let seen = &index.seen;
                entry.attempts.iter().map(move |(name, attempt)| {
                    let old = seen.get(&(uid.clone(), name.clone())).filter(|(a, _)| a == attempt);
                    (uid.clone(), name.clone(), *attempt, old.map(|(_, stage)| *stage))
                })
            });
            all.collect()
        };
        let mut changed = BTreeSet::new();
        for (uid, name, attempt, old) in known {
            if old == Some(Stage::Exited) {
                continue;
            }
            let dir = InstanceDir::of(&self.pod_dir(&uid), &name, attempt);
            let Some(new) = observe(&dir).map(|o| o.stage()) else { continue };
            if old != Some(new) {
                self.index().seen.insert((uid.clone(), name), (attempt, new));
                changed.insert(uid);
            }
        }
        changed.into_iter().collect()
    }

    fn is_there(&self) -> bool {
        fs::metadata(&self.dir).is_ok_and(|m| (m.dev(), m.ino()) == self.inode)
    }

    /// Writes everything a shim needs, and starts it.
    async fn launch(&self, uid: &str, order: &ContainerOrder) -> Result<(), Refusal> {
        let image = self.image(order)?;
        let record = self.index().pods.get(uid).map(|e| e.record.clone());
        let record = record.ok_or_else(|| Refusal::new("CreateContainerError", "the pod is not prepared"))?;
        let pod = self.pod_dir(uid);
        let dir = InstanceDir::of(&pod, &order.name, order.attempt);
        let config = self.configure(&pod, &record, image, order, &dir)?;
        let failed = |what: &str, e: &dyn std::fmt::Display| {
            Refusal::new("CreateContainerError", format!("{what} for container {}: {e}", order.name))
        };
        tidy(&pod, order).map_err(|e| failed("clear old instances", &e))?;
        make(&pod, &dir, order, &config).map_err(|e| failed("make the directory", &e))?;
        if let Err(error) = self.spawn(&dir).await {
            let _ = fs::remove_dir_all(&dir.0);
            return Err(Refusal::new("RunContainerError", format!("start the shim: {error}")));
        }
        let mut index = self.index();
        if let Some(entry) = index.pods.get_mut(uid) {
            entry.attempts.insert(order.name.clone(), order.attempt);
        }
        index.seen.insert((uid.to_owned(), order.name.clone()), (order.attempt, Stage::Creating));
        Ok(())
    }

    fn image(&self, order: &ContainerOrder) -> Result<&Image, Refusal> {
        let Some(image) = self.catalogue.find(&order.image) else {
            let known: Vec<&str> = self.catalogue.images.keys().map(String::as_str).collect();
            let message = format!(
                "image {:?} is not in the catalogue of this node, which has: {}",
                &*order.image,
                known.join(", ")
            );
            return Err(Refusal::new("ErrImagePull", message));
        };
        if !order.command.is_empty() && !image.allow_command {
            let message = format!(
                "container {} names a command of its own, which image {:?} does not allow: leave `command` out, or set `allowCommand: true` in the catalogue",
                order.name, &*order.image
            );
            return Err(Refusal::new("CreateContainerError", message));
        }
        Ok(image)
    }

    fn configure(
        &self,
        pod: &Path,
        record: &PodRecord,
        image: &Image,
        order: &ContainerOrder,
        dir: &InstanceDir,
    ) -> Result<InstanceConfig, Refusal> {
        let mut command =
            if order.command.is_empty() { image.command.clone() } else { order.command.clone() };
        let own_args = order.args.is_empty() && order.command.is_empty();
        command.extend(if own_args { image.args.clone() } else { order.args.clone() });
        let program = command.first().cloned().unwrap_or_default();
        let found = find_program(&program).ok_or_else(|| {
            Refusal::new(
                "CreateContainerError",
                format!("program {program:?} of image {:?} is not on this machine", &*order.image),
            )
        })?;
        command[0] = found.to_string_lossy().into_owned();
        let working_dir = within(&dir.root(), &order.working_dir);
        Ok(InstanceConfig {
            image: order.image.to_string(),
            image_id: image.id(&order.image),
            id: instance_id(&record.uid, &order.name, order.attempt),
            command,
            env: variables(pod, record, image, order, dir),
            working_dir,
            resources: order.resources.clone(),
            created_micros: now().micros(),
            shim_args: self.shim.get(1..).unwrap_or_default().to_vec(),
            log_bytes_max: LOG_BYTES_MAX,
        })
    }

    /// Runs the first stage, which ends as soon as the shim is on its own.
    async fn spawn(&self, dir: &InstanceDir) -> io::Result<()> {
        let program = self.shim.first().ok_or_else(|| io::Error::other("no shim program is configured"))?;
        let mut command = tokio::process::Command::new(program);
        command.args(&self.shim[1..]).arg("start").arg(&dir.0).env_clear();
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        // Away from the terminal's process group before anything else.
        command.process_group(0);
        let status = tokio::time::timeout(START_MAX, command.status()).await;
        match status {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(Ok(status)) => Err(io::Error::other(format!("{program} ended with {status}"))),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(io::Error::other("it does not answer")),
        }
    }

    fn allows_exec(&self, config: &InstanceConfig, command: &[String]) -> bool {
        let image = self.catalogue.find(&config.image);
        let is_own_program = || {
            let wanted = command.first().and_then(|p| find_program(p));
            wanted.is_some_and(|p| config.command.first().is_some_and(|own| *own == p.to_string_lossy()))
        };
        image.is_some_and(|i| i.allow_command) || is_own_program()
    }
}

impl PodRuntime for ProcessRuntime {
    async fn pods(&self) -> Result<Vec<PodTrace>, io::Error> {
        if !self.is_there() {
            return Err(io::Error::new(io::ErrorKind::NotFound, "the state directory is gone"));
        }
        let known: Vec<(PodRecord, BTreeMap<String, u32>)> =
            self.index().pods.values().map(|e| (e.record.clone(), e.attempts.clone())).collect();
        let trace = |(record, attempts): (PodRecord, BTreeMap<String, u32>)| {
            let pod = self.pod_dir(&record.uid);
            let is_alive = |(name, attempt): &(String, u32)| {
                let dir = InstanceDir::of(&pod, name, *attempt);
                observe(&dir).is_some_and(|o| o.stage() != Stage::Exited)
            };
            PodTrace {
                alive: attempts.into_iter().filter(is_alive).map(|(name, _)| name).collect(),
                node: record.node,
                namespace: record.namespace,
                name: record.name,
                uid: record.uid,
                address: Some(record.address.into()),
            }
        };
        Ok(known.into_iter().map(trace).collect())
    }

    async fn prepare(&self, order: &PodOrder) -> Result<IpAddr, Refusal> {
        check_names(order)?;
        check_ports(&order.ports)?;
        let failed =
            |e: io::Error| Refusal::new("CreatePodSandboxError", format!("make the pod's directory: {e}"));
        let known = self.index().pods.get(&order.uid).map(|e| e.record.address);
        let dir = self.pod_dir(&order.uid);
        let address = match known {
            Some(address) => address,
            None => {
                let full = || Refusal::new("NoAddress", "every pod address of this cluster's block is taken");
                let address = self.index().pool.take().ok_or_else(full)?;
                let record = PodRecord {
                    node: order.node.clone(),
                    namespace: order.namespace.clone(),
                    name: order.name.clone(),
                    uid: order.uid.clone(),
                    address,
                };
                fs::create_dir_all(&dir).map_err(failed)?;
                records::write(&dir.join("pod.json"), &record).map_err(failed)?;
                let entry = Entry { record, attempts: BTreeMap::new() };
                self.index().pods.insert(order.uid.clone(), entry);
                address
            }
        };
        for volume in &order.volumes {
            fill(&dir.join("volumes").join(&volume.name), volume).map_err(failed)?;
        }
        Ok(address.into())
    }

    async fn facts(&self, uid: &str, shape: &Shape) -> Vec<ContainerFact> {
        shape.containers.iter().map(|c| self.fact(uid, &c.name)).collect()
    }

    async fn start(&self, uid: &str, order: &ContainerOrder) -> Result<(), Refusal> {
        self.launch(uid, order).await
    }

    async fn stop(&self, uid: &str, container: &str, grace: Duration) {
        let Some((_, dir)) = self.newest(uid, container) else { return };
        let mut kill_at = (now() + grace).micros();
        if let Ok(Some(old)) = records::read::<StopRecord>(&dir.stop()) {
            kill_at = kill_at.min(old.kill_at_micros);
        }
        if let Err(error) = records::write(&dir.stop(), &StopRecord { kill_at_micros: kill_at }) {
            tracing::warn!(%error, uid, container, "stop not written");
        }
        poke(&dir);
    }

    async fn resize(&self, uid: &str, container: &str, resources: &ResourceRequirements) {
        let Some((_, dir)) = self.newest(uid, container) else { return };
        let Ok(Some(mut config)) = records::read::<InstanceConfig>(&dir.config()) else { return };
        config.resources = resources.clone();
        if let Err(error) = records::write(&dir.config(), &config) {
            tracing::warn!(%error, uid, container, "resize not written");
        }
    }

    async fn remove(&self, uid: &str) {
        match fs::remove_dir_all(self.pod_dir(uid)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%error, uid, "pod's directory not removed");
            }
            _ => {}
        }
        let mut index = self.index();
        if let Some(entry) = index.pods.remove(uid) {
            index.pool.free(entry.record.address);
        }
        index.seen.retain(|(pod, _), _| pod != uid);
    }

    async fn exec(&self, uid: &str, container: &str, command: &[String], timeout: Duration) -> ExecOutcome {
        let failed = |output: String| ExecOutcome { code: None, output };
        let config =
            self.newest(uid, container).map(|(_, dir)| records::read::<InstanceConfig>(&dir.config()));
        let Some(Ok(Some(config))) = config else {
            return failed("the container has no instance".to_owned());
        };
        if !self.allows_exec(&config, command) {
            return failed(format!(
                "image {:?} does not allow other commands than its own: set `allowCommand: true` in the catalogue",
                config.image
            ));
        }
        let Some(program) = command.first().and_then(|p| find_program(p)) else {
            return failed(format!("program {:?} is not on this machine", command.first()));
        };
        let mut child = tokio::process::Command::new(program);
        child.args(&command[1..]).env_clear().envs(&config.env).current_dir(&config.working_dir);
        child.stdin(Stdio::null()).kill_on_drop(true);
        match tokio::time::timeout(timeout, child.output()).await {
            Err(_) => failed(format!("command timed out after {} s", timeout.as_secs())),
            Ok(Err(error)) => failed(error.to_string()),
            Ok(Ok(done)) => {
                let mut output = [done.stdout, done.stderr].concat();
                output.truncate(OUTPUT_BYTES_MAX);
                ExecOutcome {
                    code: done.status.code(),
                    output: String::from_utf8_lossy(&output).into_owned(),
                }
            }
        }
    }

    fn logs(&self, uid: &str, container: &str, is_previous: bool) -> Option<LogSource> {
        let (attempt, dir) = self.newest(uid, container)?;
        let dir = match is_previous {
            true => InstanceDir::of(&self.pod_dir(uid), container, attempt.checked_sub(1)?),
            false => dir,
        };
        let is_alive = observe(&dir)?.stage() != Stage::Exited;
        Some(LogSource { files: vec![dir.old_log(), dir.log()], is_alive })
    }

    async fn changed(&self) -> Result<Vec<String>, io::Error> {
        for _ in 0..LOOKS_MAX {
            self.env.sleep(LOOK).await;
            if !self.is_there() {
                return Err(io::Error::new(io::ErrorKind::NotFound, "the state directory is gone"));
            }
            let changed = self.changes();
            if !changed.is_empty() {
                return Ok(changed);
            }
        }
        Ok(Vec::new())
    }

    async fn remarks(&self, uid: &str) -> Vec<Remark> {
        let listeners = procfs::wildcard_listeners();
        if listeners.is_empty() {
            return Vec::new();
        }
        let containers: Vec<String> =
            self.index().pods.get(uid).map(|e| e.attempts.keys().cloned().collect()).unwrap_or_default();
        let mut out = Vec::new();
        for container in containers {
            let Some((_, dir)) = self.newest(uid, &container) else { continue };
            let Some(Observed::Running(start)) = observe(&dir) else { continue };
            let own: BTreeSet<u64> =
                procfs::session(start.pid).into_iter().flat_map(procfs::sockets).collect();
            for (port, _) in listeners.iter().filter(|(_, inode)| own.contains(inode)) {
                let message = format!(
                    "container {container} listens on all addresses and takes port {port} from every other pod of this machine; it must listen on $(POD_IP)"
                );
                out.push(Remark { reason: "ListensOnAllAddresses", message });
            }
        }
        out
    }
}

fn lock(dir: &Path) -> Result<fs::File, OpenError> {
    let path = dir.join("agent.pid");
    let failed = |source| OpenError::Io { dir: dir.display().to_string(), source };
    let mut file = fs::OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(&path)
        .map_err(failed)?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let pid = fs::read_to_string(&path).ok().and_then(|t| t.trim().parse().ok()).unwrap_or(0);
            return Err(OpenError::Running { dir: dir.display().to_string(), pid });
        }
        Err(error) => return Err(failed(error.into())),
    }
    use std::io::Write as _;
    file.set_len(0).map_err(failed)?;
    writeln!(file, "{}", std::process::id()).map_err(failed)?;
    Ok(file)
}

/// The pod that was left in a directory; what cannot be read is left alone.
fn recover(dir: &Path) -> Option<Entry> {
    let record: PodRecord = records::read(&dir.join("pod.json")).ok().flatten()?;
    let mut attempts = BTreeMap::new();
    for container in fs::read_dir(dir.join("containers")).into_iter().flatten().flatten() {
        let name = container.file_name().to_string_lossy().into_owned();
        let numbers = fs::read_dir(container.path()).into_iter().flatten().flatten();
        let newest = numbers
            .filter(|n| InstanceDir(n.path()).config().exists())
            .filter_map(|n| n.file_name().to_str()?.parse::<u32>().ok())
            .max();
        attempts.extend(newest.map(|n| (name, n)));
    }
    Some(Entry { record, attempts })
}

/// The address of a pod the runtime knows; for the tests of this crate.
impl ProcessRuntime {
    /// The address a pod has been given, if it is known here.
    pub fn address(&self, uid: &str) -> Option<Ipv4Addr> {
        self.index().pods.get(uid).map(|e| e.record.address)
    }
}
