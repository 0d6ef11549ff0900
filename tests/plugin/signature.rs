//! The signature of a release, verified as docs/how-to/verify-release.md describes.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Output};

use kubectl_dynamo_tests::cache;

use crate::programs;
use crate::release::stand_ins;

/// Creates a key without a passphrase, and returns the path of its file of allowed signers.
fn create_key(folder: &Path, name: &str) -> std::path::PathBuf {
    let key = folder.join(name);
    let created = Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key).status();
    assert!(created.expect("ssh-keygen is installed").success());
    let public = fs::read_to_string(key.with_extension("pub")).expect("the public key was written");
    let signers = folder.join(format!("{name}.signers"));
    fs::write(&signers, format!("kubectl-dynamo namespaces=\"kubectl-dynamo-release\" {public}"))
        .expect("the folder is writable");
    signers
}

fn pack_signed(folder: &Path, key: &str, signers: &Path) -> Output {
    let programs = folder.join("programs");
    fs::create_dir_all(&programs).expect("the folder is writable");
    let programs = if programs.join("stand-in-linux-amd64").exists() {
        vec![programs.join("stand-in-linux-amd64")]
    } else {
        stand_ins(&programs)[2..3].to_vec()
    };
    let mut command = Command::new(cache::repository().join("krew/release"));
    command.arg("--programs").arg(&programs[0]).arg("--output").arg(folder.join("dist"));
    command.env("KUBECTL_DYNAMO_BIN", programs::kubectl_dynamo());
    command.env("KUBECTL_DYNAMO_SIGN_KEY", folder.join(key)).env("KUBECTL_DYNAMO_ALLOWED_SIGNERS", signers);
    command.output().expect("the command is executable")
}

fn is_valid(dist: &Path, signers: &Path) -> bool {
    let sums = File::open(dist.join("SHA256SUMS")).expect("the release has checksums");
    let verified = Command::new("ssh-keygen")
        .args(["-Y", "verify", "-n", "kubectl-dynamo-release", "-I", "kubectl-dynamo", "-f"])
        .arg(signers)
        .args(["-s", "SHA256SUMS.sig"])
        .current_dir(dist)
        .stdin(sums)
        .output();
    verified.expect("ssh-keygen is installed").status.success()
}

fn checksums_match(dist: &Path) -> bool {
    let checked =
        Command::new("sha256sum").args(["--check", "--quiet", "SHA256SUMS"]).current_dir(dist).output();
    checked.expect("sha256sum is installed").status.success()
}

#[test]
fn signature_proves_the_key_and_every_file() {
    let folder = tempfile::tempdir().expect("can create a temporary folder");
    let signers = create_key(folder.path(), "key");
    let other = create_key(folder.path(), "other");
    let packed = pack_signed(folder.path(), "key", &signers);
    assert!(packed.status.success(), "{}", String::from_utf8_lossy(&packed.stderr));
    let dist = folder.path().join("dist");
    assert!(is_valid(&dist, &signers) && checksums_match(&dist));
    assert!(!is_valid(&dist, &other), "another key was accepted");

    // A changed file, and a changed file with its checksum.
    let formula = dist.join("kubectl-dynamo.rb");
    fs::write(&formula, "class Other\nend\n").expect("the folder is writable");
    assert!(!checksums_match(&dist) && is_valid(&dist, &signers));
    let sums =
        Command::new("sh").args(["-c", "sha256sum *.rb *.tar.gz > SHA256SUMS"]).current_dir(&dist).status();
    assert!(sums.expect("sh is installed").success() && checksums_match(&dist));
    assert!(!is_valid(&dist, &signers), "changed checksums were accepted");
}

#[test]
fn key_that_users_do_not_know_is_rejected() {
    let folder = tempfile::tempdir().expect("can create a temporary folder");
    create_key(folder.path(), "key");
    let other = create_key(folder.path(), "other");
    for (signers, message) in
        [(other, "does not have the public half of"), (folder.path().join("missing"), "missing not found")]
    {
        let packed = pack_signed(folder.path(), "key", &signers);
        let stderr = String::from_utf8_lossy(&packed.stderr);
        assert!(!packed.status.success() && stderr.contains(message), "{stderr}");
        assert!(!folder.path().join("dist").exists(), "files were written");
    }
}

#[test]
fn release_without_a_key_reports_that_it_is_not_signed() {
    let folder = tempfile::tempdir().expect("can create a temporary folder");
    let programs = stand_ins(folder.path()).swap_remove(2);
    let output = folder.path().join("dist");
    let arguments = ["--programs".as_ref(), programs.as_os_str(), "--output".as_ref(), output.as_os_str()];
    let packed = programs::run_repository_command("krew/release", &arguments);
    assert!(String::from_utf8_lossy(&packed.stderr).contains("not signed"), "{packed:?}");
    assert!(!output.join("SHA256SUMS.sig").exists());
}
