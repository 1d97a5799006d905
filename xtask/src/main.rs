//! Chores of the workspace: `cargo xtask tidy | codegen | conformance | fuzz`.

// It is for people at a terminal.
#![allow(clippy::print_stdout)]

mod codegen;
mod conformance;
mod fuzz;
mod tidy;

use std::process::ExitCode;

const USAGE: &str = "usage: cargo xtask <command>

commands:
  tidy                                   check floors, purity, sizes, documents
  codegen [--check] [--data DIR]         write the schema tables of the built-in kinds
  conformance --kubeconfig F --data DIR  run outside programs against a cluster
  fuzz [--seconds N] [--jobs N] [--keep] [--prove] [TARGET...]
                                         look for inputs that no decoder should trip over, for N CPU seconds
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match args.first().map(String::as_str) {
        Some("tidy") => tidy::run(),
        Some("codegen") => codegen::run(&args[1..]),
        Some("conformance") => conformance::run(&args[1..]),
        Some("fuzz") => fuzz::run(&args[1..]),
        _ => {
            eprint!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("error: {e:#}");
            ExitCode::FAILURE
        }
    }
}
