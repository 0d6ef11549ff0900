//! A folder holds one revision: changed files do not hide which one.

use kubectl_dynamo_tests::hub::Repository;
use model_fetcher_contract::FailureReason;

use crate::support::{HubFixture, MODEL};

/// Sets the modification time of a file back, as a restored backup does. Its content stays.
fn touch(fixture: &HubFixture, path: &str) {
    let file = std::fs::File::options().write(true).open(fixture.folder().join(path)).unwrap();
    file.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_file_does_not_hide_another_revision() {
    let fixture = HubFixture::new().await;
    fixture.fetch(&[]).await.assert_exit_code(0);
    let commit = fixture.receipt().commit;
    touch(&fixture, "config.json");
    for verb in ["verify", "check", "fetch"] {
        let output = fixture.run(verb, &["--revision", "v2"]).await;
        let (error, _) = output.assert_exit_code(1).error_and_hint();
        assert!(error.contains("v2") && error.contains(&commit), "{verb}: {error}");
        assert_eq!(output.reason(), Some(FailureReason::OtherRevision), "{verb}");
    }
    fixture.run("verify", &[]).await.assert_exit_code(0);
    fixture.run("verify", &["--revision", &commit]).await.assert_exit_code(0);
    // A missing file is no different.
    std::fs::remove_file(fixture.folder().join("config.json")).unwrap();
    let output = fixture.fetch(&["--revision", "v2"]).await;
    assert_eq!(output.assert_exit_code(1).reason(), Some(FailureReason::OtherRevision));
    fixture.fetch(&[]).await.assert_exit_code(0);
    fixture.assert_complete();
}

/// `verify` has no filters: it hashes what was fetched.
#[tokio::test(flavor = "multi_thread")]
async fn verify_accepts_a_folder_with_excluded_files() {
    let fixture = HubFixture::new().await;
    fixture.fetch(&["--include", "*.json"]).await.assert_exit_code(0);
    touch(&fixture, "config.json");
    fixture.run("verify", &[]).await.assert_exit_code(0);
    fixture.run("verify", &["--revision", "v2"]).await.assert_exit_code(1);
}

/// Commits of a repository with sha256 object names have 64 digits.
#[tokio::test(flavor = "multi_thread")]
async fn a_commit_may_have_64_digits() {
    let fixture = HubFixture::new().await;
    let mut repository = Repository::from_folder(MODEL, fixture.served_folder.path()).unwrap();
    let (short, files) = repository.commits.pop_first().unwrap();
    let commit = format!("{short}{}", &short[..24]);
    repository.commits.insert(commit.clone(), files);
    repository.references.insert("main".into(), commit.clone());
    fixture.hub.publish(repository);
    fixture.fetch(&["--revision", &commit]).await.assert_exit_code(0);
    assert_eq!(fixture.receipt().commit, commit);
    fixture.assert_complete();
    fixture.run("verify", &["--revision", &commit]).await.assert_exit_code(0);
    fixture.run("verify", &["--revision", &short]).await.assert_exit_code(1);
}
