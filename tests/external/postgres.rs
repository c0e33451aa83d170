use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use campanile_tests::{Orders, Process, eventually, free_port, get};
use tempfile::TempDir;

/// A PostgreSQL on a free port. It refuses to run as root, so it runs as another user.
pub(crate) struct Postgres {
    folder: TempDir,
    port: u16,
    user: Option<u32>,
}

impl Postgres {
    pub(crate) fn new() -> Self {
        let postgres = Self {
            folder: TempDir::new().unwrap(),
            port: free_port(),
            user: is_root().then(|| id("postgres")),
        };
        std::fs::set_permissions(postgres.folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
        std::fs::create_dir(postgres.data()).unwrap();
        if postgres.user.is_some() {
            chown(postgres.data(), postgres.user, postgres.user).unwrap();
        }
        let output = postgres
            .command("initdb")
            .args([
                "--auth=trust",
                "--no-sync",
                "--username=postgres",
                "--pgdata",
            ])
            .arg(postgres.data())
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        postgres
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub(crate) fn url(&self) -> String {
        format!("postgres://postgres@127.0.0.1:{}/postgres", self.port)
    }

    pub(crate) fn start(&self) -> Process {
        let mut command = self.command("postgres");
        command
            .args([
                "-F",
                "-h",
                "127.0.0.1",
                "-k",
                "",
                "-p",
                &self.port.to_string(),
                "-D",
            ])
            .arg(self.data());
        Process::start(&mut command)
    }

    fn command(&self, program: &str) -> Command {
        let versions = std::fs::read_dir("/usr/lib/postgresql")
            .into_iter()
            .flatten();
        let programs = versions.map(|version| version.unwrap().path().join("bin").join(program));
        let found = programs.filter(|program| program.is_file()).max();
        let found = found.unwrap_or_else(|| {
            panic!("`{program}` is not in /usr/lib/postgresql: run `tests/run peers`, or `apt-get install postgresql`, or skip it with `CAMPANILE_SKIP_PEERS=1 tests/run`")
        });
        let mut command = Command::new(found);
        command.current_dir(self.folder.path());
        if let Some(user) = self.user {
            command.uid(user).gid(user);
        }
        command
    }
}

fn is_root() -> bool {
    id("") == 0
}

/// The number of a user; of the one who runs this, without a name.
fn id(user: &str) -> u32 {
    let user = (!user.is_empty()).then_some(user);
    let output = Command::new("id").arg("-u").args(user).output().unwrap();
    String::from_utf8(output.stdout)
        .unwrap()
        .trim()
        .parse()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readiness_follows_a_database_that_is_stopped_and_started() {
    let postgres = Postgres::new();
    let orders = Orders::start_with(&[("DATABASE_URL", &postgres.url())]);
    let status = async |path| get(orders.address, path).await.unwrap().0.as_u16();
    let ready = async || status("/health/ready").await;
    eventually(503, ready).await;
    for _ in 0..2 {
        let running = postgres.start();
        eventually(200, ready).await;
        assert_eq!(status("/health").await, 200);
        running.interrupt();
        eventually(503, ready).await;
        assert_eq!(status("/health").await, 503);
        assert_eq!(status("/health/live").await, 200);
        // Orders are taken all the same: readiness is for the load balancer.
        orders.order(1, 0).await;
    }
    let (_, details) = orders.json("/health/detailed").await;
    assert_eq!(
        (
            &details["failed_checks"][0],
            details["checks"][0].get("error")
        ),
        (&"postgres".into(), None)
    );
}
