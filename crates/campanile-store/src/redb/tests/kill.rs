use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};

use super::*;

const PATH: &str = "CAMPANILE_TEST_WRITER";

/// Writes to the file and says what it has written, until it is killed. It is the child of the test below.
#[tokio::test]
#[ignore = "runs for ever, as the child of another test"]
async fn writer() {
    let path = PathBuf::from(std::env::var_os(PATH).unwrap());
    let store = Redb::open(path).unwrap();
    let last = store.get("t", "last").await.unwrap();
    let last = last.map_or(0, |last| String::from_utf8(last).unwrap().parse().unwrap());
    let mut out = std::io::stdout().lock();
    for number in last + 1..u64::MAX {
        let mut batch = Batch::new();
        batch.put("n", format!("{number:012}"), "x".repeat(50));
        if number > 1_000 {
            batch.delete("n", format!("{:012}", number - 1_000));
        }
        batch
            .put("t", "last", number.to_string())
            .append(number.to_string());
        store.commit(batch).await.unwrap();
        writeln!(out, "wrote {number}").unwrap();
        out.flush().unwrap();
    }
}

fn start(path: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "redb::tests::kill::writer",
            "--ignored",
            "--nocapture",
        ])
        .env(PATH, path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// `kill -9` at random moments, among them the recovery from the kill before.
#[tokio::test]
async fn acknowledged_writes_survive_a_kill() {
    let folder = TempDir::new().unwrap();
    let kills = std::env::var("CAMPANILE_LONG").map_or(60, |_| 1_000);
    let mut random = fastrand::Rng::with_seed(7);
    let (mut acknowledged, mut written) = (0, 0);
    for kill in 0..kills {
        let mut child = start(&path(&folder));
        let lifetime = if kill % 5 == 0 { 1..10 } else { 10..65 };
        thread::park_timeout(Duration::from_millis(random.u64(lifetime)));
        child.kill().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let numbers = lines
            .map_while(Result::ok)
            .filter_map(|line| line.split_once("wrote ")?.1.parse::<u64>().ok());
        acknowledged = numbers.last().unwrap_or(acknowledged);
        child.wait().unwrap();
        // Every other time the next child recovers the file itself.
        if kill % 2 == 0 {
            continue;
        }
        let store = Redb::open(path(&folder)).unwrap();
        assert_eq!(store.status(), Status::new(true));
        let last = store.get("t", "last").await.unwrap();
        written = last.map_or(0, |last| String::from_utf8(last).unwrap().parse().unwrap());
        assert!(
            written >= acknowledged,
            "{acknowledged} was acknowledged, {written} is there"
        );
        let records = store.scan("n", None, 2_000).await.unwrap();
        let first = written.saturating_sub(999).max(1);
        let keys = (first..=written).map(|number| format!("{number:012}"));
        assert!(
            records
                .iter()
                .map(|record| &record.key)
                .eq(&keys.collect::<Vec<_>>())
        );
        let entries = store.journal(first - 1, 2_000).await.unwrap();
        assert!(
            entries
                .iter()
                .map(|entry| entry.sequence)
                .eq(first..=written)
        );
        drop(store);
        drop(database(&path(&folder)));
    }
    assert_eq!(aside(&folder), Vec::<PathBuf>::new());
    // How many depends on the machine.
    assert!(written > 20, "only {written} were written");
}

/// A file that was never finished is no file, and not a corrupt one.
#[tokio::test]
async fn a_kill_during_creation_leaves_no_corrupt_file() {
    let mut random = fastrand::Rng::with_seed(8);
    for _ in 0..100 {
        let folder = TempDir::new().unwrap();
        let mut child = start(&path(&folder));
        thread::park_timeout(Duration::from_micros(random.u64(500..12_000)));
        child.kill().unwrap();
        child.wait().unwrap();
        let store = Redb::open(path(&folder)).unwrap();
        assert_eq!(store.status(), Status::new(true));
        assert_eq!(aside(&folder), Vec::<PathBuf>::new());
    }
}
