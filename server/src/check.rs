//! `--check-config`: reads what the daemon would read, writes nothing, says what it would serve.
//!
//! It does not open the data directory, which a running daemon holds, nor bind addresses, which are
//! taken then.

use std::fmt::Write;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use safetensors::tensor::Metadata;

use crate::args::{Args, ArgsError};
use crate::catalogue::{CatalogueError, ModelFiles};
use crate::listener::tls::{Tls, TlsError};
use crate::store::sealing::{KeyError, KeyId};
use crate::telemetry::{self, TelemetryError, traces};

/// Longest header of a safetensors file that is read: far above any model's.
const HEADER_BYTES_MAX: u64 = 100_000_000;

/// The daemon could not start like this.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// Arguments contradict each other.
    #[error(transparent)]
    Args(#[from] ArgsError),
    /// The log filter.
    #[error(transparent)]
    Log(#[from] TelemetryError),
    /// The model directory.
    #[error(transparent)]
    Model(#[from] CatalogueError),
    /// Certificate and key.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The store's key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A file is missing or unreadable.
    #[error("{} cannot be read: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The file system's reason.
        source: io::Error,
    },
    /// The weights are no safetensors file.
    #[error("{} is not a whole safetensors file", path.display())]
    Weights {
        /// The file.
        path: PathBuf,
    },
    /// The place of a directory is taken.
    #[error("{} is not a directory", path.display())]
    NotDirectory {
        /// The path.
        path: PathBuf,
    },
}

/// Reads everything, and says in a few lines what would be served.
///
/// # Errors
///
/// The first thing that is wrong.
pub fn check(args: &Args) -> Result<String, CheckError> {
    args.check()?;
    telemetry::check_filter(&args.log)?;
    let model = ModelFiles::read(&args.model, &args.cuts)?;
    check_weights(&args.model.join("model.safetensors"))?;
    let tls = args.serving.tls_files().map(Tls::load).transpose()?;
    let key = args.sealing()?.key_id();
    if let Some(page) = &args.page {
        let index = page.join("index.html");
        File::open(&index).map_err(failed(&index))?;
    }
    for directory in [Some(&args.data), args.export.as_ref()]
        .into_iter()
        .flatten()
    {
        if directory.exists() && !directory.is_dir() {
            let path = directory.clone();
            return Err(CheckError::NotDirectory { path });
        }
    }
    Ok(describe(args, &model, tls.is_some(), key))
}

/// Reads the header only, and holds it against the file's length: tensors may be many gigabytes.
fn check_weights(path: &Path) -> Result<(), CheckError> {
    let weights = || CheckError::Weights {
        path: path.to_owned(),
    };
    let mut file = File::open(path).map_err(failed(path))?;
    let file_bytes = file.metadata().map_err(failed(path))?.len();
    let mut size = [0; 8];
    file.read_exact(&mut size).map_err(|_| weights())?;
    let header_bytes = u64::from_le_bytes(size);
    if header_bytes > HEADER_BYTES_MAX {
        return Err(weights());
    }
    let mut header = Vec::new();
    file.take(header_bytes)
        .read_to_end(&mut header)
        .map_err(failed(path))?;
    let header: Metadata = serde_json::from_slice(&header).map_err(|_| weights())?;
    let tensors = header.tensors();
    let ends = tensors.values().map(|tensor| tensor.data_offsets.1);
    let tensor_bytes = ends.max().unwrap_or(0) as u64;
    if file_bytes != size.len() as u64 + header_bytes + tensor_bytes {
        return Err(weights());
    }
    Ok(())
}

fn failed(path: &Path) -> impl FnOnce(io::Error) -> CheckError {
    let path = path.to_owned();
    |source| CheckError::Io { path, source }
}

fn describe(args: &Args, model: &ModelFiles, has_tls: bool, key: Option<KeyId>) -> String {
    let scheme = if has_tls { "https" } else { "http" };
    let path =
        |path: Option<&PathBuf>| path.map_or("none".to_owned(), |path| path.display().to_string());
    let list = |origins: &[crate::origin::Origin]| {
        let names: Vec<_> = origins.iter().map(|origin| origin.as_str()).collect();
        if names.is_empty() {
            "none".to_owned()
        } else {
            names.join(", ")
        }
    };
    let cuts: Vec<_> = model.cuts.iter().map(u32::to_string).collect();
    let metrics = args.serving.metrics_listen;
    let metrics = metrics.map_or("none".to_owned(), |address| {
        format!("http://{address}/metrics")
    });
    let config = &model.config;
    let lines = [
        ("listen", format!("{scheme}://{}/", args.listen)),
        (
            "model",
            format!(
                "{}: {} blocks, d_model {}",
                model.model_id, config.n_layers, config.d_model
            ),
        ),
        ("cuts", cuts.join(", ")),
        ("page", path(args.page.as_ref())),
        ("data", args.data.display().to_string()),
        (
            "sealed",
            key.map_or("no".to_owned(), |key| format!("with the key {key}")),
        ),
        ("export", path(args.export.as_ref())),
        ("sessions", format!("at most {}", args.sessions_max)),
        (
            "connections",
            format!("at most {}", args.serving.connections_max),
        ),
        ("other origins", list(&args.serving.allow_origin)),
        ("pages elsewhere", list(&args.serving.cors_origin)),
        ("metrics", metrics),
        (
            "traces",
            args.serving
                .otlp_endpoint
                .as_ref()
                .map_or("none".to_owned(), traces::url),
        ),
    ];
    lines.iter().fold(String::new(), |mut text, (name, value)| {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{name:<16}{value}");
        text
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::ffi::OsString;
    use std::fs;

    use tempfile::TempDir;

    use super::*;
    use crate::config;

    fn fixtures() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures")
    }

    fn model() -> TempDir {
        let model = tempfile::Builder::new().prefix("m").tempdir().unwrap();
        for file in ["config.json", "model.safetensors"] {
            let source = fixtures().join("reference/bert-shaped/model").join(file);
            fs::copy(source, model.path().join(file)).unwrap();
        }
        fs::write(model.path().join("tokenizer.json"), "{}").unwrap();
        model
    }

    fn check_with(model: &TempDir, more: &[&str]) -> Result<String, String> {
        let path = model.path().to_str().unwrap();
        let data = model.path().join("data");
        let words = [
            &["cutlayer-server", "--model", path][..],
            &["--data", data.to_str().unwrap()],
            more,
        ]
        .concat();
        let args = config::read(words.into_iter().map(OsString::from)).unwrap();
        let said = check(&args).map_err(|error| error.to_string());
        assert!(!data.exists(), "a check writes nothing");
        said
    }

    #[test]
    fn what_would_be_served_is_said() {
        let model = model();
        let tls = fixtures().join("tls");
        let (cert, key) = (
            tls.join("test-only-cert.pem"),
            tls.join("test-only-key.pem"),
        );
        let more = [
            "--cuts",
            "2,0",
            "--tls-cert",
            cert.to_str().unwrap(),
            "--tls-key",
            key.to_str().unwrap(),
            "--metrics-listen",
            "127.0.0.1:9100",
            "--otlp-endpoint",
            "http://127.0.0.1:4318",
        ];
        let said = check_with(&model, &more).unwrap();
        for line in [
            "listen          https://127.0.0.1:8420/",
            "cuts            0, 2",
            "metrics         http://127.0.0.1:9100/metrics",
            "traces          http://127.0.0.1:4318/v1/traces",
            "sealed          no",
        ] {
            assert!(said.lines().any(|said| said == line), "{said}");
        }
        assert!(said.contains("3 blocks, d_model 32"), "{said}");
    }

    /// Breaks when a check passes and the start fails.
    #[test]
    fn what_is_wrong_is_named() {
        let whole = model();
        for (more, part) in [
            (vec!["--listen", "0.0.0.0:1"], "--allow-remote"),
            (vec!["--cuts", "3"], "cut 3"),
            (vec!["--log", "server=loud"], "filter"),
            (vec!["--page", "/nowhere"], "/nowhere/index.html"),
            (vec!["--export", "/dev/null"], "not a directory"),
            (vec!["--tls-cert", "c"], "--tls-key"),
            (vec!["--store-key-file", "/nowhere/key"], "/nowhere/key"),
            (vec!["--store-key-file", "/dev/null"], "32 bytes"),
            (
                vec!["--tls-cert", "/nowhere/c", "--tls-key", "/nowhere/k"],
                "/nowhere/c",
            ),
        ] {
            let error = check_with(&whole, &more).unwrap_err();
            assert!(error.contains(part), "{more:?}: {error}");
        }
        let weights = whole.path().join("model.safetensors");
        let bytes = fs::read(&weights).unwrap();
        for broken in [&[0xff; 64], &bytes[..bytes.len() - 1], &bytes[..5]] {
            fs::write(&weights, broken).unwrap();
            let error = check_with(&whole, &[]).unwrap_err();
            assert!(error.contains("not a whole safetensors file"), "{error}");
        }
        fs::remove_file(weights).unwrap();
        let error = check_with(&whole, &[]).unwrap_err();
        assert!(error.contains("model.safetensors"), "{error}");
    }
}
