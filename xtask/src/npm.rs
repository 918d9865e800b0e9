//! Packs the client for pages of others: the same worker as the page's, without the page.
//!
//! The package keeps the paths of the checkout, so that nothing is rewritten and its tests run in place.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::assets::write_whole;
use crate::shell;
use crate::step::Step;
use crate::system;
use crate::wasm;
use crate::workspace::Workspace;

/// Where the package begins; whatever these import belongs to it.
const ENTRIES: [&str; 2] = ["package/src/index.js", "web/src/worker.js"];

/// What it holds beside code: where it is in the checkout, and where in the package.
const BESIDE: [(&str, &str); 3] = [
    ("package/package.json", "package.json"),
    ("package/README.md", "README.md"),
    ("package/src/index.d.ts", "package/src/index.d.ts"),
];

/// What the build writes beside `web/src`, and no source file is.
const BUILT: &str = "web/client_wasm.js";

/// Builds the browser client, assembles the package and packs it; returns the tarball.
///
/// # Errors
/// One sentence that says what to install or to do.
pub(crate) fn pack(workspace: &Workspace) -> Result<PathBuf> {
    let glue = wasm::glue(workspace)?;
    let npm = system::npm(workspace)?;
    let step = Step::start("npm pack: the client for pages of others");
    let directory = workspace.target.join("npm");
    // What an older build left must not reach anybody.
    let _ = fs::remove_dir_all(&directory);
    let contents = directory.join("contents");
    assemble(workspace, &glue, &contents)?;
    let log = workspace.log("npm-pack");
    shell::run_logged(
        Command::new(npm)
            .current_dir(&contents)
            .args(["pack", "--ignore-scripts", "--pack-destination"])
            .arg(&directory),
        &log,
        "npm could not pack the client: see what it says above.",
    )?;
    let tarball = only_tarball(&directory)?;
    let bytes = fs::metadata(&tarball).map_or(0, |metadata| metadata.len());
    let size = wasm::megabytes(usize::try_from(bytes).unwrap_or(usize::MAX));
    step.done(format_args!("{} ({size})", tarball.display()));
    Ok(tarball)
}

fn assemble(workspace: &Workspace, glue: &Path, contents: &Path) -> Result<()> {
    let root = &workspace.root;
    let beside = BESIDE.map(|(from, to)| (root.join(from), to.to_owned()));
    let modules = modules(root)?
        .into_iter()
        .map(|name| (root.join(&name), name));
    let built = wasm::glue_files(glue)?.into_iter();
    let built = built.map(|file| (file.source, format!("web/{}", file.name)));
    for (from, to) in beside.into_iter().chain(modules).chain(built) {
        let content = fs::read(&from).with_context(|| format!("Bring back {}.", from.display()))?;
        write_whole(&contents.join(to), &content)?;
    }
    Ok(())
}

/// Lists the modules that the entries import, and what those import, by their path in the checkout.
fn modules(root: &Path) -> Result<BTreeSet<String>> {
    let mut found = BTreeSet::new();
    let mut open: Vec<String> = ENTRIES.map(str::to_owned).into();
    while let Some(name) = open.pop() {
        if name == BUILT || !found.insert(name.clone()) {
            continue;
        }
        let source = fs::read_to_string(root.join(&name))
            .with_context(|| format!("Bring back {name}: the package imports it."))?;
        for import in imports(&source) {
            open.push(resolve(&name, import)?);
        }
    }
    Ok(found)
}

/// Finds what a module imports by a relative path; comments import types only.
fn imports(source: &str) -> impl Iterator<Item = &str> {
    let lines = source.lines().filter(|line| {
        let line = line.trim_start();
        !line.starts_with("/*") && !line.starts_with('*') && !line.starts_with("//")
    });
    lines.filter_map(|line| {
        let words = ["from \"", "import \"", "import(\""];
        let (_, rest) = words.iter().find_map(|word| line.split_once(word))?;
        let (path, _) = rest.split_once('"')?;
        path.starts_with('.').then_some(path)
    })
}

/// Resolves an import of a module to a path in the checkout.
fn resolve(module: &str, import: &str) -> Result<String> {
    let mut parts: Vec<&str> = module.split('/').collect();
    parts.pop();
    for part in Path::new(import).components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir => {
                ensure!(
                    parts.pop().is_some(),
                    "{module} imports {import}: no such path."
                );
            }
            part => parts.push(part.as_os_str().to_str().unwrap_or_default()),
        }
    }
    Ok(parts.join("/"))
}

fn only_tarball(directory: &Path) -> Result<PathBuf> {
    let entries = fs::read_dir(directory)
        .with_context(|| format!("Make {} readable.", directory.display()))?;
    let is_tarball = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "tgz");
    entries
        .flatten()
        .map(|entry| entry.path())
        .find(is_tarball)
        .context("npm packed nothing: run `npm pack` by hand in target/npm/contents.")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn root() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .unwrap()
            .to_path_buf()
    }

    /// Breaks when a module is left out that another one needs.
    #[test]
    fn imports_are_followed_and_types_are_not() {
        let source = "/** @type {import(\"./types.js\")} */\n\
                      import { a } from \"./a.js\";\n\
                      export { b } from \"../b.js\";\n\
                      import test from \"node:test\";\n\
                      const c = await import(\"./c.js\");\n";
        let found: Vec<_> = imports(source).collect();
        assert_eq!(found, ["./a.js", "../b.js", "./c.js"]);
        assert_eq!(resolve("web/src/a.js", "../b.js").unwrap(), "web/b.js");
        assert!(resolve("a.js", "../../b.js").is_err());
    }

    /// Breaks when the package brings the page, or lacks what its worker needs.
    #[test]
    fn the_package_has_the_worker_and_not_the_page() {
        let modules = modules(&root()).unwrap();
        for needed in [
            "package/src/run.js",
            "web/src/messages.js",
            "web/src/models/program.js",
            "web/src/requests.js",
            "web/src/worker.js",
        ] {
            assert!(modules.contains(needed), "{needed}");
        }
        for foreign in ["web/src/main.js", "web/src/controller.js", BUILT] {
            assert!(!modules.contains(foreign), "{foreign}");
        }
    }

    /// Breaks when the package has another version than the client in it, runs something when it is installed, or
    /// needs another package.
    #[test]
    fn the_package_is_the_client_and_nothing_else() {
        let text = fs::read_to_string(root().join("package/package.json")).unwrap();
        let package: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(package["version"], env!("CARGO_PKG_VERSION"));
        for absent in ["scripts", "dependencies", "peerDependencies", "private"] {
            assert!(package.get(absent).is_none(), "{absent}");
        }
    }
}
