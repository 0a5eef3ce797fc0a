use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;

fn request(address: std::net::SocketAddr) -> Request<Full<Bytes>> {
    Request::put(format!("http://{address}/_federation/send/1")).body(Full::from("{}")).unwrap()
}

/// Reads one request, head and body.
async fn read(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    while !text.ends_with(b"{}") {
        let mut buffer = [0; 1024];
        let read = stream.read(&mut buffer).await.unwrap();
        assert_ne!(read, 0, "the request breaks off");
        text.extend_from_slice(&buffer[..read]);
    }
    String::from_utf8(text).unwrap()
}

#[tokio::test]
async fn a_connection_is_used_again_and_one_that_was_closed_is_replaced() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut client = Client::default();
    let hub = async {
        let (mut first, _) = listener.accept().await.unwrap();
        for _ in 0..2 {
            let text = read(&mut first).await;
            assert!(text.starts_with("PUT /_federation/send/1 HTTP/1.1\r\nhost: 127.0.0.1:"), "{text}");
            first.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
        }
        drop(first);
        let (mut second, _) = listener.accept().await.unwrap();
        read(&mut second).await;
        second.write_all(b"HTTP/1.1 503 No\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").await.unwrap();
    };
    let asking = async {
        for expected in [200, 200, 503] {
            assert_eq!(client.call(request(address)).await.unwrap().status(), expected);
        }
    };
    tokio::join!(hub, asking);
    assert!(client.idle.take(&address.to_string()).is_none(), "the hub has closed it");
}

#[tokio::test]
async fn an_answer_that_is_too_long_is_not_read() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut client = Client::default();
    let hub = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        read(&mut stream).await;
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", 65 << 10);
        stream.write_all(head.as_bytes()).await.unwrap();
        // Who asked is gone before its end.
        let _ = stream.write_all(&vec![b'x'; 65 << 10]).await;
    };
    let (answer, ()) = tokio::join!(client.call(request(address)), hub);
    assert!(matches!(answer, Err(AskError::Answer(_))), "{answer:?}");
}

#[tokio::test]
async fn a_hub_that_is_not_there_is_an_error() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let answer = Client::default().call(request(address)).await;
    assert!(matches!(answer, Err(AskError::Connect(_))), "{answer:?}");
}
