use std::process::Command;

use campanile_tests::{Process, example, get};
use http::StatusCode;

#[test]
fn layers_only_shows_its_metrics() {
    let output = Command::new(example("layers_only")).output().unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.contains(r#"/hello -> 200 OK, "example", b"hello, example""#),
        "{text}"
    );
    assert!(
        text.contains(r#"http_requests_total{endpoint="/hello",method="GET",status_code="200"} 2"#),
        "{text}"
    );
    assert!(
        text.contains(
            r#"http_requests_total{endpoint="_unmatched_",method="GET",status_code="404"} 1"#
        ),
        "{text}"
    );
}

#[test]
fn tonic_counts_calls_by_method() {
    let output = Command::new(example("tonic")).output().unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    let counted: Vec<_> = text
        .lines()
        .filter(|line| line.starts_with("http_requests_"))
        .collect();
    assert_eq!(
        counted,
        [
            r#"http_requests_abnormal_total{endpoint="/grpc.health.v1.Health/Watch",method="POST",outcome="cancelled"} 1"#,
            "http_requests_in_flight 0",
            r#"http_requests_total{endpoint="/grpc.health.v1.Health/Check",method="POST",status_code="200"} 3"#,
            r#"http_requests_total{endpoint="/grpc.health.v1.Health/Watch",method="POST",status_code="200"} 1"#,
        ]
    );
}

#[tokio::test]
async fn hyper_serves_its_metrics() {
    let mut process =
        Process::start(Command::new(example("hyper")).env("CAMPANILE_ADDR", "127.0.0.1:0"));
    let line = process.line_with("http://");
    let address = line
        .trim()
        .trim_start_matches("http://")
        .trim_end_matches("/metrics")
        .parse()
        .unwrap();
    assert_eq!(
        get(address, "/").await.unwrap(),
        (StatusCode::OK, "hello\n".to_owned())
    );
    assert_eq!(
        get(address, "/nothing").await.unwrap().0,
        StatusCode::NOT_FOUND
    );
    let (status, page) = get(address, "/metrics").await.unwrap();
    assert_eq!(status, StatusCode::OK);
    let counted: Vec<_> = page
        .lines()
        .filter(|line| line.starts_with("http_requests_total"))
        .collect();
    assert_eq!(
        counted,
        [
            r#"http_requests_total{endpoint="/",method="GET",status_code="200"} 1"#,
            r#"http_requests_total{endpoint="_unmatched_",method="GET",status_code="404"} 1"#,
        ]
    );
}
