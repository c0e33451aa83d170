#[cfg(feature = "tls")]
use crate::Value;
use crate::outcome::Level;

use super::*;

#[test]
fn values_are_compared_with_bounds() {
    let upper = Bounds::at_most(80.0, 90.0);
    let lower = Bounds::at_least(30.0, 7.0);
    for (bounds, value, level) in [
        (upper, 80.0, Level::Healthy),
        (upper, 80.1, Level::Degraded),
        (upper, 90.0, Level::Degraded),
        (upper, 90.1, Level::Unhealthy),
        (upper, f64::INFINITY, Level::Unhealthy),
        (lower, 30.0, Level::Healthy),
        (lower, 29.0, Level::Degraded),
        (lower, 6.0, Level::Unhealthy),
        (lower, f64::NEG_INFINITY, Level::Unhealthy),
        // Not a number.
        (upper, f64::NAN, Level::Unhealthy),
        (lower, f64::NAN, Level::Unhealthy),
    ] {
        assert_eq!(bounds.evaluate(value).level, level, "{bounds:?} {value}");
    }
    let outcome = upper.evaluate(85.5);
    assert_eq!(
        outcome.message.as_deref(),
        Some("value is 85.5: more than 80")
    );
    let outcome = lower.evaluate_as("certificate validity", " d", 5.3);
    assert_eq!(
        outcome.message.as_deref(),
        Some("certificate validity is 5.3 d: less than 7 d")
    );
}

async fn found(check: Check) -> Outcome {
    called(&check).await
}

#[tokio::test]
async fn a_port_is_open_or_closed() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    assert!(found(tcp("a", address.clone())).await.is_healthy());
    drop(listener);
    let outcome = found(tcp("a", address)).await;
    assert!(outcome.message.unwrap().contains("refused"));
    assert!(!found(tcp("a", "no port")).await.is_healthy());
}

#[tokio::test]
async fn a_name_has_addresses_or_not() {
    assert!(found(dns("a", "localhost")).await.is_healthy());
    assert!(!found(dns("a", "no.such.host.invalid")).await.is_healthy());
}

#[cfg(feature = "http")]
#[tokio::test]
async fn a_get_is_answered_well_or_not() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move {
        for status in ["204 No Content", "302 Found", "404 Not Found", "500 Oh"] {
            let mut stream = listener.accept().await.unwrap().0;
            let mut request = [0; 4_096];
            assert!(stream.read(&mut request).await.unwrap() > 0);
            let answer = format!(
                "HTTP/1.1 {status}\r\nlocation: http://elsewhere/\r\ncontent-length: 0\r\n\r\n"
            );
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    let check = http("web", &url).unwrap();
    let mut levels = Vec::new();
    for _ in 0..4 {
        levels.push(called(&check).await.level);
    }
    let (well, failed) = (Level::Healthy, Level::Unhealthy);
    assert_eq!(levels, [well, well, failed, failed]);
    assert!(http("web", "file:///etc/passwd").is_err());
}

#[cfg(all(feature = "system", target_os = "linux"))]
#[tokio::test]
async fn the_system_is_within_bounds_or_not() {
    let (wide, narrow) = (Bounds::at_most(1e9, 1e9), Bounds::at_most(-1.0, -1.0));
    for (well, failed) in [
        (memory("a", wide), memory("a", narrow)),
        (disk("a", "/", wide), disk("a", "/", narrow)),
        (load("a", wide), load("a", narrow)),
        (descriptors("a", wide), descriptors("a", narrow)),
    ] {
        let well = found(well).await;
        assert!(well.is_healthy() && well.details.len() >= 2, "{well:?}");
        let failed = found(failed).await;
        assert_eq!(failed.level, Level::Unhealthy);
        let message = failed.message.unwrap();
        assert!(
            message.contains(" is ") && !message.contains("value"),
            "{message}"
        );
    }
    assert!(!found(disk("a", "/no/such/folder", wide)).await.is_healthy());
    // The first call has no reading to compare with.
    let cpu = cpu("a", narrow);
    assert!(called(&cpu).await.is_healthy());
    let enough = std::time::Duration::from_millis(150);
    let begun = crate::clock::now();
    while begun.elapsed() < enough {
        std::hint::spin_loop();
    }
    assert_eq!(called(&cpu).await.level, Level::Unhealthy);
}

/// Returns a chain of certificates, of which the third one is self-signed, and the first one's key.
#[cfg(feature = "tls")]
fn chain(
    years: &[(i32, i32)],
) -> (
    Vec<rustls::pki_types::CertificateDer<'static>>,
    rcgen::KeyPair,
) {
    use rcgen::{CertificateParams, DnType, Issuer, KeyPair};

    let of = |number: usize| {
        let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        let (begins, ends) = years.get(number).copied().unwrap_or((2_000, 4_000));
        params.not_before = rcgen::date_time_ymd(begins, 1, 1);
        params.not_after = rcgen::date_time_ymd(ends, 1, 1);
        let name = format!("issuer {number}");
        params.distinguished_name.push(DnType::CommonName, name);
        params
    };
    let keys: Vec<_> = (0..=years.len())
        .map(|_| KeyPair::generate().unwrap())
        .collect();
    let certificates = (0..years.len()).map(|number| match number {
        2 => of(2).self_signed(&keys[2]).unwrap(),
        number => {
            let issuer = Issuer::new(of(number + 1), &keys[number + 1]);
            of(number).signed_by(&keys[number], &issuer).unwrap()
        }
    });
    let certificates = certificates.map(|certificate| certificate.der().clone());
    (certificates.collect(), keys.into_iter().next().unwrap())
}

#[cfg(feature = "tls")]
#[tokio::test]
async fn a_certificate_has_days_left() {
    use tokio_rustls::TlsAcceptor;
    use tokio_rustls::rustls::ServerConfig;
    use tokio_rustls::rustls::pki_types::PrivateKeyDer;

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    // The years in which each certificate of a chain begins and ends: the server's first.
    let chains: [&[(i32, i32)]; 5] = [
        &[(2_000, 2_020)],
        &[(2_000, 4_000)],
        &[(2_000, 4_000), (2_000, 2_020)],
        &[(2_000, 4_000), (3_000, 4_000)],
        // A root, which is its own issuer.
        &[(2_000, 4_000), (2_000, 3_000), (2_000, 2_020)],
    ];
    tokio::spawn(async move {
        for years in chains {
            let (chain, key) = chain(years);
            let provider = rustls::crypto::ring::default_provider();
            let config = ServerConfig::builder_with_provider(std::sync::Arc::new(provider))
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_no_client_auth();
            let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
            let config = config.with_single_cert(chain, key).unwrap();
            let acceptor = TlsAcceptor::from(std::sync::Arc::new(config));
            let stream = listener.accept().await.unwrap().0;
            drop(acceptor.accept(stream).await);
        }
    });
    let bounds = Bounds::at_least(30.0, 7.0);
    let check = certificate("a", &address, bounds).unwrap();
    let ended = called(&check).await;
    assert_eq!(ended.level, Level::Unhealthy);
    let message = ended.message.unwrap();
    assert!(
        message.starts_with("certificate validity is -"),
        "{message}"
    );
    assert!(called(&check).await.is_healthy());
    let ended = called(&check).await;
    assert_eq!(ended.level, Level::Unhealthy);
    let subject = ("ends_first".into(), Value::from("CN=issuer 1"));
    assert!(ended.details.contains(&subject), "{ended:?}");
    let early = called(&check).await;
    assert_eq!(early.level, Level::Unhealthy);
    assert!(
        early
            .message
            .unwrap()
            .starts_with("a certificate becomes valid in")
    );
    assert!(called(&check).await.is_healthy());
    for address in [
        "localhost",
        "localhost:",
        "localhost:65536",
        "a b:443",
        ":443",
    ] {
        let error = certificate("a", address, bounds).unwrap_err();
        assert!(error.to_string().contains(address), "{error}");
    }
}
