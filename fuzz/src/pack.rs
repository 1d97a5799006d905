//! Many small inputs in one file: `count (u32) | length (u32) bytes ...`, little-endian, the whole as an LZ4 block behind its size.
//!
//! One file per target keeps a repository of thousands of inputs small, and a change of a corpus one line in a log.

use std::path::Path;

/// Inputs of one target, in order.
pub type Corpus = Vec<Vec<u8>>;

/// Most plain bytes of a pack: no corpus is larger, so a greater stated size is damage.
const PLAIN_BYTES_MAX: usize = 16 << 20;

/// A pack that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damaged;

/// Packs inputs.
pub fn pack(inputs: &[Vec<u8>]) -> Vec<u8> {
    let mut plain = length(inputs.len()).to_vec();
    for input in inputs {
        plain.extend_from_slice(&length(input.len()));
        plain.extend_from_slice(input);
    }
    lz4_flex::block::compress_prepend_size(&plain)
}

fn length(n: usize) -> [u8; 4] {
    u32::try_from(n).expect("corpora are far smaller than 4 GiB").to_le_bytes()
}

/// Unpacks what [`pack`] gave.
///
/// # Errors
/// When it is something else.
pub fn unpack(packed: &[u8]) -> Result<Corpus, Damaged> {
    let (size, block) = lz4_flex::block::uncompressed_size(packed).map_err(|_| Damaged)?;
    if size > PLAIN_BYTES_MAX {
        return Err(Damaged);
    }
    let plain = lz4_flex::block::decompress(block, size).map_err(|_| Damaged)?;
    let mut rest = plain.as_slice();
    let number = |rest: &mut &[u8]| {
        let (head, tail) = rest.split_at_checked(4).ok_or(Damaged)?;
        *rest = tail;
        Ok(u32::from_le_bytes(head.try_into().expect("four bytes")) as usize)
    };
    let count = number(&mut rest)?;
    let mut inputs = Vec::new();
    for _ in 0..count {
        let length = number(&mut rest)?;
        let (input, tail) = rest.split_at_checked(length).ok_or(Damaged)?;
        inputs.push(input.to_vec());
        rest = tail;
    }
    if rest.is_empty() { Ok(inputs) } else { Err(Damaged) }
}

/// The kept corpus of a target in the folder of corpora; empty when there is none yet.
///
/// # Errors
/// When the file is there and damaged.
pub fn read(folder: &Path, target: &str) -> Result<Corpus, Damaged> {
    match std::fs::read(folder.join(format!("{target}.pack"))) {
        Ok(packed) => unpack(&packed),
        Err(_) => Ok(Corpus::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_corpus_comes_back_as_it_was_packed() {
        for corpus in [Corpus::new(), vec![Vec::new(), b"a".repeat(1000), vec![0, 255]]] {
            assert_eq!(unpack(&pack(&corpus)), Ok(corpus));
        }
    }

    #[test]
    fn a_damaged_pack_is_none() {
        let whole = pack(&[b"abc".to_vec(), b"def".to_vec()]);
        for end in 0..whole.len() {
            assert_eq!(unpack(&whole[..end]), Err(Damaged), "{end}");
        }
    }
}
