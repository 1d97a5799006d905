//! The live board of `up` and of `release status --watch`: a bar per workload and batch, or per group of a release by cells,
//! with the reason whenever one waits.

mod batches;
mod groups;
mod look;
mod screen;

use std::future::Future;
use std::time::Duration;

use api_client::Client;
use api_meta::Resource;
use stdx::Env;

use crate::{Catalogue, Manifest};
use batches::Batches;
use look::{Glance, glance};
pub(crate) use look::{events_about, selector_text};
use screen::Screen;

/// One workload to watch over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Focus {
    /// Its collection.
    pub resource: Resource,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

const LOOK_EVERY: Duration = Duration::from_millis(400);
/// Without a change for so long, the reasons are told once more where there is no terminal.
const REMIND_EVERY: Duration = Duration::from_secs(15);

/// Shows the workloads among the manifests until all of them have rolled out.
pub async fn follow(client: &Client, env: &Env, manifests: &[Manifest]) -> anyhow::Result<()> {
    let catalogue = Catalogue::fetch(client).await?;
    let mut focus = Vec::new();
    for m in manifests {
        let resource = catalogue.kind(m.api_version(), m.kind())?.resource.clone();
        let namespace = if m.namespace().is_empty() { "default" } else { m.namespace() };
        if view::progress(&m.object).is_some() {
            focus.push(Focus { resource, namespace: namespace.to_owned(), name: m.name().to_owned() });
        }
    }
    board(client, env, focus, std::future::pending()).await
}

/// Shows workloads until all of them have rolled out or `stop` completes. Bars on a terminal, plain lines elsewhere.
pub async fn board(
    client: &Client,
    env: &Env,
    focus: Vec<Focus>,
    stop: impl Future<Output = ()>,
) -> anyhow::Result<()> {
    let mut screen = Screen::new(&focus);
    let shown = show(client, env, &focus, &mut screen);
    let outcome = tokio::select! {
        biased;
        () = stop => Ok(()),
        outcome = shown => outcome,
    };
    screen.close();
    outcome
}

async fn show(client: &Client, env: &Env, focus: &[Focus], screen: &mut Screen) -> anyhow::Result<()> {
    let mut batches: Vec<Batches> = focus.iter().map(|_| Batches::default()).collect();
    loop {
        let mut open = 0;
        for (i, one) in focus.iter().enumerate() {
            match glance(client, env, one).await {
                Ok(Some(Glance { progress, waits, release })) => {
                    open += usize::from(!progress.is_done());
                    match release.filter(|r| !r.groups.is_empty()) {
                        Some(release) => screen.draw_release(one, i, &release, &progress, &waits, env.now()),
                        None => {
                            let batch = batches[i].see(&progress);
                            screen.draw(i, &progress, batch, &waits, env.now());
                        }
                    }
                }
                Ok(None) => {
                    open += 1;
                    screen.note(i, "it is not there", env.now());
                }
                // A server that is busy or restarting: the next look will tell.
                Err(error) => {
                    open += 1;
                    screen.note(i, &error.to_string(), env.now());
                }
            }
        }
        if open == 0 {
            return Ok(());
        }
        env.sleep(LOOK_EVERY).await;
    }
}
