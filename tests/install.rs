//! Installing sets the process's recorder, so this test has its own process.

use campanile::health::Check;
use campanile::metrics::Value;
use campanile::{BuildError, Campanile, InstallError};

#[test]
fn the_first_install_takes_the_recorder_and_the_second_says_so() {
    // A mistake leaves the place free.
    let error = Campanile::builder("").install().unwrap_err();
    assert!(
        matches!(&error, InstallError::Build(BuildError { .. })),
        "{error}"
    );

    // So does a problem that is found when the log is there already.
    let check = || Check::new("a", async || Ok::<_, &str>(()));
    let twice = Campanile::builder("first").check(check()).check(check());
    let error = twice.install().unwrap_err();
    assert!(matches!(&error, InstallError::Build(_)), "{error}");

    let campanile = Campanile::builder("first").install().unwrap();
    campanile::counter!("anywhere_total").increment(2);
    std::thread::spawn(|| campanile::counter!("anywhere_total").increment(1))
        .join()
        .unwrap();
    assert_eq!(
        campanile.metrics().get("anywhere_total", &[]),
        Some(Value::Counter(3))
    );

    let error = Campanile::builder("second").install().unwrap_err();
    assert!(matches!(error, InstallError::Recorder(_)));
    assert!(error.to_string().contains("recorder"));
    // The first one writes the log; the second one has no telemetry.
    assert!(campanile.telemetry().is_some());
    let asked = Campanile::builder("third").telemetry(|log| log).install();
    let error = asked.unwrap_err();
    assert!(matches!(error, InstallError::Subscriber), "{error}");
    // A second one beside it is fine, as long as it isn't global.
    let second = Campanile::builder("second").build().unwrap();
    campanile::counter!("anywhere_total").increment(1);
    assert_eq!(second.metrics().get("anywhere_total", &[]), None);
}
