use std::io::Read;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use flate2::read::GzDecoder;
use http::header::{ACCEPT, ACCEPT_ENCODING};
use http_body::Body;

use super::*;
use crate::encode::Format;

/// A registry whose page has several pieces.
fn long() -> Registry {
    let registry = Registry::new();
    for number in 0..2_000 {
        let labels = [("number", number.to_string()), ("text", "x".repeat(60))];
        let labels = labels
            .each_ref()
            .map(|(name, value)| (*name, value.as_str()));
        registry.counter("a_total", &labels).unwrap();
        registry.gauge("g", &labels).unwrap();
        if number % 10 == 0 {
            registry.histogram("h", &labels).unwrap();
        }
    }
    registry
}

fn request(method: Method) -> Parts {
    let (mut request, ()) = http::Request::new(()).into_parts();
    request.method = method;
    request
}

fn get(registry: &Registry, headers: &[(http::HeaderName, &'static str)]) -> Response<ScrapeBody> {
    let mut request = request(Method::GET);
    let headers = headers.iter().cloned();
    let headers = headers.map(|(name, value)| (name, HeaderValue::from_static(value)));
    request.headers = headers.collect();
    registry.respond(&request)
}

/// Polls once: the piece that came, if one did.
fn poll(page: &mut ScrapeBody) -> Poll<Option<Bytes>> {
    let mut context = Context::from_waker(Waker::noop());
    Pin::new(page).poll_frame(&mut context).map(|frame| {
        let frame = frame?.unwrap_or_else(|never| match never {});
        Some(frame.into_data().unwrap())
    })
}

/// Reads to the end.
fn rest(page: &mut ScrapeBody) -> Vec<u8> {
    let mut all = Vec::new();
    loop {
        match poll(page) {
            Poll::Ready(Some(bytes)) => all.extend(bytes),
            Poll::Ready(None) => return all,
            Poll::Pending => {}
        }
    }
}

#[test]
fn a_short_page_is_whole_and_a_long_one_comes_in_pieces() {
    let registry = Registry::new();
    registry.counter("a_total", &[]).unwrap();
    let mut page = get(&registry, &[]).into_body();
    assert_eq!(
        page.size_hint().exact(),
        Some(registry.render().len() as u64)
    );
    assert_eq!(rest(&mut page), registry.render().as_bytes());
    assert!(rest(&mut get(&Registry::new(), &[]).into_body()).is_empty());

    let registry = long();
    let mut page = get(&registry, &[]).into_body();
    assert_eq!(page.size_hint().exact(), None);
    let (mut all, mut pieces) = (Vec::new(), 0);
    loop {
        match poll(&mut page) {
            Poll::Ready(Some(bytes)) => {
                assert!(bytes.len() < 40_000, "{}", bytes.len());
                all.extend(bytes);
                pieces += 1;
                // What follows has not been written yet.
                assert!(page.is_end_stream() || poll(&mut page).is_pending());
            }
            Poll::Ready(None) => break,
            Poll::Pending => {}
        }
    }
    assert!(pieces > 5, "{pieces}");
    assert_eq!(String::from_utf8(all).unwrap(), registry.render());
}

#[test]
fn the_headers_choose_the_format_and_the_compression() {
    for registry in [Registry::new(), long()] {
        registry.gauge("one", &[]).unwrap().set(1.0);
        let open = (ACCEPT, "application/openmetrics-text");
        for (headers, expected) in [
            (vec![], registry.render()),
            (vec![open.clone()], registry.render_open_metrics()),
            (vec![(ACCEPT_ENCODING, "gzip")], registry.render()),
            (
                vec![open, (ACCEPT_ENCODING, "gzip")],
                registry.render_open_metrics(),
            ),
        ] {
            let response = get(&registry, &headers);
            let is_open = expected.ends_with("# EOF\n");
            let content_type = response.headers()[CONTENT_TYPE].to_str().unwrap();
            assert_eq!(
                content_type.starts_with("application/openmetrics-text; version=1.0.0"),
                is_open
            );
            assert_eq!(
                content_type.starts_with("text/plain; version=0.0.4"),
                !is_open
            );
            let is_gzip = response.headers().contains_key(CONTENT_ENCODING);
            assert_eq!(
                is_gzip,
                headers.iter().any(|(name, _)| name == ACCEPT_ENCODING)
            );
            let sent = rest(&mut response.into_body());
            let mut page = String::new();
            if is_gzip {
                assert!(sent.len() < expected.len() + 30);
                GzDecoder::new(&sent[..]).read_to_string(&mut page).unwrap();
            } else {
                page = String::from_utf8(sent).unwrap();
            }
            assert_eq!(page, expected);
        }
    }
}

#[test]
fn head_has_the_headers_only_and_other_methods_are_refused() {
    let registry = long();
    let response = registry.respond(&request(Method::HEAD));
    assert_eq!(response.status(), StatusCode::OK);
    assert!(
        response.headers()[CONTENT_TYPE]
            .to_str()
            .unwrap()
            .starts_with("text/plain")
    );
    assert!(response.body().is_end_stream());
    assert_eq!(response.body().size_hint().exact(), None);
    for method in [Method::POST, Method::DELETE, Method::OPTIONS] {
        let response = registry.respond(&request(method));
        assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(response.headers()[ALLOW], "GET,HEAD");
    }
}

#[test]
fn pages_of_the_same_moment_are_one_and_later_ones_are_not() {
    let registry = long();
    let last = registry.gauge("z", &[]).unwrap();
    let ends = |page: &[u8], end: &str| std::str::from_utf8(page).unwrap().ends_with(end);
    // A machine that stops for long enough between the two may keep them apart.
    let is_shared = (0..20).any(|_| {
        last.set(0.0);
        let mut first = get(&registry, &[]).into_body();
        let mut other = get(&registry, &[(ACCEPT, "application/openmetrics-text")]).into_body();
        let mut second = get(&registry, &[]).into_body();
        let first = rest(&mut first);
        // The first has read it all, and the second shares what it read.
        last.set(1.0);
        assert!(ends(&first, "z 0\n"));
        assert!(ends(&rest(&mut other), "z 1\n# EOF\n"));
        assert!(ends(&rest(&mut get(&registry, &[]).into_body()), "z 1\n"));
        rest(&mut second) == first
    });
    assert!(is_shared);
}

#[test]
fn a_stalled_page_is_joined_for_a_short_time_and_blocks_no_other() {
    let registry = long();
    let last = registry.gauge("z", &[]).unwrap();
    let mut stuck = get(&registry, &[]).into_body();
    assert!(poll(&mut stuck).is_ready());
    last.set(1.0);
    let page = |end: &str| {
        let page = rest(&mut get(&registry, &[]).into_body());
        String::from_utf8(page).unwrap().ends_with(end)
    };
    let is_anew = (0..10_000).any(|_| page("z 1\n"));
    assert!(is_anew, "it is joined for ever");
    // The stuck one goes on where it was.
    assert!(rest(&mut stuck).len() > 100_000);
    drop(stuck);
}

#[test]
fn families_that_come_while_a_page_is_written_leave_it_whole() {
    for position in ["aa", "gg", "z"] {
        let registry = long();
        let mut page = get(&registry, &[]).into_body();
        let mut all = Vec::new();
        while all.len() < 400_000 {
            if let Poll::Ready(Some(bytes)) = poll(&mut page) {
                all.extend(bytes);
            }
        }
        for number in 0..10 {
            registry.gauge(&format!("{position}{number}"), &[]).unwrap();
        }
        all.extend(rest(&mut page));
        let text = String::from_utf8(all).unwrap();
        let headers: Vec<_> = text
            .lines()
            .filter(|line| line.starts_with("# TYPE"))
            .collect();
        let mut unique = headers.clone();
        unique.dedup();
        assert_eq!(headers, unique);
        assert!(headers.is_sorted(), "{headers:?}");
        let lines = text.lines().filter(|line| line.starts_with("g{")).count();
        assert_eq!(lines, 2_000);
    }
}

#[test]
fn many_small_families_take_several_turns() {
    let registry = Registry::new();
    for number in 0..2_000 {
        registry.gauge(&format!("g{number}"), &[]).unwrap();
    }
    let mut page = get(&registry, &[]).into_body();
    assert_eq!(page.size_hint().exact(), None);
    assert_eq!(rest(&mut page), registry.render().as_bytes());
}

#[test]
fn a_long_page_that_others_have_read_is_freed_without_a_deep_stack() {
    let registry = Registry::builder()
        .max_series_per_family(100_000)
        .build()
        .unwrap();
    for number in 0..60_000 {
        let number = number.to_string();
        let labels = [("number", number.as_str()), ("text", &"x".repeat(200))];
        registry.gauge("g", &labels).unwrap();
    }
    std::thread::Builder::new()
        .stack_size(128 << 10)
        .spawn(move || {
            let mut first = get(&registry, &[]).into_body();
            let second = get(&registry, &[]).into_body();
            rest(&mut first);
            drop((first, second));
        })
        .unwrap()
        .join()
        .unwrap();
}

#[test]
fn readers_on_many_threads_get_the_same_page() {
    let registry = long();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..2 {
                    let page = rest(&mut get(&registry, &[(ACCEPT_ENCODING, "gzip")]).into_body());
                    let mut text = String::new();
                    GzDecoder::new(&page[..]).read_to_string(&mut text).unwrap();
                    assert!(text == registry.render());
                }
            });
        }
    });
}

/// Starts a response, without reading it.
fn start(registry: &Registry, gzip: bool, now: Instant) -> ScrapeBody {
    match registry.0.scrapes.start(registry, Format::Text, gzip, now) {
        Start::Whole(bytes) => ScrapeBody::from(bytes),
        Start::Long(reader) => ScrapeBody(Content::Long(reader)),
    }
}

fn text(page: &mut ScrapeBody, gzip: bool) -> String {
    let bytes = rest(page);
    let mut text = String::new();
    if gzip {
        let mut decoder = GzDecoder::new(&bytes[..]);
        decoder.read_to_string(&mut text).unwrap();
    } else {
        text = String::from_utf8(bytes).unwrap();
    }
    text
}

#[test]
fn unread_responses_hold_little_memory() {
    let registry = long();
    let expected = registry.render();
    let mut now = clock::now();
    for gzip in [false, true] {
        let mut unread = Vec::with_capacity(100);
        let info = allocation_counter::measure(|| {
            for _ in 0..100 {
                // None of them can be joined by the next one.
                now += Duration::from_millis(101);
                unread.push(start(&registry, gzip, now));
            }
        });
        // A compressor is 0.4 MB.
        assert!(info.bytes_current < 2 << 20, "{}", info.bytes_current);
        assert!(text(&mut unread[0], gzip) == expected);
        assert!(text(&mut unread[99], gzip) == expected);
    }
}

#[test]
fn a_reader_that_falls_behind_another_holds_little_memory_and_gets_a_whole_page() {
    let registry = long();
    let expected = registry.render();
    let mut now = clock::now();
    for gzip in [false, true] {
        let pairs = if gzip { 10 } else { 40 };
        for read_before in [0, 1] {
            let mut behind = Vec::with_capacity(40);
            let info = allocation_counter::measure(|| {
                for _ in 0..pairs {
                    now += Duration::from_millis(101);
                    let mut fast = start(&registry, gzip, now);
                    let mut slow = start(&registry, gzip, now);
                    let mut first = Vec::new();
                    for _ in 0..read_before {
                        while poll(&mut slow)
                            .map(|piece| first.extend(piece.unwrap()))
                            .is_pending()
                        {}
                    }
                    rest(&mut fast);
                    behind.push((first, slow));
                }
            });
            // A page has 400 KB.
            assert!(info.bytes_current < 10 << 20, "{}", info.bytes_current);
            for index in [0, pairs / 2, pairs - 1] {
                let (first, slow) = &mut behind[index];
                first.extend(rest(slow));
                let mut text = String::new();
                if gzip {
                    GzDecoder::new(&first[..])
                        .read_to_string(&mut text)
                        .unwrap();
                } else {
                    text = String::from_utf8(std::mem::take(first)).unwrap();
                }
                assert!(text == expected, "{gzip} {read_before} {index}");
            }
        }
    }
}

#[test]
fn stalled_readers_do_not_stop_others_from_sharing() {
    let registry = long();
    let last = registry.gauge("z", &[]).unwrap();
    let mut now = clock::now();
    let mut stuck = Vec::new();
    for _ in 0..20 {
        now += Duration::from_millis(101);
        stuck.push(start(&registry, false, now));
    }
    now += Duration::from_millis(101);
    let mut first = start(&registry, false, now);
    let mut second = start(&registry, false, now);
    let first = rest(&mut first);
    last.set(1.0);
    assert!(rest(&mut second) == first);
}

#[test]
fn a_page_much_longer_than_what_is_kept_is_whole_for_each_reader() {
    let registry = Registry::builder()
        .max_series_per_family(12_000)
        .build()
        .unwrap();
    for number in 0..12_000 {
        let number = number.to_string();
        let labels = [("number", number.as_str()), ("text", &"x".repeat(200))];
        registry.gauge("g", &labels).unwrap();
    }
    let expected = registry.render();
    assert!(expected.len() > 2 << 20);
    let now = clock::now();
    let mut readers = [0; 3].map(|_| start(&registry, false, now));
    let (fast, others) = readers.split_first_mut().unwrap();
    assert!(rest(fast) == expected.as_bytes());
    for reader in others {
        assert!(rest(reader) == expected.as_bytes());
    }
}

#[cfg(feature = "axum")]
#[tokio::test]
async fn the_service_and_the_routes_respond_like_the_registry() {
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    let registry = Registry::new();
    registry.counter("a_total", &[]).unwrap();
    let get = |path| {
        http::Request::get(path)
            .body(axum::body::Body::empty())
            .unwrap()
    };
    let response = registry.service().oneshot(get("/any")).await.unwrap();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, registry.render());
    for (path, status) in [("/metrics", 200), ("/metrics/", 200), ("/other", 404)] {
        let response = registry.routes().oneshot(get(path)).await.unwrap();
        assert_eq!(response.status(), status, "{path}");
    }
}
