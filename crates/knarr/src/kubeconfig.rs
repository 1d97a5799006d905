//! Kubeconfigs that Knarr writes: one cluster, one user with a token.

use std::net::SocketAddr;
use std::path::Path;

use serde_json::json;

/// The text of a kubeconfig.
pub(crate) fn text(server: SocketAddr, ca_pem: &str, user: &str, token: &str) -> String {
    use base64::Engine as _;
    let ca = base64::engine::general_purpose::STANDARD.encode(ca_pem);
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "knarr", "cluster": {"server": format!("https://{server}"), "certificate-authority-data": ca}}],
        "users": [{"name": user, "user": {"token": token}}],
        "contexts": [{"name": "knarr", "context": {"cluster": "knarr", "user": user}}],
        "current-context": "knarr",
    });
    // JSON is YAML; indented, it reads like one.
    format!("{config:#}\n")
}

/// Writes it for its owner's eyes only.
pub(crate) fn write(path: &Path, text: &str) -> Result<(), pki::Error> {
    if let Some(dir) = path.parent().filter(|d| !d.as_os_str().is_empty()) {
        pki::make_dir(dir)?;
    }
    pki::write_private(path, text.as_bytes())
}
