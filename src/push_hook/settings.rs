//! The settings of the push hook, with the content of its files.

use crate::config::{Config, HookUrl, regular_file};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use std::fmt;
use std::path::Path;
use std::time::Duration;

/// The smallest size of a secret, in bytes: a shorter one could be guessed.
const SECRET_BYTES_MIN: usize = 16;

/// The settings of a push hook.
pub struct HookSettings {
    pub(super) url: HookUrl,
    pub(super) secret: Vec<u8>,
    /// The trusted root certificates; `None`: those that browsers trust.
    pub(super) roots: Option<Vec<CertificateDer<'static>>>,
    pub(super) content: bool,
    pub(super) queue_max: usize,
    pub(super) timeout: Duration,
    pub(super) retry_after: Duration,
    pub(super) age_max: Duration,
}

/// The secret is not shown.
impl fmt::Debug for HookSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HookSettings").field("url", &self.url).finish_non_exhaustive()
    }
}

impl HookSettings {
    /// Reads the files that the configuration names; `None` if there is no push hook.
    ///
    /// # Errors
    /// One sentence that says what is wrong with them.
    pub fn open(config: &Config) -> Result<Option<Self>, String> {
        let Some(url) = config.push_hook.clone() else { return Ok(None) };
        let Some(secret_file) = &config.push_hook_secret_file else {
            return Err("--push-hook needs --push-hook-secret-file, the key of its signatures".to_owned());
        };
        Ok(Some(Self {
            url,
            secret: secret(secret_file)?,
            roots: config.push_hook_ca_file.as_deref().map(roots).transpose()?,
            content: config.push_hook_content,
            queue_max: config.push_hook_queue_max,
            timeout: Duration::from_millis(config.push_hook_timeout_ms),
            retry_after: Duration::from_millis(config.push_hook_retry_after_ms),
            age_max: Duration::from_millis(config.rules.push_hook_pause_ms),
        }))
    }
}

/// The secret is the content of the file without the line end at its end.
fn secret(path: &Path) -> Result<Vec<u8>, String> {
    let mut secret = read("--push-hook-secret-file", path)?;
    while secret.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
        secret.pop();
    }
    if secret.len() < SECRET_BYTES_MIN {
        let path = path.display();
        return Err(format!(
            "--push-hook-secret-file {path} cannot be used: the secret in it must have at least {SECRET_BYTES_MIN} bytes"
        ));
    }
    Ok(secret)
}

fn roots(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let text = read("--push-hook-ca-file", path)?;
    let found = CertificateDer::pem_slice_iter(&text).collect::<Result<Vec<_>, _>>();
    found.ok().filter(|found| !found.is_empty()).ok_or_else(|| {
        let path = path.display();
        format!("--push-hook-ca-file {path} cannot be used: there is no certificate in PEM form in it")
    })
}

fn read(option: &str, path: &Path) -> Result<Vec<u8>, String> {
    let read = regular_file::read_file(path).map(|(bytes, _)| bytes);
    read.map_err(|why| format!("{option} {} cannot be read: {why}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(secret: Option<&Path>) -> Config {
        let push_hook = HookUrl::parse("http://127.0.0.1:1/").ok();
        Config { push_hook, push_hook_secret_file: secret.map(Path::to_owned), ..Config::default() }
    }

    #[test]
    fn the_secret_is_the_file_without_the_end_of_its_line() {
        assert!(HookSettings::open(&Config::default()).unwrap().is_none());
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        for end in ["", "\n", "\r\n"] {
            std::fs::write(&path, format!("0123456789 abcdef{end}")).unwrap();
            let settings = HookSettings::open(&config(Some(&path))).unwrap().unwrap();
            assert_eq!(settings.secret, b"0123456789 abcdef");
            assert!(!format!("{settings:?}").contains("0123"));
        }
    }

    #[test]
    fn a_file_that_cannot_be_used_is_refused_in_one_sentence() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let why = |config: &Config| HookSettings::open(config).unwrap_err();
        assert!(why(&config(None)).contains("--push-hook-secret-file"));
        assert!(why(&config(Some(&path))).ends_with("there is no such file"));
        assert!(why(&config(Some(folder.path()))).ends_with("it is a folder"));
        std::fs::write(&path, "short\n").unwrap();
        let short = why(&config(Some(&path)));
        assert!(short.ends_with("at least 16 bytes") && !short.contains("short"), "{short}");
        std::fs::write(&path, "long enough as a secret, and no certificate").unwrap();
        let with_ca = Config { push_hook_ca_file: Some(path.clone()), ..config(Some(&path)) };
        assert!(why(&with_ca).ends_with("there is no certificate in PEM form in it"));
    }
}
