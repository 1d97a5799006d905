//! The server as its callers see it: who asks and what, one response back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use api_client::{Error, Request, Response, Transport};
use bytes::Bytes;
use http::Method;
use http::request::Parts;
use stdx::{BoxFuture, Env, Time};
use store::{Key, Store};
use tokio::sync::Semaphore;

use crate::alloc::Addresses;
use crate::answer;
use crate::audit::{AuditLog, Verdict};
use crate::auth::{Accounts, Authenticator};
use crate::cel::policy::Policies;
use crate::flow::Gate;
use crate::metrics::Metrics;
use crate::pipeline::{self, DefaultClass, Turnstiles};
use crate::refuse::Outcome;
use crate::registry::{ConvertFn, Facts, Registry, Served, Snapshot};
use crate::represent;
use crate::request::{Accept, Form, Offer, Query, Target};
use crate::settings::Settings;
use crate::webhook::{Caller, Index, Reach};
use crate::who::{Authorizer, User};

/// Answers paths that describe the API: discovery, OpenAPI.
pub trait Documents: Send + Sync {
    /// The answer, if the path is one of its own.
    fn answer(&self, registry: &Snapshot, request: &Request) -> Option<Response>;
}

/// Reaches the agents of nodes.
pub trait Nodes: Send + Sync {
    /// GET of a path on an agent, its stream passed on.
    fn get(&self, address: String, port: u16, path_and_query: String) -> BoxFuture<Result<Response, Error>>;
}

/// What `/version` tells.
#[derive(Clone, Debug)]
pub struct Version {
    /// Version of the API it claims, such as `v1.36.0+knarr`.
    pub git_version: String,
    /// Commit it was built from.
    pub git_commit: String,
    /// When it was built.
    pub build_date: String,
    /// Platform, such as `linux/amd64`.
    pub platform: String,
}

/// Figures of another component of this process, in Prometheus' text form.
pub type Figures = Arc<dyn Fn() -> String + Send + Sync>;

/// Files that belong into a backup beside the objects, as they are now.
pub type Files = Box<dyn Fn() -> std::io::Result<Vec<store::Attachment>> + Send + Sync>;

/// Everything a server is made of.
pub struct Config {
    /// Where objects live.
    pub store: Store,
    /// Clock, randomness, tasks.
    pub env: Env,
    /// What is served.
    pub registry: Arc<Registry>,
    /// Who may do what.
    pub authorizer: Arc<dyn Authorizer>,
    /// In-process conversions of custom kinds by `plural.group`.
    pub converters: BTreeMap<String, ConvertFn>,
    /// Behaviour of custom kinds that this process knows, by `plural.group`.
    pub facts: BTreeMap<String, &'static Facts>,
    /// Discovery and OpenAPI.
    pub documents: Vec<Arc<dyn Documents>>,
    /// The way to node agents.
    pub nodes: Arc<dyn Nodes>,
    /// What `/version` tells.
    pub version: Version,
    /// Addresses of Services.
    pub services: ServiceRange,
    /// Bounds.
    pub limits: Limits,
}

/// Where Services get their addresses and ports.
#[derive(Clone, Copy, Debug)]
pub struct ServiceRange {
    /// First address of the block.
    pub network: std::net::Ipv4Addr,
    /// Length of its prefix.
    pub prefix: u8,
    /// First and last node port.
    pub node_ports: (u16, u16),
    /// Where this server listens, for the `kubernetes` Service and its endpoints.
    pub server: (std::net::Ipv4Addr, u16),
}

/// What is protected from deletion while it is in use, beyond what is labelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protection {
    /// Namespaces with active pods or bound claims.
    Namespaces,
    /// Workloads that want replicas and have no owner.
    Workloads,
}

impl std::str::FromStr for Protection {
    type Err = String;

    fn from_str(text: &str) -> Result<Protection, String> {
        match text {
            "namespaces" => Ok(Protection::Namespaces),
            "workloads" => Ok(Protection::Workloads),
            other => Err(format!("{other:?} cannot be protected: choose from namespaces, workloads")),
        }
    }
}

/// Bounds of the server.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Seats that priority levels share: requests that run at one time, where a list may take several and watches take none.
    pub seats: usize,
    /// Lists that are encoded at one time.
    pub encoders: usize,
    /// Bytes of a body.
    pub body_bytes_max: usize,
    /// Items of a list that are encoded before the first byte is sent.
    pub list_chunk_items: usize,
    /// Which addresses webhooks may have.
    pub webhooks: Reach,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            seats: 600,
            encoders: 1,
            body_bytes_max: 3 << 20,
            list_chunk_items: 500,
            webhooks: Reach::default(),
        }
    }
}

/// How far a server is on its way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Departure {
    /// It stays.
    None,
    /// It is not ready any more, and answers all the same.
    Announced,
    /// Watches end; who asks for another one is better off elsewhere.
    Leaving,
}

/// Between two looks at memory.
const MEMORY_LOOK: Duration = Duration::from_millis(100);

/// How much memory there may be, and how much there is.
struct Memory {
    max: u64,
    used: Box<dyn Fn() -> u64 + Send + Sync>,
    /// When it was looked at last, and whether it was too much.
    look: Mutex<(Time, bool)>,
}

/// The API server; share it in an [`Arc`].
pub struct ApiServer {
    pub(crate) store: Store,
    pub(crate) env: Env,
    pub(crate) registry: Arc<Registry>,
    pub(crate) authorizer: Arc<dyn Authorizer>,
    pub(crate) converters: BTreeMap<String, ConvertFn>,
    pub(crate) facts: BTreeMap<String, &'static Facts>,
    pub(crate) documents: Vec<Arc<dyn Documents>>,
    pub(crate) nodes: Arc<dyn Nodes>,
    pub(crate) version: Version,
    pub(crate) limits: Limits,
    pub(crate) metrics: Metrics,
    pub(crate) addresses: Addresses,
    pub(crate) policies: Policies,
    pub(crate) encoded: represent::Encoded,
    /// The same of events in JSON.
    pub(crate) encoded_json: represent::Encoded,
    pub(crate) gate: Arc<Gate>,
    pub(crate) encoders: Semaphore,
    memory: OnceLock<Memory>,
    pub(crate) hooks: Index,
    pub(crate) caller: Arc<Caller>,
    pub(crate) turnstiles: Turnstiles,
    pub(crate) default_class: DefaultClass,
    audit_ids: AtomicU64,
    audit_log: OnceLock<AuditLog>,
    began: stdx::Time,
    figures: Mutex<Vec<Figures>>,
    files: OnceLock<Files>,
    protected: Mutex<BTreeSet<Protection>>,
    needs_accounts: AtomicBool,
    pub(crate) settings: Settings,
    departure: tokio::sync::watch::Sender<Departure>,
    authenticator: OnceLock<Arc<Authenticator>>,
}

impl ApiServer {
    /// A server over these parts. Call [`ApiServer::bootstrap`] once before the first request.
    pub fn new(config: Config) -> Arc<ApiServer> {
        config.store.keep_times(config.env.clock.clone());
        Arc::new(ApiServer {
            addresses: Addresses::new(config.services),
            gate: Arc::default(),
            encoders: Semaphore::new(config.limits.encoders.max(1)),
            memory: OnceLock::new(),
            metrics: Metrics::default(),
            policies: Policies::default(),
            encoded: represent::Encoded::default(),
            hooks: Index::default(),
            caller: Arc::new(Caller::new(config.store.clone(), config.env.clone(), config.limits.webhooks)),
            turnstiles: Turnstiles::default(),
            default_class: DefaultClass::default(),
            encoded_json: represent::Encoded::default(),
            audit_ids: AtomicU64::new(1),
            audit_log: OnceLock::new(),
            began: config.env.now(),
            figures: Mutex::default(),
            files: OnceLock::new(),
            protected: Mutex::default(),
            needs_accounts: AtomicBool::new(false),
            settings: Settings::default(),
            departure: tokio::sync::watch::Sender::new(Departure::None),
            authenticator: OnceLock::new(),
            store: config.store,
            env: config.env,
            registry: config.registry,
            authorizer: config.authorizer,
            converters: config.converters,
            facts: config.facts,
            documents: config.documents,
            nodes: config.nodes,
            version: config.version,
            limits: config.limits,
        })
    }

    /// Protects more from deletion than what is labelled, and definitions in use, which always are.
    pub fn protect(&self, what: impl IntoIterator<Item = Protection>) {
        self.protected.lock().unwrap_or_else(PoisonError::into_inner).extend(what);
    }

    /// Shows at `/readyz` that this server is about to go, so that nobody new is sent to it; everything is answered as before.
    pub fn announce_departure(&self) {
        self.departure.send_if_modified(|at| {
            let is_news = *at == Departure::None;
            *at = (*at).max(Departure::Announced);
            is_news
        });
    }

    /// Ends all watches from beyond this process, each with a last bookmark where it has asked for them: their clients go on elsewhere, or
    /// with the next process, where they left off.
    pub fn end_watches(&self) {
        self.departure.send_replace(Departure::Leaving);
    }

    pub(crate) fn departure(&self) -> tokio::sync::watch::Receiver<Departure> {
        self.departure.subscribe()
    }

    pub(crate) fn is_going(&self) -> bool {
        *self.departure.borrow() > Departure::None
    }

    /// Refuses pods whose service account is not there from now on, as upstream does: for a server beside which a controller makes
    /// the account `default` of every namespace.
    pub fn require_accounts(&self) {
        self.needs_accounts.store(true, Ordering::Relaxed);
    }

    pub(crate) fn needs_accounts(&self) -> bool {
        self.needs_accounts.load(Ordering::Relaxed)
    }

    /// Writes a line about every request from now on. Later calls change nothing.
    pub fn audit_to(&self, log: AuditLog) {
        let _ = self.audit_log.set(log);
    }

    pub(crate) fn audit_log(&self) -> Option<&AuditLog> {
        self.audit_log.get()
    }

    /// Believes whom `authenticator` believes when it is asked about tokens (TokenReview), and issues tokens of service accounts
    /// if that one knows them. Call once, before the first request; later calls change nothing.
    pub fn trust(&self, authenticator: Arc<Authenticator>) {
        let _ = self.authenticator.set(authenticator);
    }

    pub(crate) fn authenticator(&self) -> Option<&Authenticator> {
        self.authenticator.get().map(Arc::as_ref)
    }

    pub(crate) fn accounts(&self) -> Option<&Accounts> {
        self.authenticator()?.accounts()
    }

    pub(crate) fn protects(&self, what: Protection) -> bool {
        self.protected.lock().unwrap_or_else(PoisonError::into_inner).contains(&what)
    }

    /// Answers 429 to what needs memory while `used` gives more than `max` bytes. The first call counts.
    pub fn cap_memory(&self, max: u64, used: impl Fn() -> u64 + Send + Sync + 'static) {
        let look = Mutex::new((Time::default(), false));
        let _ = self.memory.set(Memory { max, used: Box::new(used), look });
    }

    /// Whether the cap is reached, as seen a moment ago at most.
    pub(crate) fn is_short_of_memory(&self) -> bool {
        let Some(memory) = self.memory.get() else { return false };
        let now = self.env.now();
        let mut look = memory.look.lock().unwrap_or_else(PoisonError::into_inner);
        if now.since(look.0) >= MEMORY_LOOK {
            *look = (now, (memory.used)() > self.settings.memory_max().unwrap_or(memory.max));
        }
        look.1
    }

    /// Puts these files into backups that ask for keys. The first call counts.
    pub fn keep_in_backups(&self, files: Files) {
        let _ = self.files.set(files);
    }

    pub(crate) fn kept_files(&self) -> std::io::Result<Vec<store::Attachment>> {
        self.files.get().map_or(Ok(Vec::new()), |files| files())
    }

    /// Shows a component's figures at `/metrics` beside the server's own.
    pub fn add_figures(&self, figures: Figures) {
        self.figures.lock().unwrap_or_else(PoisonError::into_inner).push(figures);
    }

    pub(crate) fn further_figures(&self) -> String {
        let figures = self.figures.lock().unwrap_or_else(PoisonError::into_inner).clone();
        figures.iter().map(|f| f()).collect()
    }

    /// What is served.
    pub fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    /// Where objects live.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Clock, randomness, tasks.
    pub fn env(&self) -> &Env {
        &self.env
    }

    /// The in-process conversion of a custom resource (`plural.group`), if there is one.
    pub fn converter(&self, resource: &str) -> Option<ConvertFn> {
        self.converters.get(resource).copied()
    }

    /// Answers one request of an authenticated user.
    pub fn handle(self: &Arc<Self>, user: User, request: Request) -> BoxFuture<Response> {
        let server = self.clone();
        Box::pin(async move { server.serve(user, request).await })
    }

    /// A transport whose requests enter the pipeline right after the socket, as `user`.
    pub fn transport(self: &Arc<Self>, user: User) -> Arc<dyn Transport> {
        Arc::new(InProcess { server: self.clone(), user })
    }

    /// Answers a request that is refused before it is known who sent it, or what: counted and told like others.
    pub fn refuse(
        self: &Arc<Self>,
        user: Option<User>,
        mut request: Request,
        status: api_meta::Status,
    ) -> BoxFuture<Response> {
        request.extensions_mut().insert(EarlyRefusal(status));
        self.handle(user.unwrap_or_default(), request)
    }

    async fn serve(self: Arc<Self>, user: User, request: Request) -> Response {
        let started = self.env.now();
        let (head, body) = request.into_parts();
        let mut call = Call::new(self.clone(), user, head, body);
        let _inflight = self.metrics.enter(&call);
        pipeline::received(&call, started);
        let outcome = match call.early_refusal() {
            Some(status) => Err(status.clone().into()),
            None => pipeline::run(&mut call).await,
        };
        let (mut response, refused) = match outcome {
            Ok(response) => (response, None),
            Err(refusal) => (answer::refusal(&refusal, call.refusal_form()), Some(refusal.status)),
        };
        let warnings = std::mem::take(&mut *call.warnings());
        answer::warn(response.headers_mut(), &warnings);
        if let Some((schema, level)) = call.flow.get() {
            answer::flow(response.headers_mut(), schema, level);
        }
        pipeline::audit(&call, &mut response, refused.as_ref(), started);
        response
    }

    /// A name for a request in the form of a uid: when this server began, and a running number. Nothing random, because a
    /// request must not change what the environment's generator gives next.
    pub(crate) fn next_audit_id(&self) -> String {
        let (began, number) = (self.began.micros(), self.audit_ids.fetch_add(1, Ordering::Relaxed));
        let part = |shift: u32, mask: i64| (began >> shift) & mask;
        format!(
            "{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
            part(22, 0xffff_ffff),
            part(6, 0xffff),
            part(0, 0x3f),
            number >> 48 & 0xfff,
            number & 0xffff_ffff_ffff
        )
    }
}

/// Why a request is refused before the first stage, among its extensions.
#[derive(Clone, Debug)]
struct EarlyRefusal(api_meta::Status);

struct InProcess {
    server: Arc<ApiServer>,
    user: User,
}

impl Transport for InProcess {
    fn send(&self, request: Request) -> BoxFuture<Result<Response, Error>> {
        let answer = self.server.handle(self.user.clone(), request);
        Box::pin(async move { Ok(answer.await) })
    }
}

/// One request with everything the stages need to know about it.
pub(crate) struct Call {
    pub(crate) server: Arc<ApiServer>,
    pub(crate) user: User,
    pub(crate) head: Parts,
    pub(crate) body: Bytes,
    pub(crate) target: Target,
    pub(crate) query: Query,
    pub(crate) verb: &'static str,
    /// Who sent it, when that one acts as `user`.
    pub(crate) caller: Option<User>,
    pub(crate) accept: Outcome<Accept>,
    pub(crate) snapshot: Arc<Snapshot>,
    warnings: Mutex<Vec<String>>,
    notes: Mutex<BTreeMap<String, String>>,
    /// Identities of its FlowSchema and priority level, once it has passed the gate.
    flow: OnceLock<(Arc<str>, Arc<str>)>,
    id: OnceLock<String>,
    /// What the audit log wants to know of it.
    verdict: OnceLock<Verdict>,
    /// Microseconds spent in webhooks.
    pub(crate) webhook_micros: AtomicU64,
    is_denied: AtomicBool,
}

/// What the client accepts.
fn accepted(head: &Parts) -> &str {
    head.headers.get(http::header::ACCEPT).and_then(|v| v.to_str().ok()).unwrap_or_default()
}

impl Call {
    fn new(server: Arc<ApiServer>, user: User, head: Parts, body: Bytes) -> Call {
        let target = Target::parse(head.uri.path());
        let query = Query::parse(head.uri.query().unwrap_or_default());
        let verb = target.verb(&head.method, query.flag("watch"));
        let snapshot = server.registry.snapshot();
        let served = snapshot.get(&target.group, &target.version, &target.resource);
        let offer = if served.is_some_and(|s| s.is_custom()) { Offer::Custom } else { Offer::Builtin };
        let accept = Accept::choose(accepted(&head), query.flag("pretty"), offer);
        let (caller, warnings, notes) = (None, Mutex::default(), Mutex::default());
        let flow = OnceLock::new();
        Call {
            server,
            user,
            head,
            body,
            target,
            query,
            verb,
            caller,
            accept,
            snapshot,
            warnings,
            notes,
            flow,
            id: OnceLock::new(),
            verdict: OnceLock::new(),
            webhook_micros: AtomicU64::new(0),
            is_denied: AtomicBool::new(false),
        }
    }

    /// Remembers that its user may not do this.
    pub(crate) fn deny(&self) {
        self.is_denied.store(true, Ordering::Relaxed);
    }

    /// Whether its user may not do this.
    pub(crate) fn denied(&self) -> bool {
        self.is_denied.load(Ordering::Relaxed)
    }

    /// The name of the request in answers and logs.
    pub(crate) fn id(&self) -> &str {
        self.id.get_or_init(|| pipeline::id(self))
    }

    /// Keeps what the audit log wants to know.
    pub(crate) fn tell(&self, verdict: Verdict) {
        let _ = self.verdict.set(verdict);
    }

    /// What the audit log wants to know, if there is one.
    pub(crate) fn verdict(&self) -> Option<&Verdict> {
        self.verdict.get()
    }

    /// Why it is refused before the first stage, if it is.
    pub(crate) fn early_refusal(&self) -> Option<&api_meta::Status> {
        self.head.extensions.get::<EarlyRefusal>().map(|refusal| &refusal.0)
    }

    /// The same request as if it had been sent to another namespace.
    pub(crate) fn within(&self, namespace: &str) -> Call {
        let target = Target { namespace: namespace.to_owned(), ..self.target.clone() };
        Call {
            server: self.server.clone(),
            user: self.user.clone(),
            head: self.head.clone(),
            body: Bytes::new(),
            target,
            query: self.query.clone(),
            verb: self.verb,
            caller: self.caller.clone(),
            accept: Ok(Accept::default()),
            snapshot: self.snapshot.clone(),
            warnings: Mutex::default(),
            notes: Mutex::default(),
            flow: OnceLock::new(),
            id: self.id.clone(),
            verdict: OnceLock::new(),
            webhook_micros: AtomicU64::new(0),
            is_denied: AtomicBool::new(false),
        }
    }

    pub(crate) fn set_flow(&self, uids: (Arc<str>, Arc<str>)) {
        let _ = self.flow.set(uids);
    }

    pub(crate) fn warnings(&self) -> std::sync::MutexGuard<'_, Vec<String>> {
        self.warnings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn warn(&self, text: impl Into<String>) {
        let text = text.into();
        let mut all = self.warnings();
        if !all.contains(&text) {
            all.push(text);
        }
    }

    /// Notes something for the audit log; the first word on a matter stands.
    pub(crate) fn note(&self, key: String, text: String) {
        self.notes().entry(key).or_insert(text);
    }

    pub(crate) fn notes(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, String>> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn method(&self) -> &Method {
        &self.head.method
    }

    /// A header as text; empty when absent.
    pub(crate) fn header(&self, name: http::HeaderName) -> &str {
        self.head.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or_default()
    }

    /// The form of a refusal.
    fn refusal_form(&self) -> Form {
        Accept::of_refusal(accepted(&self.head), self.query.flag("pretty"))
    }

    /// The form of the answer; refused when the client accepts none that we have.
    pub(crate) fn accepted(&self) -> Outcome<Accept> {
        match &self.accept {
            Ok(accept) => Ok(*accept),
            Err(refusal) => Err(refusal.status.clone().into()),
        }
    }

    /// The key of the object a request is about.
    pub(crate) fn key(&self, served: &Served) -> Key {
        self.key_of(served, &self.target.name)
    }

    /// The key of an object in the namespace of the request.
    pub(crate) fn key_of(&self, served: &Served, name: &str) -> Key {
        Key {
            resource: served.storage_key.clone(),
            namespace: self.namespace(served).into(),
            name: name.into(),
        }
    }

    /// The namespace of the request; empty for cluster-wide kinds.
    pub(crate) fn namespace(&self, served: &Served) -> &str {
        if served.resource.namespaced { &self.target.namespace } else { "" }
    }

    /// Who writes, for managed fields: the parameter, or the first word of the user agent.
    pub(crate) fn manager(&self) -> String {
        let given = self.query.get("fieldManager");
        if !given.is_empty() {
            return given.to_owned();
        }
        let agent = self.header(http::header::USER_AGENT);
        let name = agent.split('/').next().unwrap_or_default();
        let name = if name.is_empty() { "unknown" } else { name };
        name.chars().filter(|c| !c.is_control()).take(128).collect()
    }
}
