//! The TLS of a listener, where it has any: certificates are read at the start, and again when they are renewed.

#[cfg(feature = "tls")]
use logcontext_http::Tls;

use logcontext_http::ServeOptions;

use crate::error::StartError;
use crate::settings::ListenerSettings;

/// What a listener speaks TLS with.
#[derive(Clone, Default)]
pub(crate) struct ListenerTls {
    #[cfg(feature = "tls")]
    tls: Option<Tls>,
}

impl ListenerTls {
    /// # Errors
    /// If one of its two files is missing, or of no use.
    pub(super) fn load(settings: &ListenerSettings) -> Result<Self, StartError> {
        let wrong = |error: &str| Err(StartError::Tls(settings.address.clone(), error.into()));
        match (&settings.tls_certificate, &settings.tls_key) {
            (None, None) => Ok(Self::default()),
            (Some(_), None) => wrong("expected `tls_key` beside `tls_certificate`"),
            (None, Some(_)) => wrong("expected `tls_certificate` beside `tls_key`"),
            #[cfg(not(feature = "tls"))]
            (Some(_), Some(_)) => wrong("this server was built without the feature `tls`"),
            #[cfg(feature = "tls")]
            (Some(certificate), Some(key)) => match Tls::from_pem_files(certificate, key) {
                Ok(tls) => Ok(Self { tls: Some(tls) }),
                Err(error) => Err(StartError::Tls(settings.address.clone(), error.into())),
            },
        }
    }

    pub(super) fn apply(&self, options: ServeOptions) -> ServeOptions {
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.tls {
            return options.tls(tls.clone());
        }
        options
    }

    /// Reads the files again, and logs how that went. With the old ones it goes on where the new ones are of no use.
    pub(crate) fn reload(&self) {
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.tls {
            match tls.reload() {
                Ok(()) => tracing::info!("certificate read again"),
                Err(error) => {
                    let error = crate::error::one_line(&error);
                    tracing::error!(error, "cannot read the certificate again; going on with the old one");
                }
            }
        }
    }
}
