//! `knarr install`: prints what a cluster needs before the controllers run there.

use clap::Args as ClapArgs;

/// Prints manifests for `kubectl apply --server-side -f -`.
#[derive(ClapArgs, Debug)]
pub(crate) struct Args {
    /// CustomResourceDefinitions of the workload kinds
    #[arg(long, required = true)]
    crds: bool,
}

/// Prints the manifests as YAML documents.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let mut out = String::new();
    if args.crds {
        for crd in api_workload::crds() {
            out.push_str("---\n");
            out.push_str(&serde_yaml_ng::to_string(&crd)?);
        }
    }
    use std::io::Write;
    std::io::stdout().write_all(out.as_bytes())?;
    Ok(())
}
