//! Where the checkout, the cache and the target directory are.
//!
//! It decides paths and starts cargo in them; it builds nothing itself.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::shell;
use crate::step::Step;

/// Locates the three directories that every command works in.
#[derive(Debug, Clone)]
pub(crate) struct Workspace {
    /// The checkout.
    pub(crate) root: PathBuf,
    /// Models, demo reviews and tools that are fetched once; never committed.
    pub(crate) cache: PathBuf,
    /// Cargo's target directory; the built page is in its `page/`.
    pub(crate) target: PathBuf,
}

/// What decides the cache and the target directory, read from the environment once.
struct Choice {
    cache: Option<PathBuf>,
    target: Option<PathBuf>,
    /// The directory that outlives checkouts, present only when CI is set.
    ci_home: Option<PathBuf>,
}

/// What is built together. xtask is not: it is built before everything else, and its dependencies would ask for
/// features that make burn be built again.
pub(crate) const PACKAGES: [&str; 3] = ["--workspace", "--exclude", "xtask"];

impl Workspace {
    /// Locates the checkout that cargo started this program from.
    ///
    /// # Errors
    /// When cargo cannot say which target directory is configured.
    pub(crate) fn locate() -> Result<Self> {
        // `cargo run` sets the variable; a shared target directory may hold a binary of another checkout, so
        // the path known at compile time is only the fallback.
        let package = env::var_os("CARGO_MANIFEST_DIR")
            .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
        let root = package
            .parent()
            .context("The xtask package has no parent directory: run it inside a checkout.")?
            .to_path_buf();
        let choice = Choice {
            cache: env::var_os("CUTLAYER_CACHE").map(PathBuf::from),
            target: env::var_os("CARGO_TARGET_DIR").map(PathBuf::from),
            ci_home: is_ci().then(user_cache).flatten(),
        };
        let cache = root.join(choice.cache());
        let target = match choice.target() {
            Some(target) => root.join(target),
            None => configured_target(&root)?,
        };
        Ok(Self {
            root,
            cache,
            target,
        })
    }

    /// Prepares a cargo command in the checkout, with the chosen target directory.
    ///
    /// What `cargo run` exported about this package is removed: build scripts that watch those variables would
    /// otherwise rebuild whenever a person and xtask take turns.
    pub(crate) fn cargo(&self, subcommand: &str) -> Command {
        let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(cargo);
        shell::forget_package(&mut command);
        command
            .current_dir(&self.root)
            .env("CARGO_TARGET_DIR", &self.target)
            .arg(subcommand);
        if is_ci() && takes_locked(subcommand) {
            command.arg("--locked");
        }
        command
    }

    /// Prepares the build of one native program.
    ///
    /// The same packages as the tests and not one: features then unify in the same way, and burn, which takes
    /// many minutes, is built once for both.
    pub(crate) fn cargo_build_program(&self, name: &str) -> Command {
        let mut command = self.cargo("build");
        command.args(["--release", "--bin", name]).args(PACKAGES);
        command
    }

    /// The path of a native program after [`Self::cargo_build_program`].
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.target
            .join("release")
            .join(format!("{name}{}", env::consts::EXE_SUFFIX))
    }

    /// Builds an example of `tests`, and the daemon that it may start, and returns its path.
    ///
    /// # Errors
    /// When it does not build.
    pub(crate) fn build_example(&self, name: &str) -> Result<PathBuf> {
        let step = Step::start(format_args!("cargo build --release --example {name}"));
        let mut command = self.cargo_build_program("cutlayer-server");
        shell::run(
            command.args(["--example", name]),
            "It did not build: fix what the compiler says above and run again.",
        )?;
        step.done("built");
        let file = format!("{name}{}", env::consts::EXE_SUFFIX);
        Ok(self.target.join("release/examples").join(file))
    }

    /// The directory of the built page.
    pub(crate) fn page(&self) -> PathBuf {
        self.target.join("page")
    }

    /// The directory that cargo installs tools into.
    pub(crate) fn tools(&self) -> PathBuf {
        self.cache.join("tools")
    }

    /// The log of a noisy tool.
    pub(crate) fn log(&self, name: &str) -> PathBuf {
        self.cache.join("logs").join(format!("{name}.log"))
    }
}

impl Choice {
    fn cache(&self) -> PathBuf {
        match (&self.cache, &self.target, &self.ci_home) {
            (Some(cache), _, _) => cache.clone(),
            (None, None, Some(home)) => home.join("assets"),
            _ => PathBuf::from(".cache"),
        }
    }

    fn target(&self) -> Option<PathBuf> {
        let ci_target = || self.ci_home.as_deref().map(|home| home.join("target"));
        self.target.clone().or_else(ci_target)
    }
}

/// Whether a CI service runs this.
pub(crate) fn is_ci() -> bool {
    env::var_os("CI").is_some_and(|value| !value.is_empty() && value != "false")
}

fn user_cache() -> Option<PathBuf> {
    let base = env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute())
        .or_else(|| env::home_dir().map(|home| home.join(".cache")))?;
    Some(base.join("cutlayer"))
}

fn takes_locked(subcommand: &str) -> bool {
    matches!(subcommand, "build" | "test" | "clippy" | "doc")
}

/// Asks cargo, because a developer may have set the directory in a configuration file.
fn configured_target(root: &Path) -> Result<PathBuf> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let metadata = shell::capture(Command::new(cargo).current_dir(root).args([
        "metadata",
        "--no-deps",
        "--format-version",
        "1",
    ]))
    .context("Cargo could not read the workspace: fix what it says about Cargo.toml above.")?;
    let metadata: serde_json::Value = serde_json::from_str(&metadata)
        .context("Cargo's metadata is not JSON: update Rust with `rustup update stable`.")?;
    metadata["target_directory"]
        .as_str()
        .map(PathBuf::from)
        .context("Cargo named no target directory: update Rust with `rustup update stable`.")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn choice(cache: Option<&str>, target: Option<&str>, ci_home: Option<&str>) -> Choice {
        Choice {
            cache: cache.map(PathBuf::from),
            target: target.map(PathBuf::from),
            ci_home: ci_home.map(PathBuf::from),
        }
    }

    /// Breaks when a developer's cache leaves the checkout, or when CI's does not.
    #[test]
    fn cache_is_in_the_checkout_except_in_ci() {
        assert_eq!(choice(None, None, None).cache(), Path::new(".cache"));
        assert_eq!(
            choice(None, None, Some("/h")).cache(),
            Path::new("/h/assets")
        );
        assert_eq!(
            choice(Some("/c"), None, Some("/h")).cache(),
            Path::new("/c")
        );
    }

    /// Breaks when a target directory that somebody set is overruled.
    #[test]
    fn a_given_target_directory_wins() {
        assert_eq!(
            choice(None, Some("/t"), Some("/h")).target().unwrap(),
            Path::new("/t")
        );
        assert_eq!(
            choice(None, None, Some("/h")).target().unwrap(),
            Path::new("/h/target")
        );
        assert_eq!(choice(None, None, None).target(), None);
    }
}
