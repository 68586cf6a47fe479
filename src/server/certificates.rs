//! Reads the certificate and its key, at the start and at each SIGHUP.

use super::certificate_validity::{self, CertificateNotice};
use crate::config::{Config, regular_file};
use crate::net::tls::{self, Certificates};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{Error, InconsistentKeys, ServerConfig};
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// Reads the files that the configuration names, if it names any, and says how long they are valid.
///
/// # Errors
/// One sentence that says what is wrong with them.
pub(super) fn open(config: &Config) -> Result<(Option<Arc<Certificates>>, Option<CertificateNotice>), String> {
    let (Some(certificate), Some(key)) = (&config.tls_cert, &config.tls_key) else { return Ok((None, None)) };
    let (loaded, notice) = load(certificate, key)?;
    Ok((Some(Arc::new(Certificates::new(loaded, config.tls_only))), notice))
}

/// The TLS configuration from the two files, and how long the certificates are valid.
///
/// # Errors
/// One sentence that says what is wrong with them.
fn load(certificate: &Path, key: &Path) -> Result<(Arc<ServerConfig>, Option<CertificateNotice>), String> {
    let (cert_name, key_name) = (certificate.display(), key.display());
    let chain = CertificateDer::pem_slice_iter(&read("--tls-cert", certificate)?)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| format!("--tls-cert {cert_name} cannot be used: {}", pem_error(&error)))?;
    if chain.is_empty() {
        return Err(format!(
            "--tls-cert {cert_name} cannot be used: there is no certificate in it (-----BEGIN CERTIFICATE-----)"
        ));
    }
    let private_key = PrivateKeyDer::from_pem_slice(&read("--tls-key", key)?).map_err(|error| match error {
        pem::Error::NoItemsFound => format!(
            "--tls-key {key_name} cannot be used: there is no private key without a passphrase in it (-----BEGIN PRIVATE KEY-----)"
        ),
        error => format!("--tls-key {key_name} cannot be used: {}", pem_error(&error)),
    })?;
    // With a clock before 1970 every certificate counts as invalid.
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let notice = certificate_validity::notice(&chain, certificate, now_s);
    let config = tls::config(chain, private_key).map_err(|error| match error {
        Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
            format!("--tls-key {key_name} is not the key of the first certificate in --tls-cert {cert_name}")
        }
        error => format!("--tls-cert {cert_name} and --tls-key {key_name} cannot be used: {error}"),
    })?;
    Ok((Arc::new(config), notice))
}

fn read(option: &str, path: &Path) -> Result<Vec<u8>, String> {
    let read = regular_file::read_file(path).map(|(bytes, _)| bytes);
    read.map_err(|why| format!("{option} {} cannot be read: {why}", path.display()))
}

fn pem_error(error: &pem::Error) -> &'static str {
    match error {
        pem::Error::Base64Decode(_) => "the text between its BEGIN and END is not base64",
        pem::Error::MissingSectionEnd { .. } => "a BEGIN in it has no END",
        _ => "it is not in PEM form",
    }
}
