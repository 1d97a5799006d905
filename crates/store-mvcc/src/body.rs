//! Bodies as they rest in memory and on disk: compressed where that pays.

use bytes::Bytes;

/// Smallest body worth compressing.
const COMPRESS_MIN: usize = 256;
/// Largest plain body; the API accepts far less, so a greater stated size is damage.
const BODY_BYTES_MAX: usize = 64 << 20;

/// The bytes of an object, perhaps compressed; cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Body {
    packed: Bytes,
}

const RAW: u8 = 0;
const LZ4: u8 = 1;

impl Body {
    /// Packs plain bytes.
    pub fn pack(plain: &[u8]) -> Body {
        if plain.len() >= COMPRESS_MIN {
            let squeezed = lz4_flex::compress_prepend_size(plain);
            if squeezed.len() < plain.len() {
                return Body { packed: [&[LZ4], squeezed.as_slice()].concat().into() };
            }
        }
        Body { packed: [&[RAW], plain].concat().into() }
    }

    /// The plain bytes.
    ///
    /// # Errors
    /// When the packed form is damaged, which checksums below this layer should have caught.
    pub fn unpack(&self) -> Result<Bytes, Damaged> {
        match self.packed.first() {
            Some(&RAW) => Ok(self.packed.slice(1..)),
            Some(&LZ4) => {
                let (size, block) =
                    lz4_flex::block::uncompressed_size(&self.packed[1..]).map_err(|_| Damaged)?;
                if size > BODY_BYTES_MAX {
                    return Err(Damaged);
                }
                let plain = lz4_flex::decompress(block, size).map_err(|_| Damaged)?;
                if plain.len() == size { Ok(plain.into()) } else { Err(Damaged) }
            }
            _ => Err(Damaged),
        }
    }

    /// The form that rests on disk.
    pub fn packed(&self) -> &Bytes {
        &self.packed
    }

    /// Takes back what [`Body::packed`] gave.
    pub fn from_packed(packed: Bytes) -> Body {
        Body { packed }
    }
}

/// A packed body that cannot be unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("stored body is damaged")]
pub struct Damaged;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unpack_gives_back_what_was_packed() {
        for plain in [Vec::new(), b"{}".to_vec(), b"abc".repeat(1000), (0..=255).collect()] {
            let body = Body::pack(&plain);
            assert_eq!(body.unpack().unwrap(), plain);
            assert_eq!(Body::from_packed(body.packed().clone()), body);
        }
    }

    #[test]
    fn damage_is_an_error() {
        assert!(Body::from_packed(Bytes::from_static(&[1, 255, 255, 255, 127, 0])).unpack().is_err());
        assert!(Body::from_packed(Bytes::new()).unpack().is_err());
    }
}
