//! Bodies as they rest in memory and on disk: compressed where that pays.
//!
//! ```text
//! form (u8), then
//!   RAW         the bytes
//!   LZ4         size (u32 LE), an LZ4 block                              written by format 1, still read
//!   DICTIONARY  number of the dictionary (u8), size (u32 LE), an LZ4 block that may refer to that dictionary
//! ```
//!
//! The dictionaries are part of the program ([`dictionary`]), so that none can be lost beside the data.

mod dictionary;
mod squeeze;

use std::sync::Arc;

use bytes::Bytes;

/// Smallest body worth compressing.
const COMPRESS_MIN: usize = 64;
/// Largest plain body; the API accepts far less, so a greater stated size is damage.
const BODY_BYTES_MAX: usize = 64 << 20;
/// An LZ4 block does not hold more for each of its bytes: a greater stated size is damage, and takes no memory.
const LZ4_RATIO_MAX: usize = 255;

/// The bytes of an object, perhaps compressed; cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body {
    packed: Arc<[u8]>,
}

const RAW: u8 = 0;
const LZ4: u8 = 1;
const DICTIONARY: u8 = 2;

impl Body {
    /// Packs plain bytes.
    pub fn pack(plain: &[u8]) -> Body {
        if plain.len() >= COMPRESS_MIN {
            let newest = dictionary::newest();
            let mut packed = Vec::with_capacity(64 + plain.len() / 3);
            packed.extend_from_slice(&[DICTIONARY, newest.number]);
            let size = u32::try_from(plain.len()).expect("bodies are far smaller than 4 GiB");
            packed.extend_from_slice(&size.to_le_bytes());
            squeeze::squeeze(plain, newest, &mut packed);
            if packed.len() <= plain.len() {
                return Body { packed: packed.into() };
            }
        }
        Body { packed: [&[RAW], plain].concat().into() }
    }

    /// The plain bytes.
    ///
    /// # Errors
    /// When the packed form is damaged, which checksums below this layer should have caught, or refers to a dictionary that this
    /// release does not have.
    pub fn unpack(&self) -> Result<Bytes, Damaged> {
        match self.packed.split_first().ok_or(Damaged)? {
            (&RAW, plain) => Ok(Bytes::copy_from_slice(plain)),
            (&LZ4, sized) => unpack_block(sized, &[]),
            (&DICTIONARY, numbered) => {
                let (number, sized) = numbered.split_first().ok_or(Damaged)?;
                unpack_block(sized, dictionary::numbered(*number).ok_or(Damaged)?)
            }
            _ => Err(Damaged),
        }
    }

    /// The form that rests on disk.
    pub fn packed(&self) -> &[u8] {
        &self.packed
    }

    /// Takes back what [`Body::packed`] gave.
    pub fn from_packed(packed: &[u8]) -> Body {
        Body { packed: packed.into() }
    }
}

/// Unpacks `size, block`.
fn unpack_block(sized: &[u8], dictionary: &[u8]) -> Result<Bytes, Damaged> {
    let (size, block) = lz4_flex::block::uncompressed_size(sized).map_err(|_| Damaged)?;
    if size > BODY_BYTES_MAX.min(block.len() * LZ4_RATIO_MAX) {
        return Err(Damaged);
    }
    let plain = lz4_flex::block::decompress_with_dict(block, size, dictionary).map_err(|_| Damaged)?;
    if plain.len() == size { Ok(plain.into()) } else { Err(Damaged) }
}

/// A packed body that cannot be unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("stored body is damaged")]
pub struct Damaged;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_size_that_its_block_cannot_hold_is_damage() {
        let zeros = Body::pack(&vec![0; 1 << 20]);
        assert_eq!(zeros.unpack().map(|plain| plain.len()), Ok(1 << 20));
        assert_eq!(Body::from_packed(b"\x01\x03\0\0\x03\0\0\0\x30").unpack(), Err(Damaged));
    }

    #[test]
    fn unpack_gives_back_what_was_packed() {
        let pod = br#"{"kind":"Pod","apiVersion":"v1","metadata":{"name":"a","namespace":"b"},"spec":{"restartPolicy":"Always"}}"#;
        for plain in [Vec::new(), b"{}".to_vec(), b"abc".repeat(1000), (0..=255).collect(), pod.to_vec()] {
            let body = Body::pack(&plain);
            assert_eq!(body.unpack().unwrap(), plain);
            assert_eq!(Body::from_packed(body.packed()), body);
        }
    }

    #[test]
    fn bodies_of_the_first_format_are_read() {
        let plain = b"abc".repeat(1000);
        let old = [&[LZ4][..], &lz4_flex::compress_prepend_size(&plain)].concat();
        assert_eq!(Body::from_packed(&old).unpack().unwrap(), plain);
    }

    #[test]
    fn damage_is_an_error() {
        assert!(Body::from_packed(&[LZ4, 255, 255, 255, 127, 0]).unpack().is_err());
        assert!(
            Body::from_packed(&[DICTIONARY, 200, 1, 0, 0, 0, 0x10, 7]).unpack().is_err(),
            "no such dictionary"
        );
        assert!(Body::from_packed(&[DICTIONARY]).unpack().is_err());
        assert!(Body::from_packed(&[]).unpack().is_err());
    }

    /// Texts with many repetitions, near and far, of each other and of what objects have in common.
    fn text() -> impl Strategy<Value = Vec<u8>> {
        let known = (0..20_000usize, 1..400usize).prop_map(|(at, length)| {
            let all = dictionary::numbered(1).unwrap();
            all[at.min(all.len())..(at + length).min(all.len())].to_vec()
        });
        let noise = prop::collection::vec(any::<u8>(), 0..60);
        let run = (any::<u8>(), 1..700usize).prop_map(|(byte, length)| vec![byte; length]);
        let piece = prop_oneof![known, noise, run];
        prop::collection::vec((piece, 1..4usize), 0..40)
            .prop_map(|pieces| pieces.into_iter().flat_map(|(piece, times)| piece.repeat(times)).collect())
    }

    proptest! {
        #[test]
        fn any_bytes_come_back(plain in text()) {
            let body = Body::pack(&plain);
            prop_assert_eq!(body.unpack().unwrap(), plain.clone());
            prop_assert!(body.packed().len() <= plain.len() + 1);
        }

        #[test]
        fn damaged_bodies_never_panic(plain in text(), at in any::<prop::sample::Index>(), bit in 0..8u8) {
            let mut packed = Body::pack(&plain).packed().to_vec();
            let at = at.index(packed.len());
            packed[at] ^= 1 << bit;
            let _ = Body::from_packed(&packed).unpack();
            let _ = Body::from_packed(&packed[..at]).unpack();
        }
    }

    #[test]
    fn repetitions_farther_than_an_offset_reaches_come_back() {
        let far: Vec<u8> = (0..40_000u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        let plain = [far.clone(), far].concat();
        assert_eq!(Body::pack(&plain).unpack().unwrap(), plain);
    }
}
