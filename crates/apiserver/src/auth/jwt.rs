//! Signed tokens: JSON web tokens with ES256, and nothing else.
//!
//! No other algorithm is accepted, whatever a token's head says. The head may only name one of the keys that are known: the one that
//! signs, or one that did so before.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, UnparsedPublicKey,
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Longest token that is looked at; ours have about a thousand bytes.
const TOKEN_BYTES_MAX: usize = 16 << 10;
/// What stands before the point of a P-256 key in its `SubjectPublicKeyInfo` (RFC 5480).
const POINT_HEAD: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
    0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// A key that cannot sign.
#[derive(Debug, thiserror::Error)]
#[error("use the key of service account tokens: {0}")]
pub struct KeyError(String);

/// The key that signs tokens and knows its own.
pub(super) struct Signer {
    key: EcdsaKeyPair,
    id: String,
}

fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

impl Signer {
    /// From a P-256 key in PKCS #8.
    pub(super) fn new(pkcs8: &[u8]) -> Result<Signer, KeyError> {
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8, &SystemRandom::new())
            .map_err(|e| KeyError(e.to_string()))?;
        // The digest of the public key, as upstream names its keys.
        let id = encode(Sha256::new().chain_update(POINT_HEAD).chain_update(key.public_key()).finalize());
        Ok(Signer { key, id })
    }

    /// The claims as a signed token; `None` when the machine has no randomness to sign with.
    pub(super) fn sign(&self, claims: &Value) -> Option<String> {
        let head = json!({"alg": "ES256", "kid": self.id});
        let signed = format!("{}.{}", encode(head.to_string()), encode(claims.to_string()));
        let signature = self.key.sign(&SystemRandom::new(), signed.as_bytes()).ok()?;
        Some(format!("{signed}.{}", encode(signature)))
    }

    /// The claims of a token that this key signed.
    fn open(&self, token: &str) -> Option<Value> {
        if token.len() > TOKEN_BYTES_MAX {
            return None;
        }
        let (signed, signature) = token.rsplit_once('.')?;
        let (head, claims) = signed.split_once('.')?;
        let plain = |part: &str| URL_SAFE_NO_PAD.decode(part).ok();
        let head: Value = serde_json::from_slice(&plain(head)?).ok()?;
        if head["alg"] != "ES256" || head["kid"] != self.id.as_str() {
            return None;
        }
        let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, self.key.public_key());
        public.verify(signed.as_bytes(), &plain(signature)?).ok()?;
        serde_json::from_slice(&plain(claims)?).ok()
    }

    /// The public key as a JSON web key.
    fn public(&self) -> Value {
        // An uncompressed point: 4, x, y.
        let point = self.key.public_key().as_ref();
        let (x, y) = (encode(&point[1..33]), encode(&point[33..65]));
        json!({"use": "sig", "kty": "EC", "kid": self.id, "crv": "P-256", "alg": "ES256", "x": x, "y": y})
    }
}

/// The key that signs, and those that did before and whose tokens still count.
pub(super) struct Ring {
    signs: Signer,
    older: Vec<Signer>,
}

impl Ring {
    /// From P-256 keys in PKCS #8.
    pub(super) fn new<'k>(signs: &[u8], older: impl IntoIterator<Item = &'k [u8]>) -> Result<Ring, KeyError> {
        let signs = Signer::new(signs)?;
        let older: Result<Vec<Signer>, KeyError> = older.into_iter().map(Signer::new).collect();
        let older = older?.into_iter().filter(|key| key.id != signs.id).collect();
        Ok(Ring { signs, older })
    }

    /// The claims as a signed token; `None` when the machine has no randomness to sign with.
    pub(super) fn sign(&self, claims: &Value) -> Option<String> {
        self.signs.sign(claims)
    }

    /// The claims of a token that one of the keys signed.
    pub(super) fn open(&self, token: &str) -> Option<Value> {
        std::iter::once(&self.signs).chain(&self.older).find_map(|key| key.open(token))
    }

    /// All public keys as a JSON web key set; that of the key that signs comes first.
    pub(super) fn key_set(&self) -> Value {
        let keys: Vec<Value> = std::iter::once(&self.signs).chain(&self.older).map(Signer::public).collect();
        json!({ "keys": keys })
    }
}

#[cfg(test)]
pub(super) fn test_key() -> Vec<u8> {
    let made = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new());
    made.expect("keys can be made in tests").as_ref().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_this_key_signed_opens() {
        let (mine, other) = (Signer::new(&test_key()).unwrap(), Signer::new(&test_key()).unwrap());
        let claims = json!({"sub": "a"});
        let token = mine.sign(&claims).unwrap();
        assert_eq!(mine.open(&token), Some(claims));
        assert_eq!(other.open(&token), None);
        let parts: Vec<&str> = token.split('.').collect();
        let forged = encode(json!({"sub": "admin"}).to_string());
        assert_eq!(mine.open(&format!("{}.{forged}.{}", parts[0], parts[2])), None);
        for head in [json!({"alg": "none"}), json!({"alg": "HS256"})] {
            let head = encode(head.to_string());
            assert_eq!(mine.open(&format!("{head}.{}.{}", parts[1], parts[2])), None);
            assert_eq!(mine.open(&format!("{head}.{}.", parts[1])), None);
        }
        for noise in ["", ".", "..", "a.b.c", "secret-token"] {
            assert_eq!(mine.open(noise), None, "{noise}");
        }
    }

    #[test]
    fn a_key_has_one_name_and_shows_its_public_half_alone() {
        let key = test_key();
        let set = || Ring::new(&key, [key.as_slice()]).unwrap().key_set();
        let (one, two) = (set(), set());
        assert_eq!(one, two);
        assert_eq!(one["keys"].as_array().unwrap().len(), 1, "a key is not older than itself");
        assert_eq!(one["keys"][0]["kid"].as_str().unwrap().len(), 43);
        assert!(one["keys"][0].get("d").is_none());
    }

    #[test]
    fn an_older_key_opens_what_it_signed_and_signs_no_more() {
        let (old, new) = (test_key(), test_key());
        let before = Ring::new(&old, []).unwrap();
        let token = before.sign(&json!({"sub": "a"})).unwrap();
        let after = Ring::new(&new, [old.as_slice()]).unwrap();
        assert_eq!(after.open(&token), Some(json!({"sub": "a"})));
        let later = after.sign(&json!({"sub": "b"})).unwrap();
        assert_eq!(before.open(&later), None);
        let names = |ring: &Ring| -> Vec<Value> {
            ring.key_set()["keys"].as_array().unwrap().iter().map(|k| k["kid"].clone()).collect()
        };
        assert_eq!(names(&after)[1..], names(&before));
        assert_eq!(Ring::new(&new, []).unwrap().open(&token), None);
    }
}
