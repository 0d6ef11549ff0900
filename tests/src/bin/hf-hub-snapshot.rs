//! Downloads a snapshot with the unmodified hf-hub crate, as a peer in the fetch benchmark: `hf-hub-snapshot
//! ORG/NAME FOLDER`.

use std::error::Error;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(model), Some(folder)) = (arguments.next(), arguments.next()) else {
        return Err("hf-hub-snapshot ORG/NAME FOLDER".into());
    };
    let client = hf_hub::HFClient::builder().cache_enabled(false).build()?;
    let (owner, name) = hf_hub::split_id(&model);
    client.model(owner, name).snapshot_download().local_dir(std::path::PathBuf::from(folder)).send().await?;
    Ok(())
}
