use campanile_metrics::observe;

#[observe]
const fn constant() {}

#[observe]
struct NoFunction;

#[observe(lables(kind))]
fn misspelt(_kind: bool) {}

#[observe(labels(outcome))]
fn reserved(_outcome: bool) {}

#[observe(labels(kind = true, kind = false))]
fn twice(_kind: bool) {}

#[observe(prefix = "a b")]
fn prefix() {}

#[observe(level = "loud")]
fn level() {}

#[observe(name = "a", name = "b")]
fn names() {}

#[observe]
async fn never() -> ! {
    std::future::pending().await
}

type Task = std::pin::Pin<Box<dyn Future<Output = ()>>>;

#[observe]
fn alias() -> Task {
    Box::pin(async {})
}

#[observe]
fn passed_on() -> impl Future<Output = ()> {
    std::future::ready(())
}

#[observe(err = "trace")]
fn err() {}

#[observe(err = tracing::Level::WARN)]
fn err_path() {}

#[observe(ok_if)]
fn ok_if() {}

#[observe]
fn early(cached: bool) -> std::pin::Pin<Box<dyn Future<Output = u32>>> {
    if cached {
        return Box::pin(async { 1 });
    }
    Box::pin(async { return 2 })
}

#[observe]
fn early_in_a_macro(cached: bool) -> impl Future<Output = ()> {
    maybe!(cached, return std::future::ready(()));
    async {}
}

#[observe]
fn stream() -> impl Stream<Item = u32> {
    numbers()
}

#[observe]
fn boxed_stream() -> Pin<Box<dyn Stream<Item = u32> + Send>> {
    numbers()
}

trait Service {
    #[observe]
    fn no_body(&self);
}

fn main() {}
