//! Files that are not available over plain HTTP: an error with a fix, or, in a build with xet, a fetch from a
//! real xet server.

use kubectl_dynamo_tests::hub::{Fault, FaultKind, HubHost};
use model_fetcher::{FetchOptions, FetcherError, Xet, XetUnavailable, fetch};
use model_fetcher_contract::exit;

use crate::support::{HubFixture, SOCKET_BUFFER_BYTES};

const SHARD: &str = "model-00001-of-00002.safetensors";

/// Makes the hub refuse the first shard as it refuses files above 50 GB.
fn inject_plain_http_refusal(fixture: &HubFixture, options: &mut FetchOptions) {
    fixture.hub.inject(Fault::always(HubHost::Cdn, SHARD, FaultKind::Status(400, Vec::new())));
    options.plain_http_limit_bytes = 1 << 20;
}

async fn expect_xet_error(fixture: &HubFixture, options: &FetchOptions) -> XetUnavailable {
    let error = fetch(options, &mut |_| {}).await.unwrap_err();
    assert_eq!(error.exit_code(), exit::CONTENT);
    assert!(
        error.to_string().contains(SHARD) && error.to_string().contains("only available through xet"),
        "{error}"
    );
    assert!(error.hint().is_some());
    fixture.assert_no_corrupt_files();
    match error {
        FetcherError::NeedsXet { why, .. } => why,
        error => panic!("{error}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn xet_only_file_error_names_file_and_fix() {
    let fixture = HubFixture::new().await;
    let mut options = fixture.options();
    inject_plain_http_refusal(&fixture, &mut options);
    let expected = if cfg!(feature = "xet") { XetUnavailable::NotStored } else { XetUnavailable::NotBuiltIn };
    assert_eq!(expect_xet_error(&fixture, &options).await, expected);
    options.xet = Xet::Never;
    assert_eq!(expect_xet_error(&fixture, &options).await, XetUnavailable::Forbidden);
    // Two runs ended early.
    fixture.assert_recovers(2 * SOCKET_BUFFER_BYTES).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn build_without_xet_rejects_xet_always() {
    let fixture = HubFixture::new().await;
    let (error, hint) =
        fixture.fetch(&["--xet", "always"]).await.assert_exit_code(exit::USAGE).error_and_hint();
    assert!(
        error.contains("does not include xet") && hint.contains("remove `--xet always`"),
        "{error} {hint}"
    );
    assert_eq!(fixture.hub.requests(), []);
}

/// Tests against the unmodified server of the `xet-client` crate.
#[cfg(feature = "xet")]
mod store {
    use kubectl_dynamo_tests::hub::{HubSettings, Repository};
    use tokio::net::TcpListener;
    use xet::xet_session::{Sha256Policy, XetSessionBuilder};
    use xet_client::cas_client::{LocalServer, LocalServerConfig};
    use xet_runtime::core::XetContext;

    use super::*;
    use crate::support::MODEL;

    /// A running xet server; dropping it stops it.
    struct Store {
        url: String,
        _folder: tempfile::TempDir,
        _stop: tokio::sync::oneshot::Sender<()>,
    }

    impl Store {
        async fn start() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("http://{}", listener.local_addr().unwrap());
            let data_directory = folder.path().to_owned();
            let config = LocalServerConfig { data_directory, ..LocalServerConfig::default() };
            let server = LocalServer::new(XetContext::default().unwrap(), config).await.unwrap();
            let (stop, stopped) = tokio::sync::oneshot::channel();
            tokio::spawn(async move { server.serve_until_stopped(listener, stopped).await });
            Self { url, _folder: folder, _stop: stop }
        }

        /// Uploads `content` and returns its ID.
        async fn put(&self, content: &[u8]) -> String {
            let session = XetSessionBuilder::new().build().unwrap();
            let commit = session.new_upload_commit().unwrap().with_endpoint(&self.url).build().await.unwrap();
            let upload = commit.upload_bytes(content.to_vec(), Sha256Policy::Compute, None).await.unwrap();
            let stored = upload.finalize_ingestion().await.unwrap();
            commit.commit().await.unwrap();
            stored.xet_info.hash().to_owned()
        }
    }

    /// Returns a fixture whose hub has the first shard in xet storage, as `content`.
    async fn fixture_with_xet(content: impl Fn(&[u8]) -> Vec<u8>) -> (HubFixture, Store) {
        let store = Store::start().await;
        let settings = HubSettings { xet_url: Some(store.url.clone()), ..HubSettings::default() };
        let fixture = HubFixture::with_settings(settings, 5 << 20).await;
        let xet_hash = store.put(&content(&fixture.files[SHARD])).await;
        let repository = Repository::from_folder(MODEL, fixture.served_folder.path()).unwrap();
        fixture.hub.publish(repository.with_xet_hash(SHARD, &xet_hash));
        (fixture, store)
    }

    fn plain_requests(fixture: &HubFixture) -> usize {
        fixture.hub.requests().iter().filter(|request| request.path.contains(SHARD)).count()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn xet_always_fetches_through_xet() {
        let (fixture, _store) = fixture_with_xet(<[u8]>::to_vec).await;
        let options = FetchOptions { xet: Xet::Always, ..fixture.options() };
        fetch(&options, &mut |_| {}).await.unwrap();
        fixture.assert_complete();
        assert_eq!(plain_requests(&fixture), 0);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn file_refused_over_plain_http_is_fetched_through_xet() {
        let (fixture, _store) = fixture_with_xet(<[u8]>::to_vec).await;
        let mut options = fixture.options();
        inject_plain_http_refusal(&fixture, &mut options);
        fetch(&options, &mut |_| {}).await.unwrap();
        fixture.assert_complete();
        assert!(plain_requests(&fixture) > 0, "ranges are tried first");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn wrong_bytes_from_xet_fail_hash_check() {
        let flipped = |content: &[u8]| {
            let mut content = content.to_vec();
            content[70_000] ^= 1;
            content
        };
        let (fixture, _store) = fixture_with_xet(flipped).await;
        let options = FetchOptions { xet: Xet::Always, ..fixture.options() };
        let error = fetch(&options, &mut |_| {}).await.unwrap_err();
        assert_eq!(error.exit_code(), exit::CONTENT);
        assert!(error.to_string().starts_with(SHARD), "{error}");
        fixture.assert_no_corrupt_files();
        fixture.assert_recovers(2 * fixture.files[SHARD].len() as u64 + SOCKET_BUFFER_BYTES).await;
    }
}
