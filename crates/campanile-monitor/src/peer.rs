use std::net::{IpAddr, SocketAddr};

use http::Extensions;
use http::header::{FORWARDED, HOST, VIA};
use http::request::Parts;

/// The address of a connection's client. The server inserts it into each request's extensions.
///
/// Behind a proxy, it is the proxy's address. A proxy on the same machine that adds none of the headers in [the crate's
/// docs](crate#access) looks like a local client. Then configure a token, or turn
/// [`trust_loopback`](crate::MonitorBuilder::trust_loopback) off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer(pub SocketAddr);

/// Inserts the peer of axum's `ConnectInfo` into a request's extensions, unless they have one.
pub(crate) fn insert(extensions: &mut Extensions) {
    #[cfg(feature = "axum")]
    if extensions.get::<Peer>().is_none()
        && let Some(axum::extract::ConnectInfo(peer)) = extensions.get().copied()
    {
        extensions.insert(Peer(peer));
    }
    #[cfg(not(feature = "axum"))]
    let _ = extensions;
}

/// Returns whether a request comes from this machine and addresses this machine.
///
/// The host is checked against DNS rebinding: a web page in a local browser could resolve its domain to loopback.
pub(crate) fn is_local(request: &Parts) -> bool {
    let peer = request.extensions.get::<Peer>();
    if !peer.is_some_and(|Peer(address)| is_loopback(address.ip())) {
        return false;
    }
    let is_proxied = request.headers.keys().any(|name| {
        let name = name.as_str();
        name == FORWARDED || name == VIA || name == "x-real-ip" || name.starts_with("x-forwarded-")
    });
    if is_proxied {
        return false;
    }
    let mut hosts = request.headers.get_all(HOST).iter();
    let (header, another) = (hosts.next(), hosts.next());
    let header = header.map(|host| host.to_str().unwrap_or_default());
    let named = [
        header,
        request.uri.authority().map(|authority| authority.as_str()),
    ];
    let mut named = named.into_iter().flatten().peekable();
    another.is_none() && named.peek().is_some() && named.all(is_local_host)
}

fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

/// Returns whether a host, with or without a port, is `localhost` or a loopback address.
fn is_local_host(host: &str) -> bool {
    let (name, port) = match host.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((name, "")) => (name, None),
            Some((name, rest)) => match rest.strip_prefix(':') {
                Some(port) => (name, Some(port)),
                None => return false,
            },
            None => return false,
        },
        None => host
            .split_once(':')
            .map_or((host, None), |(name, port)| (name, Some(port))),
    };
    let is_port = |port: &str| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    if !port.is_none_or(is_port) {
        return false;
    }
    name.eq_ignore_ascii_case("localhost") || name.parse().is_ok_and(is_loopback)
}

#[cfg(test)]
mod tests {
    use http::{Request, Uri};

    use super::*;

    fn parts(
        peer: Option<&str>,
        uri: &'static str,
        headers: &[(&'static str, &'static str)],
    ) -> Parts {
        let mut request = Request::get(Uri::from_static(uri));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut request = request.body(()).unwrap();
        if let Some(peer) = peer {
            request.extensions_mut().insert(Peer(peer.parse().unwrap()));
        }
        request.into_parts().0
    }

    #[test]
    fn only_loopback_is_local() {
        let check = |peer, expected| {
            assert_eq!(
                is_local(&parts(peer, "/", &[("host", "localhost")])),
                expected,
                "{peer:?}"
            )
        };
        for peer in [
            "127.0.0.1:1",
            "127.9.9.9:1",
            "[::1]:1",
            "[::ffff:127.0.0.1]:1",
        ] {
            check(Some(peer), true);
        }
        for peer in [
            "10.0.0.1:1",
            "192.168.0.1:1",
            "1.1.1.1:1",
            "0.0.0.0:1",
            "[::]:1",
            "[::ffff:10.0.0.1]:1",
            "[fe80::1]:1",
            "[::127.0.0.1]:1",
        ] {
            check(Some(peer), false);
        }
        check(None, false);
    }

    #[test]
    fn the_host_must_be_local_too() {
        #[track_caller]
        fn check(uri: &'static str, headers: &[(&'static str, &'static str)], expected: bool) {
            assert_eq!(
                is_local(&parts(Some("127.0.0.1:1"), uri, headers)),
                expected,
                "{uri} {headers:?}"
            );
        }
        for host in [
            "localhost",
            "LOCALHOST:8000",
            "127.0.0.1",
            "127.0.0.1:80",
            "[::1]",
            "[::1]:8000",
        ] {
            check("/", &[("host", host)], true);
        }
        for host in [
            "",
            "example.com",
            "localhost.example.com",
            "localhost.",
            "127.0.0.1.example.com",
            "127.0.0.1:x",
            "127.0.0.1:",
            "[::1",
            "[::1]x",
            "::1",
            "10.0.0.1",
            "localhost@example.com",
            "0.0.0.0",
        ] {
            check("/", &[("host", host)], false);
        }
        check("/", &[], false);
        check("/", &[("host", "localhost"), ("host", "localhost")], false);
        // HTTP/2 has the host in the URI. Both must be local.
        check("http://localhost:8000/", &[], true);
        check("http://example.com/", &[], false);
        check("http://example.com/", &[("host", "localhost")], false);
        check("http://localhost/", &[("host", "example.com")], false);
    }

    #[test]
    fn a_proxied_request_is_not_local() {
        for name in [
            "forwarded",
            "via",
            "x-forwarded-for",
            "X-Forwarded-Proto",
            "x-forwarded-",
            "x-real-ip",
        ] {
            assert!(
                !is_local(&parts(
                    Some("127.0.0.1:1"),
                    "/",
                    &[("host", "localhost"), (name, "")]
                )),
                "{name}"
            );
        }
    }
}
