//! Fetches a Hugging Face model onto a volume and verifies every byte.

pub mod contract;
