//! `brake`: the operator's switch that holds every dangerous action of all controllers.

use std::process::ExitCode;

use anyhow::bail;
use api_client::{Client, Patch, WriteOptions};
use api_meta::Resource;
use http::Method;
use serde_json::{Value, json};
use view::Reason;

use crate::output;
use crate::session::Session;
use crate::{Catalogue, Connect};

/// Flags of `brake`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    word: Word,
}

/// What is said to the brake.
#[derive(Debug, clap::Subcommand)]
enum Word {
    /// Hold every restart, removal and destruction that a controller plans
    On(On),
    /// Let controllers act again
    Off(Off),
    /// Show whether it is on, and what is held. Exit code 0: off, 2: on
    Status(Status),
}

#[derive(Debug, clap::Args)]
struct On {
    /// Why, for those who meet it
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
    #[command(flatten)]
    connect: Connect,
}

#[derive(Debug, clap::Args)]
struct Off {
    #[command(flatten)]
    connect: Connect,
}

#[derive(Debug, clap::Args)]
struct Status {
    /// Print the status as: json, yaml
    #[arg(short, long, value_name = "FORMAT")]
    output: Option<String>,
    #[command(flatten)]
    connect: Connect,
}

/// The collection of guards, as every server that has it serves it.
const GUARDS: Resource = Resource::cluster("knarr.dev", "v1alpha1", "guards", "Guard");
/// The guard that counts.
const NAME: &str = "default";
/// Exit code of a brake that is on.
const ON: u8 = 2;
/// Longest reason, as the definition of Guard has it.
const REASON_MAX: usize = 1024;

impl Args {
    /// The cluster it is for.
    pub(super) fn connect(&self) -> &Connect {
        match &self.word {
            Word::On(args) => &args.connect,
            Word::Off(args) => &args.connect,
            Word::Status(args) => &args.connect,
        }
    }
}

pub(super) async fn run(session: &mut Session, args: &Args) -> anyhow::Result<ExitCode> {
    let catalogue = session.catalogue().await?;
    served(&catalogue)?;
    match &args.word {
        Word::On(args) => on(session, &args.reason).await,
        Word::Off(_) => off(session).await,
        Word::Status(args) => status(session, args.output.as_deref()).await,
    }
}

fn served(catalogue: &Catalogue) -> anyhow::Result<()> {
    if catalogue.kind(&GUARDS.api_version(), &GUARDS.kind).is_err() {
        bail!(
            "the server has no kind Guard, so that there is no brake: `knarr install` prints its definition, and its \
             controllers must run with the guard"
        );
    }
    Ok(())
}

async fn guard(client: &Client) -> anyhow::Result<Option<Value>> {
    match client.get::<Value>(&GUARDS, "", NAME).await {
        Ok(guard) => Ok(Some(guard)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error.into()),
    }
}

async fn on(session: &mut Session, reason: &str) -> anyhow::Result<ExitCode> {
    if reason.len() > REASON_MAX {
        bail!("--reason: {} bytes are too long; {REASON_MAX} is the limit", reason.len());
    }
    let before = guard(&session.client).await?;
    let brake = before.as_ref().map_or(&Value::Null, |g| &g["spec"]["brake"]);
    // Said again without a reason, the first reason stays.
    if brake["on"] == true && (reason.is_empty() || brake["reason"] == reason) {
        session.io.say(&format!("the brake is on already{}\n", because(brake)));
        return Ok(ExitCode::SUCCESS);
    }
    let mut spec = json!({"on": true, "reason": reason});
    if let Some(user) = user(&session.client).await {
        spec["by"] = json!(user);
    }
    let body = json!({"apiVersion": GUARDS.api_version(), "kind": GUARDS.kind, "metadata": {"name": NAME},
        "spec": {"brake": spec}});
    let options = WriteOptions::default();
    match before {
        Some(_) => {
            let patch = Patch::Merge(json!({"spec": {"brake": spec}}));
            session.client.patch::<Value>(&GUARDS, ("", NAME), "", &patch, &options).await?;
        }
        None => {
            session.client.create::<Value>(&GUARDS, "", &body, &options).await?;
        }
    }
    session.io.say(
        "the brake is on: no controller restarts, removes or destroys anything until `knarr brake off`\n",
    );
    Ok(ExitCode::SUCCESS)
}

async fn off(session: &mut Session) -> anyhow::Result<ExitCode> {
    let before = guard(&session.client).await?;
    let brake = before.as_ref().map_or(&Value::Null, |g| &g["spec"]["brake"]);
    if brake["on"] != true {
        session.io.say("the brake is off already\n");
        return planned(session, before.as_ref());
    }
    let patch = Patch::Merge(json!({"spec": {"brake": {"on": false, "reason": null, "by": null}}}));
    session.client.patch::<Value>(&GUARDS, ("", NAME), "", &patch, &WriteOptions::default()).await?;
    session.io.say("the brake is off\n");
    planned(session, before.as_ref())
}

/// An emergency plan may hold on by itself.
fn planned(session: &mut Session, guard: Option<&Value>) -> anyhow::Result<ExitCode> {
    if let Some(plan) = guard.and_then(|g| g["spec"]["plan"].as_str()).filter(|p| !p.is_empty()) {
        session.io.tell(&format!(
            "EmergencyPlan {plan} is in force and may brake by itself: kubectl edit guard {NAME} takes it out"
        ));
    }
    Ok(ExitCode::SUCCESS)
}

async fn status(session: &mut Session, format: Option<&str>) -> anyhow::Result<ExitCode> {
    let format = output::data_format(format)?;
    let found = guard(&session.client).await?.unwrap_or_default();
    let (spec, status) = (&found["spec"]["brake"], &found["status"]);
    let brake = if status["brake"].is_object() { &status["brake"] } else { spec };
    let is_on = spec["on"] == true || status["brake"].is_object();
    let since = status["brake"]["since"].as_str().and_then(|t| t.parse::<stdx::Time>().ok());
    let holds = status["holds"].as_array().cloned().unwrap_or_default();
    if !format.is_table() {
        let data = json!({"on": is_on, "reason": brake["reason"], "by": brake["by"], "since": since,
            "plan": found["spec"]["plan"], "held": status["held"], "holds": holds});
        session.io.say(&output::data(&format, &[data])?);
    } else {
        session.io.say(&page(session.env.now(), is_on, brake, since, &found["spec"]["plan"], &holds));
    }
    Ok(if is_on { ExitCode::from(ON) } else { ExitCode::SUCCESS })
}

fn page(
    now: stdx::Time,
    is_on: bool,
    brake: &Value,
    since: Option<stdx::Time>,
    plan: &Value,
    holds: &[Value],
) -> String {
    let for_ = since.map_or(String::new(), |t| format!(", for {}", view::human_duration(now.since(t))));
    let mut out = match is_on {
        true => format!("the brake is on{for_}{}\n", because(brake)),
        false => "the brake is off\n".to_owned(),
    };
    if let Some(plan) = plan.as_str().filter(|p| !p.is_empty()) {
        out += &format!("EmergencyPlan {plan} is in force\n");
    }
    for hold in holds {
        let text = |field: &str| hold[field].as_str().unwrap_or_default();
        let since = text("since").parse().ok();
        let reason = Reason::new(text("controller"), "", text("reason")).since(since);
        out += &format!("held: {}: {}\n", text("object"), reason.text(now));
    }
    out
}

fn because(brake: &Value) -> String {
    let text = |field: &str| brake[field].as_str().filter(|t| !t.is_empty());
    let by = text("by").map_or(String::new(), |by| format!(" by {by}"));
    let reason = text("reason").map_or(String::new(), |reason| format!(": {reason}"));
    format!("{by}{reason}")
}

/// Who the server takes us for; nothing where it does not say.
async fn user(client: &Client) -> Option<String> {
    let body = json!({"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"});
    let body = Some(("application/json", serde_json::to_vec(&body).ok()?.into()));
    let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    let answer = client.json::<Value>(Method::POST, path, &[], body).await.ok()?;
    answer["status"]["userInfo"]["username"].as_str().map(str::to_owned)
}
