//! `cargo xtask codegen`: writes the schema tables of the built-in kinds from the API facts of Kubernetes.
//!
//! ```text
//! openapi-v3/*.json -------\
//! protobuf-fields.json -----> Tables --> crates/api-tables/src/generated/tables.bin
//! discovery.jsonl ---------/
//! ```
//!
//! The data directory is a checkout's neighbour, not part of it; `--check` compares without writing.

mod facts;
mod proto;
mod resources;
mod schema;

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use api_tables::{Document, Tables};
use sha2::{Digest, Sha512};

use facts::Facts;

const OUTPUT: &str = "crates/api-tables/src/generated/tables.bin";

/// The largest binary that is checked in.
const OUTPUT_MAX: usize = 1_500_000;

/// Runs the command.
pub(crate) fn run(args: &[String]) -> anyhow::Result<()> {
    let check = args.iter().any(|a| a == "--check");
    let facts = Facts::read(&data_dir(args)?.join("kubernetes"))?;
    let bytes = generate(&facts)?.encode();
    let output = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(OUTPUT);
    if bytes.len() > OUTPUT_MAX {
        bail!("tables have {} bytes; the limit is {OUTPUT_MAX}", bytes.len());
    }
    if !check {
        return std::fs::write(&output, &bytes).with_context(|| format!("write `{}`", output.display()));
    }
    let current = std::fs::read(&output).with_context(|| format!("read `{}`", output.display()))?;
    if current != bytes {
        bail!("{OUTPUT} does not follow from the data; run `cargo xtask codegen`");
    }
    Ok(())
}

fn data_dir(args: &[String]) -> anyhow::Result<PathBuf> {
    if let Some(at) = args.iter().position(|a| a == "--data") {
        return args.get(at + 1).map(PathBuf::from).context("--data needs a directory");
    }
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    Ok(std::env::var_os("CONFORMANCE_DATA").map_or(beside, PathBuf::from))
}

fn generate(facts: &Facts) -> anyhow::Result<Tables> {
    let mut tables = Tables { groups: facts.groups.clone(), ..Tables::default() };
    schema::fill(&mut tables, facts)?;
    resources::fill(&mut tables, facts)?;
    for (path, text) in &facts.documents {
        let hash = Sha512::digest(text).iter().map(|b| format!("{b:02X}")).collect();
        let packed = lz4_flex::compress_prepend_size(text).into();
        tables.documents.push(Document { path: path.clone(), hash, packed });
    }
    Ok(tables)
}
