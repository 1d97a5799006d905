//! The verbs, one file each.

mod apply;
mod brake;
mod completion;
mod delete;
mod describe;
mod get;
mod logs;
mod lookup;
mod plan;
mod record;
mod release;
mod simulate;
mod version;
mod why;

use std::future::Future;
use std::process::ExitCode;

use stdx::Env;

pub use apply::{Applied, Change, apply_all};
pub(crate) use lookup::{PAGE, with_head};

use crate::session::Session;
use crate::{Connect, Connection, Io, Thinkers, fault};

/// A verb with its flags.
#[derive(Debug, clap::Subcommand)]
pub enum Verb {
    /// Show objects
    Get(get::Args),
    /// Show one object with all that belongs to it
    Describe(describe::Args),
    /// Say which rule holds an object, what it waits for and what to do
    Why(why::Args),
    /// Say what applying manifests would do to what runs, before anything moves
    Plan(plan::Args),
    /// Bring objects into the state of manifests (server-side apply)
    Apply(apply::Args),
    /// Show a release, confirm, pause or continue it, go back
    Release(release::Args),
    /// Hold all dangerous actions of controllers, or let them go on
    Brake(brake::Args),
    /// Delete objects
    Delete(delete::Args),
    /// Print the output of a container
    Logs(logs::Args),
    /// Write down what the nodes and pods of a cluster do, for `simulate recording`
    Record(record::Args),
    /// Replay a trace, manifests or a recording under several policies and compare them
    Simulate(simulate::Args),
    /// Print the versions of client and server
    Version(version::Args),
    /// Print a completion script for a shell
    Completion(completion::Args),
}

impl Verb {
    /// The cluster it is for; nothing for verbs that need none.
    fn connect(&self) -> Option<&Connect> {
        match self {
            Verb::Get(args) => Some(&args.connect),
            Verb::Describe(args) => Some(&args.connect),
            Verb::Why(args) => Some(&args.connect),
            Verb::Plan(args) => Some(&args.connect),
            Verb::Release(args) => Some(args.connect()),
            Verb::Brake(args) => Some(args.connect()),
            Verb::Apply(args) => Some(&args.connect),
            Verb::Delete(args) => Some(&args.connect),
            Verb::Logs(args) => Some(&args.connect),
            Verb::Version(args) => (!args.client).then_some(&args.connect),
            Verb::Record(args) => Some(&args.connect),
            Verb::Simulate(_) | Verb::Completion(_) => None,
        }
    }
}

/// Carries out a verb on the terminal. `command` is the whole command line, for completion scripts; `open` reaches a cluster.
/// Errors are told on stderr and become the exit code.
pub async fn run<F, Fut, C>(
    verb: Verb,
    env: Env,
    command: &mut clap::Command,
    open: F,
) -> anyhow::Result<ExitCode>
where
    F: FnOnce(Connect) -> Fut,
    Fut: Future<Output = anyhow::Result<C>>,
    C: Into<Connection>,
{
    Ok(run_with(verb, env, command, open, Io::terminal()).await)
}

/// The same with other places for output.
pub async fn run_with<F, Fut, C>(
    verb: Verb,
    env: Env,
    command: &mut clap::Command,
    open: F,
    io: Io,
) -> ExitCode
where
    F: FnOnce(Connect) -> Fut,
    Fut: Future<Output = anyhow::Result<C>>,
    C: Into<Connection>,
{
    run_knowing(verb, env, command, open, io, Thinkers::default()).await
}

/// The same with controllers that can be asked for reasons and plans.
pub async fn run_knowing<F, Fut, C>(
    verb: Verb,
    env: Env,
    command: &mut clap::Command,
    open: F,
    mut io: Io,
    thinkers: Thinkers,
) -> ExitCode
where
    F: FnOnce(Connect) -> Fut,
    Fut: Future<Output = anyhow::Result<C>>,
    C: Into<Connection>,
{
    let Some(connect) = verb.connect() else {
        match &verb {
            Verb::Simulate(args) => return simulate::run(args, &env, &mut io),
            Verb::Completion(args) => completion::run(args, command, &mut io),
            _ => version::client(&mut io),
        }
        return ExitCode::SUCCESS;
    };
    let connection = match open(connect.clone()).await {
        Ok(connection) => connection.into(),
        Err(error) => {
            io.tell(&fault::text(&error));
            return ExitCode::FAILURE;
        }
    };
    let mut session = Session::new(connection, env, io, thinkers);
    match dispatch(&mut session, verb).await {
        Ok(code) => code,
        Err(error) => {
            session.io.tell(&fault::text(&error));
            ExitCode::FAILURE
        }
    }
}

async fn dispatch(session: &mut Session, verb: Verb) -> anyhow::Result<ExitCode> {
    match verb {
        Verb::Get(args) => get::run(session, &args).await,
        Verb::Describe(args) => describe::run(session, &args).await,
        Verb::Why(args) => why::run(session, &args).await,
        Verb::Plan(args) => plan::run(session, &args).await,
        Verb::Release(args) => release::run(session, &args).await,
        Verb::Brake(args) => brake::run(session, &args).await,
        Verb::Apply(args) => apply::run(session, &args).await,
        Verb::Delete(args) => delete::run(session, &args).await,
        Verb::Logs(args) => logs::run(session, &args).await,
        Verb::Version(_) => version::run(session).await,
        Verb::Record(args) => record::run(session, &args).await,
        Verb::Simulate(_) | Verb::Completion(_) => Ok(ExitCode::SUCCESS),
    }
}
