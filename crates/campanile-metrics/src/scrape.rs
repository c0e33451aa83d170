use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_ENCODING, CONTENT_TYPE, VARY};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};

use self::rendering::{Reader, Start};
use crate::{Registry, clock};

mod accept;
mod gzip;
mod rendering;

pub(crate) use self::rendering::Ongoing;

impl Registry {
    /// Answers a GET or HEAD of `/metrics`: in OpenMetrics 1.0.0 or Prometheus' text format 0.0.4, by `Accept`, and compressed with
    /// gzip if `Accept-Encoding` asks for that. An `Accept` that makes no sense gets text; any other method is 405.
    ///
    /// A long response is written in pieces of 32 KiB as it is sent, so that the runtime is never
    /// held for long. Clients that come within 100 ms share the pieces. A registry keeps at most 8
    /// MiB of pieces for slower readers; a client that falls further behind gets its own. A
    /// response that is not read holds a few hundred bytes. The text of an exporter
    /// [beside](crate::RegistryBuilder::beside) the registry is read at once, before the response.
    pub fn respond(&self, method: &Method, headers: &HeaderMap) -> Response<Page> {
        if !matches!(*method, Method::GET | Method::HEAD) {
            let mut response = Response::new(Page::from("only GET and HEAD are served here\n"));
            *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
            let allowed = HeaderValue::from_static("GET,HEAD");
            response.headers_mut().insert(ALLOW, allowed);
            return response;
        }
        let (format, gzip) = (accept::format(headers), accept::gzip(headers));
        let page = if method == Method::HEAD {
            Page(Content::Head)
        } else {
            match self.0.ongoing.start(self, format, gzip, clock::now()) {
                Start::Whole(bytes) => Page::from(bytes),
                Start::Long(reader) => Page(Content::Long(reader)),
            }
        };
        let mut response = Response::new(page);
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

/// A body: a text, or a page that is written as it is read.
pub struct Page(Content);

enum Content {
    Whole(Option<Bytes>),
    /// That of an answer to HEAD, whose length is not known.
    Head,
    Long(Reader),
}

impl Body for Page {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match &mut self.0 {
            Content::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Content::Head => Poll::Ready(None),
            Content::Long(reader) => match reader.read() {
                Some(bytes) => Poll::Ready(bytes.map(|bytes| Ok(Frame::data(bytes)))),
                None => {
                    cx.waker().wake_by_ref();
                    Poll::Pending
                }
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Content::Whole(bytes) => bytes.is_none(),
            Content::Head => true,
            Content::Long(reader) => reader.is_at_end(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Content::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64)
            }
            Content::Head | Content::Long(_) => SizeHint::default(),
        }
    }
}

impl<T: Into<Bytes>> From<T> for Page {
    fn from(text: T) -> Self {
        let bytes = text.into();
        Self(Content::Whole((!bytes.is_empty()).then_some(bytes)))
    }
}

impl Default for Page {
    fn default() -> Self {
        Self(Content::Whole(None))
    }
}

impl fmt::Debug for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Page").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
