//! Sets of logical CPUs as bits.

use std::fmt;
use std::str::FromStr;

/// How many CPUs a node may have: numbers 0 to 1023. The largest servers sold have 768.
pub const CPUS_MAX: usize = 1024;
/// Words of a set.
const WORDS: usize = CPUS_MAX / 64;
/// How many ranges a list may have: no list of a node is longer, and a text from outside costs no more than that.
const RANGES_MAX: usize = CPUS_MAX;

/// A set of logical CPUs by the kernel's numbers. Ordered by its lowest differing CPU, only to have an order.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CpuSet([u64; WORDS]);

impl CpuSet {
    /// The empty set.
    pub const EMPTY: CpuSet = CpuSet([0; WORDS]);

    /// Adds a CPU. Numbers of [`CPUS_MAX`] and above are no CPUs: nothing happens.
    pub fn insert(&mut self, cpu: u16) {
        if let Some(word) = self.0.get_mut(usize::from(cpu) / 64) {
            *word |= 1 << (cpu % 64);
        }
    }

    /// Whether it holds a CPU.
    pub fn contains(&self, cpu: u16) -> bool {
        self.0.get(usize::from(cpu) / 64).is_some_and(|word| word >> (cpu % 64) & 1 == 1)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.iter().map(|w| w.count_ones() as usize).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|w| *w == 0)
    }

    /// All CPUs, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u16> + '_ {
        (0u16..).zip(self.0).flat_map(|(i, word)| Bits(word).map(move |bit| i * 64 + bit))
    }

    /// The lowest CPU.
    pub fn first(&self) -> Option<u16> {
        self.iter().next()
    }

    fn zip(self, other: CpuSet, with: impl Fn(u64, u64) -> u64) -> CpuSet {
        let mut out = self;
        for (mine, theirs) in out.0.iter_mut().zip(other.0) {
            *mine = with(*mine, theirs);
        }
        out
    }

    /// CPUs in either.
    #[must_use]
    pub fn or(self, other: CpuSet) -> CpuSet {
        self.zip(other, |a, b| a | b)
    }

    /// CPUs in both.
    #[must_use]
    pub fn and(self, other: CpuSet) -> CpuSet {
        self.zip(other, |a, b| a & b)
    }

    /// CPUs in this one alone.
    #[must_use]
    pub fn minus(self, other: CpuSet) -> CpuSet {
        self.zip(other, |a, b| a & !b)
    }

    /// Whether any CPU is in both.
    pub fn meets(&self, other: &CpuSet) -> bool {
        self.0.iter().zip(other.0).any(|(a, b)| a & b != 0)
    }

    /// How many CPUs are in both.
    pub fn common(&self, other: &CpuSet) -> usize {
        self.0.iter().zip(other.0).map(|(a, b)| (a & b).count_ones() as usize).sum()
    }
}

/// Bits of a word, lowest first.
struct Bits(u64);

impl Iterator for Bits {
    type Item = u16;

    fn next(&mut self) -> Option<u16> {
        if self.0 == 0 {
            return None;
        }
        let bit = self.0.trailing_zeros();
        self.0 &= self.0 - 1;
        u16::try_from(bit).ok()
    }
}

impl FromIterator<u16> for CpuSet {
    fn from_iter<I: IntoIterator<Item = u16>>(cpus: I) -> CpuSet {
        let mut out = CpuSet::EMPTY;
        cpus.into_iter().for_each(|cpu| out.insert(cpu));
        out
    }
}

/// A text that is no list of CPUs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a list of CPUs such as 0-3,8 with numbers below {CPUS_MAX}: {0:?}")]
pub struct CpuSetError(pub String);

impl FromStr for CpuSet {
    type Err = CpuSetError;

    /// Reads a Linux list: `0-3,8`. Empty: no CPUs. Spaces around it are allowed, as in the kernel's files.
    fn from_str(text: &str) -> Result<CpuSet, CpuSetError> {
        let wrong = || CpuSetError(text.chars().take(64).collect());
        let mut out = CpuSet::EMPTY;
        let trimmed = text.trim();
        if trimmed.is_empty() {
            return Ok(out);
        }
        for (i, part) in trimmed.split(',').enumerate() {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let number = |t: &str| t.parse::<u16>().ok().filter(|n| usize::from(*n) < CPUS_MAX);
            let (first, last) = (number(first).ok_or_else(wrong)?, number(last).ok_or_else(wrong)?);
            if first > last || i >= RANGES_MAX {
                return Err(wrong());
            }
            (first..=last).for_each(|cpu| out.insert(cpu));
        }
        Ok(out)
    }
}

impl fmt::Display for CpuSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut cpus = self.iter().peekable();
        let mut comma = "";
        while let Some(first) = cpus.next() {
            let mut last = first;
            while cpus.next_if_eq(&(last + 1)).is_some() {
                last += 1;
            }
            if first == last {
                write!(f, "{comma}{first}")?;
            } else {
                write!(f, "{comma}{first}-{last}")?;
            }
            comma = ",";
        }
        Ok(())
    }
}

impl fmt::Debug for CpuSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{self}}}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lists_are_written_as_the_kernel_writes_them() {
        let set: CpuSet = " 8,0-3,5,1023\n".parse().unwrap();
        assert_eq!(set.to_string(), "0-3,5,8,1023");
        assert_eq!((set.len(), set.first()), (7, Some(0)));
        assert_eq!("".parse(), Ok(CpuSet::EMPTY));
        for bad in ["a", "3-1", "1024", "0-99999", ",", "1,,2", "-1"] {
            assert!(bad.parse::<CpuSet>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn a_set_behaves_as_a_set_of_numbers(a in proptest::collection::btree_set(0u16..1024, 0..40), b in proptest::collection::btree_set(0u16..1024, 0..40)) {
            let (x, y): (CpuSet, CpuSet) = (a.iter().copied().collect(), b.iter().copied().collect());
            let list = |s: CpuSet| s.iter().collect::<Vec<_>>();
            prop_assert_eq!(list(x.or(y)), a.union(&b).copied().collect::<Vec<_>>());
            prop_assert_eq!(list(x.and(y)), a.intersection(&b).copied().collect::<Vec<_>>());
            prop_assert_eq!(list(x.minus(y)), a.difference(&b).copied().collect::<Vec<_>>());
            prop_assert_eq!((x.meets(&y), x.common(&y)), (!x.and(y).is_empty(), x.and(y).len()));
            prop_assert_eq!(x.to_string().parse(), Ok(x));
        }
    }
}
