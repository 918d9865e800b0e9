//! Writes into the built `index.html` which scripts and styles it vouches for: Subresource Integrity.
//!
//! The daemon sends `Integrity-Policy: blocked-destinations=(script)` with a document, so a script without a
//! sha256 does not run in it (in Chromium: `server/src/routes/headers.rs`). A module that another one imports gets its sha256 from a `modulepreload` before the
//! first script. What a worker imports cannot be named so in any browser.
//!
//! Source: <https://w3c.github.io/webappsec-subresource-integrity/>, and HTML's `modulepreload`.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use crate::assets::{sha256_bytes, write_whole};
use crate::page::PageFile;

const INDEX: &str = "index.html";

/// The folders of the modules that a document runs, at once or when it needs them.
const MODULES: [&str; 2] = ["src/", "languages/"];

/// What is no module of the document: a worker, which has a document's rights nowhere, with what it alone imports,
/// types without code, and a script for browsers without modules. `web/tests/page.test.js` holds the list against the imports.
const NOT_OF_THE_DOCUMENT: [&str; 6] = [
    "src/contract.js",
    "src/models/downloads.js",
    "src/models/program.js",
    "src/models/sha256.js",
    "src/unsupported.js",
    "src/worker.js",
];

/// The line before which modules are announced.
const FIRST_MODULE: &str = "<script type=\"module\"";

/// Replaces the page's document by one that vouches for its files, written to `built`.
///
/// # Errors
/// When a file cannot be read, or the document names one that the page does not have.
pub(crate) fn vouch(files: &mut [PageFile], built: &Path) -> Result<()> {
    let read = |path: &Path| {
        fs::read(path).with_context(|| format!("Bring back {}: the page needs it.", path.display()))
    };
    let mut digests = Vec::new();
    for file in files.iter().filter(|file| is_vouched_for(&file.name)) {
        digests.push((
            file.name.clone(),
            format!("sha256-{}", base64(&sha256_bytes(&read(&file.source)?))),
        ));
    }
    let index = files
        .iter_mut()
        .find(|file| file.name == INDEX)
        .context("web/ has no index.html: bring it back.")?;
    let html = String::from_utf8(read(&index.source)?).context("web/index.html is not UTF-8.")?;
    write_whole(built, with_integrity(&html, &digests)?.as_bytes())?;
    index.source = built.to_path_buf();
    Ok(())
}

fn is_vouched_for(name: &str) -> bool {
    let extension = Path::new(name).extension();
    extension.is_some_and(|extension| extension == "js" || extension == "css")
}

/// Adds a digest to every script and style that the document names, and announces its modules.
fn with_integrity(html: &str, digests: &[(String, String)]) -> Result<String> {
    let mut result = String::with_capacity(2 * html.len());
    let mut is_announced = false;
    for line in html.split_inclusive('\n') {
        if !is_announced && line.trim_start().starts_with(FIRST_MODULE) {
            is_announced = true;
            let indent = &line[..line.len() - line.trim_start().len()];
            for (name, digest) in digests.iter().filter(|(name, _)| is_module(name)) {
                result += indent;
                result += &format!(
                    "<link rel=\"modulepreload\" href=\"./{name}\" integrity=\"{digest}\">\n"
                );
            }
        }
        result += &vouched_line(line, digests)?;
    }
    ensure!(
        is_announced,
        "web/index.html has no line that begins with {FIRST_MODULE}: give the script of the page one."
    );
    Ok(result)
}

fn is_module(name: &str) -> bool {
    let is_below = MODULES.iter().any(|folder| name.starts_with(folder));
    is_below && name.ends_with(".js") && !NOT_OF_THE_DOCUMENT.contains(&name)
}

/// A line with one element at most, as `web/index.html` is written.
fn vouched_line(line: &str, digests: &[(String, String)]) -> Result<String> {
    let start = if line.contains("<script") {
        "src=\"./"
    } else if line.contains("rel=\"stylesheet\"") {
        "href=\"./"
    } else {
        return Ok(line.to_owned());
    };
    let named = || {
        let name_at = line.find(start)? + start.len();
        let name_end = name_at + line[name_at..].find('"')?;
        let name = &line[name_at..name_end];
        let (_, digest) = digests.iter().find(|(known, _)| known == name)?;
        Some((name_end + 1, digest))
    };
    let (end, digest) = named().with_context(|| {
        format!(
            "web/index.html: no file of the page, or no file at all, in: {}",
            line.trim()
        )
    })?;
    Ok(format!(
        "{} integrity=\"{digest}\"{}",
        &line[..end],
        &line[end..]
    ))
}

/// Base64 with padding. Source: RFC 4648, section 4.
fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let byte = |at: usize| u32::from(group.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for digit in 0..4 {
            let value = (bits >> (18 - 6 * digit)) & 63;
            text.push(match digit <= group.len() {
                true => char::from(DIGITS[value as usize]),
                false => '=',
            });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn digests(names: &[&str]) -> Vec<(String, String)> {
        let of = |name: &&str| ((*name).to_owned(), format!("sha256-of-{name}"));
        names.iter().map(of).collect()
    }

    const HTML: &str = "<head>\n  <link rel=\"icon\" href=\"./icon.svg\">\n  \
        <link rel=\"stylesheet\" href=\"./a.css\">\n  \
        <script type=\"module\" src=\"./src/main.js\"></script>\n  \
        <script nomodule src=\"./src/unsupported.js\"></script>\n</head>\n";

    /// Breaks when a script of the document has no digest and so does not run, or a worker's module is fetched
    /// by the document.
    #[test]
    fn every_script_and_style_is_vouched_for() {
        let names = [
            "a.css",
            "client_wasm.js",
            "languages/en.js",
            "src/elements/b.js",
            "src/main.js",
            "src/unsupported.js",
            "src/worker.js",
        ];
        let expected = "<head>\n  <link rel=\"icon\" href=\"./icon.svg\">\n  \
            <link rel=\"stylesheet\" href=\"./a.css\" integrity=\"sha256-of-a.css\">\n  \
            <link rel=\"modulepreload\" href=\"./languages/en.js\" integrity=\"sha256-of-languages/en.js\">\n  \
            <link rel=\"modulepreload\" href=\"./src/elements/b.js\" integrity=\"sha256-of-src/elements/b.js\">\n  \
            <link rel=\"modulepreload\" href=\"./src/main.js\" integrity=\"sha256-of-src/main.js\">\n  \
            <script type=\"module\" src=\"./src/main.js\" integrity=\"sha256-of-src/main.js\"></script>\n  \
            <script nomodule src=\"./src/unsupported.js\" integrity=\"sha256-of-src/unsupported.js\"></script>\n\
            </head>\n";
        assert_eq!(with_integrity(HTML, &digests(&names)).unwrap(), expected);
    }

    #[test]
    fn a_script_that_is_not_there_or_stands_in_the_document_is_refused() {
        let error = with_integrity(HTML, &digests(&["a.css", "src/main.js"])).unwrap_err();
        assert!(error.to_string().contains("unsupported.js"), "{error}");
        let inline = HTML.replace(" src=\"./src/unsupported.js\"", "");
        assert!(with_integrity(&inline, &digests(&["a.css", "src/main.js"])).is_err());
        assert!(with_integrity("<head></head>\n", &[]).is_err());
    }

    /// The examples of RFC 4648, section 10.
    #[test]
    fn base64_is_the_standard_one() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
        assert_eq!(base64(&[0xfb, 0xff]), "+/8=");
    }
}
