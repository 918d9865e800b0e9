//! The page by its `data-testid` hooks (web/README.md), and all that it needs around it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{env, fs};

use anyhow::{Context, bail, ensure};
use serde_json::Value;
use tests::browser::{Chromium, Gpu, Recorder, Session};
use tests::{Options, TestServer, assets};

/// For anything but a computation.
pub const SOON: Duration = Duration::from_secs(30);

/// For whatever computes: WebGPU in software compiles and runs slowly.
pub const COMPUTED: Duration = Duration::from_secs(600);

/// What the browser says of a sample file that the page looks for and this page may not have.
const SAMPLE: &str = "/sample/reviews.tsv";

/// The daemon, the recorder before it, and a browser that shows the page.
pub struct Page {
    pub server: TestServer,
    pub recorder: Recorder,
    chromium: Chromium,
    shots: PathBuf,
}

impl Page {
    /// Starts all of it and waits until the model is loaded. `test` names the pictures.
    pub async fn open(test: &str, gpu: Gpu, settings: &str) -> anyhow::Result<Self> {
        let server = serve().await?;
        let daemon = server.addr;
        let page = Self::show(test, gpu, server, daemon).await?;
        page.visit(settings).await?;
        page.phase("ready", COMPUTED).await?;
        page.picture("1-ready").await?;
        Ok(page)
    }

    /// Starts a browser for the page of a daemon that is reached by `way`, itself or a proxy.
    pub async fn show(
        test: &str,
        gpu: Gpu,
        server: TestServer,
        way: SocketAddr,
    ) -> anyhow::Result<Self> {
        let recorder = Recorder::start(way).await?;
        let chromium = Chromium::start(gpu).await?;
        let shots = Path::new(env!("CARGO_TARGET_TMPDIR"))
            .join("screenshots")
            .join(test);
        fs::create_dir_all(&shots)?;
        Ok(Self {
            server,
            recorder,
            chromium,
            shots,
        })
    }

    /// Opens the page as a new document, whatever was shown.
    pub async fn visit(&self, settings: &str) -> anyhow::Result<()> {
        self.session().goto("about:blank").await?;
        let address = format!("http://{}/#{settings}", self.recorder.addr);
        self.session().goto(&address).await
    }

    pub fn session(&self) -> &Session {
        &self.chromium.session
    }

    /// Waits for a phase; an error on the page ends the wait.
    pub async fn phase(&self, wanted: &str, limit: Duration) -> anyhow::Result<()> {
        let script = "const error = document.querySelector('[data-testid=error]'); \
            return [document.documentElement.dataset.phase, \
                    error ? `${error.dataset.name}: ${error.innerText}` : null];";
        let deadline = Instant::now() + limit;
        loop {
            let state = self.session().script(script).await?;
            let phase = state[0].as_str().unwrap_or_default();
            if phase == wanted {
                return Ok(());
            }
            if let Some(error) = state[1].as_str() {
                self.picture("error").await?;
                bail!("the page was waited for to be {wanted} and says: {error}");
            }
            if Instant::now() > deadline {
                self.picture("overdue").await?;
                bail!("the page is not {wanted} after {limit:?} but {phase}");
            }
            rest().await;
        }
    }

    /// Waits until a JavaScript expression is true.
    pub async fn until(&self, expression: &str, limit: Duration) -> anyhow::Result<()> {
        let deadline = Instant::now() + limit;
        while self.value(expression).await? != Value::Bool(true) {
            if Instant::now() > deadline {
                self.picture("overdue").await?;
                bail!("not so after {limit:?}: {expression}");
            }
            rest().await;
        }
        Ok(())
    }

    /// The value of a JavaScript expression.
    pub async fn value(&self, expression: &str) -> anyhow::Result<Value> {
        self.session()
            .script(&format!("return {expression};"))
            .await
    }

    /// The text of a hook as a reader sees it, with plain blanks; an error when it is not there or
    /// hidden.
    pub async fn text(&self, hook: &str) -> anyhow::Result<String> {
        let shown = format!(
            "(() => {{ const node = document.querySelector('[data-testid=\"{hook}\"]'); \
               return node?.checkVisibility() ? node.innerText : null; }})()"
        );
        let text = self.value(&shown).await?;
        let text = text
            .as_str()
            .with_context(|| format!("no {hook} is visible"))?;
        Ok(text.replace('\u{a0}', " "))
    }

    /// The share of a hook that shows one, in percent.
    pub async fn percent(&self, hook: &str) -> anyhow::Result<f64> {
        let text = self.text(hook).await?;
        let number = text.trim_end_matches(['%', ' ', '\u{202f}']);
        let percent: f64 = number
            .parse()
            .with_context(|| format!("{hook} says: {text}"))?;
        ensure!((0.0..=100.0).contains(&percent), "{hook} says: {text}");
        Ok(percent)
    }

    pub async fn click(&self, hook: &str) -> anyhow::Result<()> {
        self.session().find(&selector(hook)).await?.click().await
    }

    pub async fn keys(&self, hook: &str, text: &str) -> anyhow::Result<()> {
        self.session().find(&selector(hook)).await?.keys(text).await
    }

    /// Puts a number into one of the training options.
    pub async fn option(&self, id: &str, value: u32) -> anyhow::Result<()> {
        let input = self.session().find(&format!("#{id}")).await?;
        input.clear().await?;
        input.keys(&value.to_string()).await
    }

    pub async fn choose(&self, file: &Path) -> anyhow::Result<()> {
        let path = file.to_str().context("a path in UTF-8")?;
        self.keys("file-input", path).await
    }

    /// Waits until the protection and its preview are calculated.
    pub async fn protected(&self) -> anyhow::Result<()> {
        self.phase("privacy", COMPUTED).await?;
        let shown =
            "document.querySelector('[data-testid=preview]:not(.is-pending) .token') !== null";
        self.until(shown, COMPUTED).await
    }

    /// Measures what an attacker could read back, and waits for the first answer.
    pub async fn read_back(&self) -> anyhow::Result<()> {
        self.click("reading-button").await?;
        let measured = "document.querySelector('[data-testid=reading-nn]') !== null";
        self.until(measured, COMPUTED).await
    }

    /// Draws the page as it is now.
    pub async fn picture(&self, name: &str) -> anyhow::Result<()> {
        let picture = self.session().screenshot().await?;
        ensure!(picture.starts_with(b"\x89PNG"), "no picture");
        Ok(fs::write(self.shots.join(format!("{name}.png")), picture)?)
    }

    /// Makes sure that the browser had nothing to complain about.
    pub async fn ensure_quiet_console(&self) -> anyhow::Result<()> {
        for entry in self.session().log("browser").await? {
            let message = entry["message"].as_str().unwrap_or_default();
            let known = message.contains(SAMPLE) && message.contains("404");
            ensure!(known || entry["level"] != "SEVERE", "console: {message}");
        }
        Ok(())
    }

    /// Makes sure that whatever the window asked for, it asked the recorder.
    pub async fn ensure_one_origin(&self) -> anyhow::Result<()> {
        let ours = ["http", "ws"].map(|scheme| format!("{scheme}://{}/", self.recorder.addr));
        let inside = ["data:", "blob:", "about:", "chrome:", "chrome-untrusted:"];
        let mut asked = 0;
        for entry in self.session().log("performance").await? {
            let message: Value =
                serde_json::from_str(entry["message"].as_str().unwrap_or_default())?;
            let params = &message["message"]["params"];
            let address = match message["message"]["method"].as_str() {
                Some("Network.requestWillBeSent") => params["request"]["url"].as_str(),
                Some("Network.webSocketCreated") => params["url"].as_str(),
                _ => None,
            };
            let Some(address) = address else { continue };
            if ours.iter().any(|start| address.starts_with(start.as_str())) {
                asked += 1;
                continue;
            }
            let local = inside.iter().any(|start| address.starts_with(*start));
            ensure!(local, "a request to {address}");
        }
        ensure!(asked > 0, "the browser logs no requests");
        Ok(())
    }
}

/// Starts a daemon that serves the built page.
pub async fn serve() -> anyhow::Result<TestServer> {
    let built = env::var_os("CUTLAYER_PAGE").context("CUTLAYER_PAGE names the built page")?;
    let options = Options {
        page: Some(PathBuf::from(built)),
        ..Options::default()
    };
    TestServer::start_with(&model(), options).await
}

/// The smallest real model.
pub fn model() -> PathBuf {
    assets::models().join("bert-tiny")
}

/// Between two looks at a page.
pub async fn rest() {
    tokio::time::sleep(Duration::from_millis(200)).await;
}

fn selector(hook: &str) -> String {
    format!("[data-testid=\"{hook}\"]")
}
