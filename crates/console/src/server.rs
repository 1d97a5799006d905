//! Listens, and starts everything that brings news.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use api_client::Client;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use stdx::Env;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore, mpsc, watch};
use tokio::task::JoinSet;

use crate::config::Config;
use crate::demand::Demand;
use crate::door::Door;
use crate::keeper::{self, Published};
use crate::poll;
use crate::routes::Site;
use crate::seats::Seats;

/// A request's head must be there after so long.
const HEAD_PATIENCE: Duration = Duration::from_secs(10);
/// Bytes that wait to be sent on one connection before its stream is asked for no more.
const CONNECTION_BYTES_MAX: usize = 64 << 10;

/// The board cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The address is taken or not ours: choose another.
    #[error("listen on {address} for the board")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
}

/// A board that listens already and answers once it is served.
pub struct Console {
    listener: TcpListener,
    address: SocketAddr,
    config: Config,
}

/// Shows the board until `stop` turns true.
///
/// # Errors
/// When the address cannot be listened on.
pub async fn run(client: Client, env: Env, config: Config, stop: watch::Receiver<bool>) -> Result<(), Error> {
    Console::bind(config).await?.serve(client, env, stop).await;
    Ok(())
}

impl Console {
    /// Listens.
    ///
    /// # Errors
    /// When the address cannot be listened on.
    pub async fn bind(config: Config) -> Result<Console, Error> {
        let failed = |source| Error::Listen { address: config.listen, source };
        let listener = TcpListener::bind(config.listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Console { listener, address, config })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The link that opens it, token included.
    pub fn link(&self) -> String {
        format!("http://{}/?token={}", self.address, self.config.token.reveal())
    }

    /// Answers until `stop` turns true.
    pub async fn serve(self, client: Client, env: Env, mut stop: watch::Receiver<bool>) {
        let Config { token, mut allowed_hosts, traffic, limits, .. } = self.config;
        allowed_hosts.push(self.address.to_string());
        let (inputs, received) = mpsc::channel(keeper::INPUTS_MAX);
        let (board, shown) = watch::channel(Arc::new(Published::default()));
        // Dropped at the end, and with it all that runs for the board.
        let mut tasks = JoinSet::new();
        let demand = Demand::new();
        tasks.spawn(demand.clone().mirror(client.clone(), env.clone(), inputs.clone()));
        tasks.spawn(poll::poll(traffic, limits.traffic, env.clone(), inputs.clone()));
        tasks.spawn(keeper::keep(received, board, env.clone(), limits));
        let site = Arc::new(Site {
            door: Door::new(token, allowed_hosts),
            seats: Seats::new(limits.streams, limits.stall),
            board: shown,
            demand,
            client,
            env,
            limits,
            inputs,
        });
        let slots = Arc::new(Semaphore::new(limits.connections));
        loop {
            let Ok(slot) = slots.clone().acquire_owned().await else { return };
            let accepted = tokio::select! {
                _ = stop.wait_for(|s| *s) => return,
                accepted = self.listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, _)) => {
                    let site = site.clone();
                    tasks.spawn(async move {
                        converse(stream, site).await;
                        drop(slot);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "accept a connection to the board; trying again shortly");
                    site.env.sleep(Duration::from_millis(100)).await;
                }
            }
            // Ended ones are forgotten here; they are no more than there are slots.
            while tasks.try_join_next().is_some() {}
        }
    }
}

/// One connection, until the browser or its seat ends it.
async fn converse(stream: TcpStream, site: Arc<Site>) {
    let _ = stream.set_nodelay(true);
    let end = Arc::new(Notify::new());
    let service = service_fn(|request| {
        let (site, end) = (site.clone(), end.clone());
        async move { Ok::<_, Infallible>(site.answer(request, end).await) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_PATIENCE)
        .max_buf_size(CONNECTION_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        outcome = connection => if let Err(error) = outcome {
            tracing::debug!(%error, "connection to the board ended");
        },
        () = end.notified() => tracing::debug!("a page that no longer reads has lost its stream"),
    }
}
