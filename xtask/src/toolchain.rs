//! Makes sure of a toolchain for wasm32: the standard library is there, rustup adds it, or Debian's packages do.
//!
//! `CUTLAYER_WASM_TOOLCHAIN=present|rustup|debian` forces one of the three ways.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::shell;
use crate::step::Step;
use crate::system;
use crate::workspace::Workspace;

/// The target of the browser client.
pub(crate) const WASM_TARGET: &str = "wasm32-unknown-unknown";

/// The packages of Debian's own Rust for browsers, with the sources of its standard library.
const DEBIAN_PACKAGES: [&str; 3] = ["rustc-web", "cargo-web", "rust-web-src"];

/// Tells how cargo is called for wasm32.
#[derive(Debug)]
pub(crate) struct WasmToolchain {
    way: Way,
    target: PathBuf,
    env: Vec<(&'static str, OsString)>,
}

/// Where the standard library of wasm32 comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// It is in the toolchain.
    Present,
    /// `rustup target add` brings it.
    Rustup,
    /// It is built from Debian's sources by Debian's compiler.
    Debian,
}

impl WasmToolchain {
    /// Finds or installs a toolchain.
    ///
    /// # Errors
    /// One sentence that says what to install when none of the three ways is open.
    pub(crate) fn ensure(workspace: &Workspace) -> Result<Self> {
        let step = Step::start(format_args!("toolchain for {WASM_TARGET}"));
        let forced = env::var("CUTLAYER_WASM_TOOLCHAIN").ok();
        let ways = match forced.as_deref() {
            None | Some("") => vec![Way::Present, Way::Rustup, Way::Debian],
            Some(name) => vec![Way::named(name)?],
        };
        let toolchain = ways
            .into_iter()
            .find_map(|way| way.open(workspace).transpose())
            .transpose()?;
        let Some(toolchain) = toolchain else {
            bail!(
                "No standard library for {WASM_TARGET}: run `rustup target add {WASM_TARGET}`, or on Debian \
                 `sudo apt-get install --no-install-recommends {}`.",
                DEBIAN_PACKAGES.join(" ")
            );
        };
        match toolchain.way {
            Way::Present => step.already_done(),
            Way::Rustup => step.done("added by rustup"),
            Way::Debian => step.done("Debian's rustc-web, standard library built from source"),
        };
        Ok(toolchain)
    }

    /// Prepares a cargo command for the browser client, up to the package.
    pub(crate) fn cargo(&self, workspace: &Workspace, subcommand: &str) -> Command {
        let mut command = workspace.cargo(subcommand);
        if self.way == Way::Debian {
            let mut debian = Command::new("/usr/bin/cargo");
            shell::forget_package(&mut debian);
            debian.current_dir(&workspace.root).arg(subcommand);
            // Variables by which rustup would put its own compiler back.
            for variable in [
                "RUSTUP_TOOLCHAIN",
                "CARGO",
                "RUSTC_WRAPPER",
                "LD_LIBRARY_PATH",
            ] {
                debian.env_remove(variable);
            }
            let parts = match subcommand {
                "test" => "build-std=std,panic_abort,test",
                _ => "build-std=std,panic_abort",
            };
            debian.args(["-Z", parts]);
            command = debian;
        }
        // Either variable would replace the flags of `.cargo/config.toml`, without which getrandom does not build.
        command
            .env_remove("RUSTFLAGS")
            .env_remove("CARGO_ENCODED_RUSTFLAGS")
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .env("CARGO_TARGET_DIR", &self.target)
            .arg("--config")
            .arg(without_paths(&self.target, &cargo_home()))
            .args(["--profile", "wasm", "--target", WASM_TARGET]);
        command
    }

    /// Whether the toolchain has clippy; Debian's for browsers has not.
    pub(crate) fn has_clippy(&self) -> bool {
        self.way != Way::Debian
    }

    /// The directory of the built library.
    pub(crate) fn output(&self) -> PathBuf {
        self.target.join(WASM_TARGET).join("wasm")
    }
}

impl Way {
    fn named(name: &str) -> Result<Self> {
        match name {
            "present" => Ok(Self::Present),
            "rustup" => Ok(Self::Rustup),
            "debian" => Ok(Self::Debian),
            _ => bail!("Set CUTLAYER_WASM_TOOLCHAIN to present, rustup or debian, or unset it."),
        }
    }

    /// Tries this way; `None` when it is not open on this machine.
    fn open(self, workspace: &Workspace) -> Result<Option<WasmToolchain>> {
        let plain = WasmToolchain {
            way: self,
            target: workspace.target.clone(),
            env: Vec::new(),
        };
        match self {
            Self::Present => Ok(has_standard_library().then_some(plain)),
            Self::Rustup => {
                let added = shell::find("rustup").is_some()
                    && shell::succeeds(Command::new("rustup").args(["target", "add", WASM_TARGET]));
                Ok((added && has_standard_library()).then_some(plain))
            }
            Self::Debian => debian(workspace),
        }
    }
}

fn has_standard_library() -> bool {
    let libdir = rustc(&["--print", "target-libdir", "--target", WASM_TARGET]).unwrap_or_default();
    fs::read_dir(libdir.trim()).is_ok_and(|entries| {
        entries.flatten().any(|entry| {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            name.starts_with("libstd-") && name.ends_with(".rlib")
        })
    })
}

fn debian(workspace: &Workspace) -> Result<Option<WasmToolchain>> {
    if shell::find("dpkg").is_none() {
        return Ok(None);
    }
    let installed = |package: &str| shell::succeeds(Command::new("dpkg").args(["-s", package]));
    if !DEBIAN_PACKAGES.iter().all(|package| installed(package)) {
        system::apt_install(workspace, "The browser client", &DEBIAN_PACKAGES)?;
    }
    // Named by their paths: rustup's proxies of the same name come first on the search path.
    let linker = linker().context(
        "No linker for wasm: run `rustup component add rust-src` with the toolchain of this checkout, or `sudo apt-get install lld`.",
    )?;
    Ok(Some(WasmToolchain {
        way: Way::Debian,
        // Its own directory: the same crates built by another compiler would push each other out.
        target: workspace.target.join("debian"),
        env: vec![
            ("RUSTC", "/usr/bin/rustc".into()),
            // `-Z build-std` is not stable.
            ("RUSTC_BOOTSTRAP", "1".into()),
            (
                "CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER",
                linker.into_os_string(),
            ),
        ],
    }))
}

/// Finds `rust-lld` in the toolchain, else LLVM's linker for wasm.
fn linker() -> Option<PathBuf> {
    let sysroot = rustc(&["--print", "sysroot"]).ok()?;
    let version = rustc(&["-vV"]).ok()?;
    let host = version
        .lines()
        .find_map(|line| line.strip_prefix("host: "))?;
    let lld = Path::new(sysroot.trim())
        .join("lib/rustlib")
        .join(host)
        .join("bin/rust-lld");
    if lld.is_file() {
        return Some(lld);
    }
    shell::find("wasm-ld")
}

/// Flags beside those of `.cargo/config.toml`, with which no path of this machine gets into the program: two
/// checkouts give the same bytes. Cargo joins the two lists.
///
/// Nothing is said of the checkout: cargo names the sources of the workspace relative to it. So checkouts that share a
/// target directory share what was built.
fn without_paths(target: &Path, cargo_home: &Path) -> String {
    // The last prefix that fits is the one that is taken.
    let prefixes = [(cargo_home, "cargo"), (target, "target")];
    // An empty prefix would fit everything.
    let known = prefixes
        .iter()
        .filter(|(path, _)| !path.as_os_str().is_empty());
    let flags: Vec<String> = known
        .map(|(path, name)| {
            // A string of JSON is one of TOML.
            Value::from(format!("--remap-path-prefix={}={name}", path.display())).to_string()
        })
        .collect();
    format!("target.{WASM_TARGET}.rustflags=[{}]", flags.join(","))
}

fn cargo_home() -> PathBuf {
    let chosen = env::var_os("CARGO_HOME").map(PathBuf::from);
    let usual = || env::home_dir().map(|home| home.join(".cargo"));
    chosen.or_else(usual).unwrap_or_default()
}

fn rustc(args: &[&str]) -> Result<String> {
    shell::capture(Command::new(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into())).args(args))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_way_is_forced_by_its_name() {
        assert_eq!(Way::named("debian").unwrap(), Way::Debian);
        assert!(Way::named("nix").is_err());
    }

    /// Breaks when a path is kept.
    #[test]
    fn paths_of_this_machine_are_replaced() {
        let config = without_paths(Path::new("/w/\"t"), Path::new("/h/.cargo"));
        let expected = "target.wasm32-unknown-unknown.rustflags=[\"--remap-path-prefix=/h/.cargo=cargo\",\
            \"--remap-path-prefix=/w/\\\"t=target\"]";
        assert_eq!(config, expected);
    }
}
