//! Runs the scripts of `conformance/` against the cluster of a kubeconfig.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail};

/// Scripts that start processes of their own beside the cluster, or need none, or one that lacks what others need, or install rules
/// that others would feel: they run when they are named.
const BY_NAME: [&str; 5] = ["classes", "definitions", "fleet", "kruise_manager", "openb"];

/// `--kubeconfig F --data DIR [SCRIPT…]`; all scripts but [`BY_NAME`] when none is named. Fails without data: nothing is skipped silently.
pub(crate) fn run(args: &[String]) -> anyhow::Result<()> {
    let mut kubeconfig = None;
    let mut data = None;
    let mut only = Vec::new();
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        match arg.as_str() {
            "--kubeconfig" => kubeconfig = rest.next().cloned(),
            "--data" => data = rest.next().cloned(),
            name => only.push(name.to_owned()),
        }
    }
    let kubeconfig = kubeconfig.context("--kubeconfig FILE is missing: which cluster?")?;
    let data =
        data.context("--data DIR is missing: the folder with sample manifests and recorded answers")?;
    if !Path::new(&data).is_dir() {
        bail!("--data {data}: no such folder");
    }
    let mut failed = Vec::new();
    for script in scripts(&only)? {
        println!("== {script}");
        let status = Command::new("python3")
            .arg(&script)
            .env("KUBECONFIG", &kubeconfig)
            .env("CONFORMANCE_DATA", &data)
            .status()
            .with_context(|| format!("start python3 {script}"))?;
        if !status.success() {
            failed.push(script);
        }
    }
    if !failed.is_empty() {
        bail!("failed: {}", failed.join(", "));
    }
    Ok(())
}

fn scripts(only: &[String]) -> anyhow::Result<Vec<String>> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir("conformance").context("read folder conformance")? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let stem = name.strip_suffix(".py").filter(|s| !s.starts_with('_'));
        if let Some(stem) = stem
            && (only.iter().any(|o| o == stem) || only.is_empty() && !BY_NAME.contains(&stem))
        {
            all.push(format!("conformance/{name}"));
        }
    }
    all.sort();
    if all.is_empty() {
        bail!("no script of that name in conformance/");
    }
    Ok(all)
}
