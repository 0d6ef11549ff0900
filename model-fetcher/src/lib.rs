//! model-fetcher.
