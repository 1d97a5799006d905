//! Times one replay of the openb trace on one core: `openb DATA TRACE SEED POLICY`, files unpacked (`gzip -dc`).
//!
//! DATA holds `nodes.csv`, `TRACE.csv`, `TRACE.SEED.nodes` and `TRACE.SEED.pods`. Reading is not timed, placing is.
//! Prints the final state in the columns of `expected_final_state.csv`, and the time to stderr.

#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "an example measures and prints")]

use std::time::Instant;

use simulate::openb::{Order, Trace};
use simulate::{Nobody, PolicyName, Source};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().collect();
    let [_, data, trace, seed, policy] = &args[..] else {
        return Err("expected: DATA TRACE SEED POLICY".into());
    };
    let read = |name: String| std::fs::read_to_string(format!("{data}/{name}")).map(|text| (name, text));
    let (nodes, pods) = (read("nodes.csv".to_owned())?, read(format!("{trace}.csv"))?);
    let (first, arrivals) = (read(format!("{trace}.{seed}.nodes"))?, read(format!("{trace}.{seed}.pods"))?);
    fn source((name, text): &(String, String)) -> Source<'_> {
        Source { name, text }
    }
    let list = Trace::read(source(&nodes), source(&pods))?;
    let order = Order::read(&list, seed.parse()?, source(&first), source(&arrivals))?;
    for policy in policy.split(',') {
        let policy = PolicyName::parse(policy)?;
        let begun = Instant::now();
        let run = simulate::openb::run(&list, trace, &order, policy, false, &mut Nobody)?;
        let spent = begun.elapsed();
        println!(
            "{trace},{},{seed},{},{},{},{},{},{},{:.2},{:.2},{}",
            policy.text(),
            run.pods,
            run.unplaced,
            run.gpu_milli_allocated,
            run.gpu_milli_total,
            run.cpu_milli_allocated,
            run.cpu_milli_total,
            run.fragmented_milli,
            run.idle_milli as f64,
            run.typical_pods
        );
        eprintln!(
            "{trace} {} {seed}: {} pods in {:.3} s, {:.0} pods/s; {} at 130 %, {} violations",
            policy.text(),
            run.pods,
            spent.as_secs_f64(),
            run.pods as f64 / spent.as_secs_f64(),
            run.gpu_percent_at_130.map_or_else(|| "-".to_owned(), |p| format!("{p:.2}")),
            run.violations
        );
    }
    Ok(())
}
