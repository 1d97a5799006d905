//! Holds the fast evaluation to the plain one on many random cases:
//! `cargo run --release -p sched-plugins --example differ -- 100000 1` (cases, first seed).

// A program that reports needs arguments and an output.
#![allow(clippy::disallowed_methods, clippy::print_stdout)]

#[path = "../tests/it/cases.rs"]
mod cases;

fn main() -> std::process::ExitCode {
    let mut args = std::env::args().skip(1).filter_map(|a| a.parse::<u64>().ok());
    let (wanted, seed) = (args.next().unwrap_or(100_000), args.next().unwrap_or(1));
    let tally = cases::run(seed, wanted);
    println!("{} cases, {} placed, {} refused from memory", tally.cases, tally.bound, tally.proven);
    match tally.difference {
        None => {
            println!("no difference");
            std::process::ExitCode::SUCCESS
        }
        Some(difference) => {
            println!("DIFFERENCE\n{difference}");
            std::process::ExitCode::FAILURE
        }
    }
}
