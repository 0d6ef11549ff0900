//! Arguments of a verb that are added to the parser only when the verb is parsed, completed, or has its help printed.
//! Without this, each command would build the flags of all verbs before it starts.

use clap::builder::Resettable;
use clap::{Arg, ArgMatches, Args, Command, FromArgMatches, Subcommand};

/// The arguments or the subcommands of a verb.
///
/// The description, the aliases, and the visibility of the verb must be on its variant of the enum of verbs: clap needs
/// them before it builds `T`.
pub(super) struct Lazy<T>(pub(super) Box<T>);

impl<T: Args> Args for Lazy<T> {
    fn augment_args(command: Command) -> Command {
        command.defer(|command| build(command, T::augment_args))
    }

    fn augment_args_for_update(command: Command) -> Command {
        command.defer(|command| build(command, T::augment_args_for_update))
    }
}

impl<T: Subcommand> Subcommand for Lazy<T> {
    fn augment_subcommands(command: Command) -> Command {
        command.defer(|command| build(command, T::augment_subcommands))
    }

    fn augment_subcommands_for_update(command: Command) -> Command {
        command.defer(|command| build(command, T::augment_subcommands_for_update))
    }

    fn has_subcommand(name: &str) -> bool {
        T::has_subcommand(name)
    }
}

/// Adds the arguments of a verb. Its description stays: clap would replace it by that of a group of arguments. The
/// global flags, which clap has already added, stay last.
fn build(command: Command, augment: fn(Command) -> Command) -> Command {
    let about = Resettable::from(command.get_about().cloned());
    let long_about = Resettable::from(command.get_long_about().cloned());
    let global_flags = command.get_arguments().count();
    let command = augment(command).about(about).long_about(long_about);
    let mut args: Vec<Arg> = command.get_arguments().cloned().collect();
    args.rotate_left(global_flags);
    let mut args = args.into_iter();
    command.mut_args(|arg| args.next().unwrap_or(arg))
}

impl<T: FromArgMatches> FromArgMatches for Lazy<T> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        T::from_arg_matches(matches).map(|args| Self(args.into()))
    }

    fn from_arg_matches_mut(matches: &mut ArgMatches) -> Result<Self, clap::Error> {
        T::from_arg_matches_mut(matches).map(|args| Self(args.into()))
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        self.0.update_from_arg_matches(matches)
    }
}
