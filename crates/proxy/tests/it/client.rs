//! A client that keeps one connection open.

use std::net::{Ipv4Addr, SocketAddrV4};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpSocket, TcpStream};

/// One connection.
pub(crate) struct Client {
    sender: SendRequest<Full<Bytes>>,
}

/// An answer.
#[derive(Debug, PartialEq)]
pub(crate) struct Answer {
    pub(crate) code: u16,
    /// Header `x-knarr-endpoint`.
    pub(crate) endpoint: String,
    /// Header `x-knarr-proxy`, or empty.
    pub(crate) why: String,
    pub(crate) text: String,
}

impl Client {
    pub(crate) async fn to(address: SocketAddrV4) -> Client {
        Client::from(Ipv4Addr::LOCALHOST, address).await
    }

    /// From a source address of its own.
    pub(crate) async fn from(source: Ipv4Addr, address: SocketAddrV4) -> Client {
        let stream = connect(source, address).await;
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection.with_upgrades());
        Client { sender }
    }

    /// Sends a request and reads the whole answer. The connection must still be the same.
    pub(crate) async fn get(&mut self, path: &str) -> Answer {
        let response = self.open(request(path)).await;
        read(response).await
    }

    /// Sends a request and waits for the head of the answer.
    pub(crate) async fn open(&mut self, request: Request<Full<Bytes>>) -> Response<Incoming> {
        self.sender.ready().await.expect("the connection is still open");
        self.sender.send_request(request).await.expect("an answer comes")
    }
}

pub(crate) async fn connect(source: Ipv4Addr, address: SocketAddrV4) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddrV4::new(source, 0).into()).unwrap();
    let stream = socket.connect(address.into()).await.unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}

pub(crate) fn request(path: &str) -> Request<Full<Bytes>> {
    Request::builder().uri(path).header("host", "web").body(Full::default()).unwrap()
}

pub(crate) async fn read(response: Response<Incoming>) -> Answer {
    let header = |name: &str| {
        response.headers().get(name).map_or_else(String::new, |v| v.to_str().unwrap().to_owned())
    };
    let (code, endpoint, why) =
        (response.status().as_u16(), header("x-knarr-endpoint"), header("x-knarr-proxy"));
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    Answer { code, endpoint, why, text: String::from_utf8(bytes.to_vec()).unwrap() }
}
