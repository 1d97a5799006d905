//! `logs`.

use std::process::ExitCode;

use anyhow::{Context, bail};
use api_client::Body;
use api_meta::Resource;
use futures_util::StreamExt;
use serde_json::Value;

use super::describe::{PODS, pod_selector};
use super::lookup::{self, Select};
use crate::Connect;
use crate::session::{Scope, Session};

/// Flags of `logs`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// `POD`, or `TYPE/NAME` for a pod of a workload
    #[arg(value_name = "POD|TYPE/NAME")]
    target: String,
    /// Container; may be left out when the pod has one
    #[arg(value_name = "CONTAINER")]
    position: Option<String>,
    /// Container
    #[arg(short, long, conflicts_with = "position")]
    container: Option<String>,
    #[command(flatten)]
    scope: Scope,
    /// Go on with what is written from now on
    #[arg(short, long)]
    follow: bool,
    /// Last lines only; -1 for all
    #[arg(long, default_value_t = -1, allow_hyphen_values = true)]
    tail: i64,
    /// Of the container before its last restart
    #[arg(short, long)]
    previous: bool,
    /// Put the time before each line
    #[arg(long)]
    timestamps: bool,
    /// Only what was written in the last seconds
    #[arg(long, value_name = "SECONDS")]
    since_seconds: Option<u64>,
    #[command(flatten)]
    pub(super) connect: Connect,
}

pub(super) async fn run(session: &mut Session, args: &Args) -> anyhow::Result<ExitCode> {
    let namespace = session.namespace(&args.scope);
    let pod = pod(session, args, &namespace).await?;
    let name = pod["metadata"]["name"].as_str().context("the pod has no name")?.to_owned();
    let container = container(session, args, &pod)?;
    let tail = if args.tail < 0 { String::new() } else { args.tail.to_string() };
    let since = args.since_seconds.map_or_else(String::new, |s| s.to_string());
    let flag = |on: bool| if on { "true" } else { "" };
    let query = [
        ("container", container.as_str()),
        ("follow", flag(args.follow)),
        ("tailLines", tail.as_str()),
        ("previous", flag(args.previous)),
        ("timestamps", flag(args.timestamps)),
        ("sinceSeconds", since.as_str()),
    ];
    let path = format!("{}/log", PODS.object_path(&namespace, &name));
    let response = session.client.raw(&path, &query).await?;
    match response.into_body() {
        Body::Full(bytes) => session.io.say(&String::from_utf8_lossy(&bytes)),
        Body::Stream(mut stream) => {
            while let Some(chunk) = stream.next().await {
                let _ = session.io.out.write_all(&chunk?).and_then(|()| session.io.out.flush());
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The pod meant; of a workload, its first by name that runs, else its first.
async fn pod(session: &mut Session, args: &Args, namespace: &str) -> anyhow::Result<Value> {
    let Some((kind, name)) = args.target.split_once('/') else {
        return Ok(session.client.get(&PODS, namespace, &args.target).await?);
    };
    let resource: Resource = session.catalogue().await?.word(kind)?.resource.clone();
    let object: Value = session.client.get(&resource, namespace, name).await?;
    if resource == PODS {
        return Ok(object);
    }
    let Some(labels) = pod_selector(&object) else { bail!("{}: it has no pods", args.target) };
    let options = Select { selector: Some(labels), field_selector: None }.options();
    let mut pods = lookup::list(session, &PODS, namespace, options).await?;
    pods.sort_by_key(|p| {
        let name = p["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        (p["status"]["phase"] != "Running", name)
    });
    let count = pods.len();
    let Some(first) = pods.into_iter().next() else { bail!("{}: it has no pods now", args.target) };
    if count > 1 {
        let name = first["metadata"]["name"].as_str().unwrap_or_default();
        session.io.tell(&format!("Found {count} pods, using pod/{name}"));
    }
    Ok(first)
}

fn container(session: &mut Session, args: &Args, pod: &Value) -> anyhow::Result<String> {
    let names = |list: &str| -> Vec<String> {
        let all = pod["spec"][list].as_array().into_iter().flatten();
        all.filter_map(|c| c["name"].as_str()).map(str::to_owned).collect()
    };
    let (main, init) = (names("containers"), names("initContainers"));
    if let Some(wanted) = args.container.as_ref().or(args.position.as_ref()) {
        if main.contains(wanted) || init.contains(wanted) {
            return Ok(wanted.clone());
        }
        let all = [main, init].concat().join(", ");
        bail!("container {wanted} is not in pod {}; it has: {all}", args.target);
    }
    let default = pod.pointer("/metadata/annotations/kubectl.kubernetes.io~1default-container");
    let chosen = default.and_then(Value::as_str).map(str::to_owned).or_else(|| main.first().cloned());
    let Some(chosen) = chosen else { bail!("{}: it has no containers", args.target) };
    if main.len() > 1 {
        session.io.tell(&format!("Defaulted container {chosen:?} out of: {}", main.join(", ")));
    }
    Ok(chosen)
}
