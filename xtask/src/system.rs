//! Installs what the operating system packages, where that is allowed: Debian or Ubuntu, as root.
//!
//! Everywhere else it says in one sentence what a person has to install.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, bail};

use crate::shell;
use crate::step::Step;
use crate::workspace::Workspace;

static LISTS_ARE_FRESH: AtomicBool = AtomicBool::new(false);

/// Installs Debian packages without asking.
///
/// # Errors
/// One sentence with the command that a person can run, when this is not root or the packages cannot be had.
pub(crate) fn apt_install(workspace: &Workspace, purpose: &str, packages: &[&str]) -> Result<()> {
    let list = packages.join(" ");
    let remedy = format!(
        "{purpose} needs the packages {list}: run `sudo apt-get install --no-install-recommends {list}`."
    );
    if shell::find("apt-get").is_none() || !is_root() {
        bail!("{remedy}");
    }
    let step = Step::start(format_args!("Debian packages: {list}"));
    if !LISTS_ARE_FRESH.swap(true, Ordering::Relaxed) {
        // Stale lists are worth a try, so a failure here is left to the installation.
        let _ = shell::run_logged(
            apt_get().arg("update"),
            &workspace.log("apt-update"),
            "Check the network.",
        );
    }
    shell::run_logged(
        apt_get()
            .args(["install", "--yes", "--no-install-recommends"])
            .args(packages),
        &workspace.log("apt-install"),
        &remedy,
    )?;
    step.done("installed");
    Ok(())
}

/// Whether this process may install packages.
fn is_root() -> bool {
    shell::capture(Command::new("id").arg("-u")).is_ok_and(|id| id.trim() == "0")
}

fn apt_get() -> Command {
    let mut command = Command::new("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive");
    command
}

/// Finds a Python with pip.
///
/// # Errors
/// One sentence that says what to install.
pub(crate) fn python_with_pip() -> Result<&'static str> {
    ["python3", "python"]
        .into_iter()
        .find(|python| shell::succeeds(Command::new(python).args(["-m", "pip", "--version"])))
        .context(
            "Python 3 with pip is missing: install it with `sudo apt-get install python3 python3-pip`.",
        )
}

/// Finds Node.js, installing it where that is allowed.
///
/// # Errors
/// One sentence that says what to install.
pub(crate) fn node(workspace: &Workspace) -> Result<&'static str> {
    if shell::find("node").is_none() {
        apt_install(workspace, "Testing the page's modules", &["nodejs"])?;
    }
    Ok("node")
}

/// Finds npm, installing it where that is allowed.
///
/// # Errors
/// One sentence that says what to install.
pub(crate) fn npm(workspace: &Workspace) -> Result<&'static str> {
    if shell::find("npm").is_none() {
        apt_install(workspace, "Packing the client", &["npm"])?;
    }
    Ok("npm")
}

/// Makes sure of the reverse proxies that `deploy/` has snippets for, installing them where that is allowed.
///
/// # Errors
/// One sentence that says what to install.
pub(crate) fn proxies(workspace: &Workspace) -> Result<()> {
    // Outside of a person's PATH on Debian, and yet there.
    let has_nginx = shell::find("nginx").is_some() || Path::new("/usr/sbin/nginx").is_file();
    if has_nginx && shell::find("caddy").is_some() {
        return Ok(());
    }
    let packages = ["nginx-light", "caddy"];
    apt_install(workspace, "Testing behind proxies", &packages)
}

/// Makes sure that a small disk can be mounted, in a namespace of one process.
///
/// # Errors
/// One sentence that says what is not allowed here.
pub(crate) fn small_disks() -> Result<()> {
    // As `tests/src/small_disk.rs` does it: as root, or as anybody in a user namespace.
    let can_mount = |way: &&str| {
        let mut command = Command::new("unshare");
        command.args([*way, "mount", "-t", "tmpfs", "tmpfs"]);
        shell::succeeds(command.arg(std::env::temp_dir()))
    };
    match ["-m", "-Urm"].iter().any(can_mount) {
        true => Ok(()),
        false => bail!(
            "No tmpfs can be mounted here: run as root, or allow user namespaces, and install util-linux."
        ),
    }
}

/// Finds a Python that can run the reference: `CUTLAYER_PYTHON`, else the checkout's `.venv`, else the system's.
///
/// # Errors
/// One sentence that says how to make one.
pub(crate) fn python_with_torch(workspace: &Workspace) -> Result<String> {
    let imports = ["-c", "import torch, transformers, peft"];
    let venv = workspace.root.join(".venv/bin/python");
    std::env::var("CUTLAYER_PYTHON")
        .ok()
        .into_iter()
        .chain(Path::new(&venv).is_file().then(|| venv.display().to_string()))
        .chain(["python3".to_owned()])
        .find(|python| shell::succeeds(Command::new(python).args(imports)))
        .context(
            "No Python with torch, transformers and peft: make one with `python3 -m venv .venv && \
             .venv/bin/pip install torch transformers peft safetensors`, or name one in CUTLAYER_PYTHON.",
        )
}

/// Finds the settings that make wgpu use Mesa's software Vulkan driver, installing it where that is allowed.
///
/// # Errors
/// One sentence that says what to install.
pub(crate) fn software_vulkan(workspace: &Workspace) -> Result<Vec<(String, String)>> {
    let find = || lavapipe(Path::new("/usr/share/vulkan/icd.d"));
    let driver = match find() {
        Some(driver) if has_vulkan_loader() => driver,
        _ => {
            let packages = ["mesa-vulkan-drivers", "libvulkan1"];
            apt_install(workspace, "Testing on a software GPU", &packages)?;
            find().context("Mesa's software Vulkan driver is missing: `sudo apt-get install mesa-vulkan-drivers libvulkan1`.")?
        }
    };
    let runtime = workspace.target.join("xdg-runtime");
    std::fs::create_dir_all(&runtime)
        .with_context(|| format!("Make {} writable.", runtime.display()))?;
    Ok(vec![
        ("VK_DRIVER_FILES".to_owned(), driver.clone()),
        // The name that loaders before 1.3.207 know.
        ("VK_ICD_FILENAMES".to_owned(), driver),
        ("XDG_RUNTIME_DIR".to_owned(), runtime.display().to_string()),
    ])
}

fn lavapipe(directory: &Path) -> Option<String> {
    let mut drivers: Vec<_> = std::fs::read_dir(directory)
        .ok()?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| {
            path.file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with("lvp_icd"))
        })
        .collect();
    drivers.sort();
    drivers.first().map(|path| path.display().to_string())
}

fn has_vulkan_loader() -> bool {
    let has_loader = |directory: &Path| directory.join("libvulkan.so.1").exists();
    // `/usr/lib/x86_64-linux-gnu` and its like on Debian, `/usr/lib` or `/usr/lib64` elsewhere.
    [Path::new("/usr/lib"), Path::new("/usr/lib64")]
        .iter()
        .any(|path| has_loader(path))
        || std::fs::read_dir("/usr/lib")
            .is_ok_and(|entries| entries.flatten().any(|entry| has_loader(&entry.path())))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Breaks when a hardware driver is taken for the software one.
    #[test]
    fn only_lavapipe_is_taken() {
        let directory = std::env::temp_dir().join(format!("xtask-icd-{}", std::process::id()));
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(directory.join("radeon_icd.x86_64.json"), "{}").unwrap();
        assert_eq!(lavapipe(&directory), None);
        std::fs::write(directory.join("lvp_icd.x86_64.json"), "{}").unwrap();
        assert!(
            lavapipe(&directory)
                .unwrap()
                .ends_with("lvp_icd.x86_64.json")
        );
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
