use std::fmt;
use std::panic::resume_unwind;
use std::sync::Arc;

use http::{HeaderMap, StatusCode};

use crate::{End, Observer, RequestHead};

/// An [`Observer`] of a type that is erased. It allocates once per exchange.
#[derive(Clone)]
pub struct BoxObserver(Arc<dyn DynObserver>);

impl BoxObserver {
    /// Boxes an observer.
    pub fn new(observer: impl Observer) -> Self {
        Self(Arc::new(Erased(Arc::new(observer))))
    }
}

/// The state of a [`BoxObserver`] for one exchange.
pub struct BoxExchange(Box<dyn DynExchange>);

impl Observer for BoxObserver {
    type Exchange = BoxExchange;

    fn wants_time_to_head(&self) -> bool {
        self.0.wants_time_to_head()
    }

    fn begin(&self, head: &mut RequestHead<'_>) -> BoxExchange {
        BoxExchange(self.0.begin(head))
    }

    fn scope<T>(&self, exchange: &mut BoxExchange, poll: impl FnOnce() -> T) -> T {
        let mut poll = Some(poll);
        let mut polled = None;
        exchange.0.scope(&mut || {
            if let Some(poll) = poll.take() {
                polled = Some(poll());
            }
        });
        match (polled, poll) {
            (Some(polled), _) => polled,
            (None, Some(poll)) => poll(),
            // The application panicked, and the observer caught the panic.
            (None, None) => resume_unwind(Box::new("the application panicked")),
        }
    }

    fn responded(&self, exchange: &mut BoxExchange, status: StatusCode, headers: &HeaderMap) {
        exchange.0.responded(status, headers);
    }

    fn end(&self, exchange: BoxExchange, end: &End) {
        exchange.0.end(end);
    }
}

trait DynObserver: Send + Sync {
    fn wants_time_to_head(&self) -> bool;
    fn begin(&self, head: &mut RequestHead<'_>) -> Box<dyn DynExchange>;
}

struct Erased<O>(Arc<O>);

impl<O: Observer> DynObserver for Erased<O> {
    fn wants_time_to_head(&self) -> bool {
        self.0.wants_time_to_head()
    }

    fn begin(&self, head: &mut RequestHead<'_>) -> Box<dyn DynExchange> {
        Box::new(ErasedExchange {
            exchange: self.0.begin(head),
            observer: Arc::clone(&self.0),
        })
    }
}

trait DynExchange: Send {
    fn scope(&mut self, poll: &mut dyn FnMut());
    fn responded(&mut self, status: StatusCode, headers: &HeaderMap);
    fn end(self: Box<Self>, end: &End);
}

struct ErasedExchange<O: Observer> {
    observer: Arc<O>,
    exchange: O::Exchange,
}

impl<O: Observer> DynExchange for ErasedExchange<O> {
    fn scope(&mut self, poll: &mut dyn FnMut()) {
        self.observer.scope(&mut self.exchange, poll);
    }

    fn responded(&mut self, status: StatusCode, headers: &HeaderMap) {
        self.observer.responded(&mut self.exchange, status, headers);
    }

    fn end(self: Box<Self>, end: &End) {
        self.observer.end(self.exchange, end);
    }
}

impl fmt::Debug for BoxObserver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BoxObserver").finish_non_exhaustive()
    }
}

impl fmt::Debug for BoxExchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BoxExchange").finish_non_exhaustive()
    }
}
