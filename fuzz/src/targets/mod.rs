//! The targets, by what they read.

mod apply;
mod cel;
mod client;
mod crd;
mod disk;
mod files;
mod json;
mod patch;
mod proto;
mod rbac;
mod server;
mod words;

/// One decoder, or a few that belong together.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Name, also of its corpus.
    pub name: &'static str,
    /// Takes any bytes. Panics when something does not hold that must.
    pub run: fn(&[u8]),
    /// Inputs to begin with: small, of every form that the target knows.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Words that a mutation may put in.
    pub words: &'static [&'static str],
}

/// All targets, in order of their names.
pub fn targets() -> Vec<Target> {
    let mut all = [
        apply::targets(),
        cel::targets(),
        client::targets(),
        crd::targets(),
        disk::targets(),
        files::targets(),
        json::targets(),
        patch::targets(),
        proto::targets(),
        rbac::targets(),
        server::targets(),
        words::targets(),
    ]
    .concat();
    all.sort_by_key(|t| t.name);
    all
}

/// A target by name; planted faults have names too.
pub fn find(name: &str) -> Option<Target> {
    targets().into_iter().chain(crate::planted::targets()).find(|t| t.name == name)
}

/// Seeds from texts.
fn seeds(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|t| t.as_bytes().to_vec()).collect()
}
