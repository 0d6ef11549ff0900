//! Whether the program at the other end of a connection of this machine still holds it. A program that closes a
//! connection and one that only has no more to say send the same; the kernel knows which it was.

use std::net::SocketAddr;

/// What is known of the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Peer {
    /// A program holds it and may still read.
    Held,
    /// Nobody will ever read from it.
    Abandoned,
    /// It is not of this machine, or this system cannot tell.
    Unknown,
}

/// Looks at the end `peer` of its connection with `local`.
pub(super) fn look(peer: SocketAddr, local: SocketAddr) -> Peer {
    system::look(peer, local).unwrap_or(Peer::Unknown)
}

#[cfg(target_os = "linux")]
mod system {
    use std::net::{IpAddr, SocketAddr};

    use rustix::net::netlink::SOCK_DIAG;
    use rustix::net::{
        AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with,
    };

    use super::Peer;

    /// `SOCK_DIAG_BY_FAMILY` of linux/sock_diag.h.
    const BY_FAMILY: u16 = 20;
    /// `NLM_F_REQUEST` of linux/netlink.h.
    const REQUEST: u16 = 1;
    const HEADER: usize = 16;
    const TCP: u8 = 6;
    const IPV4: u8 = 2;
    const IPV6: u8 = 10;
    /// Where `idiag_inode` stands in an answer, after the header: linux/inet_diag.h.
    const INODE: usize = HEADER + 4 + 48 + 16;

    /// Asks for one socket; the kernel answers before `send` returns.
    pub(super) fn look(peer: SocketAddr, local: SocketAddr) -> Option<Peer> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let asking = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, Some(SOCK_DIAG)).ok()?;
        send(&asking, &request(peer, local), SendFlags::empty()).ok()?;
        let mut answer = [0; 1024];
        let (_, length) = recv(&asking, &mut answer[..], RecvFlags::empty()).ok()?;
        let kind = u16::from_ne_bytes(*answer.get(4..)?.first_chunk()?);
        if kind != BY_FAMILY || length < INODE + 4 {
            return None;
        }
        // A socket without an inode belongs to no program.
        let inode = u32::from_ne_bytes(*answer.get(INODE..)?.first_chunk()?);
        Some(if inode == 0 { Peer::Abandoned } else { Peer::Held })
    }

    /// `struct nlmsghdr` and `struct inet_diag_req_v2`.
    fn request(peer: SocketAddr, local: SocketAddr) -> Vec<u8> {
        let family = if peer.is_ipv4() { IPV4 } else { IPV6 };
        let mut body = vec![family, TCP, 0, 0];
        // Of every state.
        body.extend(u32::MAX.to_ne_bytes());
        body.extend(peer.port().to_be_bytes());
        body.extend(local.port().to_be_bytes());
        for address in [peer.ip(), local.ip()] {
            match address {
                IpAddr::V4(address) => {
                    body.extend(address.octets());
                    body.extend([0; 12]);
                }
                IpAddr::V6(address) => body.extend(address.octets()),
            }
        }
        // Of any interface, and of whichever cookie.
        body.extend(0_u32.to_ne_bytes());
        body.extend([0xff; 8]);
        let length = u32::try_from(HEADER + body.len()).unwrap_or(u32::MAX);
        let mut message = Vec::from(length.to_ne_bytes());
        message.extend(BY_FAMILY.to_ne_bytes());
        message.extend(REQUEST.to_ne_bytes());
        message.extend([1_u32.to_ne_bytes(), [0; 4]].concat());
        message.extend(body);
        message
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use std::net::SocketAddr;

    use super::Peer;

    pub(super) fn look(_: SocketAddr, _: SocketAddr) -> Option<Peer> {
        None
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::net::{Shutdown, TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_closed_connection_is_told_from_a_half_closed_one() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(listener) = TcpListener::bind(address) else { continue };
            let local = listener.local_addr().expect("bound");
            let client = TcpStream::connect(local).expect("it listens");
            let (_accepted, peer) = listener.accept().expect("it was connected to");
            assert_eq!(look(peer, local), Peer::Held);
            client.shutdown(Shutdown::Write).expect("it is open");
            assert_eq!(look(peer, local), Peer::Held);
            drop(client);
            assert_eq!(look(peer, local), Peer::Abandoned);
            assert_eq!(look("192.0.2.1:9".parse().expect("an address"), local), Peer::Unknown);
        }
    }
}
