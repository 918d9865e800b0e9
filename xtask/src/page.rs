//! Fills the directory that the server serves: copies what changed, removes what is gone, compresses every file.
//!
//! It knows names and bytes only; what belongs to the page is decided in `wasm.rs`.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use crate::assets::{sha256, write_whole};

/// Names a file of the page and where its content comes from.
#[derive(Debug, Clone)]
pub(crate) struct PageFile {
    /// Its path on the page, with `/`.
    pub(crate) name: String,
    /// The file that holds its content.
    pub(crate) source: PathBuf,
}

/// Holds the length of a file as it is and as a server sends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sizes {
    /// Without compression.
    pub(crate) raw_bytes: usize,
    /// With gzip at its best level.
    pub(crate) gzip_bytes: usize,
    /// With brotli at quality 11.
    pub(crate) brotli_bytes: usize,
}

/// Says what a file of the page is after [`sync`], and whether it had to be written.
#[derive(Debug)]
pub(crate) struct Synced {
    pub(crate) sizes: Sizes,
    pub(crate) written: bool,
}

/// Makes `page` hold exactly `files`, each with a `.gz` and a `.br` beside it.
///
/// A stamp beside the directory remembers the sha256 of every source, so that compression, which takes half a
/// minute for the wasm file, is done only for new content.
///
/// # Errors
/// When a source cannot be read or the page cannot be written.
pub(crate) fn sync(page: &Path, files: &[PageFile]) -> Result<BTreeMap<String, Synced>> {
    let stamp_path = page.with_extension("stamp.json");
    let old = read_stamp(&stamp_path);
    let mut synced = BTreeMap::new();
    let mut stamp = serde_json::Map::new();
    for file in files {
        let content = fs::read(&file.source)
            .with_context(|| format!("Bring back {}: the page needs it.", file.source.display()))?;
        let digest = sha256(&content);
        let sizes = old
            .get(&file.name)
            .and_then(|entry| unchanged(page, file, entry, &digest));
        let written = sizes.is_none();
        let sizes = match sizes {
            Some(sizes) => sizes,
            None => write_compressed(&page.join(&file.name), &content)?,
        };
        stamp.insert(file.name.clone(), stamp_entry(&digest, sizes));
        synced.insert(file.name.clone(), Synced { sizes, written });
    }
    remove_others(page, page, &synced)?;
    write_whole(&stamp_path, Value::Object(stamp).to_string().as_bytes())?;
    Ok(synced)
}

fn read_stamp(path: &Path) -> serde_json::Map<String, Value> {
    fs::read(path)
        .ok()
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .unwrap_or_default()
}

fn stamp_entry(digest: &str, sizes: Sizes) -> Value {
    json!({
        "sha256": digest,
        "raw": sizes.raw_bytes,
        "gzip": sizes.gzip_bytes,
        "brotli": sizes.brotli_bytes,
    })
}

/// Returns the sizes of a file that needs no work: same source as before, and all three files still there.
fn unchanged(page: &Path, file: &PageFile, entry: &Value, digest: &str) -> Option<Sizes> {
    let bytes = |key: &str| entry[key].as_u64().and_then(|n| usize::try_from(n).ok());
    let sizes = Sizes {
        raw_bytes: bytes("raw")?,
        gzip_bytes: bytes("gzip")?,
        brotli_bytes: bytes("brotli")?,
    };
    let target = page.join(&file.name);
    let is_there = |path: &Path, length: usize| {
        fs::metadata(path).is_ok_and(|metadata| metadata.len() == length as u64)
    };
    let intact = entry["sha256"].as_str() == Some(digest)
        && is_there(&target, sizes.raw_bytes)
        && is_there(&with_suffix(&target, "gz"), sizes.gzip_bytes)
        && is_there(&with_suffix(&target, "br"), sizes.brotli_bytes);
    intact.then_some(sizes)
}

fn write_compressed(target: &Path, content: &[u8]) -> Result<Sizes> {
    let compress = |what: &'static str| {
        move || {
            format!(
                "{} could not be compressed with {what}: report it.",
                target.display()
            )
        }
    };
    let gzip = gzip(content).with_context(compress("gzip"))?;
    let brotli = brotli(content).with_context(compress("brotli"))?;
    write_whole(target, content)?;
    write_whole(&with_suffix(target, "gz"), &gzip)?;
    write_whole(&with_suffix(target, "br"), &brotli)?;
    Ok(Sizes {
        raw_bytes: content.len(),
        gzip_bytes: gzip.len(),
        brotli_bytes: brotli.len(),
    })
}

fn gzip(content: &[u8]) -> Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(content)?;
    Ok(encoder.finish()?)
}

fn brotli(content: &[u8]) -> Result<Vec<u8>> {
    // The widest window that browsers accept without the large-window extension.
    let params = brotli::enc::BrotliEncoderParams {
        quality: 11,
        lgwin: 24,
        size_hint: content.len(),
        ..Default::default()
    };
    let mut compressed = Vec::new();
    brotli::BrotliCompress(&mut &content[..], &mut compressed, &params)?;
    Ok(compressed)
}

/// Removes what an earlier build left: the server would go on serving it.
fn remove_others(page: &Path, directory: &Path, keep: &BTreeMap<String, Synced>) -> Result<()> {
    let remedy = || format!("Make {} writable.", directory.display());
    for entry in fs::read_dir(directory).with_context(remedy)? {
        let path = entry.with_context(remedy)?.path();
        if path.is_dir() {
            remove_others(page, &path, keep)?;
            // Fails while something is left in it, which is right.
            let _ = fs::remove_dir(&path);
        } else if !keep.contains_key(&page_name(page, &path)) {
            fs::remove_file(&path).with_context(remedy)?;
        }
    }
    Ok(())
}

/// Returns the name of the page file that a path is, or is a compressed form of.
fn page_name(page: &Path, path: &Path) -> String {
    let relative = path.strip_prefix(page).unwrap_or(path);
    let name = relative.to_string_lossy().replace('\\', "/");
    match name
        .strip_suffix(".gz")
        .or_else(|| name.strip_suffix(".br"))
    {
        Some(original) => original.to_owned(),
        None => name,
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io::Read;

    use super::*;

    fn scratch(name: &str) -> PathBuf {
        let directory =
            std::env::temp_dir().join(format!("xtask-page-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&directory);
        fs::create_dir_all(&directory).unwrap();
        directory
    }

    fn file(directory: &Path, name: &str, content: &str) -> PageFile {
        let source = directory.join(name.replace('/', "-"));
        fs::write(&source, content).unwrap();
        PageFile {
            name: name.to_owned(),
            source,
        }
    }

    /// Breaks when a compressed file does not hold the content that it stands for.
    #[test]
    fn both_compressed_forms_hold_the_content() {
        let scratch = scratch("forms");
        let page = scratch.join("page");
        let content = "const answer = 42;\n".repeat(50);
        sync(&page, &[file(&scratch, "src/main.js", &content)]).unwrap();
        let mut gzip = String::new();
        flate2::read::GzDecoder::new(fs::File::open(page.join("src/main.js.gz")).unwrap())
            .read_to_string(&mut gzip)
            .unwrap();
        assert_eq!(gzip, content);
        let mut brotli = Vec::new();
        let compressed = fs::read(page.join("src/main.js.br")).unwrap();
        brotli::BrotliDecompress(&mut &compressed[..], &mut brotli).unwrap();
        assert_eq!(brotli, content.as_bytes());
        assert!(compressed.len() < content.len() / 4);
        fs::remove_dir_all(scratch).unwrap();
    }

    /// Breaks when unchanged files are compressed again, or changed ones are not.
    #[test]
    fn only_changed_files_are_written() {
        let scratch = scratch("changed");
        let page = scratch.join("page");
        let files = [file(&scratch, "a.js", "one"), file(&scratch, "b.js", "two")];
        assert!(sync(&page, &files).unwrap().values().all(|s| s.written));
        assert!(sync(&page, &files).unwrap().values().all(|s| !s.written));
        fs::write(&files[0].source, "uno").unwrap();
        fs::remove_file(page.join("b.js.br")).unwrap();
        assert!(sync(&page, &files).unwrap().values().all(|s| s.written));
        assert_eq!(fs::read(page.join("a.js")).unwrap(), b"uno");
        fs::remove_dir_all(scratch).unwrap();
    }

    /// Breaks when a file that left the sources is still served, in any of its three forms.
    #[test]
    fn removed_sources_leave_the_page() {
        let scratch = scratch("removed");
        let page = scratch.join("page");
        let files = [
            file(&scratch, "a.js", "one"),
            file(&scratch, "old/b.js", "two"),
        ];
        sync(&page, &files).unwrap();
        sync(&page, &files[..1]).unwrap();
        let left: Vec<_> = fs::read_dir(&page)
            .unwrap()
            .map(|e| e.unwrap().path())
            .collect();
        assert_eq!(left.len(), 3);
        assert!(!page.join("old").exists());
        fs::remove_dir_all(scratch).unwrap();
    }
}
