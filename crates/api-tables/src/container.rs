//! The binary: one compressed block of tables, then the compressed documents.
//!
//! ```text
//! "KNRT" version | u32 packed length | packed tables (lz4) | document | document | ...
//! ```

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use api_schema::{Schema, TypeId, Types};

use crate::codec::{CodecError, Reader, Writer};
use crate::rows::{Group, Kind, Subresource};
use crate::types;

const MAGIC: &[u8; 5] = b"KNRT\x01";

/// An OpenAPI v3 document, compressed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Path below `/openapi/v3/`, such as `apis/apps/v1`.
    pub path: String,
    /// Upper-case hex SHA-512 of the JSON text, the cache key in the index.
    pub hash: String,
    /// The JSON text in lz4 with its size in front.
    pub packed: std::borrow::Cow<'static, [u8]>,
}

impl Document {
    /// The JSON text.
    pub fn json(&self) -> Vec<u8> {
        lz4_flex::decompress_size_prepended(&self.packed).expect("checked in together with its size")
    }
}

/// All tables.
#[derive(Clone, Debug, Default)]
pub struct Tables {
    /// Every type.
    pub types: Arc<Types>,
    /// Types by their OpenAPI name, such as `io.k8s.api.core.v1.PodSpec`.
    pub names: BTreeMap<String, TypeId>,
    /// Whole-object types by group, version and kind; also bodies that are no resource, such as `DeleteOptions`.
    pub roots: BTreeMap<(String, String, String), TypeId>,
    /// Named groups, in the order of discovery.
    pub groups: Vec<Group>,
    /// Served resources, sorted by group, version, plural.
    pub kinds: Vec<Kind>,
    /// OpenAPI v3 documents, sorted by path.
    pub documents: Vec<Document>,
}

/// The tables that are compiled in.
pub fn tables() -> &'static Tables {
    static TABLES: LazyLock<Tables> = LazyLock::new(|| {
        Tables::decode(include_bytes!("generated/tables.bin"))
            .expect("`cargo xtask codegen --check` guards it")
    });
    &TABLES
}

impl Tables {
    /// The resource that serves a kind.
    pub fn kind(&self, group: &str, version: &str, kind: &str) -> Option<&Kind> {
        self.kinds.iter().find(|k| k.kind == kind && k.group == group && k.version == version)
    }

    /// The resource of a plural name.
    pub fn resource(&self, group: &str, version: &str, plural: &str) -> Option<&Kind> {
        let key = (group, version, plural);
        let found = self.kinds.binary_search_by(|k| (&*k.group, &*k.version, &*k.plural).cmp(&key));
        found.ok().map(|i| &self.kinds[i])
    }

    /// The type of a whole object or body.
    pub fn schema(&self, group: &str, version: &str, kind: &str) -> Option<Schema<'_>> {
        let key = (group.to_owned(), version.to_owned(), kind.to_owned());
        self.roots.get(&key).map(|root| self.schema_of(*root))
    }

    /// The type with these tables around it.
    pub fn schema_of(&self, root: TypeId) -> Schema<'_> {
        Schema { types: &self.types, root }
    }

    /// The OpenAPI v3 document of a path such as `api/v1` or `apis/apps/v1`.
    pub fn document(&self, path: &str) -> Option<&Document> {
        self.documents.binary_search_by(|d| d.path.as_str().cmp(path)).ok().map(|i| &self.documents[i])
    }

    /// Every served group and version, the core group first.
    pub fn group_versions(&self) -> Vec<(String, String)> {
        let named = self.groups.iter();
        let named = named.flat_map(|g| g.versions.iter().map(|v| (g.name.clone(), v.clone())));
        std::iter::once((String::new(), "v1".to_owned())).chain(named).collect()
    }

    /// The binary form.
    pub fn encode(&self) -> Vec<u8> {
        let mut w = Writer::default();
        types::write(&mut w, &self.types);
        self.write_rows(&mut w);
        let packed = lz4_flex::compress_prepend_size(&w.finish());
        let mut out = MAGIC.to_vec();
        out.extend_from_slice(&u32::try_from(packed.len()).expect("tables are small").to_le_bytes());
        out.extend_from_slice(&packed);
        self.documents.iter().for_each(|d| out.extend_from_slice(&d.packed));
        out
    }

    fn write_rows(&self, w: &mut Writer) {
        w.count(self.names.len());
        for (name, id) in &self.names {
            w.text(name);
            w.number(id.0);
        }
        w.count(self.roots.len());
        for ((group, version, kind), id) in &self.roots {
            [group, version, kind].into_iter().for_each(|s| w.text(s));
            w.number(id.0);
        }
        w.count(self.groups.len());
        for g in &self.groups {
            w.text(&g.name);
            w.texts(&g.versions);
        }
        w.count(self.kinds.len());
        self.kinds.iter().for_each(|k| write_kind(w, k));
        w.count(self.documents.len());
        for d in &self.documents {
            w.text(&d.path);
            w.text(&d.hash);
            w.count(d.packed.len());
        }
    }

    /// Reads the binary form. Documents borrow from it.
    pub fn decode(bytes: &'static [u8]) -> Result<Tables, CodecError> {
        let rest = bytes.strip_prefix(MAGIC).ok_or(CodecError::Bad("magic"))?;
        let (len, rest) = rest.split_at_checked(4).ok_or(CodecError::Truncated)?;
        let len = u32::from_le_bytes(len.try_into().expect("four bytes were split off")) as usize;
        let (packed, mut documents) = rest.split_at_checked(len).ok_or(CodecError::Truncated)?;
        let plain =
            lz4_flex::decompress_size_prepended(packed).map_err(|_| CodecError::Bad("compressed block"))?;
        let mut r = Reader::new(&plain)?;
        let mut tables = Tables { types: Arc::new(types::read(&mut r)?), ..Tables::default() };
        tables.read_rows(&mut r)?;
        for (path, hash, size) in r.list(|r| Ok((r.text()?, r.text()?, r.count()?)))? {
            let (packed, rest) = documents.split_at_checked(size).ok_or(CodecError::Truncated)?;
            documents = rest;
            tables.documents.push(Document { path, hash, packed: packed.into() });
        }
        Ok(tables)
    }

    fn read_rows(&mut self, r: &mut Reader<'_>) -> Result<(), CodecError> {
        self.names = r.list(|r| Ok((r.text()?, TypeId(r.number()?))))?.into_iter().collect();
        let roots = r.list(|r| Ok(((r.text()?, r.text()?, r.text()?), TypeId(r.number()?))))?;
        self.roots = roots.into_iter().collect();
        self.groups = r.list(|r| Ok(Group { name: r.text()?, versions: r.texts()? }))?;
        self.kinds = r.list(read_kind)?;
        Ok(())
    }
}

fn write_kind(w: &mut Writer, k: &Kind) {
    [&k.group, &k.version, &k.plural, &k.singular, &k.kind].into_iter().for_each(|s| w.text(s));
    w.flag(k.namespaced);
    [&k.verbs, &k.short_names, &k.categories].into_iter().for_each(|list| w.texts(list));
    w.number(k.root.0);
    w.text(&k.storage_version_hash);
    w.count(k.subresources.len());
    for s in &k.subresources {
        [&s.name, &s.group, &s.version, &s.kind].into_iter().for_each(|t| w.text(t));
        w.texts(&s.verbs);
        w.number(s.root.map_or(0, |id| id.0 + 1));
    }
}

fn read_kind(r: &mut Reader<'_>) -> Result<Kind, CodecError> {
    Ok(Kind {
        group: r.text()?,
        version: r.text()?,
        plural: r.text()?,
        singular: r.text()?,
        kind: r.text()?,
        namespaced: r.flag()?,
        verbs: r.texts()?,
        short_names: r.texts()?,
        categories: r.texts()?,
        root: TypeId(r.number()?),
        storage_version_hash: r.text()?,
        subresources: r.list(|r| {
            Ok(Subresource {
                name: r.text()?,
                group: r.text()?,
                version: r.text()?,
                kind: r.text()?,
                verbs: r.texts()?,
                root: r.number()?.checked_sub(1).map(TypeId),
            })
        })?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_type_and_every_group_version_its_document() {
        let t = tables();
        assert!(t.kinds.len() > 60, "{}", t.kinds.len());
        for (group, version) in t.group_versions() {
            let path =
                if group.is_empty() { format!("api/{version}") } else { format!("apis/{group}/{version}") };
            let json = t.document(&path).expect("a document").json();
            let parsed: serde_json::Value = serde_json::from_slice(&json).unwrap();
            assert_eq!(parsed["openapi"], "3.0.0");
            assert!(t.kinds.iter().any(|k| k.group == group && k.version == version), "{path}");
        }
        for k in &t.kinds {
            assert!(matches!(t.types.get(k.root), api_schema::Type::Object(_)), "{}", k.kind);
            assert_eq!(t.resource(&k.group, &k.version, &k.plural), Some(k));
        }
    }

    #[test]
    fn storage_hashes_are_those_of_upstream() {
        let hash = |g, v, k| tables().kind(g, v, k).unwrap().storage_version_hash.clone();
        assert_eq!(hash("", "v1", "Pod"), "xPOwRZ+Yhw8=");
        assert_eq!(hash("apps", "v1", "Deployment"), "8aSe+NMegvE=");
        assert_eq!(crate::storage_version_hash("apps", "v1", "Deployment"), "8aSe+NMegvE=");
        // Events of both groups are stored as one kind.
        assert_eq!(hash("events.k8s.io", "v1", "Event"), hash("", "v1", "Event"));
    }

    #[test]
    fn broken_bytes_are_refused() {
        let whole = include_bytes!("generated/tables.bin");
        assert!(Tables::decode(b"").is_err());
        assert!(Tables::decode(&whole[1..]).is_err());
        assert!(Tables::decode(&whole[..whole.len() / 2]).is_err());
    }
}
