//! One number per node for one decision: zero when the node does not do, else its score so far on top of a base.

use sched_core::{Column, Slot};

use super::cell::SCORE_MAX;
use super::class::Class;
use super::wide::Filter;

/// What a node that does begins with, so that scores below zero stay apart from "does not do" while they are summed up.
const BASE: i16 = 8192;

/// The row.
#[derive(Default)]
pub(crate) struct Row {
    cells: Vec<i16>,
    /// What all nodes that do have in common, on top of what their cells say.
    common: i64,
}

/// One rule's scores of the nodes that do, brought into 0..=100 and weighed.
pub(crate) struct Part<'a> {
    pub(crate) rule: &'static str,
    weight: i64,
    raw: Raw<'a>,
    normal: Normal,
}

/// Raw score of the node at a place.
pub(crate) type Raw<'a> = Box<dyn Fn(usize) -> i64 + 'a>;

impl Part<'_> {
    /// The weighted score of a node.
    pub(crate) fn score(&self, slot: Slot) -> i64 {
        self.weigh((self.raw)(slot.index()))
    }

    fn weigh(&self, raw: i64) -> i64 {
        self.normal.of(raw) * self.weight
    }
}

/// What is known of raw scores beforehand: nodes of one base domain (all nodes, without a base) score alike, apart from
/// the exceptions.
pub(crate) struct Sameness<'a> {
    pub(crate) base: Option<&'a Column>,
    /// Slots; more than needed does no harm.
    pub(crate) exceptions: Vec<u32>,
}

/// How raw scores are brought into 0..=100.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scale {
    /// The greatest becomes 100, the others in proportion, rounded down; all zero stay zero.
    Proportional,
    /// As proportional, upside down: zero becomes 100.
    Reversed,
    /// The least becomes 0 and the greatest 100; all equal become 0.
    Stretched,
    /// They are in range already.
    Plain,
    /// "Higher is worse" from the least up; below zero stands for nodes that take no part, which get 0.
    Even,
}

/// A scale with the least and the greatest of the raw scores it is for.
#[derive(Clone, Copy, Debug)]
struct Normal {
    scale: Scale,
    min: i64,
    max: i64,
    /// Some raw score counts for least and greatest.
    any: bool,
}

impl Normal {
    fn new(scale: Scale) -> Normal {
        Normal { scale, min: 0, max: 0, any: false }
    }

    fn see(&mut self, raw: i64) {
        if self.scale == Scale::Even && raw < 0 {
            return;
        }
        (self.min, self.max) = if self.any { (self.min.min(raw), self.max.max(raw)) } else { (raw, raw) };
        self.any = true;
    }

    fn of(&self, raw: i64) -> i64 {
        let Normal { scale, min, max, .. } = *self;
        match scale {
            Scale::Plain => raw,
            Scale::Proportional if max > 0 => SCORE_MAX * raw / max,
            Scale::Proportional => raw,
            Scale::Reversed if max > 0 => SCORE_MAX - SCORE_MAX * raw / max,
            Scale::Reversed => SCORE_MAX - raw,
            Scale::Stretched if max > min => SCORE_MAX * (raw - min) / (max - min),
            Scale::Stretched => 0,
            Scale::Even if raw < 0 => 0,
            Scale::Even if max == 0 => SCORE_MAX,
            Scale::Even => SCORE_MAX * (max + min - raw) / max,
        }
    }
}

impl Row {
    /// The nodes that do for themselves, with their local scores.
    pub(crate) fn fill(&mut self, class: &Class) {
        self.common = 0;
        self.cells.clear();
        self.cells.extend(class.cells.iter().map(|cell| if *cell > 0 { *cell - 1 + BASE } else { 0 }));
    }

    /// The given nodes alone.
    pub(crate) fn fill_with(&mut self, slots: usize, cells: impl Iterator<Item = (Slot, i16)>) {
        self.common = 0;
        self.cells.clear();
        self.cells.resize(slots, 0);
        for (slot, cell) in cells.filter(|(_, cell)| *cell > 0) {
            self.cells[slot.index()] = cell - 1 + BASE;
        }
    }

    /// Takes out the nodes that do not pass.
    pub(crate) fn narrow(&mut self, filters: &[Filter<'_>]) {
        for filter in filters {
            filter.each_failing(|at| self.cells[at] = 0);
        }
    }

    /// Takes out a node.
    pub(crate) fn take_out(&mut self, slot: Slot) {
        self.cells[slot.index()] = 0;
    }

    /// Takes out the nodes that do not pass a question asked of each.
    pub(crate) fn narrow_by(&mut self, does: impl Fn(Slot) -> bool) {
        for (at, cell) in self.cells.iter_mut().enumerate().filter(|(_, cell)| **cell > 0) {
            if !does(Slot::at(at)) {
                *cell = 0;
            }
        }
    }

    /// Takes out all nodes but one.
    pub(crate) fn keep_only(&mut self, slot: Slot) {
        let kept = self.cells[slot.index()];
        self.cells.iter_mut().for_each(|cell| *cell = 0);
        self.cells[slot.index()] = kept;
    }

    /// The numbers by slot: the greater the better, zero for nodes that do not do.
    pub(crate) fn cells(&self) -> &[i16] {
        &self.cells
    }

    /// How many nodes do.
    pub(crate) fn feasible(&self) -> usize {
        self.cells.iter().filter(|c| **c > 0).count()
    }

    /// The nodes that do, with their scores so far.
    pub(crate) fn scores(&self) -> impl Iterator<Item = (Slot, i64)> + '_ {
        let open = self.cells.iter().enumerate().filter(|(_, c)| **c > 0);
        open.map(|(at, c)| (Slot::at(at), i64::from(*c - BASE) + self.common))
    }

    /// Adds the scores of a rule. With sameness, of each group of nodes that score alike one is rated.
    pub(crate) fn add<'a>(
        &mut self,
        (rule, weight, scale): (&'static str, i64, Scale),
        raw: Raw<'a>,
        sameness: Option<Sameness<'_>>,
    ) -> Part<'a> {
        let mut part = Part { rule, weight, raw, normal: Normal::new(scale) };
        match sameness.filter(|s| s.exceptions.len() <= self.cells.len() / 4) {
            Some(sameness) => self.add_by_group(&mut part, sameness),
            None => self.add_one_by_one(&mut part),
        }
        part
    }

    fn add_by_group(&mut self, part: &mut Part<'_>, sameness: Sameness<'_>) {
        let aside = self.set_aside(sameness.exceptions, part);
        let groups = self.groups(sameness.base, part);
        let raws = groups.iter().map(|(raw, _)| *raw).chain(aside.iter().map(|(.., raw)| *raw));
        raws.for_each(|raw| part.normal.see(raw));
        // The largest group stays as it is; the others are told apart from it.
        let largest = groups.iter().max_by_key(|(_, nodes)| nodes.len());
        let common = largest.map_or(0, |(raw, _)| part.weigh(*raw));
        self.common += common;
        for (raw, nodes) in &groups {
            let delta = small(part.weigh(*raw) - common);
            if delta != 0 {
                for at in *nodes {
                    let cell = &mut self.cells[*at as usize];
                    *cell += if *cell > 0 { delta } else { 0 };
                }
            }
        }
        for (at, cell, raw) in aside {
            self.cells[at] = cell + small(part.weigh(raw) - common);
        }
    }

    /// Takes the exceptions out for a while: `(place, cell, raw score)`.
    fn set_aside(&mut self, mut slots: Vec<u32>, part: &Part<'_>) -> Vec<(usize, i16, i64)> {
        slots.sort_unstable();
        slots.dedup();
        let mut aside = Vec::with_capacity(slots.len());
        for at in slots.into_iter().map(|s| s as usize) {
            let Some(cell) = self.cells.get_mut(at).filter(|c| **c > 0) else { continue };
            aside.push((at, std::mem::take(cell), (part.raw)(at)));
        }
        aside
    }

    /// Groups of nodes that score alike, with that raw score; only those that some node in them does for.
    fn groups<'b>(&self, base: Option<&'b Column>, part: &Part<'_>) -> Vec<(i64, &'b [u32])> {
        let Some(column) = base else {
            let first = self.cells.iter().position(|c| *c > 0);
            return first.map(|at| ((part.raw)(at), &[][..])).into_iter().collect();
        };
        let of = |id: usize| {
            let nodes = column.members(id);
            let first = nodes.iter().find(|at| self.cells[**at as usize] > 0)?;
            Some(((part.raw)(*first as usize), nodes))
        };
        (0..=column.domains()).filter_map(of).collect()
    }

    fn add_one_by_one(&mut self, part: &mut Part<'_>) {
        let mut raws = Vec::with_capacity(self.cells.len());
        for (at, _) in self.cells.iter().enumerate().filter(|(_, c)| **c > 0) {
            let raw = (part.raw)(at);
            part.normal.see(raw);
            raws.push((at, raw));
        }
        let (min, max) =
            raws.iter().fold((i64::MAX, i64::MIN), |(min, max), (_, r)| (min.min(*r), max.max(*r)));
        if max.saturating_sub(min) >= TABLE_MAX {
            raws.iter().for_each(|(at, raw)| self.cells[*at] += small(part.weigh(*raw)));
            return;
        }
        let table: Vec<i16> = (min..=max).map(|raw| small(part.weigh(raw))).collect();
        for (at, raw) in raws {
            self.cells[at] += table[usize::try_from(raw - min).expect("not below the least")];
        }
    }
}

/// A table replaces a division per node while raw scores lie this close together.
const TABLE_MAX: i64 = 2048;

/// Scores and their differences are small because weights are limited.
fn small(score: i64) -> i16 {
    i16::try_from(score).expect("weights are limited so that scores fit")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same raw scores, added one by one and by groups.
    fn after(scale: Scale, raws: &[i64]) -> Vec<i64> {
        let add = |sameness: Option<Sameness<'_>>| {
            let mut row = Row::default();
            row.fill_with(raws.len() + 40, (0..raws.len()).map(|at| (Slot::at(at), 1)));
            let known = raws.to_vec();
            let part = row.add(("x", 1, scale), Box::new(move |at| known[at]), sameness);
            let scores: Vec<i64> = row.scores().map(|(_, score)| score).collect();
            let single: Vec<i64> = (0..raws.len()).map(|at| part.score(Slot::at(at))).collect();
            assert_eq!(scores, single);
            scores
        };
        let plain = add(None);
        let others = (0_u32..).zip(raws).filter(|(_, raw)| **raw != raws[0]).map(|(at, _)| at);
        assert_eq!(add(Some(Sameness { base: None, exceptions: others.collect() })), plain);
        plain
    }

    #[test]
    fn scores_end_between_zero_and_a_hundred() {
        assert_eq!(after(Scale::Proportional, &[0, 1, 3]), [0, 33, 100]);
        assert_eq!(after(Scale::Proportional, &[0, 0]), [0, 0]);
        assert_eq!(after(Scale::Reversed, &[0, 1, 3]), [100, 67, 0]);
        assert_eq!(after(Scale::Reversed, &[0, 0]), [100, 100]);
        assert_eq!(after(Scale::Stretched, &[-5, 0, 5]), [0, 50, 100]);
        assert_eq!(after(Scale::Stretched, &[7, 7]), [0, 0]);
        assert_eq!(after(Scale::Stretched, &[0, 1_000_000, 2_000_000]), [0, 50, 100]);
        assert_eq!(after(Scale::Even, &[0, 5, 10, -1]), [100, 50, 0, 0]);
        assert_eq!(after(Scale::Even, &[0, 0]), [100, 100]);
    }
}
