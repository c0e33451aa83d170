use crate::outcome::Level;

use super::*;

#[test]
fn figures_are_judged_by_their_bounds() {
    let most = Bounds::at_most(80.0, 90.0);
    let least = Bounds::at_least(30.0, 7.0);
    for (bounds, value, level) in [
        (most, 80.0, Level::Healthy),
        (most, 80.1, Level::Degraded),
        (most, 90.0, Level::Degraded),
        (most, 90.1, Level::Unhealthy),
        (most, f64::INFINITY, Level::Unhealthy),
        (least, 30.0, Level::Healthy),
        (least, 29.0, Level::Degraded),
        (least, 6.0, Level::Unhealthy),
        (least, f64::NEG_INFINITY, Level::Unhealthy),
        // Nobody knows.
        (most, f64::NAN, Level::Unhealthy),
        (least, f64::NAN, Level::Unhealthy),
    ] {
        assert_eq!(bounds.judge(value).level, level, "{bounds:?} {value}");
    }
    let outcome = most.judge(85.5);
    assert_eq!(outcome.message.as_deref(), Some("85.5 is more than 80"));
}

async fn found(check: Check) -> Outcome {
    check.run().await.0
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
