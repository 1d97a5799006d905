//! `record`: writes down what the nodes and pods of a cluster do, for `simulate recording`.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use api_client::{Class, Client, Error, ListOptions, WatchEvent, WatchOptions};
use api_meta::Resource;
use futures_util::StreamExt;
use serde_json::Value;
use simulate::cluster::{Recorded, Recorder};
use stdx::{Env, Time};
use tokio::sync::mpsc;

use super::lookup::PAGE;
use crate::Connect;
use crate::scene::{NODES, PODS};
use crate::session::Session;

/// Flags of `record`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// File to write: lines of JSON
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Stop after so many seconds; 0 writes down what is there and ends [default: until Ctrl-C]
    #[arg(long = "for", value_name = "SECONDS")]
    length: Option<u64>,
    #[command(flatten)]
    pub(super) connect: Connect,
}

const NAMESPACES: Resource = Resource::cluster("", "v1", "namespaces", "Namespace");
/// Nodes come before the pods that want to be on them.
const KINDS: [Resource; 3] = [NODES, NAMESPACES, PODS];
/// Pause after a failure before the next try.
const PAUSE: Duration = Duration::from_secs(1);
/// Greatest number of events on their way to the file.
const EVENTS_MAX: usize = 1024;

/// What a watch tells the writer.
enum News {
    /// Everything that is there.
    All(Resource, Vec<Value>),
    /// One change.
    One(Resource, Recorded, Value),
    /// Trouble that is waited out.
    Trouble(String),
}

pub(super) async fn run(session: &mut Session, args: &Args) -> anyhow::Result<ExitCode> {
    let name = args.output.display().to_string();
    let file = std::fs::File::create(&args.output).with_context(|| format!("write {name}"))?;
    let started = session.env.now();
    let mut writer = Writer { to: std::io::BufWriter::new(file), recorder: Recorder::default(), lines: 0 };
    writer.begin(started).with_context(|| format!("write {name}"))?;
    let (to, mut from) = mpsc::channel(EVENTS_MAX);
    for resource in KINDS {
        // The first lists are taken one after the other, at one time: they are the start.
        let (objects, version) = list(&session.client, &resource).await?;
        writer.all(started, &resource, &objects).with_context(|| format!("write {name}"))?;
        if args.length != Some(0) {
            let (client, env, to) = (session.client.clone(), session.env.clone(), to.clone());
            session.env.spawn("record", follow(client, env, resource, version, to));
        }
    }
    drop(to);
    if args.length != Some(0) {
        session.io.tell(&format!("recording to {name}: Ctrl-C ends it"));
        let env = session.env.clone();
        let end = async move {
            match args.length {
                Some(seconds) => env.sleep(Duration::from_secs(seconds)).await,
                None => std::future::pending().await,
            }
        };
        tokio::pin!(end);
        loop {
            let news = tokio::select! {
                news = from.recv() => news,
                () = &mut end => None,
                _ = tokio::signal::ctrl_c() => None,
            };
            let Some(news) = news else { break };
            if let News::Trouble(why) = &news {
                session.io.tell(&format!("recording goes on after trouble: {why}"));
            }
            writer.take(session.env.now(), news).with_context(|| format!("write {name}"))?;
        }
    }
    session.io.tell(&format!("{name}: {} lines, {} objects at the end", writer.lines, writer.recorder.len()));
    Ok(ExitCode::SUCCESS)
}

/// The file and what is known to be in it.
struct Writer {
    to: std::io::BufWriter<std::fs::File>,
    recorder: Recorder,
    lines: usize,
}

impl Writer {
    fn begin(&mut self, started: Time) -> std::io::Result<()> {
        self.put([Recorder::head(started)])
    }

    fn take(&mut self, at: Time, news: News) -> std::io::Result<()> {
        match news {
            News::All(resource, objects) => self.all(at, &resource, &objects),
            News::One(resource, what, object) => {
                let line = self.recorder.line(at, what, &resource.kind, &object);
                self.put(line)
            }
            News::Trouble(_) => Ok(()),
        }
    }

    /// A whole list: what went unseen is gone, what changed unseen has changed.
    fn all(&mut self, at: Time, resource: &Resource, objects: &[Value]) -> std::io::Result<()> {
        let gone = self.recorder.gone(at, &resource.kind, objects);
        self.put(gone)?;
        for object in objects {
            let line = self.recorder.line(at, Recorded::Added, &resource.kind, object);
            self.put(line)?;
        }
        Ok(())
    }

    /// Lines are in the file when this returns: whoever kills the recorder keeps what it saw.
    fn put(&mut self, lines: impl IntoIterator<Item = String>) -> std::io::Result<()> {
        for line in lines {
            self.to.write_all(line.as_bytes())?;
            self.lines += 1;
        }
        self.to.flush()
    }
}

/// Everything of a kind, and the version to watch from.
async fn list(client: &Client, resource: &Resource) -> Result<(Vec<Value>, String), Error> {
    let mut options = ListOptions { limit: PAGE, ..ListOptions::default() };
    let mut objects = Vec::new();
    loop {
        let page = client.list::<Value>(resource, "", &options).await?;
        objects.extend(page.items);
        options.r#continue = page.metadata.r#continue;
        if options.r#continue.is_empty() {
            return Ok((objects, page.metadata.resource_version));
        }
    }
}

/// Watches a kind until nobody listens; lists anew when the server has forgotten the version.
async fn follow(client: Client, env: Env, resource: Resource, mut version: String, to: mpsc::Sender<News>) {
    loop {
        match watch(&client, &resource, &mut version, &to).await {
            Ok(()) if to.is_closed() => return,
            Ok(()) => {}
            Err(error) if error.class() == Class::Expired => match list(&client, &resource).await {
                Ok((objects, fresh)) => {
                    version = fresh;
                    if to.send(News::All(resource.clone(), objects)).await.is_err() {
                        return;
                    }
                }
                Err(error) => pause(&env, &to, &error).await,
            },
            Err(error) => pause(&env, &to, &error).await,
        }
    }
}

async fn pause(env: &Env, to: &mpsc::Sender<News>, error: &Error) {
    // Nobody listens any more: the next look at the channel ends the task.
    let _ = to.send(News::Trouble(error.to_string())).await;
    env.sleep(PAUSE).await;
}

/// One watch, until the server ends it.
async fn watch(
    client: &Client,
    resource: &Resource,
    version: &mut String,
    to: &mpsc::Sender<News>,
) -> Result<(), Error> {
    let options = WatchOptions { resource_version: version.clone(), ..WatchOptions::default() };
    let mut events = client.watch::<Value>(resource, "", &options).await?;
    while let Some(event) = events.next().await {
        let (what, object) = match event? {
            WatchEvent::Applied(object) => (Recorded::Added, object),
            WatchEvent::Deleted(object) => (Recorded::Deleted, object),
            WatchEvent::Bookmark(mark) => {
                *version = mark;
                continue;
            }
        };
        if let Some(fresh) = object["metadata"]["resourceVersion"].as_str() {
            *version = fresh.to_owned();
        }
        if to.send(News::One(resource.clone(), what, object)).await.is_err() {
            return Ok(());
        }
    }
    Ok(())
}
