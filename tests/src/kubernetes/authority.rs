//! A certificate authority of one test run, the certificates it signs, and kubeconfig files made of them.

use std::path::Path;

use base64::Engine;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use serde_json::{Value, json};

use crate::Outcome;

/// Signs the certificates of one cluster or webhook; lives in memory and ends with the run.
#[derive(Debug)]
pub struct Authority {
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its private key, both PEM.
#[derive(Debug, Clone)]
pub struct Identity {
    pub certificate: String,
    pub key: String,
}

impl Authority {
    pub fn new() -> Outcome<Self> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        params.distinguished_name.push(DnType::CommonName, "kubectl-dynamo-tests");
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?.pem();
        Ok(Self { certificate, issuer: Issuer::new(params, key) })
    }

    /// The authority's own certificate, PEM.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// A server's identity, valid for these host names and addresses.
    pub fn server(&self, name: &str, hosts: &[&str]) -> Outcome<Identity> {
        let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
        self.sign(CertificateParams::new(hosts)?, name, None, ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// A client's identity: Kubernetes takes the common name as the user and the organisation as its group.
    pub fn client(&self, user: &str, group: Option<&str>) -> Outcome<Identity> {
        self.sign(CertificateParams::new(Vec::new())?, user, group, ExtendedKeyUsagePurpose::ClientAuth)
    }

    fn sign(
        &self,
        mut params: CertificateParams,
        name: &str,
        group: Option<&str>,
        usage: ExtendedKeyUsagePurpose,
    ) -> Outcome<Identity> {
        params.distinguished_name.remove(DnType::CommonName);
        params.distinguished_name.push(DnType::CommonName, name);
        if let Some(group) = group {
            params.distinguished_name.push(DnType::OrganizationName, group);
        }
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![usage];
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?.pem();
        Ok(Identity { certificate, key: key.serialize_pem() })
    }

    /// A kubeconfig with one context, `tests`, whose user is this identity.
    pub fn kubeconfig(&self, server: &str, identity: &Identity) -> Value {
        let encoded = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
        json!({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "tests",
            "contexts": [{"name": "tests", "context": {"cluster": "tests", "user": "tests"}}],
            "clusters": [{"name": "tests", "cluster": {
                "server": server,
                "certificate-authority-data": encoded(&self.certificate),
            }}],
            "users": [{"name": "tests", "user": {
                "client-certificate-data": encoded(&identity.certificate),
                "client-key-data": encoded(&identity.key),
            }}],
        })
    }
}

impl Identity {
    /// Writes `NAME.crt` and `NAME.key` into the folder.
    pub fn write(&self, folder: &Path, name: &str) -> std::io::Result<()> {
        std::fs::write(folder.join(format!("{name}.crt")), &self.certificate)?;
        std::fs::write(folder.join(format!("{name}.key")), &self.key)
    }
}
