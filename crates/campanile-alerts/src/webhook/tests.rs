use std::time::{Duration, UNIX_EPOCH};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::Severity;

fn notice(event: Event) -> Notice {
    Notice {
        event,
        rule: "HighErrorRate".into(),
        severity: Severity::High,
        labels: Labels::new([("alertname", "HighErrorRate"), ("severity", "high")]).unwrap(),
        annotations: [("summary".to_owned(), "a \"bad\"\n day".to_owned())].into(),
        active_at: UNIX_EPOCH + Duration::from_millis(1_700_000_000_123),
        starts_at: UNIX_EPOCH + Duration::from_millis(1_700_000_000_123),
        ends_at: (event == Event::Resolved)
            .then_some(UNIX_EPOCH + Duration::from_secs(1_700_000_100)),
        value: 0.25,
    }
}

/// Answers one request, and returns it.
async fn exchange(notice: &Notice, answer: &str) -> (Result<(), NotifyError>, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hooks/s3cr3t", listener.local_addr().unwrap());
    let webhook = Webhook::json("ops", url);
    let serve = async {
        let mut stream = listener.accept().await.unwrap().0;
        let mut request = Vec::new();
        while !request.ends_with(b"}}") {
            let mut part = [0; 4_096];
            let read = stream.read(&mut part).await.unwrap();
            assert!(read > 0, "the request ended early");
            request.extend_from_slice(&part[..read]);
        }
        stream.write_all(answer.as_bytes()).await.unwrap();
        String::from_utf8(request).unwrap()
    };
    tokio::join!(webhook.send(notice), serve)
}

#[tokio::test]
async fn the_body_is_alertmanagers() {
    let ok = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
    let resolved = notice(Event::Resolved);
    let (result, request) = exchange(&resolved, ok).await;
    assert_eq!(result, Ok(()));
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    assert!(
        head.starts_with("POST /hooks/s3cr3t HTTP/1.1\r\n"),
        "{head}"
    );
    let fingerprint = resolved.labels.fingerprint();
    let key = format!("{fingerprint}-1700000000123-resolved");
    for line in [
        "content-type: application/json",
        &format!("idempotency-key: {key}"),
        "user-agent: campanile/",
    ] {
        assert!(
            head.contains(&format!("\r\n{line}")),
            "{line} is not in {head}"
        );
    }
    let labels = json!({"alertname": "HighErrorRate", "severity": "high"});
    let annotations = json!({"summary": "a \"bad\"\n day"});
    let expected = json!({
        "version": "4",
        "groupKey": r#"{}:{alertname="HighErrorRate", severity="high"}"#,
        "truncatedAlerts": 0,
        "status": "resolved",
        "receiver": "ops",
        "groupLabels": labels,
        "commonLabels": labels,
        "commonAnnotations": annotations,
        "externalURL": "",
        "alerts": [{
            "status": "resolved",
            "labels": labels,
            "annotations": annotations,
            "startsAt": "2023-11-14T22:13:20.123Z",
            "endsAt": "2023-11-14T22:15:00.000Z",
            "generatorURL": "",
            "fingerprint": fingerprint.to_string(),
        }],
        "campanile": {"key": key, "value": 0.25},
    });
    assert_eq!(serde_json::from_str::<Value>(body).unwrap(), expected);

    let (_, request) = exchange(
        &Notice {
            value: f64::NAN,
            ..notice(Event::Firing)
        },
        ok,
    )
    .await;
    let body: Value = serde_json::from_str(request.split_once("\r\n\r\n").unwrap().1).unwrap();
    assert_eq!(body["alerts"][0]["endsAt"], "0001-01-01T00:00:00Z");
    assert_eq!(
        (&body["status"], &body["campanile"]["value"]),
        (&json!("firing"), &Value::Null)
    );
}

#[tokio::test]
async fn a_refusal_is_told_without_the_secret() {
    let (result, _) = exchange(
        &notice(Event::Firing),
        "HTTP/1.1 302 Found\r\nlocation: /x\r\ncontent-length: 0\r\n\r\n",
    )
    .await;
    assert_eq!(
        result,
        Err(NotifyError::Refused {
            reason: "the answer was 302 Found".into()
        })
    );
    let webhook = Webhook::json("ops", "http://127.0.0.1:1/s3cr3t");
    let error = webhook.send(&notice(Event::Firing)).await.unwrap_err();
    assert!(
        matches!(error, NotifyError::Retry { after: None, .. }),
        "{error:?}"
    );
    let shown = format!("{webhook:?} {error} {error:?}");
    assert!(!shown.contains("s3cr3t"), "{shown}");
    let bad = Webhook::json("ops", "file:///s3cr3t");
    assert!(bad.check().is_err());
    assert!(matches!(
        bad.send(&notice(Event::Firing)).await,
        Err(NotifyError::Refused { .. })
    ));
}

#[test]
fn statuses_are_judged() {
    let check = |statuses: &[u16], expected: &str| {
        for status in statuses {
            let word = match judge(StatusCode::from_u16(*status).unwrap(), &HeaderMap::new()) {
                Ok(()) => "arrived",
                Err(NotifyError::Retry { after: None, .. }) => "retry",
                Err(NotifyError::Refused { .. }) => "refused",
                other => panic!("{other:?}"),
            };
            assert_eq!(word, expected, "{status}");
        }
    };
    check(&[200, 201, 202, 204, 299], "arrived");
    check(&[408, 425, 429, 500, 502, 503, 504, 599, 999], "retry");
    check(
        &[301, 302, 307, 400, 401, 403, 404, 410, 413, 422],
        "refused",
    );
}
