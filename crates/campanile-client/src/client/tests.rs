use std::future::ready;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Mutex;

use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tower_service::Service;

use super::*;
use crate::connect::{BoxError, BoxFuture, Connector, Network};
use crate::{Cidr, ClientBuilder};

/// Starts a server that accepts one connection and writes `response`. Then it writes `then` until
/// the client disconnects. The task returns the request.
async fn server(response: &'static [u8], then: &'static [u8]) -> (Target, JoinHandle<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!(
        "http://localhost:{}/hook?s3cr3t",
        listener.local_addr().unwrap().port()
    );
    let serving = tokio::spawn(async move {
        let mut stream = listener.accept().await.unwrap().0;
        let mut request = vec![0; 4_096];
        let read = stream.read(&mut request).await.unwrap();
        request.truncate(read);
        stream.write_all(response).await.unwrap();
        if then.is_empty() {
            // The server never closes the connection first.
            let _ = stream.read(&mut [0]).await;
        }
        while !then.is_empty() && stream.write_all(then).await.is_ok() {}
        request
    });
    (Target::parse(&url).unwrap(), serving)
}

fn body() -> Bytes {
    Bytes::from_static(b"{\"a\":1}")
}

#[tokio::test]
async fn a_request_is_sent_and_its_response_returned() {
    let (target, serving) = server(
        b"HTTP/1.1 201 Created\r\nx-a: b\r\ncontent-length: 5\r\n\r\nhello",
        b"",
    )
    .await;
    let mut headers = HeaderMap::new();
    headers.insert("authorization", "Bearer token".try_into().unwrap());
    let response = Client::new().post(&target, headers, body()).await.unwrap();
    assert_eq!(
        (response.status, &response.body[..], response.truncated),
        (StatusCode::CREATED, &b"hello"[..], false)
    );
    assert_eq!(response.headers["x-a"], "b");
    let request = String::from_utf8(serving.await.unwrap()).unwrap();
    assert!(
        request.starts_with("POST /hook?s3cr3t HTTP/1.1\r\n"),
        "{request}"
    );
    assert!(
        request.contains("authorization: Bearer token\r\n"),
        "{request}"
    );
    assert!(request.contains("content-length: 7\r\n"), "{request}");
}

#[tokio::test]
async fn redirects_are_answers() {
    let response =
        b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n";
    let (target, _serving) = server(response, b"").await;
    let response = Client::new().get(&target, HeaderMap::new()).await.unwrap();
    assert_eq!(response.status, StatusCode::FOUND);
}

#[tokio::test]
async fn an_endless_body_is_cut() {
    let (target, serving) = server(b"HTTP/1.1 200 OK\r\n\r\n", &[b'x'; 10_000]).await;
    let response = Client::new()
        .post(&target, HeaderMap::new(), body())
        .await
        .unwrap();
    assert_eq!(
        (response.status, response.body.len(), response.truncated),
        (StatusCode::OK, 65_536, true)
    );
    // The connection was closed, or the server would still be writing.
    serving.await.unwrap();
}

#[tokio::test]
async fn a_body_that_never_ends_is_truncated_at_the_deadline() {
    let (target, _serving) =
        server(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf", b"").await;
    let client = Client::builder()
        .timeout(Duration::from_millis(300))
        .build();
    let response = client
        .post(&target, HeaderMap::new(), body())
        .await
        .unwrap();
    assert_eq!(
        (response.status, &response.body[..], response.truncated),
        (StatusCode::OK, &b"half"[..], true)
    );
}

#[tokio::test]
async fn errors_leave_the_url_out() {
    let client = Client::builder()
        .timeout(Duration::from_millis(300))
        .build();
    // A head that never ends.
    let (target, _serving) = server(b"HTTP/1.1 200 OK\r\n", b"").await;
    let error = client.get(&target, HeaderMap::new()).await.unwrap_err();
    let timeout = Duration::from_millis(300);
    assert_eq!(error.to_string(), format!("no response within {timeout:?}"));
    // A response that is not HTTP.
    let (target, _serving) = server(b"SSH-2.0-OpenSSH\r\n", b"").await;
    let garbage = client.get(&target, HeaderMap::new()).await.unwrap_err();
    // Nothing listens.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target =
        Target::parse(&format!("http://{}/s3cr3t", listener.local_addr().unwrap())).unwrap();
    drop(listener);
    let refused = client.get(&target, HeaderMap::new()).await.unwrap_err();
    assert!(refused.reason().contains("refused"), "{refused:?}");
    let SendError::Connection { source } = &refused else {
        panic!("{refused:?}");
    };
    assert_eq!(source.kind(), io::ErrorKind::ConnectionRefused);
    // A server without TLS.
    let (plain, _serving) = server(b"HTTP/1.1 200 OK\r\n\r\n", b"").await;
    let url = plain.uri().to_string().replace("http://", "https://");
    let tls = client
        .get(&Target::parse(&url).unwrap(), HeaderMap::new())
        .await
        .unwrap_err();
    for error in [garbage, refused, tls] {
        assert!(matches!(error, SendError::Connection { .. }), "{error:?}");
        assert!(
            !format!("{} {error:?}", error.reason()).contains("s3cr3t"),
            "{error:?}"
        );
    }
}

#[tokio::test]
async fn a_guarded_client_connects_to_allowed_addresses() {
    let response = b"HTTP/1.1 204 No Content\r\n\r\n";
    // By the name that resolves to it, and by the address.
    let (name, _serving) = server(response, b"").await;
    let address = Target::parse(&name.uri().to_string().replace("localhost", "127.0.0.1")).unwrap();
    let guarded = Client::builder().guard([]).build();
    for target in [&name, &address] {
        let error = guarded.get(target, HeaderMap::new()).await.unwrap_err();
        let host = target.host();
        assert!(
            matches!(&error, SendError::Forbidden { host: found } if found == host),
            "{error:?}"
        );
    }
    let loopback = ["127.0.0.0/8", "::1/128"].map(|range| range.parse().unwrap());
    let allowed = Client::builder().guard(loopback).build();
    let response = allowed.get(&name, HeaderMap::new()).await.unwrap();
    assert_eq!(response.status, StatusCode::NO_CONTENT);
}

/// Strings that are not HTTP URLs with a valid host.
const MALFORMED: [&str; 30] = [
    "",
    "/",
    "//host/",
    "host",
    "file:///etc/passwd",
    "gopher://127.0.0.1:6379/_INFO",
    "ftp://127.0.0.1/",
    "dict://127.0.0.1:11211/stat",
    "javascript:alert(1)",
    "data:text/plain,x",
    "ldap://127.0.0.1/",
    "jar:http://127.0.0.1!/",
    "http:",
    "http:/127.0.0.1/",
    "http:///",
    "http://",
    "http://:80/",
    "http://127.0.0.1:0/",
    "http://127.0.0.1:65536/",
    "http://127.0.0.1:x/",
    "http://127.0.0.1:/",
    "http://user@127.0.0.1/",
    "http://user:pw@example.com/",
    "http://example.com@127.0.0.1/",
    "http://127.0.0.1\\@example.com/",
    "http://127.0.0.1 /",
    "http://127.0.0.1\n/",
    "http://127.0.0.1\r\nhost: x/",
    "http://127.0.0.1\t/",
    "http://[::1]x/",
];

/// Spellings of internal hosts, and the address that each has if it is a valid host.
const INTERNAL: [(&str, Option<&str>); 100] = [
    // Loopback, as IPv4.
    ("127.0.0.1", Some("127.0.0.1")),
    ("127.255.255.254", Some("127.255.255.254")),
    ("127.0.0.1.", None),
    ("127.1", None),
    ("127.0.1", None),
    ("127.0.0.1.1", None),
    ("127", None),
    ("2130706433", None),
    ("2130706433.", None),
    ("0x7f000001", None),
    ("0X7F000001", None),
    ("0x7f.0x0.0x0.0x1", None),
    ("0x7f.1", None),
    ("0x7f.0.0.1", None),
    ("127.0.0.0x1", None),
    ("0177.0.0.1", None),
    ("0177.0.0.01", None),
    ("00177.0.0.1", None),
    ("017700000001", None),
    ("127.0.0.01", None),
    ("127.0.0.001", None),
    ("127.0.0.256", None),
    ("127.0.0.-1", None),
    ("127..0.1", None),
    ("0", None),
    ("0x", None),
    ("0x0", None),
    ("00", None),
    ("0.0.0.0", Some("0.0.0.0")),
    ("255.255.255.255", Some("255.255.255.255")),
    // IPv4 in brackets.
    ("[127.0.0.1]", None),
    ("[169.254.169.254]", None),
    ("[10.0.0.1]", None),
    ("[0.0.0.0]", None),
    ("[0x7f000001]", None),
    ("[localhost]", None),
    ("[]", None),
    ("[[::1]]", None),
    ("[::1", None),
    ("::1]", None),
    ("::1", None),
    // Loopback, as IPv6.
    ("[::1]", Some("::1")),
    ("[::]", Some("::")),
    ("[0:0:0:0:0:0:0:1]", Some("::1")),
    ("[0000:0000:0000:0000:0000:0000:0000:0001]", Some("::1")),
    ("[::0001]", Some("::1")),
    ("[::0.0.0.1]", Some("::1")),
    ("[::00001]", None),
    ("[::1.]", None),
    ("[::1%1]", None),
    ("[::1%251]", None),
    ("[::1%25lo]", None),
    ("[fe80::1%25eth0]", None),
    ("[v1.127.0.0.1]", None),
    // IPv4 in IPv6.
    ("[::ffff:127.0.0.1]", Some("::ffff:127.0.0.1")),
    ("[::FFFF:127.0.0.1]", Some("::ffff:127.0.0.1")),
    ("[::ffff:7f00:1]", Some("::ffff:127.0.0.1")),
    ("[0:0:0:0:0:ffff:7f00:0001]", Some("::ffff:127.0.0.1")),
    ("[::ffff:127.1]", None),
    ("[::ffff:0177.0.0.1]", None),
    ("[::127.0.0.1]", Some("::127.0.0.1")),
    ("[::ffff:0:127.0.0.1]", Some("::ffff:0:127.0.0.1")),
    ("[64:ff9b::127.0.0.1]", Some("64:ff9b::127.0.0.1")),
    ("[64:ff9b::7f00:1]", Some("64:ff9b::7f00:1")),
    ("[64:ff9b:1::a9fe:a9fe]", Some("64:ff9b:1::a9fe:a9fe")),
    ("[2002:7f00:1::]", Some("2002:7f00:1::")),
    ("[2002:a9fe:a9fe::1]", Some("2002:a9fe:a9fe::1")),
    ("[2001:0:a9fe:a9fe::]", Some("2001:0:a9fe:a9fe::")),
    // Metadata services.
    ("169.254.169.254", Some("169.254.169.254")),
    ("2852039166", None),
    ("0xa9fea9fe", None),
    ("0251.0376.0251.0376", None),
    ("169.254.43518", None),
    ("[::ffff:a9fe:a9fe]", Some("::ffff:169.254.169.254")),
    ("[::a9fe:a9fe]", Some("::169.254.169.254")),
    ("[64:ff9b::a9fe:a9fe]", Some("64:ff9b::a9fe:a9fe")),
    ("[fd00:ec2::254]", Some("fd00:ec2::254")),
    ("[FD00:EC2::23]", Some("fd00:ec2::23")),
    ("[fd20:ce::254]", Some("fd20:ce::254")),
    ("100.100.100.200", Some("100.100.100.200")),
    ("168.63.129.16", Some("168.63.129.16")),
    ("192.0.0.192", Some("192.0.0.192")),
    ("169.254.170.2", Some("169.254.170.2")),
    // Private networks.
    ("10.0.0.1", Some("10.0.0.1")),
    ("172.31.255.255", Some("172.31.255.255")),
    ("192.168.0.1", Some("192.168.0.1")),
    ("100.64.0.1", Some("100.64.0.1")),
    ("[fe80::1]", Some("fe80::1")),
    ("[fc00::1]", Some("fc00::1")),
    ("[ff02::1]", Some("ff02::1")),
    // Names that resolve to internal addresses.
    ("localhost", Some("127.0.0.1")),
    ("LOCALHOST", Some("127.0.0.1")),
    ("localhost.", Some("127.0.0.1")),
    ("localhost..", None),
    ("metadata.google.internal", Some("169.254.169.254")),
    ("Metadata.Google.Internal.", Some("169.254.169.254")),
    ("127.0.0.1.nip.example", Some("127.0.0.1")),
    ("metadata", Some("169.254.169.254")),
    ("instance-data", Some("169.254.169.254")),
    ("kubernetes.default.svc", Some("10.96.0.1")),
];

/// Spellings of a host with characters that no URL has.
const UNPRINTABLE: [&str; 18] = [
    "\u{ff11}\u{ff12}\u{ff17}.0.0.1",
    "127\u{3002}0\u{3002}0\u{3002}1",
    "127\u{ff0e}0\u{ff0e}0\u{ff0e}1",
    "127\u{ff61}0\u{ff61}0\u{ff61}1",
    "①②⑦.0.0.1",
    "١٢٧.0.0.1",
    "ⓛocalhost",
    "loc\u{ad}alhost",
    "localhost\u{200b}",
    "%31%32%37.0.0.1",
    "127.0.0.1%00",
    "127.0.0.1%2f",
    "127.0.0.1%23",
    "127.0.0.1%2eexample.com",
    "localhost%2e",
    "%6cocalhost",
    "example.com%40127.0.0.1",
    "[%3a%3a1]",
];

/// Resolves names without a network, and records the addresses to connect to.
#[derive(Default)]
struct Recorder {
    connected: Mutex<Vec<SocketAddr>>,
}

impl Network for Recorder {
    fn resolve(&self, name: &str) -> BoxFuture<io::Result<Vec<IpAddr>>> {
        let name = name.to_lowercase();
        let address = match name.trim_end_matches('.') {
            "localhost" | "127.0.0.1.nip.example" => "127.0.0.1",
            "metadata.google.internal" | "metadata" | "instance-data" => "169.254.169.254",
            "kubernetes.default.svc" => "10.96.0.1",
            "example.com" => "1.1.1.1",
            name => panic!("{name} is resolved"),
        };
        Box::pin(ready(Ok(vec![address.parse().unwrap()])))
    }

    fn connect(&self, found: Vec<SocketAddr>) -> BoxFuture<Result<TokioIo<TcpStream>, BoxError>> {
        self.connected.lock().unwrap().extend(found);
        Box::pin(ready(Err("not connected".into())))
    }
}

impl Recorder {
    /// Sends a request. Returns its error and the address of the connection.
    async fn send(self: &Arc<Self>, client: ClientBuilder, url: &str) -> Sent {
        let Ok(target) = Target::parse(url) else {
            return Sent::Unparsed;
        };
        let client = client.build_on(Arc::clone(self) as _);
        let error = client.get(&target, HeaderMap::new()).await.unwrap_err();
        let connected = std::mem::take(&mut *self.connected.lock().unwrap());
        match (&error, &connected[..]) {
            (SendError::Forbidden { .. }, []) => Sent::Forbidden,
            (SendError::Connection { .. }, [address]) => Sent::Connected(*address),
            _ => panic!("{url}: {error:?}, {connected:?}"),
        }
    }
}

#[derive(Debug, PartialEq)]
enum Sent {
    Unparsed,
    Forbidden,
    Connected(SocketAddr),
}

#[tokio::test]
async fn no_spelling_of_an_internal_host_passes_the_guard() {
    let recorder = Arc::new(Recorder::default());
    let guarded = || Client::builder().guard([]);
    for (host, address) in INTERNAL {
        for (scheme, port) in [("http", 80), ("https", 443), ("HTTP", 6379)] {
            let url = match port {
                6379 => format!("{scheme}://{host}:{port}/x?y#z"),
                _ => format!("{scheme}://{host}/"),
            };
            let address = address.map(|address| address.parse().unwrap());
            let expected = address.map_or(Sent::Unparsed, |_| Sent::Forbidden);
            assert_eq!(recorder.send(guarded(), &url).await, expected, "{url}");
            // A trusting client connects to the parsed address.
            let expected = address.map_or(Sent::Unparsed, |address| {
                Sent::Connected(SocketAddr::new(address, port))
            });
            let sent = recorder.send(Client::builder(), &url).await;
            assert_eq!(sent, expected, "{url}");
        }
    }
    for host in UNPRINTABLE {
        let url = format!("http://{host}/");
        assert_eq!(
            recorder.send(guarded(), &url).await,
            Sent::Unparsed,
            "{url}"
        );
    }
    for url in MALFORMED {
        assert_eq!(recorder.send(guarded(), url).await, Sent::Unparsed, "{url}");
    }
    let public = recorder.send(guarded(), "https://example.com/").await;
    assert_eq!(public, Sent::Connected("1.1.1.1:443".parse().unwrap()));
}

#[tokio::test]
async fn a_guarded_client_checks_the_address_of_each_connection() {
    // The URI of a connection that no `Target` has checked.
    let recorder = Arc::new(Recorder::default());
    let policy = Arc::new(Policy::Guarded(Vec::new()));
    let mut connector = Connector::new(policy, Arc::clone(&recorder) as _);
    for uri in ["http://[127.0.0.1]/", "http://127.1/", "http://[::1]/"] {
        let error = connector.call(uri.parse().unwrap()).await.unwrap_err();
        assert!(error.is::<Forbidden>(), "{uri}: {error}");
    }
    assert!(recorder.connected.lock().unwrap().is_empty());
}

#[test]
fn types_can_be_shared() {
    fn check<T: Send + Sync + fmt::Debug + 'static>() {}
    check::<(Client, ClientBuilder, Response, Target, Cidr, SendError)>();
}
