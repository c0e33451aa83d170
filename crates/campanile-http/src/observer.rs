use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

use http::{HeaderMap, StatusCode};

use crate::{End, Head};

/// Watches HTTP exchanges through an [`ObserveLayer`](crate::ObserveLayer).
///
/// A tuple of up to six observers is an observer, as are `Option<O>` and `Arc<O>`: begun and entered in order, each told
/// of the end even if one before it panics there.
///
/// # Panics
///
/// A panic in [`begin`](Self::begin), [`responded`](Self::responded) or [`end`](Self::end) does not reach the host: the
/// layer catches it and counts it in [`Stats::observer_panics`](crate::Stats::observer_panics). If `begin` panicked, that
/// exchange is not observed further. A panic in [`scope`](Self::scope) can't be told from one of the host, and goes on.
pub trait Observer: Send + Sync + 'static {
    /// What the observer keeps for the time of one exchange.
    ///
    /// It is dropped without an [`end`](Self::end) only if another observer of the same tuple panics in
    /// [`begin`](Self::begin).
    type Exchange: Send + 'static;

    /// Asks for the time to the response head ([`End::first_byte`]), which costs a third clock read.
    ///
    /// Defaults to `false`.
    const FIRST_BYTE: bool = false;

    /// Called once when an exchange begins, before the inner service.
    fn begin(&self, head: &mut Head<'_>) -> Self::Exchange;

    /// Called around the inner service's `call` and around every poll of its future and of the response body; must call
    /// `poll` and return what it returns.
    ///
    /// This is the place to enter a span or set a task-local. Defaults to calling `poll`.
    fn scope<T>(&self, _exchange: &mut Self::Exchange, poll: impl FnOnce() -> T) -> T {
        poll()
    }

    /// Called when the inner service answered with a response head; not called for a cancelled exchange, an error or a
    /// panic before that.
    ///
    /// Defaults to doing nothing.
    fn responded(&self, _exchange: &mut Self::Exchange, _status: StatusCode, _headers: &HeaderMap) {
    }

    /// Called exactly once for every exchange that [`begin`](Self::begin) returned for.
    ///
    /// It may run inside a destructor, on whichever thread drops the future or the body, and so must not block.
    fn end(&self, exchange: Self::Exchange, end: &End);
}

/// Watches nothing.
impl Observer for () {
    type Exchange = ();

    fn begin(&self, _: &mut Head<'_>) {}

    fn end(&self, (): (), _: &End) {}
}

impl<O: Observer> Observer for Arc<O> {
    type Exchange = O::Exchange;
    const FIRST_BYTE: bool = O::FIRST_BYTE;

    fn begin(&self, head: &mut Head<'_>) -> Self::Exchange {
        (**self).begin(head)
    }

    fn scope<T>(&self, exchange: &mut Self::Exchange, poll: impl FnOnce() -> T) -> T {
        (**self).scope(exchange, poll)
    }

    fn responded(&self, exchange: &mut Self::Exchange, status: StatusCode, headers: &HeaderMap) {
        (**self).responded(exchange, status, headers);
    }

    fn end(&self, exchange: Self::Exchange, end: &End) {
        (**self).end(exchange, end);
    }
}

impl<O: Observer> Observer for Option<O> {
    type Exchange = Option<O::Exchange>;
    const FIRST_BYTE: bool = O::FIRST_BYTE;

    fn begin(&self, head: &mut Head<'_>) -> Self::Exchange {
        self.as_ref().map(|observer| observer.begin(head))
    }

    fn scope<T>(&self, exchange: &mut Self::Exchange, poll: impl FnOnce() -> T) -> T {
        match (self, exchange) {
            (Some(observer), Some(exchange)) => observer.scope(exchange, poll),
            _ => poll(),
        }
    }

    fn responded(&self, exchange: &mut Self::Exchange, status: StatusCode, headers: &HeaderMap) {
        if let (Some(observer), Some(exchange)) = (self, exchange) {
            observer.responded(exchange, status, headers);
        }
    }

    fn end(&self, exchange: Self::Exchange, end: &End) {
        if let (Some(observer), Some(exchange)) = (self, exchange) {
            observer.end(exchange, end);
        }
    }
}

/// Calls `$poll` inside the scopes of all the observers, the first outermost.
macro_rules! nested {
    ($poll:ident;) => { $poll() };
    ($poll:ident; $observer:ident $exchange:ident $($rest:ident)*) => {
        $observer.scope($exchange, || nested!($poll; $($rest)*))
    };
}

macro_rules! tuple {
    ($($type:ident $observer:ident $exchange:ident),+) => {
        impl<$($type: Observer),+> Observer for ($($type,)+) {
            type Exchange = ($($type::Exchange,)+);
            const FIRST_BYTE: bool = $($type::FIRST_BYTE)||+;

            fn begin(&self, head: &mut Head<'_>) -> Self::Exchange {
                let ($($observer,)+) = self;
                ($($observer.begin(head),)+)
            }

            fn scope<T>(&self, exchange: &mut Self::Exchange, poll: impl FnOnce() -> T) -> T {
                let ($($observer,)+) = self;
                let ($($exchange,)+) = exchange;
                nested!(poll; $($observer $exchange)+)
            }

            fn responded(&self, exchange: &mut Self::Exchange, status: StatusCode, headers: &HeaderMap) {
                let ($($observer,)+) = self;
                let ($($exchange,)+) = exchange;
                $($observer.responded($exchange, status, headers);)+
            }

            fn end(&self, exchange: Self::Exchange, end: &End) {
                let ($($observer,)+) = self;
                let ($($exchange,)+) = exchange;
                let mut panicked = None;
                $(
                    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| $observer.end($exchange, end))) {
                        panicked = Some(panic);
                    }
                )+
                if let Some(panic) = panicked {
                    resume_unwind(panic);
                }
            }
        }
    };
}

tuple!(A a ea);
tuple!(A a ea, B b eb);
tuple!(A a ea, B b eb, C c ec);
tuple!(A a ea, B b eb, C c ec, D d ed);
tuple!(A a ea, B b eb, C c ec, D d ed, E e ee);
tuple!(A a ea, B b eb, C c ec, D d ed, E e ee, F f ef);
