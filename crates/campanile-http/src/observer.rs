use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Arc;

use http::{HeaderMap, StatusCode};

use crate::{End, RequestHead};

/// The callbacks that an [`ObserveLayer`](crate::ObserveLayer) calls for each HTTP exchange.
///
/// A tuple of up to six observers is an observer. So are `Option<O>`, `Arc<O>` and
/// [`BoxObserver`](crate::BoxObserver). The layer calls the members of a tuple in order, and calls
/// all of them even if one panics.
///
/// # Panics
///
/// The layer catches a panic in [`begin`](Self::begin), [`responded`](Self::responded) or
/// [`end`](Self::end), so it does not reach the application. It counts the panic in
/// [`Stats::observer_panics`](crate::Stats::observer_panics), once per exchange for a tuple. After
/// a panic in `begin`, the layer calls that observer no more for the request. A panic in
/// [`scope`](Self::scope) can't be distinguished from a panic of the application, and is not
/// caught.
pub trait Observer: Send + Sync + 'static {
    /// The observer's state of one exchange.
    type Exchange: Send + 'static;

    /// Whether the layer measures the time to the response head ([`End::time_to_head`]). This costs
    /// a third clock read.
    ///
    /// Defaults to `false`.
    const WANTS_TIME_TO_HEAD: bool = false;

    /// Returns whether the layer measures the time to the response head.
    ///
    /// Override it if the type alone does not decide, as in [`BoxObserver`](crate::BoxObserver).
    ///
    /// Defaults to [`WANTS_TIME_TO_HEAD`](Self::WANTS_TIME_TO_HEAD).
    fn wants_time_to_head(&self) -> bool {
        Self::WANTS_TIME_TO_HEAD
    }

    /// Called when a request begins, before the inner service (`on_request`).
    fn begin(&self, head: &mut RequestHead<'_>) -> Self::Exchange;

    /// Called around the inner service's `call`, and around every poll of its future and of the
    /// response body.
    ///
    /// An implementation must call `poll` and return its value. It can enter a span or set a
    /// task-local around it. Defaults to calling `poll`.
    fn scope<T>(&self, _exchange: &mut Self::Exchange, poll: impl FnOnce() -> T) -> T {
        poll()
    }

    /// Called when the inner service returned a response (`on_response`).
    ///
    /// It is not called if the request is cancelled, fails or panics before that. Defaults to doing
    /// nothing.
    fn responded(&self, _exchange: &mut Self::Exchange, _status: StatusCode, _headers: &HeaderMap) {
    }

    /// Called when the request ended (`on_end`), exactly once for each [`begin`](Self::begin) that
    /// returned.
    ///
    /// It can run in a destructor, on any thread that drops the future or the body. It must not
    /// block.
    fn end(&self, exchange: Self::Exchange, end: &End);
}

/// An observer that does nothing.
impl Observer for () {
    type Exchange = ();

    fn begin(&self, _: &mut RequestHead<'_>) {}

    fn end(&self, (): (), _: &End) {}
}

impl<O: Observer> Observer for Arc<O> {
    type Exchange = O::Exchange;
    const WANTS_TIME_TO_HEAD: bool = O::WANTS_TIME_TO_HEAD;

    fn wants_time_to_head(&self) -> bool {
        (**self).wants_time_to_head()
    }

    fn begin(&self, head: &mut RequestHead<'_>) -> Self::Exchange {
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
    const WANTS_TIME_TO_HEAD: bool = O::WANTS_TIME_TO_HEAD;

    fn wants_time_to_head(&self) -> bool {
        self.as_ref().is_some_and(Observer::wants_time_to_head)
    }

    fn begin(&self, head: &mut RequestHead<'_>) -> Self::Exchange {
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

/// Calls `$poll` inside the scopes of all observers. The first observer's scope is outermost.
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
            type Exchange = TupleExchange<($(Option<$type::Exchange>,)+)>;
            const WANTS_TIME_TO_HEAD: bool = $($type::WANTS_TIME_TO_HEAD)||+;

            fn wants_time_to_head(&self) -> bool {
                let ($($observer,)+) = self;
                $($observer.wants_time_to_head())||+
            }

            fn begin(&self, head: &mut RequestHead<'_>) -> Self::Exchange {
                let ($($observer,)+) = self;
                let mut panic = None;
                let each = ($(catch(&mut panic, || $observer.begin(head)),)+);
                TupleExchange { each, panic }
            }

            fn scope<T>(&self, exchanges: &mut Self::Exchange, poll: impl FnOnce() -> T) -> T {
                let ($($observer,)+) = self;
                let ($($exchange,)+) = &mut exchanges.each;
                nested!(poll; $($observer $exchange)+)
            }

            fn responded(&self, exchanges: &mut Self::Exchange, status: StatusCode, headers: &HeaderMap) {
                let ($($observer,)+) = self;
                let TupleExchange { each: ($($exchange,)+), panic } = exchanges;
                $(if let Some(exchange) = $exchange {
                    catch(panic, || $observer.responded(exchange, status, headers));
                })+
            }

            fn end(&self, exchanges: Self::Exchange, end: &End) {
                let ($($observer,)+) = self;
                let TupleExchange { each: ($($exchange,)+), mut panic } = exchanges;
                $(if let Some(exchange) = $exchange {
                    catch(&mut panic, || $observer.end(exchange, end));
                })+
                if let Some(panic) = panic {
                    resume_unwind(panic);
                }
            }
        }
    };
}

/// The state of a tuple of observers for one exchange.
#[derive(Debug)]
pub struct TupleExchange<T> {
    /// The state of each observer, or `None` if its `begin` panicked.
    each: T,
    /// The last panic of an observer. It resumes after `end` of all observers.
    panic: Option<Panic>,
}

type Panic = Box<dyn Any + Send>;

fn catch<T>(panic: &mut Option<Panic>, observe: impl FnOnce() -> T) -> Option<T> {
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
