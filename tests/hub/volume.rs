//! Volumes that are full, small or not ours. Each case runs in a mount namespace of its own.

use std::path::PathBuf;
use std::process::Stdio;

use kubectl_dynamo_tests::hub::{Identity, Settings};
use kubectl_dynamo_tests::programs::model_fetcher;
use tokio::process::Command;

use crate::support::{MODEL, Scene};

const MIB: u64 = 1 << 20;

/// Why a file system cannot be mounted here, said once; a failure where all tiers are required.
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

/// Runs `script` where `$VOLUME` is a tmpfs of `mib`, and `$FETCH` the command.
async fn on_small_volume(scene: &Scene, mib: u64, script: &str) -> std::process::Output {
    let fetch =
        format!("{} fetch {MODEL} --into {}", model_fetcher().display(), scene.volume.path().display());
    let script = format!("mount -t tmpfs -o size={mib}m none \"$VOLUME\" && {{ {script}\n}}");
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", &script]).env("FETCH", fetch);
    command.env("VOLUME", scene.volume.path());
    command.env("HF_ENDPOINT", &scene.hub.url).env("MODEL_FETCHER_PROGRESS", "plain");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command.output().await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_volume_too_small_is_refused_before_the_first_byte_with_numbers() {
    if !can_mount() {
        return;
    }
    let scene = Scene::with(Settings::default(), 6 * MIB as usize).await;
    let output = on_small_volume(&scene, 10, "$FETCH").await;
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(12), "{stderr}");
    assert!(stderr.contains("bytes free") && stderr.contains("hint: free"), "{stderr}");
    assert_eq!(scene.hub.bytes_sent(), 0);
}

/// The volume fills up once the hub has sent a part of the model; room is made, and the same command completes.
#[tokio::test(flavor = "multi_thread")]
async fn a_volume_that_fills_up_at_any_point_ends_with_code_12_and_the_next_run_completes() {
    if !can_mount() {
        return;
    }
    for quarter in 1..=3 {
        let settings = Settings { connection_rate: Some(8 * MIB), ..Settings::default() };
        let scene = Scene::with(settings, 16 * MIB as usize).await;
        let marks = tempfile::tempdir().unwrap();
        let go: PathBuf = marks.path().join("go");
        let copy = marks.path().join("copy");
        let script = format!(
            "( while [ ! -e {go} ]; do sleep 0.01; done; head -c 60M /dev/zero > $VOLUME/filler ) 2>/dev/null &
             $FETCH; echo first $?
             rm -f $VOLUME/filler; {fetcher} check {MODEL} --into $VOLUME; echo check $?
             $FETCH; echo second $?
             cp -r $VOLUME {copy}",
            go = go.display(),
            copy = copy.display(),
            fetcher = model_fetcher().display(),
        );
        let run = on_small_volume(&scene, 40, &script);
        let fill = async {
            while scene.hub.bytes_sent() < scene.total_bytes() * quarter / 4 {
                tokio::time::sleep(std::time::Duration::from_millis(2)).await;
            }
            std::fs::write(&go, "").unwrap();
        };
        let (output, ()) = tokio::join!(run, fill);
        let stdout = String::from_utf8_lossy(&output.stdout);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(stdout.trim(), "first 12\ncheck 1\nsecond 0", "{quarter}: {stderr}");
        assert!(stderr.contains("free space"), "{stderr}");
        for (path, content) in &scene.files {
            assert!(std::fs::read(copy.join(MODEL).join(path)).unwrap() == *content, "{path}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_volume_says_so() {
    if !can_mount() {
        return;
    }
    let scene = Scene::new().await;
    let output = on_small_volume(&scene, 10, "mount -o remount,ro \"$VOLUME\"; $FETCH").await;
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(12), "{stderr}");
    assert!(
        stderr.contains("Read-only") && stderr.contains("hint: mount the volume for writing"),
        "{stderr}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_without_a_home_fetches_into_a_folder_that_is_theirs() {
    if !can_mount() {
        return;
    }
    let scene = Scene::new().await;
    let stranger = "setpriv --reuid 54321 --regid 54321 --clear-groups";
    let refused = on_small_volume(&scene, 20, &format!("chmod 755 $VOLUME; cd /; {stranger} $FETCH")).await;
    let stderr = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(12), "{stderr}");
    assert!(
        stderr.contains("uid 54321") && stderr.contains("belongs to uid 0 gid 0 with mode 755"),
        "{stderr}"
    );
    assert!(stderr.contains("fsGroup: 54321"), "{stderr}");
    let script = format!("chown 54321 $VOLUME; cd /; unset HOME; {stranger} $FETCH");
    let output = on_small_volume(&scene, 20, &script).await;
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_program_needs_nothing_of_the_root_it_runs_in() {
    if !can_mount() {
        return;
    }
    let scene = Scene::new().await;
    // An empty root: no certificates, no /etc, no /tmp; only the program, the volume and /proc.
    let script = format!(
        "mkdir -p $VOLUME/root/opt/models $VOLUME/root/proc && cp {} $VOLUME/root/model-fetcher &&
         mount --bind /proc $VOLUME/root/proc &&
         exec env -i HF_ENDPOINT=$HF_ENDPOINT $(command -v chroot) $VOLUME/root /model-fetcher fetch {MODEL} --progress plain",
        model_fetcher().display()
    );
    let output = on_small_volume(&scene, 300, &script).await;
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    assert!(stderr.contains("complete: /opt/models/acme/tiny-model"), "{stderr}");
}

/// An image without certificates: the built-in roots are used, which do not vouch for our hub; a file that does is.
#[tokio::test(flavor = "multi_thread")]
async fn an_image_without_certificates_trusts_the_built_in_roots_and_a_named_file() {
    if !can_mount() {
        return;
    }
    let identity = Identity::generate(&["127.0.0.1"]).unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let authority = identity.write_authority(elsewhere.path()).unwrap();
    let scene = Scene::with(Settings { identity: Some(identity), ..Settings::default() }, MIB as usize).await;
    let script = format!(
        "mkdir -p $VOLUME/root/opt/models $VOLUME/root/proc && cp {} $VOLUME/root/model-fetcher &&
         cp {} $VOLUME/root/authority.pem && mount --bind /proc $VOLUME/root/proc &&
         chroot=$(command -v chroot) && fetch=\"/model-fetcher fetch {MODEL} --progress plain\" &&
         {{ env -i HF_ENDPOINT=$HF_ENDPOINT $chroot $VOLUME/root $fetch; echo built-in $?
           env -i HF_ENDPOINT=$HF_ENDPOINT SSL_CERT_FILE=/authority.pem $chroot $VOLUME/root $fetch; echo named $?; }}",
        model_fetcher().display(),
        authority.display()
    );
    let output = on_small_volume(&scene, 300, &script).await;
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "built-in 13\nnamed 0", "{stderr}");
    assert!(stderr.contains("not trusted: unknown issuer") || stderr.contains("UnknownIssuer"), "{stderr}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_writes_beside_its_volume_is_warned() {
    if !can_mount() {
        return;
    }
    let scene = Scene::new().await;
    // The first process of a process namespace whose root is the volume itself.
    let script = format!(
        "mkdir -p $VOLUME/opt/models $VOLUME/proc && cp {} $VOLUME/model-fetcher &&
         exec unshare --pid --fork --mount-proc=$VOLUME/proc env -i HF_ENDPOINT=$HF_ENDPOINT $(command -v chroot) \
             $VOLUME /model-fetcher fetch {MODEL} --progress plain",
        model_fetcher().display()
    );
    let output = on_small_volume(&scene, 300, &script).await;
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    assert!(stderr.contains("warning: /opt/models is not on a volume"), "{stderr}");
}
