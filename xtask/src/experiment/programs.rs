//! Runs `cutlayer-server` and `cutlayer` for one row, as anybody would, and reads what they print.
//!
//! Whatever varies from machine to machine (port, folders) goes through environment variables, so
//! that the recorded command is the command.

use std::env;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::assets;
use crate::shell;
use crate::workspace::Workspace;

/// A daemon on a free port of loopback, which ends with its owner.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    url: String,
    /// The command as it is recorded.
    pub(crate) command: String,
}

/// The programs, and where they work.
#[derive(Debug)]
pub(crate) struct Programs {
    server: PathBuf,
    client: PathBuf,
    models: PathBuf,
    model: String,
    data: PathBuf,
    csv: PathBuf,
    logs: PathBuf,
}

impl Programs {
    /// The programs of the workspace, to be run on CSV files in `csv`.
    ///
    /// # Errors
    /// When the path of the model has no name.
    pub(crate) fn new(workspace: &Workspace, csv: &Path) -> Result<Self> {
        let model = workspace.cache.join(assets::DEFAULT_MODEL);
        let no_name = "The model's directory has no name: report it.";
        let experiments = workspace.cache.join("experiments");
        Ok(Self {
            server: workspace.program("cutlayer-server"),
            client: workspace.program("cutlayer"),
            models: model.parent().context(no_name)?.to_owned(),
            model: model
                .file_name()
                .context(no_name)?
                .to_string_lossy()
                .into_owned(),
            data: experiments.join("server"),
            csv: csv.to_owned(),
            logs: workspace.cache.join("logs/experiments"),
        })
    }

    /// Starts a daemon that offers one cut and trains as `seed` says, and waits until it listens.
    ///
    /// # Errors
    /// One sentence that names its log.
    pub(crate) fn serve(&self, cut: &str, seed: u64) -> Result<Server> {
        let model = &self.model;
        let arguments = format!("--model {model} --cuts {cut} --device cpu --seed {seed}");
        let log = self.logs.join("server.log");
        let mut command = prepared(&self.server, &self.models);
        command
            .args(arguments.split_whitespace())
            .env("CUTLAYER_DATA", &self.data)
            .env("CUTLAYER_LISTEN", "127.0.0.1:0")
            .stdout(Stdio::piped())
            .stderr(log_file(&log)?);
        let remedy = || format!("The server did not start: {} says why.", log.display());
        let mut child = command.spawn().with_context(remedy)?;
        let stdout = child.stdout.take();
        // From here on the child ends also when something goes wrong.
        let mut server = Server {
            child,
            url: String::new(),
            command: format!("cutlayer-server {arguments}"),
        };
        // Its only line of output is the address.
        BufReader::new(stdout.with_context(remedy)?)
            .read_line(&mut server.url)
            .with_context(remedy)?;
        server.url = server.url.trim().to_owned();
        if server.url.is_empty() {
            bail!(remedy());
        }
        Ok(server)
    }

    /// Runs `cutlayer` against a server and returns the objects that it prints.
    ///
    /// They may hold text of the data set: they stay in memory.
    ///
    /// # Errors
    /// The sentence with which it failed.
    pub(crate) fn client(&self, server: &Server, arguments: &str) -> Result<Vec<Value>> {
        let log = self.logs.join("client.log");
        let output = prepared(&self.client, &self.csv)
            .args(arguments.split_whitespace())
            .env("CUTLAYER_SERVER", &server.url)
            .stderr(log_file(&log)?)
            .output()
            .context("`cutlayer` could not be started: run again.")?;
        let text = String::from_utf8_lossy(&output.stdout);
        let lines: Vec<Value> = text
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect();
        if !output.status.success() {
            let said = lines
                .iter()
                .rev()
                .find_map(|line| line["sentence"].as_str());
            let said = said.map_or_else(
                || fs::read_to_string(&log).unwrap_or_default(),
                str::to_owned,
            );
            bail!("`cutlayer {arguments}` failed: {}", said.trim());
        }
        Ok(lines)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // One that has ended cannot be killed and need not be; what it kept is removed by the next.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A program in a folder, without settings that a person has in the environment.
fn prepared(program: &Path, folder: &Path) -> Command {
    let mut command = Command::new(program);
    shell::forget_package(&mut command);
    for (name, _) in env::vars_os() {
        if name.to_string_lossy().starts_with("CUTLAYER_") {
            command.env_remove(name);
        }
    }
    command.current_dir(folder).stdin(Stdio::null());
    command
}

fn log_file(path: &Path) -> Result<File> {
    let remedy = || format!("Make {} writable.", path.display());
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).with_context(remedy)?;
    }
    File::create(path).with_context(remedy)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn programs(client: &str) -> Programs {
        let folder = env::temp_dir().join(format!("xtask-programs-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        Programs {
            server: PathBuf::from("echo"),
            client: PathBuf::from(client),
            models: folder.clone(),
            model: "m".to_owned(),
            data: folder.clone(),
            csv: folder.clone(),
            logs: folder.join("logs"),
        }
    }

    /// Breaks when the address is not what the daemon printed, or the seed does not reach it.
    #[test]
    fn the_address_is_the_line_that_the_server_prints() {
        let server = programs("echo").serve("2", 7).unwrap();
        assert_eq!(server.url, "--model m --cuts 2 --device cpu --seed 7"); // echo prints its arguments
        assert_eq!(
            server.command,
            "cutlayer-server --model m --cuts 2 --device cpu --seed 7"
        );
    }

    #[test]
    fn objects_are_read_and_other_lines_are_not() {
        let programs = programs("echo");
        let server = programs.serve("0", 1).unwrap();
        let lines = programs
            .client(&server, "{\"type\":\"evaluation\"}")
            .unwrap();
        assert_eq!(lines[0]["type"], "evaluation");
        assert!(programs.client(&server, "no object").unwrap().is_empty());
    }

    #[test]
    fn a_failed_client_is_quoted_with_its_command() {
        let programs = programs("false");
        let server = programs.serve("0", 1).unwrap();
        let error = programs.client(&server, "train a.csv").unwrap_err();
        assert!(
            error.to_string().contains("cutlayer train a.csv"),
            "{error}"
        );
    }
}
