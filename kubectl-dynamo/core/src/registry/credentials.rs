//! Credentials in Secrets for pulling images. An entry applies to an image by the rules of the kubelet: host with
//! wildcards, port, and the start of the path.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde::Deserialize;
use serde_json::Value;

use super::{RegistryImage, is_default_registry};
use crate::lenient;

/// A user name and a password for a registry. They are never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct RegistryCredentials {
    pub username: String,
    pub password: String,
}

impl fmt::Debug for RegistryCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RegistryCredentials")
    }
}

/// The content of `.dockerconfigjson`.
#[derive(Default, Deserialize)]
#[serde(default)]
struct DockerConfig {
    #[serde(deserialize_with = "lenient::value")]
    auths: Option<BTreeMap<String, Value>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Login {
    #[serde(deserialize_with = "lenient::value")]
    username: Option<String>,
    #[serde(deserialize_with = "lenient::value")]
    password: Option<String>,
    /// `username:password` in base64, with or without padding. It takes precedence, as in the kubelet.
    #[serde(deserialize_with = "lenient::value")]
    auth: Option<String>,
}

impl Login {
    fn into_credentials(self) -> Option<RegistryCredentials> {
        let Some(auth) = self.auth.filter(|auth| !auth.trim().is_empty()) else {
            return Some(RegistryCredentials { username: self.username?, password: self.password? });
        };
        let decoded = STANDARD_NO_PAD.decode(auth.trim().trim_end_matches('=')).ok()?;
        let text = String::from_utf8(decoded).ok()?;
        let (username, password) = text.split_once(':')?;
        Some(RegistryCredentials { username: username.into(), password: password.into() })
    }
}

/// Returns the credentials for an image in the content of a Secret, the most specific entry first. `key` is
/// `.dockerconfigjson` or `.dockercfg`.
pub fn credentials_for(image: &RegistryImage, key: &str, content: &[u8]) -> Vec<RegistryCredentials> {
    let Ok(document) = serde_json::from_slice::<Value>(content) else { return Vec::new() };
    let entries: BTreeMap<String, Value> = match key {
        ".dockercfg" => BTreeMap::deserialize(document).unwrap_or_default(),
        _ => lenient::read::<DockerConfig>(&document).auths.unwrap_or_default(),
    };
    let mut matching: Vec<(String, Value)> =
        entries.into_iter().filter(|(entry, _)| applies_to(entry, image)).collect();
    matching.sort_by_key(|(entry, _)| std::cmp::Reverse(entry.len()));
    matching.iter().filter_map(|(_, login)| lenient::read::<Login>(login).into_credentials()).collect()
}

/// Whether an entry, such as `https://index.docker.io/v1/` or `*.example.com:5000/team`, applies to an image.
fn applies_to(entry: &str, image: &RegistryImage) -> bool {
    let entry = entry.split_once("://").map_or(entry, |(_, rest)| rest);
    let (host, path) = entry.split_once('/').unwrap_or((entry, ""));
    // The version of the registry's API is not a part of the path.
    let path = match path.split_once('/').unwrap_or((path, "")) {
        ("v1" | "v2", rest) => rest,
        _ => path,
    };
    host_matches(host, &image.registry) && image.repository.starts_with(path.trim_matches('/'))
}

fn host_matches(pattern: &str, registry: &str) -> bool {
    if is_default_registry(pattern) || is_default_registry(registry) {
        return is_default_registry(pattern) && is_default_registry(registry);
    }
    let (patterns, parts) = (pattern.split('.'), registry.split('.'));
    patterns.clone().count() == parts.clone().count()
        && patterns.zip(parts).all(|(pattern, part)| part_matches(pattern, part))
}

/// Whether a part of a host name matches, with one `*` for any characters.
fn part_matches(pattern: &str, part: &str) -> bool {
    match pattern.split_once('*') {
        Some((start, end)) => part.strip_prefix(start).is_some_and(|rest| rest.ends_with(end)),
        None => pattern == part,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn users(image: &str, auths: &Value) -> Vec<String> {
        let content = json!({ "auths": auths }).to_string();
        let found = credentials_for(&RegistryImage::parse(image), ".dockerconfigjson", content.as_bytes());
        found.into_iter().map(|one| one.username).collect()
    }

    fn login(user: &str) -> Value {
        json!({ "username": user, "password": "secret" })
    }

    #[test]
    fn entries_apply_by_host_port_and_path() {
        for (entry, image, applies) in [
            ("registry.test", "registry.test/a:1", true),
            ("https://registry.test", "registry.test/a:1", true),
            ("https://registry.test/v2/", "registry.test/a:1", true),
            ("registry.test:5000", "registry.test:5000/a", true),
            ("registry.test", "registry.test:5000/a", false),
            ("*.test", "registry.test/a", true),
            ("*.test", "a.registry.test/a", false),
            ("reg*.test", "registry.test/a", true),
            ("registry.test/team", "registry.test/team/a", true),
            ("registry.test/team", "registry.test/other/a", false),
            ("registry.test/v2", "registry.test/other/a", true),
            ("registry.test/v1/team", "registry.test/other/a", false),
            ("registry.test/v2team", "registry.test/team/a", false),
            ("https://index.docker.io/v1/", "busybox", true),
            ("docker.io", "docker.io/acme/a", true),
            ("https://index.docker.io/v1/", "registry.test/a", false),
            ("registry.test", "busybox", false),
        ] {
            assert_eq!(!users(image, &json!({ entry: login("u") })).is_empty(), applies, "{entry} {image}");
        }
    }

    #[test]
    fn the_most_specific_entry_is_first() {
        let auths = json!({ "registry.test": login("all"), "registry.test/team": login("team") });
        assert_eq!(users("registry.test/team/a", &auths), ["team", "all"]);
    }

    #[test]
    fn reads_every_form_of_a_login_and_skips_others() {
        let auths = |login: Value| json!({ "registry.test": login });
        // `encoded:se:cret`
        assert_eq!(users("registry.test/a", &auths(json!({ "auth": "ZW5jb2RlZDpzZTpjcmV0" }))), ["encoded"]);
        // `one:two`, with and without padding, and next to empty fields.
        for auth in ["b25lOnR3bw==", "b25lOnR3bw"] {
            let login = json!({ "username": "", "password": "", "auth": auth });
            assert_eq!(users("registry.test/a", &auths(login)), ["one"]);
        }
        for broken in [json!({}), json!({ "auth": "%" }), json!({ "username": "u" }), json!(3)] {
            assert_eq!(users("registry.test/a", &auths(broken)), [""; 0]);
        }
        let image = RegistryImage::parse("registry.test/a");
        let content = auths(login("old")).to_string();
        let old = credentials_for(&image, ".dockercfg", content.as_bytes());
        assert_eq!(old.len(), 1);
        assert_eq!(format!("{old:?}"), "[RegistryCredentials]");
        assert_eq!(credentials_for(&image, ".dockerconfigjson", b"not JSON"), []);
    }
}
