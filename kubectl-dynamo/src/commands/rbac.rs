//! `rbac generate`: prints the role of a persona and its bindings, from the plugin's table of permissions. It
//! does not contact the cluster.

use clap::{Args, Subcommand};

use super::output_flag::output_parser;
use crate::commands::enum_value_parser;
use crate::context::Context;
use crate::kube_flags::FlagError;
use crate::output::{ObjectFormat, PrintFormat, print_data};
use crate::render::objects;
use kubectl_dynamo_cluster::DEFAULT_NAMESPACE;
use kubectl_dynamo_core::error::{Exit, Result};
use kubectl_dynamo_core::rbac::{Persona, RbacSubject, RuleScope, render_rbac};

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

/// Print the role and the bindings of a persona
///
/// --user NAME grants the permissions to a user, as in `kubectl create rolebinding`. They apply to the
/// namespace of -n, or with -A to all namespaces. Those of the platform persona always apply to all
/// namespaces. A viewer only reads. A deployer also deploys models and sends requests to them. Platform also
/// reads nodes and all namespaces.
#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct GenerateArgs {
    /// Persona whose permissions to grant
    #[arg(long, value_parser = enum_value_parser::<Persona>())]
    pub persona: Persona,
    /// Group to grant them to (repeatable)
    #[arg(long, value_name = "NAME")]
    pub group: Vec<String>,
    /// Service account to grant them to (repeatable; default namespace: that of -n)
    #[arg(long, value_name = "[NAMESPACE:]NAME")]
    pub service_account: Vec<String>,
    /// Output format
    #[arg(short, long, value_parser = output_parser::<ObjectFormat>(), default_value = "yaml")]
    pub output: PrintFormat<ObjectFormat>,
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
    let namespace = context.namespace()?.unwrap_or_else(|| DEFAULT_NAMESPACE.into());
    let scope = match context.kube.all_namespaces || args.persona == Persona::Platform {
        true => RuleScope::Cluster,
        false => RuleScope::Namespace(&namespace),
    };
    let subjects = subjects(args, context, &namespace)?;
    if subjects.is_empty() {
        context
            .report
            .info("no subject given, so only the role is printed; add --user, --group, or --service-account");
    }
    let objects = render_rbac(args.persona, scope, &subjects);
    print_data(&objects::text(&objects, &args.output)?)?;
    Ok(Exit::Ok)
}

fn subjects(args: &GenerateArgs, context: &Context, namespace: &str) -> Result<Vec<RbacSubject>> {
    let mut subjects: Vec<RbacSubject> = context.kube.user.iter().cloned().map(RbacSubject::User).collect();
    subjects.extend(args.group.iter().cloned().map(RbacSubject::Group));
    for account in &args.service_account {
        let (namespace, name) = account.split_once(':').unwrap_or((namespace, account));
        subjects.push(RbacSubject::ServiceAccount { namespace: namespace.into(), name: name.into() });
    }
    let is_empty = |subject: &RbacSubject| match subject {
        RbacSubject::User(name) | RbacSubject::Group(name) => name.is_empty(),
        RbacSubject::ServiceAccount { namespace, name } => namespace.is_empty() || name.is_empty(),
    };
    if subjects.iter().any(is_empty) {
        return Err(FlagError::MissingSubject.into());
    }
    Ok(subjects)
}
