//! `up --apply DIR`: the manifests of a directory, then each file of its folder `release` as a release of its own.
//!
//! What has been applied is kept, so that a later start goes on instead of rolling back to the first version.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use api_client::Client;
use stdx::Env;

/// The steps of a directory.
pub(crate) struct Releases {
    dir: PathBuf,
    steps: Vec<Step>,
}

struct Step {
    title: String,
    manifests: Vec<cli::Manifest>,
}

impl Releases {
    /// Reads and checks all manifests.
    pub(crate) fn read(dir: &Path) -> anyhow::Result<Releases> {
        let wrong = || format!("--apply {}", dir.display());
        let dir = dir.canonicalize().with_context(wrong)?;
        let first = cli::read_manifests(&dir).with_context(wrong)?;
        if first.is_empty() {
            bail!("--apply {}: no *.yaml, *.yml or *.json file there", dir.display());
        }
        let name = |p: &Path| p.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let mut steps = vec![Step { title: format!("deploy {}", name(&dir)), manifests: first }];
        let folder = dir.join("release");
        if folder.is_dir() {
            let entries = std::fs::read_dir(&folder).with_context(|| format!("read {}", folder.display()))?;
            let mut files: Vec<PathBuf> =
                entries.filter_map(|e| e.ok().map(|e| e.path())).filter(|p| cli::is_manifest(p)).collect();
            files.sort();
            for file in files {
                let title = format!("release {}", name(&file));
                steps.push(Step { title, manifests: cli::read_manifests(&file)? });
            }
        }
        Ok(Releases { dir, steps })
    }

    /// Carries out the steps that an earlier start has not finished; each is over when its workloads have rolled out.
    pub(crate) async fn run(self, client: &Client, env: &Env, record: &Path) -> anyhow::Result<()> {
        let mut applied: BTreeMap<PathBuf, usize> = match std::fs::read(record) {
            Ok(bytes) => {
                serde_json::from_slice(&bytes).with_context(|| format!("read {}", record.display()))?
            }
            Err(_) => BTreeMap::new(),
        };
        let done = applied.get(&self.dir).copied().unwrap_or(0);
        let last = self.steps.len();
        for (index, step) in self.steps.into_iter().enumerate() {
            let is_last = index + 1 == last;
            if index < done {
                if !is_last {
                    continue;
                }
                eprintln!("{}: was applied before; going on from there", step.title);
            } else {
                eprintln!("{}", step.title);
                cli::apply_all(client, env, &step.manifests).await?;
            }
            cli::follow(client, env, &step.manifests).await?;
            applied.insert(self.dir.clone(), index + 1);
            pki::write_private(record, &serde_json::to_vec(&applied)?)?;
        }
        Ok(())
    }
}
