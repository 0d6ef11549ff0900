//! The table, the document, and the full-screen view of the same deployments.

use std::time::Duration;

use insta::assert_snapshot;
use ratatui_core::backend::TestBackend;
use ratatui_core::terminal::Terminal;

use super::view::{TopView, ViewAction};
use super::{render, render_next, screen};
use crate::full_screen::ViewInput;
use crate::output::{DocumentCount, DocumentFormat, DocumentSeparator, PrintFormat, TableFormat};
use crate::workflow::top::{DeploymentTop, ScrapeError, ScrapeProblem};
use kubectl_dynamo_core::command::Fix;
use kubectl_dynamo_core::intent::WorkerRole;
use kubectl_dynamo_core::prometheus::Quantile;
use kubectl_dynamo_core::top::{
    DeploymentLoad, GpuUse, LatencyQuantiles, ProcessCount, RequestRates, TopReport, WorkerLoad,
};

fn quantiles(p50: f64, p99: f64) -> Option<LatencyQuantiles> {
    let quantile = |value: f64| Quantile { value, lower: value * 0.7, upper: value * 1.5 };
    Some(LatencyQuantiles { p50: quantile(p50), p99: quantile(p99) })
}

fn worker(name: &str, role: WorkerRole) -> WorkerLoad {
    WorkerLoad {
        name: name.into(),
        role,
        node: Some("gpu-01".into()),
        gpus: 2,
        is_answering: true,
        requests: Some(12.4),
        errors: Some(0.0),
        running: Some(7.0),
        waiting: Some(0.0),
        kv_cache_use: Some(0.41),
        preemptions: Some(3.0),
        idle: Some(Duration::ZERO),
        was_active: true,
    }
}

fn busy() -> DeploymentTop {
    let prefill = WorkerLoad {
        requests: Some(24.8),
        running: None,
        waiting: None,
        kv_cache_use: None,
        preemptions: None,
        ..worker("qwen32-prefill-75344612-69fbfcd468-789fp", WorkerRole::Prefill)
    };
    let silent = WorkerLoad {
        is_answering: false,
        requests: None,
        errors: None,
        running: None,
        waiting: None,
        kv_cache_use: None,
        preemptions: None,
        idle: None,
        was_active: false,
        ..worker("qwen32-decode-75344612-86dcc8b6db-k2x7q", WorkerRole::Decode)
    };
    let load = DeploymentLoad {
        frontends: ProcessCount { total: 1, answering: 1 },
        workers: ProcessCount { total: 3, answering: 2 },
        requests: Some(RequestRates { success: 24.8, errors: [("validation".into(), 0.5)].into() }),
        in_flight: Some(14.0),
        queued: Some(2.0),
        time_to_first_token: quantiles(0.034, 1.2),
        inter_token_latency: quantiles(0.0053, 0.019),
        input_tokens: Some(50_700.0),
        output_tokens: Some(3120.0),
        cached_share: Some(0.638),
        kv_cache_use: Some(0.41),
        gpus: GpuUse { allocated: 6, idle: None },
        latest_requests: Some(26.0),
        latest_output_tokens: Some(3300.0),
    };
    let cause = "no answer within 3 s".to_owned();
    let error = ScrapeError::NotReadable { process: silent.name.clone(), cause, fix: Fix::default() };
    DeploymentTop {
        name: "qwen32".into(),
        namespace: Some("serving".into()),
        model: "Qwen/Qwen3-32B-FP8".into(),
        release: "RELEASE".into(),
        problems: vec![ScrapeProblem { process: silent.name.clone(), error }],
        report: TopReport {
            period: Duration::from_secs(10),
            load,
            workers: vec![
                prefill,
                worker("qwen32-decode-75344612-86dcc8b6db-8hfg2", WorkerRole::Decode),
                silent,
            ],
        },
    }
}

fn unknown() -> DeploymentTop {
    DeploymentTop {
        name: "new".into(),
        namespace: Some("other".into()),
        model: "-".into(),
        release: "-".into(),
        report: TopReport::default(),
        problems: Vec::new(),
    }
}

/// The screen after these reports.
fn drawn((width, height): (u16, u16), view: &TopView) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a terminal in memory");
    terminal.draw(|frame| screen::draw(frame, view)).expect("a terminal in memory");
    terminal.backend().to_string()
}

#[test]
fn one_deployment_is_a_summary_and_its_workers() {
    assert_snapshot!(render(&[busy()], &PrintFormat::Own(TableFormat::Table)).expect("a table"));
}

#[test]
fn several_deployments_are_rows() {
    assert_snapshot!(render(&[busy(), unknown()], &PrintFormat::Own(TableFormat::Table)).expect("a table"));
}

#[test]
fn document_has_null_for_what_is_not_known() {
    assert_snapshot!(
        render(&[busy(), unknown()], &PrintFormat::Document(DocumentFormat::Json)).expect("JSON")
    );
    let line = render_next(
        &[busy()],
        &PrintFormat::Document(DocumentFormat::Json),
        &mut DocumentSeparator::new(DocumentCount::Many),
    )
    .expect("JSON");
    assert_eq!(line.lines().count(), 1);
}

#[test]
fn view_fits_a_small_and_a_wide_terminal() {
    let mut view = TopView::new();
    for requests in [4.0, 12.0, 26.0] {
        let mut top = busy();
        top.report.load.latest_requests = Some(requests);
        view.update(vec![top]);
    }
    assert_snapshot!("narrow", drawn((80, 24), &view));
    assert_snapshot!("wide", drawn((160, 24), &view));
    view.handle(ViewInput::Character('?'));
    assert_snapshot!("help", drawn((80, 24), &view));
}

#[test]
fn view_of_several_deployments_shows_the_workers_of_the_selected_one() {
    let mut view = TopView::new();
    view.update(vec![unknown(), busy()]);
    assert!(!drawn((80, 24), &view).contains("8hfg2"));
    assert_eq!(view.handle(ViewInput::Down), ViewAction::Redraw);
    assert_snapshot!(drawn((80, 24), &view));
    view.update(vec![unknown()]);
    assert_eq!(view.selected, 0, "the selected deployment was deleted");
    view.update(Vec::new());
    assert!(drawn((80, 24), &view).contains("no deployments found"));
}

#[test]
fn view_sorts_workers_and_quits() {
    let mut view = TopView::new();
    view.update(vec![busy()]);
    let names = |view: &TopView| view.workers().iter().map(|worker| worker.name.clone()).collect::<Vec<_>>();
    let by_name = names(&view);
    view.handle(ViewInput::Character('k'));
    let by_cache = names(&view);
    assert!(by_name[0].contains("prefill") && by_cache[0].contains("8hfg2"), "{by_name:?} {by_cache:?}");
    view.handle(ViewInput::Character('x'));
    assert_eq!(names(&view), by_cache, "an unknown key does not change the order");
    view.handle(ViewInput::Character('?'));
    assert_eq!((view.handle(ViewInput::Escape), view.shows_help), (ViewAction::Redraw, false));
    for (input, action) in [
        (ViewInput::Escape, ViewAction::Quit),
        (ViewInput::Character('q'), ViewAction::Quit),
        (ViewInput::Interrupt, ViewAction::Interrupt),
        (ViewInput::Resized, ViewAction::Redraw),
        (ViewInput::Up, ViewAction::Redraw),
    ] {
        assert_eq!(view.handle(input), action, "{input:?}");
    }
}
