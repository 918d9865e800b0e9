//! Pages of other origins: allowed by name, or not at all.

use server::Origins;
use tests::Options;
use tests::http::{get, send, upgrade_status};

use crate::samples::{server, server_with};

const SESSIONS: &str = "https://sessions.example";
const HOSTED: &str = "https://hosted.example:8443";
const FOREIGN: &str = "https://foreign.example";

fn options() -> Options {
    Options {
        origins: Origins {
            sessions: vec![SESSIONS.parse().unwrap()],
            hosted: vec![HOSTED.parse().unwrap()],
        },
        ..Options::default()
    }
}

#[tokio::test]
async fn listed_origins_open_sessions_and_no_others() {
    let server = server_with(options()).await;
    for (origin, expected) in [
        (SESSIONS, 101),
        (HOSTED, 101),
        (FOREIGN, 403),
        ("https://hosted.example", 403),
        ("http://sessions.example", 403),
        ("null", 403),
    ] {
        let headers = [
            ("Sec-WebSocket-Protocol", "cutlayer.v1"),
            ("Origin", origin),
        ];
        let status = upgrade_status(server.addr, &headers).await.unwrap();
        assert_eq!(status, expected, "{origin}");
    }
}

#[tokio::test]
async fn only_a_page_that_is_hosted_elsewhere_reads_catalogue_and_artifacts() {
    let server = server_with(options()).await;
    let allowed = "access-control-allow-origin";
    for path in ["/v1/catalogue", "/v1/artifacts/bottom-1-f16.safetensors"] {
        let hosted = get(server.addr, path, &[("Origin", HOSTED)]).await.unwrap();
        assert_eq!(hosted.status, 200);
        assert_eq!(hosted.header(allowed), Some(HOSTED), "{path}");
        assert_eq!(hosted.header("access-control-allow-credentials"), None);
        for origin in [SESSIONS, FOREIGN, "null"] {
            let other = get(server.addr, path, &[("Origin", origin)]).await.unwrap();
            assert_eq!(other.header(allowed), None, "{path} {origin}");
        }
        let preflight = [
            ("Origin", HOSTED),
            ("Access-Control-Request-Method", "GET"),
            ("Access-Control-Request-Headers", "range"),
        ];
        let asked = send(server.addr, "OPTIONS", path, &preflight)
            .await
            .unwrap();
        assert_eq!(asked.status, 204, "{path}");
        assert_eq!(asked.header(allowed), Some(HOSTED));
        let methods = asked.header("access-control-allow-methods");
        assert_eq!(methods, Some("GET, HEAD"));
    }
    // What caches rely on, where no compression speaks of it too.
    let path = "/v1/artifacts/bottom-1-f16.safetensors";
    let unasked = get(server.addr, path, &[]).await.unwrap();
    assert_eq!(unasked.header("vary"), Some("origin"));
    // Health and page are nobody else's.
    let health = get(server.addr, "/healthz", &[("Origin", HOSTED)])
        .await
        .unwrap();
    assert_eq!(health.header(allowed), None);
}

#[tokio::test]
async fn without_a_list_no_origin_is_told_anything() {
    let server = server().await;
    let own = format!("http://{}", server.addr);
    for origin in [own.as_str(), HOSTED] {
        let catalogue = get(server.addr, "/v1/catalogue", &[("Origin", origin)])
            .await
            .unwrap();
        assert_eq!(catalogue.header("access-control-allow-origin"), None);
    }
}

/// Breaks when a page that is hosted elsewhere cannot send its token, or any other page can.
#[tokio::test]
async fn only_a_page_that_is_hosted_elsewhere_may_send_a_token() {
    let server = server_with(options()).await;
    for path in ["/v1/catalogue", "/v1/artifacts/config.json"] {
        for (origin, expected) in [(HOSTED, true), (SESSIONS, false), (FOREIGN, false)] {
            let preflight = [
                ("Origin", origin),
                ("Access-Control-Request-Method", "GET"),
                ("Access-Control-Request-Headers", "authorization"),
            ];
            let asked = send(server.addr, "OPTIONS", path, &preflight)
                .await
                .unwrap();
            let headers = asked.header("access-control-allow-headers");
            let is_told = headers.is_some_and(|names| names.contains("authorization"));
            assert_eq!(is_told, expected, "{path} {origin}");
            let allowed = asked.header("access-control-allow-origin");
            assert_eq!(allowed.is_some(), expected, "{path} {origin}");
        }
    }
    // The jobs and adapters of a tenant are no page's but the daemon's own.
    let preflight = [
        ("Origin", HOSTED),
        ("Access-Control-Request-Method", "GET"),
        ("Access-Control-Request-Headers", "authorization"),
    ];
    let asked = send(server.addr, "OPTIONS", "/v1/jobs", &preflight)
        .await
        .unwrap();
    assert_eq!(asked.header("access-control-allow-origin"), None);
}
