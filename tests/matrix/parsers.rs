//! Checks with the parsers in each release's wheel that rendered arguments are valid and have the intended
//! meaning.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use kubectl_dynamo_core::intent::{Backend, Router, RouterMode, ServingIntent};
use kubectl_dynamo_core::plan::ServingPlan;
use kubectl_dynamo_core::release::{CATALOG, KvEvents, MOCKER_PACKAGES, Release};
use kubectl_dynamo_core::resources::{GraphApi, render};
use kubectl_dynamo_tests::conversion::{self, commands};
use kubectl_dynamo_tests::intents::{
    Cell, CellMode, OVERLAP_WEIGHT, OffloadTiers, TEMPERATURE, WorkerSize, default_intent, plan_for_release,
};
use kubectl_dynamo_tests::{Outcome, cache, ensure};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::{AcceptedPlans, Failures};

/// Flags that vLLM and Dynamo know in each release, read from their wheels.
const NAMES: &str = include_str!("../../kubectl-dynamo/core/src/intent/engine_flags/names.txt");

/// Folder of the installed parsers.
pub(crate) struct Parsers {
    folder: PathBuf,
}

/// Returns why the parsers cannot run, if they cannot.
pub(crate) fn missing() -> Option<String> {
    which::which("python3").err().map(|_| "`python3` not found".to_owned())
}

/// Installs the Python packages of every release, without their dependencies, once for all runs.
pub(crate) fn start() -> Outcome<(Runtime, Parsers)> {
    let folder = cache::folder().join("parsers");
    std::fs::create_dir_all(&folder)?;
    let lock = std::fs::File::create(folder.join("lock"))?;
    lock.lock()?;
    let parsers = Parsers { folder };
    parsers.install_environment()?;
    for release in CATALOG {
        parsers.install(release)?;
    }
    for (column, release) in CATALOG.iter().enumerate() {
        std::fs::write(parsers.engine_flags_file(release), engine_flags(column))?;
    }
    Ok((Runtime::new()?, parsers))
}

impl Parsers {
    fn python(&self) -> PathBuf {
        self.folder.join("environment/bin/python3")
    }

    fn install_environment(&self) -> Outcome {
        let directory = self.folder.join("environment");
        let marker = directory.join("installed");
        if std::fs::read_to_string(&marker).is_ok_and(|text| text == MOCKER_PACKAGES.concat()) {
            return Ok(());
        }
        run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&directory))?;
        run(pip(&self.python()).args(MOCKER_PACKAGES))?;
        Ok(std::fs::write(marker, MOCKER_PACKAGES.concat())?)
    }

    fn install(&self, release: &Release) -> Outcome {
        let directory = self.packages_folder(release);
        if directory.is_dir() {
            return Ok(());
        }
        let unfinished = directory.with_extension("unfinished");
        let _ = std::fs::remove_dir_all(&unfinished);
        let requirement = format!("ai-dynamo=={}", release.version);
        run(pip(&self.python()).arg("--target").arg(&unfinished).arg(requirement))?;
        Ok(std::fs::rename(unfinished, directory)?)
    }

    fn packages_folder(&self, release: &Release) -> PathBuf {
        self.folder.join(release.version)
    }

    fn engine_flags_file(&self, release: &Release) -> PathBuf {
        self.folder.join(format!("{}.flags", release.version))
    }

    /// Returns the results of the release's parsers for each of these commands.
    fn parse(&self, release: &Release, questions: &[Value]) -> Outcome<Vec<Value>> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("matrix/parsers.py");
        let mut child = Command::new(self.python())
            .args(["-B".as_ref(), script.as_os_str(), self.packages_folder(release).as_os_str()])
            .arg(self.engine_flags_file(release))
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let mut stdin = child.stdin.take().ok_or("stdin is piped")?;
        let lines: String = questions.iter().map(|question| format!("{question}\n")).collect();
        let writer = std::thread::spawn(move || stdin.write_all(lines.as_bytes()));
        let stdout = BufReader::new(child.stdout.take().ok_or("stdout is piped")?);
        let answers: Result<Vec<Value>, _> =
            stdout.lines().map_while(Result::ok).map(|line| serde_json::from_str(&line)).collect();
        writer.join().map_err(|_| "the questions were not written")??;
        child.wait()?;
        let answers = answers?;
        ensure!(answers.len() == questions.len(), "{} answered {} questions", release.version, answers.len());
        Ok(answers)
    }
}

/// Returns the flags that only vLLM knows in one column of the table, one per line. Dynamo's parsers know
/// their own.
fn engine_flags(column: usize) -> String {
    let rows = NAMES.lines().filter(|line| line.starts_with("--")).filter_map(|line| line.split_once(' '));
    let known = rows.filter(|(_, letters)| letters.trim_start().as_bytes().get(column) == Some(&b'v'));
    known.map(|(name, _)| format!("{name}\n")).collect()
}

fn pip(python: &Path) -> Command {
    let mut command = Command::new(python);
    command.args(["-m", "pip", "install", "--quiet", "--no-deps", "--disable-pip-version-check"]);
    command
}

fn run(command: &mut Command) -> Outcome {
    let output = command.output()?;
    ensure!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// Returns the commands of a plan's components as input for the parsers, without the interpreter.
fn parser_inputs(plan: &ServingPlan) -> Vec<(conversion::ComponentCommand, Value)> {
    let graph = render(plan, "serving", GraphApi::V1Beta1).pop().map(|graph| graph.object);
    let commands = commands(&graph.unwrap_or_default()).into_iter();
    commands
        .map(|command| {
            let question = json!({ "args": command.argv[1..], "env": command.environment });
            (command, question)
        })
        .collect()
}

pub(crate) async fn parsers_read_every_command_as_intended(parsers: Arc<Parsers>) -> Outcome {
    let accepted = AcceptedPlans::from_all_cells()?;
    let mut failures = Failures::new();
    for release in CATALOG {
        let cells: Vec<_> =
            accepted.plans.iter().filter(|(cell, _)| cell.release.version == release.version).collect();
        let inputs: Vec<_> = cells
            .iter()
            .flat_map(|(cell, plan)| parser_inputs(plan).into_iter().map(move |q| (cell, plan, q)))
            .collect();
        let questions: Vec<Value> = inputs.iter().map(|(_, _, (_, question))| question.clone()).collect();
        let answers = parsers.parse(release, &questions)?;
        for ((cell, plan, (command, _)), answer) in inputs.iter().zip(answers) {
            if let Some(complaint) = mismatch(cell, plan, &command.component, &answer) {
                failures.entry(cell.to_string()).or_insert(format!("{}: {complaint}", command.component));
            }
        }
    }
    accepted.report("parsers of the wheels", &failures)
}

/// Returns what is wrong with a parsed command, if anything.
fn mismatch(cell: &Cell, plan: &ServingPlan, component: &str, answer: &Value) -> Option<String> {
    if let Some(error) = answer["error"].as_str() {
        return Some(error.to_owned());
    }
    let expected = match (component, cell.backend) {
        ("frontend", _) => expected_router(cell),
        (_, Backend::Vllm) => expected_engine(cell, plan, component),
        (_, Backend::Mocker) => json!({
            "component": dynamo_component_name(component),
            "served": plan.served_model_name,
        }),
    };
    let expected = expected.as_object().into_iter().flatten();
    let differing = expected.filter(|(name, value)| answer["seen"][name.as_str()] != **value);
    let texts: Vec<String> = differing
        .map(|(name, value)| format!("{name} is {}, expected {value}", answer["seen"][name.as_str()]))
        .collect();
    (!texts.is_empty()).then(|| texts.join(", "))
}

fn expected_router(cell: &Cell) -> Value {
    match cell.router {
        RouterMode::Kv => {
            json!({ "mode": "kv", "temperature": TEMPERATURE, "weight": OVERLAP_WEIGHT, "events": true })
        }
        other => json!({ "mode": kubectl_dynamo_core::intent::StringEnum::as_str(other) }),
    }
}

fn expected_engine(cell: &Cell, plan: &ServingPlan, component: &str) -> Value {
    let (tensor, pipeline) = match cell.worker_size {
        WorkerSize::OneGpu => (1, 1),
        WorkerSize::FourGpus => (4, 1),
        WorkerSize::TwoNodes => (8, 2),
    };
    let offloads = cell.tiers != OffloadTiers::None && component != "decode";
    let transfers = cell.mode == CellMode::Disaggregated;
    let connectors: Vec<&str> = [("kvbm", offloads), ("nixl", transfers)]
        .into_iter()
        .filter(|(_, used)| *used)
        .map(|(name, _)| name)
        .collect();
    let mut expected = json!({
        "component": dynamo_component_name(component),
        "model": plan.model_folder,
        "served": plan.served_model_name,
        "tensor": tensor,
        "pipeline": pipeline,
        "data": 1,
        "connectors": connectors,
    });
    // Some releases also publish events without a consumer.
    if cell.router == RouterMode::Kv || cell.release.kv_events == KvEvents::Configured {
        expected["events"] = json!(cell.router == RouterMode::Kv && component != "decode");
    }
    expected
}

/// Returns Dynamo's name of a component.
fn dynamo_component_name(component: &str) -> &'static str {
    if component == "prefill" { "prefill" } else { "backend" }
}

pub(crate) async fn parsers_reject_arguments_of_another_release(parsers: Arc<Parsers>) -> Outcome {
    let (oldest, newest) = (&CATALOG[0], &CATALOG[CATALOG.len() - 1]);
    let cell = Cell {
        release: oldest,
        backend: Backend::Vllm,
        mode: CellMode::Disaggregated,
        worker_size: WorkerSize::OneGpu,
        router: RouterMode::Kv,
        tiers: OffloadTiers::None,
    };
    for (written_for, read_by) in [(oldest, newest), (newest, oldest)] {
        let plan = plan_for_release(&cell.intent(), written_for)?;
        let workers: Vec<Value> = parser_inputs(&plan)
            .into_iter()
            .filter(|(command, _)| command.component != "frontend")
            .map(|(_, question)| question)
            .collect();
        for answer in parsers.parse(read_by, &workers)? {
            ensure!(
                answer["error"].is_string(),
                "{} accepted the flags of {}: {answer}",
                read_by.version,
                written_for.version
            );
        }
    }
    let unknown = json!({ "args": ["-m", "dynamo.vllm", "--model", "/m", "--no-such-flag"], "env": {} });
    for release in CATALOG {
        let answers = parsers.parse(release, std::slice::from_ref(&unknown))?;
        ensure!(answers[0]["error"].is_string(), "{} accepted an unknown flag", release.version);
    }
    Ok(())
}

pub(crate) async fn parsers_read_disabled_kv_events(parsers: Arc<Parsers>) -> Outcome {
    let intent = ServingIntent {
        router: Router { kv_events: false, ..Router::new(RouterMode::Kv) },
        engine_args: vec!["--migration-limit".into(), "3".into()],
        ..default_intent()
    };
    for release in CATALOG {
        let inputs = parser_inputs(&plan_for_release(&intent, release)?);
        let answers = parsers
            .parse(release, &inputs.iter().map(|(_, question)| question.clone()).collect::<Vec<_>>())?;
        for ((command, _), answer) in inputs.iter().zip(answers) {
            let description = format!("{} {}: {answer}", release.version, command.component);
            ensure!(answer["error"].is_null(), "{description}");
            if command.component == "frontend" {
                ensure!(answer["seen"]["events"] == false, "{description}");
                let is_set = answer["seen"]["migration"] == 3;
                ensure!(is_set || answer["seen"]["migration"].is_null(), "{description}");
            }
        }
    }
    Ok(())
}
