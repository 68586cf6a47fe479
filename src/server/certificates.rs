//! The certificate and its key: read from their files at the start, and again at each SIGHUP.

use super::validity::{self, Notice};
use crate::config::Config;
use crate::net::tls::{self, Certificates};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{Error, InconsistentKeys, ServerConfig};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

/// A chain of certificates is a few KiB.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Where certificates come from, and where those in use are kept.
#[derive(Debug)]
pub(super) struct Source {
    certificate: PathBuf,
    key: PathBuf,
    in_use: Arc<Certificates>,
    /// How long those are valid that were read first.
    notice: Option<Notice>,
    /// Whether the files are being read again, so that what was read last is what stays.
    reading: Arc<Mutex<Reading>>,
}

impl Source {
    /// Reads the files that the configuration names, if it names any.
    ///
    /// # Errors
    /// One sentence that says what is wrong with them.
    pub(super) fn open(config: &Config) -> Result<Option<Self>, String> {
        let (Some(certificate), Some(key)) = (&config.tls_cert, &config.tls_key) else { return Ok(None) };
        let (loaded, notice) = load(certificate, key)?;
        let in_use = Arc::new(Certificates::new(loaded, config.tls_only));
        let (certificate, key) = (certificate.clone(), key.clone());
        Ok(Some(Self { certificate, key, in_use, notice, reading: Arc::default() }))
    }

    /// How long the certificates that were read first are valid, if that is known.
    pub(super) fn notice(&self) -> Option<&Notice> {
        self.notice.as_ref()
    }

    /// Those in use.
    pub(super) fn in_use(&self) -> Arc<Certificates> {
        Arc::clone(&self.in_use)
    }

    /// Reads the files again. If they are of no use, what is in use stays. The files may be on a
    /// disk that does not answer: that is why it is done on a thread of its own, and on one at a
    /// time, however often it is asked for.
    pub(super) fn reload(&self) {
        let before = std::mem::replace(&mut *lock(&self.reading), Reading::Again);
        if before != Reading::No {
            log::warn!("SIGHUP: the certificate is still being read; it is read once more after that");
            return;
        }
        let (certificate, key, in_use) = (self.certificate.clone(), self.key.clone(), self.in_use());
        let reading = Arc::clone(&self.reading);
        let reload = move || {
            while is_asked(&reading) {
                match load(&certificate, &key) {
                    Ok((config, notice)) => {
                        in_use.replace(config);
                        log::info!("the certificate {} was read again; new connections get it", certificate.display());
                        if let Some(notice) = notice {
                            notice.log();
                        }
                    }
                    Err(why) => log::error!("{why}; the certificate that was in use stays in use"),
                }
            }
        };
        if let Err(error) = thread::Builder::new().name("certificates".to_owned()).spawn(reload) {
            *lock(&self.reading) = Reading::No;
            log::error!("the certificate cannot be read again: no thread can be started: {error}");
        }
    }
}

/// How far a reload is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Reading {
    #[default]
    No,
    /// A thread reads the files, as they were when it was last asked.
    Now,
    /// They are to be read, by the thread that is there or about to be.
    Again,
}

fn lock(reading: &Mutex<Reading>) -> MutexGuard<'_, Reading> {
    // Only whole values are written, whatever happens to the thread that writes them.
    reading.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Are the files to be read (once more)? If not, the thread is done.
fn is_asked(reading: &Mutex<Reading>) -> bool {
    let mut reading = lock(reading);
    let is_asked = *reading == Reading::Again;
    *reading = if is_asked { Reading::Now } else { Reading::No };
    is_asked
}

/// What is read from the two files, and how long it is valid.
///
/// # Errors
/// One sentence that says what is wrong with them.
fn load(certificate: &Path, key: &Path) -> Result<(Arc<ServerConfig>, Option<Notice>), String> {
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
    // A clock that stands before 1970 finds everything invalid.
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let notice = validity::notice(&chain, certificate, now_s);
    let config = tls::config(chain, private_key).map_err(|error| match error {
        Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
            format!("--tls-key {key_name} is not the key of the first certificate in --tls-cert {cert_name}")
        }
        error => format!("--tls-cert {cert_name} and --tls-key {key_name} cannot be used: {error}"),
    })?;
    Ok((Arc::new(config), notice))
}

/// A file as people write it: anything else (a pipe, a device) could keep the reader for ever.
fn read(option: &str, path: &Path) -> Result<Vec<u8>, String> {
    let cannot = |why: &str| format!("{option} {} cannot be read: {why}", path.display());
    let of_system = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => cannot("there is no such file"),
        io::ErrorKind::PermissionDenied => cannot("this user may not read it"),
        io::ErrorKind::IsADirectory => cannot("it is a folder"),
        _ => cannot(&error.to_string()),
    };
    let found = path.metadata().map_err(of_system)?;
    if found.is_dir() {
        return Err(cannot("it is a folder"));
    }
    if !found.is_file() {
        return Err(cannot("it is not a regular file"));
    }
    if found.len() > FILE_BYTES_MAX {
        return Err(cannot(&format!("it is larger than {FILE_BYTES_MAX} bytes")));
    }
    std::fs::read(path).map_err(of_system)
}

fn pem_error(error: &pem::Error) -> &'static str {
    match error {
        pem::Error::Base64Decode(_) => "what stands between its BEGIN and END is not base64",
        pem::Error::MissingSectionEnd { .. } => "a BEGIN in it has no END",
        _ => "it is not in PEM form",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_read_by_one_thread_and_once_more_if_that_was_asked_meanwhile() {
        let reading = Mutex::new(Reading::Again);
        assert!(is_asked(&reading), "the first round");
        for _ in 0..1_000 {
            let before = std::mem::replace(&mut *lock(&reading), Reading::Again);
            assert_ne!(before, Reading::No, "no other thread is started");
        }
        assert!(is_asked(&reading), "a round for all who asked meanwhile");
        assert!(!is_asked(&reading));
        assert_eq!(*lock(&reading), Reading::No, "the next to ask starts a thread");
    }

    #[test]
    fn only_regular_files_of_a_sane_size_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let why = |path: &Path| read("--tls-key", path).unwrap_err();
        assert!(why(Path::new("/dev/zero")).ends_with("it is not a regular file"));
        assert!(why(folder.path()).ends_with("it is a folder"));
        let large = folder.path().join("large");
        std::fs::File::create(&large).unwrap().set_len(FILE_BYTES_MAX + 1).unwrap();
        assert!(why(&large).ends_with("it is larger than 1048576 bytes"));
    }
}
