//! The parsers of each release, taken from its wheel: they must read what is rendered, and as it was meant.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use kubectl_dynamo::intent::{Backend, Router, RouterMode, ServingIntent};
use kubectl_dynamo::plan::ServingPlan;
use kubectl_dynamo::release::{CATALOG, KvEvents, MOCKER_PACKAGES, Release};
use kubectl_dynamo::resources::{GraphApi, render};
use kubectl_dynamo_tests::cells::{Cell, Mode, OVERLAP_WEIGHT, Spread, TEMPERATURE, Tiers, planned, wish};
use kubectl_dynamo_tests::conversion::{self, commands};
use kubectl_dynamo_tests::{Outcome, cache, ensure};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::{Accepted, Wrong};

/// The names of flags that vLLM and Dynamo know, release by release, as read from their wheels.
const NAMES: &str = include_str!("../../kubectl-dynamo/src/intent/engine_flags/names.txt");

/// Where the parsers are installed.
pub(crate) struct Parsers {
    folder: PathBuf,
}

/// Why no parser can run here, if none can.
pub(crate) fn missing() -> Option<String> {
    which::which("python3").err().map(|_| "`python3` is missing".to_owned())
}

/// Installs the Python half of every release, without what it depends on, once for all runs.
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
        std::fs::write(parsers.engine_flags(release), engine_flags(column))?;
    }
    Ok((Runtime::new()?, parsers))
}

impl Parsers {
    fn python(&self) -> PathBuf {
        self.folder.join("environment/bin/python3")
    }

    fn install_environment(&self) -> Outcome {
        let place = self.folder.join("environment");
        let marker = place.join("installed");
        if std::fs::read_to_string(&marker).is_ok_and(|text| text == MOCKER_PACKAGES.concat()) {
            return Ok(());
        }
        run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&place))?;
        run(pip(&self.python()).args(MOCKER_PACKAGES))?;
        Ok(std::fs::write(marker, MOCKER_PACKAGES.concat())?)
    }

    fn install(&self, release: &Release) -> Outcome {
        let place = self.packages(release);
        if place.is_dir() {
            return Ok(());
        }
        let unfinished = place.with_extension("unfinished");
        let _ = std::fs::remove_dir_all(&unfinished);
        let wanted = format!("ai-dynamo=={}", release.version);
        run(pip(&self.python()).arg("--target").arg(&unfinished).arg(wanted))?;
        Ok(std::fs::rename(unfinished, place)?)
    }

    fn packages(&self, release: &Release) -> PathBuf {
        self.folder.join(release.version)
    }

    fn engine_flags(&self, release: &Release) -> PathBuf {
        self.folder.join(format!("{}.flags", release.version))
    }

    /// What the release's parsers say to each of these commands.
    fn ask(&self, release: &Release, questions: &[Value]) -> Outcome<Vec<Value>> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("matrix/parsers.py");
        let mut child = Command::new(self.python())
            .args(["-B".as_ref(), script.as_os_str(), self.packages(release).as_os_str()])
            .arg(self.engine_flags(release))
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

/// The flags of vLLM alone in one column of the table, one a line: Dynamo's own its parsers know themselves.
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

/// What the components of a plan run, as the parsers are asked: without the interpreter.
fn questions(plan: &ServingPlan) -> Vec<(conversion::Command, Value)> {
    let graph = render(plan, "serving", GraphApi::V1Beta1).pop().map(|graph| graph.object);
    let commands = commands(&graph.unwrap_or_default()).into_iter();
    commands
        .map(|command| {
            let question = json!({ "args": command.words[1..], "env": command.environment });
            (command, question)
        })
        .collect()
}

pub(crate) async fn every_command_is_read_as_it_was_meant(parsers: Arc<Parsers>) -> Outcome {
    let accepted = Accepted::of_all()?;
    let mut wrong = Wrong::new();
    for release in CATALOG {
        let cells: Vec<_> =
            accepted.plans.iter().filter(|(cell, _)| cell.release.version == release.version).collect();
        let asked: Vec<_> = cells
            .iter()
            .flat_map(|(cell, plan)| questions(plan).into_iter().map(move |q| (cell, plan, q)))
            .collect();
        let questions: Vec<Value> = asked.iter().map(|(_, _, (_, question))| question.clone()).collect();
        let answers = parsers.ask(release, &questions)?;
        for ((cell, plan, (command, _)), answer) in asked.iter().zip(answers) {
            if let Some(complaint) = complaint(cell, plan, &command.component, &answer) {
                wrong.entry(cell.to_string()).or_insert(format!("{}: {complaint}", command.component));
            }
        }
    }
    accepted.conclude("parsers of the wheels", &wrong)
}

/// What is wrong with what a parser read, if anything is.
fn complaint(cell: &Cell, plan: &ServingPlan, component: &str, answer: &Value) -> Option<String> {
    if let Some(error) = answer["error"].as_str() {
        return Some(error.to_owned());
    }
    let expected = match (component, cell.backend) {
        ("frontend", _) => expected_router(cell),
        (_, Backend::Vllm) => expected_engine(cell, plan, component),
        (_, Backend::Mocker) => json!({
            "component": registered_as(component),
            "served": plan.served_model_name,
        }),
    };
    let expected = expected.as_object().into_iter().flatten();
    let differing = expected.filter(|(name, value)| answer["seen"][name.as_str()] != **value);
    let texts: Vec<String> = differing
        .map(|(name, value)| format!("{name} is {} and not {value}", answer["seen"][name.as_str()]))
        .collect();
    (!texts.is_empty()).then(|| texts.join(", "))
}

fn expected_router(cell: &Cell) -> Value {
    match cell.router {
        RouterMode::Kv => {
            json!({ "mode": "kv", "temperature": TEMPERATURE, "weight": OVERLAP_WEIGHT, "events": true })
        }
        other => json!({ "mode": kubectl_dynamo::intent::Word::as_str(other) }),
    }
}

fn expected_engine(cell: &Cell, plan: &ServingPlan, component: &str) -> Value {
    let (tensor, pipeline) = match cell.spread {
        Spread::OneGpu => (1, 1),
        Spread::FourGpus => (4, 1),
        Spread::TwoNodes => (8, 2),
    };
    let offloads = cell.tiers != Tiers::None && component != "decode";
    let transfers = cell.mode == Mode::Disaggregated;
    let connectors: Vec<&str> = [("kvbm", offloads), ("nixl", transfers)]
        .into_iter()
        .filter(|(_, used)| *used)
        .map(|(name, _)| name)
        .collect();
    let mut expected = json!({
        "component": registered_as(component),
        "model": plan.model_folder,
        "served": plan.served_model_name,
        "tensor": tensor,
        "pipeline": pipeline,
        "data": 1,
        "connectors": connectors,
    });
    // Some releases announce to nobody, too.
    if cell.router == RouterMode::Kv || cell.release.kv_events == KvEvents::Configured {
        expected["events"] = json!(cell.router == RouterMode::Kv && component != "decode");
    }
    expected
}

/// How Dynamo itself calls a component of ours.
fn registered_as(component: &str) -> &'static str {
    if component == "prefill" { "prefill" } else { "backend" }
}

pub(crate) async fn the_words_of_another_release_are_refused(parsers: Arc<Parsers>) -> Outcome {
    let (oldest, newest) = (&CATALOG[0], &CATALOG[CATALOG.len() - 1]);
    let cell = Cell {
        release: oldest,
        backend: Backend::Vllm,
        mode: Mode::Disaggregated,
        spread: Spread::OneGpu,
        router: RouterMode::Kv,
        tiers: Tiers::None,
    };
    for (written_for, read_by) in [(oldest, newest), (newest, oldest)] {
        let plan = planned(&cell.intent(), written_for)?;
        let workers: Vec<Value> = questions(&plan)
            .into_iter()
            .filter(|(command, _)| command.component != "frontend")
            .map(|(_, question)| question)
            .collect();
        for answer in parsers.ask(read_by, &workers)? {
            ensure!(
                answer["error"].is_string(),
                "{} took {}'s words: {answer}",
                read_by.version,
                written_for.version
            );
        }
    }
    let unknown = json!({ "args": ["-m", "dynamo.vllm", "--model", "/m", "--no-such-flag"], "env": {} });
    for release in CATALOG {
        let answers = parsers.ask(release, std::slice::from_ref(&unknown))?;
        ensure!(answers[0]["error"].is_string(), "{} took an unknown flag", release.version);
    }
    Ok(())
}

pub(crate) async fn a_router_without_events_is_read_as_one(parsers: Arc<Parsers>) -> Outcome {
    let intent = ServingIntent {
        router: Router { kv_events: false, ..Router::of(RouterMode::Kv) },
        engine_args: vec!["--migration-limit".into(), "3".into()],
        ..wish()
    };
    for release in CATALOG {
        let asked = questions(&planned(&intent, release)?);
        let answers =
            parsers.ask(release, &asked.iter().map(|(_, question)| question.clone()).collect::<Vec<_>>())?;
        for ((command, _), answer) in asked.iter().zip(answers) {
            let what = format!("{} {}: {answer}", release.version, command.component);
            ensure!(answer["error"].is_null(), "{what}");
            if command.component == "frontend" {
                ensure!(answer["seen"]["events"] == false, "{what}");
                let moved = answer["seen"]["migration"] == 3;
                ensure!(moved || answer["seen"]["migration"].is_null(), "{what}");
            }
        }
    }
    Ok(())
}
