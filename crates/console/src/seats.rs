//! Places for streams: few, and taken from those who no longer read.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use stdx::Time;
use tokio::sync::Notify;

/// All places.
pub(crate) struct Seats {
    taken: Arc<Mutex<Vec<Arc<Place>>>>,
    max: usize,
    stall: Duration,
}

struct Place {
    /// Microseconds of the last moment at which the stream could send.
    moved: AtomicI64,
    /// Ends the connection.
    end: Arc<Notify>,
}

/// A place, until it is dropped.
pub(crate) struct Seat {
    place: Arc<Place>,
    taken: Arc<Mutex<Vec<Arc<Place>>>>,
}

impl Seats {
    /// So many places; a stream that could not send for `stall` may lose its own.
    pub(crate) fn new(max: usize, stall: Duration) -> Seats {
        Seats { taken: Arc::default(), max, stall }
    }

    /// A place for the stream on the connection that `end` ends; none when all are taken by streams that move.
    pub(crate) fn take(&self, end: Arc<Notify>, now: Time) -> Option<Seat> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.len() >= self.max {
            let at = taken.iter().enumerate().min_by_key(|(_, p)| p.moved.load(Ordering::Relaxed))?.0;
            let moved = Time::from_micros(taken[at].moved.load(Ordering::Relaxed));
            if now.since(moved) < self.stall {
                return None;
            }
            taken.swap_remove(at).end.notify_one();
        }
        let place = Arc::new(Place { moved: AtomicI64::new(now.micros()), end });
        taken.push(place.clone());
        Some(Seat { place, taken: self.taken.clone() })
    }
}

impl Seat {
    /// The stream could send.
    pub(crate) fn moved(&self, now: Time) {
        self.place.moved.store(now.micros(), Ordering::Relaxed);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        taken.retain(|p| !Arc::ptr_eq(p, &self.place));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_house_lets_nobody_in_until_one_leaves_or_stalls() {
        let seats = Seats::new(2, Duration::from_secs(30));
        let at = Time::from_secs;
        let (first, second) = (seats.take(Arc::default(), at(0)), seats.take(Arc::default(), at(0)));
        assert!(first.is_some() && seats.take(Arc::default(), at(1)).is_none());
        drop(first);
        let third = seats.take(Arc::default(), at(2)).unwrap();
        third.moved(at(29));
        second.as_ref().unwrap().moved(at(5));
        assert!(seats.take(Arc::default(), at(34)).is_none());
        assert!(seats.take(Arc::default(), at(35)).is_some(), "the second has stalled for 30 s");
    }
}
