//! Headers of shuffled pieces of valid headers: nothing panics, and each accepted value is valid
//! and survives a round trip.

use campanile_correlation::{Baggage, CorrelationId, TraceParent, TraceState};
use fastrand::Rng;

const ROUNDS: usize = 30_000;

fn text(rng: &mut Rng, pieces: &[&str]) -> String {
    let count = rng.usize(..12);
    (0..count)
        .map(|_| pieces[rng.usize(..pieces.len())])
        .collect()
}

#[test]
fn trace_parents() {
    let mut rng = Rng::with_seed(1);
    let pieces = [
        "00",
        "-",
        "ff",
        "cc",
        "0af7651916cd43dd8448eb211c80319c",
        "b7ad6b7169203331",
        "01",
        "0000000000000000",
        " ",
        "é",
        "A",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-03",
    ];
    let mut valid = 0;
    for _ in 0..ROUNDS {
        let text = text(&mut rng, &pieces);
        if let Ok(parent) = text.parse::<TraceParent>() {
            valid += 1;
            let shown = parent.to_string();
            assert_eq!(shown.parse(), Ok(parent), "{text:?}");
            assert_eq!(shown.len(), 55);
            assert_eq!(shown[3..52], text[3..52]);
        }
    }
    assert!(valid > 50, "{valid}");
}

#[test]
fn trace_states() {
    let mut rng = Rng::with_seed(2);
    let pieces = [
        "a", "k1", "=", "=1", ",", " ", "\t", "@", "v", "A", "é", "\0", "a=1,", "b=2", "==",
    ];
    let mut valid = 0;
    for _ in 0..ROUNDS {
        let lines = [text(&mut rng, &pieces), text(&mut rng, &pieces)];
        let parsed = TraceState::parse(lines.iter().map(String::as_bytes));
        if let Ok(state) = parsed {
            valid += usize::from(!state.is_empty());
            let again = TraceState::parse([state.as_str().as_bytes()]);
            assert_eq!(again.as_ref(), Ok(&state), "{lines:?}");
            let mut keys: Vec<_> = state.iter().map(|(key, _)| key).collect();
            keys.sort_unstable();
            keys.dedup();
            assert_eq!(keys.len(), state.iter().count(), "{lines:?}");
        }
    }
    assert!(valid > 50, "{valid}");
}

#[test]
fn baggage() {
    let mut rng = Rng::with_seed(3);
    let long = "x".repeat(3_000);
    let pieces = [
        "a",
        "key",
        "=",
        "=1",
        ",",
        ";",
        " ",
        "\t",
        "%",
        "%41",
        "%zz",
        "\"",
        "é",
        "\0",
        "a=1,",
        "b=2;p",
        long.as_str(),
    ];
    let mut members = 0;
    for _ in 0..ROUNDS {
        let lines = [text(&mut rng, &pieces), text(&mut rng, &pieces)];
        let baggage = Baggage::parse(lines.iter().map(String::as_bytes));
        members += baggage.iter().count();
        assert!(baggage.as_str().len() <= 8_192 && baggage.iter().count() <= 64);
        assert!(
            baggage.as_str().bytes().all(|byte| byte.is_ascii_graphic()),
            "{lines:?}"
        );
        assert_eq!(
            Baggage::parse([baggage.as_str().as_bytes()]),
            baggage,
            "{lines:?}"
        );
    }
    assert!(members > 1_000, "{members}");
}

#[test]
fn ids() {
    let mut rng = Rng::with_seed(4);
    let pieces = [
        "a", "0191e9f0", "-", ":", "/", "<", "\r\n", "é", " ", "\0", "=", "ABC",
    ];
    for _ in 0..ROUNDS {
        let text = text(&mut rng, &pieces);
        if let Ok(id) = text.parse::<CorrelationId>() {
            assert_eq!(id.as_str(), text);
            assert!(!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic()));
            assert_eq!(
                TraceParent::from_correlation_id(&id).trace_id(),
                TraceParent::from_correlation_id(&id).trace_id()
            );
        }
    }
}
