//! Flags of `up` that other commands share: a subset of the request fields, parsed in the same way. It does
//! not define flags that `up` lacks.

use std::marker::PhantomData;

use clap::{ArgMatches, Args, Command, FromArgMatches};

use super::{fields, has_flag, to_arg, typed_values};
use crate::workflow::serving_input::ServingInput;
use kubectl_dynamo_core::error::Result;
use kubectl_dynamo_core::intent::request::{Field, Heading, SettingsLayer};

/// Selects the fields that a command has.
pub(in crate::commands) trait FieldSubset {
    fn contains(field: &Field) -> bool;
}

/// The typed values of a subset of fields.
#[derive(Debug)]
pub(in crate::commands) struct SubsetFlags<P>(pub ServingInput, PhantomData<P>);

/// The flags that determine memory use, for commands that only estimate it.
pub(in crate::commands) type MemoryFlags = SubsetFlags<MemoryFields>;

/// The flags that a fetch Job depends on: model, PVC, and fetcher.
pub(in crate::commands) type FetchFlags = SubsetFlags<FetchFields>;

#[derive(Debug)]
pub(in crate::commands) enum MemoryFields {}

#[derive(Debug)]
pub(in crate::commands) enum FetchFields {}

impl FieldSubset for MemoryFields {
    fn contains(field: &Field) -> bool {
        has_flag(field) && matches!(field.heading, Heading::Topology | Heading::KvOffload)
    }
}

impl FieldSubset for FetchFields {
    fn contains(field: &Field) -> bool {
        const FETCH_FIELDS: [&str; 15] = [
            "revision",
            "hfTokenSecret",
            "cache.claim",
            "cache.size",
            "cache.storageClass",
            "cache.accessMode",
            "fetcherImage",
            "registryMirror",
            "imagePullSecrets",
            "tolerations",
            "labels",
            "annotations",
            "env",
            "fetcherEnv",
            "caBundle",
        ];
        FETCH_FIELDS.contains(&field.path)
    }
}

impl<P> SubsetFlags<P> {
    /// Returns the typed values as a settings layer.
    ///
    /// # Errors
    /// Returns an error for an invalid value.
    pub(in crate::commands) fn layer(&self) -> Result<SettingsLayer> {
        let [flags, _] = self.0.layers()?;
        Ok(flags)
    }
}

impl<P> Default for SubsetFlags<P> {
    fn default() -> Self {
        Self(ServingInput::default(), PhantomData)
    }
}

impl<P: FieldSubset> Args for SubsetFlags<P> {
    fn augment_args(command: Command) -> Command {
        let selected = fields().filter(|field| P::contains(field));
        selected.fold(command, |command, field| command.arg(to_arg(field))).next_help_heading(None::<&str>)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl<P: FieldSubset> FromArgMatches for SubsetFlags<P> {
    fn from_arg_matches(matches: &ArgMatches) -> std::result::Result<Self, clap::Error> {
        let flags =
            ServingInput { flag_values: typed_values(matches, P::contains), ..ServingInput::default() };
        Ok(Self(flags, PhantomData))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> std::result::Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}
