use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use node_agent::NodeConfig;
use node_process::{AgentConfig, AgentError, Catalogue, Image, agent_main};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::fake_api::FakeApi;

const SHIM: &str = env!("CARGO_BIN_EXE_node-process-shim");
/// Longest wait for anything; the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(30);

/// A state directory, an API server, and perhaps an agent. Dropping it removes the directory, which ends all processes.
pub(crate) struct World {
    pub(crate) dir: PathBuf,
    pub(crate) api: FakeApi,
    block: u8,
    agent: Option<Agent>,
}

struct Agent {
    task: JoinHandle<Result<(), AgentError>>,
    shutdown: oneshot::Sender<()>,
}

impl World {
    pub(crate) fn new() -> World {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let seed = std::process::id().wrapping_mul(17).wrapping_add(count) % 64;
        let dir = std::env::temp_dir().join(format!("knarr-process-{}-{count}", std::process::id()));
        // A block where nobody else's pods live at the moment.
        let is_free =
            |block: &u8| std::net::TcpListener::bind(SocketAddr::from(([127, *block, 64, 1], 8080))).is_ok();
        let block = (0..64).map(|i| 64 + u8::try_from((seed + i) % 64).unwrap()).find(is_free).unwrap();
        let mut world = World { dir, api: FakeApi::new(&os::env()), block, agent: None };
        world.start_agent();
        world
    }

    pub(crate) fn start_agent(&mut self) {
        let (shutdown, asked) = oneshot::channel();
        let config = AgentConfig {
            nodes: vec![NodeConfig { name: "n1".into(), cell: Some("rz1".into()), ..NodeConfig::default() }],
            block: self.block,
            share: None,
            catalogue: catalogue(),
            state_dir: self.dir.join("state"),
            shim: vec![SHIM.into(), "shim".into()],
            log_listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            lease_renewal: Duration::from_secs(10),
        };
        let run = agent_main(self.api.client(), os::env(), config, async move {
            let _ = asked.await;
        });
        self.agent = Some(Agent { task: tokio::spawn(run), shutdown });
    }

    /// As if the agent were killed: nothing is cleaned up.
    pub(crate) async fn kill_agent(&mut self) {
        let agent = self.agent.take().unwrap();
        agent.task.abort();
        let _ = agent.task.await;
    }

    /// Asks the agent to end, and waits.
    pub(crate) async fn shut_down(&mut self) {
        let agent = self.agent.take().unwrap();
        let _ = agent.shutdown.send(());
        agent.task.await.unwrap().unwrap();
    }

    /// Waits until the agent ends by itself.
    pub(crate) async fn agent_ends(&mut self) -> Result<(), AgentError> {
        tokio::time::timeout(PATIENCE, self.agent.take().unwrap().task).await.unwrap().unwrap()
    }

    pub(crate) fn pod(&self, name: &str) -> Value {
        self.api.object(&path(name)).unwrap_or(Value::Null)
    }

    /// Waits until the pod is as wanted.
    pub(crate) async fn until(&self, name: &str, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let start = std::time::Instant::now();
        loop {
            let pod = self.pod(name);
            if holds(&pod) {
                return pod;
            }
            assert!(start.elapsed() < PATIENCE, "{name} is not {what}: {pod:#}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub(crate) async fn until_ready(&self, name: &str) -> Value {
        self.until(name, "ready", is_ready).await
    }

    pub(crate) async fn until_event(&self, reason: &str) -> String {
        let start = std::time::Instant::now();
        loop {
            let found = self.api.events().into_iter().find(|e| e["reason"] == reason);
            if let Some(event) = found {
                return event["message"].as_str().unwrap().to_owned();
            }
            assert!(start.elapsed() < PATIENCE, "no event {reason}: {:#?}", self.api.events());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The pid of a container's newest instance.
    pub(crate) fn pid(&self, pod: &str, container: &str) -> i32 {
        self.start_record(pod, container)["pid"].as_i64().unwrap().try_into().unwrap()
    }

    pub(crate) fn start_record(&self, pod: &str, container: &str) -> Value {
        let uid = self.pod(pod)["metadata"]["uid"].as_str().unwrap().to_owned();
        let dir = self.dir.join("state/pods").join(uid).join("containers").join(container);
        let newest = std::fs::read_dir(&dir).unwrap().flatten().map(|e| e.path());
        let newest = newest.max_by_key(|p| p.file_name().unwrap().to_str().unwrap().parse::<u32>().unwrap());
        let bytes = std::fs::read(newest.unwrap().join("start.json")).unwrap();
        serde_json::from_slice(&bytes).unwrap()
    }

    /// Reads from the agent's log port.
    pub(crate) async fn log(&self, pod: &str, container: &str, query: &str) -> String {
        let node = self.api.object("/api/v1/nodes/n1").unwrap();
        let port = node["status"]["daemonEndpoints"]["kubeletEndpoint"]["Port"].as_u64().unwrap();
        let answer =
            get(&format!("127.0.0.1:{port}"), &format!("/containerLogs/d/{pod}/{container}?{query}")).await;
        answer.unwrap()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if let Some(agent) = self.agent.take() {
            agent.task.abort();
        }
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

pub(crate) fn path(name: &str) -> String {
    format!("/api/v1/namespaces/d/pods/{name}")
}

pub(crate) fn is_ready(pod: &Value) -> bool {
    let conditions = pod["status"]["conditions"].as_array();
    conditions.is_some_and(|all| all.iter().any(|c| c["type"] == "Ready" && c["status"] == "True"))
}

pub(crate) fn container(pod: &Value, name: &str) -> Value {
    let all = pod["status"]["containerStatuses"].as_array().into_iter().flatten();
    all.into_iter().find(|c| c["name"] == name).cloned().unwrap_or(Value::Null)
}

pub(crate) fn is_running(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    !stat.is_empty() && !stat.contains(") Z ")
}

pub(crate) async fn until_gone(pid: i32) {
    let start = std::time::Instant::now();
    while is_running(pid) {
        assert!(start.elapsed() < PATIENCE, "{pid} still runs");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The body of an answer.
pub(crate) async fn get(address: &str, path: &str) -> std::io::Result<String> {
    let mut stream = tokio::net::TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    if !head.to_ascii_lowercase().contains("transfer-encoding: chunked") {
        return Ok(body.to_owned());
    }
    let mut out = String::new();
    let mut rest = body;
    while let Some((length, after)) = rest.split_once("\r\n") {
        let length = usize::from_str_radix(length, 16).unwrap();
        out.push_str(&after[..length]);
        rest = after[length..].trim_start_matches("\r\n");
    }
    Ok(out)
}

/// `serve:1`, `serve:2`: a web server; `sh:1`: any command; `work:1`: writes and waits.
fn catalogue() -> Catalogue {
    let image = |command: &[&str], allow_command: bool| Image {
        command: command.iter().map(|t| (*t).to_owned()).collect(),
        allow_command,
        ..Image::default()
    };
    let images = [
        ("serve:1", image(&[SHIM, "serve", "one"], false)),
        ("serve:2", image(&[SHIM, "serve", "two"], false)),
        ("sh:1", image(&["sh", "-c"], true)),
    ];
    Catalogue { images: images.into_iter().map(|(name, image)| (name.to_owned(), image)).collect() }
}

/// A web server with a readiness probe.
pub(crate) fn server(image: &str) -> Value {
    json!({"name": "a", "image": image,
           "readinessProbe": {"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1}})
}

/// A shell script.
pub(crate) fn script(name: &str, text: &str) -> Value {
    json!({"name": name, "image": "sh:1", "args": [text]})
}
