//! The best node: highest score, then fewest pods, then the first by name.

use sched_core::Slot;

/// The best of the nodes whose cell is not zero. Three passes over whole columns, each of a shape that compilers turn into
/// vector instructions, are faster than one pass that decides node by node.
pub(crate) fn best_cell(cells: &[i16], crowd: &[i16], ranks: &[u32]) -> Option<Slot> {
    let nodes = cells.len();
    let (crowd, ranks) = (&crowd[..nodes], &ranks[..nodes]);
    let top = cells.iter().copied().fold(0, i16::max);
    if top == 0 {
        return None;
    }
    let emptiest = cells
        .iter()
        .zip(crowd)
        .fold(i16::MAX, |least, (cell, pods)| least.min(if *cell == top { *pods } else { i16::MAX }));
    let mut best = (u32::MAX, 0);
    for (at, chunk) in cells.chunks(CHUNK).enumerate() {
        let from = at * CHUNK;
        let crowd = &crowd[from..from + chunk.len()];
        let hits = chunk.iter().zip(crowd).fold(false, |hit, (c, p)| hit | ((*c == top) & (*p == emptiest)));
        if !hits {
            continue;
        }
        for (i, cell) in chunk.iter().enumerate() {
            if *cell == top && crowd[i] == emptiest && ranks[from + i] < best.0 {
                best = (ranks[from + i], from + i);
            }
        }
    }
    Some(Slot::at(best.1))
}

/// So many nodes are passed over at once when none of them is a candidate.
const CHUNK: usize = 64;

/// The best of some nodes with their scores.
pub(crate) fn best_of(
    scores: impl Iterator<Item = (Slot, i64)>,
    crowd: &[i16],
    ranks: &[u32],
) -> Option<Slot> {
    let key = |(slot, score): &(Slot, i64)| (-score, crowd[slot.index()], ranks[slot.index()]);
    scores.min_by_key(key).map(|(slot, _)| slot)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_cell_is_the_one_a_plain_loop_finds() {
        let mut x: u32 = 1;
        let mut next = |below: u32| {
            x = x.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (x >> 16) % below
        };
        for nodes in [0, 1, 63, 64, 65, 300] {
            for spread in [1, 3, 200] {
                let cells: Vec<i16> = (0..nodes).map(|_| next(spread) as i16).collect();
                let crowd: Vec<i16> = (0..nodes).map(|_| next(4) as i16).collect();
                let ranks: Vec<u32> = (0..nodes).map(|i| (i * 7919) % 65_521).collect();
                let all = (0..nodes as usize).filter(|at| cells[*at] > 0);
                let plain = all.min_by_key(|at| (-cells[*at], crowd[*at], ranks[*at]));
                assert_eq!(best_cell(&cells, &crowd, &ranks).map(Slot::index), plain);
            }
        }
    }
}
