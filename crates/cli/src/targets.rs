//! Which objects the words after a verb mean: `pods`, `pod a b`, `pod/a svc/b`, `pods,services`, `all`.

use anyhow::bail;

use crate::{Catalogue, Entry};

/// One resource, and the objects of it that are meant: all when no name is given.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) entry: Entry,
    pub(crate) names: Vec<String>,
}

/// Reads the words.
pub(crate) fn parse(catalogue: &Catalogue, words: &[String]) -> anyhow::Result<Vec<Target>> {
    let Some((first, rest)) = words.split_first() else {
        bail!("say which objects: `pods`, `pod NAME`, or `pod/NAME`");
    };
    if words.iter().any(|w| w.contains('/')) {
        return by_slash(catalogue, words);
    }
    let mut targets: Vec<Target> = Vec::new();
    for word in first.split(',') {
        let category = catalogue.category(word);
        let entries = if category.is_empty() { vec![catalogue.word(word)?] } else { category };
        targets.extend(entries.into_iter().map(|e| Target { entry: e.clone(), names: rest.to_vec() }));
    }
    Ok(targets)
}

fn by_slash(catalogue: &Catalogue, words: &[String]) -> anyhow::Result<Vec<Target>> {
    let mut targets: Vec<Target> = Vec::new();
    for word in words {
        let Some((kind, name)) = word.split_once('/').filter(|(k, n)| !k.is_empty() && !n.is_empty()) else {
            bail!("{word:?}: there is no need to mix forms; write TYPE/NAME for every object, or TYPE NAME…");
        };
        let entry = catalogue.word(kind)?.clone();
        match targets.last_mut().filter(|t| t.entry.resource == entry.resource) {
            Some(last) => last.names.push(name.to_owned()),
            None => targets.push(Target { entry, names: vec![name.to_owned()] }),
        }
    }
    Ok(targets)
}
