//! Node agents as processes of their own: one for all process nodes, or one for each cell, so that a cell can fail alone.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use api_client::Client;
use api_client_kube::KubeTransport;
use node_agent::NodeConfig;
use node_process::{AgentConfig, Catalogue, SHARES, agent_main};
use stdx::Env;

use crate::companion::{self, Companion};

/// Name of an agent's record in its directory.
const RECORD: &str = "agent";
/// File in an agent's directory that keeps its share of the cluster's pod addresses.
const SHARE: &str = "share";

/// Flags of the hidden command `node-agent`.
#[derive(clap::Args, Clone, Debug, PartialEq, Eq)]
pub(crate) struct Args {
    /// How to reach the API server.
    #[arg(long)]
    kubeconfig: PathBuf,
    /// Where pods keep their state; the agent ends itself when it is gone.
    #[arg(long)]
    state_dir: PathBuf,
    /// N of the cluster's block 127.N.0.0/16.
    #[arg(long)]
    block: u8,
    /// Its share of the block's pod addresses; all without.
    #[arg(long)]
    share: Option<u8>,
    /// Its nodes: NAME, NAME/CELL, NAME/CELL/ZONE; cell and zone may be empty.
    #[arg(long = "node", value_parser = read_node)]
    nodes: Vec<Seat>,
    /// Images beside the built-in ones.
    #[arg(long)]
    catalogue: Option<PathBuf>,
    /// Seconds after which a node that was not heard of is lost.
    #[arg(long)]
    grace_seconds: u32,
}

/// A node and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seat {
    name: String,
    cell: Option<String>,
    zone: Option<String>,
}

fn read_node(text: &str) -> Result<Seat, String> {
    let mut words = text.split('/').map(str::to_owned);
    let mut next = || words.next().filter(|w| !w.is_empty());
    let name = next().ok_or("a node needs a name")?;
    Ok(Seat { name, cell: next(), zone: next() })
}

/// What `up` wants of its process nodes.
pub(crate) struct Wanted {
    /// How agents reach the API server.
    pub(crate) kubeconfig: PathBuf,
    /// Directory of all agents.
    pub(crate) dir: PathBuf,
    /// N of the cluster's block 127.N.0.0/16.
    pub(crate) block: u8,
    /// How many nodes.
    pub(crate) nodes: usize,
    /// Cells to spread them over.
    pub(crate) cells: Vec<String>,
    /// Zones to spread them over.
    pub(crate) zones: Vec<String>,
    /// Images beside the built-in ones.
    pub(crate) catalogue: Option<PathBuf>,
    /// Seconds after which a node that was not heard of is lost.
    pub(crate) grace_seconds: u32,
}

impl Wanted {
    /// Finds or starts the agents, and ends those of an earlier start that are not wanted any more.
    pub(crate) async fn ensure(&self, env: &Env) -> anyhow::Result<Vec<Companion>> {
        let mut by_dir: BTreeMap<PathBuf, Vec<Seat>> = BTreeMap::new();
        for seat in self.seats() {
            let dir = seat.cell.as_ref().map_or(self.dir.clone(), |cell| self.dir.join(cell));
            by_dir.entry(dir).or_default().push(seat);
        }
        for dir in dirs(&self.dir).into_iter().filter(|d| !by_dir.contains_key(d)) {
            if let Some(agent) = Companion::find(&dir, RECORD) {
                tracing::warn!(dir = %dir.display(), "ending a node agent that is not wanted any more, and its pods");
                agent.stop(env).await;
            }
        }
        let mut agents = Vec::new();
        for (dir, seats) in by_dir {
            let share = if self.cells.is_empty() { None } else { Some(share_of(&self.dir, &dir)?) };
            agents.push(Companion::ensure(&dir, RECORD, self.words(&dir, share, &seats), env).await?);
        }
        Ok(agents)
    }

    /// Nodes are spread over cells and zones in turn.
    fn seats(&self) -> impl Iterator<Item = Seat> {
        let pick = |names: &[String], i: usize| (!names.is_empty()).then(|| names[i % names.len()].clone());
        // Nodes of one cell are spread over the zones too.
        let round = |i: usize| i / self.cells.len().max(1) + i % self.cells.len().max(1);
        (0..self.nodes).map(move |i| Seat {
            name: format!("process-{i}"),
            cell: pick(&self.cells, i),
            zone: pick(&self.zones, round(i)),
        })
    }

    fn words(&self, dir: &Path, share: Option<u8>, seats: &[Seat]) -> Vec<String> {
        let path = |p: &Path| p.to_string_lossy().into_owned();
        let mut words: Vec<String> = vec!["node-agent".into(), "--kubeconfig".into(), path(&self.kubeconfig)];
        words.extend(["--state-dir".into(), path(dir), "--block".into(), self.block.to_string()]);
        words.extend(["--grace-seconds".into(), self.grace_seconds.to_string()]);
        if let Some(share) = share {
            words.extend(["--share".into(), share.to_string()]);
        }
        for seat in seats {
            let text = |o: &Option<String>| o.clone().unwrap_or_default();
            words.extend([
                "--node".into(),
                format!("{}/{}/{}", seat.name, text(&seat.cell), text(&seat.zone)),
            ]);
        }
        if let Some(catalogue) = &self.catalogue {
            words.extend(["--catalogue".into(), path(catalogue)]);
        }
        words
    }
}

/// The directory of all agents and those in it that have been an agent's.
fn dirs(all: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(all).into_iter().flatten().flatten().map(|e| e.path());
    let below = entries.filter(|p| p.join(SHARE).exists());
    std::iter::once(all.to_owned()).chain(below).collect()
}

/// The share of pod addresses that an agent's directory has, claimed at first use: agents that come and go keep theirs.
fn share_of(all: &Path, dir: &Path) -> anyhow::Result<u8> {
    let read = |dir: &Path| -> Option<u8> { fs::read_to_string(dir.join(SHARE)).ok()?.trim().parse().ok() };
    if let Some(share) = read(dir).filter(|s| *s < SHARES) {
        return Ok(share);
    }
    let taken: Vec<u8> = dirs(all).iter().filter_map(|d| read(d)).collect();
    let Some(share) = (0..SHARES).find(|s| !taken.contains(s)) else {
        bail!(
            "--cells: at most {SHARES} cells can have process nodes in one data directory, the earlier ones included"
        )
    };
    pki::make_dir(dir)?;
    pki::write_private(&dir.join(SHARE), share.to_string().as_bytes())?;
    Ok(share)
}

/// The agent itself.
pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    // A session of its own: Ctrl-C in the terminal of `up` is not meant for it.
    let _ = rustix::process::setsid();
    let transport = KubeTransport::open(Some(Path::new(&args.kubeconfig)), None).await?;
    let client = Client::new(Arc::new(transport), "node-agent");
    let program = std::env::current_exe().context("find the program itself")?;
    let mut catalogue = Catalogue::builtin(&program);
    if let Some(file) = &args.catalogue {
        catalogue.add_file(file)?;
    }
    let node = |seat: Seat| NodeConfig {
        name: seat.name,
        cell: seat.cell,
        zone: seat.zone,
        labels: BTreeMap::new(),
        capacity: BTreeMap::new(),
    };
    let config = AgentConfig {
        nodes: args.nodes.into_iter().map(node).collect(),
        block: args.block,
        share: args.share,
        catalogue,
        state_dir: args.state_dir.clone(),
        shim: vec![program.to_string_lossy().into_owned(), "shim".to_owned()],
        log_listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        lease_renewal: Duration::from_secs(u64::from(args.grace_seconds)) / 4,
    };
    agent_main(client, os::env(), config, companion::terminated()).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(nodes: usize, cells: &[&str], zones: &[&str]) -> Wanted {
        let own = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect();
        Wanted {
            kubeconfig: "k".into(),
            dir: "d".into(),
            block: 64,
            nodes,
            cells: own(cells),
            zones: own(zones),
            catalogue: None,
            grace_seconds: 40,
        }
    }

    #[test]
    fn nodes_are_spread_over_cells_and_within_each_over_zones() {
        let told = |w: Wanted| {
            let text = |o: Option<String>| o.unwrap_or_default();
            let all: Vec<String> =
                w.seats().map(|s| format!("{}/{}/{}", s.name, text(s.cell), text(s.zone))).collect();
            all.join(" ")
        };
        assert_eq!(told(wanted(2, &[], &[])), "process-0// process-1//");
        assert_eq!(
            told(wanted(4, &["A", "B"], &["x", "y"])),
            "process-0/A/x process-1/B/y process-2/A/y process-3/B/x"
        );
    }

    #[test]
    fn a_node_is_read_as_it_is_written() {
        let seat = Seat { name: "process-0".into(), cell: None, zone: Some("x".into()) };
        assert_eq!(read_node("process-0//x"), Ok(seat));
        assert!(read_node("/A").is_err());
    }

    #[test]
    fn a_directory_keeps_its_share() {
        let all = std::env::temp_dir().join(format!("knarr-shares-{}", std::process::id()));
        let share = |cell: &str| share_of(&all, &all.join(cell)).unwrap();
        assert_eq!((share("A"), share("B"), share("A")), (0, 1, 0));
        for i in 2..SHARES {
            share(&format!("C{i}"));
        }
        assert!(share_of(&all, &all.join("D")).unwrap_err().to_string().contains("at most 16 cells"));
        fs::remove_dir_all(all).unwrap();
    }
}
