//! What it costs to observe a function or a future.

use std::future::Future;
use std::hint::black_box;
use std::pin::{Pin, pin};
use std::task::{Context, Waker};
use std::time::Instant;

use campanile::metrics::metrics::with_local_recorder;
use campanile::metrics::{Registry, Timed};

use crate::figure::{Effort, Figure};
use crate::registry::{nanoseconds, registry, rounds};

/// An error that the peer can count too.
#[derive(Debug)]
struct Refused;

async fn bare(number: usize) -> Result<usize, Refused> {
    if number == usize::MAX {
        return Err(Refused);
    }
    Ok(number)
}

#[campanile::observe]
async fn ours(number: usize) -> Result<usize, Refused> {
    bare(number).await
}

#[autometrics::autometrics]
async fn theirs(number: usize) -> Result<usize, Refused> {
    bare(number).await
}

/// What `#[observe]` adds to an async function without a subscriber of the log.
pub(crate) fn observe_call(effort: Effort) -> Figure {
    let peers = autometrics::settings::AutometricsSettings::builder().init();
    let registry = Registry::new();
    let (ours, peer) = with_local_recorder(&registry, || {
        let bare = || nanoseconds(effort, 1, |number| poll(pin!(bare(number))));
        let ours = || nanoseconds(effort, 1, |number| poll(pin!(ours(number))));
        let theirs = || nanoseconds(effort, 1, |number| poll(pin!(theirs(number))));
        rounds(effort, || ours() - bare(), || theirs() - bare())
    });
    black_box(peers.prometheus_client_registry());
    let name = "autometrics";
    Figure::compare(("observe.call", "ns"), &ours, (name, &peer), 0.5)
}

fn poll<T>(future: Pin<&mut dyn Future<Output = T>>) {
    let mut context = Context::from_waker(Waker::noop());
    black_box(future.poll(&mut context).is_ready());
}

/// What timing a future adds to it, against reading the clock twice and recording by hand.
pub(crate) fn observe_timed(effort: Effort) -> Figure {
    let registry = registry();
    let times = registry.histogram("a", &[]).expect("the name is free");
    let bare = || nanoseconds(effort, 1, |number| poll(pin!(async move { number })));
    let ours = || {
        nanoseconds(effort, 1, |number| {
            poll(pin!(async move { number }.timed(&times)));
        })
    };
    let by_hand = || {
        nanoseconds(effort, 1, |number| {
            poll(pin!(async {
                #[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
                let start = Instant::now();
                let output = async move { number }.await;
                times.record_duration(start.elapsed());
                output
            }));
        })
    };
    let (ours, peer) = rounds(effort, || ours() - bare(), || by_hand() - bare());
    let name = "the same by hand";
    Figure::compare(("observe.timed", "ns"), &ours, (name, &peer), 1.3)
}
