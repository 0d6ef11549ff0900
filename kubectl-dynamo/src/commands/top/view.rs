//! The full-screen view of `top`: reads the metrics again and again, and handles keys meanwhile.

use std::convert::Infallible;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::Interval;

use crate::full_screen::FullScreen;
use crate::render::top::screen;
use crate::render::top::view::{TopView, ViewAction};
use crate::workflow::top::{DeploymentTop, TopSession};
use kubectl_dynamo_core::error::{Exit, Result};

/// Shows the view until the user quits.
///
/// # Errors
/// The terminal cannot be controlled, or the deployments cannot be read any more.
pub(super) async fn show(session: TopSession, ticks: Interval) -> Result<Exit> {
    let mut view = TopView::new();
    view.update(session.report());
    let (sender, reports) = unbounded_channel();
    tokio::select! {
        failed = read(session, ticks, sender) => failed.map(|never| match never {}),
        exit = handle_inputs(view, reports) => exit,
    }
}

/// Reads the metrics at each tick.
async fn read(
    mut session: TopSession,
    mut ticks: Interval,
    reports: UnboundedSender<Vec<DeploymentTop>>,
) -> Result<Infallible> {
    loop {
        ticks.tick().await;
        session.refresh().await?;
        // The receiver is dropped when the view ends.
        let _ = reports.send(session.report());
    }
}

/// Draws the view after each input and each report.
async fn handle_inputs(
    mut view: TopView,
    mut reports: UnboundedReceiver<Vec<DeploymentTop>>,
) -> Result<Exit> {
    let mut terminal = FullScreen::open()?;
    loop {
        terminal.draw(|frame| screen::draw(frame, &view))?;
        let action = tokio::select! {
            input = terminal.next_input() => input.map_or(ViewAction::Quit, |input| view.handle(input)),
            Some(report) = reports.recv() => {
                view.update(report);
                ViewAction::Redraw
            }
        };
        match action {
            ViewAction::Redraw => {}
            ViewAction::Quit => return Ok(Exit::Ok),
            ViewAction::Interrupt => return Ok(Exit::Interrupted),
        }
    }
}
