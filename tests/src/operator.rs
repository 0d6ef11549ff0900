//! The part of Dynamo's operator, for clusters of the tests: there is none to install from a package registry.
//!
//! It creates, reports and refuses what the real operators 1.5 (v1beta1) and 0.9.1 (v1alpha1) were seen to, on the
//! path without Grove. Its pods are real ones. It knows nothing of what is under test.

mod access;
mod admission;
mod component_controller;
mod graph;
mod graph_controller;
mod objects;
mod pods;
mod restart;
mod scaling;
mod status;
mod words;
mod workload;

use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{Api, ApiResource, DynamicObject};
use kube::runtime::controller::{Action, Controller};
use kube::runtime::watcher;
use tokio::task::JoinHandle;

use access::Access;
pub use admission::rules;

use crate::Outcome;
use crate::kubernetes::authority::Authority;
use crate::kubernetes::control_plane::ControlPlane;

/// A running operator; dropping it stops it, and its webhooks then answer nothing.
#[derive(Debug)]
pub struct Operator {
    tasks: Vec<JoinHandle<()>>,
}

type Log = Arc<Mutex<std::fs::File>>;

impl Operator {
    /// Starts the operator of the control plane's generation: its webhooks first, then its controllers.
    /// What it could not do stands in `log`.
    pub async fn start(plane: &ControlPlane, authority: &Authority, log: &Path) -> Outcome<Self> {
        let generation = plane.generation.ok_or("a control plane without Dynamo has no operator")?;
        let access = Arc::new(Access { client: plane.client(), generation });
        let log: Log = Arc::new(Mutex::new(std::fs::File::create(log)?));
        let webhooks = admission::start(&access, authority).await?;
        let graphs = tokio::spawn(watch_graphs(access.clone(), log.clone()));
        let components = tokio::spawn(watch_components(access, log));
        Ok(Self { tasks: vec![webhooks, graphs, components] })
    }

    /// Stops it, as when its pod is gone: graphs keep running, every change of one is refused.
    pub fn stop(&self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        self.stop();
    }
}

async fn watch_graphs(access: Arc<Access>, log: Log) {
    let (graphs, components, adapters) = (access.graphs(), access.components(), access.adapters());
    Controller::new_with(all(&access, &graphs), watcher::Config::default(), graphs)
        .owns_with(all(&access, &components), components, watcher::Config::default())
        .owns_with(all(&access, &adapters), adapters, watcher::Config::default())
        .run(graph_controller::reconcile, again, access)
        .for_each(|done| note(&log, done.err()))
        .await;
}

async fn watch_components(access: Arc<Access>, log: Log) {
    let components = access.components();
    let deployments: Api<Deployment> = Api::all(access.client.clone());
    Controller::new_with(all(&access, &components), watcher::Config::default(), components)
        .owns(deployments, watcher::Config::default())
        .run(component_controller::reconcile, again, access)
        .for_each(|done| note(&log, done.err()))
        .await;
}

fn all(access: &Access, resource: &ApiResource) -> Api<DynamicObject> {
    Api::all_with(access.client.clone(), resource)
}

/// A conflict is over at once; what is wrong with an object stays wrong until someone changes it.
fn again(_: Arc<DynamicObject>, error: &kube::Error, _: Arc<Access>) -> Action {
    let is_conflict = matches!(error, kube::Error::Api(status) if status.code == 409);
    Action::requeue(if is_conflict { Duration::from_millis(50) } else { Duration::from_secs(2) })
}

async fn note<E: std::fmt::Display>(log: &Log, error: Option<E>) {
    if let (Some(error), Ok(mut log)) = (error, log.lock()) {
        // A full disk fails the tests in plainer ways than this.
        let _ = writeln!(log, "{} {error:#}", access::now());
    }
}
