//! An open-loop HTTP load: requests are due at fixed times, whatever the answers do.
//!
//! ```text
//! schedule ─due─> request ─lease─> pool of keep-alive connections ─> outcome ─> tally ─every tick─> JSON line
//! ```
//!
//! Latency counts from the moment a request was due, not from when it was sent: a server that stalls cannot make the
//! load wait and so hide its stall. Nothing is ever repeated. What is absent: who is asked, and what the figures prove.

mod line;
mod pool;
mod request;
mod schedule;
mod tally;

pub use line::{End, Failure, FailureKind, Line, Start, Tick};
pub use schedule::Schedule;

use std::fs::File;
use std::future::Future;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};

use pool::Pool;
use request::Target;
use tally::Tally;

/// Flags of the load generator.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// What to ask for: http://ADDRESS:PORT/PATH
    #[arg(long, value_name = "URL")]
    pub url: http::Uri,
    /// Requests that become due per second
    #[arg(long, value_name = "N", default_value_t = 2000.0)]
    pub rate: f64,
    /// Connections opened before the first request
    #[arg(long, value_name = "N", default_value_t = 64)]
    pub connections: usize,
    /// Connections opened at most, when all others are busy
    #[arg(long, value_name = "N", default_value_t = 512)]
    pub connections_max: usize,
    /// Seconds until it ends; without, it goes on until SIGTERM
    #[arg(long, value_name = "SECONDS")]
    pub seconds: Option<f64>,
    /// Time from when a request is due until it counts as failed
    #[arg(long, value_name = "MS", default_value_t = 2000)]
    pub timeout_ms: u64,
    /// Time between two lines of figures
    #[arg(long, value_name = "MS", default_value_t = 1000)]
    pub tick_ms: u64,
    /// Where the lines go; - for standard output
    #[arg(long, value_name = "FILE", default_value = "-")]
    pub events: PathBuf,
}

/// Fastest rate that is accepted: above it the pacing itself would be what is measured.
const RATE_MAX: f64 = 100_000.0;
/// Shortest tick that is accepted.
const TICK_MS_MIN: u64 = 10;
/// How long the first connections are tried: the service may have been declared a moment ago.
const OPEN_WITHIN: Duration = Duration::from_secs(10);
const OPEN_AGAIN: Duration = Duration::from_millis(100);

/// Runs until the time is over, SIGTERM or Ctrl-C, or until nobody reads its lines any more.
///
/// # Errors
/// When a flag makes no sense, nobody answers at the address, or the lines cannot be written.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let mut out = open(&args.events)?;
    drive(&args, stopped()?, move |lines| write(&mut out, lines)).await
}

fn open(path: &Path) -> anyhow::Result<Box<dyn Write + Send>> {
    if path == Path::new("-") {
        return Ok(Box::new(std::io::stdout()));
    }
    let file = File::create(path).with_context(|| format!("write {}", path.display()))?;
    Ok(Box::new(BufWriter::new(file)))
}

fn write(out: &mut impl Write, lines: &[Line]) -> anyhow::Result<()> {
    let mut text = Vec::new();
    for line in lines {
        serde_json::to_writer(&mut text, line)?;
        text.push(b'\n');
    }
    out.write_all(&text).and_then(|()| out.flush()).context("write the figures")
}

/// Completes on SIGTERM or Ctrl-C.
fn stopped() -> anyhow::Result<impl Future<Output = ()> + Send> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt()).context("listen for SIGINT")?;
    let mut terminate = signal(SignalKind::terminate()).context("listen for SIGTERM")?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

/// Runs the load and hands its lines to `sink` as they come. Ends when the time is over or `stop` completes, and all
/// requests that were due by then have their outcome.
///
/// # Errors
/// When a flag makes no sense, nobody answers at the address, or the sink refuses.
pub async fn drive(
    args: &Args,
    stop: impl Future<Output = ()> + Send,
    mut sink: impl FnMut(&[Line]) -> anyhow::Result<()> + Send,
) -> anyhow::Result<()> {
    check(args)?;
    let target = Target::of(&args.url)?;
    let pool = Arc::new(Pool::new(args.connections_max));
    warm(&pool, &target, args.connections).await?;
    let zero = Zero::now();
    let run = Arc::new(Run {
        target,
        pool,
        tally: Mutex::new(Tally::new(zero)),
        patience: Duration::from_millis(args.timeout_ms),
    });
    sink(&[Line::Start(Start {
        at: zero.micros,
        url: args.url.to_string(),
        rate: args.rate,
        connections: args.connections,
        connections_max: args.connections_max,
        timeout_ms: args.timeout_ms,
    })])?;
    let every = Duration::from_millis(args.tick_ms);
    tokio::pin!(stop);
    let paced = run.pace(Schedule::new(args.rate), args.seconds.map(Duration::from_secs_f64), zero);
    tokio::select! {
        biased;
        () = &mut stop => {}
        () = paced => {}
        refused = tell(&run, every, &mut sink) => return refused,
    }
    // What was due before the end has its outcome by its own deadline, at the latest.
    tokio::select! {
        biased;
        () = run.settled() => {}
        refused = tell(&run, every, &mut sink) => return refused,
    }
    let (mut lines, end) = run.tally().close(&run.pool, micros());
    lines.push(Line::End(end));
    sink(&lines)
}

fn check(args: &Args) -> anyhow::Result<()> {
    if !(args.rate > 0.0 && args.rate <= RATE_MAX) {
        bail!("--rate {}: give a number above 0 and up to {RATE_MAX}", args.rate);
    }
    if args.connections == 0 || args.connections > args.connections_max {
        bail!("--connections {}: give 1 to {} (--connections-max)", args.connections, args.connections_max);
    }
    if args.tick_ms < TICK_MS_MIN || args.timeout_ms == 0 {
        bail!("--tick-ms is {TICK_MS_MIN} or more, and --timeout-ms 1 or more");
    }
    if args.seconds.is_some_and(|s| !(s.is_finite() && s > 0.0)) {
        bail!("--seconds: give a number above 0, or leave it out");
    }
    Ok(())
}

/// Opens the first connections, so that the clock does not start on a service that is not there.
async fn warm(pool: &Arc<Pool>, target: &Target, count: usize) -> anyhow::Result<()> {
    let end = Instant::now() + OPEN_WITHIN;
    for _ in 0..count {
        let mut lease = pool.slot();
        let sender = loop {
            match target.connect().await {
                Ok(sender) => break sender,
                Err(_) if Instant::now() < end => tokio::time::sleep(OPEN_AGAIN).await,
                Err(error) => {
                    return Err(error).with_context(|| format!("connect to {}", target.authority()));
                }
            }
        };
        pool.count_opened();
        lease.sender = Some(sender);
    }
    Ok(())
}

/// Hands over the figures of each tick; ends only when the sink refuses.
async fn tell(
    run: &Run,
    every: Duration,
    sink: &mut (impl FnMut(&[Line]) -> anyhow::Result<()> + Send),
) -> anyhow::Result<()> {
    loop {
        tokio::time::sleep(every).await;
        let lines = run.tally().tick(&run.pool, micros());
        sink(&lines)?;
    }
}

/// The same moment on both clocks.
#[derive(Clone, Copy, Debug)]
struct Zero {
    instant: Instant,
    micros: i64,
}

impl Zero {
    fn now() -> Zero {
        Zero { instant: Instant::now(), micros: micros() }
    }

    /// Microseconds since 1970 of a moment of the monotonic clock.
    fn micros_of(&self, at: Instant) -> i64 {
        let after = at.saturating_duration_since(self.instant);
        self.micros + i64::try_from(after.as_micros()).unwrap_or(i64::MAX)
    }
}

fn micros() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

/// What all requests of a run share.
struct Run {
    target: Target,
    pool: Arc<Pool>,
    tally: Mutex<Tally>,
    patience: Duration,
}

impl Run {
    fn tally(&self) -> std::sync::MutexGuard<'_, Tally> {
        self.tally.lock().expect("no holder panics")
    }

    /// Starts each request when it is due, until the time is over.
    async fn pace(self: &Arc<Run>, schedule: Schedule, length: Option<Duration>, zero: Zero) {
        let mut next = 0u64;
        loop {
            let elapsed = zero.instant.elapsed();
            let until = length.map_or(elapsed, |l| elapsed.min(l));
            let due = schedule.due_by(until);
            (next..due).for_each(|k| self.start(zero.instant + schedule.due(k)));
            next = due;
            if length.is_some_and(|l| elapsed >= l) {
                return;
            }
            tokio::time::sleep_until((zero.instant + schedule.due(next)).into()).await;
        }
    }

    fn start(self: &Arc<Run>, due: Instant) {
        self.tally().begin();
        let run = self.clone();
        tokio::spawn(async move {
            let outcome = request::perform(&run.target, &run.pool, due, run.patience).await;
            run.tally().end(due, Instant::now(), outcome);
        });
    }

    /// Completes when no request is open.
    async fn settled(&self) {
        const LOOK: Duration = Duration::from_millis(5);
        while self.tally().open() > 0 {
            tokio::time::sleep(LOOK).await;
        }
    }
}
