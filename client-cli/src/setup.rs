//! What all commands begin with: connect, read the file, choose the protection.

use client_wasm::client::Client;
use client_wasm::file::FileReport;
use client_wasm::release::ReleaseKey;

use crate::args::Common;
use crate::connection::Connection;
use crate::input::OwnedFile;
use crate::output::{Line, Output};

/// Prepares a client that has read `file` and protects what it releases.
///
/// # Errors
///
/// When the server cannot be reached or offers no such bottom, or the file cannot be used.
pub(crate) async fn client(
    common: &Common,
    file: &OwnedFile,
    output: &mut Output,
) -> anyhow::Result<(Client<Connection>, FileReport)> {
    let key = ReleaseKey::from_system()?;
    let on_event = |event| output.event(&event);
    let mut client = Client::connect(&common.server, &common.connect(), key, on_event).await?;
    output.clear();
    let mut report = client.read_file(&file.name, &file.bytes)?;
    let columns = common.columns();
    if columns != Default::default() {
        report = client.choose_columns(&columns)?;
    }
    output.line(&Line::file(&report))?;
    let privacy = client.set_privacy(&common.privacy.options()).await?;
    if privacy.protection.is_none() {
        output.warning(&format!("WARNING: {}", privacy.sentence));
    }
    for caveat in &privacy.caveats {
        output.warning(caveat);
    }
    output.line(&Line::Privacy(&privacy))?;
    Ok((client, report))
}
