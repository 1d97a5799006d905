//! One stream of server-sent events: the whole board, then what changed since the last message.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use hyper::body::Frame;
use serde::Serialize;
use serde_json::Value;
use stdx::Env;
use tokio::sync::watch;
use view::board::{Change, Tick};

use crate::demand::Demand;
use crate::keeper::Published;
use crate::seats::Seat;

/// Browsers try again after so long when a stream breaks off.
const RETRY_MS: u32 = 1000;

/// A browser that looks.
pub(crate) struct Follower {
    /// What is shown.
    pub(crate) board: watch::Receiver<Arc<Published>>,
    /// Who is told that it looks.
    pub(crate) demand: Demand,
    /// Its place.
    pub(crate) seat: Seat,
    /// The machine.
    pub(crate) env: Env,
    /// It hears something at least so often.
    pub(crate) heartbeat: Duration,
    /// What it was told last.
    pub(crate) told: Option<Arc<Published>>,
    /// Number of the last message.
    pub(crate) id: u64,
}

/// All of the board, as `/api/board` gives it and a stream begins.
#[derive(Serialize)]
struct Whole<'a> {
    at: i64,
    parts: &'a BTreeMap<String, Arc<Value>>,
    ticks: Vec<Tick>,
}

/// What changed.
#[derive(Serialize)]
struct Update<'a> {
    at: i64,
    #[serde(flatten)]
    change: Change,
    ticks: Vec<&'a Tick>,
}

/// All of the board as JSON.
pub(crate) fn whole(board: &Published) -> Vec<u8> {
    // Of the past, the plot needs only the sums.
    let last = board.ticks.len().saturating_sub(1);
    let past = |(n, tick): (usize, &Arc<Tick>)| match n == last {
        true => Tick::clone(tick),
        false => Tick { pods: BTreeMap::new(), ..Tick::clone(tick) },
    };
    let ticks = board.ticks.iter().enumerate().map(past).collect();
    json(&Whole { at: board.at.micros() / 1000, parts: &board.parts.0, ticks })
}

fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("boards have string keys and finite numbers")
}

impl Follower {
    /// The stream. It is asked for the next message when the one before is on its way, so what changes meanwhile becomes
    /// one message.
    pub(crate) fn stream(self) -> impl Stream<Item = Result<Frame<Bytes>, Infallible>> {
        futures_util::stream::unfold(self, |mut follower| async move {
            let message = follower.next().await?;
            follower.seat.moved(follower.env.now());
            follower.demand.look(follower.env.now());
            Some((Ok(Frame::data(message)), follower))
        })
    }

    /// The next message; none when the board ends.
    async fn next(&mut self) -> Option<Bytes> {
        if self.told.is_none() {
            return Some(self.snapshot());
        }
        loop {
            tokio::select! {
                changed = self.board.changed() => changed.ok()?,
                () = self.env.sleep(self.heartbeat) => return Some(Bytes::from_static(b": still here\n\n")),
            }
            if let Some(message) = self.update() {
                return Some(message);
            }
        }
    }

    fn snapshot(&mut self) -> Bytes {
        let board = self.board.borrow_and_update().clone();
        let message = self.message("snapshot", &whole(&board));
        self.told = Some(board);
        message
    }

    /// What changed since the last message; nothing when nothing did.
    fn update(&mut self) -> Option<Bytes> {
        let board = self.board.borrow_and_update().clone();
        let told = self.told.take()?;
        let missed = board.next_tick.saturating_sub(told.next_tick);
        let missed = usize::try_from(missed).unwrap_or(usize::MAX);
        if missed > board.ticks.len() {
            // So slow that part of the plot is forgotten: begin anew.
            return Some(self.snapshot());
        }
        let change = Change::between(&told.parts, &board.parts);
        let ticks: Vec<&Tick> = board.ticks.iter().skip(board.ticks.len() - missed).map(|t| &**t).collect();
        let is_quiet = change.is_empty() && ticks.is_empty();
        let body = json(&Update { at: board.at.micros() / 1000, change, ticks });
        self.told = Some(board);
        if is_quiet { None } else { Some(self.message("update", &body)) }
    }

    fn message(&mut self, event: &str, json: &[u8]) -> Bytes {
        self.id += 1;
        let retry = if self.id == 1 { format!("retry: {RETRY_MS}\n") } else { String::new() };
        // JSON has no line breaks, so one data line is enough.
        let head = format!("{retry}id: {}\nevent: {event}\ndata: ", self.id);
        [head.as_bytes(), json, b"\n\n"].concat().into()
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use futures_util::StreamExt;
    use serde_json::json;
    use stdx::{SeededRng, Time};
    use view::board::Parts;

    use super::*;
    use crate::seats::Seats;

    /// Time stands still.
    struct Still;

    impl stdx::Clock for Still {
        fn now(&self) -> Time {
            Time::from_secs(0)
        }
    }

    impl stdx::Timer for Still {
        fn sleep(&self, _: Duration) -> stdx::BoxFuture<()> {
            Box::pin(std::future::pending())
        }
    }

    impl stdx::Spawn for Still {
        fn spawn(&self, _: &'static str, _: stdx::BoxFuture<()>) {}
    }

    fn follower(board: watch::Receiver<Arc<Published>>) -> Follower {
        let env = Env {
            clock: Arc::new(Still),
            rng: Arc::new(SeededRng::new(1)),
            timer: Arc::new(Still),
            spawn: Arc::new(Still),
        };
        let seat = Seats::new(1, Duration::ZERO).take(Arc::default(), env.now()).unwrap();
        Follower { board, demand: Demand::new(), seat, env, heartbeat: Duration::ZERO, told: None, id: 0 }
    }

    fn published(n: u64) -> Arc<Published> {
        let parts = [("a".to_owned(), Arc::new(json!(n))), ("b".to_owned(), Arc::new(json!("same")))];
        let ticks: Vec<u64> = (n.saturating_sub(2)..n).collect();
        let tick = |at: &u64| Arc::new(Tick { at: i64::try_from(*at).unwrap(), ..Tick::default() });
        Arc::new(Published {
            parts: Parts(parts.into()),
            ticks: ticks.iter().map(tick).collect(),
            next_tick: n,
            ..Published::default()
        })
    }

    fn next(stream: &mut (impl Stream<Item = Result<Frame<Bytes>, Infallible>> + Unpin)) -> Option<String> {
        match stream.poll_next_unpin(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Some(Ok(frame))) => {
                Some(String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap())
            }
            Poll::Ready(_) => panic!("the stream goes on"),
            Poll::Pending => None,
        }
    }

    #[test]
    fn whoever_reads_slowly_gets_one_message_for_all_that_happened() {
        let (sender, board) = watch::channel(published(10));
        let mut stream = pin!(follower(board).stream());
        assert!(next(&mut stream).unwrap().starts_with("retry: 1000\nid: 1\nevent: snapshot\n"));
        for n in [10, 11, 11, 12] {
            sender.send_replace(published(n));
        }
        let message = next(&mut stream).unwrap();
        assert_eq!(
            message,
            "id: 2\nevent: update\ndata: {\"at\":0,\"set\":{\"a\":12},\"gone\":[],\"ticks\":[{\"at\":10},{\"at\":11}]}\n\n"
        );
        assert_eq!(next(&mut stream), None, "nothing is left over");
    }

    #[test]
    fn whoever_missed_more_than_is_remembered_begins_anew() {
        let (sender, board) = watch::channel(published(10));
        let mut stream = pin!(follower(board).stream());
        next(&mut stream);
        sender.send_replace(published(13));
        assert!(next(&mut stream).unwrap().starts_with("id: 2\nevent: snapshot\n"));
    }

    #[test]
    fn a_board_that_is_as_before_is_not_told() {
        let (sender, board) = watch::channel(published(10));
        let mut stream = pin!(follower(board).stream());
        next(&mut stream);
        sender.send_replace(published(10));
        assert_eq!(next(&mut stream), None);
    }
}
