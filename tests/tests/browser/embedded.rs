//! The packed client in a page of another origin: exactly the example of its README.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;
use std::{env, fs};

use anyhow::{Context, bail, ensure};
use axum::Router;
use axum::http::{StatusCode, Uri, header};
use axum::response::IntoResponse;
use server::Origins;
use tempfile::TempDir;
use tests::assets::repository;
use tests::browser::{Chromium, Gpu, Recorder};
use tests::{Options, TestServer};
use tokio::net::TcpListener;

use crate::page::{COMPUTED, model, rest};
use crate::rows::{LABELS, PrivateFile};
use crate::training::ensure_nothing_private;

/// Where the README's import map looks for the package.
const INSTALLED: &str = "/node_modules/@cutlayer/client/";

/// The server of the README's example.
const EXAMPLE_SERVER: &str = "\"http://127.0.0.1:8420\"";

/// Lines of the example that are not blank.
const EXAMPLE_LINES_MAX: usize = 10;

/// The files of a site by their paths.
type Site = BTreeMap<String, Vec<u8>>;

#[test]
fn the_readme_has_an_example_of_ten_lines() {
    let readme = readme().unwrap();
    let example = block(&readme, "js").unwrap();
    let lines = example.lines().filter(|line| !line.trim().is_empty());
    assert!(lines.count() <= EXAMPLE_LINES_MAX);
    assert_eq!(example.matches(EXAMPLE_SERVER).count(), 1);
    assert!(block(&readme, "html").unwrap().contains(INSTALLED));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs chromium, models and npm"]
async fn the_readmes_example_trains_from_another_origin_needs_npm() -> anyhow::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let origin = format!("http://{}", listener.local_addr()?);
    let options = Options {
        origins: Origins {
            hosted: vec![origin.parse()?],
            ..Origins::default()
        },
        ..Options::default()
    };
    let server = TestServer::start_with(&model(), options).await?;
    let recorder = Recorder::start(server.addr).await?;
    let file = PrivateFile::write()?;
    let site = site(&file, &format!("\"http://{}\"", recorder.addr))?;
    let serving = tokio::spawn(async move { axum::serve(listener, routes(site)).await });

    let chromium = Chromium::start(Gpu::Off).await?;
    chromium.session.goto(&origin).await?;
    let said = answer(&chromium).await?;
    let words: Vec<_> = said.split_whitespace().collect();
    let [label, "after", steps, "steps,", bytes, "bytes", "sent"] = words[..] else {
        bail!("it says: {said}");
    };
    ensure!(LABELS.contains(&label), "no label of the file: {said}");
    ensure!(steps.parse::<u32>()? > 0, "no steps: {said}");
    ensure!(bytes.parse::<u64>()? > 0, "no bytes: {said}");
    let title = chromium.session.script("return document.title;").await?;
    let told = title.as_str().unwrap_or_default();
    ensure!(told.starts_with("step "), "the last event read: {told}");
    serving.abort();
    ensure_nothing_private(&recorder, &file)
}

/// Waits until the example is through; what the browser complains about ends the wait.
async fn answer(chromium: &Chromium) -> anyhow::Result<String> {
    let deadline = Instant::now() + COMPUTED;
    loop {
        let text = chromium
            .session
            .script("return document.body ? document.body.innerText : '';")
            .await?;
        let text = text.as_str().unwrap_or_default();
        if text.contains("bytes sent") {
            return Ok(text.to_owned());
        }
        for entry in chromium.session.log("browser").await? {
            let message = &entry["message"];
            ensure!(entry["level"] != "SEVERE", "console: {message}");
        }
        ensure!(Instant::now() < deadline, "no answer after {COMPUTED:?}");
        rest().await;
    }
}

fn readme() -> anyhow::Result<String> {
    let path = repository().join("package/README.md");
    fs::read_to_string(&path).with_context(|| format!("{} is missing", path.display()))
}

/// The first block of a language in a text of Markdown.
fn block<'a>(markdown: &'a str, language: &str) -> anyhow::Result<&'a str> {
    let fence = format!("```{language}\n");
    let (_, rest) = markdown.split_once(&fence).context("no such block")?;
    let (block, _) = rest.split_once("```").context("no end of the block")?;
    Ok(block)
}

/// The page of the README, its rows, and the package as it is installed.
fn site(file: &PrivateFile, server: &str) -> anyhow::Result<Site> {
    let readme = readme()?;
    let page = format!(
        "<!doctype html>\n<body></body>\n{}",
        block(&readme, "html")?
    );
    let example = block(&readme, "js")?.replace(EXAMPLE_SERVER, server);
    let mut site = Site::from([
        ("/".to_owned(), page.into_bytes()),
        ("/example.js".to_owned(), example.into_bytes()),
        ("/reviews.csv".to_owned(), csv(file)?.into_bytes()),
        // Asked for by every browser.
        ("/favicon.ico".to_owned(), Vec::new()),
    ]);
    let directory = unpack()?;
    // npm puts everything below a directory of this name.
    let package = directory.path().join("package");
    add(&mut site, &package, INSTALLED)?;
    Ok(site)
}

/// The rows as the README's example has them: quoted, since they hold commas and no quotes.
fn csv(file: &PrivateFile) -> anyhow::Result<String> {
    let rows = fs::read_to_string(file.path())?;
    let mut csv = String::new();
    for row in rows.lines() {
        let (text, label) = row.split_once('\t').context("two columns")?;
        csv += &format!("\"{text}\",{label}\n");
    }
    Ok(csv)
}

fn unpack() -> anyhow::Result<TempDir> {
    let tarball = env::var_os("CUTLAYER_NPM").context("CUTLAYER_NPM names the packed client")?;
    let directory = tempfile::tempdir()?;
    let mut tar = Command::new("tar");
    tar.arg("-xzf").arg(PathBuf::from(tarball));
    let status = tar.arg("-C").arg(directory.path()).status()?;
    ensure!(status.success(), "tar ended with {status}");
    Ok(directory)
}

fn add(site: &mut Site, directory: &Path, prefix: &str) -> anyhow::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        let name = format!("{prefix}{}", name.context("a name in UTF-8")?);
        if path.is_dir() {
            add(site, &path, &format!("{name}/"))?;
        } else {
            site.insert(name, fs::read(&path)?);
        }
    }
    Ok(())
}

fn routes(site: Site) -> Router {
    let site = Arc::new(site);
    Router::new().fallback(move |uri: Uri| {
        let found = site.get(uri.path()).cloned();
        async move {
            match found {
                Some(content) => {
                    ([(header::CONTENT_TYPE, kind(uri.path()))], content).into_response()
                }
                None => StatusCode::NOT_FOUND.into_response(),
            }
        }
    })
}

/// A module and a wasm file are not run without their types.
fn kind(path: &str) -> &'static str {
    match path.rsplit_once('.') {
        Some((_, "js")) => "text/javascript",
        Some((_, "wasm")) => "application/wasm",
        Some((_, "csv")) => "text/csv",
        Some((_, "ico")) => "image/x-icon",
        _ => "text/html; charset=utf-8",
    }
}
