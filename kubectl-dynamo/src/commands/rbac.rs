//! `rbac generate`: the role of a persona and its bindings, from the program's own table of rights.

use clap::{Args, Subcommand};

use super::kube_flags::FlagError;
use super::{Context, print_data, words};
use crate::cluster::{DEFAULT_NAMESPACE, context_namespace};
use crate::error::{Exit, Result};
use crate::resources::to_yaml;
use crate::rights::{Persona, Reach, Subject, manifest};

/// Rights that the verbs need
#[derive(Subcommand)]
pub(super) enum RbacVerb {
    Generate(GenerateArgs),
}

impl RbacVerb {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Generate(_) => "rbac generate",
        }
    }
}

/// Print the role and the bindings that let somebody run the verbs of a persona
///
/// --user NAME gives the rights to a user, as in `kubectl create rolebinding`. They hold in the namespace of -n, with
/// -A in every namespace; the platform persona's always hold everywhere. A viewer looks and changes nothing; a
/// deployer deploys models and talks to them; platform also sees nodes and every namespace.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct GenerateArgs {
    /// Whose rights
    #[arg(long, value_parser = words::<Persona>())]
    pub persona: Persona,
    /// A group that gets them; may be given again
    #[arg(long, value_name = "NAME")]
    pub group: Vec<String>,
    /// A service account that gets them, of the namespace of -n where none is named; may be given again
    #[arg(long, value_name = "[NAMESPACE:]NAME")]
    pub service_account: Vec<String>,
}

const EXAMPLES: &str = "\
Examples:
  kubectl dynamo rbac generate --persona deployer --user jane -n serving | kubectl apply -f -
  kubectl dynamo rbac generate --persona viewer --group ml-team -A | kubectl apply -f -
  kubectl dynamo rbac generate --persona deployer --service-account ci:deployer -n serving";

pub(super) fn run(verb: &RbacVerb, context: &Context) -> Result<Exit> {
    match verb {
        RbacVerb::Generate(args) => generate(args, context),
    }
}

fn generate(args: &GenerateArgs, context: &Context) -> Result<Exit> {
    let namespace = namespace(context)?;
    let reach = match context.kube.all_namespaces || args.persona == Persona::Platform {
        true => Reach::Cluster,
        false => Reach::Namespace(&namespace),
    };
    let subjects = subjects(args, context, &namespace)?;
    if subjects.is_empty() {
        context.report.detail("nobody is named, so only the role: add --user, --group or --service-account");
    }
    let objects = manifest(args.persona, reach, &subjects);
    print_data(&to_yaml(&objects).expect("RBAC objects hold only strings and lists"))?;
    Ok(Exit::Ok)
}

/// As every verb has it: flag, setting, the kubeconfig's context.
fn namespace(context: &Context) -> Result<String> {
    let said = match context.namespace()? {
        None => context_namespace(&context.kube.access()?),
        said => said,
    };
    Ok(said.unwrap_or_else(|| DEFAULT_NAMESPACE.into()))
}

fn subjects(args: &GenerateArgs, context: &Context, namespace: &str) -> Result<Vec<Subject>> {
    let mut subjects: Vec<Subject> = context.kube.user.iter().cloned().map(Subject::User).collect();
    subjects.extend(args.group.iter().cloned().map(Subject::Group));
    for account in &args.service_account {
        let (namespace, name) = account.split_once(':').unwrap_or((namespace, account));
        subjects.push(Subject::ServiceAccount { namespace: namespace.into(), name: name.into() });
    }
    let empty = |subject: &Subject| match subject {
        Subject::User(name) | Subject::Group(name) => name.is_empty(),
        Subject::ServiceAccount { namespace, name } => namespace.is_empty() || name.is_empty(),
    };
    if subjects.iter().any(empty) {
        return Err(FlagError::NoSubject.into());
    }
    Ok(subjects)
}
