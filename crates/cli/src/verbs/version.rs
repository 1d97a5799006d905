//! `version`.

use std::process::ExitCode;

use http::Method;
use serde_json::Value;

use crate::session::Session;
use crate::{Connect, Io};

/// Flags of `version`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The client alone; no server is asked
    #[arg(long)]
    pub(super) client: bool,
    #[command(flatten)]
    pub(super) connect: Connect,
}

/// The version of this program.
pub(super) fn client(io: &mut Io) {
    io.say(concat!("Client Version: v", env!("CARGO_PKG_VERSION"), "\n"));
}

pub(super) async fn run(session: &mut Session) -> anyhow::Result<ExitCode> {
    client(&mut session.io);
    let answer: Value = session.client.json(Method::GET, "/version", &[], None).await?;
    let version = answer["gitVersion"].as_str().unwrap_or("unknown");
    session.io.say(&format!("Server Version: {version}\n"));
    Ok(ExitCode::SUCCESS)
}
