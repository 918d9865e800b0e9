//! What a visit fetches, what it keeps, and what becomes of a download that is cut or of a kept file
//! that somebody changes. Bytes are counted before the daemon.

use anyhow::{Context, ensure};
use serde_json::Value;
use tests::browser::Gpu;
use tests::browser::downloads::{Download, DownloadProxy};

use crate::page::{COMPUTED, Page, SOON, serve};

/// Part of the path of the bottom that these visits use.
const BOTTOM: &str = "bottom-1-f16";

const SETTINGS: &str = "device=cpu&cut=1";

struct Visitor {
    page: Page,
    downloads: DownloadProxy,
    /// Of the bottom, as the catalogue lists it.
    bottom_bytes: u64,
}

impl Visitor {
    async fn new(test: &str) -> anyhow::Result<Self> {
        let server = serve().await?;
        let bottom_bytes = bottom_bytes(&server.catalogue().await?)?;
        let downloads = DownloadProxy::start(server.addr).await?;
        let page = Page::show(test, Gpu::Off, server, downloads.addr).await?;
        Ok(Self {
            page,
            downloads,
            bottom_bytes,
        })
    }

    /// Opens the page anew and waits until the model is there. Gives the files that were fetched of
    /// model and program.
    async fn visit(&self) -> anyhow::Result<Vec<Download>> {
        self.downloads.take();
        self.page.visit(SETTINGS).await?;
        self.page.phase("ready", COMPUTED).await?;
        Ok(self.fetched())
    }

    fn fetched(&self) -> Vec<Download> {
        let is_file =
            |one: &Download| one.path.starts_with("/v1/artifacts/") || one.path.ends_with(".wasm");
        self.downloads.take().into_iter().filter(is_file).collect()
    }

    /// Runs the body of an asynchronous function with `models`, the directory of what is kept.
    async fn in_models(&self, body: &str) -> anyhow::Result<Value> {
        let script = format!(
            "return (async () => {{ \
               const root = await navigator.storage.getDirectory(); \
               const models = await root.getDirectoryHandle('models', {{ create: true }}); \
               {body} }})();"
        );
        self.page.session().script(&script).await
    }

    /// Changes a byte in the middle of the kept files whose name contains `part`.
    async fn damage(&self, part: &str) -> anyhow::Result<()> {
        let body = format!(
            "let changed = 0; \
             for await (const [name, handle] of models.entries()) {{ \
               if (!name.includes('{part}')) continue; \
               const bytes = new Uint8Array(await (await handle.getFile()).arrayBuffer()); \
               bytes[bytes.length >> 1] ^= 0xff; \
               const out = await handle.createWritable(); \
               await out.write(bytes); \
               await out.close(); \
               changed += 1; \
             }} \
             return changed;"
        );
        let changed = self.in_models(&body).await?;
        ensure!(changed == 1, "{changed} kept files are named {part}");
        Ok(())
    }

    async fn forget(&self) -> anyhow::Result<()> {
        let body = "for await (const name of models.keys()) await models.removeEntry(name);";
        self.in_models(body).await.map(drop)
    }
}

fn bottom_bytes(catalogue: &Value) -> anyhow::Result<u64> {
    let cuts = catalogue["cuts"].as_array().context("no cuts")?;
    let mut bottoms = cuts
        .iter()
        .flat_map(|cut| cut["artifacts"].as_array().into_iter().flatten());
    bottoms
        .find(|one| {
            one["path"]
                .as_str()
                .is_some_and(|path| path.contains(BOTTOM))
        })
        .and_then(|one| one["bytes"].as_u64())
        .context("no such bottom")
}

fn of_bottom(fetched: &[Download]) -> Vec<&Download> {
    let bottom = fetched.iter().filter(|one| one.path.contains(BOTTOM));
    bottom.collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs chromium and models"]
async fn a_second_visit_fetches_no_byte_of_the_model_needs_chromium() -> anyhow::Result<()> {
    let visitor = Visitor::new("start-twice").await?;
    let page = &visitor.page;
    let first = visitor.visit().await?;
    // Bottom, tokenizer, configuration, program: each once, each whole.
    ensure!(first.len() == 4, "fetched: {first:?}");
    ensure!(
        first.iter().all(|one| one.status == 200),
        "fetched: {first:?}"
    );
    let bottom = of_bottom(&first);
    ensure!(
        bottom.len() == 1 && bottom[0].body_bytes == visitor.bottom_bytes,
        "of {} bytes: {bottom:?}",
        visitor.bottom_bytes
    );
    let listed = "document.querySelector('[data-testid=models-summary]').textContent";
    let four = format!("{listed}.startsWith('Kept in this browser: 4\\u00a0files')");
    page.until(&four, SOON).await?;

    let second = visitor.visit().await?;
    ensure!(second.is_empty(), "fetched again: {second:?}");

    // What is removed on the page is fetched again.
    page.until(&four, SOON).await?;
    page.click("models-summary").await?;
    page.picture("2-kept").await?;
    page.click("models-clear").await?;
    page.until(&format!("{listed}.endsWith('nothing')"), SOON)
        .await?;
    let third = visitor.visit().await?;
    ensure!(third.len() == 4, "fetched after it was removed: {third:?}");
    page.ensure_quiet_console().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs chromium and models"]
async fn a_download_that_is_cut_is_completed_by_the_rest_needs_chromium() -> anyhow::Result<()> {
    let visitor = Visitor::new("start-cut").await?;
    let total = visitor.bottom_bytes;
    for percent in [30, 60, 99] {
        visitor.page.visit(SETTINGS).await?;
        visitor.page.phase("ready", COMPUTED).await?;
        visitor.forget().await?;
        let cut = total * percent / 100;
        visitor.downloads.cut(BOTTOM, [cut]);
        let fetched = visitor.visit().await?;
        let bottom = of_bottom(&fetched);
        ensure!(bottom.len() == 2, "cut at {percent} %: {bottom:?}");
        let [before, after] = [bottom[0], bottom[1]];
        ensure!(before.body_bytes == cut, "cut at {percent} %: {before:?}");
        // The browser may drop what it had not handed over when the connection was lost.
        let from = after
            .from
            .context("the rest was not asked for by a range")?;
        ensure!(
            after.status == 206 && 0 < from && from <= cut && after.body_bytes == total - from,
            "cut at {percent} % of {total}: {after:?}"
        );
        let again = visitor.visit().await?;
        ensure!(again.is_empty(), "fetched again: {again:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs chromium and models"]
async fn a_download_that_was_given_up_goes_on_at_the_next_visit_needs_chromium()
-> anyhow::Result<()> {
    let visitor = Visitor::new("start-given-up").await?;
    let total = visitor.bottom_bytes;
    let cuts = [total * 6 / 10].into_iter().chain([0; 20]);
    visitor.downloads.cut(BOTTOM, cuts);
    visitor.page.visit(SETTINGS).await?;
    visitor.page.phase("error", COMPUTED).await?;
    let named = "document.querySelector('[data-testid=error]').dataset.name";
    let name = visitor.page.value(named).await?;
    ensure!(name == "Fetch", "the page says {name}");
    visitor.page.picture("1-given-up").await?;
    visitor.downloads.heal();
    let fetched = visitor.visit().await?;
    let bottom = of_bottom(&fetched);
    ensure!(bottom.len() == 1, "fetched: {bottom:?}");
    let from = bottom[0].from.context("it began anew")?;
    ensure!(
        bottom[0].status == 206 && 0 < from && bottom[0].body_bytes == total - from,
        "of {total} bytes: {bottom:?}"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs chromium and models"]
async fn a_kept_file_that_was_changed_is_fetched_again_needs_chromium() -> anyhow::Result<()> {
    let visitor = Visitor::new("start-damaged").await?;
    visitor.visit().await?;
    for part in [BOTTOM, "tokenizer.json", "-program"] {
        visitor.damage(part).await?;
        let fetched = visitor.visit().await?;
        ensure!(fetched.len() == 1, "{part} was damaged: {fetched:?}");
        let name = part.trim_start_matches('-').replace("program", ".wasm");
        ensure!(fetched[0].path.contains(&name), "{part}: {fetched:?}");
        ensure!(
            fetched[0].status == 200 && fetched[0].from.is_none(),
            "{part}: {fetched:?}"
        );
        let again = visitor.visit().await?;
        ensure!(again.is_empty(), "{part} was not replaced: {again:?}");
    }
    visitor.page.ensure_quiet_console().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs chromium and models"]
async fn the_weights_are_offered_with_their_bytes_needs_chromium() -> anyhow::Result<()> {
    let visitor = Visitor::new("start-precisions").await?;
    visitor.visit().await?;
    let offered = "[...document.querySelector('[data-testid=precision]').options] \
        .map(({ value, textContent }) => [value, textContent])";
    let offered = visitor.page.value(offered).await?;
    let offered: Vec<(String, String)> = serde_json::from_value(offered)?;
    let names: Vec<_> = offered.iter().map(|(value, _)| value.as_str()).collect();
    ensure!(names == ["f16", "f32", "int8"], "offered: {offered:?}");
    let with_bytes = offered.iter().all(|(_, text)| text.ends_with("MB"));
    ensure!(with_bytes, "offered: {offered:?}");

    visitor.downloads.take();
    let settings = format!("{SETTINGS}&precision=int8");
    visitor.page.visit(&settings).await?;
    visitor.page.phase("ready", COMPUTED).await?;
    let fetched = visitor.fetched();
    ensure!(
        fetched.len() == 1 && fetched[0].path.contains("bottom-1-int8"),
        "fetched: {fetched:?}"
    );
    // A byte a number and four a row, against two a number.
    let (int8, f16) = (fetched[0].body_bytes, visitor.bottom_bytes);
    ensure!(int8 * 10 < f16 * 6, "{int8} bytes in 8 bits, {f16} in 16");
    Ok(())
}
