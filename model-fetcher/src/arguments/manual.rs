//! The manual page: what `model-fetcher --help` prints. Its options are those the parser has, so they cannot differ.

use clap::Command;

const PAGE: &str = include_str!("manual.txt");
const WIDTH: usize = 80;
const MARGIN: &str = "    ";

/// The page for the program that `command` describes.
pub(crate) fn page(command: &mut Command) -> String {
    let options = command.find_subcommand_mut("fetch").map(options_of).unwrap_or_default();
    PAGE.replace("{options}", options.trim_end())
}

/// Each option with its text, variable and default, below the margin.
fn options_of(verb: &mut Command) -> String {
    // The names of variables are of use to everybody, their values only here and now.
    let verb = verb.clone().mut_args(|argument| argument.hide_env_values(true));
    let mut verb = verb.help_template("{options}").term_width(WIDTH - MARGIN.len());
    let text = verb.render_long_help().to_string();
    let indented = text.lines().map(str::trim_end).map(|line| match line {
        "" => "\n".to_owned(),
        _ => format!("{MARGIN}{line}\n"),
    });
    indented.collect()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::arguments::CommandLine;

    #[test]
    fn the_page_fits_a_terminal_and_has_every_option_with_its_variable() {
        let mut command = CommandLine::command();
        command.build();
        let page = page(&mut command);
        assert!(page.lines().all(|line| line.chars().count() <= WIDTH), "{page}");
        let fetch = command.find_subcommand("fetch").unwrap();
        for argument in
            fetch.get_arguments().filter(|argument| argument.get_long().is_some_and(|name| name != "help"))
        {
            let long = argument.get_long().unwrap_or_default();
            assert!(page.contains(&format!("--{long}")), "{long}");
            let variable = argument.get_env().unwrap().to_str().unwrap();
            assert!(page.contains(variable), "{variable}");
        }
        insta::assert_snapshot!(page);
    }
}
