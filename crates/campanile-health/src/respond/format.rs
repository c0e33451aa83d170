use http::HeaderValue;

/// The format of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Json,
    /// `application/health+json`, draft-inadarei-api-health-check-06.
    HealthJson,
    /// The text of `kube-apiserver`.
    Text,
}

impl Format {
    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::HealthJson => "application/health+json",
            Self::Text => "text/plain; charset=utf-8",
        }
    }

    /// Returns the client's preferred format, or the default if it accepts none: a probe always
    /// gets a response.
    pub(super) fn negotiate<'a>(
        accept: impl Iterator<Item = &'a HeaderValue>,
        default: Self,
    ) -> Self {
        let others = [Self::Json, Self::HealthJson, Self::Text];
        let others = others.into_iter().filter(|format| *format != default);
        let all: Vec<_> = [default].into_iter().chain(others).collect();
        let types = all.iter().map(|format| match format {
            Self::Json => "application/json",
            Self::HealthJson => "application/health+json",
            Self::Text => "text/plain",
        });
        all[preferred_type(accept, &types.collect::<Vec<_>>())]
    }
}

/// Returns the index of the media type that a client prefers, by the values of its `Accept` header
/// (RFC 9110, 12.5.1).
///
/// Among equals it is the first one. If the client accepts none, it is 0. At most 32 ranges of the
/// header are read.
///
/// ```
/// use campanile_health::preferred_type;
/// use http::{HeaderMap, header::ACCEPT};
///
/// let mut headers = HeaderMap::new();
/// headers.insert(ACCEPT, "text/html, */*;q=0.8".parse()?);
/// assert_eq!(preferred_type(headers.get_all(ACCEPT).iter(), &["application/json", "text/html"]), 1);
/// # Ok::<_, http::header::InvalidHeaderValue>(())
/// ```
pub fn preferred_type<'a>(
    accept: impl Iterator<Item = &'a HeaderValue>,
    offered: &[&str],
) -> usize {
    let ranges: Vec<Range<'a>> = accept
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(Range::parse)
        .take(MAX_RANGES)
        .collect();
    let quality = |media_type: &str| {
        let matching = ranges.iter().filter(|range| range.matches(media_type));
        let closest = matching.max_by_key(|range| range.specificity());
        closest.map_or(0, |range| range.quality)
    };
    let (mut best, mut best_quality) = (0, 0);
    for (index, media_type) in offered.iter().enumerate() {
        let quality = quality(media_type);
        if quality > best_quality {
            (best, best_quality) = (index, quality);
        }
    }
    best
}

const MAX_RANGES: usize = 32;

/// A range of media types, and its quality in thousandths.
struct Range<'a> {
    main: &'a str,
    sub: &'a str,
    quality: u16,
}

impl<'a> Range<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        let (main, sub) = parts.next()?.split_once('/')?;
        let quality = parts.find_map(|part| {
            let (name, value) = part.split_once('=')?;
            name.trim().eq_ignore_ascii_case("q").then(|| value.trim())
        });
        let quality = match quality {
            None => 1_000,
            Some(quality) => {
                let quality: f32 = quality.parse().ok()?;
                (quality.clamp(0.0, 1.0) * 1_000.0) as u16
            }
        };
        Some(Self { main, sub, quality })
    }

    fn matches(&self, media_type: &str) -> bool {
        let matches = |range: &str, part: &str| range == "*" || range.eq_ignore_ascii_case(part);
        let parts = media_type.split_once('/');
        parts.is_some_and(|(main, sub)| matches(self.main, main) && matches(self.sub, sub))
    }

    fn specificity(&self) -> u8 {
        u8::from(self.main != "*") + u8::from(self.sub != "*")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_preferred_format_is_chosen() {
        let chosen = |accept: &'static str, default| {
            Format::negotiate([HeaderValue::from_static(accept)].iter(), default)
        };
        for (accept, expected) in [
            ("", Format::Json),
            ("*/*", Format::Json),
            ("text/plain", Format::Text),
            ("TEXT/PLAIN;q=0.5, application/*;q=0.4", Format::Text),
            ("application/health+json", Format::HealthJson),
            (
                "application/health+json, application/json;q=0.9",
                Format::HealthJson,
            ),
            ("application/json, application/health+json", Format::Json),
            ("text/*, application/json;q=0", Format::Text),
            ("image/png", Format::Json),
            ("text/plain;q=x", Format::Json),
            (",,;;/", Format::Json),
        ] {
            assert_eq!(chosen(accept, Format::Json), expected, "{accept}");
        }
        assert_eq!(chosen("*/*", Format::Text), Format::Text);
        assert_eq!(chosen("application/*", Format::Text), Format::Json);
    }
}
