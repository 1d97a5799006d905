//! How one resource of a parent is shared among its children.

/// What one child brings to the sharing of one resource. Units: of the resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share<'a> {
    /// Breaks ties.
    pub name: &'a str,
    /// Weight when what is left is shared out; not above zero: it gets none of it.
    pub weight: i64,
    /// What it asks for, within its maximum.
    pub request: i64,
    /// What is its own: minimum or guarantee, whichever is larger.
    pub min: i64,
    /// Others may use what it does not.
    pub lent: bool,
}

/// What each child may use, in order of the children.
///
/// Who asks for more than its own gets that and competes for the rest. Who asks for less gets what it asks for, or all its own when it
/// does not lend. The rest is shared by weight until every request is met or nothing is left. Own shares are given even where their
/// sum is beyond the total: minima are promises.
pub fn split(total: i64, shares: &[Share<'_>]) -> Vec<i64> {
    let mut given: Vec<i64> =
        shares.iter().map(|s| if s.request > s.min || !s.lent { s.min } else { s.request }).collect();
    let promised: i128 = given.iter().map(|g| i128::from(*g)).sum();
    let mut left = i128::from(total) - promised;
    let mut hungry: Vec<usize> = (0..shares.len()).filter(|i| shares[*i].request > shares[*i].min).collect();
    // Each round either meets somebody's request or leaves nothing.
    while left > 0 && !hungry.is_empty() {
        let portions = by_weight(left, shares, &hungry);
        left = 0;
        hungry = hungry
            .into_iter()
            .zip(portions)
            .filter(|(i, portion)| {
                let want = i128::from(shares[*i].request) - i128::from(given[*i]);
                let taken = (*portion).min(want);
                left += portion - taken;
                given[*i] += i64::try_from(taken).expect("a portion within a request is one of its numbers");
                taken < want
            })
            .map(|(i, _)| i)
            .collect();
    }
    given
}

/// A total in whole portions by weight; largest remainders first, then by name. Nothing when nobody has weight.
fn by_weight(total: i128, shares: &[Share<'_>], among: &[usize]) -> Vec<i128> {
    let weight = |i: &usize| i128::from(shares[*i].weight.max(0));
    let sum: i128 = among.iter().map(weight).sum();
    if sum == 0 {
        return vec![0; among.len()];
    }
    let mut portions: Vec<i128> = among.iter().map(|i| product(weight(i), total) / sum).collect();
    let mut left = total - portions.iter().sum::<i128>();
    let mut order: Vec<usize> = (0..among.len()).filter(|k| weight(&among[*k]) > 0).collect();
    order.sort_by_key(|k| {
        let i = among[*k];
        (std::cmp::Reverse(product(weight(&i), total) % sum), shares[i].name)
    });
    for k in order {
        if left == 0 {
            break;
        }
        portions[k] += 1;
        left -= 1;
    }
    portions
}

/// Two numbers of 63 bits at most: exact in 126.
fn product(weight: i128, total: i128) -> i128 {
    weight * total
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn share(name: &str, weight: i64, request: i64, min: i64, lent: bool) -> Share<'_> {
        Share { name, weight, request, min, lent }
    }

    #[test]
    fn unused_minima_are_lent_and_the_rest_goes_by_weight() {
        let shares =
            [share("a", 40, 5, 40, true), share("b", 60, 100, 20, true), share("c", 20, 100, 10, true)];
        assert_eq!(
            split(100, &shares),
            [5, 69, 26],
            "65 left: 48.75 and 16.25, the larger remainder gets the odd one"
        );
    }

    #[test]
    fn what_is_not_lent_is_kept() {
        let shares = [share("a", 40, 5, 40, false), share("b", 60, 100, 20, true)];
        assert_eq!(split(100, &shares), [40, 60]);
    }

    #[test]
    fn what_one_does_not_need_goes_round_again() {
        let shares = [share("a", 1, 10, 0, true), share("b", 1, 100, 0, true), share("c", 1, 100, 0, true)];
        assert_eq!(split(91, &shares), [10, 41, 40], "30 each, 20 back, then the odd one by name");
    }

    #[test]
    fn promises_are_kept_beyond_the_total_and_no_weight_gets_no_rest() {
        assert_eq!(split(10, &[share("a", 1, 50, 8, true), share("b", 1, 50, 8, true)]), [8, 8]);
        assert_eq!(split(100, &[share("a", 0, 50, 8, true), share("b", 1, 20, 0, true)]), [8, 20]);
    }

    #[test]
    fn the_largest_numbers_do_not_overflow() {
        let shares = [share("a", i64::MAX, i64::MAX, 0, true), share("b", i64::MAX, i64::MAX, 0, true)];
        assert_eq!(split(i64::MAX, &shares), [i64::MAX / 2 + 1, i64::MAX / 2]);
    }

    /// One unit at a time is too slow to be of use and too simple to be wrong about totals.
    fn totals(total: i64, shares: &[Share<'_>], given: &[i64]) -> Result<(), TestCaseError> {
        let sum: i64 = given.iter().sum();
        let promised: i64 =
            shares.iter().map(|s| if s.request > s.min || !s.lent { s.min } else { s.request }).sum();
        let wanted: i64 = shares.iter().map(|s| s.request.max(if s.lent { 0 } else { s.min })).sum();
        prop_assert!(sum <= total.max(promised), "never more than there is");
        let weightless = shares.iter().any(|s| s.weight <= 0);
        if promised <= total && !weightless {
            prop_assert_eq!(sum, total.min(wanted), "nothing is lost to rounding");
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn shares_are_fair_and_nothing_is_lost(
            total in 0i64..500,
            raw in proptest::collection::vec((0i64..9, 0i64..200, 0i64..60, any::<bool>()), 1..7)
        ) {
            let names: Vec<String> = (0..raw.len()).map(|i| format!("q{i}")).collect();
            let shares: Vec<Share<'_>> = raw.iter().zip(&names)
                .map(|((w, r, m, l), n)| share(n, *w, *r, *m, *l)).collect();
            let given = split(total, &shares);
            totals(total, &shares, &given)?;
            for (s, g) in shares.iter().zip(&given) {
                prop_assert!(*g >= s.request.min(s.min), "the promise is kept");
                prop_assert!(*g <= s.request.max(s.min), "and nobody gets what it does not want");
            }
            let mut order: Vec<usize> = (0..shares.len()).collect();
            order.reverse();
            let turned: Vec<Share<'_>> = order.iter().map(|i| shares[*i].clone()).collect();
            let again = split(total, &turned);
            prop_assert_eq!(order.iter().map(|i| given[*i]).collect::<Vec<_>>(), again, "order does not matter");
        }
    }
}
