use std::time::{Duration, UNIX_EPOCH};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::Severity;

fn notification(event: AlertEvent) -> Notification {
    Notification {
        event,
        rule: "HighErrorRate".into(),
        severity: Severity::High,
        labels: LabelSet::new([("alertname", "HighErrorRate"), ("severity", "high")]).unwrap(),
        annotations: [("summary".to_owned(), "a \"bad\"\n day".to_owned())].into(),
        active_at: UNIX_EPOCH + Duration::from_millis(1_700_000_000_123),
        starts_at: UNIX_EPOCH + Duration::from_millis(1_700_000_000_123),
        ends_at: (event == AlertEvent::Resolved)
            .then_some(UNIX_EPOCH + Duration::from_secs(1_700_000_100)),
        value: 0.25,
    }
}

/// Serves one request and returns it.
async fn post(notification: &Notification, response: &str) -> (Result<(), ChannelError>, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hooks/s3cr3t", listener.local_addr().unwrap());
    let webhook = Webhook::alertmanager("ops", url);
    let serve = async {
        let mut stream = listener.accept().await.unwrap().0;
        let mut request = Vec::new();
        while !request.ends_with(b"}}") {
            let mut part = [0; 4_096];
            let read = stream.read(&mut part).await.unwrap();
            assert!(read > 0, "the request ended early");
            request.extend_from_slice(&part[..read]);
        }
        stream.write_all(response.as_bytes()).await.unwrap();
        String::from_utf8(request).unwrap()
    };
    tokio::join!(webhook.send(notification), serve)
}

#[tokio::test]
async fn the_body_is_alertmanagers() {
    let ok = "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
    let resolved = notification(AlertEvent::Resolved);
    let (result, request) = post(&resolved, ok).await;
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

    let (_, request) = post(
        &Notification {
            value: f64::NAN,
            ..notification(AlertEvent::Firing)
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
async fn a_rejection_does_not_reveal_the_url() {
    let (result, _) = post(
        &notification(AlertEvent::Firing),
        "HTTP/1.1 302 Found\r\nlocation: /x\r\ncontent-length: 0\r\n\r\n",
    )
    .await;
    assert_eq!(
        result,
        Err(ChannelError::Rejected {
            reason: "response status 302 Found".into()
        })
    );
    let webhook = Webhook::alertmanager("ops", "http://127.0.0.1:1/s3cr3t");
    let error = webhook
        .send(&notification(AlertEvent::Firing))
        .await
        .unwrap_err();
    assert!(
        matches!(error, ChannelError::Retry { after: None, .. }),
        "{error:?}"
    );
    let shown = format!("{webhook:?} {error} {error:?}");
    assert!(!shown.contains("s3cr3t"), "{shown}");
    let bad = Webhook::alertmanager("ops", "file:///s3cr3t");
    assert!(bad.check().is_err());
    assert!(matches!(
        bad.send(&notification(AlertEvent::Firing)).await,
        Err(ChannelError::Rejected { .. })
    ));
}

#[test]
fn statuses_map_to_outcomes() {
    let check = |statuses: &[u16], expected: &str| {
        for status in statuses {
            let word = match judge(StatusCode::from_u16(*status).unwrap(), &HeaderMap::new()) {
                Ok(()) => "arrived",
                Err(ChannelError::Retry { after: None, .. }) => "retry",
                Err(ChannelError::Rejected { .. }) => "rejected",
                other => panic!("{other:?}"),
            };
            assert_eq!(word, expected, "{status}");
        }
    };
    check(&[200, 201, 202, 204, 299], "arrived");
    check(&[408, 425, 429, 500, 502, 503, 504, 599, 999], "retry");
    check(
        &[301, 302, 307, 400, 401, 403, 404, 410, 413, 422],
        "rejected",
    );
}
