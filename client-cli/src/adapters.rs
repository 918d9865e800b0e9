//! `cutlayer adapters`: a tenant's adapters at the server.

use std::fs;
use std::path::Path;

use anyhow::{Context, bail};
use serde_json::{Value, json};
use shared::adapter::archive;
use shared::adapter::peft::{CONFIG_FILE, PeftFiles, TENSORS_FILE};

use crate::api::{Api, escaped};
use crate::args::remote::AdaptersCommand;
use crate::listing;
use crate::output::Output;

/// Runs the command.
///
/// # Errors
///
/// When the server cannot be reached, or refuses, or a file cannot be read or written.
pub(crate) fn run(command: &AdaptersCommand, api: &Api, output: &mut Output) -> anyhow::Result<()> {
    match command {
        AdaptersCommand::List(args) => {
            let adapters = api.list("adapters", args.limit)?;
            output.entries(&adapters, listing::adapters)?;
        }
        AdaptersCommand::Show(args) => {
            output.entry(&find(api, &args.adapter)?, listing::adapter)?;
        }
        AdaptersCommand::Rename { adapter, name } => {
            let change = json!({ "name": name });
            let changed = api.patch(&path(&find(api, &adapter.adapter)?)?, &change)?;
            output.entry(&changed, listing::adapter)?;
        }
        AdaptersCommand::Default { adapter, off } => {
            let change = json!({ "is_default": !off });
            let changed = api.patch(&path(&find(api, &adapter.adapter)?)?, &change)?;
            output.entry(&changed, listing::adapter)?;
        }
        AdaptersCommand::Delete(args) => {
            let removed = api.delete(&path(&find(api, &args.adapter)?)?)?;
            output.entry(&removed, listing::removed_adapter)?;
        }
        AdaptersCommand::Export { adapter, out } => {
            export(api, &find(api, &adapter.adapter)?, out, output)?;
        }
        AdaptersCommand::Import {
            directory,
            cut,
            name,
        } => {
            let archive = archive::write(&read(directory)?);
            let name = name
                .as_deref()
                .map(|name| format!("&name={}", escaped(name)));
            let query = format!("/v1/adapters?cut={cut}{}", name.unwrap_or_default());
            let kept = api.post_archive(&query, &archive)?;
            output.entry(&kept, listing::adapter)?;
        }
    }
    Ok(())
}

/// The adapter of an id or a name.
///
/// # Errors
///
/// When there is none, or the server cannot be asked.
pub(crate) fn find(api: &Api, wanted: &str) -> anyhow::Result<Value> {
    // An id is 32 digits, which the server takes for no name.
    if wanted.len() == 32 && wanted.bytes().all(|c| c.is_ascii_hexdigit()) {
        return api.get(&format!("/v1/adapters/{wanted}"));
    }
    let adapters = api.list("adapters", None)?;
    let named = adapters.into_iter().find(|one| one["name"] == wanted);
    named.with_context(|| {
        format!("the server keeps no adapter named {wanted:?}; see `cutlayer adapters list`")
    })
}

/// The default, of a cut where one is given.
///
/// # Errors
///
/// When there is none, or more than one that could be meant.
pub(crate) fn find_default(api: &Api, cut: Option<u32>) -> anyhow::Result<Value> {
    let mut defaults = api.list("adapters", None)?;
    defaults.retain(|one| one["is_default"] == true && cut.is_none_or(|cut| one["cut"] == cut));
    match defaults.len() {
        1 => Ok(defaults.remove(0)),
        0 => bail!("the server has no default adapter for this; see `cutlayer adapters default`"),
        _ => bail!("there are defaults for several cuts or models: choose one by its id"),
    }
}

/// The adapter that a job has left.
///
/// # Errors
///
/// When it has left none, or the server cannot be asked.
pub(crate) fn of_job(api: &Api, job: &str) -> anyhow::Result<Value> {
    let adapters = api.list("adapters", None)?;
    let found = adapters.into_iter().find(|one| one["job"] == job);
    found.context(
        "the server keeps no adapter of this job: it has not ended, was not yours, or a part of \
         the adapter is at its client",
    )
}

/// Writes an adapter's files to a directory, in place of none that is there.
///
/// # Errors
///
/// When a file is there already or cannot be written, or the server refuses.
pub(crate) fn export(
    api: &Api,
    adapter: &Value,
    out: &Path,
    output: &Output,
) -> anyhow::Result<()> {
    for name in [CONFIG_FILE, TENSORS_FILE] {
        if out.join(name).exists() {
            bail!("{} is there already", out.join(name).display());
        }
    }
    let path = path(adapter)?;
    let file = |name| api.bytes(&format!("{path}/files/{name}"));
    let files = [
        (CONFIG_FILE, file(CONFIG_FILE)?),
        (TENSORS_FILE, file(TENSORS_FILE)?),
    ];
    let named = || format!("{} cannot be written", out.display());
    fs::create_dir_all(out).with_context(named)?;
    for (name, bytes) in files {
        fs::write(out.join(name), bytes).with_context(named)?;
    }
    output.note(&format!("Wrote the adapter to {}.", out.display()));
    Ok(())
}

fn read(directory: &Path) -> anyhow::Result<PeftFiles> {
    let file = |name| {
        let path = directory.join(name);
        fs::read(&path).with_context(|| format!("{} cannot be read", path.display()))
    };
    Ok(PeftFiles {
        config: file(CONFIG_FILE)?,
        tensors: file(TENSORS_FILE)?,
    })
}

fn path(adapter: &Value) -> anyhow::Result<String> {
    let id = adapter["id"]
        .as_str()
        .context("the server names no adapter")?;
    Ok(format!("/v1/adapters/{}", escaped(id)))
}
