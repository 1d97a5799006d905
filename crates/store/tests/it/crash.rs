//! Power cuts at any moment of any operation, on a disk that loses, tears and reorders what was not synced.

use store::SimDisk;

use crate::planted::Planted;
use crate::run;
use crate::world::World;

/// How many seeds are run; more with `KNARR_STORE_SEEDS`.
fn seeds() -> u64 {
    std::env::var("KNARR_STORE_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(200)
}

#[test]
fn acknowledged_writes_survive_and_watches_never_skip() {
    let mut totals = [0; 4];
    for seed in 0..seeds() {
        let lived = run(World::new(seed, SimDisk::new(seed), Planted::Nothing).live());
        let counts = lived.unwrap_or_else(|why| panic!("seed {seed}: {why}"));
        totals.iter_mut().zip(counts).for_each(|(total, n)| *total += n);
    }
    let [commits, crashes, delivered, compacted] = totals;
    println!(
        "{commits} commits, {crashes} crashes, {delivered} events delivered, {compacted} watches compacted"
    );
    assert!(
        crashes > seeds() && delivered > 10 * seeds() && compacted > 0,
        "the run did not exercise enough"
    );
}

#[test]
fn the_same_seed_lives_the_same_life() {
    let life = |seed| run(World::new(seed, SimDisk::new(seed), Planted::Nothing).live());
    assert_eq!(life(7), life(7));
}
