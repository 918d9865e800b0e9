//! The daemon's HTTP: what a browser and a cache rely on.

use std::fs;

use serde_json::Value;
use sha2::{Digest, Sha256};
use tests::assets::ModelDirectory;
use tests::http::{get, upgrade_status};
use tests::{Options, TestServer};

use crate::samples::{assert_serves, server, server_with};

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Every file that the catalogue names.
fn files(catalogue: &Value) -> Vec<Value> {
    let cuts = catalogue["cuts"].as_array().unwrap().iter();
    let bottoms = cuts.flat_map(|cut| cut["artifacts"].as_array().unwrap().clone());
    bottoms
        .chain([catalogue["tokenizer"].clone(), catalogue["config"].clone()])
        .collect()
}

#[tokio::test]
async fn every_file_of_the_catalogue_is_what_the_catalogue_says() {
    let server = server().await;
    let catalogue = server.catalogue().await.unwrap();
    assert_eq!(catalogue["model_id"], "bert-shaped");
    assert_eq!(catalogue["family"], "bert");
    assert_eq!(catalogue["protocol_version"], 1);
    assert_eq!(catalogue["n_layers"], 3);
    assert_eq!(catalogue["d_model"], 32);
    assert_eq!(catalogue["seq_length_max"], 40);
    assert_eq!(catalogue["limits"]["seq_length_max"], 40);
    let files = files(&catalogue);
    // Three cuts in three precisions, tokenizer, configuration.
    assert_eq!(files.len(), 11);
    for file in files {
        let response = get(server.addr, file["path"].as_str().unwrap(), &[])
            .await
            .unwrap();
        assert_eq!(response.status, 200);
        assert_eq!(file["sha256"], sha256(&response.body));
        assert_eq!(file["bytes"], response.body.len());
        let immutable = "public, max-age=31536000, immutable";
        assert_eq!(response.header("cache-control"), Some(immutable));
    }
}

#[tokio::test]
async fn an_artifact_has_a_strong_etag_and_ranges() {
    let server = server().await;
    let path = "/v1/artifacts/bottom-1-f16.safetensors";
    let whole = get(server.addr, path, &[]).await.unwrap();
    let etag = whole.header("etag").unwrap();
    assert_eq!(etag, format!("\"{}\"", sha256(&whole.body)));
    assert_eq!(whole.header("cache-control"), Some("no-cache"));
    assert_eq!(whole.header("content-encoding"), None);

    let known = get(server.addr, path, &[("If-None-Match", etag)])
        .await
        .unwrap();
    assert_eq!((known.status, known.body.len()), (304, 0));
    assert_eq!(known.header("etag"), Some(etag));
    let unknown = get(server.addr, path, &[("If-None-Match", "\"0\"")])
        .await
        .unwrap();
    assert_eq!(unknown.status, 200);

    let range = ("Range", "bytes=10-19");
    let part = get(server.addr, path, &[range]).await.unwrap();
    assert_eq!(
        (part.status, part.body.as_slice()),
        (206, &whole.body[10..20])
    );
    let content_range = format!("bytes 10-19/{}", whole.body.len());
    assert_eq!(part.header("content-range"), Some(content_range.as_str()));
    let same = get(server.addr, path, &[range, ("If-Range", etag)])
        .await
        .unwrap();
    assert_eq!(same.status, 206);
    let changed = get(server.addr, path, &[range, ("If-Range", "\"0\"")])
        .await
        .unwrap();
    assert_eq!(
        (changed.status, changed.body.len()),
        (200, whole.body.len())
    );
    let beyond = get(server.addr, path, &[("Range", "bytes=99999999-")])
        .await
        .unwrap();
    assert_eq!(beyond.status, 416);
}

/// A download that was cut anywhere is completed by exactly what is missing. Breaks when a range
/// counts compressed bytes, ends early, or is sent of another content.
#[tokio::test]
async fn what_is_missing_of_a_file_is_sent_and_nothing_else() {
    let server = server().await;
    let catalogue = server.catalogue().await.unwrap();
    let bottom = &catalogue["cuts"][1]["artifacts"][2];
    assert_eq!(bottom["precision"], "int8");
    for file in [bottom, &catalogue["tokenizer"]] {
        let path = file["path"].as_str().unwrap();
        let whole = get(server.addr, path, &[]).await.unwrap().body;
        let etag = format!("\"{}\"", file["sha256"].as_str().unwrap());
        let total = whole.len();
        for have in [
            1,
            total * 3 / 10,
            total * 6 / 10,
            total * 99 / 100,
            total - 1,
        ] {
            let range = format!("bytes={have}-");
            let headers = [
                ("Range", range.as_str()),
                ("If-Range", etag.as_str()),
                ("Accept-Encoding", "br, gzip"),
            ];
            let rest = get(server.addr, path, &headers).await.unwrap();
            assert_eq!(rest.status, 206, "{path} from {have}");
            let content_range = format!("bytes {have}-{}/{total}", total - 1);
            assert_eq!(rest.header("content-range"), Some(content_range.as_str()));
            assert_eq!(rest.header("content-encoding"), None);
            assert_eq!(rest.header("etag"), Some(etag.as_str()));
            assert_eq!(rest.body, &whole[have..], "{path} from {have}");
        }
        // A weak validator does not say that the bytes are the same (RFC 9110, section 13.1.5).
        let weak = format!("W/{etag}");
        let headers = [("Range", "bytes=1-"), ("If-Range", weak.as_str())];
        let all = get(server.addr, path, &headers).await.unwrap();
        assert_eq!((all.status, all.body.len()), (200, total));
    }
}

#[tokio::test]
async fn the_pages_program_is_listed_and_sent_from_where_it_was_cut() {
    let page = tempfile::tempdir().unwrap();
    for (name, bytes) in [
        ("client_wasm_bg.wasm", "the program"),
        ("client_wasm_bg.wasm.br", "brotli"),
    ] {
        fs::write(page.path().join(name), bytes).unwrap();
    }
    let options = Options {
        page: Some(page.path().to_owned()),
        ..Options::default()
    };
    let server = server_with(options).await;
    let listed = server.catalogue().await.unwrap()["program"].clone();
    assert_eq!(listed["sha256"], sha256(b"the program"));
    assert_eq!(listed["bytes"], "the program".len());
    let path = listed["path"].as_str().unwrap();
    let etag = format!("\"{}\"", sha256(b"the program"));

    let whole = get(server.addr, path, &[]).await.unwrap();
    assert_eq!(whole.body, b"the program");
    assert_eq!(whole.header("etag"), Some(etag.as_str()));
    assert_eq!(whole.header("content-type"), Some("application/wasm"));
    let immutable = "public, max-age=31536000, immutable";
    assert_eq!(whole.header("cache-control"), Some(immutable));
    let small = get(server.addr, path, &[("Accept-Encoding", "br")])
        .await
        .unwrap();
    assert_eq!(small.body, b"brotli");
    assert_eq!(small.header("etag"), Some(format!("W/{etag}").as_str()));
    let headers = [
        ("Accept-Encoding", "br"),
        ("Range", "bytes=4-"),
        ("If-Range", etag.as_str()),
    ];
    let rest = get(server.addr, path, &headers).await.unwrap();
    assert_eq!((rest.status, rest.body.as_slice()), (206, &b"program"[..]));

    let unnamed = get(server.addr, "/client_wasm_bg.wasm", &[]).await.unwrap();
    assert_eq!(unnamed.header("cache-control"), Some("no-cache"));
    let other = format!("/client_wasm_bg.wasm?sha256={}", "0".repeat(64));
    assert_eq!(get(server.addr, &other, &[]).await.unwrap().status, 404);
}

#[tokio::test]
async fn without_a_page_no_program_is_listed() {
    let server = server().await;
    let catalogue = server.catalogue().await.unwrap();
    assert!(catalogue.get("program").unwrap().is_null());
}

#[tokio::test]
async fn an_address_that_names_other_content_is_not_answered() {
    let server = server().await;
    let path = format!(
        "/v1/artifacts/bottom-1-f16.safetensors?sha256={}",
        "0".repeat(64)
    );
    assert_eq!(get(server.addr, &path, &[]).await.unwrap().status, 404);
    for name in [
        "bottom-9-f16.safetensors",
        "model.safetensors",
        "..%2Flock",
        "bottom-1-f16.safetensors.json",
    ] {
        let path = format!("/v1/artifacts/{name}");
        assert_eq!(
            get(server.addr, &path, &[]).await.unwrap().status,
            404,
            "{name}"
        );
    }
}

#[tokio::test]
async fn json_is_compressed_and_its_etag_then_weak() {
    let server = server().await;
    let path = "/v1/artifacts/tokenizer.json";
    let plain = get(server.addr, path, &[]).await.unwrap();
    let etag = plain.header("etag").unwrap();
    for encoding in ["gzip", "br"] {
        let accept = [("Accept-Encoding", encoding)];
        let small = get(server.addr, path, &accept).await.unwrap();
        assert_eq!(small.header("content-encoding"), Some(encoding));
        assert!(small.body.len() * 2 < plain.body.len());
        assert_eq!(small.header("etag"), Some(format!("W/{etag}").as_str()));
        let catalogue = get(server.addr, "/v1/catalogue", &accept).await.unwrap();
        assert_eq!(catalogue.header("content-encoding"), Some(encoding));
    }
    let weak = format!("W/{etag}");
    let known = get(server.addr, path, &[("If-None-Match", weak.as_str())])
        .await
        .unwrap();
    assert_eq!(known.status, 304);
}

#[tokio::test]
async fn every_response_carries_the_security_headers() {
    let page = tempfile::tempdir().unwrap();
    fs::write(page.path().join("index.html"), "<!doctype html>").unwrap();
    let options = Options {
        page: Some(page.path().to_owned()),
        ..Options::default()
    };
    let server = server_with(options).await;
    let artifact = "/v1/artifacts/bottom-0-f32.safetensors";
    for path in [
        "/",
        "/nothing",
        "/v1/catalogue",
        artifact,
        "/v1/session",
        "/healthz",
    ] {
        let response = get(server.addr, path, &[]).await.unwrap();
        let policy = response.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'; script-src 'self' 'wasm-unsafe-eval';"));
        assert!(
            !policy.contains("unsafe-inline") && !policy.contains("http"),
            "{policy}"
        );
        for (name, expected) in [
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("cross-origin-opener-policy", "same-origin"),
            ("cross-origin-embedder-policy", "require-corp"),
            ("cross-origin-resource-policy", "same-origin"),
        ] {
            assert_eq!(response.header(name), Some(expected), "{path}");
        }
        let permissions = response.header("permissions-policy").unwrap();
        for feature in permissions.split(", ") {
            assert!(feature.ends_with("=()"), "{feature}"); // allowed to nobody
        }
        assert!(permissions.contains("camera=()") && permissions.contains("usb=()"));
    }
}

/// Breaks when one directive of the policy is lost, or one is there that nobody has reasons for.
#[tokio::test]
async fn the_policy_of_content_allows_what_the_page_needs_and_no_more() {
    let (_page, options) = page_of(&[("index.html", "<!doctype html>")]);
    let server = server_with(options).await;
    let response = get(server.addr, "/", &[]).await.unwrap();
    let policy = response.header("content-security-policy").unwrap();
    let directives: Vec<_> = policy.split("; ").collect();
    let expected = [
        "default-src 'none'",
        "script-src 'self' 'wasm-unsafe-eval'",
        "style-src 'self'",
        "img-src 'self' data: blob:",
        "connect-src 'self'",
        "worker-src 'self'",
        "manifest-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types cutlayer",
    ];
    assert_eq!(directives, expected);
}

/// Breaks when a document may run scripts of which it says no sha256, when a worker, whose modules
/// cannot have one, is stopped by it, or a browser in which an import asks anew.
#[tokio::test]
async fn a_document_runs_only_scripts_that_it_vouches_for() {
    let (_page, options) = page_of(&[("index.html", "<!doctype html>"), ("src/worker.js", "1")]);
    let server = server_with(options).await;
    let chromium = [("Sec-CH-UA", "\"Chromium\";v=\"156\"")];
    let policy = Some("blocked-destinations=(script)");
    for (path, browser, expected) in [
        ("/", &chromium[..], (policy, None)),
        ("/index.html", &chromium, (policy, None)),
        ("/index.html", &[], (None, policy)),
        ("/src/worker.js", &chromium, (None, None)),
        ("/v1/catalogue", &chromium, (None, None)),
    ] {
        let response = get(server.addr, path, browser).await.unwrap();
        assert_eq!(response.status, 200, "{path}");
        let enforced = response.header("integrity-policy");
        let watched = response.header("integrity-policy-report-only");
        assert_eq!((enforced, watched), expected, "{path}");
    }
}

/// Breaks when a browser keeps a file of the page whose name stays while its content changes.
#[tokio::test]
async fn no_file_of_the_page_is_kept_without_asking() {
    let names = [
        "index.html",
        "release.json",
        "src/main.js",
        "client_wasm_bg.wasm",
    ];
    let (_page, options) = page_of(&names.map(|name| (name, "x")));
    let server = server_with(options).await;
    for name in names {
        let response = get(server.addr, &format!("/{name}"), &[]).await.unwrap();
        assert_eq!(response.header("cache-control"), Some("no-cache"), "{name}");
    }
}

/// A page of some files, and the options of a daemon that serves it.
fn page_of(files: &[(&str, &str)]) -> (tempfile::TempDir, Options) {
    let page = tempfile::tempdir().unwrap();
    for (name, content) in files {
        let path = page.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    let options = Options {
        page: Some(page.path().to_owned()),
        ..Options::default()
    };
    (page, options)
}

#[tokio::test]
async fn the_page_is_served_compressed_with_its_types() {
    let page = tempfile::tempdir().unwrap();
    fs::create_dir(page.path().join("src")).unwrap();
    for (name, bytes) in [
        ("index.html", "<!doctype html>"),
        ("src/main.js", "export {}"),
        ("client.wasm", "plain"),
        ("client.wasm.br", "brotli"),
        ("client.wasm.gz", "gzip"),
    ] {
        fs::write(page.path().join(name), bytes).unwrap();
    }
    let options = Options {
        page: Some(page.path().to_owned()),
        ..Options::default()
    };
    let server = server_with(options).await;
    let index = get(server.addr, "/", &[]).await.unwrap();
    assert_eq!(
        (index.status, index.header("content-type")),
        (200, Some("text/html"))
    );
    assert_eq!(index.header("cache-control"), Some("no-cache"));
    let script = get(server.addr, "/src/main.js", &[]).await.unwrap();
    assert_eq!(script.header("content-type"), Some("text/javascript"));
    for (accept, body, encoding) in [
        ("br, gzip", "brotli", Some("br")),
        ("gzip", "gzip", Some("gzip")),
        ("identity", "plain", None),
    ] {
        let headers = [("Accept-Encoding", accept)];
        let wasm = get(server.addr, "/client.wasm", &headers).await.unwrap();
        assert_eq!(wasm.header("content-type"), Some("application/wasm"));
        assert_eq!(
            (wasm.body.as_slice(), wasm.header("content-encoding")),
            (body.as_bytes(), encoding)
        );
    }
    assert_eq!(get(server.addr, "/../lock", &[]).await.unwrap().status, 404);
    assert_eq!(
        get(server.addr, "/missing.js", &[]).await.unwrap().status,
        404
    );
}

#[tokio::test]
async fn the_door_of_the_websocket_is_shut_for_others() {
    let server = server().await;
    let protocol = ("Sec-WebSocket-Protocol", "cutlayer.v1");
    let own = format!("http://{}", server.addr);
    let foreign = "http://example.org";
    for (headers, expected) in [
        (vec![protocol], 101),
        (vec![protocol, ("Origin", own.as_str())], 101),
        (vec![("Sec-WebSocket-Protocol", "chat, cutlayer.v1")], 101),
        (vec![], 400),
        (vec![("Sec-WebSocket-Protocol", "cutlayer.v2")], 400),
        (vec![protocol, ("Origin", foreign)], 403),
        (vec![protocol, ("Origin", "null")], 403),
    ] {
        let status = upgrade_status(server.addr, &headers).await.unwrap();
        assert_eq!(status, expected, "{headers:?}");
    }
    let plain = get(server.addr, "/v1/session", &[protocol]).await.unwrap();
    assert!((400..500).contains(&plain.status), "{}", plain.status);
    assert_serves(&server).await;
}

#[tokio::test]
async fn a_name_that_was_pointed_at_us_gets_nothing() {
    let server = server().await;
    let rebound = get(server.addr, "/v1/catalogue", &[("Host", "example.org")])
        .await
        .unwrap();
    assert_eq!(rebound.status, 421);
    assert!(!String::from_utf8_lossy(&rebound.body).contains("bert-shaped"));
    let local = get(server.addr, "/healthz", &[("Host", "localhost:8420")])
        .await
        .unwrap();
    assert_eq!((local.status, local.body.as_slice()), (200, &b"ok\n"[..]));
}

#[tokio::test]
async fn a_directory_without_a_tokenizer_is_not_offered() {
    let model = ModelDirectory::of_reference("bert-shaped").unwrap();
    let model = model.without("tokenizer.json").unwrap();
    let error = TestServer::start(&model.path())
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("tokenizer.json is missing"), "{error}");
}
