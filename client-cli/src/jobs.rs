//! `cutlayer jobs`: a tenant's jobs at the server.

use std::process::ExitCode;

use crate::adapters;
use crate::api::{Api, escaped};
use crate::args::remote::JobsCommand;
use crate::listing;
use crate::output::Output;
use crate::watch;

/// Runs the command; `watch` tells by its exit code how the job ended.
///
/// # Errors
///
/// When the server cannot be reached, or refuses.
pub(crate) fn run(
    command: &JobsCommand,
    api: &Api,
    output: &mut Output,
) -> anyhow::Result<ExitCode> {
    match command {
        JobsCommand::List(args) => {
            let jobs = api.list("jobs", args.limit)?;
            output.entries(&jobs, listing::jobs)?;
        }
        JobsCommand::Show(job) => {
            let job = api.get(&path(&job.id))?;
            output.entry(&job, listing::job)?;
        }
        JobsCommand::Watch { job, after } => {
            return watch::run(api, &path(&job.id), *after, output);
        }
        JobsCommand::Pause(job) => steer(api, &job.id, "pause", output)?,
        JobsCommand::Resume(job) => steer(api, &job.id, "resume", output)?,
        JobsCommand::Cancel(job) => steer(api, &job.id, "cancel", output)?,
        JobsCommand::Delete(job) => {
            let removed = api.delete(&path(&job.id))?;
            output.entry(&removed, listing::removed_job)?;
        }
        JobsCommand::Export { job, out } => {
            let adapter = adapters::of_job(api, &job.id)?;
            adapters::export(api, &adapter, out, output)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn path(id: &str) -> String {
    format!("/v1/jobs/{}", escaped(id))
}

/// Asks for something that happens after the job's current step.
fn steer(api: &Api, id: &str, verb: &str, output: &Output) -> anyhow::Result<()> {
    api.post(&format!("{}/{verb}", path(id)))?;
    output.note("It is under way; `cutlayer jobs watch` says when it has happened.");
    Ok(())
}
