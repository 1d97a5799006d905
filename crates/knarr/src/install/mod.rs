//! `knarr install`: prints what a cluster needs before Knarr's controllers run there, and what runs them.
//!
//! Rights are those that the rows of the controllers list, and no more: one ClusterRole for each Deployment, made from the
//! same table that the embedded server decides by.

mod access;
mod deploy;

use anyhow::bail;
use serde_json::{Value, json};

use crate::args::Role;

/// What a cluster needs before the controllers run there, as YAML for `kubectl apply --server-side -f -`. Everything without a
/// choice among the parts
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Only the CustomResourceDefinitions
    #[arg(long)]
    crds: bool,
    /// Only namespace, service accounts and roles
    #[arg(long)]
    rbac: bool,
    /// Only the Deployments and the Service of the conversion webhook
    #[arg(long)]
    deployments: bool,
    /// Only the admission policies: deletion protection without a webhook
    #[arg(long)]
    policies: bool,
    /// Roles to run in the cluster: `workloads` beside a kube-controller-manager, `scheduler` beside or instead of its own
    #[arg(long = "role", value_name = "ROLE,…", value_delimiter = ',', default_value = "workloads")]
    roles: Vec<Role>,
    /// Namespace of everything that runs
    #[arg(long, value_name = "NAME", default_value = "knarr-system")]
    namespace: String,
    /// Image with this program as its entry point
    #[arg(long, value_name = "IMAGE", default_value = concat!("knarr:", env!("CARGO_PKG_VERSION")))]
    image: String,
}

impl Args {
    fn manifests(&self) -> anyhow::Result<Vec<Value>> {
        let fleet = [Role::Workloads, Role::Scheduler, Role::Controllers];
        if let Some(role) = self.roles.iter().find(|r| !fleet.contains(r)) {
            bail!(
                "--role {}: only on the embedded cluster; here are workloads, scheduler and controllers",
                role.name()
            );
        }
        let all = ![self.crds, self.rbac, self.deployments, self.policies].contains(&true);
        let mut out = Vec::new();
        if all || self.crds {
            out.extend(crate::kinds::crds());
        }
        if all || self.rbac {
            out.push(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace}}));
            self.roles.iter().for_each(|role| out.extend(access::manifests(*role, &self.namespace)));
        }
        if all || self.policies {
            out.extend(guard::policies());
        }
        if all || self.deployments {
            self.roles
                .iter()
                .for_each(|role| out.extend(deploy::manifests(*role, &self.namespace, &self.image)));
        }
        Ok(out)
    }
}

/// Name of a role's Deployment, ServiceAccount and ClusterRole.
fn name_of(role: Role) -> String {
    format!("knarr-{}", role.name())
}

/// Prints the manifests as YAML documents.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let mut out = String::new();
    for manifest in args.manifests()? {
        out.push_str("---\n");
        out.push_str(&yaml(manifest)?);
    }
    use std::io::Write;
    std::io::stdout().write_all(out.as_bytes())?;
    Ok(())
}

/// Words that are booleans to a YAML 1.1 parser, which `kubectl` is, and strings to ours: the brake's field `on`.
const BOOLEANS: [&str; 6] = ["on", "off", "yes", "no", "y", "n"];
/// Marks a word that is to be quoted: a control character, so that it is written in quotes and occurs nowhere else.
const QUOTE: char = '\u{1}';

/// A document that YAML 1.1 and 1.2 read alike.
fn yaml(manifest: Value) -> anyhow::Result<String> {
    let text = serde_yaml_ng::to_string(&marked(manifest))?;
    Ok(text.replace("\"\\x01", "\"").replace("\"\\u0001", "\""))
}

/// Marks every key and string that the two versions read differently.
fn marked(value: Value) -> Value {
    let mark = |text: String| {
        let is_boolean = BOOLEANS.contains(&text.to_ascii_lowercase().as_str());
        if is_boolean { format!("{QUOTE}{text}") } else { text }
    };
    match value {
        Value::String(text) => Value::String(mark(text)),
        Value::Array(items) => items.into_iter().map(marked).collect(),
        Value::Object(fields) => fields.into_iter().map(|(k, v)| (mark(k), marked(v))).collect(),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(roles: &[Role]) -> Args {
        Args {
            crds: false,
            rbac: false,
            deployments: false,
            policies: false,
            roles: roles.to_vec(),
            namespace: "knarr-system".into(),
            image: "knarr:test".into(),
        }
    }

    #[test]
    fn everything_is_there_when_nothing_is_chosen_and_each_part_alone() {
        let kinds = |args: &Args| {
            let all = args.manifests().unwrap();
            let mut kinds: Vec<String> =
                all.iter().map(|m| m["kind"].as_str().unwrap_or_default().to_owned()).collect();
            kinds.sort();
            kinds.dedup();
            kinds.join(" ")
        };
        let all = kinds(&args(&[Role::Workloads]));
        for kind in [
            "ClusterRole ",
            "ClusterRoleBinding",
            "CustomResourceDefinition",
            "Deployment",
            "Namespace",
            "Service ",
        ] {
            assert!(all.contains(kind.trim()), "{kind} is missing of {all}");
        }
        let only = Args { crds: true, ..args(&[Role::Workloads]) };
        assert_eq!(kinds(&only), "CustomResourceDefinition");
        let error = args(&[Role::Nodes]).manifests().unwrap_err().to_string();
        assert!(error.contains("only on the embedded cluster"), "{error}");
    }

    #[test]
    fn words_that_older_parsers_take_for_booleans_are_quoted() {
        let text = yaml(json!({"on": {"type": "boolean"}, "only": ["Off", "office", true, "n"]})).unwrap();
        assert_eq!(text, "\"on\":\n  type: boolean\nonly:\n- \"Off\"\n- office\n- true\n- \"n\"\n");
        for manifest in args(&[Role::Workloads]).manifests().unwrap() {
            let read: Value = serde_yaml_ng::from_str(&yaml(manifest.clone()).unwrap()).unwrap();
            assert_eq!(read, manifest);
        }
    }

    #[test]
    fn no_role_may_do_everything() {
        for manifest in args(&[Role::Workloads, Role::Scheduler]).manifests().unwrap() {
            for rule in manifest["rules"].as_array().into_iter().flatten() {
                for list in ["apiGroups", "resources", "verbs"] {
                    assert!(!rule[list].as_array().unwrap().contains(&json!("*")), "{rule}");
                }
            }
        }
    }
}
