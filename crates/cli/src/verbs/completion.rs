//! `completion SHELL`.

use clap_complete::Shell;

use crate::Io;

/// Flags of `completion`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// bash, elvish, fish, powershell or zsh
    shell: Shell,
}

pub(super) fn run(args: &Args, command: &mut clap::Command, io: &mut Io) {
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(args.shell, command, name, &mut script);
    io.say(&String::from_utf8_lossy(&script));
}
