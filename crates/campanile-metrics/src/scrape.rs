use std::time::{Duration, Instant};

use http::header::{ALLOW, CONTENT_ENCODING, CONTENT_TYPE, VARY};
use http::request::Parts;
use http::{HeaderValue, Method, Response, StatusCode};

use self::body::Content;
use self::cursor::Cursor;
use crate::clock;
use crate::encode::Format;
use crate::registry::Registry;
use crate::rendering::{Scraped, SharedScrapes, Start};

mod accept;
mod body;
mod cursor;
mod service;

pub use self::body::ScrapeBody;
pub use self::service::RegistryService;

impl Registry {
    /// Returns all values in Prometheus' text format 0.0.4, whose media type is
    /// [`CONTENT_TYPE`](crate::export::CONTENT_TYPE).
    pub fn render(&self) -> String {
        self.encode(Format::Text)
    }

    /// Returns all values in OpenMetrics 1.0.0.
    pub fn render_open_metrics(&self) -> String {
        self.encode(Format::OpenMetrics)
    }

    fn encode(&self, format: Format) -> String {
        let mut text = String::new();
        self.publish_self_metrics();
        let mut cursor = Cursor::new(format);
        while cursor.write(self, &mut text, usize::MAX) {}
        text
    }

    /// Returns the response to a scrape, a GET or HEAD of `/metrics`.
    ///
    /// The format is OpenMetrics 1.0.0 or Prometheus' text format 0.0.4, by `Accept`. An invalid
    /// `Accept` gets text. The body is compressed with gzip if `Accept-Encoding` prefers it. Any
    /// other method gets 405.
    ///
    /// A long body is written in pieces of 32 KiB as it is sent, so it never blocks the runtime for
    /// long. Clients that start within 100 ms share the pieces. A registry keeps at most 8 MiB of
    /// pieces for slower clients. A client that falls further behind gets new pieces. A body that
    /// is not read takes a few hundred bytes. The text of an exporter
    /// [beside](crate::RegistryBuilder::beside) the registry is read before the response.
    pub fn respond(&self, request: &Parts) -> Response<ScrapeBody> {
        let Parts {
            method, headers, ..
        } = request;
        if !matches!(*method, Method::GET | Method::HEAD) {
            let mut response = Response::new(ScrapeBody::from(
                "method not allowed: expected GET or HEAD\n",
            ));
            *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
            let allowed = HeaderValue::from_static("GET,HEAD");
            response.headers_mut().insert(ALLOW, allowed);
            return response;
        }
        let (format, gzip) = (accept::format(headers), accept::gzip(headers));
        let body = if method == Method::HEAD {
            ScrapeBody(Content::Head)
        } else {
            match self.0.scrapes.start(self, format, gzip, clock::now()) {
                Start::Whole(bytes) => ScrapeBody::from(bytes),
                Start::Long(reader) => ScrapeBody(Content::Long(reader)),
            }
        };
        let mut response = Response::new(body);
        let headers = response.headers_mut();
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static(format.content_type()),
        );
        headers.insert(VARY, HeaderValue::from_static("Accept, Accept-Encoding"));
        if gzip {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        response
    }
}

impl Scraped for Registry {
    type Cursor = Cursor;

    fn prepare(&self, now: Instant) {
        drop(self.reading(now));
    }

    fn cursor(&self, format: Format) -> Cursor {
        self.publish_self_metrics();
        Cursor::new(format)
    }

    fn write(&self, cursor: &mut Cursor, text: &mut String, length: usize) -> bool {
        cursor.write(self, text, length)
    }

    fn add_scrape_time(&self, time: Duration) {
        self.add_scrape_time(time);
    }

    fn shared_scrapes(&self) -> &SharedScrapes<Self> {
        &self.0.scrapes
    }
}

#[cfg(test)]
mod tests;
