//! Images in registries: where a container runtime looks for an image, which credentials it uses, and what the
//! documents of a registry contain. It must not send requests.

mod credentials;
mod manifest;

pub use credentials::{RegistryCredentials, credentials_for};
pub use manifest::{RegistryManifest, image_architecture};

/// The registry of images without a registry in their name.
const DEFAULT_REGISTRY: &str = "docker.io";
/// The host that responds for it.
const DEFAULT_REGISTRY_HOST: &str = "registry-1.docker.io";

/// The address of an image, with the defaults of container runtimes applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistryImage {
    /// Host of the registry, with its port if the name has one.
    pub registry: String,
    /// Path of the image in the registry.
    pub repository: String,
    /// Digest or tag.
    pub reference: String,
}

impl RegistryImage {
    /// Reads the name of an image. The name must be valid.
    pub fn parse(image: &str) -> Self {
        let (name, digest) =
            image.split_once('@').map_or((image, None), |(name, digest)| (name, Some(digest)));
        // A colon before the last slash belongs to a port.
        let (name, tag) = match name.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
            _ => (name, None),
        };
        let (registry, path) = match name.split_once('/') {
            Some((registry, path)) if registry.contains(['.', ':']) || registry == "localhost" => {
                (registry, path)
            }
            _ => (DEFAULT_REGISTRY, name),
        };
        let is_official = is_default_registry(registry) && !path.contains('/');
        let repository = if is_official { format!("library/{path}") } else { path.to_owned() };
        let reference = digest.or(tag).unwrap_or("latest").to_owned();
        Self { registry: registry.into(), repository, reference }
    }

    /// Whether the registry runs on this machine. Container runtimes send requests to such a registry without TLS.
    pub fn is_on_this_machine(&self) -> bool {
        let is_port = |port: &str| port.bytes().all(|digit| digit.is_ascii_digit());
        let host = self.registry.rsplit_once(':').filter(|(_, port)| is_port(port));
        is_loopback(host.map_or(self.registry.as_str(), |(host, _)| host))
    }

    /// URL of the manifest or the index.
    pub fn manifest_url(&self) -> String {
        format!("{}/manifests/{}", self.repository_url(), self.reference)
    }

    /// URL of a blob.
    pub fn blob_url(&self, digest: &str) -> String {
        format!("{}/blobs/{digest}", self.repository_url())
    }

    /// The scope of a token that allows to pull the image.
    pub fn pull_scope(&self) -> String {
        format!("repository:{}:pull", self.repository)
    }

    fn repository_url(&self) -> String {
        let scheme = if self.is_on_this_machine() { "http" } else { "https" };
        let host = if is_default_registry(&self.registry) { DEFAULT_REGISTRY_HOST } else { &self.registry };
        format!("{scheme}://{host}/v2/{}", self.repository)
    }
}

fn is_default_registry(host: &str) -> bool {
    [DEFAULT_REGISTRY, DEFAULT_REGISTRY_HOST, "index.docker.io"].contains(&host)
}

/// Whether a host, without a port, is this machine.
pub fn is_loopback(host: &str) -> bool {
    let is_address = host.split('.').count() == 4 && host.split('.').all(|part| part.parse::<u8>().is_ok());
    host == "localhost" || host == "[::1]" || (is_address && host.starts_with("127."))
}

/// What is known about an image after its registry was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageLookup {
    /// The registry has the image for these CPU architectures of Linux. The list is empty if they are unknown.
    Found { architectures: Vec<String> },
    /// The registry does not have the image or its tag.
    NotFound,
    /// The registry denies access.
    Denied(TriedCredentials),
    /// The registry did not give a usable response. The text says what it did.
    Inconclusive(String),
}

/// The credentials with which a registry denied access.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TriedCredentials {
    /// The pods do not have a Secret for the registry.
    None,
    /// The names of the pods' Secrets for the registry.
    Secrets(Vec<String>),
    /// A Secret of the pods could not be read, with the reason.
    Unreadable(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_get_the_defaults_of_container_runtimes() {
        for (image, url) in [
            ("busybox", "https://registry-1.docker.io/v2/library/busybox/manifests/latest"),
            ("docker.io/busybox:1", "https://registry-1.docker.io/v2/library/busybox/manifests/1"),
            ("index.docker.io/busybox", "https://registry-1.docker.io/v2/library/busybox/manifests/latest"),
            ("acme/tiny:1", "https://registry-1.docker.io/v2/acme/tiny/manifests/1"),
            ("docker.io/acme/tiny", "https://registry-1.docker.io/v2/acme/tiny/manifests/latest"),
            (
                "nvcr.io/nvidia/ai-dynamo/vllm:1.6.1",
                "https://nvcr.io/v2/nvidia/ai-dynamo/vllm/manifests/1.6.1",
            ),
            ("registry.test:5000/a@sha256:00ff", "https://registry.test:5000/v2/a/manifests/sha256:00ff"),
            ("registry.test/a:1@sha256:00ff", "https://registry.test/v2/a/manifests/sha256:00ff"),
            ("localhost:5000/a:1", "http://localhost:5000/v2/a/manifests/1"),
            ("localhost/a", "http://localhost/v2/a/manifests/latest"),
            ("127.0.0.1:5000/a", "http://127.0.0.1:5000/v2/a/manifests/latest"),
            ("[::1]:5000/a", "http://[::1]:5000/v2/a/manifests/latest"),
            ("127.example.test/a", "https://127.example.test/v2/a/manifests/latest"),
            ("127.0.0.1.example.test/a", "https://127.0.0.1.example.test/v2/a/manifests/latest"),
        ] {
            assert_eq!(RegistryImage::parse(image).manifest_url(), url, "{image}");
        }
    }
}
