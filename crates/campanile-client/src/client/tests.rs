use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::*;

/// Answers one connection with these bytes, and then with more of them for as long as somebody reads; returns what it was sent.
async fn server(answer: &'static [u8], then: &'static [u8]) -> (Target, JoinHandle<Vec<u8>>) {
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
        stream.write_all(answer).await.unwrap();
        if then.is_empty() {
            // Whatever the client does, it is not this side that ends.
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
async fn a_request_is_sent_and_its_answer_read() {
    let (target, serving) = server(
        b"HTTP/1.1 201 Created\r\nx-a: b\r\ncontent-length: 5\r\n\r\nhello",
        b"",
    )
    .await;
    let mut headers = HeaderMap::new();
    headers.insert("authorization", "Bearer token".try_into().unwrap());
    let answer = Client::new().post(&target, headers, body()).await.unwrap();
    assert_eq!(
        (answer.status, &answer.body[..], answer.is_cut),
        (StatusCode::CREATED, &b"hello"[..], false)
    );
    assert_eq!(answer.headers["x-a"], "b");
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
    let answer =
        b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n";
    let (target, _serving) = server(answer, b"").await;
    let answer = Client::new().get(&target, HeaderMap::new()).await.unwrap();
    assert_eq!(answer.status, StatusCode::FOUND);
}

#[tokio::test]
async fn an_endless_body_is_cut() {
    let (target, serving) = server(b"HTTP/1.1 200 OK\r\n\r\n", &[b'x'; 10_000]).await;
    let answer = Client::new()
        .post(&target, HeaderMap::new(), body())
        .await
        .unwrap();
    assert_eq!(
        (answer.status, answer.body.len(), answer.is_cut),
        (StatusCode::OK, 65_536, true)
    );
    // The connection was closed, or the server would still be writing.
    serving.await.unwrap();
}

#[tokio::test]
async fn a_body_that_never_ends_costs_the_deadline_only() {
    let (target, _serving) =
        server(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf", b"").await;
    let client = Client::builder()
        .timeout(Duration::from_millis(300))
        .build();
    let answer = client
        .post(&target, HeaderMap::new(), body())
        .await
        .unwrap();
    assert_eq!(
        (answer.status, &answer.body[..], answer.is_cut),
        (StatusCode::OK, &b"half"[..], true)
    );
}

#[tokio::test]
async fn what_fails_is_told_without_the_url() {
    let client = Client::builder()
        .timeout(Duration::from_millis(300))
        .build();
    // A head that never ends.
    let (target, _serving) = server(b"HTTP/1.1 200 OK\r\n", b"").await;
    let error = client.get(&target, HeaderMap::new()).await.unwrap_err();
    assert_eq!(
        error,
        SendError::Timeout {
            timeout: Duration::from_millis(300)
        }
    );
    // Something that is no HTTP.
    let (target, _serving) = server(b"SSH-2.0-OpenSSH\r\n", b"").await;
    let garbage = client.get(&target, HeaderMap::new()).await.unwrap_err();
    // Nothing listens.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target =
        Target::parse(&format!("http://{}/s3cr3t", listener.local_addr().unwrap())).unwrap();
    drop(listener);
    let refused = client.get(&target, HeaderMap::new()).await.unwrap_err();
    assert!(refused.to_string().contains("refused"), "{refused}");
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
            !format!("{error} {error:?}").contains("s3cr3t"),
            "{error:?}"
        );
    }
}

#[tokio::test]
async fn a_guarded_client_connects_to_what_is_allowed() {
    let answer = b"HTTP/1.1 204 No Content\r\n\r\n";
    // By the name that resolves to it, and by the address.
    let (name, _serving) = server(answer, b"").await;
    let address = Target::parse(&name.uri().to_string().replace("localhost", "127.0.0.1")).unwrap();
    let guarded = Client::builder().guard([]).build();
    for target in [&name, &address] {
        let error = guarded.get(target, HeaderMap::new()).await.unwrap_err();
        assert_eq!(
            error,
            SendError::Forbidden {
                host: target.host().to_owned()
            }
        );
    }
    for url in [
        "http://[::ffff:7f00:1]/",
        "http://0x7f.1/",
        "http://2130706433/",
        "http://127.1/",
        "http://[::]/",
        "http://0/",
    ] {
        let error = guarded
            .get(&Target::parse(url).unwrap(), HeaderMap::new())
            .await
            .unwrap_err();
        assert!(
            matches!(error, SendError::Forbidden { .. }),
            "{url}: {error}"
        );
    }
    let loopback = ["127.0.0.0/8", "::1/128"].map(|range| range.parse().unwrap());
    let allowed = Client::builder().guard(loopback).build();
    let answer = allowed.get(&name, HeaderMap::new()).await.unwrap();
    assert_eq!(answer.status, StatusCode::NO_CONTENT);
}

/// URLs that somebody may give to a service to make it talk to what only it can reach, or to itself.
const HOSTILE: [&str; 64] = [
    // What is no URL of HTTP.
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
    "http://\u{ff11}27.0.0.1/",
    "http://ⓛocalhost/",
    // Addresses of the machine, in every way that they are written.
    "http://127.0.0.1/",
    "http://127.0.0.1:6379/",
    "http://127.1/",
    "http://127.0.1/",
    "http://2130706433/",
    "http://0x7f000001/",
    "http://0x7f.0.0.1/",
    "http://0177.0.0.1/",
    "http://017700000001/",
    "http://0/",
    "http://0.0.0.0/",
    "http://localhost/",
    "http://LOCALHOST/",
    "http://localhost./",
    "http://[::1]/",
    "http://[::]/",
    "http://[0:0:0:0:0:0:0:1]/",
    "http://[::ffff:127.0.0.1]/",
    "http://[::ffff:7f00:1]/",
    "http://[::127.0.0.1]/",
    "http://[64:ff9b::7f00:1]/",
    "http://[2002:7f00:1::]/",
    // What clouds and networks have for those within.
    "http://169.254.169.254/latest/meta-data/",
    "http://[fd00:ec2::254]/",
    "http://100.100.100.200/",
    "http://192.0.0.192/",
    "http://[::ffff:a9fe:a9fe]/",
    "http://2852039166/",
    "http://10.0.0.1/",
    "http://172.16.0.1/",
    "http://192.168.0.1/",
    "http://100.64.0.1/",
    "http://[fe80::1]/",
    "http://[fc00::1]/",
];

#[tokio::test]
async fn nothing_hostile_is_connected_to() {
    let guarded = Client::builder()
        .guard([])
        .timeout(Duration::from_secs(5))
        .build();
    for url in HOSTILE {
        let Ok(target) = Target::parse(url) else {
            continue;
        };
        let error = guarded.get(&target, HeaderMap::new()).await.unwrap_err();
        // A name that is none on this machine is not looked up in vain.
        let is_name = matches!(error, SendError::Connection { ref reason } if reason.contains("dns") || reason.contains("lookup"));
        assert!(
            matches!(error, SendError::Forbidden { .. }) || is_name,
            "{url}: {error:?}"
        );
    }
    let long = format!("http://example.com/{}", "x".repeat(3_000));
    assert!(Target::parse(&long).is_err());
}

#[test]
fn types_can_be_shared() {
    fn check<T: Send + Sync + fmt::Debug + 'static>() {}
    check::<(Client, ClientBuilder, Answer, Target, Cidr, SendError)>();
}
