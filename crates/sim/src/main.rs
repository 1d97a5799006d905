//! Simulates releases by seed and prints what failed; a single seed prints its log too.
//!
//! `sim [FIRST [COUNT]] [--cafe] [--recreate] [--calm] [--crashes N] [--hosts N] [--plant NAME]`

// A program for people.
#![allow(clippy::print_stdout)]

use std::process::ExitCode;

use sim::{CafePlan, Faults, Outcome, Plan, Plant, Update, run, run_cafe};

struct Args {
    first: u64,
    count: Option<u64>,
    update: Update,
    calm: bool,
    cafe: bool,
    crashes_max: Option<u64>,
    hosts: usize,
    plant: Option<Plant>,
}

impl Args {
    fn read(mut words: impl Iterator<Item = String>) -> Result<Args, String> {
        let mut args = Args {
            first: 0,
            count: None,
            update: Update::InPlace,
            calm: false,
            cafe: false,
            crashes_max: None,
            hosts: 1,
            plant: None,
        };
        let mut numbers = Vec::new();
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{word}: a value is missing"));
            match word.as_str() {
                "--recreate" => args.update = Update::Recreate,
                "--calm" => args.calm = true,
                "--cafe" => args.cafe = true,
                "--crashes" => {
                    let text = value()?;
                    args.crashes_max =
                        Some(text.parse().map_err(|_| format!("--crashes: no number: {text}"))?);
                }
                "--hosts" => {
                    let text = value()?;
                    args.hosts = text.parse().map_err(|_| format!("--hosts: no number: {text}"))?;
                }
                "--plant" => {
                    let text = value()?;
                    args.plant =
                        Some(Plant::parse(&text).ok_or_else(|| format!("--plant: unknown: {text}"))?);
                }
                number => numbers.push(number.parse().map_err(|_| format!("no number: {number}"))?),
            }
        }
        args.first = numbers.first().copied().unwrap_or(0);
        args.count = numbers.get(1).copied();
        Ok(args)
    }

    fn plan(&self, seed: u64) -> Plan {
        let mut plan =
            Plan { update: self.update, plant: self.plant, hosts: self.hosts, ..Plan::rough(seed) };
        if self.calm {
            plan.faults = Faults::NONE;
        }
        plan.crashes_max = self.crashes_max.unwrap_or(plan.crashes_max);
        plan
    }

    fn run(&self, seed: u64) -> Outcome {
        if !self.cafe {
            return run(&self.plan(seed));
        }
        let mut plan = CafePlan::rough(seed);
        if self.calm {
            plan.faults = Faults::NONE;
        }
        plan.crashes_max = self.crashes_max.unwrap_or(plan.crashes_max);
        run_cafe(&plan)
    }
}

fn main() -> ExitCode {
    let args = match Args::read(std::env::args().skip(1)) {
        Ok(args) => args,
        Err(why) => {
            eprintln!("sim: {why}");
            return ExitCode::from(2);
        }
    };
    let Some(count) = args.count else {
        let outcome = args.run(args.first);
        print!("{}", outcome.log);
        println!("{} violations, through after {:?}", outcome.violations.len(), outcome.took);
        return ExitCode::from(u8::from(!outcome.violations.is_empty()));
    };
    let mut failed = 0_u64;
    for seed in args.first..args.first.saturating_add(count) {
        let outcome = args.run(seed);
        if let Some(first) = outcome.violations.first() {
            failed += 1;
            println!("seed {seed}: {first} ({} in all)", outcome.violations.len());
        }
    }
    println!("{failed} of {count} releases broke a promise");
    ExitCode::from(u8::from(failed > 0))
}
