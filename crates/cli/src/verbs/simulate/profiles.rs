//! Configurations of a scheduler as policies to compare.

use std::path::Path;

use anyhow::{Context, bail};
use simulate::{Configuration, Profile};

use super::files;
use crate::Io;

/// A KubeSchedulerConfiguration under the name of its file.
pub(super) struct Named {
    pub(super) name: String,
    pub(super) profiles: Vec<Profile>,
}

/// Reads one; what it says in vain is told.
pub(super) fn read(path: &Path, io: &mut Io) -> anyhow::Result<Named> {
    let shown = path.display();
    let text = files::text(path)?;
    let value = serde_yaml_ng::from_str(&text).with_context(|| format!("read {shown}"))?;
    let Configuration { profiles, notes } = match Configuration::read(&value) {
        Ok(configuration) => configuration,
        Err(why) => bail!("{shown}: {why}"),
    };
    notes.iter().for_each(|note| io.tell(&format!("{shown}: {note}")));
    let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    Ok(Named { name, profiles })
}
