//! The driver's errors as sentences for the operator. Errors of the database itself are classified
//! by their number.

use super::super::StoreError;
use crate::config::regular_file;
use crate::error_text::without_number;
use mysql::{DriverError, Error, UrlError};
use std::io::ErrorKind;

/// The error when the peer is not a MySQL server.
pub(super) const NO_MYSQL: &str = "the program that answers there does not speak the protocol of MySQL";

/// The text of a driver error (not of a database error).
pub(super) fn of_driver(error: &Error) -> String {
    const NO_ANSWER: &str = "no answer came in time";
    if let Some(error) = of_system(error) {
        return match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => NO_ANSWER.to_owned(),
            ErrorKind::UnexpectedEof => "the connection was closed".to_owned(),
            ErrorKind::InvalidData => format!("TLS does not trust it: {}", without_number(error)),
            _ => without_number(error),
        };
    }
    let said = match error {
        Error::TlsError(error) => return format!("TLS does not work with it: {error}"),
        Error::CodecError(_) => NO_MYSQL,
        Error::DriverError(error) => match error {
            DriverError::ConnectTimeout => "no connection came about in time",
            DriverError::Timeout => NO_ANSWER,
            DriverError::CouldNotConnect(Some((address, why, _))) => {
                let why = why.split(" (os error").next().unwrap_or_default();
                return format!("cannot connect to {address}: {why}");
            }
            DriverError::TlsNotSupported => "it does not speak TLS, which root_cert_path asks for",
            DriverError::UnsupportedProtocol(_)
            | DriverError::PacketOutOfSync
            | DriverError::Protocol41NotSet
            | DriverError::UnexpectedPacket
            | DriverError::CouldNotParseVersion => NO_MYSQL,
            other => return other.to_string(),
        },
        Error::UrlError(error) => return of_url(error),
        other => return other.to_string(),
    };
    said.to_owned()
}

/// Was the connection refused for a reason that waiting does not change?
pub(super) fn is_permanent(error: &Error) -> bool {
    match error {
        Error::TlsError(_) | Error::DriverError(DriverError::TlsNotSupported) => true,
        // A certificate that TLS does not trust.
        error => of_system(error).is_some_and(|error| error.kind() == ErrorKind::InvalidData),
    }
}

/// The system error inside a driver error, if there is one.
fn of_system(error: &Error) -> Option<&std::io::Error> {
    match error {
        Error::IoError(error) => Some(error),
        Error::CodecError(error) => std::error::Error::source(error)?.downcast_ref(),
        _ => None,
    }
}

/// The fault in a URL. It repeats neither the URL nor a value in it, only the name of a parameter,
/// if it looks like one.
pub(super) fn of_url(error: &UrlError) -> String {
    let named = |name: &str| {
        let is_name = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
        if is_name { format!("parameter {name:?}") } else { "parameter".to_owned() }
    };
    match error {
        UrlError::UnknownParameter(name) => {
            format!("its URL has a {} that is not known; root_cert_path is", named(name))
        }
        UrlError::InvalidValue(name, _) => format!("its URL has a {} with a value that is none", named(name)),
        UrlError::FeatureRequired(_, name) => {
            format!("its URL has a {} that does not work in this program", named(name))
        }
        UrlError::InvalidPoolConstraints { .. } => "its URL sets pool_min greater than pool_max".to_owned(),
        UrlError::ParseError(error) => format!("its URL cannot be read: {error}"),
        UrlError::UnsupportedScheme(_) | UrlError::BadUrl => {
            "its URL is not like mysql://USER:PASSWORD@HOST:PORT/DATABASE".to_owned()
        }
    }
}

/// Refuses a CA file that the driver could not use. The driver itself reads it only when it
/// connects, and reports no error for a file without a certificate.
pub(super) fn check_ca(path: &std::path::Path) -> Result<(), StoreError> {
    let shown = path.display();
    let wrong = |why: &str| StoreError::Unusable(format!("its CA file {shown} cannot be used: {why}"));
    let (text, _) = regular_file::read_file(path).map_err(|why| wrong(&why))?;
    // A certificate in DER form begins with an ASN.1 sequence.
    let is_bare = text.starts_with(&[0x30, 0x82]);
    if !is_bare && memchr::memmem::find(&text, b"-----BEGIN CERTIFICATE-----").is_none() {
        return Err(wrong("it holds no certificate in PEM"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_rust_would_print_for_debugging_is_said() {
        let io = |kind| Error::IoError(std::io::Error::from(kind));
        let refused = std::io::Error::from_raw_os_error(111);
        let connect =
            DriverError::CouldNotConnect(Some(("h:1".into(), refused.to_string(), ErrorKind::ConnectionRefused)));
        let errors = [
            io(ErrorKind::WouldBlock),
            io(ErrorKind::UnexpectedEof),
            io(ErrorKind::InvalidData),
            Error::IoError(refused),
            connect.into(),
            DriverError::ConnectTimeout.into(),
            DriverError::TlsNotSupported.into(),
            DriverError::UnexpectedPacket.into(),
            DriverError::SetupError.into(),
            UrlError::UnknownParameter("ssl".into()).into(),
        ];
        for error in errors {
            let why = of_driver(&error);
            assert!(!why.contains(['{', '}', '\n']) && !why.contains("Error") && !why.contains("(os"), "{why}");
        }
    }

    #[test]
    fn a_parameter_is_named_and_no_value() {
        assert!(of_url(&UrlError::UnknownParameter("sslmode".into())).contains("\"sslmode\""));
        assert!(of_url(&UrlError::InvalidValue("pool_min".into(), "geheim".into())).contains("\"pool_min\""));
        for error in [
            UrlError::UnknownParameter("ge@heim".into()),
            UrlError::UnknownParameter("Geheim!".into()),
            UrlError::InvalidValue("x".into(), "geheim".into()),
            UrlError::UnsupportedScheme("geheim".into()),
        ] {
            assert!(!of_url(&error).to_lowercase().contains("heim"), "{error}");
        }
    }
}
