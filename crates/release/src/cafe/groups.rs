//! How many pods each cell gets, and how a release is cut into groups. Pure arithmetic: it is shown before a release
//! (`knarr plan`), followed during it, and kept after it.
//!
//! ```text
//! replicas, shares ──shares──> pods per cell ──minus updated──> work per cell ──cut──> beta, group-1, group-2, …
//! ```
//!
//! All rounding is here: shares in percent round down, the rest goes evenly to the cells without a fixed share, the first
//! cells first; the pods of a group go where most is still to do, so that all cells progress evenly.

use std::collections::BTreeMap;

use api_meta::{IntOrPercent, Round};
use api_workload::{CafeDeploymentSpec, GroupCell, UnitType, UpgradeType};

/// The only cell of a workload that is kept in none.
pub const ANYWHERE: &str = "all";

/// What a group table is made from.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ask {
    /// Pods wanted over all cells.
    pub replicas: i32,
    /// The cells, in the order that decides ties.
    pub cells: Vec<CellAsk>,
    /// Pods of a group over all cells.
    pub batch_size: i32,
    /// Whether a beta group comes first.
    pub upgrade_type: UpgradeType,
}

/// One cell of an [`Ask`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CellAsk {
    /// Name.
    pub name: String,
    /// Its fixed share, when it has one.
    pub share: Option<IntOrPercent>,
    /// Pods that are as wanted already.
    pub updated: i32,
}

/// Who gets how many pods, and in which groups they come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    /// Pods wanted by cell, in the order of the cells.
    pub shares: Vec<GroupCell>,
    /// The groups in order.
    pub groups: Vec<Group>,
}

/// One group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Group {
    /// `beta`, `group-1`, …
    pub name: String,
    /// Pods by cell, in the order of the cells; cells without any are left out.
    pub cells: Vec<GroupCell>,
}

/// The cells of a spec with their fixed shares; one that stands for anywhere when it names none.
pub fn cells(spec: &CafeDeploymentSpec) -> Vec<CellAsk> {
    let topology = &spec.topology;
    if topology.unit_type == UnitType::None && topology.values.is_empty() {
        return vec![CellAsk { name: ANYWHERE.to_owned(), ..CellAsk::default() }];
    }
    let cell = |name: &String| CellAsk {
        name: name.clone(),
        share: topology.unit_replicas.get(name).copied(),
        updated: 0,
    };
    topology.values.iter().map(cell).collect()
}

/// The whole table.
pub fn table(ask: &Ask) -> Table {
    let shares = shares(ask.replicas, &ask.cells);
    let updated: BTreeMap<&str, i32> = ask.cells.iter().map(|c| (c.name.as_str(), c.updated)).collect();
    let missing = |c: &GroupCell| GroupCell {
        name: c.name.clone(),
        pods: (c.pods - updated.get(c.name.as_str()).copied().unwrap_or(0)).max(0),
    };
    let work: Vec<GroupCell> = shares.iter().map(missing).collect();
    Table { groups: cut(&work, ask.batch_size, ask.upgrade_type == UpgradeType::Beta, 1), shares }
}

/// Pods of each cell. Fixed shares come first, in order, as far as there are pods; the rest is spread evenly over the
/// cells without one, or over all cells when each has one.
pub fn shares(replicas: i32, cells: &[CellAsk]) -> Vec<GroupCell> {
    let mut left = replicas.max(0);
    let mut out: Vec<GroupCell> = Vec::with_capacity(cells.len());
    for cell in cells {
        let fixed = cell.share.map_or(0, |s| s.of(replicas.max(0), Round::Down)).clamp(0, left);
        left -= fixed;
        out.push(GroupCell { name: cell.name.clone(), pods: fixed });
    }
    let free = |i: &usize| cells[*i].share.is_none();
    let mut takers: Vec<usize> = (0..cells.len()).filter(free).collect();
    if takers.is_empty() {
        takers = (0..cells.len()).collect();
    }
    let count = i32::try_from(takers.len()).unwrap_or(i32::MAX);
    for (nth, i) in takers.into_iter().enumerate() {
        let first = i32::try_from(nth).unwrap_or(i32::MAX) < left % count;
        out[i].pods += left / count + i32::from(first);
    }
    out
}

/// Cuts work into groups: one pod of each cell first when `beta`, then `batch_size` pods each. `number` is that of the
/// first group after the beta group.
pub fn cut(work: &[GroupCell], batch_size: i32, beta: bool, number: usize) -> Vec<Group> {
    let mut left: Vec<i32> = work.iter().map(|c| c.pods.max(0)).collect();
    let mut groups = Vec::new();
    if beta && left.iter().any(|l| *l > 0) {
        let one: Vec<i32> = left.iter().map(|l| (*l).min(1)).collect();
        groups.push(group("beta".to_owned(), work, &one, &mut left));
    }
    let mut number = number;
    while left.iter().any(|l| *l > 0) {
        let part = proportional(work, &left, batch_size.max(1));
        groups.push(group(format!("group-{number}"), work, &part, &mut left));
        number += 1;
    }
    groups
}

fn group(name: String, work: &[GroupCell], part: &[i32], left: &mut [i32]) -> Group {
    left.iter_mut().zip(part).for_each(|(l, p)| *l -= p);
    let cells = work.iter().zip(part).filter(|(_, pods)| **pods > 0);
    Group { name, cells: cells.map(|(c, pods)| GroupCell { name: c.name.clone(), pods: *pods }).collect() }
}

/// `size` pods, or all that are left: each goes to the cell that is furthest behind, measured at the middle of its next
/// pod (Webster's method), the first cell on a tie. So after every group all cells are equally far, up to one pod.
fn proportional(work: &[GroupCell], left: &[i32], size: i32) -> Vec<i32> {
    let mut part = vec![0; left.len()];
    for _ in 0..size {
        let open = (0..left.len()).filter(|i| part[*i] < left[*i]);
        let behind = open.min_by(|i, j| {
            let at = |i: usize| 2 * i64::from(work[i].pods - left[i] + part[i]) + 1;
            (at(*i) * i64::from(work[*j].pods)).cmp(&(at(*j) * i64::from(work[*i].pods)))
        });
        let Some(i) = behind else { break };
        part[i] += 1;
    }
    part
}

impl Table {
    /// The table as text, one line for each group: `beta: CellA 1 + CellB 1`.
    pub fn told(&self) -> String {
        let listed = |cells: &[GroupCell]| {
            cells.iter().map(|c| format!("{} {}", c.name, c.pods)).collect::<Vec<_>>().join(" + ")
        };
        let mut out = format!("pods: {}\n", listed(&self.shares));
        for group in &self.groups {
            out += &format!("{}: {}\n", group.name, listed(&group.cells));
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ask(replicas: i32, cells: &[(&str, Option<IntOrPercent>, i32)], batch_size: i32) -> Ask {
        let cell = |(name, share, updated): &(&str, Option<IntOrPercent>, i32)| CellAsk {
            name: (*name).to_owned(),
            share: *share,
            updated: *updated,
        };
        Ask { replicas, cells: cells.iter().map(cell).collect(), batch_size, upgrade_type: UpgradeType::Beta }
    }

    fn check(ask: &Ask, expected: &expect_test::Expect) {
        expected.assert_eq(&table(ask).told());
    }

    #[test]
    fn the_published_example_is_cut_into_two_four_and_four() {
        check(
            &ask(10, &[("CellA", None, 0), ("CellB", None, 0)], 4),
            &expect_test::expect![[r#"
                pods: CellA 5 + CellB 5
                beta: CellA 1 + CellB 1
                group-1: CellA 2 + CellB 2
                group-2: CellA 2 + CellB 2
            "#]],
        );
    }

    #[test]
    fn batch_cuts_all_groups_alike() {
        let batch =
            Ask { upgrade_type: UpgradeType::Batch, ..ask(10, &[("CellA", None, 0), ("CellB", None, 0)], 4) };
        check(
            &batch,
            &expect_test::expect![[r#"
                pods: CellA 5 + CellB 5
                group-1: CellA 2 + CellB 2
                group-2: CellA 2 + CellB 2
                group-3: CellA 1 + CellB 1
            "#]],
        );
    }

    #[test]
    fn uneven_cells_keep_even_progress() {
        let fixed = Some(IntOrPercent::Int(1));
        check(
            &ask(12, &[("A", None, 0), ("B", Some(IntOrPercent::Percent(25)), 0), ("C", fixed, 0)], 4),
            &expect_test::expect![[r#"
                pods: A 8 + B 3 + C 1
                beta: A 1 + B 1 + C 1
                group-1: A 3 + B 1
                group-2: A 3 + B 1
                group-3: A 1
            "#]],
        );
    }

    #[test]
    fn what_is_updated_already_is_not_done_again() {
        check(
            &ask(10, &[("A", None, 5), ("B", None, 2)], 2),
            &expect_test::expect![[r#"
                pods: A 5 + B 5
                beta: B 1
                group-1: B 2
            "#]],
        );
        check(
            &ask(4, &[("A", None, 2), ("B", None, 2)], 2),
            &expect_test::expect![[r#"
                pods: A 2 + B 2
            "#]],
        );
    }

    #[test]
    fn shares_in_percent_round_down_and_the_rest_goes_to_the_first() {
        let third = Some(IntOrPercent::Percent(33));
        let shares = |n| table(&ask(n, &[("A", third, 0), ("B", third, 0), ("C", third, 0)], 9)).shares;
        let pods = |n| shares(n).iter().map(|c| c.pods).collect::<Vec<_>>();
        assert_eq!(pods(10), [4, 3, 3]);
        assert_eq!(pods(2), [1, 1, 0]);
        assert_eq!(pods(0), [0, 0, 0]);
        let greedy = ask(3, &[("A", Some(IntOrPercent::Int(5)), 0), ("B", None, 0)], 1);
        assert_eq!(table(&greedy).shares.iter().map(|c| c.pods).collect::<Vec<_>>(), [3, 0]);
    }

    #[test]
    fn no_cells_and_no_pods_give_an_empty_table() {
        assert_eq!(table(&ask(5, &[], 2)), Table::default());
        assert_eq!(table(&ask(0, &[("A", None, 0)], 2)).groups, []);
    }

    proptest! {
        #[test]
        fn every_pod_is_in_exactly_one_group_and_no_group_is_too_large(
            replicas in 0..200_i32,
            cells in proptest::collection::vec((proptest::option::of(0..120_i32), 0..60_i32), 1..6),
            batch_size in 1..50_i32,
            beta: bool,
        ) {
            let named = cells.iter().enumerate().map(|(i, (share, updated))| CellAsk {
                name: format!("c{i}"),
                share: share.map(IntOrPercent::Percent),
                updated: *updated,
            });
            let upgrade_type = if beta { UpgradeType::Beta } else { UpgradeType::Batch };
            let ask = Ask { replicas, cells: named.collect(), batch_size, upgrade_type };
            let table = table(&ask);
            prop_assert_eq!(table.shares.iter().map(|c| c.pods).sum::<i32>(), replicas);
            for (cell, share) in ask.cells.iter().zip(&table.shares) {
                let grouped: i32 = table.groups.iter().flat_map(|g| &g.cells).filter(|c| c.name == cell.name).map(|c| c.pods).sum();
                prop_assert_eq!(grouped, (share.pods - cell.updated).max(0));
            }
            for group in &table.groups {
                let size: i32 = group.cells.iter().map(|c| c.pods).sum();
                let most = if group.name == "beta" { i32::try_from(ask.cells.len()).unwrap() } else { batch_size };
                prop_assert!(0 < size && size <= most);
            }
        }

        #[test]
        fn progress_stays_even(a in 1..100_i32, b in 1..100_i32, batch_size in 1..20_i32) {
            let ask = Ask { upgrade_type: UpgradeType::Batch, ..ask(a + b, &[("A", Some(IntOrPercent::Int(a)), 0), ("B", None, 0)], batch_size) };
            let (mut done_a, mut done_b) = (0, 0);
            for group in table(&ask).groups {
                for cell in group.cells {
                    if cell.name == "A" { done_a += cell.pods } else { done_b += cell.pods }
                }
                let (share_a, share_b) = (f64::from(done_a) / f64::from(a), f64::from(done_b) / f64::from(b));
                let one_pod = 1.0 / f64::from(a) + 1.0 / f64::from(b);
                prop_assert!((share_a - share_b).abs() <= one_pod, "{done_a}/{a} and {done_b}/{b}");
            }
        }
    }
}
