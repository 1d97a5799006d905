//! `release`: how a release stands, and the few things a person says to it.
//!
//! Every word is a small write to the workload itself, so that kubectl can say the same, and each may be said twice.
//!
//! | word | CafeDeployment | CloneSet | Deployment |
//! |---|---|---|---|
//! | confirm | annotation `cafe.sofastack.io/upgrade-confirmed: "true"` | | |
//! | pause, continue | `spec.strategy.pause` | `updateStrategy.rollingUpdate.paused` | `spec.paused` |
//! | abort, rollback | annotation `knarr.dev/rollback-to: REVISION` | template of a ControllerRevision | template of a ReplicaSet |

mod back;
mod revisions;
mod status;
mod steer;
mod subject;

use std::process::ExitCode;

use crate::Connect;
use crate::session::{Scope, Session};

/// Flags of `release`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    word: Word,
}

/// What is said to a release.
#[derive(Debug, clap::Subcommand)]
enum Word {
    /// Show groups, cells and what is waited for. Exit code 0: done, 2: not finished
    Status(status::Args),
    /// Let the next group begin
    Confirm(Named),
    /// Begin nothing new
    Pause(Named),
    /// Go on after a pause
    Continue(Named),
    /// Give up the release under way: back to the last good revision, by the same groups
    Abort(Named),
    /// Go back to the revision before, or to a named one
    Rollback(back::Args),
}

/// One workload.
#[derive(Debug, clap::Args)]
struct Named {
    /// CafeDeployment, CloneSet or Deployment; where several have the name: `TYPE/NAME`
    #[arg(value_name = "NAME")]
    name: String,
    #[command(flatten)]
    scope: Scope,
    #[command(flatten)]
    connect: Connect,
}

impl Args {
    /// The cluster it is for.
    pub(super) fn connect(&self) -> &Connect {
        match &self.word {
            Word::Status(args) => &args.named.connect,
            Word::Rollback(args) => &args.named.connect,
            Word::Confirm(named) | Word::Pause(named) | Word::Continue(named) | Word::Abort(named) => {
                &named.connect
            }
        }
    }
}

pub(super) async fn run(session: &mut Session, args: &Args) -> anyhow::Result<ExitCode> {
    match &args.word {
        Word::Status(args) => return status::run(session, args).await,
        Word::Confirm(named) => steer::confirm(session, named).await?,
        Word::Pause(named) => steer::pause(session, named, true).await?,
        Word::Continue(named) => steer::pause(session, named, false).await?,
        Word::Abort(named) => back::abort(session, named).await?,
        Word::Rollback(args) => back::rollback(session, args).await?,
    }
    Ok(ExitCode::SUCCESS)
}
