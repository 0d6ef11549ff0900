//! Flags of `up` that another verb has as well: those fields of the table that matter to it, read in the same way.

use std::marker::PhantomData;

use clap::{ArgMatches, Args, Command, FromArgMatches};

use super::{ServingFlags, argument, fields, has_flag, typed};
use crate::error::Result;
use crate::intent::request::{Field, Heading, Layer};

/// Which fields a verb has.
pub(in crate::commands) trait Part {
    fn has(field: &Field) -> bool;
}

/// What was typed of a part.
#[derive(Debug)]
pub(in crate::commands) struct PartFlags<P>(pub ServingFlags, PhantomData<P>);

/// The flags that decide over memory, for verbs that only ask about it.
pub(in crate::commands) type MemoryFlags = PartFlags<Memory>;

/// The flags that say which model, onto which claim and by which fetcher: those that a fetch Job depends on.
pub(in crate::commands) type FetchFlags = PartFlags<Fetch>;

#[derive(Debug)]
pub(in crate::commands) enum Memory {}

#[derive(Debug)]
pub(in crate::commands) enum Fetch {}

impl Part for Memory {
    fn has(field: &Field) -> bool {
        has_flag(field) && matches!(field.heading, Heading::Shape | Heading::KvOffload)
    }
}

impl Part for Fetch {
    fn has(field: &Field) -> bool {
        const OF_FETCH: [&str; 13] = [
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
        ];
        OF_FETCH.contains(&field.path)
    }
}

impl<P> PartFlags<P> {
    /// What was typed.
    ///
    /// # Errors
    /// Values that cannot be read.
    pub(in crate::commands) fn layer(&self) -> Result<Layer> {
        let [typed, _] = self.0.layers()?;
        Ok(typed)
    }
}

impl<P> Default for PartFlags<P> {
    fn default() -> Self {
        Self(ServingFlags::default(), PhantomData)
    }
}

impl<P: Part> Args for PartFlags<P> {
    fn augment_args(command: Command) -> Command {
        let of_part = fields().filter(|field| P::has(field));
        of_part.fold(command, |command, field| command.arg(argument(field))).next_help_heading(None::<&str>)
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl<P: Part> FromArgMatches for PartFlags<P> {
    fn from_arg_matches(matches: &ArgMatches) -> std::result::Result<Self, clap::Error> {
        let flags = ServingFlags { typed: typed(matches, P::has), ..ServingFlags::default() };
        Ok(Self(flags, PhantomData))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> std::result::Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}
