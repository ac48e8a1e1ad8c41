//! A TLS server on loopback that lets nobody in without a certificate of the tests' authority.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

const AUTHORITY: &[u8] = include_bytes!("test_certificates/ca.pem");
const SERVER: &[u8] = include_bytes!("test_certificates/server.pem");
const SERVER_KEY: &[u8] = include_bytes!("test_certificates/server.key");
pub(crate) const CLIENT: &str = include_str!("test_certificates/client.pem");
pub(crate) const CLIENT_KEY: &str = include_str!("test_certificates/client.key");

pub(crate) struct MutualTls {
    port: u16,
    let_in: Arc<AtomicUsize>,
}

impl MutualTls {
    /// Answers every request with that JSON.
    pub(crate) async fn answering(json: &str) -> Self {
        let length = json.len();
        Self::with_answer(format!(
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{json}"
        ))
        .await
    }

    /// Sends every request elsewhere.
    pub(crate) async fn redirecting(to: &str) -> Self {
        Self::with_answer(format!(
            "HTTP/1.1 307 Temporary Redirect\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n"
        ))
        .await
    }

    async fn with_answer(answer: String) -> Self {
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots()), provider());
        let config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(verifier.build().unwrap())
            .with_single_cert(
                vec![CertificateDer::from_pem_slice(SERVER).unwrap()],
                PrivateKeyDer::from_pem_slice(SERVER_KEY).unwrap(),
            )
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let let_in = Arc::new(AtomicUsize::new(0));
        let counted = let_in.clone();
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                let (acceptor, counted, answer) = (acceptor.clone(), counted.clone(), answer.clone());
                tokio::spawn(async move {
                    let Ok(mut connection) = acceptor.accept(connection).await else {
                        return;
                    };
                    counted.fetch_add(1, Ordering::SeqCst);
                    let mut request = [0; 16 * 1024];
                    while connection.read(&mut request).await.is_ok_and(|read| read > 0) {
                        if connection.write_all(answer.as_bytes()).await.is_err() {
                            return;
                        }
                        let _ = connection.flush().await;
                    }
                });
            }
        });
        Self { port, let_in }
    }

    pub(crate) fn url(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    /// Connections whose certificate was good.
    pub(crate) fn let_in(&self) -> usize {
        self.let_in.load(Ordering::SeqCst)
    }
}

/// TLS of clients that trust the tests' authority and nobody else.
pub(crate) fn trusting() -> ClientConfig {
    ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots())
        .with_no_client_auth()
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(AUTHORITY).unwrap()).unwrap();
    roots
}
