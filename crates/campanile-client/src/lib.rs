//! An HTTP client for outgoing requests with a timeout, a size limit and a guard against SSRF.
//!
//! ```
//! use bytes::Bytes;
//! use campanile_client::{Client, Target};
//! use http::HeaderMap;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//! # let url = format!("http://{}/hooks/s3cr3t", listener.local_addr()?);
//! # tokio::spawn(async move {
//! #     use tokio::io::{AsyncReadExt, AsyncWriteExt};
//! #     let mut stream = listener.accept().await?.0;
//! #     stream.read(&mut [0; 1_024]).await?;
//! #     stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await
//! # });
//! let client = Client::new();
//! let target = Target::parse(&url)?; // "http://127.0.0.1:34567/hooks/s3cr3t"
//! let response = client.post(&target, HeaderMap::new(), Bytes::from("{}")).await?;
//! assert_eq!((response.status.as_u16(), &response.body[..]), (200, &b"ok"[..]));
//! // Paths may hold secrets, so `Debug` and `Display` leave them out.
//! assert!(!format!("{target:?} {target}").contains("s3cr3t"));
//! # Ok(())
//! # }
//! ```
//!
//! # Behavior
//!
//! - The client does not follow redirects. It returns them as responses.
//! - Each call has one deadline, from the resolution of the name to the last byte.
//! - Each call opens a new connection, unless [`keep_alive`](ClientBuilder::keep_alive) is set.
//! - A response body is truncated at a [limit](ClientBuilder::max_body), and is never decompressed.
//! - TLS is rustls with ring, by default with Mozilla's root certificates. The process-wide
//!   provider is not used.
//! - The client ignores the proxies in the environment.
//!
//! # Addresses
//!
//! A target from the application's code or environment is trusted. For a target from an API, a
//! client [guards](ClientBuilder::guard) each address that it connects to:
//!
//! | address | guarded |
//! |---|---|
//! | link-local, cloud metadata services, unspecified, multicast, reserved, documentation | rejected |
//! | loopback, private, shared, benchmarking | rejected unless a [`Cidr`] allows it |
//! | any other | allowed |
//!
//! An IPv4 address inside an IPv6 address (mapped, compatible, NAT64, 6to4) is treated as the IPv4
//! address.
//!
//! A URL's host is a DNS name, an IPv4 address as four decimal numbers, or an IPv6 address in
//! brackets. [`Target::parse`] rejects everything else, such as `0x7f.1`, `[127.0.0.1]` and zones.
//! The client connects to the address that it checked: no other parser reads the host.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod address;
mod builder;
mod client;
mod connect;
mod error;
mod retry;
mod target;

pub use self::address::{Cidr, CidrError};
pub use self::builder::ClientBuilder;
pub use self::client::{Client, Response};
pub use self::error::{InvalidCertificates, SendError};
pub use self::retry::retry_after;
pub use self::target::{Target, TargetError};
