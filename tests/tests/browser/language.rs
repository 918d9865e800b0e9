//! The page in another language, and back.

use anyhow::ensure;
use tests::browser::Gpu;

use crate::page::{COMPUTED, Page, SOON};
use crate::rows::PrivateFile;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs chromium and models"]
async fn the_page_speaks_the_language_that_is_chosen_needs_chromium() -> anyhow::Result<()> {
    let page = Page::open("language", Gpu::Off, "device=cpu&cut=0&language=de").await?;
    let language = "document.documentElement.lang";
    ensure!(page.value(language).await? == "de", "the language");
    let title = "document.querySelector('#title-file [data-text]').textContent";
    ensure!(page.value(title).await? == "Datei wählen", "the frame");
    let file = PrivateFile::write()?;
    page.choose(&file.path()).await?;
    page.protected().await?;
    let rows = format!("{} Zeilen", file.row_count());
    let summary = page.text("dataset-summary").await?;
    ensure!(summary.starts_with(&rows), "it says: {summary}");
    page.picture("2-german").await?;

    // What was entered stays, and nothing is calculated anew.
    page.option("epochs", 7).await?;
    let choose = "(() => { const select = document.querySelector('[data-testid=language]'); \
        select.value = 'en'; \
        select.dispatchEvent(new Event('change', { bubbles: true })); return select.value; })()";
    ensure!(page.value(choose).await? == "en", "no choice");
    page.until(&format!("{language} === 'en'"), SOON).await?;
    page.phase("privacy", COMPUTED).await?;
    let rows = format!("{} rows", file.row_count());
    let summary = page.text("dataset-summary").await?;
    ensure!(summary.starts_with(&rows), "it says: {summary}");
    let epochs = "document.getElementById('epochs').value";
    ensure!(page.value(epochs).await? == "7", "the epochs are forgotten");
    page.picture("3-english").await?;
    page.ensure_quiet_console().await?;
    page.ensure_one_origin().await
}
