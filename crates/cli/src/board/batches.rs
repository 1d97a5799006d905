//! Batches of a release: each new target of the same revision begins one.

use view::Progress;

/// The batches of one workload seen so far.
#[derive(Debug, Default)]
pub(super) struct Batches {
    revision: String,
    current: Batch,
}

/// One batch: the pods from `from` to `to`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Batch {
    /// Number, from 1.
    pub(super) number: usize,
    /// Pods updated before it.
    pub(super) from: i64,
    /// Pods updated after it.
    pub(super) to: i64,
}

impl Batch {
    /// How many of its pods are there.
    pub(super) fn done(&self, progress: &Progress) -> i64 {
        (progress.updated_available - self.from).clamp(0, self.size())
    }

    /// How many pods it has.
    pub(super) fn size(&self) -> i64 {
        self.to - self.from
    }
}

impl Batches {
    /// The batch that a look belongs to.
    pub(super) fn see(&mut self, p: &Progress) -> Batch {
        if self.current.number == 0 || self.revision != p.revision {
            self.revision.clone_from(&p.revision);
            self.current = Batch { number: 1, from: 0, to: p.target };
        } else if p.target > self.current.to {
            let next = Batch { number: self.current.number + 1, from: self.current.to, to: p.target };
            // A workload that is scaled while nothing is released grows its only batch.
            self.current = if self.current.to == 0 { Batch { number: 1, ..next } } else { next };
        } else if p.target < self.current.to {
            self.current.to = p.target.max(self.current.from);
        }
        self.current
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(revision: &str, target: i64, available: i64) -> Progress {
        Progress { revision: revision.into(), target, updated_available: available, ..Progress::default() }
    }

    #[test]
    fn a_falling_partition_makes_batches_and_a_new_revision_begins_anew() {
        let mut b = Batches::default();
        assert_eq!(b.see(&look("r2", 2, 0)), Batch { number: 1, from: 0, to: 2 });
        assert_eq!(b.see(&look("r2", 2, 2)).number, 1);
        let second = b.see(&look("r2", 6, 3));
        assert_eq!(second, Batch { number: 2, from: 2, to: 6 });
        assert_eq!((second.done(&look("r2", 6, 3)), second.size()), (1, 4));
        assert_eq!(b.see(&look("r3", 1, 0)), Batch { number: 1, from: 0, to: 1 });
    }

    #[test]
    fn a_rising_partition_shortens_the_batch() {
        let mut b = Batches::default();
        b.see(&look("r", 10, 0));
        assert_eq!(b.see(&look("r", 4, 4)), Batch { number: 1, from: 0, to: 4 });
    }
}
