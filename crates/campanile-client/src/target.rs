use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use http::Uri;

/// The most bytes of a URL.
const MAX_URL: usize = 2_048;

/// A URL that a [`Client`](crate::Client) can send to: `http` or `https`, with a host, at most 2,048 bytes.
///
/// The URLs of webhooks are secrets, so neither `Debug` nor `Display` shows more than scheme, host and port.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Target(Uri);

impl Target {
    /// Reads a URL.
    ///
    /// # Errors
    ///
    /// If it is not one, or has what a target can't have.
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
        let port = authority
            .as_str()
            .rsplit_once(']')
            .map_or_else(|| authority.as_str(), |(_, rest)| rest);
        let has_port = port.contains(':');
        if uri.host().is_none_or(str::is_empty)
            || has_port && authority.port_u16().is_none_or(|port| port == 0)
        {
            return Err(TargetError::Form);
        }
        Ok(Self(uri))
    }

    /// Returns the host's name or address.
    pub fn host(&self) -> &str {
        self.0.host().unwrap_or_default()
    }

    /// Returns the address, if the host is given as one.
    pub(crate) fn address(&self) -> Option<IpAddr> {
        let host = self.host();
        match host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
        {
            Some(host) => host.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
            None => host.parse().ok(),
        }
    }

    pub(crate) fn uri(&self) -> &Uri {
        &self.0
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

/// A text is not a URL that can be sent to. The text is not shown, because it may be a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TargetError {
    /// It is not an absolute URL with a host.
    #[error(
        "the URL is not valid: give one such as https://example.com/hook, with nothing but visible ASCII characters"
    )]
    Form,
    /// Its scheme is another.
    #[error("the URL's scheme is neither http nor https")]
    Scheme,
    /// It has a user or a password.
    #[error("the URL has a user or a password before its host: send them in a header")]
    Credentials,
    /// It is too long.
    #[error("the URL has {bytes} bytes: give at most 2048")]
    TooLong {
        /// Its length.
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
