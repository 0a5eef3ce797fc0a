//! [`Secret`]: a text that is shown to nobody.

use std::fmt;
use std::hint::black_box;
use std::str::FromStr;

use super::TextError;
use super::typed_text::typed_text;

/// What stands for a secret where one would be shown.
pub(super) const HIDDEN: &str = "***";

/// A text that is shown to nobody: a token, a password. Shows itself, to people and to files, as `***`.
///
/// As a setting, say `Option<Secret>`: there is no secret by default. The key with `_file` after it takes the name of
/// a file with the secret in it, for every secret in a table. It has a character at least, and is not `***`, which
/// somebody has copied from what was shown.
///
/// ```
/// use logcontext_service::config::Secret;
///
/// let secret: Secret = "hunter2".parse()?;
/// assert_eq!(format!("{secret} {secret:?}"), "*** Secret(***)");
/// assert_eq!(secret.expose(), "hunter2");
/// assert!(secret.is("hunter2") && !secret.is("hunter3"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[doc(alias = "SecretString")]
#[derive(Clone)]
pub struct Secret(Box<str>);

impl Secret {
    const EXPECTED: &str = "a secret in plain text";

    /// The secret itself, for whoever needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether that is the secret, in a time that depends on the length of `text` but not on how much of it is right.
    #[doc(alias = "compare_digest")]
    pub fn is(&self, text: &str) -> bool {
        let (secret, text) = (self.0.as_bytes(), text.as_bytes());
        // Of the secret, going round: its length is not told either.
        let of_secret = secret.iter().cycle();
        let differences = text.iter().zip(of_secret).fold(0, |all, (a, b)| black_box(all | (a ^ b)));
        (differences == 0) & (secret.len() == text.len())
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.is(&other.0)
    }
}

impl Eq for Secret {}

impl FromStr for Secret {
    type Err = TextError;

    fn from_str(text: &str) -> Result<Self, TextError> {
        match text {
            "" | HIDDEN => Err(TextError(Self::EXPECTED)),
            _ => Ok(Self(text.into())),
        }
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(HIDDEN)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({HIDDEN})")
    }
}

typed_text!(Secret, "Secret", { "type": "string", "x-hide": "everything", "x-value-name": "SECRET" });
