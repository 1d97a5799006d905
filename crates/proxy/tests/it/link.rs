//! The way to the API server: it can be cut, and writes to pods can be held back.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use api_client::{Body, BodyStream, Error, Request, Response, Transport};
use futures_util::{StreamExt, stream};
use http::Method;
use stdx::BoxFuture;
use tokio::sync::watch;

/// How the way is at the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) enum State {
    #[default]
    Open,
    /// Nothing passes; what was open is cut.
    Cut,
    /// Patches wait.
    PatchesWait,
}

/// A transport over another.
pub(crate) struct Link {
    inner: Arc<dyn Transport>,
    state: watch::Sender<State>,
    /// `VERB path` of all writes that were let through.
    writes: Arc<Mutex<Vec<String>>>,
    counts: Arc<Counts>,
}

#[derive(Default)]
struct Counts {
    waiting: AtomicUsize,
    refused: AtomicUsize,
}

impl Link {
    pub(crate) fn over(inner: Arc<dyn Transport>) -> Arc<Link> {
        Arc::new(Link {
            inner,
            state: watch::Sender::default(),
            writes: Arc::default(),
            counts: Arc::default(),
        })
    }

    pub(crate) fn set(&self, state: State) {
        self.state.send_replace(state);
    }

    /// Patches that wait.
    pub(crate) fn waiting(&self) -> usize {
        self.counts.waiting.load(Ordering::SeqCst)
    }

    /// Writes that the server refused.
    pub(crate) fn refused(&self) -> usize {
        self.counts.refused.load(Ordering::SeqCst)
    }

    /// Writes so far.
    pub(crate) fn writes(&self) -> Vec<String> {
        self.writes.lock().unwrap().clone()
    }
}

impl Transport for Link {
    fn send(&self, request: Request) -> BoxFuture<Result<Response, Error>> {
        let mut state = self.state.subscribe();
        let (inner, writes, counts) = (self.inner.clone(), self.writes.clone(), self.counts.clone());
        Box::pin(async move {
            if *request.method() == Method::PATCH {
                counts.waiting.fetch_add(1, Ordering::SeqCst);
                let _ = state.wait_for(|state| *state != State::PatchesWait).await;
                counts.waiting.fetch_sub(1, Ordering::SeqCst);
            }
            if *state.borrow_and_update() == State::Cut {
                return Err(cut());
            }
            let is_write = *request.method() != Method::GET;
            if is_write {
                writes.lock().unwrap().push(format!("{} {}", request.method(), request.uri().path()));
            }
            let response = inner.send(request).await?;
            if is_write && !response.status().is_success() {
                counts.refused.fetch_add(1, Ordering::SeqCst);
            }
            Ok(response.map(|body| match body {
                Body::Stream(stream) => Body::Stream(until_cut(stream, state)),
                full => full,
            }))
        })
    }
}

fn cut() -> Error {
    Error::Unreachable("the way is cut".to_owned())
}

fn until_cut(stream: BodyStream, state: watch::Receiver<State>) -> BodyStream {
    Box::pin(stream::unfold(Some((stream, state)), |open| async move {
        let (mut stream, mut state) = open?;
        let is_cut = async {
            let _ = state.wait_for(|state| *state == State::Cut).await;
        };
        let chunk = tokio::select! {
            chunk = stream.next() => chunk?,
            () = is_cut => return Some((Err(cut()), None)),
        };
        Some((chunk, Some((stream, state))))
    }))
}
