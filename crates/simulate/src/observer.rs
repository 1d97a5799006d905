//! Who looks on while a simulation runs.

/// Is told how far a run is, and may bring a clock. Without one nothing that is not the same twice enters a report.
pub trait Observer {
    /// So many of so many pods are dealt with.
    fn step(&mut self, _done: usize, _of: usize) {}

    /// Microseconds of some clock; nothing when decisions are not to be timed.
    fn micros(&mut self) -> Option<i64> {
        None
    }
}

/// Looks away.
pub struct Nobody;

impl Observer for Nobody {}
