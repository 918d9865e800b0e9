//! What all commands begin with: connect, read the file, choose the protection.

use client_wasm::client::{Client, PrivacyReport};
use client_wasm::file::FileReport;
use client_wasm::release::ReleaseKey;
use client_wasm::seed::Seed;
use shared::text::TextRow;

use crate::args::Common;
use crate::connection::Connection;
use crate::input::OwnedFile;
use crate::output::{Line, Output};

/// A client that can release its file.
pub(crate) struct Ready {
    pub(crate) client: Client<Connection>,
    /// What was read.
    pub(crate) file: FileReport,
    /// How it is protected.
    pub(crate) privacy: PrivacyReport,
}

/// Prepares a client that has read `file` and protects what it releases.
///
/// # Errors
///
/// When the server cannot be reached or offers no such bottom, or the file cannot be used.
pub(crate) async fn client(
    common: &Common,
    file: &OwnedFile,
    output: &mut Output,
) -> anyhow::Result<Ready> {
    let mut client = connected(common, output).await?;
    let mut report = client.read_file(&file.name, &file.bytes)?;
    let columns = common.columns();
    if columns != Default::default() {
        report = client.choose_columns(&columns)?;
    }
    output.line(&Line::file(&report))?;
    let mut privacy = client.set_privacy(&common.privacy.options()).await?;
    // Words of the file, which would stand in whatever keeps the output.
    privacy.contributing.clear();
    say(&privacy, output)?;
    Ok(Ready {
        client,
        file: report,
        privacy,
    })
}

/// Prepares a client that protects texts and has nothing to train on.
///
/// # Errors
///
/// When the server cannot be reached or offers no such bottom, or the mechanism needs rows to train
/// on.
pub(crate) async fn client_for(
    common: &Common,
    texts: &[TextRow],
    output: &mut Output,
) -> anyhow::Result<Client<Connection>> {
    let mut client = connected(common, output).await?;
    let texts: Vec<_> = texts
        .iter()
        .map(|row| (row.text.clone(), row.pair.clone()))
        .collect();
    let options = common.privacy.options();
    let privacy = client.set_privacy_for(&texts, &options).await?;
    say(&privacy, output)?;
    Ok(client)
}

async fn connected(common: &Common, output: &mut Output) -> anyhow::Result<Client<Connection>> {
    let seed = common.seed.map(Seed::new);
    let key = match seed {
        Some(seed) => seed.release_key(),
        None => ReleaseKey::from_system()?,
    };
    let on_event = |event| output.event(&event);
    let mut client = Client::connect(&common.server(), &common.connect(), key, on_event).await?;
    output.clear();
    if let Some(seed) = seed {
        client.draw_from(seed);
    }
    Ok(client)
}

/// Says how texts are protected.
fn say(privacy: &PrivacyReport, output: &mut Output) -> anyhow::Result<()> {
    if privacy.protection.is_none() {
        output.warning(&format!("WARNING: {}", privacy.sentence));
    }
    for caveat in &privacy.caveats {
        output.warning(caveat);
    }
    Ok(output.line(&Line::Privacy(privacy))?)
}
