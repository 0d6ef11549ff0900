//! A certificate authority for one test run, its certificates, and kubeconfig files that use them.
//! Keys of the authority are never written to disk.

use std::path::Path;

use base64::Engine;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use serde_json::{Value, json};

use crate::Outcome;

/// Signs the certificates of one cluster or webhook. It exists only in memory.
#[derive(Debug)]
pub struct CertificateAuthority {
    certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its private key, both PEM.
#[derive(Debug, Clone)]
pub struct CertificateAndKey {
    pub certificate: String,
    pub key: String,
}

impl CertificateAuthority {
    pub fn new() -> Outcome<Self> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        params.distinguished_name.push(DnType::CommonName, "kubectl-dynamo-tests");
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?.pem();
        Ok(Self { certificate, issuer: Issuer::new(params, key) })
    }

    /// Returns the authority's certificate as PEM.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// Creates a server identity for these host names and IP addresses.
    pub fn server_certificate(&self, name: &str, hosts: &[&str]) -> Outcome<CertificateAndKey> {
        let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
        self.sign(CertificateParams::new(hosts)?, name, None, ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// Creates a client identity. Kubernetes uses the common name as the user and the organization as the
    /// group.
    pub fn client_certificate(&self, user: &str, group: Option<&str>) -> Outcome<CertificateAndKey> {
        self.sign(CertificateParams::new(Vec::new())?, user, group, ExtendedKeyUsagePurpose::ClientAuth)
    }

    fn sign(
        &self,
        mut params: CertificateParams,
        name: &str,
        group: Option<&str>,
        usage: ExtendedKeyUsagePurpose,
    ) -> Outcome<CertificateAndKey> {
        params.distinguished_name.remove(DnType::CommonName);
        params.distinguished_name.push(DnType::CommonName, name);
        if let Some(group) = group {
            params.distinguished_name.push(DnType::OrganizationName, group);
        }
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![usage];
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?.pem();
        Ok(CertificateAndKey { certificate, key: key.serialize_pem() })
    }

    /// Returns a kubeconfig with one context, `tests`, whose user is this identity.
    pub fn kubeconfig(&self, server: &str, identity: &CertificateAndKey) -> Value {
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

impl CertificateAndKey {
    /// Writes `NAME.crt` and `NAME.key` into the folder.
    pub fn write(&self, folder: &Path, name: &str) -> std::io::Result<()> {
        std::fs::write(folder.join(format!("{name}.crt")), &self.certificate)?;
        std::fs::write(folder.join(format!("{name}.key")), &self.key)
    }
}
