//! Images as entries of a catalogue: a name with its tag stands for a command of this machine.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// All images that can be run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Catalogue {
    /// Images by name and tag.
    pub images: BTreeMap<String, Image>,
}

/// What an image stands for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Image {
    /// Program and fixed arguments; the program is an absolute path or found in the standard directories.
    pub command: Vec<String>,
    /// Further arguments, replaced by the `args` of a container that has some.
    #[serde(default)]
    pub args: Vec<String>,
    /// Variables a container may override.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Whether a container may name another `command`, and an exec probe any: then the image is no boundary at all.
    #[serde(default)]
    pub allow_command: bool,
}

/// A catalogue that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CatalogueError {
    /// The file cannot be read.
    #[error("read catalogue {path}")]
    Read {
        /// Which file.
        path: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The file is not a catalogue.
    #[error("catalogue {path}: {why}")]
    Parse {
        /// Which file.
        path: String,
        /// What is wrong, with line and column.
        why: String,
    },
    /// An entry without a command.
    #[error(
        "catalogue {path}: image {image:?} has no command: give the program to run as `command: [PROGRAM, …]`"
    )]
    Empty {
        /// Which file.
        path: String,
        /// Which entry.
        image: String,
    },
}

impl Catalogue {
    /// The images every cluster has: the example shop, as `program` itself.
    pub fn builtin(program: &Path) -> Catalogue {
        let shop = |rest: &[&str]| Image {
            command: [program.to_string_lossy().as_ref(), "shop"]
                .iter()
                .chain(rest)
                .map(|t| (*t).to_owned())
                .collect(),
            ..Image::default()
        };
        let images = [
            ("knarr.dev/shop:v1", shop(&["--version", "v1"])),
            ("knarr.dev/shop:v2", shop(&["--version", "v2"])),
            ("knarr.dev/shop:v3", shop(&["--version", "v3"])),
            ("knarr.dev/shop:v3-broken", shop(&["--version", "v3-broken", "--fail-start"])),
        ];
        Catalogue { images: images.into_iter().map(|(name, image)| (name.to_owned(), image)).collect() }
    }

    /// Reads a catalogue in YAML or JSON and adds it; its entries win over those already there.
    ///
    /// # Errors
    /// When the file cannot be read, is no catalogue, or has an entry without a command.
    pub fn add_file(&mut self, path: &Path) -> Result<(), CatalogueError> {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path)
            .map_err(|source| CatalogueError::Read { path: name.clone(), source })?;
        let new: Catalogue = serde_yaml_ng::from_str(&text)
            .map_err(|e| CatalogueError::Parse { path: name.clone(), why: e.to_string() })?;
        if let Some((image, _)) = new.images.iter().find(|(_, entry)| entry.command.is_empty()) {
            return Err(CatalogueError::Empty { path: name, image: image.clone() });
        }
        self.images.extend(new.images);
        Ok(())
    }

    /// The entry of an image; a name without a tag means `latest`.
    pub fn find(&self, image: &str) -> Option<&Image> {
        let is_tagged = image.rsplit('/').next().is_some_and(|last| last.contains([':', '@']));
        if is_tagged {
            self.images.get(image)
        } else {
            self.images.get(&format!("{image}:latest")).or_else(|| self.images.get(image))
        }
    }
}

impl Image {
    /// The identity of what would run: another command is another image.
    pub(crate) fn id(&self, name: &str) -> String {
        let mut hash = Sha256::new();
        hash.update(name);
        hash.update(serde_json::to_vec(self).expect("an entry is plain data"));
        format!("process://sha256:{}", hex(&hash.finalize()))
    }
}

/// The identity of one instance.
pub(crate) fn instance_id(uid: &str, container: &str, attempt: u32) -> String {
    format!("process://{}", hex(&Sha256::digest(format!("{uid}/{container}/{attempt}"))))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_found_by_name_and_tag() {
        let mut catalogue = Catalogue::builtin(Path::new("/bin/knarr"));
        assert_eq!(
            catalogue.find("knarr.dev/shop:v2").map(|i| i.command.join(" ")).as_deref(),
            Some("/bin/knarr shop --version v2")
        );
        assert_eq!(catalogue.find("knarr.dev/shop:v9"), None);
        assert_eq!(catalogue.find("knarr.dev/shop"), None);
        catalogue.images.insert("tool:latest".into(), Image::default());
        assert!(catalogue.find("tool").is_some());
    }

    #[test]
    fn two_versions_have_two_identities() {
        let catalogue = Catalogue::builtin(Path::new("/bin/knarr"));
        let id = |name: &str| catalogue.images[name].id(name);
        assert_ne!(id("knarr.dev/shop:v1"), id("knarr.dev/shop:v2"));
    }

    #[test]
    fn a_bad_catalogue_is_named_with_its_place() {
        let dir = std::env::temp_dir().join(format!("knarr-catalogue-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.join("c.yaml");
        let mut catalogue = Catalogue::default();
        std::fs::write(&path, "images:\n  a:1: {comand: [x]}\n").unwrap();
        let error = catalogue.add_file(&path).unwrap_err().to_string();
        assert!(error.contains("comand") && error.contains("line 2"), "{error}");
        std::fs::write(&path, "images:\n  a:1: {command: []}\n").unwrap();
        assert!(catalogue.add_file(&path).unwrap_err().to_string().contains("has no command"));
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
