use std::net::SocketAddr;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// One HTTP/1.1 connection that is kept alive.
#[derive(Debug)]
pub struct Client {
    sender: SendRequest<Full<Bytes>>,
    host: String,
    headers: Vec<(String, String)>,
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    ///
    /// If nothing listens there.
    pub async fn connect(address: SocketAddr) -> std::io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream))
            .await
            .map_err(std::io::Error::other)?;
        // Its end is the sender's error.
        tokio::spawn(connection);
        Ok(Self {
            sender,
            host: address.to_string(),
            headers: Vec::new(),
        })
    }

    /// Adds a header to all requests.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sends a request, with its body as JSON unless it is empty, and returns the status and the
    /// whole body.
    ///
    /// # Panics
    ///
    /// If there is no whole response.
    pub async fn send(&mut self, method: Method, path: &str, body: &str) -> (StatusCode, String) {
        let response = self.try_send(method, path, body).await.unwrap();
        let status = response.status();
        (
            status,
            String::from_utf8(response.into_body().to_vec()).unwrap(),
        )
    }

    /// Sends a request like [`send`](Self::send), and returns the whole response.
    ///
    /// # Errors
    ///
    /// If the connection fails.
    pub async fn try_send(
        &mut self,
        method: Method,
        path: &str,
        body: &str,
    ) -> hyper::Result<Response<Bytes>> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", &self.host);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        if !body.is_empty() {
            request = request.header("content-type", "application/json");
        }
        let request = request.body(Full::from(body.to_owned())).unwrap();
        self.sender.ready().await?;
        let (head, body) = self.sender.send_request(request).await?.into_parts();
        let body = body.collect().await?.to_bytes();
        Ok(Response::from_parts(head, body))
    }
}

/// Gets a path over a new connection. `None` if nothing listens there.
pub async fn get(address: SocketAddr, path: &str) -> Option<(StatusCode, String)> {
    let mut client = Client::connect(address).await.ok()?;
    Some(client.send(Method::GET, path, "").await)
}
