//! The certificate and its key, as they are read at the start and at each SIGHUP.

use crate::config::{Config, regular};
use crate::net::tls::{self, Certificates};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{Error, InconsistentKeys, ServerConfig};
use std::path::Path;
use std::sync::Arc;

/// Reads the files that the configuration names, if it names any.
///
/// # Errors
/// One sentence that says what is wrong with them.
pub(super) fn open(config: &Config) -> Result<Option<Arc<Certificates>>, String> {
    let (Some(certificate), Some(key)) = (&config.tls_cert, &config.tls_key) else { return Ok(None) };
    Ok(Some(Arc::new(Certificates::new(load(certificate, key)?, config.tls_only))))
}

/// What is read from the two files.
///
/// # Errors
/// One sentence that says what is wrong with them.
fn load(certificate: &Path, key: &Path) -> Result<Arc<ServerConfig>, String> {
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
    tls::config(chain, private_key).map(Arc::new).map_err(|error| match error {
        Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
            format!("--tls-key {key_name} is not the key of the first certificate in --tls-cert {cert_name}")
        }
        error => format!("--tls-cert {cert_name} and --tls-key {key_name} cannot be used: {error}"),
    })
}

fn read(option: &str, path: &Path) -> Result<Vec<u8>, String> {
    let read = regular::read_file(path).map(|(bytes, _)| bytes);
    read.map_err(|why| format!("{option} {} cannot be read: {why}", path.display()))
}

fn pem_error(error: &pem::Error) -> &'static str {
    match error {
        pem::Error::Base64Decode(_) => "what stands between its BEGIN and END is not base64",
        pem::Error::MissingSectionEnd { .. } => "a BEGIN in it has no END",
        _ => "it is not in PEM form",
    }
}
