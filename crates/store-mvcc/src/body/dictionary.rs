//! What stored objects have in common: texts that packed bodies refer to.
//!
//! A dictionary that was lost would take every body with it. These cannot be lost: they are compiled in, each under its number for
//! ever, and a test holds their checksums. A better one gets a new number, and bodies move to it as they are written again.
//!
//! The first was gathered from about 700 stored objects of 25 kinds, most of them pods, with all names, digests, addresses and times
//! replaced by random ones: of every stretch the passage whose ten-byte pieces occur in most objects, without what occurs in few.

use std::sync::LazyLock;

use super::squeeze::Places;

/// A dictionary made ready for packing.
pub(super) struct Dictionary {
    /// Its number for ever.
    pub(super) number: u8,
    /// Its text.
    pub(super) text: &'static [u8],
    /// Where which beginnings are in it.
    pub(super) places: Places,
}

const OBJECTS_1: &[u8] = include_bytes!("objects-1.dict");

static NEWEST: LazyLock<Dictionary> =
    LazyLock::new(|| Dictionary { number: 1, text: OBJECTS_1, places: Places::of(OBJECTS_1) });

/// The dictionary that new bodies refer to.
pub(super) fn newest() -> &'static Dictionary {
    &NEWEST
}

/// The text of a dictionary; nothing when this release does not have it.
pub(super) fn numbered(number: u8) -> Option<&'static [u8]> {
    match number {
        1 => Some(OBJECTS_1),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FNV-1a.
    fn checksum(text: &[u8]) -> u64 {
        text.iter()
            .fold(0xcbf2_9ce4_8422_2325, |sum, b| (sum ^ u64::from(*b)).wrapping_mul(0x0000_0100_0000_01b3))
    }

    #[test]
    fn a_dictionary_that_was_released_never_changes() {
        assert_eq!((OBJECTS_1.len(), checksum(OBJECTS_1)), (25_553, 0x6077_31e7_71d6_2a17));
    }

    #[test]
    fn the_newest_dictionary_can_be_read_back() {
        assert_eq!(numbered(newest().number), Some(newest().text));
    }
}
