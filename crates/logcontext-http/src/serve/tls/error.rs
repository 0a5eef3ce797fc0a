use std::io;
use std::path::PathBuf;

/// Why there is no TLS with these files: which of them, and what was expected of it. Never what is in a key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The file cannot be read.
    #[error("cannot read {}", file.display())]
    Read {
        /// Which.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is not PEM, or is damaged.
    #[error("{} is not PEM: {reason}", file.display())]
    NotPem {
        /// Which.
        file: PathBuf,
        /// What was expected instead.
        reason: &'static str,
    },
    /// There is no certificate in the file.
    #[error("no certificate in {}: expected `-----BEGIN CERTIFICATE-----`", file.display())]
    NoCertificate {
        /// Which.
        file: PathBuf,
    },
    /// There is no private key in the file, or only one with a password.
    #[error("no private key in {}: expected `-----BEGIN PRIVATE KEY-----`, without a password", file.display())]
    NoPrivateKey {
        /// Which.
        file: PathBuf,
    },
    /// The first certificate in the file is none that can be read.
    #[error("cannot use the certificate in {}: {reason}", file.display())]
    Certificate {
        /// Which.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The private key in the file is damaged, or of a kind that is not known.
    #[error("cannot use the private key in {}: {reason}", file.display())]
    Key {
        /// Which.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The private key is not the certificate's: expected is the one that the first certificate of the file was
    /// made with.
    #[error("the private key in {} is not that of the first certificate in {}", key.display(), certificate.display())]
    KeyMismatch {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
    },
}
