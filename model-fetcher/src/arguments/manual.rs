//! Renders the manual page that `model-fetcher --help` prints. The options come from the parser, so they
//! cannot differ from it.

use clap::Command;

const PAGE: &str = include_str!("manual.txt");
const WIDTH: usize = 80;
const MARGIN: &str = "    ";

/// Renders the manual page of `command`.
pub(crate) fn render_page(command: &mut Command) -> String {
    let options = command.find_subcommand_mut("fetch").map(render_options).unwrap_or_default();
    PAGE.replace("{options}", options.trim_end())
}

/// Renders each option with its help, variable, and default, indented by the margin.
fn render_options(verb: &mut Command) -> String {
    // Names of variables are useful in the manual; their current values are not.
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
    use crate::arguments::FetcherCli;

    #[test]
    fn manual_page_lists_every_option_within_80_columns() {
        let mut command = FetcherCli::command();
        command.build();
        let page = render_page(&mut command);
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
