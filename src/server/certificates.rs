//! The certificate and its key: read from their files at the start, and again at each SIGHUP.

use crate::config::Config;
use crate::net::tls::{self, Certificates};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{Error, InconsistentKeys, ServerConfig};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// Where certificates come from, and where those in use are kept.
#[derive(Debug)]
pub(super) struct Source {
    certificate: PathBuf,
    key: PathBuf,
    in_use: Arc<Certificates>,
    /// Held while the files are read again, so that what was read last is what stays.
    reading: Arc<Mutex<()>>,
}

impl Source {
    /// Reads the files that the configuration names, if it names any.
    ///
    /// # Errors
    /// One sentence that says what is wrong with them.
    pub(super) fn open(config: &Config) -> Result<Option<Self>, String> {
        let (Some(certificate), Some(key)) = (&config.tls_cert, &config.tls_key) else { return Ok(None) };
        let in_use = Arc::new(Certificates::new(load(certificate, key)?, config.tls_only));
        Ok(Some(Self { certificate: certificate.clone(), key: key.clone(), in_use, reading: Arc::default() }))
    }

    /// Those in use.
    pub(super) fn in_use(&self) -> Arc<Certificates> {
        Arc::clone(&self.in_use)
    }

    /// Reads the files again. If they are of no use, what is in use stays. The files may be on a
    /// disk that does not answer: that is why it is done on a thread of its own.
    pub(super) fn reload(&self) {
        let (certificate, key, in_use) = (self.certificate.clone(), self.key.clone(), self.in_use());
        let reading = Arc::clone(&self.reading);
        let reload = move || {
            let _alone = reading.lock().unwrap_or_else(PoisonError::into_inner);
            match load(&certificate, &key) {
                Ok(config) => {
                    in_use.replace(config);
                    log::info!("the certificate {} was read again; new connections get it", certificate.display());
                }
                Err(why) => log::error!("{why}; the certificate that was in use stays in use"),
            }
        };
        if let Err(error) = thread::Builder::new().name("certificates".to_owned()).spawn(reload) {
            log::error!("the certificate cannot be read again: no thread can be started: {error}");
        }
    }
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
    std::fs::read(path).map_err(|error| {
        let why = match error.kind() {
            io::ErrorKind::NotFound => "there is no such file".to_owned(),
            io::ErrorKind::PermissionDenied => "this user may not read it".to_owned(),
            io::ErrorKind::IsADirectory => "it is a folder".to_owned(),
            _ => error.to_string(),
        };
        format!("{option} {} cannot be read: {why}", path.display())
    })
}

fn pem_error(error: &pem::Error) -> &'static str {
    match error {
        pem::Error::Base64Decode(_) => "what stands between its BEGIN and END is not base64",
        pem::Error::MissingSectionEnd { .. } => "a BEGIN in it has no END",
        _ => "it is not in PEM form",
    }
}
