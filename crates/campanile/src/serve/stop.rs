use std::future::pending;
use std::io;
use std::time::Duration;

use super::boxed::BoxFuture;

/// The kinds of requests to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signal {
    /// SIGTERM: another instance may take over.
    Terminate,
    /// SIGINT, or the future of the application: the stop is not delayed.
    Now,
}

impl Signal {
    /// Returns how long requests may still arrive.
    pub(super) fn delay(self) -> Duration {
        match self {
            Self::Terminate if cfg!(feature = "health") => Duration::from_secs(5),
            Self::Terminate | Self::Now => Duration::ZERO,
        }
    }
}

/// What stops the server: each wait returns for one more request to stop.
pub(super) enum Stop {
    /// The process's signals.
    Signals(Signals),
    /// The application's future, until it has completed.
    When(Option<BoxFuture<()>>),
}

impl Stop {
    pub(super) fn signals() -> io::Result<Self> {
        Signals::new().map(Self::Signals)
    }

    pub(super) async fn wait(&mut self) -> Signal {
        match self {
            Self::Signals(signals) => return signals.recv().await,
            Self::When(Some(shutdown)) => {
                shutdown.await;
                *self = Self::When(None);
            }
            Self::When(None) => pending().await,
        }
        Signal::Now
    }
}

#[cfg(unix)]
pub(super) struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};

        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn recv(&mut self) -> Signal {
        tokio::select! {
            _ = self.terminate.recv() => Signal::Terminate,
            _ = self.interrupt.recv() => Signal::Now,
        }
    }
}

/// The console's control events: `docker stop` and services send a close or a shutdown.
#[cfg(windows)]
pub(super) struct Signals {
    ctrl_c: tokio::signal::windows::CtrlC,
    ctrl_break: tokio::signal::windows::CtrlBreak,
    close: tokio::signal::windows::CtrlClose,
    shutdown: tokio::signal::windows::CtrlShutdown,
}

#[cfg(windows)]
impl Signals {
    fn new() -> io::Result<Self> {
        use tokio::signal::windows;

        Ok(Self {
            ctrl_c: windows::ctrl_c()?,
            ctrl_break: windows::ctrl_break()?,
            close: windows::ctrl_close()?,
            shutdown: windows::ctrl_shutdown()?,
        })
    }

    async fn recv(&mut self) -> Signal {
        tokio::select! {
            _ = self.close.recv() => Signal::Terminate,
            _ = self.shutdown.recv() => Signal::Terminate,
            _ = self.ctrl_c.recv() => Signal::Now,
            _ = self.ctrl_break.recv() => Signal::Now,
        }
    }
}

#[cfg(not(any(unix, windows)))]
pub(super) struct Signals;

#[cfg(not(any(unix, windows)))]
impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self)
    }

    async fn recv(&mut self) -> Signal {
        if tokio::signal::ctrl_c().await.is_err() {
            pending().await
        }
        Signal::Now
    }
}
