//! Who is let in.

use serde_json::json;

use crate::browser::{Site, TOKEN};
use crate::world::APPS;

const CALLS: [(&str, &str); 5] = [
    ("GET", "/api/board"),
    ("GET", "/api/events"),
    ("POST", "/api/load"),
    ("POST", "/api/release/default/web/pause"),
    ("GET", "/api/anything"),
];

#[tokio::test]
async fn no_call_is_answered_without_the_token() {
    let site = Site::new().await;
    let host = site.address.to_string();
    for (method, path) in CALLS {
        for wrong in
            [None, Some("Bearer 0123456789abcdef-tesT"), Some("Bearer "), Some("Basic eA=="), Some(TOKEN)]
        {
            let mut headers = vec![("host", host.as_str())];
            headers.extend(wrong.map(|w| ("authorization", w)));
            let answer = site.ask(method, path, &headers, "{}").await;
            assert_eq!(answer.code, 401, "{method} {path} {wrong:?}");
            assert!(!answer.text.contains(TOKEN), "the token is not told");
        }
        let by_link = site.ask(method, &format!("{path}?token={TOKEN}"), &[("host", &host)], "{}").await;
        assert_eq!(by_link.code, 401, "links end up in histories and logs: {path}");
    }
}

#[tokio::test]
async fn a_foreign_name_that_resolves_to_us_opens_nothing() {
    let site = Site::new().await;
    let bearer = format!("Bearer {TOKEN}");
    for path in ["/", "/assets/board.js", "/api/board", "/healthz"] {
        for host in ["rebound.example", "rebound.example:80", "127.0.0.2"] {
            let answer = site.ask("GET", path, &[("host", host), ("authorization", &bearer)], "").await;
            assert_eq!(answer.code, 421, "{path} as {host}");
        }
        for host in ["board.example", "board.example:9000", &site.address.to_string()] {
            assert_eq!(
                site.ask("GET", path, &[("host", host), ("authorization", &bearer)], "").await.code,
                200,
                "{path} as {host}"
            );
        }
    }
}

#[tokio::test]
async fn another_site_cannot_press_even_with_the_token() {
    let site = Site::new().await;
    site.world.deploy(1).await;
    let (bearer, host) = (format!("Bearer {TOKEN}"), site.address.to_string());
    for origin in ["http://evil.example", "null", "http://127.0.0.1:1"] {
        let headers = [("host", host.as_str()), ("authorization", &bearer), ("origin", origin)];
        assert_eq!(
            site.ask("POST", "/api/release/default/web/pause", &headers, "").await.code,
            403,
            "{origin}"
        );
    }
    assert_ne!(site.world.app().await["spec"]["strategy"]["pause"], true);
    let own = format!("http://{host}");
    let headers = [("host", host.as_str()), ("authorization", &bearer), ("origin", &own)];
    assert_eq!(site.ask("POST", "/api/release/default/web/pause", &headers, "").await.code, 200);
}

#[tokio::test]
async fn the_page_is_whole_and_runs_nothing_but_its_own_files() {
    let site = Site::new().await;
    let page = site.call("GET", "/", "").await;
    assert_eq!(page.code, 200);
    let policy = page.headers["content-security-policy"].to_str().unwrap();
    assert!(
        policy.contains("default-src 'none'")
            && policy.contains("script-src 'self'")
            && !policy.contains("unsafe")
    );
    for inline in ["<script>", "<style", " style=", " onclick=", "http://", "https://"] {
        assert!(!page.text.contains(inline), "{inline} on the page");
    }
    let mut wanted: Vec<String> =
        page.text.split('"').filter(|t| t.starts_with("/assets/")).map(str::to_owned).collect();
    while let Some(path) = wanted.pop() {
        let file = site.call("GET", &path, "").await;
        assert_eq!(
            (file.code, file.headers["x-content-type-options"].to_str().unwrap()),
            (200, "nosniff"),
            "{path}"
        );
        let imports =
            file.text.split('\'').filter_map(|t| t.strip_prefix("./")).filter(|t| t.ends_with(".js"));
        wanted.extend(imports.map(|t| format!("/assets/{t}")));
    }
}

#[tokio::test]
async fn what_is_too_long_or_nonsense_is_refused() {
    let site = Site::new().await;
    let long = json!({"t": 1, "failed": 0, "x": "x".repeat(5000)}).to_string();
    assert_eq!(site.call("POST", "/api/load", &long).await.code, 413);
    for nonsense in ["{", "[]", "{}", r#"{"t": "now", "failed": 0}"#] {
        assert_eq!(site.call("POST", "/api/load", nonsense).await.code, 400, "{nonsense}");
    }
    for (method, path, code) in [
        ("GET", "/api/load", 405),
        ("DELETE", "/api/board", 405),
        ("GET", "/api/release/default/web/pause", 405),
        ("POST", "/api/release/default/web/delete", 404),
        ("POST", "/api/release/default/absent/pause", 404),
        ("POST", "/api/release/..%2f..%2fnodes/web/pause", 404),
        ("POST", "/api/release/default/../pause", 404),
        ("GET", "/assets/../Cargo.toml", 404),
        ("GET", "/etc/passwd", 404),
    ] {
        assert_eq!(site.call(method, path, "").await.code, code, "{method} {path}");
    }
    assert!(
        site.world
            .client
            .list::<serde_json::Value>(&APPS, "", &Default::default())
            .await
            .unwrap()
            .items
            .is_empty()
    );
}
