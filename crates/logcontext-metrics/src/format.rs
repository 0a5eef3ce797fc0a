//! Which of the two formats, and what it is called.

use http::HeaderValue;

/// How the figures are written.
///
/// ```
/// use http::HeaderValue;
/// use logcontext_metrics::Format;
///
/// let accept = HeaderValue::from_static("application/openmetrics-text;version=1.0.0,text/plain;q=0.5");
/// assert_eq!(Format::from_accept(Some(&accept)), Format::OpenMetrics);
/// assert_eq!(Format::from_accept(None).content_type(), "text/plain; version=0.0.4; charset=utf-8");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Format {
    /// Prometheus's text, version 0.0.4: what every scraper reads.
    #[default]
    Prometheus,
    /// `OpenMetrics` text, version 1.0.0.
    OpenMetrics,
}

impl Format {
    /// What to answer with to this `accept` header: OpenMetrics if it is asked for by name and nothing that is
    /// Prometheus's text is liked better; otherwise, and where the header says nothing or nonsense, Prometheus's.
    pub fn from_accept(accept: Option<&HeaderValue>) -> Self {
        Self::from_all(accept)
    }

    /// The same where the header came several times.
    pub(crate) fn from_all<'a>(accept: impl IntoIterator<Item = &'a HeaderValue>) -> Self {
        let (mut open, mut plain) = (0, None);
        let ranges = accept.into_iter().filter_map(|value| value.to_str().ok());
        for range in ranges.flat_map(|value| value.split(',')).filter_map(Range::parse) {
            match range.media {
                Media::OpenMetrics => open = open.max(range.quality),
                Media::Plain => plain = plain.max(Some(range.quality)),
                Media::Other => {}
            }
        }
        if open > 0 && open >= plain.unwrap_or(0) { Self::OpenMetrics } else { Self::Prometheus }
    }

    /// The value of the header `content-type`.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

enum Media {
    OpenMetrics,
    Plain,
    /// What neither is, and ranges like `*/*`: who takes anything gets what everybody reads.
    Other,
}

/// One of the things that a client accepts.
struct Range {
    media: Media,
    /// In thousandths
    quality: u16,
}

impl Range {
    fn parse(range: &str) -> Option<Self> {
        let mut parts = range.split(';').map(str::trim);
        let name = parts.next()?;
        let (mut version, mut quality) = (None, 1_000);
        for (key, value) in parts.filter_map(|part| part.split_once('=')) {
            let value = value.trim().trim_matches('"');
            match key.trim() {
                key if key.eq_ignore_ascii_case("version") => version = Some(value),
                key if key.eq_ignore_ascii_case("q") => quality = thousandths(value)?,
                _ => {}
            }
        }
        let is = |media: &str, versions: &[&str]| {
            name.eq_ignore_ascii_case(media) && version.is_none_or(|version| versions.contains(&version))
        };
        let media = if is("application/openmetrics-text", &["1.0.0", "1.0", "1"]) {
            Media::OpenMetrics
        } else if is("text/plain", &["0.0.4"]) {
            Media::Plain
        } else {
            Media::Other
        };
        Some(Self { media, quality })
    }
}

fn thousandths(quality: &str) -> Option<u16> {
    let quality: f32 = quality.parse().ok()?;
    (0.0..=1.0).contains(&quality).then_some((quality * 1_000.0) as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(accept: &str) -> Format {
        Format::from_accept(Some(&HeaderValue::from_str(accept).unwrap()))
    }

    #[test]
    fn a_scraper_that_asks_for_open_metrics_gets_it() {
        for accept in [
            "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
            "Application/OpenMetrics-Text; Version=\"1.0.0\"; escaping=allow-utf-8;q=0.6, text/plain;version=0.0.4;q=0.3",
            "application/openmetrics-text",
            "application/openmetrics-text;q=0.1,*/*;q=0.9",
        ] {
            assert_eq!(chosen(accept), Format::OpenMetrics, "{accept}");
        }
    }

    #[test]
    fn everybody_else_gets_what_everybody_reads() {
        for accept in [
            "*/*",
            "text/html",
            "text/plain",
            "",
            "application/openmetrics-text;version=2.0.0",
            "application/openmetrics-text;version=0.0.1",
            "application/openmetrics-text;q=0",
            "application/openmetrics-text;q=0.4,text/plain;version=0.0.4;q=0.5",
            "application/openmetrics-text;q=nonsense",
            "application/openmetrics-text;q=7",
            ";;;,,=",
        ] {
            assert_eq!(chosen(accept), Format::Prometheus, "{accept}");
        }
        assert_eq!(Format::from_accept(None), Format::Prometheus);
        assert_eq!(Format::from_accept(Some(&HeaderValue::from_bytes(b"\xff").unwrap())), Format::Prometheus);
    }

    #[test]
    fn a_header_that_came_twice_is_read_as_one() {
        let both = ["text/plain;q=0.5", "application/openmetrics-text"].map(HeaderValue::from_static);
        assert_eq!(Format::from_all(&both), Format::OpenMetrics);
    }
}
