use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use http::Response;
use http::request::Parts;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::AbortHandle;
use tokio::time::{sleep, timeout};

/// The limit of connections. Another one replaces the oldest.
const MAX_CONNECTIONS: usize = 256;
/// The time limit of a request and its response. A probe of Kubernetes times out after 1 s.
const MAX_TIME: Duration = Duration::from_secs(1);
const MAX_REQUEST: usize = 4 << 10;
/// The pause after a failed accept, for example if too many files are open.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Returns the response to a probe.
pub(crate) type Respond = Arc<dyn Fn(&Parts) -> Response<String> + Send + Sync>;

/// Serves probes on this thread, in a separate runtime, until the sender is dropped.
pub(super) fn serve(
    listener: &std::net::TcpListener,
    respond: &Respond,
    ended: oneshot::Receiver<()>,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let listener = listener.try_clone()?;
    listener.set_nonblocking(true)?;
    runtime.block_on(async {
        let listener = TcpListener::from_std(listener)?;
        tokio::select! {
            () = accept(&listener, respond, MAX_TIME) => {}
            _ = ended => {}
        }
        Ok(())
    })
}

async fn accept(listener: &TcpListener, respond: &Respond, max_time: Duration) {
    let mut connections = VecDeque::<AbortHandle>::new();
    loop {
        let Ok((connection, _)) = listener.accept().await else {
            sleep(ACCEPT_PAUSE).await;
            continue;
        };
        connections.retain(|connection| !connection.is_finished());
        if connections.len() >= MAX_CONNECTIONS
            && let Some(oldest) = connections.pop_front()
        {
            oldest.abort();
        }
        let respond = Arc::clone(respond);
        let talk = async move { drop(timeout(max_time, answer(connection, &respond)).await) };
        connections.push_back(tokio::spawn(talk).abort_handle());
    }
}

async fn answer(mut connection: TcpStream, respond: &Respond) -> io::Result<()> {
    let mut request = Vec::new();
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        let read = connection.read_buf(&mut request).await?;
        if read == 0 || request.len() > MAX_REQUEST {
            return Ok(());
        }
    }
    let response = match parse(&request) {
        Some(request) => respond(&request),
        None => {
            let mut response = Response::new(String::new());
            *response.status_mut() = http::StatusCode::NOT_FOUND;
            response
        }
    };
    let (head, body) = response.into_parts();
    let mut out = format!("HTTP/1.1 {}\r\nconnection: close\r\n", head.status).into_bytes();
    for (name, value) in &head.headers {
        out.extend_from_slice(name.as_str().as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    if !head.headers.contains_key(http::header::CONTENT_LENGTH) {
        write!(out, "content-length: {}\r\n", body.len())?;
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(body.as_bytes());
    connection.write_all(&out).await
}

/// Parses the method, the target and the `Accept` header.
fn parse(request: &[u8]) -> Option<Parts> {
    let text = str::from_utf8(request).ok()?;
    let mut lines = text.split("\r\n");
    let mut first = lines.next()?.split(' ');
    let builder = http::Request::builder()
        .method(first.next()?)
        .uri(first.next()?);
    let accept = lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("accept").then(|| value.trim())
    });
    let builder = match accept {
        Some(accept) => builder.header(http::header::ACCEPT, accept),
        None => builder,
    };
    Some(builder.body(()).ok()?.into_parts().0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Health;

    #[tokio::test]
    async fn past_the_limit_the_oldest_connection_is_closed() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let health = Health::builder().build().unwrap();
        let hour = Duration::from_secs(3_600);
        let connect = async {
            let mut all = VecDeque::new();
            for _ in 0..=MAX_CONNECTIONS {
                all.push_back(TcpStream::connect(address).await.unwrap());
            }
            let closed = all[0].read(&mut [0]).await;
            assert!(matches!(closed, Ok(0) | Err(_)), "{closed:?}");
            let newest = all.back_mut().unwrap();
            newest
                .write_all(b"GET /livez HTTP/1.1\r\n\r\n")
                .await
                .unwrap();
            let mut answer = String::new();
            newest.read_to_string(&mut answer).await.unwrap();
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        };
        let respond: Respond = Arc::new(move |request| health.respond(request));
        let accept = accept(&listener, &respond, hour);
        let test = async {
            tokio::select! { () = connect => {} () = accept => {} }
        };
        timeout(Duration::from_secs(20), test).await.unwrap();
    }
}
