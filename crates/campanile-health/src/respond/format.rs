use http::HeaderValue;

/// How an answer is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Json,
    /// `application/health+json`, draft-inadarei-api-health-check-06.
    HealthJson,
    /// As `kube-apiserver` has it.
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

    fn essence(self) -> (&'static str, &'static str) {
        match self {
            Self::Json => ("application", "json"),
            Self::HealthJson => ("application", "health+json"),
            Self::Text => ("text", "plain"),
        }
    }

    /// Returns the one that is liked best (RFC 9110, 12.5.1), the usual one among equals; and the usual one too if none is liked: who probes
    /// wants an answer.
    pub(super) fn chosen<'a>(accept: impl Iterator<Item = &'a HeaderValue>, usual: Self) -> Self {
        let ranges: Vec<Range<'a>> = accept
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .filter_map(Range::parse)
            .take(MAX_RANGES)
            .collect();
        let quality = |format: Self| {
            let fits = ranges.iter().filter(|range| range.fits(format));
            let closest = fits.max_by_key(|range| range.closeness());
            closest.map_or(0, |range| range.quality)
        };
        let all = [Self::Json, Self::HealthJson, Self::Text];
        all.into_iter().fold(usual, |best, format| {
            if quality(format) > quality(best) {
                format
            } else {
                best
            }
        })
    }
}

/// How many ranges are looked at.
const MAX_RANGES: usize = 32;

/// A range of media types, and how much it is liked, in thousandths.
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

    fn fits(&self, format: Format) -> bool {
        let (main, sub) = format.essence();
        let is = |of: &str, it: &str| of == "*" || of.eq_ignore_ascii_case(it);
        is(self.main, main) && is(self.sub, sub)
    }

    fn closeness(&self) -> u8 {
        u8::from(self.main != "*") + u8::from(self.sub != "*")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_liked_best_is_chosen() {
        let chosen = |accept: &'static str, usual| {
            Format::chosen([HeaderValue::from_static(accept)].iter(), usual)
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
