//! What a session makes of the frames of a server that a test plays.

use super::*;

/// A session and the bytes of its server's end.
fn pair() -> (Arc<Session>, tokio::io::DuplexStream) {
    let (ours, theirs) = tokio::io::duplex(1 << 20);
    (Session::over(ours), theirs)
}

fn framed(text: &[u8]) -> BytesMut {
    let mut frame = BytesMut::zeroed(HEAD);
    frame.extend_from_slice(text);
    frame
}

async fn say(server: &mut tokio::io::DuplexStream, id: u32, text: &[u8], says: Says) {
    let mut out = BytesMut::from(&frames::data_head(id, text.len(), says)[..]);
    out.extend_from_slice(text);
    server.write_all(&out).await.expect("the session reads");
}

#[tokio::test]
async fn streams_share_a_session_and_each_hears_its_own() {
    let (session, mut server) = pair();
    let (mut one, mut first) = session.stream(80);
    let (mut two, mut second) = session.stream(80);
    one.send(framed(b"a")).await.expect("it is open");
    two.open().await.expect("it is open");
    assert_eq!(session.users(), 2);
    say(&mut server, 7, b"for the second", Says::More).await;
    say(&mut server, 3, b"for the first", Says::Last).await;
    say(&mut server, 1, b"", Says::Last).await;
    assert_eq!(second.recv().await, Some(Told::Bytes(Bytes::from_static(b"for the second"))));
    assert_eq!(first.recv().await, Some(Told::Bytes(Bytes::from_static(b"for the first"))));
    assert_eq!(first.recv().await, Some(Told::End));
    assert_eq!(first.recv().await, None, "nothing went wrong");
    drop((one, two));
    assert_eq!(session.users(), 0);
}

#[tokio::test]
async fn words_of_the_error_stream_come_before_the_reset() {
    let (session, mut server) = pair();
    let (mut voice, mut told) = session.stream(80);
    voice.open().await.expect("it is open");
    say(&mut server, 1, b"no such port", Says::Last).await;
    let mut out = BytesMut::new();
    frames::reset(&mut out, 3);
    server.write_all(&out).await.expect("the session reads");
    assert_eq!(told.recv().await, Some(Told::Failed("no such port".into())));
    assert_eq!(told.recv().await, Some(Told::Failed("the connection was reset".into())));
}

#[tokio::test]
async fn a_session_that_breaks_ends_its_streams_without_an_end() {
    let (session, server) = pair();
    let (mut voice, mut told) = session.stream(80);
    voice.open().await.expect("it is open");
    drop(server);
    assert_eq!(told.recv().await, None);
    voice.leave().await;
    assert!(session.is_dead());
}
