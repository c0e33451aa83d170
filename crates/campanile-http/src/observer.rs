use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

use http::{HeaderMap, StatusCode};

use crate::{End, Head};

/// Watches HTTP exchanges through an [`ObserveLayer`](crate::ObserveLayer).
///
/// A tuple of up to six observers is an observer, and so are `Option<O>`, `Arc<O>` and [`BoxObserver`](crate::BoxObserver). The
/// layer calls the members of a tuple in order, each of them even if another one panics.
///
/// # Panics
///
/// A panic in [`begin`](Self::begin), [`responded`](Self::responded) or [`end`](Self::end) does not reach the host: the
/// layer catches it and counts it in [`Stats::observer_panics`](crate::Stats::observer_panics), for a tuple once for each
/// exchange. If `begin` panicked, that observer is told no more of the exchange. A panic in [`scope`](Self::scope) can't be told
/// from one of the host, and goes on.
pub trait Observer: Send + Sync + 'static {
    /// What the observer keeps for the time of one exchange.
    type Exchange: Send + 'static;

    /// Asks for the time to the response head ([`End::first_byte`]), which costs a third clock read.
    ///
    /// Defaults to `false`.
    const FIRST_BYTE: bool = false;

    /// Returns whether the observer wants the time to the response head. An observer whose type does not tell, such as a
    /// [`BoxObserver`](crate::BoxObserver), overrides it.
    ///
    /// Defaults to [`FIRST_BYTE`](Self::FIRST_BYTE).
    fn wants_first_byte(&self) -> bool {
        Self::FIRST_BYTE
    }

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

    fn wants_first_byte(&self) -> bool {
        (**self).wants_first_byte()
    }

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

    fn wants_first_byte(&self) -> bool {
        self.as_ref().is_some_and(Observer::wants_first_byte)
    }

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
        match $exchange {
            Some(exchange) => $observer.scope(exchange, || nested!($poll; $($rest)*)),
            None => nested!($poll; $($rest)*),
        }
    };
}

macro_rules! tuple {
    ($($type:ident $observer:ident $exchange:ident),+) => {
        impl<$($type: Observer),+> Observer for ($($type,)+) {
            type Exchange = Exchanges<($(Option<$type::Exchange>,)+)>;
            const FIRST_BYTE: bool = $($type::FIRST_BYTE)||+;

            fn wants_first_byte(&self) -> bool {
                let ($($observer,)+) = self;
                $($observer.wants_first_byte())||+
            }

            fn begin(&self, head: &mut Head<'_>) -> Self::Exchange {
                let ($($observer,)+) = self;
                let mut panic = None;
                let each = ($(caught(&mut panic, || $observer.begin(head)),)+);
                Exchanges { each, panic }
            }

            fn scope<T>(&self, exchanges: &mut Self::Exchange, poll: impl FnOnce() -> T) -> T {
                let ($($observer,)+) = self;
                let ($($exchange,)+) = &mut exchanges.each;
                nested!(poll; $($observer $exchange)+)
            }

            fn responded(&self, exchanges: &mut Self::Exchange, status: StatusCode, headers: &HeaderMap) {
                let ($($observer,)+) = self;
                let Exchanges { each: ($($exchange,)+), panic } = exchanges;
                $(if let Some(exchange) = $exchange {
                    caught(panic, || $observer.responded(exchange, status, headers));
                })+
            }

            fn end(&self, exchanges: Self::Exchange, end: &End) {
                let ($($observer,)+) = self;
                let Exchanges { each: ($($exchange,)+), mut panic } = exchanges;
                $(if let Some(exchange) = $exchange {
                    caught(&mut panic, || $observer.end(exchange, end));
                })+
                if let Some(panic) = panic {
                    resume_unwind(panic);
                }
            }
        }
    };
}

/// What a tuple of observers keeps of one exchange.
#[derive(Debug)]
pub struct Exchanges<T> {
    /// For each observer its own, unless it panicked in the beginning.
    each: T,
    /// A panic that one of them had, which goes on at the end, when all have been told.
    panic: Option<Panic>,
}

type Panic = Box<dyn Any + Send>;

fn caught<T>(panic: &mut Option<Panic>, observe: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(observe))
        .map_err(|caught| *panic = Some(caught))
        .ok()
}

tuple!(A a ea);
tuple!(A a ea, B b eb);
tuple!(A a ea, B b eb, C c ec);
tuple!(A a ea, B b eb, C c ec, D d ed);
tuple!(A a ea, B b eb, C c ec, D d ed, E e ee);
tuple!(A a ea, B b eb, C c ec, D d ed, E e ee, F f ef);
