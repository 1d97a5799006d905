//! Simulates releases by seed and prints what failed; a single seed prints its log too.
//!
//! `sim [FIRST [COUNT]] [--seeds A..B] [--scenario release|cafe|scheduler] [--recreate] [--calm] [--crashes N] [--hosts N] [--plant NAME]`

// A program for people.
#![allow(clippy::print_stdout)]

use std::process::ExitCode;

use sim::{
    CafePlan, Faults, Outcome, PlacingPlan, PlacingPlant, Plan, Plant, Update, run, run_cafe, run_placing,
};

/// Which story is told.
#[derive(Clone, Copy, PartialEq)]
enum Scenario {
    Release,
    Cafe,
    Scheduler,
}

struct Args {
    first: u64,
    count: Option<u64>,
    update: Update,
    calm: bool,
    scenario: Scenario,
    crashes_max: Option<u64>,
    hosts: usize,
    plant: Option<Plant>,
    placing_plant: Option<PlacingPlant>,
}

impl Args {
    fn read(mut words: impl Iterator<Item = String>) -> Result<Args, String> {
        let mut args = Args {
            first: 0,
            count: None,
            update: Update::InPlace,
            calm: false,
            scenario: Scenario::Release,
            crashes_max: None,
            hosts: 1,
            plant: None,
            placing_plant: None,
        };
        let mut numbers = Vec::new();
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{word}: a value is missing"));
            match word.as_str() {
                "--recreate" => args.update = Update::Recreate,
                "--calm" => args.calm = true,
                "--cafe" => args.scenario = Scenario::Cafe,
                "--scenario" => {
                    args.scenario = match value()?.as_str() {
                        "release" => Scenario::Release,
                        "cafe" => Scenario::Cafe,
                        "scheduler" => Scenario::Scheduler,
                        other => return Err(format!("--scenario: unknown: {other}")),
                    }
                }
                "--seeds" => {
                    let text = value()?;
                    let range =
                        text.split_once("..").and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
                    let (from, to): (u64, u64) =
                        range.ok_or_else(|| format!("--seeds: no range such as 0..100: {text}"))?;
                    numbers = vec![from, to.saturating_sub(from)];
                }
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
                    (args.plant, args.placing_plant) = (Plant::parse(&text), PlacingPlant::parse(&text));
                    if args.plant.is_none() && args.placing_plant.is_none() {
                        return Err(format!("--plant: unknown: {text}"));
                    }
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
        match self.scenario {
            Scenario::Release => run(&self.plan(seed)),
            Scenario::Cafe => {
                let mut plan = CafePlan::rough(seed);
                plan.faults = if self.calm { Faults::NONE } else { plan.faults };
                plan.crashes_max = self.crashes_max.unwrap_or(plan.crashes_max);
                run_cafe(&plan)
            }
            Scenario::Scheduler => {
                let mut plan = PlacingPlan { plant: self.placing_plant, ..PlacingPlan::rough(seed) };
                plan.faults = if self.calm { Faults::NONE } else { plan.faults };
                plan.crashes_max = self.crashes_max.unwrap_or(plan.crashes_max);
                run_placing(&plan)
            }
        }
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
    println!("{failed} of {count} stories broke a promise");
    ExitCode::from(u8::from(failed > 0))
}
