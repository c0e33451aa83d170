use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};

/// The protocol of a collector.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Protocol {
    /// Protocol Buffers over HTTP/1.1: `http/protobuf`, usually on port 4318.
    #[default]
    HttpProtobuf,
    /// gRPC, usually on port 4317.
    #[cfg(feature = "otlp-grpc")]
    #[cfg_attr(docsrs, doc(cfg(feature = "otlp-grpc")))]
    Grpc,
}

impl Protocol {
    pub(crate) fn headers(self, is_compressed: bool) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let content_type = match self {
            Self::HttpProtobuf => "application/x-protobuf",
            #[cfg(feature = "otlp-grpc")]
            Self::Grpc => "application/grpc",
        };
        headers.insert("content-type", HeaderValue::from_static(content_type));
        let agent = concat!("campanile/", env!("CARGO_PKG_VERSION"));
        headers.insert("user-agent", HeaderValue::from_static(agent));
        #[cfg(feature = "otlp-grpc")]
        if self == Self::Grpc {
            headers.insert("te", HeaderValue::from_static("trailers"));
        }
        if is_compressed {
            headers.insert(self.encoding(), HeaderValue::from_static("gzip"));
        }
        headers
    }

    /// Returns the header of the content encoding.
    pub(super) fn encoding(self) -> HeaderName {
        match self {
            Self::HttpProtobuf => http::header::CONTENT_ENCODING,
            #[cfg(feature = "otlp-grpc")]
            Self::Grpc => HeaderName::from_static("grpc-encoding"),
        }
    }

    /// Returns the request body of a message.
    #[cfg_attr(
        not(feature = "otlp-grpc"),
        expect(unused_variables, reason = "the encoding is a header in HTTP")
    )]
    pub(super) fn framed(self, message: Bytes, is_compressed: bool) -> Bytes {
        match self {
            Self::HttpProtobuf => message,
            #[cfg(feature = "otlp-grpc")]
            Self::Grpc => super::grpc::framed(&message, is_compressed),
        }
    }
}
