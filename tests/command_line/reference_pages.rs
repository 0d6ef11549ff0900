//! The generated parts of the reference pages: the table of request fields, the flags of every verb, and the verbs of
//! every persona.

use kubectl_dynamo_core::intent::StringEnum;
use kubectl_dynamo_core::intent::request::{Field, FieldType, Heading, NAMESPACE, fields};
use kubectl_dynamo_core::rbac::{Persona, TABLE};
use kubectl_dynamo_tests::cache::repository;
use kubectl_dynamo_tests::help::{HelpText, help_of_all};
use kubectl_dynamo_tests::pages::{check_generated, table_row};
use kubectl_dynamo_tests::programs;

/// All headings of fields, with the name that the pages use.
const HEADINGS: &[(Heading, &str)] = &[
    (Heading::Model, "Model"),
    (Heading::Topology, "Topology"),
    (Heading::Routing, "Routing"),
    (Heading::KvOffload, "KV offload"),
    (Heading::Cache, "Cache"),
    (Heading::Placement, "Placement"),
];

#[test]
fn configuration_page_lists_every_field() {
    let mut text = String::new();
    for (heading, title) in HEADINGS {
        text += &format!(
            "\n### {title}\n\n| Field | Flag | Value | Default | Description |\n|---|---|---|---|---|\n"
        );
        let namespace = Some(&NAMESPACE).filter(|field| field.heading == *heading);
        let rows = namespace.into_iter().chain(fields().filter(|field| field.heading == *heading));
        rows.map(field_row).for_each(|row| text += &row);
    }
    check_generated("docs/reference/configuration.md", "fields", &text);
}

fn field_row(field: &Field) -> String {
    let flag = match field.path {
        "namespace" => "`-n`, `--namespace`".into(),
        "engineArgs" => "after `--`".into(),
        "kvOffload.cpu" => "`--kv-offload cpu=SIZE`".into(),
        "kvOffload.disk" => "`--kv-offload cpu=SIZE,disk=SIZE`".into(),
        _ => match field.long_flag {
            Some(long) => format!("`{}`, `{long}`", field.flag),
            None => format!("`{}`", field.flag),
        },
    };
    let (description, default) = split_default(field.about);
    table_row(&[format!("`{}`", field.path), flag, value(field), default, description])
}

fn value(field: &Field) -> String {
    let kind = match field.kind {
        FieldType::Bool => return "`true`, `false`".into(),
        FieldType::Enum(values) => {
            return values().iter().map(|value| format!("`{value}`")).collect::<Vec<_>>().join(", ");
        }
        FieldType::String => "string",
        FieldType::Quantity => "quantity",
        FieldType::Integer => "integer",
        FieldType::Number => "number",
        FieldType::List => "list",
        FieldType::Args => "arguments",
        FieldType::Map => "map",
    };
    if field.example.is_empty() { kind.into() } else { format!("{kind}, `{}`", field.example) }
}

/// Splits a help text such as `Size [default: 8Gi]` into the description and the default.
fn split_default(about: &str) -> (String, String) {
    for (mark, suffix) in [("[default: ", ""), ("[Dynamo's default: ", " (Dynamo's)")] {
        if let Some((before, rest)) = about.split_once(mark)
            && let Some((default, after)) = rest.split_once(']')
        {
            return (format!("{}{after}", before.trim_end()), format!("{default}{suffix}"));
        }
    }
    (about.into(), String::new())
}

#[test]
fn commands_page_lists_every_verb_and_flag() {
    let texts = help_of_all(&programs::kubectl_dynamo(), &[]);
    let root = texts.first().expect("the program has a help text");
    let mut page = String::from("\n## Flags of every verb\n\n");
    page += &table(rows(&root.text).into_iter().filter(|row| row.is_kubernetes_flag()));
    for verb in texts.iter().filter(|one| !one.words.is_empty() && !one.text.contains("\nCommands:\n")) {
        page += &verb_section(verb);
    }
    check_generated("docs/reference/commands.md", "verbs", &page);
}

fn verb_section(verb: &HelpText) -> String {
    let (about, rest) = verb.text.split_once("\nUsage: kubectl dynamo ").expect("help shows the usage");
    let usage = rest.lines().next().unwrap_or_default().replace(" [OPTIONS]", "");
    let about: Vec<&str> = about.trim().split("\n\n").collect();
    let about: Vec<String> = about.iter().map(|text| sentence(&text.replace('\n', " "))).collect();
    let rows = rows(&verb.text);
    let is_field_row = |row: &HelpRow| fields().any(|field| row.is_flag_of(field));
    let mut section = format!("\n## {}\n\n`{usage}`\n\n{}\n", verb.words.join(" "), about.join(" "));
    let accepted: Vec<&Field> =
        fields().filter(|field| rows.iter().any(|row| row.is_flag_of(field))).collect();
    if !accepted.is_empty() {
        section +=
            &format!("\nFlags for [fields](configuration.md#fields): {}.\n", accepted_fields(&accepted));
    }
    let own =
        rows.into_iter().filter(|row| !row.is_kubernetes_flag() && !row.is_help() && !is_field_row(row));
    let own: Vec<HelpRow> = own.collect();
    if !own.is_empty() {
        section += &format!("\n{}", table(own.into_iter()));
    }
    section
}

/// Names complete groups of fields, and the flags of the others.
fn accepted_fields(accepted: &[&Field]) -> String {
    if accepted.len() == fields().filter(|field| !has_no_flag(field)).count() {
        return "all".into();
    }
    let mut names = Vec::new();
    for (heading, title) in HEADINGS {
        let of_heading = accepted.iter().filter(|field| field.heading == *heading);
        let flags: Vec<&str> = of_heading.map(|field| field.flag).collect();
        // The disk tier is part of `--kv-offload`, and engine arguments follow `--`.
        let all = fields().filter(|field| field.heading == *heading && !has_no_flag(field)).count();
        match flags.len() {
            0 => {}
            count if count == all => names.push(format!("all of {title}")),
            _ => names.extend(flags.iter().map(|flag| format!("`{flag}`"))),
        }
    }
    names.join(", ")
}

fn has_no_flag(field: &Field) -> bool {
    field.flag == "--" || field.path == "kvOffload.disk"
}

fn table(rows: impl Iterator<Item = HelpRow>) -> String {
    let rows = rows.map(|row| table_row(&[format!("`{}`", row.name), row.description]));
    format!("| Flag or argument | Description |\n|---|---|\n{}", rows.collect::<String>())
}

fn sentence(text: &str) -> String {
    let text = text.trim();
    if text.ends_with('.') { text.into() } else { format!("{text}.") }
}

/// An argument or a flag in a help text.
#[derive(Debug)]
struct HelpRow {
    heading: String,
    /// As in the help: `-f, --filename <FILE>`.
    name: String,
    description: String,
}

impl HelpRow {
    fn is_kubernetes_flag(&self) -> bool {
        self.heading.starts_with("Kubernetes flags")
    }

    fn is_help(&self) -> bool {
        ["-h, --help", "-V, --version"].contains(&self.name.as_str())
    }

    /// Returns whether this is the flag of a field. `scale` has flags with the same names and another meaning.
    fn is_flag_of(&self, field: &Field) -> bool {
        let flag = self.name.split(['<', '[', ' ']).next().unwrap_or_default();
        let names = [Some(field.flag), field.long_flag];
        !has_no_flag(field)
            && names.into_iter().flatten().any(|name| name == flag)
            && self.description.starts_with(field.about)
    }
}

/// Returns the arguments and flags of a help text.
fn rows(help: &str) -> Vec<HelpRow> {
    let mut rows: Vec<HelpRow> = Vec::new();
    let mut heading = None;
    for line in help.lines() {
        let text = line.trim();
        let indent = line.len() - line.trim_start().len();
        match &heading {
            _ if text.is_empty() => {}
            _ if indent == 0 => {
                heading = line.strip_suffix(':').filter(|title| is_heading(title)).map(str::to_owned)
            }
            Some(heading) if indent < 10 => {
                let heading = heading.clone();
                rows.push(HelpRow { heading, name: text.into(), description: String::new() });
            }
            _ => {
                if let Some(row) = rows.last_mut().filter(|_| heading.is_some()) {
                    row.description += if row.description.is_empty() { "" } else { " " };
                    row.description += text;
                }
            }
        }
    }
    rows
}

/// Returns whether flags or arguments follow this heading, and not examples or exit codes.
fn is_heading(title: &str) -> bool {
    ["Arguments", "Options", "Flow"].contains(&title)
        || title.starts_with("Kubernetes flags")
        || HEADINGS.iter().any(|(_, known)| *known == title)
}

#[test]
fn rbac_page_lists_the_verbs_of_every_persona() {
    let mut text = String::from("| Persona | Verbs | Scope |\n|---|---|---|\n");
    for persona in Persona::ALL {
        let own = TABLE.iter().filter(|row| row.persona == *persona);
        let own = own.map(|row| format!("`{}`", row.command)).collect::<Vec<_>>().join(", ");
        let in_namespace = "the namespace, or all with `-A`";
        let (verbs, scope) = match persona {
            Persona::Viewer => (own, in_namespace),
            Persona::Deployer => (format!("all of these, and {own}"), in_namespace),
            Persona::Platform => {
                (format!("all of these, and {own} with nodes and all namespaces"), "the whole cluster")
            }
        };
        text += &table_row(&[format!("`{}`", persona.as_str()), verbs, scope.into()]);
    }
    check_generated("docs/reference/rbac.md", "personas", &text);
}

#[test]
fn commands_page_names_every_verb_that_asks_for_confirmation() {
    let page = std::fs::read_to_string(repository().join("docs/reference/commands.md"))
        .expect("the page can be read");
    let row = page.lines().find(|line| line.starts_with("| `-y` |")).expect("the page has a row for -y");
    let documented = row.split('|').nth(2).expect("the row has a column of verbs");
    let mut documented: Vec<&str> = documented.split(',').map(|verb| verb.trim().trim_matches('`')).collect();
    let texts = help_of_all(&programs::kubectl_dynamo(), &[]);
    let asking = texts.iter().filter(|verb| rows(&verb.text).iter().any(|row| row.name == "-y, --yes"));
    let mut asking: Vec<String> = asking.map(|verb| verb.words.join(" ")).collect();
    documented.sort_unstable();
    asking.sort_unstable();
    assert_eq!(documented, asking);
}

#[test]
fn fetcher_page_names_every_flag() {
    let page =
        std::fs::read_to_string(repository().join("docs/model-fetcher.md")).expect("the page can be read");
    let texts = help_of_all(&programs::model_fetcher(), &[]);
    let verbs = texts.iter().filter(|one| !one.words.is_empty());
    let flags = verbs.flat_map(|verb| rows(&verb.text)).filter(|row| row.name.starts_with("--"));
    let missing: Vec<String> = flags
        .filter_map(|row| row.name.split_whitespace().next().map(str::to_owned))
        .filter(|flag| !page.contains(&format!("`{flag}")))
        .collect();
    assert_eq!(missing, [""; 0]);
}

#[test]
fn defaults_are_split_from_descriptions() {
    for (about, description, default) in [
        ("Size of /dev/shm [default: 8Gi]", "Size of /dev/shm", "8Gi"),
        ("GPUs [default: 1] (prefill only)", "GPUs (prefill only)", "1"),
        ("Weight [Dynamo's default: 1]", "Weight", "1 (Dynamo's)"),
        ("Secret [default key: HF_TOKEN]", "Secret [default key: HF_TOKEN]", ""),
    ] {
        assert_eq!(split_default(about), (description.into(), default.into()));
    }
}
