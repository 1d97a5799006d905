//! Tokens of service accounts: issued for an audience and a time, bound to an object, believed as long as all of it exists.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use serde_json::{Map, Value, json};
use stdx::Env;
use store::{Key, Store};

use super::jwt::{KeyError, Ring};
use crate::stored;
use crate::who::User;

/// How far clocks of other machines may be off.
const LEEWAY: Duration = Duration::from_secs(60);

/// Names that tokens carry and that others may look up.
#[derive(Clone, Debug)]
pub struct Issuer {
    /// Name of the issuer, a URL; also the audience of tokens that name none.
    pub name: String,
    /// Where its public key can be read.
    pub keys_url: String,
}

/// Issues and knows tokens of service accounts.
pub struct Accounts {
    store: Store,
    env: Env,
    ring: RwLock<Arc<Ring>>,
    issuer: Issuer,
}

/// An object that a token ends with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bound {
    pub(crate) name: String,
    pub(crate) uid: String,
}

/// What a token is issued for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Grant<'a> {
    pub(crate) namespace: &'a str,
    pub(crate) account: &'a str,
    pub(crate) uid: &'a str,
    pub(crate) pod: Option<Bound>,
    pub(crate) secret: Option<Bound>,
    pub(crate) node: Option<Bound>,
    pub(crate) audiences: Vec<String>,
    pub(crate) life: Duration,
}

/// A believed token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) user: User,
    /// Those of the audiences asked for that the token is meant for.
    pub(crate) audiences: Vec<String>,
}

impl Accounts {
    /// Tokens about the objects of `store`, signed with a P-256 key in PKCS #8.
    ///
    /// # Errors
    /// When the key cannot be used.
    pub fn new(store: Store, env: Env, pkcs8: &[u8], issuer: Issuer) -> Result<Accounts, KeyError> {
        Ok(Accounts { store, env, ring: RwLock::new(Arc::new(Ring::new(pkcs8, [])?)), issuer })
    }

    /// Signs with another key from now on; tokens of the older ones are still believed, and all are shown to others.
    ///
    /// # Errors
    /// When one of the keys cannot be used; then nothing changes.
    pub fn replace_keys(&self, pkcs8: &[u8], older: &[&[u8]]) -> Result<(), KeyError> {
        let ring = Arc::new(Ring::new(pkcs8, older.iter().copied())?);
        *self.ring.write().unwrap_or_else(PoisonError::into_inner) = ring;
        Ok(())
    }

    fn ring(&self) -> Arc<Ring> {
        self.ring.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The audiences of this server: of tokens that name none, and those that its own requests must be for.
    pub(crate) fn audiences(&self) -> Vec<String> {
        vec![self.issuer.name.clone()]
    }

    /// Signs a token; `None` when the machine has no randomness to sign with.
    pub(crate) fn issue(&self, grant: &Grant<'_>) -> Option<String> {
        let now = self.env.now();
        let bound = |to: &Bound| json!({"name": to.name, "uid": to.uid});
        let mut about = Map::new();
        about.insert("namespace".into(), grant.namespace.into());
        about.insert("serviceaccount".into(), json!({"name": grant.account, "uid": grant.uid}));
        for (key, to) in [("pod", &grant.pod), ("secret", &grant.secret), ("node", &grant.node)] {
            if let Some(to) = to {
                about.insert(key.into(), bound(to));
            }
        }
        self.ring().sign(&json!({
            "aud": grant.audiences,
            "exp": (now + grant.life).secs(),
            "iat": now.secs(),
            "iss": self.issuer.name,
            "jti": stdx::uid(&*self.env.rng),
            "kubernetes.io": about,
            "nbf": now.secs(),
            "sub": format!("system:serviceaccount:{}:{}", grant.namespace, grant.account),
        }))
    }

    /// Whose token this is, if it is one of ours, valid now, for one of these audiences, and its objects exist.
    pub(crate) fn know(&self, token: &str, audiences: &[String]) -> Option<Known> {
        let claims = self.ring().open(token)?;
        if claims["iss"] != self.issuer.name.as_str() || !self.is_valid_now(&claims) {
            return None;
        }
        let meant: Vec<&str> = claims["aud"].as_array()?.iter().filter_map(Value::as_str).collect();
        let audiences: Vec<String> =
            audiences.iter().filter(|a| meant.contains(&a.as_str())).cloned().collect();
        if audiences.is_empty() {
            return None;
        }
        let about = &claims["kubernetes.io"];
        self.exists(about).then(|| Known { user: user(about, &claims["jti"]), audiences })
    }

    fn is_valid_now(&self, claims: &Value) -> bool {
        let now = self.env.now();
        let at = |key: &str| claims[key].as_i64().map(stdx::Time::from_secs);
        at("exp").is_some_and(|end| now < end + LEEWAY) && at("nbf").is_some_and(|begin| begin < now + LEEWAY)
    }

    /// Whether the account and everything the token is bound to are still there and not on their way out.
    fn exists(&self, about: &Value) -> bool {
        let namespace = about["namespace"].as_str().unwrap_or_default();
        let is_pods = about["pod"].is_object();
        let is_there = |key: &str, resource: &str, namespace: &str| {
            let to = &about[key];
            to.is_null() || self.is_alive(&Key::new(resource, namespace, text(to, "name")), text(to, "uid"))
        };
        about["serviceaccount"].is_object()
            && is_there("serviceaccount", "serviceaccounts", namespace)
            && is_there("pod", "pods", namespace)
            && is_there("secret", "secrets", namespace)
            // The node of a pod is only told, the pod itself is what the token ends with.
            && (is_pods || is_there("node", "nodes", ""))
    }

    /// An object that is being deleted counts for a moment longer: its end may take a last request.
    fn is_alive(&self, key: &Key, uid: &str) -> bool {
        let Some(found) = self.store.get(key).filter(|found| found.row.uid == *uid) else { return false };
        let Ok(object) = stored::decode(&found) else { return false };
        let gone: Option<stdx::Time> =
            object["metadata"]["deletionTimestamp"].as_str().and_then(|t| t.parse().ok());
        gone.is_none_or(|gone| self.env.now() < gone + LEEWAY)
    }

    /// The public keys, as a JSON web key set.
    pub(crate) fn key_set(&self) -> Value {
        self.ring().key_set()
    }

    /// The discovery document of OpenID Connect.
    pub(crate) fn discovery(&self) -> Value {
        json!({
            "issuer": self.issuer.name,
            "jwks_uri": self.issuer.keys_url,
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"],
        })
    }
}

fn text<'a>(object: &'a Value, key: &str) -> &'a str {
    object[key].as_str().unwrap_or_default()
}

fn user(about: &Value, id: &Value) -> User {
    let (namespace, account) = (text(about, "namespace"), &about["serviceaccount"]);
    let name = format!("system:serviceaccount:{namespace}:{}", text(account, "name"));
    let own = format!("system:serviceaccounts:{namespace}");
    let mut user =
        User { uid: text(account, "uid").to_owned(), ..User::new(&name, &["system:serviceaccounts", &own]) };
    let credential = format!("JTI={}", id.as_str().unwrap_or_default());
    let mut tell = |key: &str, value: &str| {
        if !value.is_empty() {
            user.extra.insert(format!("authentication.kubernetes.io/{key}"), vec![value.to_owned()]);
        }
    };
    tell("credential-id", &credential);
    for kind in ["pod", "node"] {
        tell(&format!("{kind}-name"), text(&about[kind], "name"));
        tell(&format!("{kind}-uid"), text(&about[kind], "uid"));
    }
    user
}
