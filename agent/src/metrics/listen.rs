//! The page over HTTP/1.1, for scrapers: `GET /metrics`, one answer a connection. Off unless configured, and for this
//! host alone unless the configuration says otherwise: there is nothing to log in with.

use super::CONTENT_TYPE;
use crate::local::{Asked, Places, Question};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// Longest request, headers included.
const REQUEST_BYTES_MAX: usize = 8 << 10;
/// Scrapes at one time; the next ones wait for a place.
const CONNECTIONS_MAX: usize = 4;
/// Longest life of a connection.
const PATIENCE: Duration = Duration::from_secs(5);

/// The open port.
pub struct Listener {
    listener: TcpListener,
}

impl Listener {
    /// Binds `address`.
    ///
    /// # Errors
    ///
    /// Of the operating system.
    pub async fn bind(address: SocketAddr) -> io::Result<Self> {
        Ok(Self { listener: TcpListener::bind(address).await? })
    }

    /// Where it listens.
    ///
    /// # Errors
    ///
    /// Of the operating system.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Answers for ever.
    pub async fn serve(self, asked: mpsc::Sender<Asked>) {
        let places = Places { count: CONNECTIONS_MAX, patience: PATIENCE };
        places.serve(|| self.listener.accept(), |stream| answer(stream, asked.clone())).await;
    }
}

async fn answer(mut stream: TcpStream, asked: mpsc::Sender<Asked>) -> io::Result<()> {
    let head = read_head(&mut stream).await?;
    let (status, kind, body) = match target(&head) {
        Some(("GET", "/metrics")) => ("200 OK", CONTENT_TYPE, Asked::put(Question::Metrics, &asked).await?),
        Some(("GET", _)) => ("404 Not Found", "text/plain", "the metrics are at /metrics\n".to_owned()),
        Some(_) => ("405 Method Not Allowed", "text/plain", "only GET is answered\n".to_owned()),
        None => ("400 Bad Request", "text/plain", "no HTTP/1 request\n".to_owned()),
    };
    let length = body.len();
    let head =
        format!("HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    stream.shutdown().await
}

/// Up to the empty line after the headers; what does not come to one within the limit is cut.
async fn read_head(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut head = Vec::with_capacity(1 << 10);
    while head.len() < REQUEST_BYTES_MAX && !head.windows(4).any(|end| end == b"\r\n\r\n") {
        if stream.read_buf(&mut head).await? == 0 {
            break;
        }
    }
    Ok(head)
}

/// Method and path of a request that is whole, the query left out.
fn target(head: &[u8]) -> Option<(&str, &str)> {
    let head = std::str::from_utf8(head).ok()?;
    let (line, _) = head.split_once("\r\n").filter(|_| head.contains("\r\n\r\n"))?;
    let (method, rest) = line.split_once(' ')?;
    let (target, _) = rest.split_once(' ').filter(|(_, version)| version.starts_with("HTTP/1."))?;
    Some((method, target.split('?').next().unwrap_or(target)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::local::Answer;

    /// What a listener says to these bytes; it gives an agent's default status to whom it asks.
    async fn said(request: &[u8]) -> String {
        let listener = Listener::bind("127.0.0.1:0".parse().expect("address")).await.expect("a port");
        let address = listener.address().expect("address");
        let (asked, mut questions) = mpsc::channel::<Asked>(1);
        tokio::spawn(listener.serve(asked));
        tokio::spawn(async move {
            while let Some(asked) = questions.recv().await {
                let _ = asked.answer.send(Answer::Status(Box::default()));
            }
        });
        let mut stream = TcpStream::connect(address).await.expect("connect");
        stream.write_all(request).await.expect("write");
        // Half-closed: what is not whole by now will never be.
        stream.shutdown().await.expect("shutdown");
        let mut answer = String::new();
        // An answer to a request that was not read to its end comes with a reset.
        let _ = stream.read_to_string(&mut answer).await;
        answer
    }

    #[tokio::test]
    async fn scraper_gets_the_page_with_its_kind_and_length() {
        let answer = said(b"GET /metrics?x=1 HTTP/1.1\r\nHost: here\r\n\r\n").await;
        let (head, body) = answer.split_once("\r\n\r\n").expect("head and body");
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && head.contains(CONTENT_TYPE), "{head}");
        assert!(head.contains(&format!("Content-Length: {}", body.len())), "{head}");
        assert!(body.starts_with("# HELP ") && body.ends_with("# EOF\n"), "{body}");
    }

    #[tokio::test]
    async fn everything_else_is_refused() {
        for (request, status) in [
            (&b"GET / HTTP/1.1\r\n\r\n"[..], "404"),
            (b"POST /metrics HTTP/1.1\r\n\r\n", "405"),
            (b"GET /metrics\r\n\r\n", "400"),
            (b"GET /metrics HTTP/1.1\r\n", "400"),
            (b"\x16\x03\x01\xff\xfe\r\n\r\n", "400"),
            (b"", "400"),
        ] {
            let answer = said(request).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request:?}: {answer}");
        }
    }

    #[tokio::test]
    async fn endless_head_is_not_read_to_its_end() {
        let request = [b"GET /metrics HTTP/1.1\r\nX: ".as_slice(), &vec![b'x'; 2 * REQUEST_BYTES_MAX]].concat();
        let answer = said(&request).await;
        assert!(!answer.contains("200 OK"), "{answer}");
    }
}
