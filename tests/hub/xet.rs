//! Files that plain HTTP does not give: refused with a way out, or, in a build with xet, brought through a real store.

use kubectl_dynamo_tests::hub::{Fault, FaultKind, Host};
use model_fetcher::contract::exit;
use model_fetcher::{Error, FetchOptions, NoXet, Xet, fetch};

use crate::support::{IN_SOCKETS, Scene};

const SHARD: &str = "model-00001-of-00002.safetensors";

/// The hub refuses the first shard as it refuses files above 50 GB.
fn refuse(scene: &Scene, options: &mut FetchOptions) {
    scene.hub.inject(Fault::always(Host::Cdn, SHARD, FaultKind::Status(400, Vec::new())));
    options.plain_limit_bytes = 1 << 20;
}

async fn refusal(scene: &Scene, options: &FetchOptions) -> NoXet {
    let error = fetch(options, &mut |_| {}).await.unwrap_err();
    assert_eq!(error.exit_code(), exit::CONTENT);
    assert!(error.to_string().contains(SHARD) && error.to_string().contains("through xet only"), "{error}");
    assert!(error.hint().is_some());
    scene.assert_nothing_wrong();
    match error {
        Error::NeedsXet { why, .. } => why,
        error => panic!("{error}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_only_xet_gives_is_named_with_a_way_out() {
    let scene = Scene::new().await;
    let mut options = scene.options();
    refuse(&scene, &mut options);
    let expected = if cfg!(feature = "xet") { NoXet::NotStored } else { NoXet::NotBuiltIn };
    assert_eq!(refusal(&scene, &options).await, expected);
    options.xet = Xet::Never;
    assert_eq!(refusal(&scene, &options).await, NoXet::Forbidden);
    // Two runs ended early.
    scene.assert_recovers(2 * IN_SOCKETS).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_without_xet_says_so() {
    let scene = Scene::new().await;
    let (error, hint) = scene.fetch(&["--xet", "always"]).await.assert_code(exit::USAGE).failure();
    assert!(error.contains("no xet") && hint.contains("leave out `--xet always`"), "{error} {hint}");
    assert_eq!(scene.hub.requests(), []);
}

/// Against the store of the `xet-client` crate, unmodified.
#[cfg(feature = "xet")]
mod store {
    use kubectl_dynamo_tests::hub::{Repository, Settings};
    use tokio::net::TcpListener;
    use xet::xet_session::{Sha256Policy, XetSessionBuilder};
    use xet_client::cas_client::{LocalServer, LocalServerConfig};
    use xet_runtime::core::XetContext;

    use super::*;
    use crate::support::MODEL;

    /// A running store; it ends when this is dropped.
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

        /// Puts `content` in; returns its id.
        async fn put(&self, content: &[u8]) -> String {
            let session = XetSessionBuilder::new().build().unwrap();
            let commit = session.new_upload_commit().unwrap().with_endpoint(&self.url).build().await.unwrap();
            let upload = commit.upload_bytes(content.to_vec(), Sha256Policy::Compute, None).await.unwrap();
            let stored = upload.finalize_ingestion().await.unwrap();
            commit.commit().await.unwrap();
            stored.xet_info.hash().to_owned()
        }
    }

    /// A hub whose first shard is in a store, as `content`.
    async fn stored(content: impl Fn(&[u8]) -> Vec<u8>) -> (Scene, Store) {
        let store = Store::start().await;
        let settings = Settings { xet_url: Some(store.url.clone()), ..Settings::default() };
        let scene = Scene::with(settings, 5 << 20).await;
        let id = store.put(&content(&scene.files[SHARD])).await;
        let repository = Repository::from_folder(MODEL, scene.served.path()).unwrap();
        scene.hub.publish(repository.with_xet(SHARD, &id));
        (scene, store)
    }

    fn plain_requests(scene: &Scene) -> usize {
        scene.hub.requests().iter().filter(|request| request.path.contains(SHARD)).count()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_file_comes_through_xet_when_that_is_asked_for() {
        let (scene, _store) = stored(<[u8]>::to_vec).await;
        let options = FetchOptions { xet: Xet::Always, ..scene.options() };
        fetch(&options, &mut |_| {}).await.unwrap();
        scene.assert_complete();
        assert_eq!(plain_requests(&scene), 0);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_file_that_plain_http_does_not_give_comes_through_xet() {
        let (scene, _store) = stored(<[u8]>::to_vec).await;
        let mut options = scene.options();
        refuse(&scene, &mut options);
        fetch(&options, &mut |_| {}).await.unwrap();
        scene.assert_complete();
        assert!(plain_requests(&scene) > 0, "ranges are tried first");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn wrong_bytes_of_the_store_are_refused_by_hash() {
        let flipped = |content: &[u8]| {
            let mut content = content.to_vec();
            content[70_000] ^= 1;
            content
        };
        let (scene, _store) = stored(flipped).await;
        let options = FetchOptions { xet: Xet::Always, ..scene.options() };
        let error = fetch(&options, &mut |_| {}).await.unwrap_err();
        assert_eq!(error.exit_code(), exit::CONTENT);
        assert!(error.to_string().starts_with(SHARD), "{error}");
        scene.assert_nothing_wrong();
        scene.assert_recovers(2 * scene.files[SHARD].len() as u64 + IN_SOCKETS).await;
    }
}
