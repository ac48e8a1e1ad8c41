//! How requests are encrypted on their way out.

use std::sync::Arc;

use rustls::client::Resumption;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls_platform_verifier::BuilderVerifierExt;

/// TLS with the root certificates of the machine. Without any, http still works and every https request fails: a machine
/// that only reaches local services need not have them.
pub fn tls_config() -> Result<rustls::ClientConfig, rustls::Error> {
    let builder = || {
        rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
    };
    match builder()?.with_platform_verifier() {
        Ok(verified) => Ok(verified.with_no_client_auth()),
        Err(error) => {
            tracing::warn!(
                %error,
                "No root certificates found: https requests to providers will fail. Install the package \
                 ca-certificates, or set SSL_CERT_FILE."
            );
            Ok(builder()?
                .with_root_certificates(rustls::RootCertStore::empty())
                .with_no_client_auth())
        }
    }
}

/// The same for a client that shows a certificate where a server asks for one. Servers are verified as before. Sessions are not shared
/// with other clients: a session that is resumed is that of who began it.
#[must_use]
pub fn tls_config_of(config: &rustls::ClientConfig, identity: Arc<CertifiedKey>) -> rustls::ClientConfig {
    let mut config = config.clone();
    config.client_auth_cert_resolver = Arc::new(SingleCertAndKey::from(identity));
    config.resumption = Resumption::default();
    config
}
