//! Faults on purpose: what the engine must find, or its silence about the rest means nothing.
//!
//! `cargo xtask fuzz --prove` runs it over each and fails when one is not found. No list of targets has them.

use std::sync::Mutex;

use crate::targets::Target;

/// The planted faults.
pub fn targets() -> Vec<Target> {
    let of = |name, run| Target { name, run, seeds: || vec![b"{}".to_vec()], words: &[","] };
    vec![
        of("planted-panic", panic),
        of("planted-overflow", overflow),
        of("planted-time", time),
        of("planted-memory", memory),
        of("planted-unstable", unstable),
    ]
}

/// Reached only through four comparisons, one behind the other: chance does not get there, coverage does.
fn panic(data: &[u8]) {
    // A compiler may make one comparison out of four.
    let is = |at: usize, byte: u8| data.get(at) == Some(&byte) && std::hint::black_box(true);
    if is(0, b'k') && is(1, b'n') && is(2, b'a') && is(3, b'r') {
        panic!("planted");
    }
}

/// A length field that is believed.
fn overflow(data: &[u8]) {
    if let [b'v', length, rest @ ..] = data {
        let end = usize::from(*length);
        std::hint::black_box(&rest[..end.min(rest.len() + usize::from(end == 77))]);
    }
}

/// Quadratic in the number of commas: nobody sees it in a short input.
fn time(data: &[u8]) {
    let commas: Vec<usize> = (0..data.len()).filter(|i| data[*i] == b',').collect();
    let mut near = 0_u64;
    for a in &commas {
        for b in &commas {
            near += u64::from(std::hint::black_box(a.abs_diff(*b)) < 3);
        }
    }
    std::hint::black_box(near);
}

/// A number in the input says how much memory to take.
fn memory(data: &[u8]) {
    if let [b'm', size, ..] = data {
        std::hint::black_box(vec![0_u8; usize::from(*size) << 20]);
    }
}

/// What is read differs from what was written, for one value.
fn unstable(data: &[u8]) {
    static LAST: Mutex<u8> = Mutex::new(0);
    let written = data.first().copied().unwrap_or_default();
    *LAST.lock().expect("nobody panics while holding it") = if written == 0x7f { 0 } else { written };
    assert_eq!(*LAST.lock().expect("nobody panics while holding it"), written, "what is read was written");
}
