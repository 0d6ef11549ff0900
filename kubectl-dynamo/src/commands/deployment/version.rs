//! Which release and which images a deployment gets, from everything that was said of either.

use crate::intent::request::{Found, Layer, Leaf, Merged, Source, find};
use crate::intent::{IntentError, ServingIntent};
use crate::plan::model_cache::FETCHER_IMAGE;
use crate::release::Release;

/// A release, and who said it.
pub(in crate::commands) struct Version {
    pub text: String,
    /// `flag`, `live object`, `image`, `detected` or `default`, as the plan shows it.
    pub source: String,
}

/// What nobody says: the release that fits the cluster (or the default one), and this version's own fetcher.
pub(super) fn unsaid(release: &str, source: Source) -> [Layer; 2] {
    let leaf = |path: &str, value: &str| Leaf {
        field: find(path).expect("the table has every path that is written here"),
        key: None,
        value: value.into(),
    };
    [
        Layer { source, leaves: vec![leaf("release", release)] },
        Layer { source: Source::Default, leaves: vec![leaf("fetcherImage", FETCHER_IMAGE)] },
    ]
}

/// The release: what is said of it, or the tag of an image that is said more strongly.
pub(super) fn version(said: &Merged) -> Version {
    let release = said.get("release");
    let of_image = said.get("image").and_then(|image| Some((image, tag(image.text())?)));
    match (release, of_image) {
        (Some(release), Some((image, tag))) if !release.outweighs(image) => {
            let source = if image.source == Source::Flag { "image".into() } else { image.source.to_string() };
            Version { text: tag, source }
        }
        (Some(release), _) => Version { text: bare(release.text()), source: release.source.to_string() },
        (None, _) => Version { text: crate::release::DEFAULT.into(), source: Source::Default.to_string() },
    }
}

/// Fills the images in, so that the annotation holds them and no other plugin's default ever moves a graph.
///
/// # Errors
/// A release that is unknown.
pub(super) fn settle_images(
    intent: &mut ServingIntent,
    said: &Merged,
    version: &str,
) -> Result<(), IntentError> {
    let full = Release::find(version)?.full_version(version);
    let mirror = said.get("registryMirror");
    let own = |image: String| mirror.map_or(image.clone(), |mirror| mirrored(&image, mirror.text()));
    let is_newer = |found: &Found| {
        mirror.is_some_and(|mirror| mirror.source.is_of_this_deployment() && !found.outweighs(mirror))
    };
    let placement = &mut intent.placement;
    placement.image = Some(match said.get("image") {
        // The release was changed and the image only remembered: it keeps its registry and gets the new tag.
        Some(image) if said.get("release").is_some_and(|release| !image.outweighs(release)) => {
            match tag(image.text()) {
                Some(_) if is_newer(image) => own(Release::image(&full)),
                Some(_) => retagged(image.text(), &full),
                None => image.text().into(),
            }
        }
        Some(image) if is_newer(image) && image.text() == Release::image(&full) => own(Release::image(&full)),
        Some(image) => image.text().into(),
        None => own(Release::image(&full)),
    });
    placement.fetcher_image = Some(match said.get("fetcherImage") {
        Some(image) if image.source != Source::Default && !is_newer(image) => image.text().into(),
        _ => own(FETCHER_IMAGE.into()),
    });
    Ok(())
}

/// The version in an image's tag, where it is one of a known release and no digest pins it.
fn tag(image: &str) -> Option<String> {
    let (_, tag) = image.rsplit_once(':').filter(|(_, tag)| !tag.contains('/') && !image.contains('@'))?;
    Release::find(tag).is_ok().then(|| bare(tag))
}

fn retagged(image: &str, version: &str) -> String {
    let name = image.rsplit_once(':').map_or(image, |(name, _)| name);
    format!("{name}:{version}")
}

fn bare(version: &str) -> String {
    version.trim_start_matches('v').into()
}

/// The image below another registry. The first part of a name is a registry when it has a dot or a port.
fn mirrored(image: &str, mirror: &str) -> String {
    let mirror = mirror.trim_end_matches('/');
    match image.split_once('/') {
        Some((registry, rest)) if registry.contains(['.', ':']) => format!("{mirror}/{rest}"),
        _ => format!("{mirror}/{image}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEW: &str = crate::release::DEFAULT;

    fn said(layers: &[(Source, &[&str])]) -> Merged {
        Merged::of(layers.iter().map(|(source, words)| {
            let mut layer = Layer::of(source.clone());
            for assignment in *words {
                layer.set(assignment).expect("a field and a value");
            }
            layer
        }))
    }

    fn images(said: &Merged) -> (String, String, String) {
        let fallback =
            crate::intent::Fallback { model: None, backend: crate::intent::Backend::Vllm, name_length: 40 };
        let mut intent = crate::intent::resolve(said, &fallback).expect("a wish");
        let version = version(said).text;
        settle_images(&mut intent, said, &version).expect("a known release");
        let placement = intent.placement;
        (version, placement.image.expect("settled"), placement.fetcher_image.expect("settled"))
    }

    #[test]
    fn a_mirror_stands_in_place_of_the_registry_and_spares_named_images() {
        let mirror = "registryMirror=registry.example/ngc";
        let (_, image, fetcher) = images(&said(&[(Source::UserConfig("c".into()), &["model=a/b", mirror])]));
        assert_eq!(image, format!("registry.example/ngc/nvidia/ai-dynamo/vllm-runtime:{NEW}"));
        assert!(fetcher.starts_with("registry.example/ngc/kubectl-dynamo/model-fetcher:"), "{fetcher}");
        let named = said(&[
            (Source::UserConfig("c".into()), &["model=a/b", mirror]),
            (Source::Flag, &["image=localhost:5000/mine"]),
        ]);
        assert_eq!(images(&named).1, "localhost:5000/mine");
    }

    #[test]
    fn a_new_release_gives_a_remembered_image_its_tag() {
        let live = || Source::Live("x".into());
        let old = crate::release::CATALOG[0].version;
        let remembered = format!("image=registry.example/ngc/vllm-runtime:{old}");
        let before = format!("release={old}");
        let kept = said(&[(live(), &["model=a/b", &remembered, &before])]);
        assert_eq!(images(&kept).1, remembered.trim_start_matches("image="));
        let release = format!("release={NEW}");
        let moved = said(&[(live(), &["model=a/b", &remembered, &before]), (Source::Flag, &[&release])]);
        assert_eq!(images(&moved).1, format!("registry.example/ngc/vllm-runtime:{NEW}"));
        let pinned = "image=registry.example/own@sha256:0";
        let own = said(&[(live(), &["model=a/b", pinned, &before]), (Source::Flag, &[&release])]);
        assert_eq!(images(&own).1, "registry.example/own@sha256:0");
    }

    #[test]
    fn the_tag_of_an_image_that_is_said_more_strongly_is_the_release() {
        let old = crate::release::CATALOG[0].version;
        let image = format!("image=registry.example/vllm-runtime:{old}");
        let detected = format!("release={NEW}");
        let of = |source: Source| version(&said(&[(Source::Detected, &[&detected]), (source, &[&image])]));
        assert_eq!((of(Source::Flag).text.as_str(), of(Source::Flag).source.as_str()), (old, "image"));
        assert_eq!(of(Source::Live("x".into())).source, "live object");
    }
}
