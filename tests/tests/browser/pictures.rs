//! The pictures of a run: what they say to whoever does not see them, and the files made of them.

use anyhow::{Context, ensure};
use tests::browser::{Gpu, Secrets};

use crate::page::{COMPUTED, Page, SOON};
use crate::rows::{CANARY, FILE_NAME, LABELS, PrivateFile};

/// Pictures by their hooks, and something that the name of each says.
const PICTURES: [(&str, &str); 6] = [
    ("tokens", "texts of"),
    ("attacks", "without protection"),
    ("privacy-utility", "accuracy of 1"),
    ("loss", "nats"),
    ("validation", "macro-F1"),
    ("confusion-validation", "Confusion matrix of"),
];

/// The right arrow among the keys of WebDriver.
const ARROW_RIGHT: &str = "\u{e014}";

/// Keeps what the page would download, with its name, and lets nothing reach the disk.
const KEEP_DOWNLOADS: &str = "window.kept = []; \
    const make = URL.createObjectURL; \
    let last = null; \
    URL.createObjectURL = (blob) => { last = blob; return make.call(URL, blob); }; \
    HTMLAnchorElement.prototype.click = function () { \
        const { download } = this; const { type, size } = last; \
        last.text().then((text) => window.kept.push({ download, type, size, text })); \
    };";

/// A file that the page made.
struct Saved {
    name: String,
    kind: String,
    size: u64,
    text: String,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs chromium and models"]
async fn pictures_have_names_and_files_and_the_report_no_text_needs_chromium() -> anyhow::Result<()>
{
    let page = Page::open("pictures", Gpu::Off, "device=cpu&cut=0").await?;
    let file = PrivateFile::write()?;
    page.choose(&file.path()).await?;
    page.protected().await?;
    page.read_back().await?;
    page.option("epochs", 2).await?;
    page.option("batch_size", 8).await?;
    page.click("train-button").await?;
    page.phase("done", COMPUTED).await?;
    for (hook, says) in PICTURES {
        ensure_named(&page, hook, says).await?;
    }
    page.picture("2-trained").await?;
    ensure_read_by_keys(&page).await?;
    page.session().script(KEEP_DOWNLOADS).await?;
    for (hook, _) in PICTURES {
        ensure_saved(&page, hook).await?;
    }
    ensure_report_holds_nothing(&page).await?;
    page.ensure_quiet_console().await?;
    page.ensure_one_origin().await
}

/// A picture has a role, a name and a description, and the same numbers as a table.
async fn ensure_named(page: &Page, hook: &str, says: &str) -> anyhow::Result<()> {
    let shown = format!(
        "(() => {{ const figure = document.querySelector('[data-testid=\"{hook}\"]'); \
           const drawn = figure?.querySelector('svg[role=img]'); \
           const told = (name) => document.getElementById(drawn?.getAttribute(name))?.textContent; \
           const fold = figure?.querySelector('.pic-table'); \
           if (fold) fold.open = true; \
           return [told('aria-labelledby') ?? '', told('aria-describedby') ?? '', \
                   drawn?.querySelectorAll('text').length ?? 0, drawn?.clientHeight ?? 0]; }})()"
    );
    let told = page.value(&shown).await?;
    let name = told[0].as_str().unwrap_or_default().replace('\u{a0}', " ");
    ensure!(name.contains(says), "{hook} is named: {name}");
    let description = told[1].as_str().unwrap_or_default();
    ensure!(
        description.contains(' '),
        "{hook} is described: {description}"
    );
    ensure!(told[2].as_u64() > Some(3), "{hook} has no words");
    ensure!(told[3].as_u64() > Some(50), "{hook} is not drawn");
    let rows = format!("document.querySelectorAll('[data-testid=\"{hook}\"] tbody tr').length > 0");
    page.until(&rows, SOON).await
}

/// The arrow keys read single values.
async fn ensure_read_by_keys(page: &Page) -> anyhow::Result<()> {
    let holder = page
        .session()
        .find("[data-testid=loss] .pic-holder")
        .await?;
    holder.keys(ARROW_RIGHT).await?;
    let read = "document.querySelector('[data-testid=loss] .pic-readout') \
        .textContent.startsWith('Step 1,')";
    page.until(read, SOON).await
}

/// All three files of a picture. The PNG is made of the SVG as a document of its own, so that it is
/// there only if the browser could parse that.
async fn ensure_saved(page: &Page, hook: &str) -> anyhow::Result<()> {
    let svg = saved(page, &format!("{hook}-svg")).await?;
    ensure!(svg.name == format!("cutlayer-{hook}.svg"), "{}", svg.name);
    ensure!(svg.text.starts_with("<svg"), "{hook} as SVG: another root");
    ensure!(
        svg.text.contains("<title"),
        "the file of {hook} has no name"
    );
    ensure!(!svg.text.contains("class="), "{hook} needs a style sheet");

    let csv = saved(page, &format!("{hook}-csv")).await?;
    ensure!(csv.name == format!("cutlayer-{hook}.csv"), "{}", csv.name);
    ensure!(csv.text.lines().count() > 1, "{hook} as CSV: {}", csv.text);

    let png = saved(page, &format!("{hook}-png")).await?;
    ensure!(png.kind == "image/png" && png.size > 1_000, "{hook} as PNG");
    Ok(())
}

/// The report tells of the run and of no word of the file; the file's name is in it when asked for.
async fn ensure_report_holds_nothing(page: &Page) -> anyhow::Result<()> {
    page.click("report-classes").await?; // ticked before
    let report = saved(page, "report-button").await?;
    ensure!(
        report.name.starts_with("cutlayer-report-") && report.kind == "text/html",
        "{}",
        report.name
    );
    let html = &report.text;
    ensure!(html.starts_with("<!doctype html>"), "no document");
    ensure!(html.contains("Content-Security-Policy"), "no policy");
    ensure!(!html.contains("<script"), "a script");
    ensure!(html.matches("<svg").count() >= 5, "pictures are missing");
    let found = private()?.found_in(html.as_bytes());
    ensure!(found.is_empty(), "in the report: {found:?}");
    // The search would have found it.
    page.click("report-names").await?;
    let report = saved(page, "report-button").await?;
    let found = private()?.found_in(report.text.as_bytes());
    ensure!(!found.is_empty(), "the search finds nothing");
    Ok(())
}

/// What no report may hold unasked.
fn private() -> anyhow::Result<Secrets> {
    let mut secrets = Secrets::default();
    secrets.add_sentence("the canary", CANARY);
    let invented = CANARY.split_whitespace().next();
    let invented = invented.context("the canary has a word")?;
    secrets.add_text("a word of the canary", invented);
    for label in LABELS {
        secrets.add_text("the name of a label", label);
    }
    secrets.add_text("the file name", FILE_NAME);
    Ok(secrets)
}

/// The file that a button makes. Buttons in a closed fold are pressed too.
async fn saved(page: &Page, hook: &str) -> anyhow::Result<Saved> {
    let press = format!(
        "window.kept.length = 0; document.querySelector('[data-testid=\"{hook}\"]').click();"
    );
    page.session().script(&press).await?;
    page.until("window.kept.length === 1", SOON).await?;
    let kept = page.value("window.kept[0]").await?;
    let text = |name: &str| kept[name].as_str().unwrap_or_default().to_owned();
    Ok(Saved {
        name: text("download"),
        kind: text("type"),
        size: kept["size"].as_u64().unwrap_or_default(),
        text: text("text"),
    })
}
