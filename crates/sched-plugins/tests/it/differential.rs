//! The fast evaluation gives the decisions of the plain one: node, scores, counts of nodes and their reasons.

use crate::cases::run;

#[test]
fn fast_and_plain_evaluation_give_the_same_decisions() {
    let tally = run(1, 2_000);
    assert!(tally.difference.is_none(), "{}", tally.difference.unwrap_or_default());
    // The cases are worth something: many pods find a place, many do not, some are refused from memory.
    let (bound, refused) = (tally.bound, tally.cases - tally.bound);
    assert!(bound > 400 && refused > 400 && tally.proven > 20, "{tally:?}");
}
