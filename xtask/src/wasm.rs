//! Builds the browser client and the page: cargo, wasm-bindgen, copy, compress, hold the size limit.
//!
//! wasm-opt is not used: no package that can be had without Node.js runs a current Binaryen, and the limit is
//! held without it.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::assets::{REVIEWS, sha256, write_whole};
use crate::integrity;
use crate::page::{self, PageFile, Sizes, Synced};
use crate::release::{self, RELEASE};
use crate::shell;
use crate::step::Step;
use crate::toolchain::WasmToolchain;
use crate::workspace::Workspace;

/// What a visitor downloads at most before anything runs; issue 2 sets it.
const WASM_BROTLI_BYTES_MAX: usize = 3_000_000;

const WASM_FILE: &str = "client_wasm_bg.wasm";
/// No visitor needs function names, tool versions or types.
const BINDGEN_FLAGS: [&str; 5] = [
    "--target",
    "web",
    "--no-typescript",
    "--remove-name-section",
    "--remove-producers-section",
];

/// The kinds of file in `web/` that belong to the page; tests and editor settings do not.
const PAGE_EXTENSIONS: [&str; 7] = ["html", "css", "js", "svg", "png", "ico", "webmanifest"];

/// Builds the page into the target directory and returns the sizes of the wasm file.
///
/// The demo reviews must be in the cache: they become the page's sample.
///
/// # Errors
/// One sentence that says what to install or to do; also when the wasm file is over its limit.
pub(crate) fn build(workspace: &Workspace) -> Result<Sizes> {
    let glue = glue(workspace)?;
    let step = Step::start(format_args!("page in {}", workspace.page().display()));
    let mut files = page_files(workspace, &glue)?;
    integrity::vouch(&mut files, &workspace.target.join("page.index.html"))?;
    let synced = page::sync(&workspace.page(), &files)?;
    let written = synced.values().filter(|file| file.written).count();
    match written {
        0 => step.already_done(),
        _ => step.done(format_args!("{written} files copied and compressed")),
    };
    let digest = release::write(&workspace.page(), synced.keys())?;
    println!("    {RELEASE}: sha256 {digest}");
    check_size(&synced)
}

/// Builds the browser client and returns the directory of what wasm-bindgen makes of it.
///
/// # Errors
/// One sentence that says what to install or to do.
pub(crate) fn glue(workspace: &Workspace) -> Result<PathBuf> {
    let toolchain = WasmToolchain::ensure(workspace)?;
    let bindgen = ensure_bindgen(workspace)?;
    let library = compile(workspace, &toolchain)?;
    let glue = workspace.target.join("wasm-bindgen");
    run_bindgen(&bindgen.join("wasm-bindgen"), &library, &glue)?;
    Ok(glue)
}

fn compile(workspace: &Workspace, toolchain: &WasmToolchain) -> Result<PathBuf> {
    let step =
        Step::start("browser client: cargo build --profile wasm (10 to 15 minutes the first time)");
    shell::run(
        toolchain
            .cargo(workspace, "build")
            .args(["--package", "client-wasm", "--lib"]),
        "The browser client did not build: fix what the compiler says above and run again.",
    )?;
    step.done("built");
    Ok(toolchain.output().join("client_wasm.wasm"))
}

/// Finds or installs the wasm-bindgen programs of exactly the library's version; returns their directory.
///
/// # Errors
/// One sentence with the command that installs them.
pub(crate) fn ensure_bindgen(workspace: &Workspace) -> Result<PathBuf> {
    let lock = fs::read_to_string(workspace.root.join("Cargo.lock"))
        .context("Cargo.lock is missing: bring it back with `git checkout Cargo.lock`.")?;
    let version = locked_version(&lock, "wasm-bindgen")
        .context("Cargo.lock has no wasm-bindgen: run `cargo update --workspace`.")?;
    let step = Step::start(format_args!("wasm-bindgen {version}"));
    let tools = workspace.tools().join("bin");
    let on_path = shell::find("wasm-bindgen").and_then(|path| Some(path.parent()?.to_path_buf()));
    let found = [Some(tools.clone()), on_path]
        .into_iter()
        .flatten()
        .find(|directory| has_bindgen(directory, version));
    if let Some(directory) = found {
        step.already_done();
        return Ok(directory);
    }
    install(workspace, "wasm-bindgen-cli", version)?;
    step.done("installed");
    Ok(tools)
}

/// Installs a program from crates.io into the cache.
///
/// First with the versions that its authors locked; an index that lacks one of them gets another chance with
/// whatever it has.
///
/// # Errors
/// One sentence with the command that a person can run.
pub(crate) fn install(workspace: &Workspace, name: &str, version: &str) -> Result<()> {
    let exact = format!("={version}");
    let install = || {
        let mut command = workspace.cargo("install");
        command
            // A directory of its own, removed at the end: nothing here is shared with the workspace.
            .env_remove("CARGO_TARGET_DIR")
            .args([name, "--version", &exact, "--root"])
            .arg(workspace.tools());
        command
    };
    let log = workspace.log(&format!("install-{name}"));
    let remedy =
        format!("{name} could not be installed: run `cargo install {name} --version {exact}`.");
    if shell::run_logged(install().arg("--locked"), &log, &remedy).is_ok() {
        return Ok(());
    }
    println!("    once more, with the versions that this index has");
    shell::run_logged(&mut install(), &log, &remedy)
}

fn has_bindgen(directory: &Path, version: &str) -> bool {
    ["wasm-bindgen", "wasm-bindgen-test-runner"]
        .iter()
        .all(|name| {
            let program = directory.join(name);
            program.is_file()
                && shell::capture(Command::new(program).arg("--version"))
                    .is_ok_and(|answer| answer.split_whitespace().last() == Some(version))
        })
}

/// Returns the version of a package in the text of a lock file.
fn locked_version<'a>(lock: &'a str, package: &str) -> Option<&'a str> {
    let name = format!("name = \"{package}\"");
    let mut lines = lock.lines().skip_while(|line| *line != name).skip(1);
    lines
        .next()?
        .strip_prefix("version = \"")?
        .strip_suffix('"')
}

fn run_bindgen(program: &Path, library: &Path, glue: &Path) -> Result<()> {
    let step = Step::start("wasm-bindgen: the JavaScript side of the browser client");
    let library_bytes = fs::read(library)
        .with_context(|| format!("{} is missing: run again.", library.display()))?;
    let version = shell::capture(Command::new(program).arg("--version"))?;
    let stamp = format!(
        "{} {} {}",
        sha256(&library_bytes),
        version.trim(),
        BINDGEN_FLAGS.join(" ")
    );
    let stamp_path = glue.join("stamp");
    let is_current = fs::read_to_string(&stamp_path).is_ok_and(|old| old == stamp)
        && glue.join(WASM_FILE).is_file()
        && glue.join("client_wasm.js").is_file();
    if is_current {
        step.already_done();
        return Ok(());
    }
    // What an older build left must not reach the page.
    let _ = fs::remove_dir_all(glue);
    shell::run(
        Command::new(program)
            .args(BINDGEN_FLAGS)
            .arg("--out-dir")
            .arg(glue)
            .arg(library),
        "wasm-bindgen failed on the browser client: see what it says above.",
    )?;
    write_whole(&stamp_path, stamp.as_bytes())?;
    step.done("written");
    Ok(())
}

/// Lists the page: `web/`, the output of wasm-bindgen beside it, and the sample.
fn page_files(workspace: &Workspace, glue: &Path) -> Result<Vec<PageFile>> {
    let web = workspace.root.join("web");
    let mut files = Vec::new();
    collect(&web, "", &mut files)?;
    files.extend(glue_files(glue)?);
    files.push(PageFile {
        name: "sample/reviews.tsv".to_owned(),
        source: workspace.cache.join(REVIEWS),
    });
    Ok(files)
}

/// Lists what wasm-bindgen made.
///
/// # Errors
/// When its directory cannot be read.
pub(crate) fn glue_files(glue: &Path) -> Result<Vec<PageFile>> {
    let mut files = Vec::new();
    // Wasm-bindgen puts `snippets/` beside its output when a crate brings JavaScript of its own.
    collect(glue, "", &mut files)?;
    files.push(PageFile {
        name: WASM_FILE.to_owned(),
        source: glue.join(WASM_FILE),
    });
    Ok(files)
}

fn collect(directory: &Path, prefix: &str, files: &mut Vec<PageFile>) -> Result<()> {
    let remedy = || format!("{} cannot be read: bring it back.", directory.display());
    let mut entries: Vec<_> = fs::read_dir(directory)
        .with_context(remedy)?
        .collect::<Result<_, _>>()
        .with_context(remedy)?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if path.is_dir() {
            if !matches!(name.as_str(), "tests" | "node_modules") {
                collect(&path, &format!("{name}/"), files)?;
            }
        } else if is_page_file(&path) {
            files.push(PageFile { name, source: path });
        }
    }
    Ok(())
}

fn is_page_file(path: &Path) -> bool {
    path.extension()
        .and_then(OsStr::to_str)
        .is_some_and(|extension| PAGE_EXTENSIONS.contains(&extension))
}

fn check_size(synced: &BTreeMap<String, Synced>) -> Result<Sizes> {
    let wasm = synced
        .get(WASM_FILE)
        .context("The page has no wasm file: run `cargo xtask wasm` again.")?
        .sizes;
    let others = synced
        .iter()
        .filter(|(name, _)| !name.starts_with("sample/"));
    let total: usize = others.map(|(_, file)| file.sizes.brotli_bytes).sum();
    println!(
        "    wasm: {} raw, {} gzip, {} brotli; limit {} brotli; whole page {} brotli",
        megabytes(wasm.raw_bytes),
        megabytes(wasm.gzip_bytes),
        megabytes(wasm.brotli_bytes),
        megabytes(WASM_BROTLI_BYTES_MAX),
        megabytes(total),
    );
    ensure!(
        wasm.brotli_bytes <= WASM_BROTLI_BYTES_MAX,
        "The wasm file is {} with brotli, over its limit of {}: see with `cargo tree -p client-wasm` what was added.",
        megabytes(wasm.brotli_bytes),
        megabytes(WASM_BROTLI_BYTES_MAX),
    );
    Ok(wasm)
}

/// Formats a length in decimal megabytes.
pub(crate) fn megabytes(bytes: usize) -> String {
    // Kilobytes are enough, and exact in f64.
    format!("{}.{:02} MB", bytes / 1_000_000, bytes % 1_000_000 / 10_000)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn synced(brotli_bytes: usize) -> BTreeMap<String, Synced> {
        let sizes = Sizes {
            raw_bytes: 10_600_000,
            gzip_bytes: 3_100_000,
            brotli_bytes,
        };
        let written = true;
        BTreeMap::from([(WASM_FILE.to_owned(), Synced { sizes, written })])
    }

    /// Breaks when the limit is not held, or is one byte off.
    #[test]
    fn the_size_limit_is_held() {
        assert!(check_size(&synced(3_000_000)).is_ok());
        let error = check_size(&synced(3_000_001)).unwrap_err();
        assert!(error.to_string().contains("over its limit"));
    }

    /// Breaks when a package whose name merely begins alike is taken.
    #[test]
    fn the_locked_version_is_of_exactly_the_package() {
        let lock = "[[package]]\nname = \"wasm-bindgen-futures\"\nversion = \"0.4.80\"\n\n\
                    [[package]]\nname = \"wasm-bindgen\"\nversion = \"0.2.130\"\n";
        assert_eq!(locked_version(lock, "wasm-bindgen"), Some("0.2.130"));
        assert_eq!(locked_version(lock, "bindgen"), None);
    }

    #[test]
    fn megabytes_are_decimal() {
        assert_eq!(megabytes(1_620_000), "1.62 MB");
        assert_eq!(megabytes(3_049_999), "3.04 MB");
    }

    /// Breaks when tests or editor settings are served.
    #[test]
    fn only_files_of_the_page_are_served() {
        assert!(is_page_file(Path::new("src/main.js")));
        assert!(!is_page_file(Path::new("package.json")));
        assert!(!is_page_file(Path::new("README.md")));
    }
}
