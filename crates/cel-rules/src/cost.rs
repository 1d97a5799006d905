//! What calls cost, in cel-go's units: about fifty nanoseconds each, and a tenth for every character.

use crate::types::UNBOUND;

/// Least and greatest, of costs and of sizes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) min: u64,
    pub(crate) max: u64,
}

/// Reading a variable or a field.
pub(crate) const READ: u64 = 1;
/// Making a list.
pub(crate) const LIST: u64 = 10;
/// Making a map.
pub(crate) const MAP: u64 = 30;

impl Span {
    pub(crate) const ZERO: Span = Span::exactly(0);
    pub(crate) const UNKNOWN: Span = Span { min: 0, max: UNBOUND };

    pub(crate) const fn exactly(n: u64) -> Span {
        Span { min: n, max: n }
    }

    pub(crate) const fn up_to(max: u64) -> Span {
        Span { min: 0, max }
    }

    pub(crate) fn plus(self, other: Span) -> Span {
        Span { min: self.min.saturating_add(other.min), max: self.max.saturating_add(other.max) }
    }

    pub(crate) fn times(self, other: Span) -> Span {
        Span { min: self.min.saturating_mul(other.min), max: self.max.saturating_mul(other.max) }
    }

    /// Either of both.
    pub(crate) fn or(self, other: Span) -> Span {
        Span { min: self.min.min(other.min), max: self.max.max(other.max) }
    }

    /// A share of it, rounded up.
    fn share(self, by: u64) -> Span {
        Span { min: self.min.div_ceil(by), max: self.max.div_ceil(by) }
    }
}

/// How the cost of a call follows from the sizes of its arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Price {
    /// The same for all.
    One,
    /// One argument is walked, as text.
    Walk(usize),
    /// All arguments are walked, as text.
    WalkAll,
    /// Both texts are joined; lists are shared or copied.
    Join,
    /// The shorter of both is walked.
    Compare,
    /// One text is searched for another.
    Search,
    /// A text is searched by a pattern.
    Pattern,
    /// The items of one argument are walked.
    Items(usize),
    /// Items of both, each with each.
    Pairs,
    /// Every part replaced may become as long as the new text.
    Replace,
    /// The authorizer is asked.
    Ask,
}

/// cel-go's and Kubernetes' factor of a question to the authorizer.
const ASK: u64 = 350_000;

impl Price {
    /// Cost of a call by the sizes of its arguments, beside what the arguments cost.
    pub(crate) fn of(self, sizes: &[Span]) -> Span {
        let size = |i: usize| sizes.get(i).copied().unwrap_or(Span::ZERO);
        let one = Span::exactly(1);
        match self {
            Price::One => one,
            Price::Walk(i) => size(i).share(10),
            Price::WalkAll => one.plus(sizes.iter().fold(Span::ZERO, |sum, s| sum.plus(*s)).share(10)),
            Price::Join => size(0).plus(size(1)).share(10),
            Price::Compare => {
                let least = size(0).max.min(size(1).max);
                Span { min: u64::from(least > 0), max: least }.share(10)
            }
            Price::Search => size(0).share(10).times(size(1).share(10)),
            Price::Pattern => size(0).plus(one).share(10).times(size(1).share(4)),
            Price::Items(i) => one.plus(size(i)),
            Price::Pairs => one.plus(size(0).times(size(1))),
            Price::Replace => one.plus(size(0).share(10).times(size(2).plus(one))),
            Price::Ask => Span::exactly(ASK),
        }
    }

    /// Size of the result of a call.
    pub(crate) fn result(self, sizes: &[Span]) -> Span {
        let size = |i: usize| sizes.get(i).copied().unwrap_or(Span::ZERO);
        match self {
            Price::Join => size(0).plus(size(1)),
            Price::Walk(_) | Price::WalkAll | Price::Pattern => Span::up_to(size(0).max),
            Price::Replace => Span::up_to(size(0).max.saturating_mul(size(2).max.max(1))),
            _ => Span::UNKNOWN,
        }
    }
}
