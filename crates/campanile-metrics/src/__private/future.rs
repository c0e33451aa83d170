use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use super::call::{Call, State};
use super::logged::{Panic, Scope};

pin_project! {
    /// An observed future.
    #[derive(Debug)]
    #[must_use = "futures do nothing unless polled"]
    pub struct Observed<F> {
        // Before the call, so that the destructors of the future run within the call.
        #[pin]
        inner: F,
        // `None` after the end.
        call: Option<Call>,
    }
}

impl Call {
    /// Runs a future in the span of the call. Its output includes the call.
    pub fn run<F: Future>(mut self, future: F) -> Observed<F> {
        self.state = State::Waiting;
        Observed::new(future, self)
    }
}

impl<F> Observed<F> {
    fn new(inner: F, call: Call) -> Self {
        let call = Some(call);
        Self { inner, call }
    }
}

impl<F: Future> Future for Observed<F> {
    type Output = (F::Output, Call);

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let Some(call) = this.call else {
            return Poll::Pending;
        };
        call.state = State::Running;
        let polled = {
            let _scope = Scope::enter(&mut call.logged);
            let _entered = call.span.enter();
            Panic::recorded(&mut call.panic, || this.inner.poll(cx))
        };
        match (polled, this.call.take()) {
            (Poll::Ready(output), Some(call)) => Poll::Ready((output, call)),
            (_, Some(mut call)) => {
                call.state = State::Waiting;
                *this.call = Some(call);
                Poll::Pending
            }
            (_, None) => Poll::Pending,
        }
    }
}
