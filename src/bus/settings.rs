//! The settings of the bus, with the files that they name.

use crate::config::{BusUrl, Config, regular_file};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore, crypto};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// The settings of a bus.
#[derive(Debug)]
pub struct BusSettings {
    /// The instances, in the order in which they are used to publish.
    pub(super) instances: Vec<RedisInstanceAddress>,
    pub(super) timeout: Duration,
    pub(super) bounds: BusQueueLimits,
}

/// The limits of frames that wait for one instance, or for the loop.
#[derive(Clone, Copy, Debug)]
pub(super) struct BusQueueLimits {
    pub(super) frames_max: usize,
    pub(super) bytes_max: usize,
}

/// The address of an instance, and its transport.
#[derive(Clone, Debug)]
pub(super) struct RedisInstanceAddress {
    pub(super) url: BusUrl,
    pub(super) tls: Option<BusTls>,
}

#[derive(Clone, Debug)]
pub(super) struct BusTls {
    pub(super) config: Arc<ClientConfig>,
    pub(super) name: ServerName<'static>,
}

impl BusSettings {
    /// Reads the files that the configuration names; `None` if there is no bus.
    ///
    /// # Errors
    /// A sentence about the file that cannot be used.
    pub fn open(config: &Config) -> Result<Option<Self>, String> {
        if config.bus.is_empty() {
            return Ok(None);
        }
        Ok(Some(Self {
            instances: config.bus.iter().map(instance_address).collect::<Result<_, _>>()?,
            timeout: Duration::from_millis(config.bus_timeout_ms),
            bounds: BusQueueLimits { frames_max: config.bus_frames_max, bytes_max: config.bus_bytes_max },
        }))
    }
}

fn instance_address(url: &BusUrl) -> Result<RedisInstanceAddress, String> {
    if !url.tls {
        return Ok(RedisInstanceAddress { url: url.clone(), tls: None });
    }
    let wrong = |why: &dyn std::fmt::Display| format!("the bus {url} cannot be used: {why}");
    let name = ServerName::try_from(url.host.clone())
        .map_err(|_| wrong(&"its host is no name that a certificate could have"))?;
    let mut roots = RootCertStore::empty();
    match &url.root_cert_path {
        Some(path) => {
            for root in read_roots(path).map_err(|why| wrong(&why))? {
                roots
                    .add(root)
                    .map_err(|_| wrong(&format!("{} holds a certificate that is no root", path.display())))?;
            }
        }
        None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
    }
    let config = ClientConfig::builder_with_provider(Arc::new(crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| wrong(&error))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(RedisInstanceAddress { url: url.clone(), tls: Some(BusTls { config: Arc::new(config), name }) })
}

fn read_roots(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let shown = path.display();
    let (text, _) =
        regular_file::read_file(path).map_err(|why| format!("its CA file {shown} cannot be read: {why}"))?;
    let found = CertificateDer::pem_slice_iter(&text).collect::<Result<Vec<_>, _>>();
    found
        .ok()
        .filter(|found| !found.is_empty())
        .ok_or_else(|| format!("its CA file {shown} holds no certificate in PEM"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::BusUrls;

    fn why(urls: &str) -> String {
        let config = Config { bus: BusUrls::parse(urls).unwrap(), ..Config::default() };
        BusSettings::open(&config).unwrap_err()
    }

    #[test]
    fn a_ca_file_that_cannot_be_used_is_refused_in_one_sentence() {
        assert!(BusSettings::open(&Config::default()).unwrap().is_none());
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        let url = format!("redis://a,rediss://u:geheim@h?root_cert_path={}", path.display());
        assert!(why(&url).ends_with("there is no such file"), "{}", why(&url));
        std::fs::write(&path, "nothing").unwrap();
        assert!(why(&url).ends_with("holds no certificate in PEM") && !why(&url).contains("geheim"));
        assert!(why("rediss://a%20b").contains("its host"), "{}", why("rediss://a%20b"));
    }
}
