//! Answers the DNS queries of pods for Services. The node tier does not run the cluster's DNS server, and `bench run`
//! addresses a frontend by the name of its Service.

use std::net::Ipv4Addr;

use k8s_openapi::api::core::v1::Service;
use kube::Client;
use kube::api::Api;
use tokio::net::UdpSocket;
use tokio::process::Command;
use tokio::task::JoinHandle;

use crate::{Outcome, ensure};

/// The address that the kubelet writes into the pods' resolver configuration.
const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 10);
const DOMAIN: &str = ".svc.cluster.local";
const HEADER_BYTES: usize = 12;
/// A response to a recursive query, without and with the error that the name does not exist.
const FOUND: [u8; 2] = [0x81, 0x80];
const NOT_FOUND: [u8; 2] = [0x81, 0x83];
const TYPE_A: [u8; 2] = [0, 1];

/// A running server; it stops when this is dropped.
pub struct ServiceDns(JoinHandle<()>);

impl Drop for ServiceDns {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl ServiceDns {
    /// Starts the server in the network namespace of this process.
    pub async fn start(client: Client) -> Outcome<Self> {
        let address = format!("{ADDRESS}/32");
        let status = Command::new("ip").args(["address", "replace", &address, "dev", "lo"]).status().await?;
        ensure!(status.success(), "ip address: {status}");
        let socket = UdpSocket::bind((ADDRESS, 53)).await?;
        let serve = async move {
            let mut buffer = [0; 512];
            while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
                let query = &buffer[..length];
                let Some(name) = queried_name(query) else { continue };
                let service = address_of(&client, &name).await;
                let _ = socket.send_to(&answer(query, service), from).await;
            }
        };
        Ok(Self(tokio::spawn(serve)))
    }
}

/// The cluster IP of `SERVICE.NAMESPACE.svc.cluster.local`.
async fn address_of(client: &Client, name: &str) -> Option<Ipv4Addr> {
    let (service, namespace) = name.strip_suffix(DOMAIN)?.split_once('.')?;
    let services: Api<Service> = Api::namespaced(client.clone(), namespace);
    services.get_opt(service).await.ok()??.spec?.cluster_ip?.parse().ok()
}

/// The name of the first question, in lowercase.
fn queried_name(query: &[u8]) -> Option<String> {
    let mut labels = Vec::new();
    let mut rest = query.get(HEADER_BYTES..)?;
    loop {
        let (length, after) = rest.split_first()?;
        if *length == 0 {
            return Some(labels.join("."));
        }
        let (label, after) = after.split_at_checked((*length).into())?;
        labels.push(String::from_utf8_lossy(label).to_lowercase());
        rest = after;
    }
}

/// A response with the address, with no record for another type, or with the error that the name does not exist.
fn answer(query: &[u8], address: Option<Ipv4Addr>) -> Vec<u8> {
    let name_end = query[HEADER_BYTES..].iter().position(|byte| *byte == 0).unwrap_or_default();
    let question = &query[HEADER_BYTES..(HEADER_BYTES + name_end + 5).min(query.len())];
    let is_for_address = question.get(name_end + 1..name_end + 3) == Some(&TYPE_A);
    let record = address.filter(|_| is_for_address);
    let mut response = query[..2].to_vec();
    response.extend(if address.is_some() { FOUND } else { NOT_FOUND });
    // One question, and the number of answers.
    response.extend([0, 1, 0, record.is_some().into(), 0, 0, 0, 0]);
    response.extend(question);
    if let Some(address) = record {
        // The name of the question, type A, class IN, 5 seconds, 4 bytes.
        response.extend([0xc0, 0x0c, 0, 1, 0, 1, 0, 0, 0, 5, 0, 4]);
        response.extend(address.octets());
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A query for `a.b` of a type.
    fn query(kind: u8) -> Vec<u8> {
        let mut query = vec![7, 9, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        query.extend(b"\x01A\x01b\x00");
        query.extend([0, kind, 0, 1]);
        query
    }

    #[test]
    fn answers_only_the_requested_type() {
        let address = Some(Ipv4Addr::new(10, 96, 3, 4));
        assert_eq!(queried_name(&query(1)).as_deref(), Some("a.b"));
        let found = answer(&query(1), address);
        assert_eq!((&found[..4], found[7]), (&[7, 9, 0x81, 0x80][..], 1));
        assert!(found.ends_with(&[10, 96, 3, 4]), "{found:?}");
        let other_type = answer(&query(28), address);
        assert_eq!((&other_type[2..4], other_type[7]), (&[0x81, 0x80][..], 0));
        assert_eq!(answer(&query(1), None)[2..4], [0x81, 0x83]);
        assert_eq!(queried_name(&[0; 5]), None);
    }
}
