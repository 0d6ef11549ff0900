//! Detects whether a local client has closed its connection or only its sending side.
//!
//! Both send the same FIN, but the kernel knows whether a process still has the socket open. Works only on
//! Linux and for connections from this machine.

use std::net::SocketAddr;

/// The state of the client's end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PeerState {
    /// A process has the socket open and may still read.
    Open,
    /// No process has the socket open.
    Closed,
    /// The client is on another machine, or the operating system does not provide the state.
    Unknown,
}

/// The state of the socket `peer` in its connection with `local`.
pub(super) fn peer_state(peer: SocketAddr, local: SocketAddr) -> PeerState {
    match system::has_process(peer, local) {
        Some(true) => PeerState::Open,
        Some(false) => PeerState::Closed,
        None => PeerState::Unknown,
    }
}

#[cfg(target_os = "linux")]
mod system {
    use std::net::{IpAddr, SocketAddr};

    use rustix::net::netlink::SOCK_DIAG;
    use rustix::net::{
        AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socket_with,
    };

    /// `SOCK_DIAG_BY_FAMILY` of linux/sock_diag.h.
    const BY_FAMILY: u16 = 20;
    /// `NLM_F_REQUEST` of linux/netlink.h.
    const REQUEST: u16 = 1;
    const HEADER: usize = 16;
    const TCP: u8 = 6;
    const IPV4: u8 = 2;
    const IPV6: u8 = 10;
    /// Offset of `idiag_inode` in a response, including the header: linux/inet_diag.h.
    const INODE: usize = HEADER + 4 + 48 + 16;

    /// Returns whether a process has the socket `peer` open; `None` if this is not known. The kernel queues its response
    /// before `send` returns.
    pub(super) fn has_process(peer: SocketAddr, local: SocketAddr) -> Option<bool> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, Some(SOCK_DIAG)).ok()?;
        send(&socket, &request(peer, local), SendFlags::empty()).ok()?;
        let mut response = [0; 1024];
        let (_, length) = recv(&socket, &mut response[..], RecvFlags::empty()).ok()?;
        let kind = u16::from_ne_bytes(*response.get(4..)?.first_chunk()?);
        if kind != BY_FAMILY || length < INODE + 4 {
            return None;
        }
        // A socket without an inode does not belong to a process.
        let inode = u32::from_ne_bytes(*response.get(INODE..)?.first_chunk()?);
        Some(inode != 0)
    }

    /// `struct nlmsghdr` and `struct inet_diag_req_v2`.
    fn request(peer: SocketAddr, local: SocketAddr) -> Vec<u8> {
        let family = if peer.is_ipv4() { IPV4 } else { IPV6 };
        let mut body = vec![family, TCP, 0, 0];
        // Sockets in every state.
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
        // Any interface and any cookie.
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

    /// Returns that nothing is known.
    pub(super) fn has_process(_: SocketAddr, _: SocketAddr) -> Option<bool> {
        None
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::net::{Shutdown, TcpListener, TcpStream};

    use super::*;

    #[test]
    fn distinguishes_closed_from_half_closed_peer() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(listener) = TcpListener::bind(address) else { continue };
            let local = listener.local_addr().expect("bound");
            let client = TcpStream::connect(local).expect("the listener accepts");
            let (_accepted, peer) = listener.accept().expect("a client has connected");
            assert_eq!(peer_state(peer, local), PeerState::Open);
            client.shutdown(Shutdown::Write).expect("the connection is open");
            assert_eq!(peer_state(peer, local), PeerState::Open);
            drop(client);
            assert_eq!(peer_state(peer, local), PeerState::Closed);
            assert_eq!(
                peer_state("192.0.2.1:9".parse().expect("a valid address"), local),
                PeerState::Unknown
            );
        }
    }
}
