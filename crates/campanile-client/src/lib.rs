//! Outbound HTTP that can't be turned against its host: addresses are checked when they are connected to, everything ends in time,
//! and nothing that comes back is larger than asked for.
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
//! let answer = client.post(&target, HeaderMap::new(), Bytes::from("{}")).await?;
//! assert_eq!((answer.status.as_u16(), &answer.body[..]), (200, &b"ok"[..]));
//! // Paths hold secrets, so they are not shown.
//! assert!(!format!("{target:?} {target}").contains("s3cr3t"));
//! # Ok(())
//! # }
//! ```
//!
//! # What it does, and doesn't
//!
//! - A redirect is an answer like any other; nothing is sent on to where it points.
//! - Each call has one deadline, for everything from the name's resolution to the last byte, and unless
//!   [asked otherwise](ClientBuilder::keep_alive) a connection of its own.
//! - An answer's body is cut at a cap, and is never decompressed.
//! - TLS is rustls' with ring, and by default with Mozilla's roots, whatever else is in the process.
//! - Proxies in the environment are not used.
//!
//! # Addresses
//!
//! A target from the application's code or environment is trusted. For a target from an API, a client
//! [guards](ClientBuilder::guard) each address that it connects to:
//!
//! | address | guarded |
//! |---|---|
//! | link-local, metadata services of clouds, unspecified, multicast, reserved, documentation | refused |
//! | loopback, private, shared, benchmarking | refused unless a [`Cidr`] allows it |
//! | any other | allowed |
//!
//! An IPv4 address inside an IPv6 address (mapped, compatible, NAT64, 6to4) is judged as the IPv4 address.
//!
//! A URL's host is a DNS name, an IPv4 address as four decimal numbers, or an IPv6 address in brackets.
//! [`Target::parse`] rejects everything else, such as `0x7f.1`, `[127.0.0.1]` and zones. The client
//! connects to the address that it checked: no other parser reads the host.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod client;

mod address;
mod connect;
mod error;
mod retry;
mod target;

pub use self::address::{Cidr, CidrError};
pub use self::client::{Client, ClientBuilder, Response};
pub use self::error::{InvalidCertificates, SendError};
pub use self::retry::retry_after;
pub use self::target::{Target, TargetError};
