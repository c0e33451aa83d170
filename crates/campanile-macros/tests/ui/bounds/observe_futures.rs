use std::future::Ready;
use std::pin::Pin;

use campanile_metrics::observe;

type Reply = Pin<Box<dyn Future<Output = u32> + Send>>;

#[observe]
fn alias(inner: fn() -> Reply) -> Reply {
    inner()
}

trait Service {
    type Future: Future<Output = u32>;

    fn call(&self) -> Self::Future;
}

struct Layered<S>(S);

impl<S: Service> Service for Layered<S> {
    type Future = S::Future;

    #[observe]
    fn call(&self) -> Self::Future {
        self.0.call()
    }
}

#[observe]
fn ready() -> Ready<u32> {
    std::future::ready(7)
}

fn main() {}
