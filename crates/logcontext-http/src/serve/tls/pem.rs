//! Certificates and keys from PEM files.

use std::path::Path;

use tokio_rustls::rustls::pki_types::pem::{Error, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::TlsError;

pub(super) fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let pem = read(file)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    match chain {
        Ok(chain) if chain.is_empty() => Err(TlsError::NoCertificate { file: file.into() }),
        Ok(chain) => Ok(chain),
        Err(error) => Err(damaged(file, &error)),
    }
}

pub(super) fn private_key(file: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let pem = read(file)?;
    match PrivateKeyDer::pem_slice_iter(&pem).next() {
        Some(Ok(key)) => Ok(key),
        Some(Err(error)) => Err(damaged(file, &error)),
        None => Err(TlsError::NoPrivateKey { file: file.into() }),
    }
}

fn read(file: &Path) -> Result<Vec<u8>, TlsError> {
    let pem = std::fs::read(file).map_err(|source| TlsError::Read { file: file.into(), source })?;
    let begins = b"-----BEGIN ";
    if pem.windows(begins.len()).any(|window| window == begins) {
        Ok(pem)
    } else {
        Err(TlsError::NotPem { file: file.into(), reason: "expected a line that begins with `-----BEGIN `" })
    }
}

/// Without the library's words, which quote the file.
fn damaged(file: &Path, error: &Error) -> TlsError {
    let reason = match error {
        Error::MissingSectionEnd { .. } => "expected an `-----END ` line for each `-----BEGIN `",
        Error::IllegalSectionStart { .. } => "expected `-----` at the end of each `-----BEGIN ` line",
        Error::Base64Decode(_) => "expected base64 between the lines that begin and end",
        _ => "expected what RFC 7468 says",
    };
    TlsError::NotPem { file: file.into(), reason }
}
