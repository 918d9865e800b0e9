//! What the page measures of the protection before anything is sent.

use anyhow::ensure;
use tests::browser::{Gpu, Traffic};

use crate::page::{Page, SOON};
use crate::rows::PrivateFile;

/// The right arrow among the keys of WebDriver.
const ARROW_RIGHT: &str = "\u{e014}";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs chromium and models"]
async fn the_page_measures_what_can_be_read_back_needs_chromium() -> anyhow::Result<()> {
    let page = Page::open("reading", Gpu::Off, "device=cpu&cut=0").await?;
    let file = PrivateFile::write()?;
    page.choose(&file.path()).await?;
    page.protected().await?;
    page.read_back().await?;
    // About half of the words leave as they are: whoever reads nothing or everything is broken.
    let read = page.percent("reading-nn").await?;
    ensure!(0.0 < read && read < 100.0, "{read} % are read back");
    page.text("privacy-utility").await?;
    page.text("survivors").await?;
    page.picture("2-measured").await?;

    page.keys("protection-slider", ARROW_RIGHT).await?;
    let outdated = "document.querySelector('[data-testid=reading-outdated]').checkVisibility()";
    page.until(outdated, SOON).await?;
    page.protected().await?;
    for connection in page.recorder.connections() {
        let sent = Traffic::read(&connection)?.messages;
        ensure!(sent.is_empty(), "{} messages were sent", sent.len());
    }
    page.ensure_quiet_console().await?;
    page.ensure_one_origin().await
}
