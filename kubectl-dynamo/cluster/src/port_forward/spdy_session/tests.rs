//! Tests of a session against frames from a fake server.
//! They use an in-memory connection and no API server.

use super::*;

/// A session and the server's end of its connection.
fn pair() -> (Arc<SpdySession>, tokio::io::DuplexStream) {
    let (local_end, remote_end) = tokio::io::duplex(1 << 20);
    (SpdySession::start(local_end), remote_end)
}

fn to_frame(text: &[u8]) -> BytesMut {
    let mut frame = BytesMut::zeroed(HEADER_LEN);
    frame.extend_from_slice(text);
    frame
}

async fn send_data(server: &mut tokio::io::DuplexStream, id: u32, text: &[u8], fin: Fin) {
    let mut out = BytesMut::from(&spdy::data_header(id, text.len(), fin)[..]);
    out.extend_from_slice(text);
    server.write_all(&out).await.expect("the session reads");
}

#[tokio::test]
async fn streams_of_one_session_receive_their_own_data() {
    let (session, mut server) = pair();
    let (mut first_writer, mut first_events) = session.new_stream(80);
    let (mut second_writer, mut second_events) = session.new_stream(80);
    first_writer.send(to_frame(b"a")).await.expect("the session is open");
    second_writer.open().await.expect("the session is open");
    assert_eq!(session.users(), 2);
    send_data(&mut server, 7, b"for the second", Fin::Unset).await;
    send_data(&mut server, 3, b"for the first", Fin::Set).await;
    send_data(&mut server, 1, b"", Fin::Set).await;
    assert_eq!(second_events.recv().await, Some(StreamEvent::Bytes(Bytes::from_static(b"for the second"))));
    assert_eq!(first_events.recv().await, Some(StreamEvent::Bytes(Bytes::from_static(b"for the first"))));
    assert_eq!(first_events.recv().await, Some(StreamEvent::End));
    assert_eq!(first_events.recv().await, None, "the stream did not fail");
    drop((first_writer, second_writer));
    assert_eq!(session.users(), 0);
}

#[tokio::test]
async fn error_stream_message_precedes_reset() {
    let (session, mut server) = pair();
    let (mut writer, mut events) = session.new_stream(80);
    writer.open().await.expect("the session is open");
    send_data(&mut server, 1, b"no such port", Fin::Set).await;
    let mut out = BytesMut::new();
    spdy::rst_stream(&mut out, 3);
    server.write_all(&out).await.expect("the session reads");
    assert_eq!(events.recv().await, Some(StreamEvent::Failed("no such port".into())));
    assert_eq!(events.recv().await, Some(StreamEvent::Failed("the connection was reset".into())));
}

#[tokio::test]
async fn broken_session_closes_streams_without_end_event() {
    let (session, server) = pair();
    let (mut writer, mut events) = session.new_stream(80);
    writer.open().await.expect("the session is open");
    drop(server);
    assert_eq!(events.recv().await, None);
    writer.close().await;
    assert!(session.is_dead());
}

#[tokio::test]
async fn unsent_keepalives_do_not_count_as_unanswered() {
    // The server does not read for a while: its side of the connection buffers 16 bytes.
    let (ours, mut server) = tokio::io::duplex(16);
    let keepalive_interval = Duration::from_millis(20);
    let session = SpdySession::start_with_interval(ours, keepalive_interval);
    let (mut writer, _events) = session.new_stream(80);
    let filling = async {
        loop {
            writer.send(to_frame(&[0; 64])).await.expect("the session lives");
        }
    };
    assert!(
        timeout(keepalive_interval * (MAX_MISSED_KEEPALIVES + 3), filling).await.is_err(),
        "the queue is full"
    );
    assert!(!session.is_dead(), "no ping was sent");
    assert_eq!(session.shared.pings.load(Ordering::Relaxed), 0);
    // The server reads again but never answers: pings are sent, and the session ends.
    let mut sink = tokio::io::sink();
    let reading = tokio::io::copy(&mut server, &mut sink);
    assert!(timeout(Duration::from_secs(10), reading).await.is_ok(), "the session ends");
    assert_eq!(session.shared.pings.load(Ordering::Relaxed), MAX_MISSED_KEEPALIVES);
    assert!(session.is_dead());
}
