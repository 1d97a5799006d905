//! `delete`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::bail;
use api_client::{Class, DeleteOptions, Error};
use api_meta::Resource;
use serde_json::Value;

use super::lookup::{self, Failures, Select};
use crate::output::reference;
use crate::session::{Scope, Session};
use crate::{Connect, targets};

/// Flags of `delete`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// `pod NAME…`, `pod/NAME svc/NAME`, `pods --all`
    #[arg(value_name = "TYPE[/NAME]")]
    words: Vec<String>,
    /// The objects of these manifests
    #[arg(short, long, value_name = "FILE|DIR|-", conflicts_with = "words")]
    filename: Vec<PathBuf>,
    #[command(flatten)]
    scope: Scope,
    #[command(flatten)]
    select: Select,
    /// All objects of the resource in the namespace
    #[arg(long)]
    all: bool,
    /// Return when the objects are gone; `--wait=false` returns at once
    #[arg(long, default_value_t = true, action = clap::ArgAction::Set, num_args = 0..=1, default_missing_value = "true", require_equals = true)]
    wait: bool,
    /// Seconds to wait at most; 0 waits as long as it takes
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    timeout: u64,
    /// Seconds that pods get to end; -1 for their own
    #[arg(long, value_name = "SECONDS", default_value_t = -1, allow_hyphen_values = true)]
    grace_period: i64,
    /// The same as --grace-period=1
    #[arg(long)]
    now: bool,
    /// Remove pods at once, whether or not their node confirms: the processes may go on (with --grace-period=0)
    #[arg(long)]
    force: bool,
    /// What happens to the objects that these own
    #[arg(long, value_enum, default_value_t = Cascade::Background)]
    cascade: Cascade,
    /// An object that is not there is no error
    #[arg(long)]
    ignore_not_found: bool,
    #[command(flatten)]
    pub(super) connect: Connect,
}

/// What happens to owned objects.
#[derive(Clone, Copy, Debug, PartialEq, clap::ValueEnum)]
enum Cascade {
    /// They go after it
    Background,
    /// They go before it
    Foreground,
    /// They stay
    Orphan,
}

impl Cascade {
    fn policy(self) -> &'static str {
        match self {
            Cascade::Background => "Background",
            Cascade::Foreground => "Foreground",
            Cascade::Orphan => "Orphan",
        }
    }
}

/// One object to delete.
struct Doomed {
    resource: Resource,
    namespace: String,
    name: String,
    uid: String,
}

pub(super) async fn run(session: &mut Session, args: &Args) -> anyhow::Result<ExitCode> {
    let mut failures = Failures::new(args.ignore_not_found || args.all || !args.select.is_empty());
    let options = options(session, args)?;
    let wanted = wanted(session, args, &mut failures).await?;
    if wanted.is_empty() && failures.code() == ExitCode::SUCCESS {
        session.io.tell("No resources found");
        return Ok(ExitCode::SUCCESS);
    }
    let mut going = Vec::new();
    for one in wanted {
        match session.client.delete(&one.resource, (&one.namespace, &one.name), &options).await {
            Ok(()) => {
                let what = reference(&one.resource.api_version(), &one.resource.kind, "");
                let forced = if args.force { " force" } else { "" };
                session.io.say(&format!("{} {:?}{forced} deleted\n", what.trim_end_matches('/'), one.name));
                going.push(one);
            }
            Err(error) => failures.note(session, error),
        }
    }
    if args.wait {
        wait(session, going, args.timeout).await?;
    }
    Ok(failures.code())
}

fn options(session: &mut Session, args: &Args) -> anyhow::Result<DeleteOptions> {
    let grace = match (args.grace_period, args.now, args.force) {
        (0, _, false) => bail!(
            "--grace-period=0 removes pods without waiting for their processes: say --force as well if that is meant"
        ),
        (1.., true, _) | (0, true, _) => bail!("--now and --grace-period exclude each other"),
        (-1, true, _) => Some(1),
        (-1, false, true) => Some(0),
        (-1, false, false) => None,
        (secs, ..) if secs >= 0 => Some(secs),
        (secs, ..) => bail!("--grace-period={secs}: expected seconds, or -1 for the object's own"),
    };
    if args.force {
        session.io.tell("Warning: the processes of the pods may go on for a while");
    }
    Ok(DeleteOptions {
        grace_period_seconds: grace,
        propagation: args.cascade.policy(),
        ..DeleteOptions::default()
    })
}

async fn wanted(session: &mut Session, args: &Args, failures: &mut Failures) -> anyhow::Result<Vec<Doomed>> {
    let catalogue = session.catalogue().await?;
    let namespace = session.namespace(&args.scope);
    let mut out = Vec::new();
    if !args.filename.is_empty() {
        for path in &args.filename {
            for m in crate::read_manifests(path)? {
                let resource = catalogue.kind(m.api_version(), m.kind())?.resource.clone();
                let own = if m.namespace().is_empty() { &namespace } else { m.namespace() };
                out.push(Doomed {
                    resource,
                    namespace: own.to_owned(),
                    name: m.name().to_owned(),
                    uid: String::new(),
                });
            }
        }
    } else {
        for target in targets::parse(&catalogue, &args.words)? {
            if target.names.is_empty() && !args.all && args.select.is_empty() {
                bail!("name the objects, choose them with -l or --field-selector, or say --all");
            }
            if !target.names.is_empty() && !args.select.is_empty() {
                bail!("selectors and names exclude each other");
            }
            for o in lookup::objects(session, &target, &namespace, &args.select, failures).await? {
                out.push(doomed(&target.entry.resource, &namespace, &o));
            }
        }
    }
    Ok(out)
}

fn doomed(resource: &Resource, namespace: &str, object: &Value) -> Doomed {
    let text = |name: &str| object["metadata"][name].as_str().unwrap_or_default().to_owned();
    Doomed {
        resource: resource.clone(),
        namespace: namespace.to_owned(),
        name: text("name"),
        uid: text("uid"),
    }
}

const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Returns when all are gone, or replaced by others of the same name.
async fn wait(session: &Session, mut going: Vec<Doomed>, timeout_secs: u64) -> anyhow::Result<()> {
    let start = session.env.now();
    loop {
        let mut left = Vec::new();
        for one in going {
            match session.client.get::<Value>(&one.resource, &one.namespace, &one.name).await {
                Ok(object) => {
                    let uid = object["metadata"]["uid"].as_str().unwrap_or_default();
                    // Objects of a manifest are known by name until they are seen terminating.
                    let same = one.uid.is_empty() || one.uid == uid;
                    let terminating = object["metadata"].get("deletionTimestamp").is_some();
                    if same && (terminating || !one.uid.is_empty()) {
                        left.push(Doomed { uid: uid.to_owned(), ..one });
                    }
                }
                Err(error) if error.is_not_found() => {}
                Err(error) if retry(&error) => left.push(one),
                Err(error) => return Err(error.into()),
            }
        }
        if left.is_empty() {
            return Ok(());
        }
        if timeout_secs > 0 && session.env.now().since(start).as_secs() >= timeout_secs {
            let names: Vec<&str> = left.iter().map(|d| d.name.as_str()).collect();
            bail!(
                "timed out waiting for {}: it is being deleted; `knarr describe` shows its finalizers",
                names.join(", ")
            );
        }
        going = left;
        session.env.sleep(LOOK_EVERY).await;
    }
}

fn retry(error: &Error) -> bool {
    error.class() == Class::Transient
}
