use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};

use rustix::process::{Pid, Resource, getrlimit, prlimit};

use super::*;

const PATH: &str = "CAMPANILE_TEST_FILLER";

/// Writes one number after the other, each until it is acknowledged, and says what comes of it. It is the child of the test
/// below.
#[tokio::test]
#[ignore = "runs for ever, as the child of another test"]
async fn filler() {
    let store = Redb::open(std::env::var_os(PATH).unwrap()).unwrap();
    let mut out = std::io::stdout().lock();
    let mut number = 1;
    loop {
        let mut batch = Batch::new();
        batch.put("n", format!("{number:06}"), vec![b'x'; 16 << 10]);
        let committed = store.commit(batch).await;
        let error = store.status().error;
        assert_eq!(
            committed.is_ok(),
            error.is_none(),
            "{committed:?}, {error:?}"
        );
        match committed {
            Ok(()) => {
                writeln!(out, "wrote {number}").unwrap();
                number += 1;
            }
            Err(error) => {
                writeln!(out, "failed {number}: {error}").unwrap();
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        out.flush().unwrap();
    }
}

/// To the process, the limit on the size of its files is as a disk that is full, and a limit that is raised one that is not
/// any more.
#[tokio::test]
async fn a_full_disk_loses_no_acknowledged_write() {
    let folder = TempDir::new().unwrap();
    let child = Command::new("sh")
        .args(["-c", r#"trap "" XFSZ; ulimit -S -f 4096; exec "$0" "$@""#])
        .arg(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "redb::tests::full::filler",
            "--ignored",
            "--nocapture",
        ])
        .env(PATH, path(&folder))
        .stdout(Stdio::piped())
        .spawn();
    let mut child = child.unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut lines = lines.map_while(Result::ok);
    let (mut acknowledged, mut refused) = (0, 0);
    while refused < 3 {
        let line = lines.next().expect("the child ended");
        if let Some((_, number)) = line.split_once("wrote ") {
            assert_eq!(refused, 0, "it wrote to a full disk: {line}");
            acknowledged = number.parse().unwrap();
        }
        refused += u64::from(line.contains("failed "));
    }
    assert!(
        acknowledged > 10,
        "only {acknowledged} before the disk was full"
    );
    let limit = getrlimit(Resource::Fsize);
    prlimit(Some(Pid::from_child(&child)), Resource::Fsize, limit).unwrap();
    // It is opened again 5 s after the failure.
    let after = acknowledged + 50;
    while acknowledged < after {
        let line = lines.next().expect("the child ended");
        if let Some((_, number)) = line.split_once("wrote ") {
            let number = number.parse().unwrap();
            assert_eq!(number, acknowledged + 1);
            acknowledged = number;
        }
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let store = Redb::open(path(&folder)).unwrap();
    assert_eq!(store.status(), Status::new(true));
    let records = store.scan("n", None, 10_000).await.unwrap();
    assert!(records.len() as u64 >= acknowledged);
    assert!(
        records
            .iter()
            .all(|record| record.value == [b'x'; 16 << 10])
    );
    assert_eq!(aside(&folder), Vec::<PathBuf>::new());
}
