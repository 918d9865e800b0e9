//! What the reader is told when something is wrong.

use std::fs;

use anyhow::ensure;
use server::auth::{Scope, Scopes};
use server::state::UnixMillis;
use server::token_command::create;
use tests::browser::Gpu;

use crate::page::{COMPUTED, Page, SOON};
use crate::rows::PrivateFile;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs chromium and models"]
async fn the_page_says_that_the_server_went_away_needs_chromium() -> anyhow::Result<()> {
    let page = Page::open("server-gone", Gpu::Off, "device=cpu&cut=0").await?;
    let file = PrivateFile::write()?;
    page.choose(&file.path()).await?;
    page.protected().await?;
    // Long enough to be interrupted: many small steps, and no early stop, which is behind a fold.
    page.option("epochs", 100).await?;
    let patience = "Object.assign(document.getElementById('patience'), { value: 0 }).value";
    ensure!(page.value(patience).await? == "0", "the patience");
    page.option("batch_size", 1).await?;
    page.click("train-button").await?;
    page.phase("training", COMPUTED).await?;
    page.server.shutdown.cancel();
    // It tries to come back for about a minute.
    page.phase("error", COMPUTED).await?;
    page.picture("2-gone").await?;
    let error = "document.querySelector('[data-testid=error]').dataset.name";
    ensure!(page.value(error).await? == "Disconnected", "another error");
    let sentence = page.text("error").await?;
    ensure!(sentence.contains("connection"), "it says: {sentence}");
    // What was entered is kept, and there is a way on.
    let rows = format!("{} rows", file.row_count());
    ensure!(
        page.text("dataset-summary").await?.starts_with(&rows),
        "the file is forgotten"
    );
    let again = "[...document.querySelectorAll('.banner button')].some(({ textContent, disabled }) \
        => textContent === 'Connect again' && !disabled)";
    page.until(again, SOON).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs chromium and models"]
async fn the_page_says_that_a_picture_is_no_table_needs_chromium() -> anyhow::Result<()> {
    let page = Page::open("bad-file", Gpu::Off, "device=cpu&cut=1").await?;
    let directory = tempfile::tempdir()?;
    let picture = directory.path().join("reviews.csv");
    fs::write(
        &picture,
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x01\0\0\0\x01\x08\x06\0\0\0",
    )?;
    page.choose(&picture).await?;
    let told = "document.querySelector('[data-testid=error]') !== null";
    page.until(told, SOON).await?;
    let sentence = page.text("error").await?;
    ensure!(
        sentence.contains(' ') && sentence.contains("Choose another file"),
        "it says: {sentence}"
    );
    page.picture("2-told").await?;
    // A good file after the bad one is read as if nothing had been.
    let file = PrivateFile::write()?;
    page.choose(&file.path()).await?;
    page.until(
        "document.querySelector('[data-testid=error]') === null",
        SOON,
    )
    .await?;
    page.phase("privacy", COMPUTED).await?;
    page.ensure_quiet_console().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs chromium and models"]
async fn the_page_asks_for_a_token_and_is_let_in_by_it_needs_chromium() -> anyhow::Result<()> {
    let page = Page::open("token", Gpu::Off, "device=cpu&cut=0").await?;
    // The first token closes the daemon for all who have none.
    let scopes = Scopes::of(&[Scope::Train, Scope::Predict]);
    let store = page.server.state.blocking();
    let token = create(store, "clinic".parse()?, scopes, None, UnixMillis::now())?;
    page.value("location.reload()").await?;
    let asked = "document.getElementById('token')?.checkVisibility() === true";
    page.until(asked, SOON).await?;
    page.picture("1-asked").await?;
    let field = page.session().find("#token").await?;
    field.keys("ctl_wrong").await?;
    page.click("token-button").await?;
    let again = "document.documentElement.dataset.phase === 'error' \
        && document.getElementById('token')?.value === ''";
    page.until(again, SOON).await?;
    let field = page.session().find("#token").await?;
    field.keys(&token.reveal()).await?;
    page.click("token-button").await?;
    // What went wrong before is shown until the page has heard of the click.
    let heard = "document.documentElement.dataset.phase !== 'error'";
    page.until(heard, SOON).await?;
    page.phase("ready", COMPUTED).await?;
    page.picture("2-let-in").await?;
    let address = page.value("location.href").await?;
    ensure!(
        !address.to_string().contains("ctl_"),
        "the token is in the address"
    );
    let file = PrivateFile::write()?;
    page.choose(&file.path()).await?;
    page.protected().await?;
    page.click("train-button").await?;
    page.phase("done", COMPUTED).await
}
