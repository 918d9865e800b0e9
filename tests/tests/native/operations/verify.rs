//! `cutlayer-server verify` against a page that is really served.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::json;
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use tests::daemon::program;
use tests::http::get;
use tests::{Options, TestServer};
use tokio::task::spawn_blocking;

use crate::samples::server_with;

const FILES: [(&str, &str); 4] = [
    ("index.html", "<!doctype html>"),
    ("src/main.js", "export {}"),
    ("src/main.js.br", "the compressed form"),
    ("src/main.js.gz", "the other one"),
];

/// A page with the release that a build would have written beside it.
fn page() -> TempDir {
    let page = tempfile::tempdir().unwrap();
    fs::create_dir(page.path().join("src")).unwrap();
    let entry = |content: &str| {
        let sha256: String = Sha256::digest(content)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        json!({ "bytes": content.len(), "sha256": sha256 })
    };
    let mut files = serde_json::Map::new();
    for (name, content) in FILES {
        fs::write(page.path().join(name), content).unwrap();
        files.insert(name.to_owned(), entry(content));
    }
    let release = json!({ "files": files, "format": "cutlayer-release-1" });
    fs::write(page.path().join("release.json"), release.to_string()).unwrap();
    page
}

async fn served(page: &TempDir) -> TestServer {
    let options = Options {
        page: Some(page.path().to_owned()),
        ..Options::default()
    };
    server_with(options).await
}

async fn verify(arguments: Vec<String>) -> (Option<i32>, String) {
    let run = move || -> Output {
        let mut command = Command::new(program().unwrap());
        let command = command.env_clear().arg("verify").args(arguments);
        command.output().unwrap()
    };
    let output = spawn_blocking(run).await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    (output.status.code(), said)
}

fn url(server: &TestServer) -> Vec<String> {
    vec!["--url".to_owned(), format!("http://{}", server.addr)]
}

fn directory(page: &Path) -> Vec<String> {
    vec!["--page".to_owned(), page.display().to_string()]
}

#[tokio::test]
async fn a_page_is_as_released_on_disk_and_as_it_is_served() {
    let page = page();
    let server = served(&page).await;
    let release = get(server.addr, "/release.json", &[]).await.unwrap();
    assert_eq!(release.header("content-type"), Some("application/json"));
    for place in [directory(page.path()), url(&server)] {
        let (code, said) = verify(place).await;
        assert_eq!(code, Some(0), "{said}");
        assert!(said.ends_with(": 4 files, 0 not as released\n"), "{said}");
    }
}

/// Breaks when only the forms that no browser asks for are looked at.
#[tokio::test]
async fn a_compressed_form_of_something_else_is_found_at_the_server() {
    let (page, kept) = (page(), tempfile::tempdir().unwrap());
    let release = kept.path().join("release.json");
    fs::copy(page.path().join("release.json"), &release).unwrap();
    let server = served(&page).await;
    fs::write(page.path().join("src/main.js.br"), "of another program").unwrap();
    fs::remove_file(page.path().join("index.html")).unwrap();
    for place in [directory(page.path()), url(&server)] {
        let more = vec!["--release".to_owned(), release.display().to_string()];
        let (code, said) = verify([place, more].concat()).await;
        let lines: Vec<_> = said.lines().take(2).collect();
        let expected = ["missing: index.html", "differs: src/main.js.br"];
        assert_eq!((code, lines), (Some(1), expected.to_vec()), "{said}");
    }
}

#[tokio::test]
async fn a_server_without_a_page_has_no_release() {
    let server = server_with(Options::default()).await;
    let (code, said) = verify(url(&server)).await;
    assert_eq!((code, said.as_str()), (Some(1), ""));
}
