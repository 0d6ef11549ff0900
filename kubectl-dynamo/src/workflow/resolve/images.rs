//! Resolves the release and the images of a deployment from the merged settings. It must not change the
//! images of a live deployment unless the request changes the release, image, or mirror.

use kubectl_dynamo_core::intent::request::{
    MergedSettings, ResolvedSetting, Setting, SettingSource, SettingsLayer, find_field,
};
use kubectl_dynamo_core::intent::{IntentError, ServingIntent};
use kubectl_dynamo_core::plan::PlanWarning;
use kubectl_dynamo_core::plan::model_cache::{FETCHER_IMAGE, IS_RELEASED};
use kubectl_dynamo_core::release::Release;

/// A runtime version, its release, and its source.
pub(crate) struct RuntimeVersion {
    pub text: String,
    /// The catalog entry that describes this version.
    pub release: &'static Release,
    pub source: VersionSource,
}

/// The source of a version. The plan shows it as `flag`, `live object`, `image`, `detected`, or `default`.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum VersionSource {
    /// The tag of an image that a flag sets.
    Image,
    Setting(SettingSource),
}

impl std::fmt::Display for VersionSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Image => f.write_str("image"),
            Self::Setting(source) => source.fmt(f),
        }
    }
}

/// Returns the default layers: the release for the cluster (or the default release), and this version's
/// fetcher image.
pub(crate) fn defaults(release: &str, source: SettingSource) -> [SettingsLayer; 2] {
    let leaf = |path: &str, value: &str| Setting {
        field: find_field(path).expect("every path used here is in the field table"),
        key: None,
        value: value.into(),
    };
    [
        SettingsLayer { source, settings: vec![leaf("release", release)] },
        SettingsLayer { source: SettingSource::Default, settings: vec![leaf("fetcherImage", FETCHER_IMAGE)] },
    ]
}

/// Returns the release from the `release` setting, or from the tag of an image with a stronger source.
///
/// # Errors
/// An unknown release, unless it is forced or belongs to the live deployment.
pub(crate) fn resolve_version(settings: &MergedSettings) -> Result<RuntimeVersion, IntentError> {
    let release = settings.get("release");
    let image_version = settings.get("image").and_then(|image| Some((image, version_tag(image.text())?)));
    let (text, source, is_live) = match (release, image_version) {
        (_, Some((image, tag)))
            if release.is_none_or(|release| !release.has_at_least_precedence_of(image)) =>
        {
            let source = match &image.source {
                SettingSource::Flag => VersionSource::Image,
                other => VersionSource::Setting(other.clone()),
            };
            (tag, source, matches!(image.source, SettingSource::Live(_)))
        }
        (Some(release), _) => (
            strip_v(release.text()),
            VersionSource::Setting(release.source.clone()),
            matches!(release.source, SettingSource::Live(_)),
        ),
        (None, _) => (
            kubectl_dynamo_core::release::DEFAULT_RELEASE.into(),
            VersionSource::Setting(SettingSource::Default),
            false,
        ),
    };
    let is_forced =
        settings.get("forceRelease").is_some_and(|force_setting| force_setting.setting.value == true);
    let release = if is_forced || is_live { Release::nearest(&text)? } else { Release::find(&text)? };
    Ok(RuntimeVersion { text, release, source })
}

/// Sets the images in the intent. The annotation stores them, so another plugin version's defaults do not
/// change a deployment.
pub(crate) fn resolve_images(
    intent: &mut ServingIntent,
    settings: &MergedSettings,
    version: &RuntimeVersion,
) {
    let full_version = version.release.full_version(&version.text);
    let mirror = settings.get("registryMirror");
    let with_mirror =
        |image: String| mirror.map_or(image.clone(), |mirror| apply_mirror(&image, mirror.text()));
    let is_newer = |found: &ResolvedSetting| {
        mirror.is_some_and(|mirror| {
            mirror.source.is_deployment_specific() && !found.has_at_least_precedence_of(mirror)
        })
    };
    let placement = &mut intent.placement;
    placement.image = Some(match settings.get("image") {
        // The request changes the release but not the stored image: keep its registry and use the new tag.
        Some(image)
            if settings.get("release").is_some_and(|release| !image.has_at_least_precedence_of(release)) =>
        {
            match version_tag(image.text()) {
                Some(_) if is_newer(image) => with_mirror(Release::image(&full_version)),
                Some(_) => with_tag(image.text(), &full_version),
                None => image.text().into(),
            }
        }
        Some(image) if is_newer(image) && image.text() == Release::image(&full_version) => {
            with_mirror(Release::image(&full_version))
        }
        Some(image) => image.text().into(),
        None => with_mirror(Release::image(&full_version)),
    });
    // Only the image of a live deployment can be the result of an earlier mirror.
    let is_set = |image: &&ResolvedSetting| match &image.source {
        SettingSource::Default => false,
        SettingSource::Live(_) => !is_newer(image),
        _ => true,
    };
    placement.fetcher_image = Some(match settings.get("fetcherImage").filter(is_set) {
        Some(image) => image.text().into(),
        None => with_mirror(FETCHER_IMAGE.into()),
    });
}

/// Returns the warning of an unreleased build if neither a setting nor a mirror replaces its fetcher image.
pub(crate) fn unreleased_image_warning(settings: &MergedSettings) -> Option<PlanWarning> {
    let is_default = settings.get("fetcherImage").is_none_or(|image| image.source == SettingSource::Default);
    let is_replaced = !is_default || settings.get("registryMirror").is_some();
    (!IS_RELEASED && !is_replaced).then_some(PlanWarning::UnreleasedFetcherImage { image: FETCHER_IMAGE })
}

/// Returns the release for the tag of Dynamo's own image; `None` if the catalog has only a similar release. A
/// development build, such as `1.6.0-deepseek-v4.1-flash-dev.1`, can differ from its release.
pub(crate) fn release_from_image(image: &str) -> Option<&'static Release> {
    let tag = version_tag(image)?;
    let is_variant = |part: &str| part.starts_with("cuda") || ["efa", "amd64", "arm64"].contains(&part);
    if !tag.split('-').skip(1).all(is_variant) {
        return None;
    }
    let is_dynamos = Release::image(&tag).rsplit('/').next() == image.rsplit('/').next();
    Release::find(&tag).ok().filter(|release| is_dynamos && release.covers_minor(&tag))
}

/// Returns the version in an image's tag, if the image has no digest: a version of a known release, or any
/// version if the image is Dynamo's own.
fn version_tag(image: &str) -> Option<String> {
    let (_, tag) = image.rsplit_once(':').filter(|(_, tag)| !tag.contains('/') && !image.contains('@'))?;
    let is_dynamos = Release::image(tag).rsplit('/').next() == image.rsplit('/').next();
    let is_version = if is_dynamos { Release::nearest(tag).is_ok() } else { Release::find(tag).is_ok() };
    is_version.then(|| strip_v(tag))
}

fn with_tag(image: &str, version: &str) -> String {
    let name = image.rsplit_once(':').map_or(image, |(name, _)| name);
    format!("{name}:{version}")
}

fn strip_v(version: &str) -> String {
    version.trim_start_matches('v').into()
}

/// Returns the image in the mirror. The first part of a name is a registry if it contains a dot or a port.
pub(crate) fn apply_mirror(image: &str, mirror: &str) -> String {
    let mirror = mirror.trim_end_matches('/');
    match image.split_once('/') {
        Some((registry, rest)) if registry.contains(['.', ':']) => format!("{mirror}/{rest}"),
        _ => format!("{mirror}/{image}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEW: &str = kubectl_dynamo_core::release::DEFAULT_RELEASE;

    fn merged_settings(layers: &[(SettingSource, &[&str])]) -> MergedSettings {
        MergedSettings::from_layers(layers.iter().map(|(source, assignments)| {
            let mut layer = SettingsLayer::new(source.clone());
            for assignment in *assignments {
                layer.set(assignment).expect("a field and a value");
            }
            layer
        }))
    }

    fn resolved_images(settings: &MergedSettings) -> (String, String, String) {
        let fallback = kubectl_dynamo_core::intent::Fallback {
            model: None,
            backend: kubectl_dynamo_core::intent::Backend::Vllm,
            max_name_length: 40,
        };
        let mut intent = kubectl_dynamo_core::intent::resolve(settings, &fallback).expect("a valid intent");
        let version = resolve_version(settings).expect("a known release");
        resolve_images(&mut intent, settings, &version);
        let placement = intent.placement;
        (version.text, placement.image.expect("resolved"), placement.fetcher_image.expect("resolved"))
    }

    #[test]
    fn mirror_replaces_registry_except_in_explicit_images() {
        let mirror = "registryMirror=registry.example/ngc";
        let (_, image, fetcher) = resolved_images(&merged_settings(&[(
            SettingSource::UserConfig("c".into()),
            &["model=a/b", mirror],
        )]));
        assert_eq!(image, format!("registry.example/ngc/nvidia/ai-dynamo/vllm-runtime:{NEW}"));
        assert!(fetcher.starts_with("registry.example/ngc/kubectl-dynamo/model-fetcher:"), "{fetcher}");
        let explicit = merged_settings(&[
            (SettingSource::UserConfig("c".into()), &["model=a/b", mirror]),
            (SettingSource::Flag, &["image=localhost:5000/mine"]),
        ]);
        assert_eq!(resolved_images(&explicit).1, "localhost:5000/mine");
    }

    #[test]
    fn mirror_of_a_flag_keeps_the_fetcher_image_of_a_setting() {
        let own = "registry.example/ml/model-fetcher:1";
        let fetcher_from = |source: SettingSource| {
            let stored = format!("fetcherImage={own}");
            resolved_images(&merged_settings(&[
                (source, &[&stored]),
                (SettingSource::Flag, &["model=a/b", "registryMirror=mirror.example"]),
            ]))
        };
        let stored = [SettingSource::Environment, SettingSource::UserConfig("c".into())];
        for source in stored.into_iter().chain([SettingSource::Set, SettingSource::File("f".into())]) {
            let (_, image, fetcher) = fetcher_from(source);
            assert_eq!((image.split('/').next(), fetcher.as_str()), (Some("mirror.example"), own));
        }
        // The image of a live deployment is the result of an earlier mirror or default.
        let (_, _, fetcher) = fetcher_from(SettingSource::Live("x".into()));
        assert!(fetcher.starts_with("mirror.example/kubectl-dynamo/model-fetcher:"), "{fetcher}");
    }

    #[test]
    fn unreleased_build_warns_only_about_its_own_image() {
        let warning_with = |assignments: &[&str]| {
            let default = format!("fetcherImage={FETCHER_IMAGE}");
            let defaults: (SettingSource, &[&str]) = (SettingSource::Default, &[&default]);
            unreleased_image_warning(&merged_settings(&[defaults, (SettingSource::Flag, assignments)]))
        };
        let expected = PlanWarning::UnreleasedFetcherImage { image: FETCHER_IMAGE };
        assert_eq!(warning_with(&["model=a/b"]), (!IS_RELEASED).then_some(expected));
        for replacement in ["fetcherImage=registry.test/fetcher:1", "registryMirror=mirror.test"] {
            assert_eq!(warning_with(&["model=a/b", replacement]), None, "{replacement}");
        }
    }

    #[test]
    fn new_release_retags_live_image() {
        let live = || SettingSource::Live("x".into());
        let old = kubectl_dynamo_core::release::CATALOG[0].version;
        let live_image = format!("image=registry.example/ngc/vllm-runtime:{old}");
        let live_release = format!("release={old}");
        let unchanged = merged_settings(&[(live(), &["model=a/b", &live_image, &live_release])]);
        assert_eq!(resolved_images(&unchanged).1, live_image.trim_start_matches("image="));
        let release = format!("release={NEW}");
        let upgraded = merged_settings(&[
            (live(), &["model=a/b", &live_image, &live_release]),
            (SettingSource::Flag, &[&release]),
        ]);
        assert_eq!(resolved_images(&upgraded).1, format!("registry.example/ngc/vllm-runtime:{NEW}"));
        let pinned = "image=registry.example/own@sha256:0";
        let custom = merged_settings(&[
            (live(), &["model=a/b", pinned, &live_release]),
            (SettingSource::Flag, &[&release]),
        ]);
        assert_eq!(resolved_images(&custom).1, "registry.example/own@sha256:0");
    }

    #[test]
    fn image_tag_with_precedence_sets_release() {
        let old = kubectl_dynamo_core::release::CATALOG[0].version;
        let image = format!("image=registry.example/vllm-runtime:{old}");
        let detected = format!("release={NEW}");
        let version_from = |source: SettingSource| {
            resolve_version(&merged_settings(&[(SettingSource::Detected, &[&detected]), (source, &[&image])]))
                .expect("known")
        };
        assert_eq!(
            (version_from(SettingSource::Flag).text.as_str(), version_from(SettingSource::Flag).source),
            (old, VersionSource::Image)
        );
        assert_eq!(version_from(SettingSource::Live("x".into())).source.to_string(), "live object");
    }

    #[test]
    fn unknown_major_version_needs_force_or_live_deployment() {
        let release_from = |layers: &[(SettingSource, &[&str])]| {
            resolve_version(&merged_settings(layers)).map(|version| version.release.version)
        };
        let image = ["image=nvcr.io/nvidia/ai-dynamo/vllm-runtime:7.0.0"];
        let release = ["release=7.0.0"];
        for assignments in [&image[..], &release] {
            let assignments: &[&str] = assignments;
            assert!(release_from(&[(SettingSource::Flag, assignments)]).is_err(), "{assignments:?}");
            assert_eq!(
                release_from(&[
                    (SettingSource::Flag, assignments),
                    (SettingSource::Set, &["forceRelease=true"])
                ]),
                Ok(NEW)
            );
            assert_eq!(release_from(&[(SettingSource::Live("x".into()), assignments)]), Ok(NEW));
        }
        // The tag of a custom image does not name a Dynamo release.
        assert_eq!(release_from(&[(SettingSource::Flag, &["image=registry.example/mine:7.0.0"])]), Ok(NEW));
    }
}
