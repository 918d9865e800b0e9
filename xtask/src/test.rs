//! `cargo xtask test`: every test that can run here, and one sentence for each group that cannot.
//!
//! A stage that fails does not stop the later ones, except those that need what it should have built.

use std::process::{Command, ExitCode};

use anyhow::Result;

use crate::assets;
use crate::browser::Browser;
use crate::ignored::{self, IgnoredTest, Need};
use crate::npm;
use crate::report::{Counts, Outcome, Report};
use crate::shell;
use crate::step::Step;
use crate::system;
use crate::toolchain::WasmToolchain;
use crate::wasm;
use crate::workspace::{PACKAGES, Workspace};

/// How long a page of wasm tests may take; a software GPU is slow.
const WASM_TEST_SECS_MAX: &str = "600";

/// Options of `test`.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct Args {
    /// Runs only what needs no wasm build, no browser and no GPU driver.
    #[arg(long)]
    pub(crate) quick: bool,
}

/// Runs the stages and prints a line for each, the sum alone on the last line.
///
/// # Errors
/// Never for a failed test, which the exit code says.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<ExitCode> {
    let mut run = Run {
        workspace,
        report: Report::default(),
    };
    run.all(args.quick);
    println!("\n{}", run.report);
    Ok(match run.report.is_green() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

/// Says which things the ignored tests may rely on; the texts say why not.
struct Available {
    models: Result<(), String>,
    page: Result<(), String>,
}

type Env = Vec<(String, String)>;

struct Run<'a> {
    workspace: &'a Workspace,
    report: Report,
}

impl Run<'_> {
    fn all(&mut self, quick: bool) {
        let _ = self.stage("formatting", || {
            shell::run(
                self.workspace.cargo("fmt").args(["--all", "--check"]),
                "Formatting differs, or rustfmt is missing: run `cargo fmt --all`, or first `rustup component add rustfmt`.",
            )
            .map(|()| String::new())
        });
        let models = self.stage("models and reviews", || {
            assets::fetch(self.workspace, assets::ALL).map(|()| String::new())
        });
        let page = match quick {
            true => self.skip("wasm client and page", "Left out by --quick."),
            false => self.stage("wasm client and page", || {
                let sizes = wasm::build(self.workspace)?;
                Ok(format!("{} brotli", wasm::megabytes(sizes.brotli_bytes)))
            }),
        };
        let ignored = self.native();
        self.ignored(&ignored, &Available { models, page }, quick);
        self.tasks();
        self.page_modules();
        match quick {
            true => drop(self.skip("client in Chromium", "Left out by --quick.")),
            false => self.client_in_browser(),
        }
    }

    /// Runs a stage without tests; what it returns on failure is the reason for what depends on it.
    fn stage(
        &mut self,
        name: &'static str,
        work: impl FnOnce() -> Result<String>,
    ) -> Result<(), String> {
        let step = Step::start(name);
        match work() {
            Ok(outcome) => {
                let took = step.done(format_args!("{name}: ok"));
                self.report.add(name, took, Outcome::Passed(outcome));
                Ok(())
            }
            Err(error) => {
                let sentence = error.to_string();
                print_causes(&error);
                let took = step.done(format_args!("FAILED: {sentence}"));
                self.report
                    .add(name, took, Outcome::Failed(sentence.clone()));
                Err(sentence)
            }
        }
    }

    fn skip(&mut self, name: &'static str, reason: &str) -> Result<(), String> {
        println!("==> {name}\n    skipped: {reason}");
        let outcome = Outcome::Skipped(reason.to_owned());
        self.report.add(name, std::time::Duration::ZERO, outcome);
        Err(reason.to_owned())
    }

    /// Runs a test command and adds what its runner counted.
    fn tests(
        &mut self,
        name: &'static str,
        command: &mut Command,
        count: fn(&str) -> Counts,
    ) -> String {
        let step = Step::start(name);
        let (output, success) = match shell::run_shown(command) {
            Ok(transcript) => (transcript.output, transcript.success),
            Err(error) => {
                print_causes(&error);
                (String::new(), false)
            }
        };
        let mut counts = count(&output);
        // Every ignored test is accounted for by the stage that runs it or says why it cannot.
        if name == NATIVE {
            counts.skipped = 0;
        }
        let outcome = match success {
            true => Outcome::Passed(String::new()),
            false => Outcome::Failed(format!("See the output of \"{name}\" above.")),
        };
        let took = step.done(counts);
        self.report.add_tests(name, took, outcome, counts);
        output
    }

    /// Runs unit, integration and doc tests natively, and returns those that were ignored.
    fn native(&mut self) -> Vec<IgnoredTest> {
        let mut command = self.cargo_test();
        let output = self.tests(NATIVE, &mut command, Counts::of_cargo);
        ignored::find(&output)
    }

    /// Runs the unit tests of this program, which is built apart from all others.
    fn tasks(&mut self) {
        let mut command = self.workspace.cargo("test");
        command.args(["--release", "--package", "xtask"]);
        self.tests("tests of xtask", &mut command, Counts::of_cargo);
    }

    /// Prepares `cargo test` on all packages together, so that features unify as in the server's build.
    fn cargo_test(&self) -> Command {
        let mut command = self.workspace.cargo("test");
        command
            .args(["--release", "--no-fail-fast"])
            .args(PACKAGES)
            .envs(self.test_env());
        command
    }

    /// The variables by which tests find what is not in the checkout.
    fn test_env(&self) -> Env {
        let Workspace { root, cache, .. } = self.workspace;
        let mut env = vec![
            ("CUTLAYER_MODELS", cache.join("models")),
            ("CUTLAYER_REVIEWS", cache.join(assets::REVIEWS)),
            ("CUTLAYER_PAGE", self.workspace.page()),
        ];
        if let Ok(shared) = root.join("../shared/data").canonicalize() {
            env.push(("CUTLAYER_SHARED_DATA", shared));
        }
        env.into_iter()
            .map(|(name, path)| (name.to_owned(), path.display().to_string()))
            .collect()
    }

    /// Runs the ignored tests group by group, each exactly once.
    fn ignored(&mut self, tests: &[IgnoredTest], available: &Available, quick: bool) {
        for need in Need::ALL {
            let group: Vec<_> = tests
                .iter()
                .filter(|test| test.stage() == Some(need))
                .collect();
            if group.is_empty() {
                continue;
            }
            // What one test of the group lacks, the group lacks: a test needs little beside its stage.
            let needs = Need::ALL
                .into_iter()
                .filter(|need| group.iter().any(|test| test.needs.contains(need)));
            let env = needs.map(|need| self.provide(need, available, quick));
            match env.collect::<Result<Vec<Env>, String>>() {
                Ok(env) => self.run_group(need, &group, env.concat()),
                Err(reason) => self.skip_tests(need.stage(), group.len(), &reason),
            }
        }
        let unknown: Vec<_> = tests.iter().filter(|test| test.stage().is_none()).collect();
        if !unknown.is_empty() {
            for test in &unknown {
                println!("    not run: {} {}", test.name, test.reason);
            }
            let reason = "Ignored without a need that xtask knows; their names are above.";
            self.skip_tests("other ignored tests", unknown.len(), reason);
        }
    }

    fn run_group(&mut self, need: Need, group: &[&IgnoredTest], env: Env) {
        let mut command = self.cargo_test();
        command
            .arg("--tests")
            .envs(env)
            .args(["--", "--ignored", "--exact"])
            .args(group.iter().map(|test| &test.name));
        if matches!(need, Need::Vulkan | Need::Chromium | Need::Npm) {
            // One browser, one software GPU: side by side they would only wait for each other.
            command.arg("--test-threads=1");
        }
        self.tests(need.stage(), &mut command, Counts::of_cargo);
    }

    fn skip_tests(&mut self, name: &'static str, number: usize, reason: &str) {
        println!("==> {name}\n    {number} skipped: {reason}");
        let counts = Counts {
            skipped: number as u64,
            ..Counts::default()
        };
        let outcome = Outcome::Skipped(reason.to_owned());
        self.report
            .add_tests(name, std::time::Duration::ZERO, outcome, counts);
    }

    /// Makes sure of what a test needs; returns the variables that tell it where, or why it is not there.
    fn provide(&self, need: Need, available: &Available, quick: bool) -> Result<Env, String> {
        let workspace = self.workspace;
        match need {
            Need::Models => available.models.clone().map(|()| Env::new()),
            Need::SharedData => match workspace.root.join("../shared/data").is_dir() {
                true => Ok(Env::new()),
                false => Err(
                    "There is no ../shared/data beside the checkout: put the data sets there."
                        .to_owned(),
                ),
            },
            Need::Torch => system::python_with_torch(workspace)
                .map(|python| vec![("CUTLAYER_PYTHON".to_owned(), python)])
                .map_err(|error| error.to_string()),
            Need::Proxies => system::proxies(workspace)
                .map(|()| Env::new())
                .map_err(|error| error.to_string()),
            Need::Tmpfs => system::small_disks()
                .map(|()| Env::new())
                .map_err(|error| error.to_string()),
            Need::Faults => Err("They take long: `cargo xtask faults` runs them.".to_owned()),
            Need::Vulkan | Need::Chromium | Need::Npm if quick => {
                Err("Left out by --quick.".to_owned())
            }
            Need::Vulkan => system::software_vulkan(workspace).map_err(|error| error.to_string()),
            Need::Chromium => {
                available.page.clone()?;
                Browser::ensure(workspace)
                    .map(|browser| browser.env())
                    .map_err(|error| error.to_string())
            }
            Need::Npm => {
                available.page.clone()?;
                npm::pack(workspace)
                    .map(|tarball| vec![("CUTLAYER_NPM".to_owned(), tarball.display().to_string())])
                    .map_err(|error| error.to_string())
            }
        }
    }

    /// Runs the tests of the page's pure modules, and those of the package.
    fn page_modules(&mut self) {
        const NAME: &str = "page modules in Node.js";
        let tests = ["web/tests", "package/tests"].map(|tests| self.workspace.root.join(tests));
        let mut files: Vec<_> = tests
            .into_iter()
            .flat_map(|tests| std::fs::read_dir(tests).into_iter().flatten().flatten())
            .map(|entry| entry.path())
            .filter(|path| path.to_string_lossy().ends_with(".test.js"))
            .collect();
        files.sort();
        if files.is_empty() {
            let outcome =
                Outcome::Failed("web/tests has no *.test.js: bring them back.".to_owned());
            self.report.add(NAME, std::time::Duration::ZERO, outcome);
            return;
        }
        match system::node(self.workspace) {
            Ok(node) => {
                let mut command = Command::new(node);
                command
                    .current_dir(&self.workspace.root)
                    .args(["--test", "--test-reporter=spec"])
                    .args(files);
                self.tests(NAME, &mut command, Counts::of_node);
            }
            Err(error) => drop(self.skip(NAME, &error.to_string())),
        }
    }

    /// Runs client-wasm's own tests as wasm in headless Chromium.
    fn client_in_browser(&mut self) {
        const NAME: &str = "client in Chromium";
        let prepare = || -> Result<Command> {
            let browser = Browser::ensure(self.workspace)?;
            let runner = wasm::ensure_bindgen(self.workspace)?.join("wasm-bindgen-test-runner");
            let toolchain = WasmToolchain::ensure(self.workspace)?;
            let mut command = toolchain.cargo(self.workspace, "test");
            command
                // Without the doc tests, which run natively.
                .args(["--package", "client-wasm", "--tests", "--no-fail-fast"])
                .env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUNNER", runner)
                .env("WASM_BINDGEN_TEST_TIMEOUT", WASM_TEST_SECS_MAX)
                .env("WASM_BINDGEN_TEST_DRIVER_TIMEOUT", "30")
                .envs(browser.env());
            Ok(command)
        };
        match prepare() {
            Ok(mut command) => drop(self.tests(NAME, &mut command, Counts::of_cargo)),
            Err(error) => drop(self.skip(NAME, &error.to_string())),
        }
    }
}

const NATIVE: &str = "native tests";

fn print_causes(error: &anyhow::Error) {
    for cause in error.chain().skip(1) {
        println!("    because: {cause}");
    }
}
