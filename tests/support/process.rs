use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};

use rustix::process::{Pid, Signal, kill_process};

/// A program that runs until it is dropped, and is then killed (`kill -9`).
#[derive(Debug)]
pub struct Process {
    child: Child,
    stdout: Option<BufReader<ChildStdout>>,
}

impl Process {
    /// Starts a program.
    ///
    /// # Panics
    ///
    /// If it can't be started.
    pub fn start(command: &mut Command) -> Self {
        Self::start_with(command, Stdio::null())
    }

    /// Starts a program that ends with its standard input, which is open until it is dropped.
    ///
    /// # Panics
    ///
    /// If it can't be started.
    pub fn start_with_input(command: &mut Command) -> Self {
        Self::start_with(command, Stdio::piped())
    }

    fn start_with(command: &mut Command, input: Stdio) -> Self {
        let mut child = command
            .stdin(input)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let stdout = child.stdout.take().map(BufReader::new);
        Self { child, stdout }
    }

    /// Waits for a line of its standard output that has `text` in it, and returns the line.
    ///
    /// # Panics
    ///
    /// If the program ends before.
    pub fn line_with(&mut self, text: &str) -> String {
        loop {
            let mut line = String::new();
            let stdout = self.stdout.as_mut().unwrap();
            let read = stdout.read_line(&mut line).unwrap();
            assert_ne!(read, 0, "the program ended before it printed {text:?}");
            if line.contains(text) {
                return line;
            }
        }
    }

    /// Takes the rest of its standard output, for a thread that reads it.
    ///
    /// # Panics
    ///
    /// If it was taken before.
    pub fn take_output(&mut self) -> BufReader<ChildStdout> {
        self.stdout.take().unwrap()
    }

    /// Sends SIGTERM and waits for the program to end.
    ///
    /// # Panics
    ///
    /// If it can't be sent.
    pub fn terminate(mut self) -> ExitStatus {
        self.signal_to_terminate();
        self.child.wait().unwrap()
    }

    /// Sends SIGINT and waits for the program to end.
    ///
    /// # Panics
    ///
    /// If it can't be sent.
    pub fn interrupt(mut self) -> ExitStatus {
        kill_process(Pid::from_child(&self.child), Signal::INT).unwrap();
        self.child.wait().unwrap()
    }

    /// Returns the number of the process.
    ///
    /// # Panics
    ///
    /// If the system has larger ones than there are.
    pub fn id(&self) -> i32 {
        self.child.id().try_into().unwrap()
    }

    /// Sends SIGTERM.
    ///
    /// # Panics
    ///
    /// If it can't be sent.
    pub fn signal_to_terminate(&self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Finds a program on `PATH`.
///
/// # Panics
///
/// If it is not there, with a line that says how to get it.
pub fn find(program: &str, package: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|file| file.is_file());
    found.unwrap_or_else(|| {
        panic!("`{program}` is not on PATH: run `tests/run peers`, or `apt-get install {package}`, or skip it with `CAMPANILE_SKIP_PEERS=1 tests/run`")
    })
}

/// Finds a program in the virtual environment of Python that `tests/run` makes.
///
/// # Panics
///
/// If it is not there, with a line that says how to get it.
pub fn find_in_venv(program: &str) -> PathBuf {
    // target/debug/deps/external-0123456789abcdef
    let own = std::env::current_exe().unwrap();
    let target = own.ancestors().nth(3).unwrap();
    let file = target.join("venv").join(program);
    assert!(
        file.is_file(),
        "{} is missing: run `tests/run peers`, or skip it with `CAMPANILE_SKIP_PEERS=1 tests/run`",
        file.display()
    );
    file
}

/// Returns the program of one of our examples, as it was built with the tests.
///
/// # Panics
///
/// If it was not built.
pub fn example(name: &str) -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let file = own.ancestors().nth(2).unwrap().join("examples").join(name);
    assert!(
        file.is_file(),
        "{} is missing: run `cargo build --workspace --examples`",
        file.display()
    );
    file
}

/// Returns a port of 127.0.0.1 on which nothing listens, for a program that can't choose a port.
///
/// It is below the ports that the system gives to clients, so that no client takes it meanwhile.
///
/// # Panics
///
/// If there is none.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = 20_000 + (std::process::id() % 10_000) as u16;
    let mut ports = (0..1_000).map(|_| start + NEXT.fetch_add(1, Ordering::Relaxed));
    ports
        .find(|&port| TcpListener::bind(("127.0.0.1", port)).is_ok())
        .unwrap()
}
