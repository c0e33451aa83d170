//! Content negotiation by request headers (RFC 9110, section 12.5).

use http::HeaderMap;
use http::header::{ACCEPT, ACCEPT_ENCODING, HeaderName};

use crate::encode::Format;

/// Returns the format with the highest quality.
///
/// The most specific range that matches a format determines its quality. OpenMetrics must be
/// requested by name. If no format is acceptable, it is text, because a response in another format
/// is better than none.
pub(super) fn format(headers: &HeaderMap) -> Format {
    let (mut text, mut open_metrics) = (Preference::default(), Preference::default());
    for (media_type, parameters) in members(headers, ACCEPT) {
        let version = parameter(parameters, "version");
        let quality = quality(parameters);
        let by_version = 3 + u8::from(version.is_some());
        match media_type.to_ascii_lowercase().as_str() {
            "application/openmetrics-text" if matches!(version, None | Some("1.0.0")) => {
                open_metrics.update(by_version, quality);
            }
            "text/plain" if matches!(version, None | Some("0.0.4")) => {
                text.update(by_version, quality)
            }
            "text/*" => text.update(2, quality),
            "*/*" => text.update(1, quality),
            _ => {}
        }
    }
    // A format requested by name takes precedence over one that a wildcard allows.
    let is_preferred = open_metrics.quality > text.quality
        || open_metrics.quality == text.quality && open_metrics.specific >= text.specific;
    if open_metrics.quality > 0 && (is_preferred || text.specific <= 2) {
        Format::OpenMetrics
    } else {
        Format::Text
    }
}

/// A quality in thousandths, from the most specific matching range.
#[derive(Default)]
struct Preference {
    specific: u8,
    quality: u16,
}

impl Preference {
    fn update(&mut self, specific: u8, quality: u16) {
        if specific > self.specific {
            *self = Self { specific, quality };
        } else if specific == self.specific {
            self.quality = self.quality.max(quality);
        }
    }
}

/// Returns whether the body is compressed: gzip needs at least the quality of no compression.
pub(super) fn gzip(headers: &HeaderMap) -> bool {
    let (mut gzip, mut identity) = (Preference::default(), Preference::default());
    for (coding, parameters) in members(headers, ACCEPT_ENCODING) {
        let quality = quality(parameters);
        match coding.to_ascii_lowercase().as_str() {
            "gzip" | "x-gzip" => gzip.update(2, quality),
            "identity" => identity.update(2, quality),
            "*" => gzip.update(1, quality),
            _ => {}
        }
    }
    gzip.quality > 0 && gzip.quality >= identity.quality
}

/// The members of a list in a header, each without its parameters, and these.
fn members(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = (&str, &str)> {
    let values = headers.get_all(name).into_iter();
    let members = values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','));
    members.take(MEMBERS).map(|member| {
        let (member, parameters) = member.split_once(';').unwrap_or((member, ""));
        (member.trim(), parameters)
    })
}

/// The maximum number of a header's members that are read.
const MEMBERS: usize = 64;

fn parameter<'a>(parameters: &'a str, name: &str) -> Option<&'a str> {
    let mut pairs = parameters
        .split(';')
        .filter_map(|pair| pair.split_once('='));
    let found = pairs.find(|(of, _)| of.trim().eq_ignore_ascii_case(name))?;
    Some(found.1.trim().trim_matches('"'))
}

/// Returns the quality in thousandths, which is 1 unless it is given; one that can't be read is none.
fn quality(parameters: &str) -> u16 {
    let Some(quality) = parameter(parameters, "q") else {
        return 1_000;
    };
    match quality.parse::<f32>() {
        Ok(quality) if (0.0..=1.0).contains(&quality) => (quality * 1_000.0) as u16,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(name: &HeaderName, values: &[&str]) -> HeaderMap {
        let value = |value: &&str| HeaderValue::from_bytes(value.as_bytes()).unwrap();
        let values = values.iter().map(|text| (name.clone(), value(text)));
        values.collect()
    }

    #[test]
    fn the_format_is_the_one_that_is_liked_best() {
        #[track_caller]
        fn check(accept: &[&str], expected: Format) {
            assert_eq!(format(&headers(&ACCEPT, accept)), expected, "{accept:?}");
        }
        use Format::{OpenMetrics, Text};
        check(&[], Text);
        check(&["*/*"], Text);
        check(&["text/plain"], Text);
        check(&["application/openmetrics-text"], OpenMetrics);
        // Prometheus 2.42's and 3's.
        check(
            &[
                "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
            ],
            OpenMetrics,
        );
        check(
            &[
                "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1",
            ],
            OpenMetrics,
        );
        check(
            &["application/openmetrics-text;q=0.2, text/plain;q=0.3"],
            Text,
        );
        check(
            &["text/plain;q=0.3", "application/openmetrics-text; q=0.4"],
            OpenMetrics,
        );
        check(
            &["Application/OpenMetrics-Text; Version=\"1.0.0\""],
            OpenMetrics,
        );
        check(&["application/openmetrics-text;version=0.0.1"], Text);
        check(&["application/openmetrics-text;version=2.0.0"], Text);
        // The most specific range counts.
        check(
            &["text/plain;q=0.2, application/openmetrics-text;q=0.5, */*;q=0.9"],
            OpenMetrics,
        );
        check(
            &["application/openmetrics-text;q=0.1, */*;q=0.9"],
            OpenMetrics,
        );
        check(
            &[
                "text/plain;version=0.0.4;q=0.1, text/plain;q=0.9, application/openmetrics-text;q=0.5",
            ],
            OpenMetrics,
        );
        // What makes no sense gets text.
        check(&["application/openmetrics-text;q=0"], Text);
        check(&["application/openmetrics-text;q=x"], Text);
        check(&["application/openmetrics-text;q=7"], Text);
        check(&["text/plain;q=0"], Text);
        check(&["garbage", ";;;,,,=", "ü"], Text);
        check(&[&"a/b,".repeat(2_000)], Text);
    }

    #[test]
    fn gzip_has_to_be_asked_for() {
        #[track_caller]
        fn check(accept: &str, expected: bool) {
            assert_eq!(
                gzip(&headers(&ACCEPT_ENCODING, &[accept])),
                expected,
                "{accept}"
            );
        }
        assert!(!gzip(&HeaderMap::new()));
        check("gzip", true);
        check("deflate, GZIP;q=0.5", true);
        check("*", true);
        check("identity", false);
        check("gzip;q=0, *", false);
        check("gzip;q=0.0001", false);
        check("br, *;q=0", false);
        check("identity, gzip;q=0.1", false);
        check("identity;q=0.5, gzip", true);
    }
}
