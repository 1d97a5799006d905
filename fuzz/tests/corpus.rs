//! The kept corpora and the seeds, replayed: what a fuzzing run once found stays found.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::path::Path;

use fuzz::{pack, targets};

#[test]
fn every_kept_input_passes() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    for target in targets() {
        let kept = pack::read(&folder, target.name).unwrap();
        for input in (target.seeds)().iter().chain(&kept) {
            (target.run)(input);
        }
    }
}

#[test]
fn every_target_has_seeds_and_a_name_of_its_own() {
    let all = targets();
    assert!(all.windows(2).all(|w| w[0].name < w[1].name), "in order, none twice");
    assert!(all.iter().all(|t| !(t.seeds)().is_empty()));
}

#[test]
fn kept_corpora_belong_to_targets_and_are_small() {
    const BYTES_MAX: u64 = 3 << 20;
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        assert!(fuzz::find(name.trim_end_matches(".pack")).is_some(), "{name} is nobody's");
        bytes += entry.metadata().unwrap().len();
    }
    assert!(bytes <= BYTES_MAX, "{bytes} bytes");
}
