//! Finds Chromium and its WebDriver, installing them where that is allowed.

use std::env;
use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::shell;
use crate::system;
use crate::workspace::Workspace;

/// Names the two programs that a browser test needs.
#[derive(Debug, Clone)]
pub(crate) struct Browser {
    chromium: PathBuf,
    driver: PathBuf,
}

impl Browser {
    /// Finds both programs, or installs Debian's packages of them.
    ///
    /// # Errors
    /// One sentence that says what to install.
    pub(crate) fn ensure(workspace: &Workspace) -> Result<Self> {
        if let Some(browser) = Self::find() {
            return Ok(browser);
        }
        system::apt_install(
            workspace,
            "Testing in a real browser",
            &["chromium", "chromium-driver"],
        )?;
        Self::find().context(
            "No Chromium with its driver on the search path: name them in CHROMIUM and CHROMEDRIVER.",
        )
    }

    fn find() -> Option<Self> {
        let named = |variable: &str| env::var_os(variable).map(PathBuf::from);
        let first = |names: &[&str]| names.iter().find_map(|name| shell::find(name));
        Some(Self {
            chromium: named("CHROMIUM")
                .or_else(|| first(&["chromium", "chromium-browser", "google-chrome"]))?,
            driver: named("CHROMEDRIVER").or_else(|| first(&["chromedriver"]))?,
        })
    }

    /// The variables by which the tests and wasm-bindgen's runner find both.
    pub(crate) fn env(&self) -> Vec<(String, String)> {
        vec![
            ("CHROMIUM".to_owned(), self.chromium.display().to_string()),
            ("CHROMEDRIVER".to_owned(), self.driver.display().to_string()),
        ]
    }
}
