//! `cutlayer preview`: texts beside what the server would see of them.

use crate::args::PreviewArgs;
use crate::input::OwnedFile;
use crate::output::{Line, Output};
use crate::setup;

/// Runs the command. It opens no session: nothing of the file is sent.
///
/// # Errors
///
/// When the file cannot be used, or the server cannot be reached for the bottom of the model.
pub(crate) async fn run(args: &PreviewArgs, output: &mut Output) -> anyhow::Result<()> {
    let file = OwnedFile::read_labelled(&args.file, &args.common.columns())?;
    let ready = Box::pin(setup::client(&args.common, &file, output)).await?;
    let preview = ready.client.preview(args.rows).await?;
    output.line(&Line::Preview(&preview))?;
    Ok(())
}
