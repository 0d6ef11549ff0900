//! A test implementation of Dynamo's operator, which is not available from a package registry.
//!
//! It creates, reports, and rejects what the real operators 1.5 (v1beta1) and 0.9.1 (v1alpha1) do without
//! Grove. Its pods are real. It does not use the code under test.

mod admission;
mod api_client;
mod component_controller;
mod faults;
mod graph;
mod graph_controller;
mod names;
mod objects;
mod pod_template;
mod restart;
mod scaling;
mod status;
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

pub use admission::rules;
use api_client::OperatorClient;
pub use faults::OperatorFault;
use faults::OperatorFaults;

use crate::Outcome;
use crate::kubernetes::authority::CertificateAuthority;
use crate::kubernetes::control_plane::ControlPlane;

/// A running operator; dropping it stops it, and its webhooks no longer respond.
#[derive(Debug)]
pub struct TestOperator {
    tasks: Vec<JoinHandle<()>>,
    faults: Arc<OperatorFaults>,
}

/// How often an idle operator looks whether it may act again.
const IDLE_INTERVAL: Duration = Duration::from_millis(250);

type ErrorLog = Arc<Mutex<std::fs::File>>;

impl TestOperator {
    /// Starts the operator for the control plane's generation: first its webhooks, then its controllers.
    /// Errors are written to `log`.
    pub async fn start(plane: &ControlPlane, authority: &CertificateAuthority, log: &Path) -> Outcome<Self> {
        let generation = plane.generation.ok_or("the control plane does not have Dynamo's CRDs")?;
        let faults = Arc::new(OperatorFaults::default());
        let access = Arc::new(OperatorClient { client: plane.client(), generation, faults: faults.clone() });
        let log: ErrorLog = Arc::new(Mutex::new(std::fs::File::create(log)?));
        let webhooks = admission::start(&access, authority).await?;
        let graphs = tokio::spawn(watch_graphs(access.clone(), log.clone()));
        let components = tokio::spawn(watch_components(access, log));
        Ok(Self { tasks: vec![webhooks, graphs, components], faults })
    }

    /// Starts a behavior of the real operators in a namespace.
    pub fn start_fault(&self, fault: OperatorFault, namespace: &str) {
        self.faults.start(fault, namespace);
    }

    /// Ends a behavior in a namespace.
    pub fn end_fault(&self, fault: OperatorFault, namespace: &str) {
        self.faults.end(fault, namespace);
    }

    /// Stops it, as if its pod were deleted: graphs keep running, and every change of one is rejected.
    pub fn stop(&self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl Drop for TestOperator {
    fn drop(&mut self) {
        self.stop();
    }
}

async fn watch_graphs(access: Arc<OperatorClient>, log: ErrorLog) {
    let (graphs, components, adapters) = (access.graphs(), access.components(), access.adapters());
    Controller::new_with(api_for_all(&access, &graphs), watcher::Config::default(), graphs)
        .owns_with(api_for_all(&access, &components), components, watcher::Config::default())
        .owns_with(api_for_all(&access, &adapters), adapters, watcher::Config::default())
        .run(graph_controller::reconcile, requeue_after_error, access)
        .for_each(|done| log_error(&log, done.err()))
        .await;
}

async fn watch_components(access: Arc<OperatorClient>, log: ErrorLog) {
    let components = access.components();
    let deployments: Api<Deployment> = Api::all(access.client.clone());
    Controller::new_with(api_for_all(&access, &components), watcher::Config::default(), components)
        .owns(deployments, watcher::Config::default())
        .run(component_controller::reconcile, requeue_after_error, access)
        .for_each(|done| log_error(&log, done.err()))
        .await;
}

fn api_for_all(access: &OperatorClient, resource: &ApiResource) -> Api<DynamicObject> {
    Api::all_with(access.client.clone(), resource)
}

/// A conflict is resolved by an immediate retry; other errors remain until the object is changed.
fn requeue_after_error(_: Arc<DynamicObject>, error: &kube::Error, _: Arc<OperatorClient>) -> Action {
    let is_conflict = matches!(error, kube::Error::Api(status) if status.code == 409);
    Action::requeue(if is_conflict { Duration::from_millis(50) } else { Duration::from_secs(2) })
}

async fn log_error<E: std::fmt::Display>(log: &ErrorLog, error: Option<E>) {
    if let (Some(error), Ok(mut log)) = (error, log.lock()) {
        // Errors are ignored: a full disk fails the tests more clearly elsewhere.
        let _ = writeln!(log, "{} {error:#}", api_client::now());
    }
}
