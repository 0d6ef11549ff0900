//! A certificate authority for one test, and the certificate that it issues to the hub.
//! The keys exist only in memory.

use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::{ServerConfig, crypto};

/// Key and certificate of a TLS listener, and the authority that its clients must trust.
#[derive(Clone)]
pub struct TlsIdentity {
    /// Certificate of the authority (PEM); clients read it from the file in `SSL_CERT_FILE`.
    pub authority: String,
    pub(crate) server: Arc<ServerConfig>,
}

impl std::fmt::Debug for TlsIdentity {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Identity")
    }
}

impl TlsIdentity {
    /// Creates an identity for `names`, which may be IP addresses.
    pub fn generate(names: &[&str]) -> Result<Self, Box<dyn std::error::Error>> {
        let mut authority = CertificateParams::new(Vec::new())?;
        // OpenSSL treats two certificates with the same name as self-signed.
        authority.distinguished_name.push(DnType::CommonName, "kubectl-dynamo tests");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority_key = KeyPair::generate()?;
        let authority_certificate = authority.self_signed(&authority_key)?;
        let issuer = Issuer::new(authority, authority_key);
        let key = KeyPair::generate()?;
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let certificate = CertificateParams::new(names)?.signed_by(&key, &issuer)?;
        let provider = Arc::new(crypto::aws_lc_rs::default_provider());
        let mut server = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
            )?;
        // Like the real hub and its storage host: a client that prefers HTTP/2 gets it.
        server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self { authority: authority_certificate.pem(), server: Arc::new(server) })
    }

    /// Writes the authority's certificate into `folder`.
    pub fn write_authority(&self, folder: &std::path::Path) -> std::io::Result<PathBuf> {
        let path = folder.join("authority.pem");
        std::fs::write(&path, &self.authority)?;
        Ok(path)
    }
}
