//! Random sources: uids and generated names come from here, so that one seed decides them all.

use std::sync::atomic::{AtomicU64, Ordering};

/// A source of random numbers that can be shared.
pub trait Rng: Send + Sync {
    /// The next 64 random bits.
    fn next_u64(&self) -> u64;
}

/// SplitMix64: small, fast and reproducible; for simulation and for spreading, not for secrets.
pub struct SeededRng(AtomicU64);

impl SeededRng {
    /// A generator whose whole sequence is decided by `seed`.
    pub fn new(seed: u64) -> SeededRng {
        SeededRng(AtomicU64::new(seed))
    }
}

impl Rng for SeededRng {
    fn next_u64(&self) -> u64 {
        const GAMMA: u64 = 0x9E37_79B9_7F4A_7C15;
        let mut z = self.0.fetch_add(GAMMA, Ordering::Relaxed).wrapping_add(GAMMA);
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

/// A version 4 UUID in its usual form.
pub fn uid(rng: &dyn Rng) -> String {
    let (hi, lo) = (rng.next_u64(), rng.next_u64());
    format!(
        "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
        hi >> 32,
        (hi >> 16) & 0xffff,
        hi & 0xfff,
        (lo >> 48) & 0x3fff | 0x8000,
        lo & 0xffff_ffff_ffff
    )
}

/// Letters that Kubernetes uses for generated names: no vowels and nothing easily confused.
const NAME_LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// A suffix of `length` letters for `generateName` (Kubernetes uses 5).
pub fn name_suffix(rng: &dyn Rng, length: usize) -> String {
    let letters = NAME_LETTERS.len() as u64;
    (0..length).map(|_| char::from(NAME_LETTERS[(rng.next_u64() % letters) as usize])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_seed_gives_same_uid() {
        assert_eq!(uid(&SeededRng::new(7)), uid(&SeededRng::new(7)));
        assert_ne!(uid(&SeededRng::new(7)), uid(&SeededRng::new(8)));
    }

    #[test]
    fn uid_has_version_and_variant() {
        let id = uid(&SeededRng::new(1));
        assert_eq!(id.len(), 36);
        assert_eq!(&id[14..15], "4");
        assert!("89ab".contains(&id[19..20]));
    }

    #[test]
    fn name_suffix_keeps_to_its_alphabet() {
        let name = name_suffix(&SeededRng::new(3), 200);
        assert!(name.bytes().all(|b| NAME_LETTERS.contains(&b)));
    }
}
