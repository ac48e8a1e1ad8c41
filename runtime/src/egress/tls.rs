//! How requests are encrypted on their way out.

use std::sync::Arc;

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
