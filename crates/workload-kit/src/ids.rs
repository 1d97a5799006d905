//! Instance ids: the last part of a pod's name.

use sha2::{Digest, Sha256};

/// Length of an id.
pub const LENGTH: usize = 5;
/// Candidates looked at beyond those asked for, before fewer are given than wanted.
const SPARE_MAX: usize = 10_000;

/// `count` ids that are not taken, decided by `seed` alone: the same seed gives the same ids, so that a repeated plan
/// names the same pods, and ids that came into use since then are left out without changing the others.
pub fn fresh(seed: &str, count: usize, mut taken: impl FnMut(&str) -> bool) -> Vec<String> {
    let mut ids: Vec<String> = Vec::with_capacity(count);
    for k in 0..count.saturating_add(SPARE_MAX) {
        if ids.len() == count {
            break;
        }
        let id = nth(seed, k);
        if !taken(&id) && !ids.contains(&id) {
            ids.push(id);
        }
    }
    ids
}

fn nth(seed: &str, k: usize) -> String {
    const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let digest = Sha256::new().chain_update(seed).chain_update([0]).chain_update(k.to_le_bytes()).finalize();
    digest
        .chunks(4)
        .take(LENGTH)
        .map(|four| {
            let number = four.iter().fold(0_usize, |n, b| (n << 8) | usize::from(*b));
            char::from(LETTERS[number % LETTERS.len()])
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_ids_without_those_taken() {
        let all = fresh("uid/7", 20, |_| false);
        assert_eq!(all, fresh("uid/7", 20, |_| false));
        assert_ne!(all, fresh("uid/8", 20, |_| false));
        let rest = fresh("uid/7", 18, |id| id == all[0] || id == all[5]);
        assert!(rest.iter().all(|id| all.contains(id)) && rest.len() == 18);
        assert!(all.iter().all(|id| id.len() == LENGTH));
    }
}
