//! `cargo xtask autobahn`: Autobahn|Testsuite, which nobody here wrote, against the daemon's WebSocket.
//!
//! The suite expects an echo, which a session is not. So it meets two endpoints (`tests/examples/strangers`): an
//! echo behind the daemon's own listener and upgrade, where every case counts as it stands, and the daemon. There a
//! case that expects its message back has to end otherwise: no such message is a frame of `cutlayer.v1`, so the daemon
//! refuses it and closes with 1008. Everything else is judged by the suite at both.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use crate::experiment::machine;
use crate::shell;
use crate::step::Step;
use crate::workspace::Workspace;

/// The suite; its Python is 2.7.
const SUITE: &str = "autobahntestsuite==25.10.1";

/// The last that makes environments for Python 2.7.
const VIRTUALENV: &str = "virtualenv==20.15.1";

/// Close code of a message that is no frame.
const REFUSED: u64 = 1008;

/// Names of the groups of cases, by their first number.
const GROUPS: [(&str, &str); 11] = [
    ("1", "framing"),
    ("2", "pings and pongs"),
    ("3", "reserved bits"),
    ("4", "opcodes"),
    ("5", "fragmentation"),
    ("6", "UTF-8"),
    ("7", "close handshake"),
    ("9", "limits and performance"),
    ("10", "many small reads and writes"),
    ("12", "compression"),
    ("13", "compression with other windows"),
];

/// What the suite meets.
struct Endpoints {
    child: Child,
    echo: String,
    session: String,
}

impl Drop for Endpoints {
    fn drop(&mut self) {
        // One that has ended cannot be killed and need not be.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How a case ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Verdict {
    /// As it must.
    Passed,
    /// As the standard allows, if not as it recommends.
    NonStrict,
    /// The standard leaves it open.
    Informational,
    /// The message was refused, as no message of the protocol.
    Refused,
    /// The endpoint does not offer what the case is about.
    NotOffered,
    /// Otherwise than it must.
    Failed,
}

impl Verdict {
    const ALL: [Self; 6] = [
        Self::Passed,
        Self::NonStrict,
        Self::Informational,
        Self::Refused,
        Self::NotOffered,
        Self::Failed,
    ];

    /// Reads a case of `index.json`; only a session refuses messages.
    fn of(case: &Value, is_session: bool) -> Self {
        let word = |key: &str| case[key].as_str().unwrap_or_default();
        match (word("behavior"), word("behaviorClose")) {
            ("UNIMPLEMENTED", _) => Self::NotOffered,
            ("OK", "OK" | "INFORMATIONAL") => Self::Passed,
            ("NON-STRICT", "OK" | "INFORMATIONAL") => Self::NonStrict,
            ("INFORMATIONAL", "OK" | "INFORMATIONAL") => Self::Informational,
            _ if is_session && case["remoteCloseCode"] == REFUSED => Self::Refused,
            _ => Self::Failed,
        }
    }
}

/// Runs the suite against both endpoints and writes `docs/results/autobahn.md`; fails when a case did.
///
/// # Errors
/// One sentence that says what to install when the suite cannot run.
pub(crate) fn run(workspace: &Workspace) -> Result<ExitCode> {
    let suite = install(workspace)?;
    let endpoints = serve(workspace)?;
    let reports = workspace.cache.join("autobahn/reports");
    let spec = json!({
        "outdir": reports,
        "servers": [
            { "agent": "echo", "url": endpoints.echo },
            { "agent": "session", "url": endpoints.session, "protocols": ["cutlayer.v1"] },
        ],
        "cases": ["*"],
        "exclude-cases": [],
        "exclude-agent-cases": { "session": ["9.*", "10.*", "12.*", "13.*"] },
    });
    let path = workspace.cache.join("autobahn/spec.json");
    fs::write(&path, spec.to_string())
        .with_context(|| format!("Make {} writable.", path.display()))?;
    let step = Step::start("Autobahn|Testsuite against echo and session");
    let mut wstest = Command::new(suite);
    wstest
        .args(["--mode", "fuzzingclient", "--spec"])
        .arg(&path);
    shell::run_logged(
        &mut wstest,
        &workspace.log("autobahn"),
        "The suite did not run: see what it says above.",
    )?;
    drop(endpoints);
    let index = fs::read_to_string(reports.join("index.json"))
        .context("The suite wrote no report: see its log.")?;
    let index: Value =
        serde_json::from_str(&index).context("The suite's report is not JSON: see its log.")?;
    let (document, failed) = report(workspace, &index)?;
    let target = workspace.root.join("docs/results/autobahn.md");
    fs::write(&target, document).with_context(|| format!("Make {} writable.", target.display()))?;
    step.done(format_args!(
        "{} written, {failed} cases failed",
        target.display()
    ));
    Ok(match failed {
        0 => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    })
}

/// Installs the suite into the cache; returns its program.
fn install(workspace: &Workspace) -> Result<PathBuf> {
    let step = Step::start(SUITE);
    let home = workspace.cache.join("autobahn");
    let program = home.join("venv/bin/wstest");
    if shell::succeeds(Command::new(&program).arg("--help")) {
        step.already_done();
        return Ok(program);
    }
    let python = python_2()?;
    let remedy = "The suite could not be installed: see the log above, and the network.";
    let tool = home.join("virtualenv");
    let pip = |mut command: Command, log: &str| {
        shell::run_logged(&mut command, &workspace.log(log), remedy)
    };
    let mut command = Command::new(&python);
    command
        .args(["-m", "pip", "install", "--quiet", "--target"])
        .arg(&tool)
        .arg(VIRTUALENV);
    pip(command, "pip-virtualenv")?;
    let mut command = Command::new(&python);
    command
        .env("PYTHONPATH", &tool)
        .args(["-m", "virtualenv", "--quiet"])
        .arg(home.join("venv"));
    pip(command, "virtualenv")?;
    let mut command = Command::new(home.join("venv/bin/pip"));
    command.args(["install", "--quiet", SUITE]);
    pip(command, "pip-autobahntestsuite")?;
    step.done("installed");
    Ok(program)
}

/// Finds a Python 2.7: `CUTLAYER_PYTHON2`, the search path, pyenv's.
fn python_2() -> Result<PathBuf> {
    let named = std::env::var_os("CUTLAYER_PYTHON2").map(PathBuf::from);
    let pyenv = std::env::home_dir().map(|home| home.join(".pyenv/versions"));
    let of_pyenv = pyenv
        .and_then(|versions| fs::read_dir(versions).ok())
        .into_iter()
        .flatten();
    let of_pyenv = of_pyenv
        .flatten()
        .map(|version| version.path().join("bin/python2.7"));
    let is_2_7 = |python: &PathBuf| {
        let check = "import sys; sys.exit(sys.version_info[:2] != (2, 7))";
        shell::succeeds(Command::new(python).args(["-c", check]))
    };
    named
        .into_iter()
        .chain([PathBuf::from("python2.7")])
        .chain(of_pyenv)
        .find(is_2_7)
        .context(
            "Autobahn|Testsuite needs Python 2.7 with pip: `pyenv install 2.7.18`, or name one in CUTLAYER_PYTHON2.",
        )
}

/// Builds and starts both endpoints, and reads where they are.
fn serve(workspace: &Workspace) -> Result<Endpoints> {
    let program = workspace.build_example("strangers")?;
    let mut child = Command::new(program)
        .arg("websockets")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("The endpoints could not be started: run again.")?;
    let stdout = child.stdout.take();
    // From here on the child ends also when something goes wrong.
    let mut endpoints = Endpoints {
        child,
        echo: String::new(),
        session: String::new(),
    };
    let silent = "The endpoints did not say where they are: run `strangers websockets`, an example of `tests`.";
    for line in BufReader::new(stdout.context(silent)?).lines().take(2) {
        match line.context(silent)?.split_once(' ') {
            Some(("echo", url)) => endpoints.echo = url.to_owned(),
            Some(("session", url)) => endpoints.session = url.to_owned(),
            _ => bail!(silent),
        }
    }
    ensure!(
        !endpoints.echo.is_empty() && !endpoints.session.is_empty(),
        silent
    );
    Ok(endpoints)
}

/// Cases by group and verdict.
type Counts = BTreeMap<(usize, Verdict), usize>;

/// Writes the tables; also how many cases failed.
fn report(workspace: &Workspace, index: &Value) -> Result<(String, usize)> {
    let mut document = format!(
        "# Autobahn|Testsuite against the daemon's WebSocket\n\n\
         Written by `cargo xtask autobahn`; suite {SUITE}; {}.\n\n\
         `echo` is an echo behind the daemon's own listener and upgrade (`server::listener::Door`,\n\
         `server::connection::bounded`). `session` is the daemon's endpoint: a case that expects its message back is\n\
         *refused* there, with close code {REFUSED}, because no such message is a frame of `cutlayer.v1`. Limits and\n\
         compression are asked of the echo only; compression is not offered (docs/protocol.md).\n",
        machine::sentence(workspace),
    );
    let mut failed = Vec::new();
    for agent in ["echo", "session"] {
        let cases = index[agent].as_object();
        let cases =
            cases.with_context(|| format!("The suite did not meet `{agent}`: see its log."))?;
        let mut counts = Counts::new();
        for (id, case) in cases {
            let verdict = Verdict::of(case, agent == "session");
            *counts.entry((group(id), verdict)).or_default() += 1;
            if matches!(verdict, Verdict::Failed | Verdict::NonStrict) {
                failed.push((agent, id.clone(), verdict));
            }
        }
        document += &table(agent, &counts);
    }
    document += "\n## Cases that did not pass strictly\n\n";
    for (agent, id, verdict) in &failed {
        document += &format!("- `{agent}` {id}: {}\n", heading(*verdict));
    }
    failed.retain(|(.., verdict)| *verdict == Verdict::Failed);
    Ok((document, failed.len()))
}

fn group(id: &str) -> usize {
    let number = id.split('.').next().unwrap_or_default();
    let known = GROUPS.iter().position(|(group, _)| *group == number);
    known.unwrap_or(GROUPS.len())
}

fn heading(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Passed => "passed",
        Verdict::NonStrict => "non-strict",
        Verdict::Informational => "informational",
        Verdict::Refused => "refused",
        Verdict::NotOffered => "not offered",
        Verdict::Failed => "failed",
    }
}

fn table(agent: &str, counts: &Counts) -> String {
    let headings = Verdict::ALL.map(heading).join(" | ");
    let mut table = format!(
        "\n## `{agent}`\n\n| cases | {headings} |\n|---|{}\n",
        "---|".repeat(Verdict::ALL.len())
    );
    let mut row = |name: &str, count: &dyn Fn(Verdict) -> usize| {
        let cells = Verdict::ALL
            .map(|verdict| count(verdict).to_string())
            .join(" | ");
        table += &format!("| {name} | {cells} |\n");
    };
    for at in 0..=GROUPS.len() {
        let count = |verdict| counts.get(&(at, verdict)).copied().unwrap_or(0);
        if Verdict::ALL.into_iter().map(count).sum::<usize>() > 0 {
            let (number, name) = GROUPS.get(at).copied().unwrap_or(("?", "others"));
            row(&format!("{number} {name}"), &count);
        }
    }
    row("all", &|verdict| {
        let of_verdict = counts.iter().filter(|((_, one), _)| *one == verdict);
        of_verdict.map(|(_, count)| count).sum()
    });
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case(behavior: &str, close: &str, code: u64) -> Value {
        json!({ "behavior": behavior, "behaviorClose": close, "remoteCloseCode": code })
    }

    /// Breaks when a refused message counts at the echo, or any other failure at the session does not.
    #[test]
    fn a_failed_case_is_a_refusal_only_at_the_session_and_only_with_its_code() {
        let refused = case("FAILED", "FAILED", 1008);
        assert_eq!(Verdict::of(&refused, true), Verdict::Refused);
        assert_eq!(Verdict::of(&refused, false), Verdict::Failed);
        assert_eq!(
            Verdict::of(&case("FAILED", "OK", 1000), true),
            Verdict::Failed
        );
        assert_eq!(
            Verdict::of(&case("OK", "FAILED", 1002), false),
            Verdict::Failed
        );
        assert_eq!(Verdict::of(&case("OK", "OK", 1000), true), Verdict::Passed);
    }

    #[test]
    fn cases_are_counted_by_their_group() {
        assert_eq!(GROUPS[group("10.1.1")].0, "10");
        assert_eq!(GROUPS[group("1.1.1")].0, "1");
        assert_eq!(group("99.1"), GROUPS.len());
        let counts = Counts::from([((0, Verdict::Passed), 16), ((1, Verdict::Failed), 2)]);
        let table = table("echo", &counts);
        assert!(
            table.contains("| 1 framing | 16 | 0 | 0 | 0 | 0 | 0 |"),
            "{table}"
        );
        assert!(
            table.contains("| all | 16 | 0 | 0 | 0 | 0 | 2 |"),
            "{table}"
        );
    }
}
