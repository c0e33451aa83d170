use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::registry::Registry;
use crate::rendering::Reader;

/// The body of a scrape response: a string, or values that are encoded as they are read.
pub struct ScrapeBody(pub(super) Content);

pub(super) enum Content {
    Whole(Option<Bytes>),
    /// The empty body of a response to HEAD, whose length is unknown.
    Head,
    Long(Reader<Registry>),
}

impl Body for ScrapeBody {
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

impl<T: Into<Bytes>> From<T> for ScrapeBody {
    fn from(text: T) -> Self {
        let bytes = text.into();
        Self(Content::Whole((!bytes.is_empty()).then_some(bytes)))
    }
}

impl Default for ScrapeBody {
    fn default() -> Self {
        Self(Content::Whole(None))
    }
}

impl fmt::Debug for ScrapeBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScrapeBody").finish_non_exhaustive()
    }
}
