use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use http::Uri;

/// The limit of a URL in bytes.
const MAX_URL: usize = 2_048;

/// The URL of a request: `http` or `https`, with a host, at most 2,048 bytes.
///
/// Its host is a DNS name of at most 253 characters, an IPv4 address as four decimal numbers, or an
/// IPv6 address in brackets, without a zone.
///
/// The URLs of webhooks are secrets, so `Debug` and `Display` show scheme, host and port only.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Target(Uri);

impl Target {
    /// Parses a URL.
    ///
    /// # Errors
    ///
    /// If the string is not such a URL, or contains a user or a password.
    pub fn parse(url: &str) -> Result<Self, TargetError> {
        if url.len() > MAX_URL {
            return Err(TargetError::TooLong { bytes: url.len() });
        }
        let is_visible = |byte: u8| byte.is_ascii_graphic();
        if !url.bytes().all(is_visible) {
            return Err(TargetError::Form);
        }
        let url = url.split('#').next().unwrap_or_default();
        let uri: Uri = url.parse().map_err(|_| TargetError::Form)?;
        match uri.scheme_str() {
            Some("http" | "https") => {}
            Some(_) => return Err(TargetError::Scheme),
            None => return Err(TargetError::Form),
        }
        let authority = uri.authority().ok_or(TargetError::Form)?;
        if authority.as_str().contains('@') {
            return Err(TargetError::Credentials);
        }
        let after = authority.as_str().strip_prefix(authority.host());
        let is_port = |after: &str| {
            after.starts_with(':') && authority.port_u16().is_some_and(|port| port > 0)
        };
        if authority.host().is_empty()
            || !after.is_some_and(|after| after.is_empty() || is_port(after))
        {
            return Err(TargetError::Form);
        }
        if Host::parse(authority.host()).is_none() {
            return Err(TargetError::Host);
        }
        Ok(Self(uri))
    }

    /// Returns the name or the address of the host.
    pub fn host(&self) -> &str {
        self.0.host().unwrap_or_default()
    }

    pub(crate) fn uri(&self) -> &Uri {
        &self.0
    }
}

/// The host of a URL. No other code parses a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Host<'a> {
    Address(IpAddr),
    Name(&'a str),
}

impl<'a> Host<'a> {
    pub(crate) fn parse(host: &'a str) -> Option<Self> {
        if let Some(host) = host.strip_prefix('[') {
            let address: Ipv6Addr = host.strip_suffix(']')?.parse().ok()?;
            return Some(Self::Address(address.into()));
        }
        if let Ok(address) = host.parse::<Ipv4Addr>() {
            return Some(Self::Address(address.into()));
        }
        let name = host.strip_suffix('.').unwrap_or(host);
        let is_label = |label: &str| {
            let is_known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
            (1..=63).contains(&label.len())
                && !label.starts_with('-')
                && label.bytes().all(is_known)
        };
        // Resolvers parse a name that ends with a number as an address, in several formats.
        let last = name.rsplit('.').next().unwrap_or_default();
        let hex = last.strip_prefix("0x").or(last.strip_prefix("0X"));
        let is_number = match hex {
            Some(digits) => digits.bytes().all(|byte| byte.is_ascii_hexdigit()),
            None => last.bytes().all(|byte| byte.is_ascii_digit()),
        };
        (name.len() <= 253 && name.split('.').all(is_label) && !is_number)
            .then_some(Self::Name(host))
    }
}

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(url: &str) -> Result<Self, TargetError> {
        Self::parse(url)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = self.0.scheme_str().unwrap_or_default();
        let authority = self
            .0
            .authority()
            .map_or("", |authority| authority.as_str());
        let rest = if matches!(self.0.path_and_query(), Some(path) if path != "/") {
            "/…"
        } else {
            ""
        };
        write!(f, "{scheme}://{authority}{rest}")
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Target({self})")
    }
}

/// A string is not a valid [`Target`]. The message leaves the string out, because it may be a
/// secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TargetError {
    /// The string is not an absolute URL with a host.
    #[error(
        "invalid URL: expected a scheme and a host, such as https://example.com/path or http://example.com:4318, in visible ASCII characters"
    )]
    Form,
    /// The host name is neither a DNS name nor an address.
    #[error(
        "invalid host in the URL: expected a DNS name, an IPv4 address as four decimal numbers, or an IPv6 address in brackets without a zone"
    )]
    Host,
    /// The scheme is neither `http` nor `https`.
    #[error("invalid scheme of the URL: expected http or https")]
    Scheme,
    /// The URL has a user or a password.
    #[error("invalid URL: expected no user and no password; send them in a header")]
    Credentials,
    /// The URL is too long.
    #[error("URL too long: {bytes} bytes (limit {MAX_URL})")]
    TooLong {
        /// The length of the URL in bytes.
        bytes: usize,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_checked() {
        #[track_caller]
        fn check(url: &str, expected: Result<&str, TargetError>) {
            let target = Target::parse(url);
            let shown = target.map(|target| target.to_string());
            assert_eq!(shown, expected.map(str::to_owned), "{url}");
        }
        check("https://example.com/a?b=c", Ok("https://example.com/…"));
        check("http://127.0.0.1:9000", Ok("http://127.0.0.1:9000"));
        check("http://[::1]:9000/", Ok("http://[::1]:9000"));
        check("http://[::1]/x#fragment", Ok("http://[::1]/…"));
        check("HTTP://example.com", Ok("http://example.com"));
        for url in [
            "",
            "/hook",
            "example.com",
            "http://",
            "http:///x",
            "https://ex ample.com",
            "https://exämple.com",
            "http://h:0",
            "http://h:65536",
            "http://h:",
            "http://[::1]:x",
            "http://h/\n",
        ] {
            check(url, Err(TargetError::Form));
        }
        for url in [
            "http://[127.0.0.1]/",
            "http://[::1%251]/",
            "http://[fe80::1%25eth0]/",
            "http://[v1.x]/",
            "http://127.1/",
            "http://0x7F/",
            "http://host.1/",
            "http://a..b/",
            "http://.a/",
            "http://a%2fb/",
        ] {
            assert!(
                matches!(
                    Target::parse(url),
                    Err(TargetError::Host | TargetError::Form)
                ),
                "{url}"
            );
        }
        check(
            "http://my_service.example.",
            Ok("http://my_service.example."),
        );
        check("http://1.example:80", Ok("http://1.example:80"));
        for url in [
            "file:///etc/passwd",
            "ftp://example.com",
            "gopher://example.com/x",
        ] {
            let error = Target::parse(url).unwrap_err();
            assert!(
                matches!(error, TargetError::Scheme | TargetError::Form),
                "{url}"
            );
        }
        check(
            "http://user:s3cr3t@example.com",
            Err(TargetError::Credentials),
        );
        check("http://user@example.com", Err(TargetError::Credentials));
        check(
            &format!("http://example.com/{}", "x".repeat(2_048)),
            Err(TargetError::TooLong { bytes: 2_067 }),
        );
    }
}
