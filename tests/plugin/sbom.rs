//! The lists of dependencies of a release: the SBOM next to each program, and the list in the program.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::Command;

use flate2::read::ZlibDecoder;
use serde::Deserialize;

use crate::programs;
use crate::release::Release;

/// The part of a CycloneDX document that the cases read.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Sbom {
    bom_format: String,
    spec_version: String,
    serial_number: Option<String>,
    metadata: Metadata,
    components: Vec<Component>,
}

#[derive(Deserialize)]
struct Metadata {
    timestamp: String,
    component: Component,
}

#[derive(Deserialize)]
struct Component {
    name: String,
    version: String,
    #[serde(default)]
    licenses: Vec<serde_json::Value>,
}

/// The list that `cargo auditable` writes into a program.
#[derive(Deserialize)]
struct AuditData {
    packages: Vec<AuditPackage>,
}

#[derive(Deserialize)]
struct AuditPackage {
    name: String,
    version: String,
    /// `build`, if only build scripts use it.
    kind: Option<String>,
}

fn sbom(release: &Release, program: &str) -> Sbom {
    let name = format!("{program}-v{}-linux-amd64.cdx.json", env!("CARGO_PKG_VERSION"));
    serde_json::from_str(&release.text(&name)).expect("the SBOM is CycloneDX")
}

/// Reads the list in a program. A program that `cargo test` built does not have one.
fn audit_data(program: &Path) -> Option<AuditData> {
    let folder = tempfile::tempdir().expect("can create a temporary folder");
    let section = folder.path().join("section");
    let copied = Command::new("objcopy")
        .arg(format!("--dump-section=.dep-v0={}", section.display()))
        .args([program, Path::new("/dev/null")])
        .output()
        .expect("binutils are installed");
    if !copied.status.success() {
        return None;
    }
    let mut text = String::new();
    let compressed = fs::read(section).expect("objcopy wrote the section");
    ZlibDecoder::new(compressed.as_slice()).read_to_string(&mut text).expect("the section is zlib");
    Some(serde_json::from_str(&text).expect("the section is JSON"))
}

#[test]
fn sbom_of_each_program_is_complete_and_reproducible() {
    let release = Release::of_built_programs();
    for program in ["kubectl-dynamo", "model-fetcher"] {
        let sbom = sbom(release, program);
        assert_eq!((sbom.bom_format.as_str(), sbom.spec_version.as_str()), ("CycloneDX", "1.5"));
        assert_eq!((sbom.serial_number, sbom.metadata.component.name.as_str()), (None, program));
        assert_eq!(sbom.metadata.component.version, env!("CARGO_PKG_VERSION"));
        assert!(sbom.metadata.timestamp.starts_with("1970-01-01T00:00:00"), "{}", sbom.metadata.timestamp);
        assert!(sbom.components.len() > 100, "{} components", sbom.components.len());
        let without_license = sbom.components.iter().find(|component| component.licenses.is_empty());
        assert!(
            without_license.is_none(),
            "{} does not have a license",
            without_license.map_or("", |c| &c.name)
        );
    }
    let folder = tempfile::tempdir().expect("can create a temporary folder");
    programs::run_repository_command(
        "krew/sbom",
        &["x86_64-unknown-linux-gnu".as_ref(), folder.path().as_os_str()],
    );
    for program in ["kubectl-dynamo", "model-fetcher"] {
        let again =
            fs::read_to_string(folder.path().join(format!("{program}.cdx.json"))).expect("it was written");
        let name = format!("{program}-v{}-linux-amd64.cdx.json", env!("CARGO_PKG_VERSION"));
        assert_eq!(again, release.text(&name), "{program}");
        let temporary = std::env::temp_dir();
        assert!(!again.contains(temporary.to_str().expect("the path is UTF-8")), "{program} names a folder");
    }
}

#[test]
fn sbom_lists_everything_that_the_program_lists() {
    let release = Release::of_built_programs();
    for program in [programs::kubectl_dynamo(), programs::model_fetcher()] {
        let name = program.file_name().and_then(|name| name.to_str()).expect("the name is UTF-8");
        let Some(data) = audit_data(&program) else {
            let required = std::env::var_os("REQUIRE_ALL_TIERS").is_some_and(|value| value == "1");
            assert!(!required, "{name} does not have the list of its dependencies: build it with krew/build");
            continue;
        };
        let sbom = sbom(release, name);
        let listed: BTreeSet<_> = sbom
            .components
            .iter()
            .chain([&sbom.metadata.component])
            .map(|component| (component.name.as_str(), component.version.as_str()))
            .collect();
        let linked = data.packages.iter().filter(|package| package.kind.as_deref() != Some("build"));
        let missing: Vec<_> = linked
            .map(|package| (package.name.as_str(), package.version.as_str()))
            .filter(|package| !listed.contains(package))
            .collect();
        assert!(missing.is_empty(), "{name}: {missing:?}");
        assert!(data.packages.len() > 100, "{name} lists {} packages", data.packages.len());
    }
}
