//! From a file to an answer, and what left the browser on the way.

use std::collections::BTreeSet;

use anyhow::ensure;
use shared::protocol::codec::decode_client;
use shared::protocol::limits::Limits;
use shared::protocol::message::ClientMessage;
use tests::browser::{Gpu, Opcode, Recorder, Secrets, Traffic};

use crate::page::{COMPUTED, Page, SOON};
use crate::rows::{LABELS, PrivateFile, QUESTION};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs chromium and models"]
async fn the_page_trains_on_private_reviews_with_webgpu_needs_chromium() -> anyhow::Result<()> {
    let page = Page::open("webgpu", Gpu::Software, "device=gpu&cut=1").await?;
    let device = page
        .value("document.querySelector('.device').innerText")
        .await?;
    let device = device.as_str().unwrap_or_default();
    ensure!(
        device.contains("on the GPU of this device"),
        "it says: {device}"
    );
    train_and_predict(&page).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs chromium and models"]
async fn the_page_trains_on_private_reviews_on_the_cpu_needs_chromium() -> anyhow::Result<()> {
    // The device is not chosen: the page must notice by itself, and say so.
    let page = Page::open("cpu", Gpu::Off, "cut=1").await?;
    let notice = page.text("notice").await?;
    ensure!(
        notice.contains("runs on the processor"),
        "it says: {notice}"
    );
    train_and_predict(&page).await
}

async fn train_and_predict(page: &Page) -> anyhow::Result<()> {
    let file = PrivateFile::write()?;
    read(page, &file).await?;
    train(page).await?;
    predict(page).await?;
    page.ensure_quiet_console().await?;
    page.ensure_one_origin().await?;
    ensure_nothing_private(&page.recorder, &file)
}

/// Steps 1 to 3: the file, its columns, the protection.
async fn read(page: &Page, file: &PrivateFile) -> anyhow::Result<()> {
    page.choose(&file.path()).await?;
    page.protected().await?;
    let summary = page.text("dataset-summary").await?;
    let rows = format!("{} rows", file.row_count());
    ensure!(summary.starts_with(&rows), "it says: {summary}");
    for (hook, column) in [("column-text", "review"), ("column-label", "rating")] {
        let chosen = format!("document.querySelector('[data-testid={hook}]').value");
        ensure!(page.value(&chosen).await? == column, "the column of {hook}");
    }
    let labels = page.text("label-list").await?;
    ensure!(
        labels.contains("12 rows") && labels.contains("13 rows"),
        "it says: {labels}"
    );
    page.picture("2-dataset").await?;

    for (hook, property, value) in [
        ("mechanism-token", "checked", serde_json::json!(true)),
        ("protection-slider", "value", serde_json::json!("50")),
    ] {
        let set = format!("document.querySelector('[data-testid={hook}]').{property}");
        ensure!(page.value(&set).await? == value, "the default of {hook}");
    }
    let token = "document.querySelectorAll('[data-testid=preview] .token')";
    page.until(&format!("{token}.length > 20"), COMPUTED)
        .await?;
    let changed =
        format!("[...{token}].some(({{ dataset }}) => ['near', 'far'].includes(dataset.kind))");
    page.until(&changed, SOON).await?;
    ensure!(
        page.text("shares").await?.contains("unchanged"),
        "no shares"
    );
    let offered = page
        .value("document.querySelectorAll('[name=mechanism]').length")
        .await?;
    ensure!(
        offered.as_u64() > Some(1),
        "{offered} mechanisms are offered"
    );
    let guarantee = page.text("guarantee").await?;
    ensure!(guarantee.contains(' '), "it promises: {guarantee}");
    page.picture("3-protection").await
}

/// Step 4.
async fn train(page: &Page) -> anyhow::Result<()> {
    page.option("epochs", 2).await?;
    page.option("batch_size", 8).await?;
    page.click("train-button").await?;
    page.phase("done", COMPUTED).await?;
    page.percent("accuracy").await?;
    ensure!(
        page.text("bytes-sent").await?.contains("kB"),
        "no bytes were sent"
    );
    page.picture("4-trained").await
}

/// Step 5.
async fn predict(page: &Page) -> anyhow::Result<()> {
    page.keys("predict-input", QUESTION).await?;
    page.click("predict-button").await?;
    let answered = "document.querySelector('[data-testid=prediction-label]') !== null";
    page.until(answered, COMPUTED).await?;
    let label = page.text("prediction-label").await?;
    ensure!(LABELS.contains(&label.as_str()), "no label of the file");
    page.picture("5-predicted").await
}

/// Reads everything that left the browser.
pub fn ensure_nothing_private(recorder: &Recorder, file: &PrivateFile) -> anyhow::Result<()> {
    let secrets = file.secrets()?;
    // The search must find what is known to be there, in requests as well as in messages.
    let mut public = Secrets::default();
    public.add_text("the protocol", "cutlayer.v1");
    public.add_text("the model", "bert-tiny");
    let mut seen = BTreeSet::new();
    let mut found = BTreeSet::new();
    let mut sessions = 0;
    for connection in recorder.connections() {
        let traffic = Traffic::read(&connection)?;
        if !traffic.messages.is_empty() {
            sessions += 1;
            ensure_whole_session(&traffic, file.row_count())?;
        }
        for (name, bytes) in traffic.streams() {
            seen.extend(public.found_in(&bytes).into_iter().map(|what| (name, what)));
            found.extend(
                secrets
                    .found_in(&bytes)
                    .into_iter()
                    .map(|what| (name, what)),
            );
        }
        let raw = secrets.found_in(&connection.from_browser);
        found.extend(raw.into_iter().map(|what| ("raw bytes", what)));
    }
    ensure!(
        sessions == 1,
        "{sessions} sessions are on record, 1 was opened"
    );
    for (stream, what) in [
        ("requests", "the protocol as UTF-8"),
        ("messages", "the model as UTF-8"),
    ] {
        let there = seen.contains(&(stream, what.to_owned()));
        ensure!(there, "the record of {stream} lacks {what}");
    }
    ensure!(found.is_empty(), "left the browser: {found:?}");
    Ok(())
}

/// Makes sure that each message is one of the protocol, and that each row was sent exactly once.
fn ensure_whole_session(traffic: &Traffic, rows: usize) -> anyhow::Result<()> {
    let mut examples = BTreeSet::new();
    let (mut uploads, mut uploaded, mut predictions) = (0, 0, 0);
    for message in &traffic.messages {
        ensure!(message.complete, "a message without its end");
        if message.opcode != Opcode::Binary {
            ensure!(message.opcode != Opcode::Text, "a message of text");
            continue;
        }
        match decode_client(&message.payload, &Limits::default())?.message {
            ClientMessage::Upload(upload) => {
                uploads += 1;
                uploaded += upload.examples.len();
                examples.extend(upload.examples.iter().map(|example| example.example_id));
            }
            ClientMessage::Predict(predict) => predictions += predict.seq_lengths.len(),
            _ => {}
        }
    }
    ensure!(uploads > 0, "nothing was uploaded");
    ensure!(
        (uploaded, examples.len()) == (rows, rows),
        "{uploaded} examples of {rows}"
    );
    ensure!(predictions == 1, "{predictions} predictions were asked for");
    Ok(())
}
