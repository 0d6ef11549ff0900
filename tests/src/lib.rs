//! Support for the tests: what more than one tier needs.
