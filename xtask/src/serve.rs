//! `cargo xtask serve`: builds everything, then becomes the daemon.
//!
//! On Unix the process is replaced by the daemon, so that Ctrl-C and a supervisor's signals reach it and nothing
//! else, and its exit code is the command's.

use std::env;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::assets;
use crate::shell;
use crate::step::Step;
use crate::wasm;
use crate::workspace::Workspace;

/// How long the daemon may take to load a model and to listen.
const START_SECS_MAX: u64 = 300;

/// The files that make a directory a model in Hugging Face's layout.
const MODEL_FILES: [&str; 3] = ["config.json", "model.safetensors", "tokenizer.json"];

/// Options of `serve`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A model directory in Hugging Face's layout; without it all-MiniLM-L6-v2.
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
    /// The port on loopback.
    #[arg(long, default_value_t = 8420, value_parser = clap::value_parser!(u16).range(1..))]
    port: u16,
    /// Where the server trains.
    #[arg(long, value_enum, default_value_t = Device::Auto)]
    device: Device,
    /// Does not open the page in a browser.
    #[arg(long)]
    no_open: bool,
}

/// Where the server trains.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Device {
    /// The GPU where there is one, else the CPU.
    Auto,
    /// The CPU.
    Cpu,
    /// The GPU.
    Gpu,
}

/// Options of the process that waits for the daemon.
#[derive(Debug, clap::Args)]
pub(crate) struct AnnounceArgs {
    #[arg(long)]
    port: u16,
    #[arg(long)]
    open: bool,
    /// Starts the waiting process and returns at once.
    #[arg(long)]
    detach: bool,
}

/// Makes sure of everything, then runs the daemon in the foreground until it is told to stop.
///
/// # Errors
/// One sentence that says what to install or to do.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<ExitCode> {
    let model = match &args.model {
        Some(model) => checked_model(model)?,
        None => workspace.cache.join(assets::DEFAULT_MODEL),
    };
    check_port(args.port)?;
    let packages = match args.model {
        Some(_) => assets::SAMPLE,
        None => assets::SERVED,
    };
    assets::fetch(workspace, packages)?;
    wasm::build(workspace)?;
    let step = Step::start("server: cargo build --release (15 to 20 minutes the first time)");
    shell::run(
        &mut workspace.cargo_build_program("cutlayer-server"),
        "The server did not build: fix what the compiler says above and run again.",
    )?;
    step.done("built");
    // The builds took their time; somebody may have taken the port.
    check_port(args.port)?;
    start_announcer(args)?;
    println!("==> server on 127.0.0.1:{} (Ctrl-C stops it)", args.port);
    become_server(&mut server_command(workspace, args, &model))
}

fn server_command(workspace: &Workspace, args: &Args, model: &Path) -> Command {
    let mut server = Command::new(workspace.program("cutlayer-server"));
    shell::forget_package(&mut server);
    server
        .arg("--model")
        .arg(model)
        .arg("--page")
        .arg(workspace.page())
        .args(["--listen", &address(args.port).to_string()])
        .args(["--device", args.device.name()])
        .arg("--data")
        .arg(workspace.cache.join("data"));
    server
}

#[cfg(unix)]
fn become_server(server: &mut Command) -> Result<ExitCode> {
    use std::os::unix::process::CommandExt;
    // Returns only when the program could not be started.
    Err(server.exec()).context("The server could not be started: run again.")
}

#[cfg(not(unix))]
fn become_server(server: &mut Command) -> Result<ExitCode> {
    shell::run(server, "The server stopped: see what it says above.")?;
    Ok(ExitCode::SUCCESS)
}

impl Device {
    fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Cpu => "cpu",
            Self::Gpu => "gpu",
        }
    }
}

fn address(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

fn checked_model(model: &Path) -> Result<PathBuf> {
    for file in MODEL_FILES {
        ensure!(
            model.join(file).is_file(),
            "{} has no {file}: name a Hugging Face model directory with {}.",
            model.display(),
            MODEL_FILES.join(", "),
        );
    }
    std::path::absolute(model).with_context(|| {
        format!(
            "{} cannot be resolved: name its full path.",
            model.display()
        )
    })
}

fn check_port(port: u16) -> Result<()> {
    TcpListener::bind(address(port)).map(drop).with_context(|| {
        format!(
            "Port {port} cannot be used: stop what listens there, or choose another with --port."
        )
    })
}

/// Starts a process that outlives this one, twice removed so that the daemon is not its parent.
fn start_announcer(args: &Args) -> Result<()> {
    let program = env::current_exe().context("The path of xtask is unknown: run again.")?;
    let mut announcer = announce_command(&program, args.port, !args.no_open);
    shell::run(
        announcer.arg("--detach"),
        "The address could not be announced: run again.",
    )
}

fn announce_command(program: &Path, port: u16, open: bool) -> Command {
    let mut command = Command::new(program);
    command.args(["announce", "--port", &port.to_string()]);
    if open {
        command.arg("--open");
    }
    command
}

/// Waits until the daemon listens, then prints the address and opens a browser where there is a screen.
///
/// # Errors
/// When the waiting process cannot be started.
pub(crate) fn announce(args: &AnnounceArgs) -> Result<ExitCode> {
    if args.detach {
        let program = env::current_exe().context("The path of xtask is unknown: run again.")?;
        announce_command(&program, args.port, args.open)
            .stdin(Stdio::null())
            .spawn()
            .context("The address could not be announced: run again.")?;
        return Ok(ExitCode::SUCCESS);
    }
    let deadline = Instant::now() + Duration::from_secs(START_SECS_MAX);
    while TcpStream::connect_timeout(&address(args.port), Duration::from_secs(1)).is_err() {
        if Instant::now() > deadline {
            return Ok(ExitCode::FAILURE);
        }
        thread::sleep(Duration::from_millis(100));
    }
    let url = format!("http://{}/", address(args.port));
    println!("Cutlayer is ready: {url}");
    if args.open {
        open(&url);
    }
    Ok(ExitCode::SUCCESS)
}

/// Opens the page; without a screen or an opener the printed address is enough.
fn open(url: &str) {
    let has_screen = ["DISPLAY", "WAYLAND_DISPLAY"]
        .iter()
        .any(|variable| env::var_os(variable).is_some());
    let opener = match env::consts::OS {
        "macos" => "open",
        _ if has_screen => "xdg-open",
        _ => return,
    };
    shell::succeeds(Command::new(opener).arg(url));
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Breaks when a taken port is found out only after minutes of building.
    #[test]
    fn a_taken_port_is_refused_in_one_sentence() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let error = check_port(port).unwrap_err().to_string();
        assert!(error.contains(&port.to_string()) && error.contains("--port"));
        drop(listener);
        check_port(port).unwrap();
    }

    #[test]
    fn a_directory_without_weights_is_no_model() {
        let error = checked_model(Path::new("/no/such/model")).unwrap_err();
        assert!(error.to_string().contains("config.json"));
    }

    /// Breaks when the daemon is started with flags that it does not have.
    #[test]
    fn the_server_gets_every_setting() {
        let workspace = Workspace {
            root: "/r".into(),
            cache: "/c".into(),
            target: "/t".into(),
        };
        let args = Args {
            model: None,
            port: 8420,
            device: Device::Cpu,
            no_open: true,
        };
        let command = server_command(&workspace, &args, Path::new("/m"));
        let given: Vec<_> = command
            .get_args()
            .map(|arg| arg.to_str().unwrap())
            .collect();
        let expected =
            "--model /m --page /t/page --listen 127.0.0.1:8420 --device cpu --data /c/data";
        assert_eq!(given.join(" "), expected);
    }
}
