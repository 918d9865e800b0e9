//! `cutlayer-server verify`: holds a page, as a directory or as it is served, against its release.
//!
//! A release is `release.json`, which the build of the page writes (docs/verify.md): the length and
//! sha256 of every file, compressed forms among them. Who has that document from elsewhere than from
//! the place that is checked gives it with `--release`; otherwise what is checked is that the place
//! is consistent, and the document's own sha256 is printed to be compared.

mod served;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use clap::{ArgGroup, Parser};
use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::catalogue::sum;
use crate::hex::hex;
use crate::origin::Origin;
use served::Served;

/// The document, in the page's directory and at its origin.
const RELEASE: &str = "release.json";

/// Its name for its own form; another one would mean something else.
const FORMAT: &str = "cutlayer-release-1";

/// Longest document that is read: thousands of files.
const RELEASE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Holds a page against its release; ends with 1 where they differ.
#[derive(Debug, Clone, Parser)]
#[command(name = "cutlayer-server verify")]
#[command(group(ArgGroup::new("place").required(true).args(["page", "url"])))]
pub struct VerifyArgs {
    /// The directory of a built page.
    #[arg(long, value_name = "DIR")]
    pub page: Option<PathBuf>,

    /// The origin that serves a page, such as `https://train.example.org`.
    #[arg(long, value_name = "ORIGIN")]
    pub url: Option<Origin>,

    /// The release from a source of yours; the place's own without it.
    #[arg(long, value_name = "FILE")]
    pub release: Option<PathBuf>,
}

/// The page could not be held against its release.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// A file.
    #[error("{} cannot be read: {source}", path.display())]
    Io {
        /// Which.
        path: PathBuf,
        /// The file system's reason.
        source: io::Error,
    },
    /// A file that is served.
    #[error("{name} cannot be fetched: {source}")]
    Fetch {
        /// Which.
        name: String,
        /// The connection's reason.
        source: Box<ureq::Error>,
    },
    /// The document is none.
    #[error("{place} is not a release of the form {FORMAT}")]
    NoRelease {
        /// Where it was read.
        place: String,
    },
    /// The answer could not be written.
    #[error("the answer cannot be written: {0}")]
    Out(#[from] io::Error),
}

/// What the document says.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Release {
    files: BTreeMap<String, Entry>,
    format: String,
}

/// What a file must be.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    bytes: u64,
    sha256: String,
}

impl Entry {
    fn of(content: impl Read) -> io::Result<Self> {
        let (bytes, sha256) = sum(content)?;
        Ok(Self {
            bytes,
            sha256: hex(&sha256),
        })
    }
}

/// How a file is not as released.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Difference {
    Differs,
    Missing,
    Extra,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Differs => "differs",
            Self::Missing => "missing",
            Self::Extra => "extra",
        })
    }
}

/// Where a page is.
trait Place {
    /// A small file's content.
    fn read(&self, name: &str) -> Result<Vec<u8>, VerifyError>;

    /// What a file is; none where there is none.
    fn entry(&self, name: &str) -> Result<Option<Entry>, VerifyError>;

    /// Names of all files, as far as the place can be asked for them.
    fn names(&self) -> &BTreeSet<String>;
}

impl VerifyArgs {
    /// Compares, and names to `out` what differs, is missing or is extra. Blocks. Returns whether
    /// everything is as released.
    ///
    /// # Errors
    ///
    /// When the place or the release cannot be read.
    pub fn run(&self, out: &mut impl Write) -> Result<bool, VerifyError> {
        match (&self.page, &self.url) {
            (Some(page), _) => self.compare(&Directory::list(page)?, out),
            (None, Some(origin)) => self.compare(&Served::at(origin), out),
            // clap asks for one of the two.
            (None, None) => Ok(false),
        }
    }

    fn compare(&self, place: &impl Place, out: &mut impl Write) -> Result<bool, VerifyError> {
        let (document, from) = match &self.release {
            Some(path) => (read_at_most(path)?, path.display().to_string()),
            None => (place.read(RELEASE)?, RELEASE.to_owned()),
        };
        let release = Release::read(&document, from)?;
        let differences = differences(&release, place)?;
        for (name, difference) in &differences {
            writeln!(out, "{difference}: {name}")?;
        }
        writeln!(
            out,
            "release {}: {} files, {} not as released",
            hex(&Sha256::digest(&document)),
            release.files.len(),
            differences.len(),
        )?;
        Ok(differences.is_empty())
    }
}

impl Release {
    fn read(document: &[u8], place: String) -> Result<Self, VerifyError> {
        match serde_json::from_slice::<Self>(document) {
            Ok(release) if release.format == FORMAT && !release.files.is_empty() => Ok(release),
            _ => Err(VerifyError::NoRelease { place }),
        }
    }
}

/// Every file that is not as released, by name.
fn differences(
    release: &Release,
    place: &impl Place,
) -> Result<BTreeMap<String, Difference>, VerifyError> {
    let mut found = BTreeMap::new();
    for (name, expected) in &release.files {
        let difference = match place.entry(name)? {
            None => Difference::Missing,
            Some(actual) if actual != *expected => Difference::Differs,
            Some(_) => continue,
        };
        found.insert(name.clone(), difference);
    }
    for name in place.names() {
        if name != RELEASE && !release.files.contains_key(name) {
            found.insert(name.clone(), Difference::Extra);
        }
    }
    Ok(found)
}

fn read_at_most(path: &Path) -> Result<Vec<u8>, VerifyError> {
    let mut content = Vec::new();
    let file = fs::File::open(path).map_err(failed(path))?;
    file.take(RELEASE_BYTES_MAX)
        .read_to_end(&mut content)
        .map_err(failed(path))?;
    Ok(content)
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> VerifyError {
    let path = path.to_owned();
    |source| VerifyError::Io { path, source }
}

/// A page as files.
struct Directory<'a> {
    path: &'a Path,
    names: BTreeSet<String>,
}

impl<'a> Directory<'a> {
    fn list(path: &'a Path) -> Result<Self, VerifyError> {
        let mut names = BTreeSet::new();
        let mut open = vec![(path.to_owned(), String::new())];
        while let Some((directory, prefix)) = open.pop() {
            for entry in fs::read_dir(&directory).map_err(failed(&directory))? {
                let entry = entry.map_err(failed(&directory))?;
                let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
                // A link to a directory is looked into, since it is served.
                if entry.path().is_dir() {
                    open.push((entry.path(), format!("{name}/")));
                } else {
                    names.insert(name);
                }
            }
        }
        Ok(Self { path, names })
    }
}

impl Place for Directory<'_> {
    fn read(&self, name: &str) -> Result<Vec<u8>, VerifyError> {
        read_at_most(&self.path.join(name))
    }

    fn entry(&self, name: &str) -> Result<Option<Entry>, VerifyError> {
        // Names of a release that lead out of the directory are those of no file in it.
        if !self.names.contains(name) {
            return Ok(None);
        }
        let path = self.path.join(name);
        let file = fs::File::open(&path).map_err(failed(&path))?;
        Ok(Some(Entry::of(file).map_err(failed(&path))?))
    }

    fn names(&self) -> &BTreeSet<String> {
        &self.names
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    /// The sha256 of "abc": FIPS 180-2, appendix B.1.
    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    fn page() -> TempDir {
        let page = tempfile::tempdir().unwrap();
        fs::create_dir(page.path().join("src")).unwrap();
        for name in ["index.html", "src/main.js"] {
            fs::write(page.path().join(name), "abc").unwrap();
        }
        let entry = format!(r#"{{"bytes":3,"sha256":"{ABC}"}}"#);
        let release = format!(
            r#"{{"files":{{"index.html":{entry},"src/main.js":{entry}}},"format":"{FORMAT}"}}"#
        );
        fs::write(page.path().join(RELEASE), release).unwrap();
        page
    }

    fn verify(page: &Path, more: &[&str]) -> Result<(bool, String), VerifyError> {
        let words = [&["verify", "--page", page.to_str().unwrap()], more].concat();
        let mut said = Vec::new();
        let same = VerifyArgs::try_parse_from(words).unwrap().run(&mut said)?;
        Ok((same, String::from_utf8(said).unwrap()))
    }

    #[test]
    fn a_page_as_released_is_told_with_the_releases_own_sha256() {
        let page = page();
        let release = fs::read(page.path().join(RELEASE)).unwrap();
        let expected = format!(
            "release {}: 2 files, 0 not as released\n",
            hex(&Sha256::digest(release))
        );
        assert_eq!(verify(page.path(), &[]).unwrap(), (true, expected));
    }

    /// Breaks when one byte, one file less or one file more passes by.
    #[test]
    fn each_file_that_is_not_as_released_is_named() {
        let page = page();
        fs::write(page.path().join("src/main.js"), "abd").unwrap();
        fs::remove_file(page.path().join("index.html")).unwrap();
        fs::write(page.path().join("src/main.js.br"), "served in its place").unwrap();
        let (same, said) = verify(page.path(), &[]).unwrap();
        let lines: Vec<_> = said.lines().take(3).collect();
        let expected = [
            "missing: index.html",
            "differs: src/main.js",
            "extra: src/main.js.br",
        ];
        assert_eq!((same, lines), (false, expected.to_vec()));
        assert!(said.ends_with(": 2 files, 3 not as released\n"), "{said}");
    }

    /// Breaks when a place vouches for itself though another release was given.
    #[test]
    fn a_release_that_is_given_goes_before_the_places_own() {
        let (page, elsewhere) = (page(), page());
        let release = elsewhere.path().join(RELEASE);
        let more = ["--release", release.to_str().unwrap()];
        assert!(verify(page.path(), &more).unwrap().0);
        let other = fs::read_to_string(&release)
            .unwrap()
            .replacen("ba78", "ba79", 1);
        fs::write(&release, other).unwrap();
        let (same, said) = verify(page.path(), &more).unwrap();
        assert!(
            !same && said.starts_with("differs: index.html\nrelease "),
            "{said}"
        );
    }

    #[test]
    fn what_is_no_release_is_no_page_of_a_release() {
        let page = page();
        let path = page.path().join(RELEASE);
        for bad in [
            "",
            "{}",
            r#"{"files":{},"format":"cutlayer-release-1"}"#,
            r#"{"files":{"a":{"bytes":0,"sha256":""}},"format":"cutlayer-release-2"}"#,
        ] {
            fs::write(&path, bad).unwrap();
            let error = verify(page.path(), &[]).unwrap_err();
            assert!(matches!(error, VerifyError::NoRelease { .. }), "{bad}");
        }
        fs::remove_file(&path).unwrap();
        let error = verify(page.path(), &[]).unwrap_err().to_string();
        assert!(error.contains(RELEASE), "{error}");
    }

    #[test]
    fn a_name_that_leads_out_of_the_page_is_no_file_of_it() {
        let page = page();
        let path = page.path().join(RELEASE);
        let release = fs::read_to_string(&path).unwrap();
        fs::write(&path, release.replace("index.html", "src/../index.html")).unwrap();
        let (same, said) = verify(page.path(), &[]).unwrap();
        assert!(
            !same && said.contains("missing: src/../index.html"),
            "{said}"
        );
    }

    #[test]
    fn one_place_is_named() {
        let parse = |words: &[&str]| VerifyArgs::try_parse_from([&["verify"], words].concat());
        assert!(parse(&["--url", "https://train.example.org"]).is_ok());
        assert!(parse(&[]).is_err());
        assert!(parse(&["--page", "p", "--url", "https://a.example"]).is_err());
        assert!(parse(&["--url", "https://a.example/path"]).is_err());
    }
}
