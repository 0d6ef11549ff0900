//! One chart as SVG: lines over labels or numbers, a legend, and marks. It knows nothing about benchmarks.

use std::fmt::Write;

use super::escape;

/// One line of a chart.
pub(super) struct Series {
    pub(super) name: String,
    pub(super) points: Vec<(f64, f64)>,
}

/// A labeled point.
pub(super) struct Mark {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) text: String,
}

/// The horizontal axis.
pub(super) enum Axis {
    /// A label for each of the positions 0, 1, ….
    Labels { title: String, labels: Vec<String> },
    /// Numbers from 0.
    Numbers { title: String },
}

/// A chart. The vertical axis starts at 0.
pub(super) struct Chart {
    pub(super) title: String,
    pub(super) x: Axis,
    pub(super) y_title: String,
    pub(super) series: Vec<Series>,
    pub(super) marks: Vec<Mark>,
}

const WIDTH: f64 = 480.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 60.0;
const RIGHT: f64 = 24.0;
const TOP: f64 = 56.0;
const BOTTOM: f64 = 44.0;
/// Width of a letter of a label, at most.
const LETTER_WIDTH: f64 = 8.0;
/// Intervals of the grid: a fifth of every [`round_up`] is a round number.
const STEPS: u32 = 5;

/// The smallest of 1, 2, 2.5, 5, and 10 times a power of ten that is not below the value.
fn round_up(value: f64) -> f64 {
    if value <= 0.0 || !value.is_finite() {
        return 1.0;
    }
    let power = 10_f64.powf(value.log10().floor());
    let factors = [1.0, 2.0, 2.5, 5.0, 10.0];
    factors.into_iter().map(|factor| factor * power).find(|limit| *limit >= value).unwrap_or(value)
}

/// A number of an axis, without needless digits.
fn number(value: f64) -> String {
    match value {
        value if value >= 10.0 || value == 0.0 => format!("{value:.0}"),
        value if value >= 1.0 => format!("{value:.1}"),
        value => format!("{value:.3}"),
    }
}

/// The scale of a chart: the highest values of its axes.
struct Scale {
    x: f64,
    y: f64,
    /// Distance of the first label from the left edge, in labels.
    offset: f64,
}

impl Scale {
    fn x(&self, value: f64) -> f64 {
        LEFT + (value + self.offset) / self.x * (WIDTH - LEFT - RIGHT)
    }

    fn y(&self, value: f64) -> f64 {
        HEIGHT - BOTTOM - value / self.y * (HEIGHT - TOP - BOTTOM)
    }
}

impl Chart {
    fn scale(&self) -> Scale {
        let points = || {
            let marks = self.marks.iter().map(|mark| (mark.x, mark.y));
            self.series.iter().flat_map(|series| series.points.iter().copied()).chain(marks)
        };
        let y = round_up(points().map(|(_, y)| y).fold(0.0, f64::max));
        match &self.x {
            Axis::Labels { labels, .. } => Scale { x: labels.len().max(1) as f64, y, offset: 0.5 },
            Axis::Numbers { .. } => {
                Scale { x: round_up(points().map(|(x, _)| x).fold(0.0, f64::max)), y, offset: 0.0 }
            }
        }
    }

    /// Returns the `svg` element.
    pub(super) fn svg(&self) -> String {
        let scale = self.scale();
        let title = escape(&self.title);
        let mut svg = format!(
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{title}\">\n\
             <text class=\"title\" x=\"{LEFT}\" y=\"16\">{title}</text>\n"
        );
        self.write_axes(&mut svg, &scale);
        for (at, series) in self.series.iter().enumerate() {
            write_series(&mut svg, &scale, at, series);
        }
        self.write_legend(&mut svg);
        for mark in &self.marks {
            let (x, y) = (scale.x(mark.x), scale.y(mark.y));
            // A label that would not fit at the right edge is written to the left.
            let width = LETTER_WIDTH * mark.text.chars().count() as f64;
            let (anchor, text_x) =
                if x + 9.0 + width > WIDTH { ("end", x - 9.0) } else { ("start", x + 9.0) };
            let _ = writeln!(
                svg,
                "<circle class=\"mark\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"5\"/>\
                 <text x=\"{text_x:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{}</text>",
                y - 7.0,
                escape(&mark.text)
            );
        }
        svg.push_str("</svg>\n");
        svg
    }

    fn write_axes(&self, svg: &mut String, scale: &Scale) {
        for step in 0..=STEPS {
            let value = scale.y * f64::from(step) / f64::from(STEPS);
            let y = scale.y(value);
            let _ = writeln!(
                svg,
                "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>\
                 <text class=\"faint\" x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                WIDTH - RIGHT,
                LEFT - 8.0,
                y + 4.0,
                number(value)
            );
        }
        let _ = writeln!(svg, "<text class=\"faint\" x=\"{LEFT}\" y=\"34\">{}</text>", escape(&self.y_title));
        let mut label = |x: f64, text: &str| {
            let _ = writeln!(
                svg,
                "<text class=\"faint\" x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>",
                HEIGHT - BOTTOM + 18.0,
                escape(text)
            );
        };
        let title = match &self.x {
            Axis::Labels { title, labels } => {
                labels.iter().enumerate().for_each(|(at, text)| label(scale.x(at as f64), text));
                title
            }
            Axis::Numbers { title } => {
                for step in 0..=STEPS {
                    let value = scale.x * f64::from(step) / f64::from(STEPS);
                    label(scale.x(value), &number(value));
                }
                title
            }
        };
        let _ = writeln!(
            svg,
            "<text class=\"faint\" x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>",
            WIDTH - RIGHT,
            HEIGHT - 8.0,
            escape(title)
        );
    }

    /// The names of several lines, next to the title of the vertical axis.
    fn write_legend(&self, svg: &mut String) {
        if self.series.len() < 2 {
            return;
        }
        for (at, series) in self.series.iter().enumerate() {
            let x = LEFT + 60.0 + 56.0 * at as f64;
            let _ = writeln!(
                svg,
                "<rect x=\"{x:.1}\" y=\"25\" width=\"10\" height=\"10\" style=\"fill: var(--series-{at})\"/>\
                 <text class=\"faint\" x=\"{:.1}\" y=\"34\">{}</text>",
                x + 14.0,
                escape(&series.name)
            );
        }
    }
}

fn write_series(svg: &mut String, scale: &Scale, at: usize, series: &Series) {
    let place = |(x, y): &(f64, f64)| format!("{:.1},{:.1}", scale.x(*x), scale.y(*y));
    let points: Vec<String> = series.points.iter().map(place).collect();
    let color = format!("var(--series-{at})");
    let _ = writeln!(
        svg,
        "<polyline points=\"{}\" style=\"fill: none; stroke: {color}; stroke-width: 2\"/>",
        points.join(" ")
    );
    for (x, y) in &series.points {
        let _ = writeln!(
            svg,
            "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\" style=\"fill: {color}\"><title>{} {}</title></circle>",
            scale.x(*x),
            scale.y(*y),
            escape(&series.name),
            number(*y)
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axis_ends_at_a_round_number() {
        for (value, end) in
            [(0.0, 1.0), (7.1, 10.0), (2.2, 2.5), (1234.0, 2000.0), (0.03, 0.05), (10.0, 10.0)]
        {
            assert!((round_up(value) - end).abs() < 1e-9, "{value}");
        }
        assert_eq!([number(0.0), number(2.5), number(0.05), number(1234.5)], ["0", "2.5", "0.050", "1234"]);
    }

    #[test]
    fn points_are_inside_of_the_chart_and_text_is_escaped() {
        let chart = Chart {
            title: "a < b".into(),
            x: Axis::Labels { title: "load".into(), labels: vec!["1".into(), "8".into()] },
            y_title: "ms".into(),
            series: vec![Series { name: "p50".into(), points: vec![(0.0, 5.0), (1.0, 10.0)] }],
            marks: vec![Mark { x: 1.0, y: 10.0, text: "knee".into() }],
        };
        let svg = chart.svg();
        assert!(svg.contains("a &lt; b") && !svg.contains("a < b"));
        // The highest value is at the top of the grid, and half of it in the middle.
        assert!(svg.contains("points=\"159.0,156.0 357.0,56.0\""), "{svg}");
        assert!(svg.contains(">knee</text>"));
    }
}
