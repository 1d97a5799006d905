//! Writes LZ4 blocks that refer to a dictionary whose places are known beforehand.
//!
//! The LZ4 library finds the places of a dictionary anew for every block, which costs more than the block itself. Here they are found
//! once. Matches are searched by their first eight and their first four bytes, in the block and in the dictionary, and a match gives
//! way to a longer one that begins a byte later. The block is an ordinary one: the library's decoder reads it.
//!
//! ```text
//! sequence = token (literals: 4 bits, match - 4: 4 bits) [more literals] literals  offset (u16 LE) [more match]
//! last sequence: literals only, at least five
//! ```

use super::dictionary::Dictionary;

/// Shortest match.
const MATCH_MIN: usize = 4;
/// The last bytes are always literals.
const LITERALS_LAST: usize = 5;
/// No match begins later than so many bytes before the end.
const MATCH_BEGIN_LAST: usize = 12;
/// How far back a match may lie, dictionary included.
const OFFSET_MAX: usize = u16::MAX as usize;
/// Searches without a match after which one more byte is skipped at each step.
const PATIENCE_BITS: u32 = 5;
/// A match so long is taken as it is.
const LONG_ENOUGH: usize = 32;

const BLOCK_BITS: u32 = 12;
const DICTIONARY_BITS: u32 = 14;

/// Where in the dictionary a beginning of four or eight bytes is.
pub(super) struct Places {
    by_four: Box<[u16; 1 << DICTIONARY_BITS]>,
    by_eight: Box<[u16; 1 << DICTIONARY_BITS]>,
}

/// No place in a dictionary.
const NOWHERE: u16 = u16::MAX;

impl Places {
    /// All places of a dictionary; those beyond the reach of an offset are left out.
    pub(super) fn of(text: &[u8]) -> Places {
        let none = || Box::new([NOWHERE; 1 << DICTIONARY_BITS]);
        let mut places = Places { by_four: none(), by_eight: none() };
        for (at, place) in (0..NOWHERE).enumerate().take(text.len().saturating_sub(8)) {
            let word = word(text, at);
            places.by_four[by_four::<DICTIONARY_BITS>(word)] = place;
            places.by_eight[by_eight::<DICTIONARY_BITS>(word)] = place;
        }
        places
    }
}

/// Where in the block a beginning was seen last; 0 is nowhere, places count from 1.
struct Seen {
    by_four: [u32; 1 << BLOCK_BITS],
    by_eight: [u32; 1 << BLOCK_BITS],
}

impl Seen {
    /// Notes the beginning at `at`, of which there must be eight bytes.
    #[inline]
    fn note(&mut self, text: &[u8], at: usize) {
        let word = word(text, at);
        let place = at as u32 + 1;
        self.by_four[by_four::<BLOCK_BITS>(word)] = place;
        self.by_eight[by_eight::<BLOCK_BITS>(word)] = place;
    }
}

/// The bucket of a beginning by its first four bytes.
#[inline]
fn by_four<const BITS: u32>(word: u64) -> usize {
    ((word << 32).wrapping_mul(0x9e37_79b1_85eb_ca87) >> (64 - BITS)) as usize
}

/// The bucket of a beginning by all its eight bytes.
#[inline]
fn by_eight<const BITS: u32>(word: u64) -> usize {
    (word.wrapping_mul(0xcf1b_bcdc_b7a5_6463) >> (64 - BITS)) as usize
}

/// Eight bytes as a number.
#[inline]
fn word(text: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(text[at..at + 8].try_into().expect("eight bytes"))
}

/// How many bytes two texts have in common at their beginnings.
#[inline]
fn common(a: &[u8], b: &[u8]) -> usize {
    let length = a.len().min(b.len());
    let mut at = 0;
    while at + 8 <= length {
        let difference = word(a, at) ^ word(b, at);
        if difference != 0 {
            return at + (difference.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    at + a[at..length].iter().zip(&b[at..length]).take_while(|(x, y)| x == y).count()
}

/// A repetition: so long, and so far back.
#[derive(Clone, Copy)]
struct Match {
    length: usize,
    offset: usize,
}

struct Squeeze<'a> {
    plain: &'a [u8],
    dictionary: &'a Dictionary,
    seen: Seen,
}

/// Appends `plain` as an LZ4 block that may refer to `dictionary`.
pub(super) fn squeeze(plain: &[u8], dictionary: &Dictionary, out: &mut Vec<u8>) {
    let mut squeeze = Squeeze {
        plain,
        dictionary,
        seen: Seen { by_four: [0; 1 << BLOCK_BITS], by_eight: [0; 1 << BLOCK_BITS] },
    };
    let last = plain.len().saturating_sub(MATCH_BEGIN_LAST);
    let (mut at, mut done, mut misses) = (0, 0, 0u32);
    while at < last {
        let Some((begin, found)) = squeeze.best_near(at, last) else {
            squeeze.seen.note(plain, at);
            at += 1 + (misses >> PATIENCE_BITS) as usize;
            misses += 1;
            continue;
        };
        let (begin, found) = squeeze.widened(begin, found, done);
        sequence(out, &plain[done..begin], Some(found));
        squeeze.note_all(at, begin + found.length, last);
        (at, done, misses) = (begin + found.length, begin + found.length, 0);
    }
    sequence(out, &plain[done..], None);
}

impl Squeeze<'_> {
    /// The match at `at`, or a better one that begins shortly after.
    fn best_near(&self, at: usize, last: usize) -> Option<(usize, Match)> {
        let mut best = (at, self.best(at)?);
        while best.1.length < LONG_ENOUGH && best.0 + 1 < last {
            match self.best(best.0 + 1) {
                Some(next) if next.length > best.1.length + 1 => best = (best.0 + 1, next),
                _ => break,
            }
        }
        Some(best)
    }

    /// The longest of the matches that are known to begin like what is at `at`: of eight bytes, or else of four.
    #[inline]
    fn best(&self, at: usize) -> Option<Match> {
        let word = word(self.plain, at);
        let places = &self.dictionary.places;
        longer(
            self.in_block(at, self.seen.by_eight[by_eight::<BLOCK_BITS>(word)]),
            self.in_dictionary(at, places.by_eight[by_eight::<DICTIONARY_BITS>(word)]),
        )
        .or_else(|| {
            longer(
                self.in_block(at, self.seen.by_four[by_four::<BLOCK_BITS>(word)]),
                self.in_dictionary(at, places.by_four[by_four::<DICTIONARY_BITS>(word)]),
            )
        })
    }

    #[inline]
    fn in_block(&self, at: usize, place: u32) -> Option<Match> {
        let place = (place as usize).checked_sub(1)?;
        let offset = at - place;
        if offset > OFFSET_MAX {
            return None;
        }
        let end = self.plain.len() - LITERALS_LAST;
        Match::of(common(&self.plain[place..], &self.plain[at..end]), offset)
    }

    #[inline]
    fn in_dictionary(&self, at: usize, place: u16) -> Option<Match> {
        let text = self.dictionary.text;
        let there = text.get(usize::from(place)..)?;
        let offset = at + there.len();
        if offset > OFFSET_MAX {
            return None;
        }
        let end = self.plain.len() - LITERALS_LAST;
        Match::of(common(there, &self.plain[at..end]), offset)
    }

    /// The match with what is also equal before it, as far back as `done`.
    fn widened(&self, mut begin: usize, mut found: Match, done: usize) -> (usize, Match) {
        let text = self.dictionary.text;
        // A match lies either in the block or in the dictionary; none runs from one into the other.
        let offset = found.offset;
        let before = |begin: usize| match begin.checked_sub(offset) {
            Some(place) => Some(self.plain[place.checked_sub(1)?]),
            None => text.get((text.len() + begin).checked_sub(offset + 1)?).copied(),
        };
        while begin > done && before(begin) == Some(self.plain[begin - 1]) {
            begin -= 1;
            found.length += 1;
        }
        (begin, found)
    }

    /// Notes beginnings within what was just written: the first ones, then every sixth.
    fn note_all(&mut self, from: usize, to: usize, last: usize) {
        let mut at = from;
        while at < to.min(last) {
            self.seen.note(self.plain, at);
            at += if at < from + 2 { 1 } else { 6 };
        }
    }
}

impl Match {
    fn of(length: usize, offset: usize) -> Option<Match> {
        (length >= MATCH_MIN).then_some(Match { length, offset })
    }
}

fn longer(a: Option<Match>, b: Option<Match>) -> Option<Match> {
    match (a, b) {
        (Some(a), Some(b)) if b.length > a.length => Some(b),
        (Some(a), _) => Some(a),
        (None, b) => b,
    }
}

/// Appends one sequence; without a match it is the last.
fn sequence(out: &mut Vec<u8>, literals: &[u8], found: Option<Match>) {
    let over = found.map_or(0, |m| m.length - MATCH_MIN);
    let nibble = |n: usize| u8::try_from(n.min(15)).expect("at most 15");
    out.push(nibble(literals.len()) << 4 | nibble(over));
    more(out, literals.len());
    out.extend_from_slice(literals);
    if let Some(found) = found {
        let offset = u16::try_from(found.offset).expect("searched within the reach of an offset");
        out.extend_from_slice(&offset.to_le_bytes());
        more(out, over);
    }
}

/// What of a length does not fit the token.
fn more(out: &mut Vec<u8>, length: usize) {
    let Some(mut rest) = length.checked_sub(15) else { return };
    while rest >= 255 {
        out.push(255);
        rest -= 255;
    }
    out.push(u8::try_from(rest).expect("below 255"));
}
