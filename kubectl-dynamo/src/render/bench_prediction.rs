//! The values of a run next to those that a recommendation predicted.

use crate::output::printable;
use crate::render::findings::NOTE;
use crate::render::table::table;
use kubectl_dynamo_core::bench::{BenchRun, PredictedSpeed, PredictedValue};

/// The headings of the table.
pub(crate) const HEADINGS: [&str; 4] = ["METRIC", "PREDICTED", "MEASURED", "MEASURED/PREDICTED"];

/// Returns the table for a terminal, and why the values are not comparable.
pub(crate) fn screen(prediction: &PredictedSpeed, run: &BenchRun) -> String {
    let rows = rows(prediction, run).into_iter().map(Vec::from).collect();
    let table = table(&HEADINGS, rows);
    let notes: String =
        notes(prediction, run).iter().map(|note| format!("  {NOTE}!{NOTE:#} {note}\n")).collect();
    format!("{}\n{table}{notes}", heading(prediction))
}

/// Returns the Markdown table, and why the values are not comparable.
pub(crate) fn markdown(prediction: &PredictedSpeed, run: &BenchRun) -> String {
    let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let rows: String = rows(prediction, run).iter().map(|row| line(row)).collect();
    let notes: String = notes(prediction, run).iter().map(|note| format!("- {note}\n")).collect();
    format!("{}\n\n| {} |\n|---|---|---|---|\n{rows}\n{notes}", heading(prediction), HEADINGS.join(" | "))
}

/// `predicted by aiconfigurator 0.12.0: disagg on h200:8, 96 requests in flight, 4000 tokens in, 500 out`
pub(crate) fn heading(prediction: &PredictedSpeed) -> String {
    let PredictedSpeed { predictor, mode, hardware, concurrency, input_tokens, output_tokens, .. } =
        prediction;
    let text = format!(
        "predicted by {predictor}: {mode} on {hardware}, {concurrency} requests in flight, {input_tokens} tokens in, \
         {output_tokens} out"
    );
    printable(&text).into_owned()
}

/// One row for each predicted value.
pub(crate) fn rows(prediction: &PredictedSpeed, run: &BenchRun) -> Vec<[String; 4]> {
    let row = |value: PredictedValue| {
        let with_unit = |number: f64| format!("{number:.2} {}", value.unit);
        [
            value.metric.to_owned(),
            with_unit(value.predicted),
            value.measured.map_or_else(|| "-".into(), with_unit),
            value.ratio().map_or_else(|| "-".into(), |ratio| format!("{ratio:.2}x")),
        ]
    };
    prediction.compare(run).into_iter().map(row).collect()
}

/// Why the values are not comparable.
pub(crate) fn notes(prediction: &PredictedSpeed, run: &BenchRun) -> Vec<String> {
    prediction.differences(run).iter().map(|note| printable(note).into_owned()).collect()
}
