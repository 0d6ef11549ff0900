//! Checks that every shard that an index of weights names is in the listing, and among the selected files.
//! An index is checked as soon as its content is verified: a repository without a shard never becomes complete.

use std::collections::HashSet;
use std::fs;

use crate::error::FetcherError;
use crate::options::FetchOptions;
use crate::safetensors::MAX_INDEX_BYTES;
use crate::store::ModelStore;
use model_fetcher_contract::weights::{
    FileUse, LoadFormat, WeightIndex, classify_files, find_missing_shard, is_weight_index,
};
use model_fetcher_contract::{Listing, RemoteFile};

/// The names that indexes may refer to.
#[derive(Debug)]
pub(crate) struct IndexCheck {
    repository: String,
    endpoint: String,
    load_format: LoadFormat,
    /// A user's filters may leave out shards.
    has_filters: bool,
    listed: Vec<String>,
    selected: HashSet<String>,
}

impl IndexCheck {
    pub(super) fn new(options: &FetchOptions, listing: &Listing, selected: &[RemoteFile]) -> Self {
        Self {
            repository: options.repository.clone(),
            endpoint: options.hub.endpoint.to_string(),
            load_format: options.load_format,
            has_filters: !(options.include.is_empty() && options.exclude.is_empty()),
            listed: listing.paths().map(str::to_owned).collect(),
            selected: selected.iter().map(|file| file.path.clone()).collect(),
        }
    }

    /// Checks what the names alone tell, before anything is transferred: a number that is missing next to an index.
    pub(super) fn check_names(&self) -> Result<(), FetcherError> {
        let relevant: Vec<&str> =
            self.listed.iter().map(String::as_str).filter(|path| self.decides(path)).collect();
        match find_missing_shard(&relevant, &[], self.load_format) {
            Some(shard) => Err(self.missing("its index", &shard)),
            None => Ok(()),
        }
    }

    /// Checks the index at `path` of the folder. Other files are not read.
    pub(crate) fn check_content(&self, store: &ModelStore, path: &str) -> Result<(), FetcherError> {
        if !is_weight_index(path) {
            return Ok(());
        }
        let place = store.path_of(path);
        let read = fs::metadata(&place).and_then(|metadata| match metadata.len() {
            0..=MAX_INDEX_BYTES => fs::read(&place).map(Some),
            _ => Ok(None),
        });
        let Some(json) = read.map_err(|error| FetcherError::disk("read", &place, error))? else {
            return Ok(());
        };
        // Its hash is right, so an index of another form is what the repository contains.
        let Ok(index) = WeightIndex::parse(path, &json) else { return Ok(()) };
        let listed: Vec<&str> = self.listed.iter().map(String::as_str).collect();
        if let Some(shard) = index.missing_shard(&listed, self.load_format) {
            return Err(self.missing(path, &shard));
        }
        match self.find_unselected(&listed, &index) {
            Some(shard) => Err(FetcherError::BadListing {
                repository: self.repository.clone(),
                reason: format!("{path} names {shard:?}, which looks like a copy of other weights"),
            }),
            None => Ok(()),
        }
    }

    /// Returns a shard that the engine loads, now that the index is known, and that was left out before.
    fn find_unselected<'a>(&self, listed: &[&'a str], index: &WeightIndex) -> Option<&'a str> {
        if self.has_filters {
            return None;
        }
        let uses = classify_files(listed, std::slice::from_ref(index), self.load_format);
        let loaded = listed.iter().zip(uses).filter(|(_, file_use)| *file_use == FileUse::Loaded);
        let mut unselected =
            loaded.filter(|(path, _)| index.shards.contains(**path) && !self.selected.contains(**path));
        unselected.next().map(|(path, _)| *path)
    }

    /// Returns whether a name counts: an index that is not selected does not decide.
    fn decides(&self, path: &str) -> bool {
        !is_weight_index(path) || self.selected.contains(path)
    }

    fn missing(&self, index: &str, shard: &str) -> FetcherError {
        FetcherError::IncompleteListing {
            repository: self.repository.clone(),
            endpoint: self.endpoint.clone(),
            reason: format!("{index} names {shard:?}, and the repository does not contain it"),
        }
    }
}
