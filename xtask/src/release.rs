//! Writes `release.json` into the built page: length and sha256 of every file, compressed forms among them.
//!
//! Canonical, so that one page has one document and one sha256: keys sorted by their bytes, no blanks, no line's end,
//! nothing of time, machine or tools. docs/verify.md describes it; `cutlayer-server verify` reads it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::assets::{sha256, write_whole};

/// The document's name in the page.
pub(crate) const RELEASE: &str = "release.json";

/// The form of the document.
const FORMAT: &str = "cutlayer-release-1";

/// The ends of the names under which a file is served: as it is, and compressed.
const FORMS: [&str; 3] = ["", ".br", ".gz"];

/// Describes the page's files and returns the document's sha256.
///
/// # Errors
/// When a file cannot be read, or the document not be written.
pub(crate) fn write<'a>(page: &Path, names: impl Iterator<Item = &'a String>) -> Result<String> {
    let mut files = BTreeMap::new();
    for name in names {
        for form in FORMS {
            let name = format!("{name}{form}");
            let path = page.join(&name);
            let content = fs::read(&path)
                .with_context(|| format!("{} is missing: run again.", path.display()))?;
            files.insert(name, entry(&content));
        }
    }
    let document = document(&files)?;
    write_whole(&page.join(RELEASE), document.as_bytes())?;
    Ok(sha256(document.as_bytes()))
}

fn entry(content: &[u8]) -> BTreeMap<&'static str, Value> {
    BTreeMap::from([
        ("bytes", json!(content.len())),
        ("sha256", json!(sha256(content))),
    ])
}

fn document(files: &BTreeMap<String, BTreeMap<&'static str, Value>>) -> Result<String> {
    let files = serde_json::to_string(files)?;
    Ok(format!("{{\"files\":{files},\"format\":\"{FORMAT}\"}}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Breaks when the document depends on anything but the content of the files: it is written out here.
    #[test]
    fn the_document_is_canonical() {
        let files = ["src/b.js", "src/a.js", "index.html"];
        let files = files.map(|name| (name.to_owned(), entry(b"abc")));
        // FIPS 180-2, appendix B.1.
        let abc = r#"{"bytes":3,"sha256":"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"}"#;
        let expected = format!(
            r#"{{"files":{{"index.html":{abc},"src/a.js":{abc},"src/b.js":{abc}}},"format":"cutlayer-release-1"}}"#
        );
        assert_eq!(document(&BTreeMap::from(files)).unwrap(), expected);
    }

    /// Breaks when what a browser really gets, the compressed form, is not described.
    #[test]
    fn every_form_of_a_file_is_described() {
        let page = std::env::temp_dir().join(format!("xtask-release-{}", std::process::id()));
        fs::create_dir_all(&page).unwrap();
        for form in FORMS {
            fs::write(page.join(format!("a.js{form}")), form).unwrap();
        }
        let digest = write(&page, ["a.js".to_owned()].iter()).unwrap();
        let written = fs::read(page.join(RELEASE)).unwrap();
        assert_eq!(digest, sha256(&written));
        let release: Value = serde_json::from_slice(&written).unwrap();
        assert_eq!(release["files"]["a.js"]["bytes"], 0);
        assert_eq!(release["files"]["a.js.br"]["sha256"], sha256(b".br"));
        assert_eq!(release["files"]["a.js.gz"]["sha256"], sha256(b".gz"));
        fs::remove_file(page.join("a.js.gz")).unwrap();
        assert!(write(&page, ["a.js".to_owned()].iter()).is_err());
        fs::remove_dir_all(page).unwrap();
    }
}
