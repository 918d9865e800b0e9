//! What the page says has left it, held against what really did.

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::{Context, ensure};
use shared::protocol::codec::decode_client;
use shared::protocol::limits::Limits;
use shared::protocol::message::ClientMessage;
use tests::browser::{Gpu, Opcode, Traffic};

use crate::page::{COMPUTED, Page, SOON};
use crate::rows::{PrivateFile, QUESTION};

/// Messages and their bytes, by the purpose that the page gives them.
type Sums = BTreeMap<String, (u64, u64)>;

/// Rows of the panel: purpose, messages, bytes, requests.
const TOLD: &str = "[...document.querySelectorAll('[data-testid=left-sums] tr')].map(({ dataset }) \
    => [dataset.purpose, Number(dataset.messages), Number(dataset.bytes), Number(dataset.requests)])";

/// What the panel says is in the newest prediction.
const PREDICT: &str = "[...document.querySelectorAll('[data-testid=left-pieces] tr')].find((row) \
    => row.querySelector('th').textContent === 'Predict')?.lastElementChild.textContent ?? null";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs chromium and models"]
async fn the_page_tells_everything_that_left_it_needs_chromium() -> anyhow::Result<()> {
    let page = Page::open("left", Gpu::Off, "device=cpu&cut=1").await?;
    let file = PrivateFile::write()?;
    page.choose(&file.path()).await?;
    page.protected().await?;
    page.option("epochs", 2).await?;
    page.option("batch_size", 8).await?;
    page.click("train-button").await?;
    page.phase("done", COMPUTED).await?;
    page.keys("predict-input", QUESTION).await?;
    page.click("predict-button").await?;
    let answered = "document.querySelector('[data-testid=prediction-label]') !== null";
    page.until(answered, COMPUTED).await?;

    let open = "(document.querySelector('[data-testid=left]').open = true)";
    page.value(open).await?;
    ensure_told_as_recorded(&page).await?;
    ensure_numbers_as_recorded(&page).await?;
    ensure!(
        page.text("left-sum").await?.contains("request"),
        "the panel has no line of its own"
    );
    page.picture("6-left").await?;
    page.ensure_quiet_console().await?;
    page.ensure_one_origin().await
}

/// The panel is drawn a little after a message has left.
async fn ensure_told_as_recorded(page: &Page) -> anyhow::Result<()> {
    let deadline = Instant::now() + SOON;
    loop {
        let (told, requests) = told(page).await?;
        let (recorded, asked) = recorded(page)?;
        let same = told == recorded && requests.get("model") == Some(&asked);
        if same {
            ensure!(requests.get("session") == Some(&1), "not one connection");
            let files = requests.get("page").copied().unwrap_or(0);
            ensure!(files > 1, "{files} files of the page");
            for other in ["elsewhere", "unknown"] {
                ensure!(!requests.contains_key(other), "something left {other}");
            }
            return Ok(());
        }
        ensure!(
            Instant::now() < deadline,
            "the page tells {told:?} and {requests:?}; on record are {recorded:?} and {asked} \
             requests of the model"
        );
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
}

/// Messages with their bytes, and requests, by purpose, as the page tells them.
async fn told(page: &Page) -> anyhow::Result<(Sums, BTreeMap<String, u64>)> {
    let rows = page.value(TOLD).await?;
    let (mut sums, mut requests) = (Sums::new(), BTreeMap::new());
    for row in rows.as_array().context("no rows")? {
        let purpose = row[0].as_str().context("no purpose")?.to_owned();
        let number = |at: usize| row[at].as_u64().context("no number");
        let (messages, bytes) = (number(1)?, number(2)?);
        requests.insert(purpose.clone(), number(3)?);
        if messages > 0 {
            sums.insert(purpose, (messages, bytes));
        }
    }
    Ok((sums, requests))
}

/// The same of the record, and how often the model's files were asked for.
fn recorded(page: &Page) -> anyhow::Result<(Sums, u64)> {
    let (mut sums, mut asked) = (Sums::new(), 0);
    for connection in page.recorder.connections() {
        let traffic = Traffic::read(&connection)?;
        for line in &traffic.request_lines {
            let path = line.split(' ').nth(1).unwrap_or_default();
            asked += u64::from(path.starts_with("/v1/") && !path.starts_with("/v1/session"));
        }
        for message in &traffic.messages {
            if message.opcode != Opcode::Binary || !message.complete {
                continue;
            }
            let frame = decode_client(&message.payload, &Limits::default())?;
            let sum = sums.entry(purpose(&frame.message).to_owned()).or_default();
            sum.0 += 1;
            sum.1 += message.payload.len() as u64;
        }
    }
    Ok((sums, asked))
}

/// As `MESSAGE_PURPOSES` of `web/src/left.js`.
fn purpose(message: &ClientMessage) -> &'static str {
    use ClientMessage as M;
    match message {
        M::Hello(_) | M::Resume(_) | M::Received(_) | M::UseAdapter(_) | M::Goodbye => "session",
        M::Upload(_) | M::BatchActivations(_) => "examples",
        M::PooledGradient(_) | M::Verdict(_) => "corrections",
        M::Train(_) | M::Pause | M::Continue | M::Cancel => "control",
        M::Predict(_) => "predict",
    }
}

/// The first number that the panel shows of a prediction is the first that was sent.
async fn ensure_numbers_as_recorded(page: &Page) -> anyhow::Result<()> {
    let shown = page.value(PREDICT).await?;
    let shown = shown.as_str().context("the panel has no prediction")?;
    let numbers = shown.split("beginning ").nth(1).context("no numbers")?;
    let first: f32 = numbers
        .split(',')
        .next()
        .context("no first number")?
        .trim()
        .parse()?;
    let mut sent = None;
    for connection in page.recorder.connections() {
        for message in Traffic::read(&connection)?.messages {
            if message.opcode != Opcode::Binary {
                continue;
            }
            let frame = decode_client(&message.payload, &Limits::default())?;
            if let ClientMessage::Predict(predict) = frame.message {
                let tensor = predict.activations;
                let shape = format!("{} × {} numbers", tensor.rows, tensor.columns);
                let shown = shown.replace('\u{a0}', " ");
                ensure!(shown.contains(&shape), "{shape} is not in: {shown}");
                sent = tensor.decode(frame.payload)?.first().copied();
            }
        }
    }
    let sent = sent.context("no prediction is on record")?;
    // Three digits are shown.
    ensure!(
        (first - sent).abs() <= 0.006 * sent.abs(),
        "{first} is shown, {sent} was sent"
    );
    Ok(())
}
