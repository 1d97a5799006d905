//! Sets of slots as bitmaps.

use crate::Slot;

/// A set of slots: one bit for each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bits(Vec<u64>);

impl Bits {
    /// No slot, with room for `slots`.
    pub fn none(slots: usize) -> Bits {
        Bits(vec![0; slots.div_ceil(64)])
    }

    /// Every slot below `slots`.
    pub fn all(slots: usize) -> Bits {
        let mut bits = Bits(vec![u64::MAX; slots.div_ceil(64)]);
        if let Some(last) = bits.0.last_mut()
            && !slots.is_multiple_of(64)
        {
            *last = (1 << (slots % 64)) - 1;
        }
        bits
    }

    /// Whether the slot is in the set; slots beyond its room are not.
    #[inline]
    pub fn has(&self, slot: Slot) -> bool {
        let at = slot.index();
        self.0.get(at / 64).is_some_and(|word| word >> (at % 64) & 1 == 1)
    }

    /// Puts the slot in or takes it out.
    pub fn set(&mut self, slot: Slot, to: bool) {
        let at = slot.index();
        if at / 64 >= self.0.len() {
            if !to {
                return;
            }
            self.0.resize(at / 64 + 1, 0);
        }
        let bit = 1 << (at % 64);
        if to {
            self.0[at / 64] |= bit;
        } else {
            self.0[at / 64] &= !bit;
        }
    }

    /// Keeps what is in both.
    pub fn and(&mut self, other: &Bits) {
        for (i, word) in self.0.iter_mut().enumerate() {
            *word &= other.0.get(i).copied().unwrap_or(0);
        }
    }

    /// Adds what is in the other.
    pub fn or(&mut self, other: &Bits) {
        if self.0.len() < other.0.len() {
            self.0.resize(other.0.len(), 0);
        }
        self.0.iter_mut().zip(&other.0).for_each(|(word, more)| *word |= more);
    }

    /// How many slots are in the set.
    pub fn len(&self) -> usize {
        self.0.iter().map(|w| w.count_ones() as usize).sum()
    }

    /// Whether no slot is in the set.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|w| *w == 0)
    }

    /// The slots in rising order.
    pub fn iter(&self) -> impl Iterator<Item = Slot> + '_ {
        self.0.iter().enumerate().flat_map(|(i, word)| {
            let mut rest = *word;
            std::iter::from_fn(move || {
                let bit = (rest != 0).then(|| rest.trailing_zeros() as usize)?;
                rest &= rest - 1;
                Some(Slot::at(i * 64 + bit))
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_come_back_in_order_and_nothing_is_beyond_the_end() {
        let mut bits = Bits::none(3);
        for at in [130, 0, 64, 63] {
            bits.set(Slot::at(at), true);
        }
        bits.set(Slot::at(64), false);
        bits.set(Slot::at(9999), false);
        assert_eq!(bits.iter().map(Slot::index).collect::<Vec<_>>(), [0, 63, 130]);
        assert_eq!((bits.len(), bits.has(Slot::at(130)), bits.has(Slot::at(9999))), (3, true, false));
        assert_eq!(Bits::all(130).len(), 130);
    }

    #[test]
    fn both_and_either() {
        let set = |list: &[usize]| {
            let mut bits = Bits::default();
            list.iter().for_each(|at| bits.set(Slot::at(*at), true));
            bits
        };
        let mut both = set(&[1, 2, 99]);
        both.and(&set(&[2, 3]));
        assert_eq!(both.iter().map(Slot::index).collect::<Vec<_>>(), [2]);
        both.or(&set(&[200]));
        assert_eq!(both.len(), 2);
    }
}
