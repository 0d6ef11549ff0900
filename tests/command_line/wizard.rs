//! The wizard: what a person is asked on a terminal, and the command that repeats it.

use std::path::Path;

use kubectl_dynamo_tests::programs;
use kubectl_dynamo_tests::terminal::Terminal;

use crate::requests::Place;

/// Starts `render` without a model, so that it asks. What it prints goes to the file `objects.yaml`.
fn start(place: &Place, terminal: &str, flags: &str) -> Terminal {
    let program = programs::kubectl_dynamo();
    let line = format!(
        "{} render --release 1.6.1 --graph-api v1beta1 -n serving {flags} > objects.yaml",
        Path::new(&program).display()
    );
    let home = place.path().display().to_string();
    let variables = [("HOME", home.as_str()), ("TERM", terminal), ("PAGER", "cat"), ("LANG", "C.UTF-8")];
    Terminal::start(&line, place.path(), &variables).expect("script is installed")
}

fn answer(terminal: &mut Terminal, question: &str, line: &str) {
    terminal
        .wait_for(question)
        .and_then(|()| terminal.type_line(line))
        .unwrap_or_else(|said| panic!("{said}"));
}

/// The command behind `again`, without the program's name.
fn repeated(screen: &str) -> Vec<String> {
    let again = screen.lines().rev().find_map(|line| line.trim().strip_prefix("again")).expect("a command");
    again.trim().strip_prefix("kubectl dynamo ").expect("ours").split(' ').map(ToOwned::to_owned).collect()
}

#[test]
fn defaults_are_the_kits_and_the_printed_command_repeats_them() {
    let place = Place::new();
    let mut terminal = start(&place, "xterm", "");
    for question in [
        "Model of the Hugging Face Hub [Qwen/Qwen3-30B-A3B-Instruct-2507-FP8]",
        "Mode",
        "Tensor parallelism",
        "Pipeline parallelism",
        "Expert parallelism",
        "KV-aware routing",
        "Offload KV cache",
        "Claim that holds models",
        "Size of the claim [500Gi]",
        "Replicas",
        "More engine flags, or none [--gpu-memory-utilization 0.90 --block-size 128]",
        "Name of the deployment",
        "What now",
    ] {
        answer(&mut terminal, question, "");
    }
    let (status, screen) = terminal.end().expect("it ends");
    assert!(status.success(), "{screen}");
    let command = repeated(&screen);
    let arguments: Vec<&str> = command.iter().map(String::as_str).collect();
    assert_eq!(place.prints(&arguments), place.read("objects.yaml"), "{command:?}");
    place.write("shown.yaml", &shown_file(&screen));
    assert_eq!(place.prints(&[&SHAPE[..], &["-f", "shown.yaml"]].concat()), place.read("objects.yaml"));
    assert_is_narrow_and_plain(&screen);
}

/// What the wizard's objects are asked for with besides its answers.
const SHAPE: [&str; 7] = ["render", "--release", "1.6.1", "--graph-api", "v1beta1", "-n", "serving"];

/// The file that is shown behind the command.
fn shown_file(screen: &str) -> String {
    let (_, file) = screen.rsplit_once("with this in it:").expect("a file is shown");
    file.lines().skip(1).map(|line| format!("{}\n", line.trim_end())).collect()
}

/// No colour anywhere, and no question wider than the terminal.
#[track_caller]
fn assert_is_narrow_and_plain(screen: &str) {
    let sequences = screen.split("\u{1b}[").skip(1);
    let colours: Vec<&str> = sequences
        .filter(|rest| rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';').starts_with('m'))
        .collect();
    assert!(colours.is_empty(), "{colours:?}");
    for line in screen.lines().filter(|line| line.contains("]: ")) {
        let shown: String =
            line.split("\u{1b}[").map(|part| part.trim_start_matches(['K', '0', 'J'])).collect();
        let question = shown.rsplit('\r').next().unwrap_or_default();
        assert!(question.chars().count() <= 80, "{question}");
    }
}

#[test]
fn answers_are_checked_where_they_are_typed() {
    for terminal in ["xterm", "dumb"] {
        let place = Place::new();
        let mut terminal = start(&place, terminal, "");
        answer(&mut terminal, "Model of the Hugging Face Hub", "a/b/c");
        terminal.wait_for("not taken").expect("a reason");
        terminal.type_keys("\u{3}").expect("a keyboard");
        let (status, screen) = terminal.end().expect("it ends");
        assert_eq!(status.code(), Some(130), "{screen}");
        assert_eq!(place.read("objects.yaml"), "");
    }
}

#[test]
fn a_saved_request_says_the_same() {
    let place = Place::new();
    let mut terminal = start(&place, "dumb", "--mode disagg");
    for (question, line) in [
        ("Model of the Hugging Face Hub", "Qwen/Qwen3-32B"),
        ("Tensor parallelism of prefill", "2"),
        ("Pipeline parallelism of prefill", ""),
        ("Tensor parallelism of decode", "4"),
        ("Pipeline parallelism of decode", ""),
        ("Expert parallelism", "no"),
        ("KV-aware routing", "yes"),
        ("Router temperature: 0 is Dynamo's own, 0.5 was the starter kit's [0]", "0.5"),
        ("Offload KV cache", "yes"),
        ("CPU memory for it", ""),
        ("A disk behind it", "y"),
        ("Space on it", ""),
        ("Its volume", ""),
        ("Claim that holds models", "models"),
        ("Replicas of prefill", "1"),
        ("Replicas of decode", "2"),
        ("More engine flags", "none"),
        ("Name of the deployment", ""),
        ("What now", "save"),
        ("File", "wish.yaml"),
    ] {
        answer(&mut terminal, question, line);
    }
    let (status, screen) = terminal.end().expect("it ends");
    assert!(status.success(), "{screen}");
    assert!(
        screen.contains("= 2 GPUs a worker, 3 GPUs in all") && screen.contains("10 GPUs in all"),
        "{screen}"
    );
    let command = repeated(&screen);
    let arguments: Vec<&str> = command.iter().map(String::as_str).collect();
    let of_file = place.prints(&[&SHAPE[..], &["-f", "wish.yaml"]].concat());
    assert_eq!(place.prints(&arguments), of_file, "{screen}");
    assert!(of_file.contains("DYN_ROUTER_TEMPERATURE"), "{of_file}");
    assert!(!screen.contains('\u{1b}'), "a plain terminal gets no control sequence: {screen}");
}

#[test]
fn a_plan_is_reviewed_with_what_changes_and_the_objects() {
    let place = Place::new();
    let said = "--progress plain --model Qwen/Qwen3-0.6B --mode agg --tp 1 --pp 1 --router-mode round-robin";
    let said = format!("{said} --cache models --replicas 1 --enable-expert-parallel=false --name mine");
    // A name and a model are said, so nothing is asked; without the model only that is.
    let asked = said.replace("--model Qwen/Qwen3-0.6B ", "").replace(" --name mine", "");
    let mut terminal = start(&place, "xterm", &asked);
    for (question, line) in [
        ("Model of the Hugging Face Hub", "Qwen/Qwen3-0.6B"),
        ("Offload KV cache", ""),
        ("More engine flags", "--max-model-length 8192"),
        ("did you mean --max-model-len", "--max-model-len 8192"),
        ("Name of the deployment", "mine"),
        ("What now", "review"),
        ("# mine is new", ""),
    ] {
        answer(&mut terminal, question, line);
    }
    let (status, screen) = terminal.end().expect("it ends");
    assert!(status.success(), "{screen}");
    assert!(screen.contains("kind: DynamoGraphDeployment"), "{screen}");
    assert!(place.read("objects.yaml").contains("--max-model-len"), "{screen}");
    assert!(!screen.contains('\u{1b}'), "--progress plain redraws nothing: {screen}");
}
