//! Draws the full-screen view of `top`. It must not read keys or scrape.

use ratatui_core::layout::{Constraint, Layout, Rect};
use ratatui_core::style::{Color, Modifier, Style};
use ratatui_core::terminal::Frame;
use ratatui_core::text::{Line, Span};
use ratatui_widgets::block::Block;
use ratatui_widgets::borders::Borders;
use ratatui_widgets::clear::Clear;
use ratatui_widgets::paragraph::Paragraph;
use ratatui_widgets::sparkline::Sparkline;
use ratatui_widgets::table::{Row, Table, TableState};

use super::numbers::rate;
use super::view::{TopView, ViewedDeployment, WorkerOrder};
use super::{DEPLOYMENT_HEADINGS, WORKER_HEADINGS, deployment_row, heading, summary, worker_row};
use crate::output::printable;
use kubectl_dynamo_core::top::WorkerLoad;

const BOLD: Style = Style::new().add_modifier(Modifier::BOLD);
const DIM: Style = Style::new().add_modifier(Modifier::DIM);
const SELECTED: Style = Style::new().add_modifier(Modifier::REVERSED);
const WARNING: Style = Style::new().fg(Color::Yellow);

/// Lines of a sparkline with its title.
const SPARKLINE_HEIGHT: u16 = 3;
/// Most lines of the table of deployments.
const DEPLOYMENTS_HEIGHT: usize = 8;
/// The number of columns from which a terminal has room for all columns.
const WIDE: u16 = 120;

/// Columns of the table of deployments that a narrow terminal shows, with their widths.
const NARROW_DEPLOYMENT_COLUMNS: [usize; 9] = [1, 2, 3, 4, 5, 6, 7, 11, 14];
/// Columns of the table of workers that a narrow terminal shows.
const NARROW_WORKER_COLUMNS: [usize; 8] = [0, 1, 2, 4, 5, 6, 8, 9];

/// Draws a frame.
pub(crate) fn draw(frame: &mut Frame, view: &TopView) {
    let several = view.deployments.len() > 1;
    let list_height = if several { (view.deployments.len() + 1).min(DEPLOYMENTS_HEIGHT) + 1 } else { 0 };
    let list_height = u16::try_from(list_height).unwrap_or_default();
    let [list, head, sparklines, workers, footer] = Layout::vertical([
        Constraint::Length(list_height),
        Constraint::Length(6),
        Constraint::Length(SPARKLINE_HEIGHT),
        Constraint::Fill(1),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    if several {
        draw_deployments(frame, list, view);
    }
    if let Some(viewed) = view.selected() {
        draw_summary(frame, head, viewed);
        draw_sparklines(frame, sparklines, viewed);
        draw_workers(frame, workers, view);
    } else {
        frame.render_widget(Paragraph::new("no deployments found"), head);
    }
    draw_footer(frame, footer, view);
    if view.shows_help {
        draw_help(frame);
    }
}

fn draw_deployments(frame: &mut Frame, area: Rect, view: &TopView) {
    let all: Vec<usize> = (0..DEPLOYMENT_HEADINGS.len()).collect();
    let columns = if area.width < WIDE { &NARROW_DEPLOYMENT_COLUMNS[..] } else { &all };
    let rows =
        view.deployments.iter().map(|viewed| deployment_row(&viewed.top).map(|cell| shown(&cell)).to_vec());
    let rows: Vec<Vec<String>> = rows.collect();
    draw_table(
        frame,
        area,
        &TableCells { headings: &DEPLOYMENT_HEADINGS, columns, rows, selected: Some(view.selected) },
    );
}

fn draw_summary(frame: &mut Frame, area: Rect, viewed: &ViewedDeployment) {
    let mut lines = vec![Line::styled(shown(&heading(&viewed.top)), BOLD)];
    lines.extend(summary(&viewed.top.report.load).map(|(name, values)| {
        Line::from(vec![Span::styled(format!("{name:<11}"), DIM), Span::raw(shown(&values.join(" · ")))])
    }));
    frame.render_widget(Paragraph::new(lines), area);
}

fn draw_sparklines(frame: &mut Frame, area: Rect, viewed: &ViewedDeployment) {
    let [left, right] = Layout::horizontal([Constraint::Fill(1), Constraint::Fill(1)]).spacing(2).areas(area);
    let history = &viewed.history;
    for (area, title, values, color) in [
        (left, "requests/s", &history.requests, Color::Green),
        (right, "output tokens/s", &history.output_tokens, Color::Cyan),
    ] {
        let newest = values.back().copied().flatten();
        let highest = values.iter().flatten().copied().reduce(f64::max);
        let title = format!("{title} {} (highest {})", rate(newest), rate(highest));
        let width = usize::from(area.width);
        let bars = values.iter().skip(values.len().saturating_sub(width)).map(|value| {
            // A sparkline takes whole numbers.
            value.map(|value| (value * 100.0) as u64)
        });
        let block = Block::new().borders(Borders::TOP).border_style(DIM).title(title);
        let sparkline = Sparkline::default().block(block).style(Style::new().fg(color));
        frame.render_widget(sparkline.data(bars.collect::<Vec<Option<u64>>>()), area);
    }
}

fn draw_workers(frame: &mut Frame, area: Rect, view: &TopView) {
    let all: Vec<usize> = (0..WORKER_HEADINGS.len()).collect();
    let columns = if area.width < WIDE { &NARROW_WORKER_COLUMNS[..] } else { &all };
    let prefix = view.selected().map(|viewed| format!("{}-", viewed.top.name)).unwrap_or_default();
    let row = |worker: &WorkerLoad| {
        let mut row = worker_row(worker).map(|cell| shown(&cell)).to_vec();
        if area.width < WIDE
            && let Some(short) = row[0].strip_prefix(&prefix)
        {
            row[0] = format!("…{short}");
        }
        row
    };
    let rows: Vec<Vec<String>> = view.workers().into_iter().map(row).collect();
    draw_table(frame, area, &TableCells { headings: &WORKER_HEADINGS, columns, rows, selected: None });
}

/// The cells of a table, and the columns that are shown.
struct TableCells<'a> {
    headings: &'a [&'a str],
    columns: &'a [usize],
    rows: Vec<Vec<String>>,
    selected: Option<usize>,
}

/// Draws a table whose first column gets the remaining width.
fn draw_table(frame: &mut Frame, area: Rect, cells: &TableCells) {
    let pick = |row: &[String]| cells.columns.iter().map(|at| row[*at].clone()).collect::<Vec<_>>();
    let headings: Vec<String> = cells.headings.iter().map(|heading| (*heading).to_owned()).collect();
    let widths = cells.columns.iter().enumerate().map(|(number, column)| {
        let width = |row: &Vec<String>| row[*column].chars().count();
        let widest = cells.rows.iter().map(width).chain([headings[*column].len()]).max().unwrap_or_default();
        let widest = u16::try_from(widest).unwrap_or(u16::MAX);
        if number == 0 { Constraint::Max(widest) } else { Constraint::Length(widest) }
    });
    let widths: Vec<Constraint> = widths.collect();
    let rows = cells.rows.iter().map(|row| Row::new(pick(row)));
    let table = Table::new(rows, widths).header(Row::new(pick(&headings)).style(DIM)).column_spacing(2);
    let mut state = TableState::new().with_selected(cells.selected);
    frame.render_stateful_widget(table.row_highlight_style(SELECTED), area, &mut state);
}

fn draw_footer(frame: &mut Frame, area: Rect, view: &TopView) {
    let problems: Vec<String> = view
        .deployments
        .iter()
        .flat_map(|viewed| &viewed.top.problems)
        .map(|problem| problem.error.to_string())
        .collect();
    let line = match problems.first() {
        Some(first) => {
            let more =
                if problems.len() > 1 { format!(" (+{} more)", problems.len() - 1) } else { String::new() };
            Line::styled(shown(&format!("! {first}{more}")), WARNING)
        }
        None => Line::styled(format!("q quit · ? help · sorted by {}", view.order.title()), DIM),
    };
    frame.render_widget(Paragraph::new(line), area);
}

/// The lines of the help.
fn help_lines() -> Vec<Line<'static>> {
    let key = |key: String, text: &str| {
        Line::from(vec![Span::styled(format!(" {key:<8}"), BOLD), Span::raw(text.to_owned())])
    };
    let mut lines = vec![
        key("q, Esc".into(), "quit"),
        key("?".into(), "show or hide this help"),
        key("↑ ↓".into(), "select a deployment"),
    ];
    let orders = WorkerOrder::ALL.into_iter();
    lines.extend(orders.map(|order| key(order.key().into(), &format!("sort workers by {}", order.title()))));
    lines.extend([
        Line::raw(""),
        Line::raw(" ≈ is estimated from a histogram; its buckets are coarse."),
        Line::raw(" – is not exported by the release, or not exported yet."),
        Line::raw(" TTFT: time to first token. ITL: inter-token latency."),
    ]);
    lines
}

fn draw_help(frame: &mut Frame) {
    let lines = help_lines();
    let height = u16::try_from(lines.len() + 2).unwrap_or(u16::MAX);
    let area = frame.area().centered(Constraint::Max(64), Constraint::Max(height));
    frame.render_widget(Clear, area);
    frame.render_widget(Paragraph::new(lines).block(Block::bordered().title(" top ")), area);
}

/// Text without the control characters that names from elsewhere can contain.
fn shown(text: &str) -> String {
    printable(text).to_string()
}
