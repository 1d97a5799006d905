//! `describe`.

use std::process::ExitCode;

use api_client::ListOptions;
use api_meta::{LabelSelector, Resource};
use serde_json::Value;
use view::Related;

use super::lookup::{self, Failures, Select};
use crate::Connect;
use crate::session::{Scope, Session};
use crate::targets;

/// Flags of `describe`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// `pod NAME…`, `pod/NAME svc/NAME`, `pods`
    #[arg(value_name = "TYPE[/NAME]", required = true)]
    words: Vec<String>,
    #[command(flatten)]
    scope: Scope,
    /// All namespaces
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    #[command(flatten)]
    select: Select,
    #[command(flatten)]
    pub(super) connect: Connect,
}

pub(super) const PODS: Resource = Resource::namespaced("", "v1", "pods", "Pod");

pub(super) async fn run(session: &mut Session, args: &Args) -> anyhow::Result<ExitCode> {
    let catalogue = session.catalogue().await?;
    let place = if args.all_namespaces { String::new() } else { session.namespace(&args.scope) };
    let mut failures = Failures::default();
    let mut first = true;
    for target in targets::parse(&catalogue, &args.words)? {
        let found = lookup::objects(session, &target, &place, &args.select, &mut failures).await?;
        for object in found {
            if !first {
                session.io.say("\n\n");
            }
            first = false;
            let page = page(session, &object).await?;
            session.io.say(&page);
        }
    }
    if first && failures.code() == ExitCode::SUCCESS {
        session.io.tell(&format!("No resources found in {place} namespace."));
    }
    Ok(failures.code())
}

async fn page(session: &Session, object: &Value) -> anyhow::Result<String> {
    let events = lookup::events(session, object).await;
    let pods = pods_of(session, object).await?;
    Ok(view::describe(object, Related { events: &events, pods: &pods }, session.env.now()))
}

/// The pods of a workload, or on a node.
async fn pods_of(session: &Session, object: &Value) -> anyhow::Result<Vec<Value>> {
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default();
    let options = match object["kind"].as_str().unwrap_or_default() {
        "Node" => ListOptions { fields: format!("spec.nodeName={name}"), ..Select::default().options() },
        _ => match pod_selector(object) {
            Some(labels) => ListOptions { labels, ..Select::default().options() },
            None => return Ok(Vec::new()),
        },
    };
    Ok(lookup::list(session, &PODS, namespace, options).await?)
}

/// The selector of a workload's pods in text form.
pub(super) fn pod_selector(object: &Value) -> Option<String> {
    let kinds = [
        "Deployment",
        "ReplicaSet",
        "StatefulSet",
        "DaemonSet",
        "CloneSet",
        "InPlaceSet",
        "CafeDeployment",
        "Job",
    ];
    if !kinds.contains(&object["kind"].as_str()?) {
        return None;
    }
    let selector: LabelSelector = serde_json::from_value(object["spec"]["selector"].clone()).ok()?;
    Some(crate::board::selector_text(&selector)).filter(|t| !t.is_empty())
}
