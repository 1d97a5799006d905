//! The page: files of `web/`, embedded.

/// A file of the page.
pub(crate) struct Asset {
    /// Media type.
    pub(crate) kind: &'static str,
    /// Content.
    pub(crate) text: &'static str,
}

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const IMAGE: &str = "image/svg+xml";

/// The file at a path of the site.
pub(crate) fn find(path: &str) -> Option<Asset> {
    let (kind, text) = match path {
        "/" => (HTML, include_str!("../../../web/index.html")),
        "/assets/board.css" => (STYLE, include_str!("../../../web/board.css")),
        "/assets/board.js" => (SCRIPT, include_str!("../../../web/board.js")),
        "/assets/draw.js" => (SCRIPT, include_str!("../../../web/draw.js")),
        "/assets/plot.js" => (SCRIPT, include_str!("../../../web/plot.js")),
        "/assets/stream.js" => (SCRIPT, include_str!("../../../web/stream.js")),
        "/assets/icon.svg" => (IMAGE, include_str!("../../../web/icon.svg")),
        _ => return None,
    };
    Some(Asset { kind, text })
}
