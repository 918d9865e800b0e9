//! Chromium and its driver as processes: started fresh, ended when dropped, quiet on the network.

use std::env;
use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::webdriver::Session;

/// For the driver to say where it listens.
const START_SECS_MAX: u64 = 30;

/// For the driver to close the browser and itself.
const STOP_SECS_MAX: u64 = 10;

/// Whether the page finds WebGPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gpu {
    /// Computed in software: the same results as on a GPU, slowly.
    Software,
    /// Not there.
    Off,
}

/// A browser with an empty profile that reaches this machine only.
#[derive(Debug)]
pub struct Chromium {
    /// Its window.
    pub session: Session,
    _driver: Driver,
    _profile: TempDir,
}

impl Chromium {
    /// Starts one. `CHROMEDRIVER` and `CHROMIUM` name the programs where they are not at their
    /// usual places.
    ///
    /// # Errors
    ///
    /// When the browser cannot be started.
    pub async fn start(gpu: Gpu) -> anyhow::Result<Self> {
        let driver = Driver::start()?;
        let profile = tempfile::tempdir()?;
        let mut args = vec![
            "--headless=new".to_owned(),
            // Its sandbox needs rights that containers do not give.
            "--no-sandbox".to_owned(),
            "--disable-dev-shm-usage".to_owned(),
            "--disable-quic".to_owned(),
            "--no-first-run".to_owned(),
            "--disable-background-networking".to_owned(),
            "--disable-component-update".to_owned(),
            "--disable-sync".to_owned(),
            // What does not go to this machine goes nowhere.
            "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1".to_owned(),
            // The page speaks the language of its reader.
            "--accept-lang=en-US".to_owned(),
            "--window-size=1200,1000".to_owned(),
            format!("--user-data-dir={}", profile.path().display()),
        ];
        args.extend(gpu_args(gpu).map(str::to_owned));
        let session = Session::open(driver.addr, capabilities(&args)).await?;
        Ok(Self {
            session,
            _driver: driver,
            _profile: profile,
        })
    }
}

fn gpu_args(gpu: Gpu) -> impl Iterator<Item = &'static str> {
    let args: &[&str] = match gpu {
        Gpu::Software => &["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader"],
        Gpu::Off => &["--disable-features=WebGPU,WebGPUService"],
    };
    args.iter().copied()
}

fn capabilities(args: &[String]) -> Value {
    let mut options = json!({ "args": args });
    if let Some(binary) = env::var_os("CHROMIUM") {
        options["binary"] = json!(binary.to_string_lossy());
    }
    json!({
        "browserName": "chrome",
        "goog:chromeOptions": options,
        "goog:loggingPrefs": { "browser": "ALL", "performance": "ALL" }
    })
}

/// A running chromedriver.
#[derive(Debug)]
struct Driver {
    addr: SocketAddr,
    process: Child,
}

impl Driver {
    fn start() -> anyhow::Result<Self> {
        let program =
            env::var_os("CHROMEDRIVER").unwrap_or_else(|| OsString::from("/usr/bin/chromedriver"));
        let mut process = Command::new(&program)
            .arg("--port=0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("{} cannot be started", program.to_string_lossy()))?;
        let output = process.stdout.take();
        // In a `Driver` from here on, so that it is ended when the port cannot be read.
        let mut driver = Self {
            addr: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            process,
        };
        let port = port_of(output.context("no output")?);
        let port = port.recv_timeout(Duration::from_secs(START_SECS_MAX));
        driver
            .addr
            .set_port(port.context("the driver did not say its port")?);
        Ok(driver)
    }

    /// Asks it to close its browsers and to end.
    fn shut_down(&self) -> std::io::Result<()> {
        let limit = Duration::from_secs(STOP_SECS_MAX);
        let mut socket = TcpStream::connect_timeout(&self.addr, limit)?;
        socket.set_read_timeout(Some(limit))?;
        let host = self.addr;
        write!(
            socket,
            "GET /shutdown HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
        )?;
        socket.read_to_end(&mut Vec::new())?;
        Ok(())
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let asked = self.shut_down().is_ok();
        let deadline = Instant::now() + Duration::from_secs(STOP_SECS_MAX);
        while asked && Instant::now() < deadline {
            if !matches!(self.process.try_wait(), Ok(None)) {
                return;
            }
            thread::sleep(Duration::from_millis(50));
        }
        // It does not answer; a browser that outlives it loses its profile and ends too.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Reads the driver's output to its end, so that it never blocks, and gives the port that it names.
fn port_of(output: ChildStdout) -> mpsc::Receiver<u16> {
    let (sender, port) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if let Some(port) = named_port(&line) {
                // Nobody waits any more when it comes too late.
                let _ = sender.send(port);
            }
        }
    });
    port
}

fn named_port(line: &str) -> Option<u16> {
    let (_, port) = line.split_once("started successfully on port ")?;
    port.trim_end_matches('.').parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_read_from_the_drivers_words() {
        let said = "ChromeDriver was started successfully on port 37215.";
        assert_eq!(named_port(said), Some(37_215));
        assert_eq!(named_port("Only local connections are allowed."), None);
    }
}
