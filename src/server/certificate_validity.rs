//! Reads and reports how long certificates are valid. The dates come from the library that verifies
//! certificates: for a time in the far future, its error contains the end of the validity; for a
//! time in the far past, its error contains the beginning.

use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, Error, RootCertStore};
use std::path::Path;
use std::time::Duration;

const DAY_S: u64 = 24 * 60 * 60;

/// A sentence about the certificates in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateNotice {
    /// The sentence.
    pub text: String,
    /// Clients that check certificates refuse the certificates in use.
    pub is_warning: bool,
}

impl CertificateNotice {
    pub(super) fn log(&self) {
        let level = if self.is_warning { log::Level::Warn } else { log::Level::Info };
        log::log!(level, "{}", self.text);
    }
}

/// The notice about a chain from this file. Certificates whose dates cannot be read are left out.
pub(super) fn notice(chain: &[CertificateDer<'_>], file: &Path, now_s: u64) -> Option<CertificateNotice> {
    let file = file.display();
    let mut first_s = None;
    for (number, certificate) in (1..).zip(chain) {
        let Some((from_s, until_s)) = dates(certificate) else { continue };
        let warning = |text| Some(CertificateNotice { text, is_warning: true });
        if now_s < from_s {
            return warning(format!(
                "certificate {number} in {file} becomes valid in {}: clients refuse it until then, if the clock of this machine is right",
                days(from_s - now_s)
            ));
        }
        if now_s > until_s {
            return warning(format!(
                "certificate {number} in {file} expired {} ago: clients refuse it until it is renewed",
                days(now_s - until_s)
            ));
        }
        first_s = Some(first_s.map_or(until_s, |first_s: u64| first_s.min(until_s)));
    }
    let text = format!("the certificate in {file} expires in {}", days(first_s? - now_s));
    Some(CertificateNotice { text, is_warning: false })
}

/// The period in which a certificate is valid, in seconds since 1970.
fn dates(certificate: &CertificateDer<'_>) -> Option<(u64, u64)> {
    let parsed = ParsedCertificate::try_from(certificate).ok()?;
    let nobody = RootCertStore::empty();
    // The library checks the dates before anything else.
    let ask = |time| verify_server_cert_signed_by_trust_anchor(&parsed, &nobody, &[], time, &[]).err();
    let until = match ask(UnixTime::since_unix_epoch(Duration::MAX))? {
        Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. }) => not_after,
        _ => return None,
    };
    let from = match ask(UnixTime::since_unix_epoch(Duration::ZERO))? {
        Error::InvalidCertificate(CertificateError::NotValidYetContext { not_before, .. }) => not_before.as_secs(),
        // The certificate became valid in 1970 or before.
        _ => 0,
    };
    Some((from, until.as_secs()))
}

fn days(seconds: u64) -> String {
    match seconds / DAY_S {
        0 => "less than a day".to_owned(),
        1 => "1 day".to_owned(),
        days => format!("{days} days"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::pki_types::pem::PemObject;

    /// It is valid from 2020 to 2120.
    const CERTIFICATE: &[u8] = include_bytes!("../../tests/common/tls/server.pem");
    const FROM_S: u64 = 1_577_836_800;
    const UNTIL_S: u64 = 4_733_510_400;

    fn said(chain: &[CertificateDer<'_>], now_s: u64) -> (String, bool) {
        let notice = notice(chain, Path::new("cert.pem"), now_s).unwrap();
        (notice.text, notice.is_warning)
    }

    #[test]
    fn a_valid_certificate_is_logged_with_its_end_and_any_other_with_a_warning() {
        let chain = [CertificateDer::from_pem_slice(CERTIFICATE).unwrap()];
        let good = |days: &str| (format!("the certificate in cert.pem expires in {days}"), false);
        assert_eq!(said(&chain, FROM_S), good("36524 days"));
        assert_eq!(said(&chain, UNTIL_S - 2 * DAY_S), good("2 days"));
        assert_eq!(said(&chain, UNTIL_S - DAY_S), good("1 day"));
        assert_eq!(said(&chain, UNTIL_S), good("less than a day"));
        let (text, is_warning) = said(&chain, UNTIL_S + 1);
        assert!(is_warning && text.starts_with("certificate 1 in cert.pem expired less than a day ago"), "{text}");
        let (text, is_warning) = said(&chain, UNTIL_S + 3 * DAY_S);
        assert!(is_warning && text.contains("expired 3 days ago"), "{text}");
        let (text, is_warning) = said(&chain, FROM_S - 2 * DAY_S);
        assert!(is_warning && text.contains("becomes valid in 2 days"), "{text}");
    }

    #[test]
    fn every_certificate_of_a_chain_is_looked_at() {
        let good = CertificateDer::from_pem_slice(CERTIFICATE).unwrap();
        let expired = include_bytes!("../../tests/common/tls/expired.pem");
        let expired = CertificateDer::from_pem_slice(expired).unwrap();
        let (text, is_warning) = said(&[good.clone(), expired], FROM_S + 1_000 * DAY_S);
        assert!(is_warning && text.starts_with("certificate 2 in cert.pem expired"), "{text}");
        // A certificate whose dates cannot be read is skipped.
        let unreadable = CertificateDer::from(vec![0x30, 0]);
        assert!(!said(&[unreadable.clone(), good], FROM_S).1);
        assert_eq!(notice(&[unreadable], Path::new("cert.pem"), FROM_S), None);
    }
}
