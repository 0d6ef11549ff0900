//! The documents of a registry that describe an image: an index of several platforms, or the manifest of one platform
//! with its configuration.

use serde::Deserialize;
use serde_json::Value;

use crate::lenient;

/// A manifest of a registry, as far as the plugin reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RegistryManifest {
    /// An index, with the CPU architectures of Linux for which it has an image. The list is empty if they are unknown.
    Index { architectures: Vec<String> },
    /// One image. Its configuration, a blob with this digest, contains the architecture.
    Image { config: Option<String> },
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ManifestFields {
    #[serde(deserialize_with = "lenient::list")]
    manifests: Option<Vec<IndexEntry>>,
    #[serde(deserialize_with = "lenient::object")]
    config: Option<Descriptor>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct IndexEntry {
    #[serde(deserialize_with = "lenient::object")]
    platform: Option<PlatformFields>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Descriptor {
    #[serde(deserialize_with = "lenient::value")]
    digest: Option<String>,
}

/// The platform of an index entry, and the same fields of an image's configuration.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct PlatformFields {
    #[serde(deserialize_with = "lenient::value")]
    os: Option<String>,
    #[serde(deserialize_with = "lenient::value")]
    architecture: Option<String>,
}

impl PlatformFields {
    /// Returns the architecture of a Linux image. An attestation in an index has the platform `unknown/unknown`.
    fn linux_architecture(&self) -> Option<String> {
        self.architecture.clone().filter(|_| self.os.as_deref() == Some("linux"))
    }
}

impl RegistryManifest {
    /// Reads a manifest; `None` if it is not JSON.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let fields: ManifestFields = lenient::read_object(&json(bytes)?)?;
        Some(match fields.manifests {
            Some(entries) => {
                let platforms = entries.iter().filter_map(|entry| entry.platform.as_ref());
                let mut architectures: Vec<String> =
                    platforms.filter_map(PlatformFields::linux_architecture).collect();
                architectures.sort();
                architectures.dedup();
                Self::Index { architectures }
            }
            None => Self::Image { config: fields.config.and_then(|config| config.digest) },
        })
    }
}

/// Returns the CPU architecture in the configuration of a Linux image.
pub fn image_architecture(config: &[u8]) -> Option<String> {
    lenient::read_object::<PlatformFields>(&json(config)?)?.linux_architecture()
}

fn json(bytes: &[u8]) -> Option<Value> {
    serde_json::from_slice(bytes).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parse(document: &Value) -> Option<RegistryManifest> {
        RegistryManifest::parse(document.to_string().as_bytes())
    }

    #[test]
    fn index_lists_the_architectures_of_linux() {
        let platform =
            |os: &str, architecture: &str| json!({ "platform": { "os": os, "architecture": architecture } });
        let index = json!({ "manifests": [
            platform("linux", "arm64"), platform("linux", "amd64"), platform("linux", "arm64"),
            platform("windows", "amd64"), platform("unknown", "unknown"), {}, 3,
        ] });
        let architectures = vec!["amd64".to_owned(), "arm64".to_owned()];
        assert_eq!(parse(&index), Some(RegistryManifest::Index { architectures }));
        let unknown = json!({ "manifests": [{ "digest": "sha256:00" }] });
        assert_eq!(parse(&unknown), Some(RegistryManifest::Index { architectures: Vec::new() }));
    }

    #[test]
    fn image_names_its_configuration() {
        let manifest = json!({ "config": { "digest": "sha256:00ff" }, "layers": [] });
        let config = Some("sha256:00ff".to_owned());
        assert_eq!(parse(&manifest), Some(RegistryManifest::Image { config }));
        assert_eq!(parse(&json!({ "schemaVersion": 1 })), Some(RegistryManifest::Image { config: None }));
        assert_eq!(parse(&json!([1])), None);
        assert_eq!(RegistryManifest::parse(b"<html>"), None);
        assert_eq!(image_architecture(br#"{"architecture":"arm64","os":"linux"}"#), Some("arm64".into()));
        assert_eq!(image_architecture(br#"{"architecture":"amd64","os":"windows"}"#), None);
    }
}
