//! Which release and which images a deployment gets, from everything that was said of either.

use crate::intent::request::{Found, Layer, Leaf, Merged, Source, find};
use crate::intent::{IntentError, ServingIntent};
use crate::plan::model_cache::FETCHER_IMAGE;
use crate::release::Release;

/// A release, and who said it.
pub(in crate::commands) struct Version {
    pub text: String,
    /// The row that answers for it.
    pub release: &'static Release,
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
///
/// # Errors
/// A release that is unknown, unless somebody insists on it or it is what runs.
pub(super) fn version(said: &Merged) -> Result<Version, IntentError> {
    let release = said.get("release");
    let of_image = said.get("image").and_then(|image| Some((image, tag(image.text())?)));
    let (text, source, of_live) = match (release, of_image) {
        (_, Some((image, tag))) if release.is_none_or(|release| !release.outweighs(image)) => {
            let source = if image.source == Source::Flag { "image".into() } else { image.source.to_string() };
            (tag, source, matches!(image.source, Source::Live(_)))
        }
        (Some(release), _) => {
            (bare(release.text()), release.source.to_string(), matches!(release.source, Source::Live(_)))
        }
        (None, _) => (crate::release::DEFAULT.into(), Source::Default.to_string(), false),
    };
    let forced = said.get("forceRelease").is_some_and(|force| force.leaf.value == true);
    let release = if forced || of_live { Release::nearest(&text)? } else { Release::find(&text)? };
    Ok(Version { text, release, source })
}

/// Fills the images in, so that the annotation holds them and no other plugin's default ever moves a graph.
pub(super) fn settle_images(intent: &mut ServingIntent, said: &Merged, version: &Version) {
    let full = version.release.full_version(&version.text);
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
}

/// The row of the version in the tag of Dynamo's own image; nothing where only a stand-in would answer.
pub(super) fn of_dynamos_image(image: &str) -> Option<&'static Release> {
    let tag = tag(image)?;
    let is_dynamos = Release::image(&tag).rsplit('/').next() == image.rsplit('/').next();
    Release::find(&tag).ok().filter(|release| is_dynamos && release.tells_of(&tag))
}

/// The version in an image's tag, where no digest pins it: one of a known release, or any of Dynamo's own image.
fn tag(image: &str) -> Option<String> {
    let (_, tag) = image.rsplit_once(':').filter(|(_, tag)| !tag.contains('/') && !image.contains('@'))?;
    let is_dynamos = Release::image(tag).rsplit('/').next() == image.rsplit('/').next();
    let is_version = if is_dynamos { Release::nearest(tag).is_ok() } else { Release::find(tag).is_ok() };
    is_version.then(|| bare(tag))
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
        let version = version(said).expect("a known release");
        settle_images(&mut intent, said, &version);
        let placement = intent.placement;
        (version.text, placement.image.expect("settled"), placement.fetcher_image.expect("settled"))
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
        let of = |source: Source| {
            version(&said(&[(Source::Detected, &[&detected]), (source, &[&image])])).expect("known")
        };
        assert_eq!((of(Source::Flag).text.as_str(), of(Source::Flag).source.as_str()), (old, "image"));
        assert_eq!(of(Source::Live("x".into())).source, "live object");
    }

    #[test]
    fn an_unknown_major_is_taken_from_who_insists_and_from_what_runs() {
        let of = |layers: &[(Source, &[&str])]| version(&said(layers)).map(|version| version.release.version);
        let image = ["image=nvcr.io/nvidia/ai-dynamo/vllm-runtime:7.0.0"];
        let release = ["release=7.0.0"];
        for words in [&image[..], &release] {
            let words: &[&str] = words;
            assert!(of(&[(Source::Flag, words)]).is_err(), "{words:?}");
            assert_eq!(of(&[(Source::Flag, words), (Source::Set, &["forceRelease=true"])]), Ok(NEW));
            assert_eq!(of(&[(Source::Live("x".into()), words)]), Ok(NEW));
        }
        // A tag of somebody's own image says nothing of Dynamo.
        assert_eq!(of(&[(Source::Flag, &["image=registry.example/mine:7.0.0"])]), Ok(NEW));
    }
}
