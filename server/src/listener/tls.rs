//! Certificate and key, and how they are replaced while the daemon runs.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use rustls::ServerConfig;
use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::signal::unix::{SignalKind, signal};
use tokio_rustls::TlsAcceptor;

use crate::args::TlsFiles;

/// Certificate and key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read, or is not PEM of the right kind.
    #[error("{} has no usable {expected}: {source}", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        expected: &'static str,
        /// What is wrong.
        source: PemError,
    },
    /// The two do not fit, or are of a kind that is not supported.
    #[error("{} and {} cannot be used together: {source}", cert.display(), key.display())]
    Unfit {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// What is wrong.
        source: rustls::Error,
    },
}

/// What new connections are encrypted with.
#[derive(Debug)]
pub struct Tls {
    files: TlsFiles,
    current: RwLock<Arc<ServerConfig>>,
}

impl Tls {
    /// Reads both files.
    ///
    /// # Errors
    ///
    /// When one cannot be read, or they do not fit.
    pub fn load(files: TlsFiles) -> Result<Self, TlsError> {
        let current = RwLock::new(read(&files)?);
        Ok(Self { files, current })
    }

    /// Reads both files again; connections that are open keep what they have.
    ///
    /// # Errors
    ///
    /// As `load`; what was there before stays.
    pub fn reload(&self) -> Result<(), TlsError> {
        let new = read(&self.files)?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = new;
        Ok(())
    }

    /// Reads both files again on each SIGHUP from now on.
    ///
    /// # Errors
    ///
    /// When the handler cannot be installed.
    pub fn reload_on_hangup(self: &Arc<Self>) -> std::io::Result<()> {
        let mut hangup = signal(SignalKind::hangup())?;
        let tls = self.clone();
        tokio::spawn(async move {
            while hangup.recv().await.is_some() {
                match tls.reload() {
                    Ok(()) => tracing::info!("certificate and key were read again"),
                    Err(error) => tracing::error!(%error, "the certificate stays what it was"),
                }
            }
        });
        Ok(())
    }

    /// What the next connection is taken with.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        TlsAcceptor::from(current.clone())
    }
}

fn read(files: &TlsFiles) -> Result<Arc<ServerConfig>, TlsError> {
    let failed = |path: &Path, expected| {
        let path = path.to_owned();
        move |source| TlsError::Pem {
            path,
            expected,
            source,
        }
    };
    let certificates =
        || CertificateDer::pem_file_iter(&files.cert)?.collect::<Result<Vec<_>, _>>();
    let chain = certificates().map_err(failed(&files.cert, "certificate"))?;
    if chain.is_empty() {
        return Err(failed(&files.cert, "certificate")(PemError::NoItemsFound));
    }
    let key =
        PrivateKeyDer::from_pem_file(&files.key).map_err(failed(&files.key, "private key"))?;
    let unfit = |source| TlsError::Unfit {
        cert: files.cert.clone(),
        key: files.key.clone(),
        source,
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(unfit)?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(unfit)?;
    // WebSocket needs HTTP/1.1, and nothing else is built in.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(super) mod tests {
    use std::fs;
    use std::io;
    use std::net::SocketAddr;

    use rustls::pki_types::ServerName;
    use rustls::{ClientConfig, RootCertStore};
    use tokio::net::TcpStream;
    use tokio_rustls::TlsConnector;
    use tokio_rustls::client::TlsStream;

    use super::*;

    fn fixture(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../tests/fixtures/tls")
            .join(name)
    }

    fn files() -> TlsFiles {
        TlsFiles {
            cert: fixture("test-only-cert.pem"),
            key: fixture("test-only-key.pem"),
        }
    }

    /// With the certificate of the tests.
    pub(in crate::listener) fn tls() -> Arc<Tls> {
        Arc::new(Tls::load(files()).unwrap())
    }

    /// A client that trusts that certificate and nothing else.
    pub(in crate::listener) async fn connect(
        address: SocketAddr,
    ) -> io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_file(files().cert).unwrap())
            .unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let name = ServerName::try_from("localhost").unwrap();
        let socket = TcpStream::connect(address).await?;
        TlsConnector::from(Arc::new(config))
            .connect(name, socket)
            .await
    }

    #[test]
    fn files_that_do_not_fit_are_named() {
        let wrong = |cert: PathBuf, key: PathBuf| Tls::load(TlsFiles { cert, key }).unwrap_err();
        let missing = wrong(fixture("nothing.pem"), files().key);
        assert!(matches!(missing, TlsError::Pem { .. }) && missing.to_string().contains("nothing"));
        let swapped = wrong(files().key, files().cert).to_string();
        assert!(swapped.contains("no usable certificate"), "{swapped}");
        let other = wrong(files().cert, fixture("test-only-other-key.pem"));
        assert!(matches!(other, TlsError::Unfit { .. }), "{other}");
    }

    #[test]
    fn a_reload_that_fails_changes_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let own = TlsFiles {
            cert: directory.path().join("cert.pem"),
            key: directory.path().join("key.pem"),
        };
        fs::copy(files().cert, &own.cert).unwrap();
        fs::copy(files().key, &own.key).unwrap();
        let tls = Tls::load(own.clone()).unwrap();
        let before = tls.current.read().unwrap().clone();
        fs::copy(fixture("test-only-other-key.pem"), &own.key).unwrap();
        assert!(tls.reload().is_err());
        assert!(Arc::ptr_eq(&before, &tls.current.read().unwrap()));
        fs::copy(fixture("test-only-other-cert.pem"), &own.cert).unwrap();
        tls.reload().unwrap();
        assert!(!Arc::ptr_eq(&before, &tls.current.read().unwrap()));
    }
}
