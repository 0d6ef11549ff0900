//! Volumes that are full, too small, or owned by another user. Each case runs in its own mount namespace.

use std::path::PathBuf;
use std::process::Stdio;

use kubectl_dynamo_tests::hub::{HubSettings, TlsIdentity};
use kubectl_dynamo_tests::programs::model_fetcher;
use tokio::process::Command;

use crate::support::{HubFixture, MODEL};

const MIB: u64 = 1 << 20;

/// Returns whether a file system can be mounted. Prints the reason once if not, or fails if all tiers are
/// required.
fn can_mount() -> bool {
    let probe = std::process::Command::new("unshare").args(["--mount", "true"]).output();
    let reason = match probe {
        Ok(output) if output.status.success() => return true,
        Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        Err(error) => format!("unshare: {error}"),
    };
    assert!(std::env::var("REQUIRE_ALL_TIERS").as_deref() != Ok("1"), "cannot run: {reason}");
    use std::io::Write;
    let _ = writeln!(std::io::stderr().lock(), "cannot run: no mount namespace: {reason}");
    false
}

/// Runs `script`; `$VOLUME` is a tmpfs of `mib` MiB and `$FETCH` is the command.
async fn run_on_tmpfs(fixture: &HubFixture, mib: u64, script: &str) -> std::process::Output {
    let fetch =
        format!("{} fetch {MODEL} --into {}", model_fetcher().display(), fixture.volume.path().display());
    let script = format!("mount -t tmpfs -o size={mib}m none \"$VOLUME\" && {{ {script}\n}}");
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", &script]).env("FETCH", fetch);
    command.env("VOLUME", fixture.volume.path());
    command.env("HF_ENDPOINT", &fixture.hub.url).env("MODEL_FETCHER_PROGRESS", "plain");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command.output().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn rejects_small_volume_before_download_and_reports_free_bytes() {
    if !can_mount() {
        return;
    }
    let fixture = HubFixture::with_settings(HubSettings::default(), 6 * MIB as usize).await;
    let output = run_on_tmpfs(&fixture, 10, "$FETCH").await;
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(12), "{stderr}");
    assert!(stderr.contains("bytes free") && stderr.contains("hint: free"), "{stderr}");
    assert_eq!(fixture.hub.bytes_sent(), 0);
}

/// The volume fills up after the hub has sent a part of the model. After space is freed, the same command
/// completes.
#[tokio::test(flavor = "multi_thread")]
async fn full_volume_exits_12_and_next_run_completes() {
    if !can_mount() {
        return;
    }
    for quarter in 1..=3 {
        let settings = HubSettings { connection_rate: Some(8 * MIB), ..HubSettings::default() };
        let fixture = HubFixture::with_settings(settings, 16 * MIB as usize).await;
        let markers = tempfile::tempdir().unwrap();
        let fill_marker: PathBuf = markers.path().join("go");
        let copy = markers.path().join("copy");
        let script = format!(
            "( while [ ! -e {fill_marker} ]; do sleep 0.01; done; head -c 60M /dev/zero > $VOLUME/filler ) 2>/dev/null &
             $FETCH; echo first $?
             rm -f $VOLUME/filler; {fetcher} check {MODEL} --into $VOLUME; echo check $?
             $FETCH; echo second $?
             cp -r $VOLUME {copy}",
            fill_marker = fill_marker.display(),
            copy = copy.display(),
            fetcher = model_fetcher().display(),
        );
        let run = run_on_tmpfs(&fixture, 40, &script);
        let fill = async {
            while fixture.hub.bytes_sent() < fixture.total_bytes() * quarter / 4 {
                tokio::time::sleep(std::time::Duration::from_millis(2)).await;
            }
            std::fs::write(&fill_marker, "").unwrap();
        };
        let (output, ()) = tokio::join!(run, fill);
        let stdout = String::from_utf8_lossy(&output.stdout);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(stdout.trim(), "first 12\ncheck 1\nsecond 0", "{quarter}: {stderr}");
        assert!(stderr.contains("free space"), "{stderr}");
        for (path, content) in &fixture.files {
            assert!(std::fs::read(copy.join(MODEL).join(path)).unwrap() == *content, "{path}");
        }
    }
}

/// A full volume has no space for a lock, and removing a model is how to free some.
#[tokio::test(flavor = "multi_thread")]
async fn remove_frees_a_full_volume() {
    if !can_mount() {
        return;
    }
    let fixture = HubFixture::with_settings(HubSettings::default(), MIB as usize).await;
    let script = format!(
        "$FETCH && head -c 60M /dev/zero > $VOLUME/filler
         {fetcher} remove {MODEL} --into $VOLUME; echo removed $?; ls -A $VOLUME
         rm $VOLUME/filler; $FETCH; echo fetched $?",
        fetcher = model_fetcher().display(),
    );
    let output = run_on_tmpfs(&fixture, 20, &script).await;
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "removed 0\nfiller\nfetched 0", "{stderr}");
}

#[tokio::test(flavor = "multi_thread")]
async fn read_only_volume_is_reported() {
    if !can_mount() {
        return;
    }
    let fixture = HubFixture::new().await;
    let output = run_on_tmpfs(&fixture, 10, "mount -o remount,ro \"$VOLUME\"; $FETCH").await;
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(12), "{stderr}");
    assert!(stderr.contains("Read-only") && stderr.contains("hint: mount the volume writable"), "{stderr}");
}

#[tokio::test(flavor = "multi_thread")]
async fn unprivileged_user_without_home_fetches_into_owned_folder() {
    if !can_mount() {
        return;
    }
    let fixture = HubFixture::new().await;
    let as_other_user = "setpriv --reuid 54321 --regid 54321 --clear-groups";
    let denied =
        run_on_tmpfs(&fixture, 20, &format!("chmod 755 $VOLUME; cd /; {as_other_user} $FETCH")).await;
    let stderr = String::from_utf8_lossy(&denied.stderr);
    assert_eq!(denied.status.code(), Some(12), "{stderr}");
    assert!(
        stderr.contains("uid 54321") && stderr.contains("belongs to uid 0 gid 0 with mode 755"),
        "{stderr}"
    );
    assert!(stderr.contains("fsGroup: 54321"), "{stderr}");
    let script = format!("chown 54321 $VOLUME; cd /; unset HOME; {as_other_user} $FETCH");
    let output = run_on_tmpfs(&fixture, 20, &script).await;
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn records_that_belong_to_another_user_do_not_fail_the_fetch() {
    if !can_mount() {
        return;
    }
    let scene = HubFixture::new().await;
    let script = format!(
        "mkdir -p $VOLUME/{MODEL}/.cache/huggingface && chmod 755 $VOLUME &&
         chown 54321 $VOLUME $VOLUME/acme $VOLUME/{MODEL}; cd /
         setpriv --reuid 54321 --regid 54321 --clear-groups $FETCH"
    );
    let output = run_on_tmpfs(&scene, 20, &script).await;
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    assert!(stderr.contains("warning: cannot write huggingface_hub records"), "{stderr}");
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_in_an_empty_root_file_system() {
    if !can_mount() {
        return;
    }
    let fixture = HubFixture::new().await;
    // An empty root without certificates, /etc, and /tmp: only the program, the volume, and /proc.
    let script = format!(
        "mkdir -p $VOLUME/root/opt/models $VOLUME/root/proc && cp {} $VOLUME/root/model-fetcher &&
         mount --bind /proc $VOLUME/root/proc &&
         exec env -i HF_ENDPOINT=$HF_ENDPOINT $(command -v chroot) $VOLUME/root /model-fetcher fetch {MODEL} --progress plain",
        model_fetcher().display()
    );
    let output = run_on_tmpfs(&fixture, 300, &script).await;
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    assert!(stderr.contains("complete: /opt/models/acme/tiny-model"), "{stderr}");
}

/// Without certificates in the image, the built-in roots are used, which do not trust the test hub;
/// `SSL_CERT_FILE` does.
#[tokio::test(flavor = "multi_thread")]
async fn image_without_certificates_uses_built_in_roots_or_ssl_cert_file() {
    if !can_mount() {
        return;
    }
    let identity = TlsIdentity::generate(&["127.0.0.1"]).unwrap();
    let authority_folder = tempfile::tempdir().unwrap();
    let authority = identity.write_authority(authority_folder.path()).unwrap();
    let fixture = HubFixture::with_settings(
        HubSettings { identity: Some(identity), ..HubSettings::default() },
        MIB as usize,
    )
    .await;
    let script = format!(
        "mkdir -p $VOLUME/root/opt/models $VOLUME/root/proc && cp {} $VOLUME/root/model-fetcher &&
         cp {} $VOLUME/root/authority.pem && mount --bind /proc $VOLUME/root/proc &&
         chroot=$(command -v chroot) && fetch=\"/model-fetcher fetch {MODEL} --progress plain\" &&
         {{ env -i HF_ENDPOINT=$HF_ENDPOINT $chroot $VOLUME/root $fetch; echo built-in $?
           env -i HF_ENDPOINT=$HF_ENDPOINT SSL_CERT_FILE=/authority.pem $chroot $VOLUME/root $fetch; echo named $?; }}",
        model_fetcher().display(),
        authority.display()
    );
    let output = run_on_tmpfs(&fixture, 300, &script).await;
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "built-in 13\nnamed 0", "{stderr}");
    assert!(stderr.contains("not trusted: unknown issuer") || stderr.contains("UnknownIssuer"), "{stderr}");
}

#[tokio::test(flavor = "multi_thread")]
async fn warns_when_folder_is_not_on_a_volume() {
    if !can_mount() {
        return;
    }
    let fixture = HubFixture::new().await;
    // The first process of a PID namespace whose root is the volume.
    let script = format!(
        "mkdir -p $VOLUME/opt/models $VOLUME/proc && cp {} $VOLUME/model-fetcher &&
         exec unshare --pid --fork --mount-proc=$VOLUME/proc env -i HF_ENDPOINT=$HF_ENDPOINT $(command -v chroot) \
             $VOLUME /model-fetcher fetch {MODEL} --progress plain",
        model_fetcher().display()
    );
    let output = run_on_tmpfs(&fixture, 300, &script).await;
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    assert!(stderr.contains("warning: /opt/models is not on a volume"), "{stderr}");
}
