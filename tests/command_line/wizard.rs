//! The wizard: its questions on a terminal, and the command that repeats the answers.

use std::path::Path;

use kubectl_dynamo_tests::programs;
use kubectl_dynamo_tests::terminal::TestTerminal;

use crate::requests::TestFolder;

/// Starts `render` without a model, so that it asks. Its output is written to `objects.yaml`.
fn start(folder: &TestFolder, terminal: &str, flags: &str) -> TestTerminal {
    let program = programs::kubectl_dynamo();
    let line = format!(
        "{} render --release 1.6.1 --graph-api v1beta1 -n serving {flags} > objects.yaml",
        Path::new(&program).display()
    );
    let home = folder.path().display().to_string();
    let variables = [("HOME", home.as_str()), ("TERM", terminal), ("PAGER", "cat"), ("LANG", "C.UTF-8")];
    TestTerminal::start(&line, folder.path(), &variables).expect("script is installed")
}

fn answer_prompt(terminal: &mut TestTerminal, question: &str, line: &str) {
    press_keys(terminal, question, &format!("{line}\r"));
}

fn press_keys(terminal: &mut TestTerminal, question: &str, keys: &str) {
    terminal
        .wait_for(question)
        .and_then(|()| terminal.type_keys(keys))
        .unwrap_or_else(|error| panic!("{error}"));
}

/// Returns the command after a label such as `again`, without the program's name.
fn printed_command(screen: &str, label: &str) -> Vec<String> {
    let mut lines = screen.lines().rev();
    let command =
        lines.find_map(|line| line.trim().strip_prefix(label)?.trim().strip_prefix("kubectl dynamo "));
    command.unwrap_or_else(|| panic!("no {label} in {screen}")).split(' ').map(ToOwned::to_owned).collect()
}

/// The questions of an aggregated deployment with their default answers, up to the choice of what to do.
const DEFAULT_ANSWERS: [(&str, &str); 13] = [
    ("Model of the Hugging Face Hub [Qwen/Qwen3-30B-A3B-Instruct-2507-FP8]: ", "\r"),
    ("Mode: agg", "\r"),
    ("Tensor parallelism [1]: ", "\r"),
    ("Pipeline parallelism [1]: ", "\r"),
    ("Expert parallelism, for mixture-of-experts models [y/N] ", "n"),
    ("KV-aware routing [y/N] ", "\r"),
    ("Offload KV cache to CPU memory [y/N] ", "n"),
    ("PVC that holds models (the default one is created) [model-cache]: ", "\r"),
    ("Size of the PVC [500Gi]: ", "\r"),
    ("Replicas [1]: ", "\r"),
    ("More engine flags, or none [--gpu-memory-utilization 0.90 --block-size 128]: ", "\r"),
    ("Name of the deployment [qwen3-30b-a3b-instruct-2507-fp8]: ", "\r"),
    ("What now: print", "\r"),
];

#[test]
fn wizard_defaults_match_the_starter_kit_and_printed_command_reproduces_them() {
    let folder = TestFolder::new();
    let mut terminal = start(&folder, "xterm", "");
    for (question, keys) in DEFAULT_ANSWERS {
        press_keys(&mut terminal, question, keys);
    }
    let (status, screen) = terminal.finish().expect("the wizard exits");
    assert!(status.success(), "{screen}");
    let command = printed_command(&screen, "again");
    let arguments: Vec<&str> = command.iter().map(String::as_str).collect();
    assert_eq!(folder.run_successfully(&arguments), folder.read("objects.yaml"), "{command:?}");
    assert_no_color_and_80_columns(&screen);
}

#[test]
fn wizard_prints_in_the_requested_form_and_the_command_repeats_it() {
    for flags in ["--plan", "--plan -o json", "-o json"] {
        let folder = TestFolder::new();
        let mut terminal = start(&folder, "xterm", flags);
        for (question, keys) in DEFAULT_ANSWERS {
            press_keys(&mut terminal, question, keys);
        }
        let (status, screen) = terminal.finish().expect("the wizard exits");
        assert!(status.success(), "{screen}");
        let printed = folder.read("objects.yaml");
        assert_eq!(printed.starts_with('{'), flags.contains("json"), "{printed}");
        let command = printed_command(&screen, "again");
        let arguments: Vec<&str> = command.iter().map(String::as_str).collect();
        assert_eq!(folder.run_successfully(&arguments), printed, "{command:?}");
    }
}

#[test]
fn wizard_writes_files_to_the_requested_folder() {
    let folder = TestFolder::new();
    let mut terminal = start(&folder, "xterm", "--output-dir objects");
    for (question, keys) in DEFAULT_ANSWERS {
        press_keys(&mut terminal, question, keys);
    }
    let (status, screen) = terminal.finish().expect("the wizard exits");
    assert!(status.success(), "{screen}");
    assert_eq!(folder.read("objects.yaml"), "");
    let graph = std::fs::read_dir(folder.path().join("objects")).expect("the folder").last().expect("a file");
    assert!(graph.expect("an entry").path().extension().is_some_and(|one| one == "yaml"));
    let command = printed_command(&screen, "again").join(" ");
    assert!(command.contains("--graph-api v1beta1 --output-dir objects"), "{command}");
}

/// Arguments that the wizard's objects need besides its answers.
const RENDER_ARGS: [&str; 7] = ["render", "--release", "1.6.1", "--graph-api", "v1beta1", "-n", "serving"];

/// Checks that there are no colors and no question is wider than the terminal.
#[track_caller]
fn assert_no_color_and_80_columns(screen: &str) {
    // Warnings have a color, as in every command.
    let is_warning = |line: &&str| line.contains("warning [");
    let screen: String = screen.split_inclusive('\n').filter(|line| !is_warning(line)).collect();
    let sequences = screen.split("\u{1b}[").skip(1);
    let colours: Vec<&str> = sequences
        .filter(|rest| rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';').starts_with('m'))
        .collect();
    assert!(colours.is_empty(), "{colours:?}");
    for line in screen.lines().filter(|line| line.contains("]: ")) {
        let visible: String =
            line.split("\u{1b}[").map(|part| part.trim_start_matches(['K', '0', 'J'])).collect();
        let question = visible.rsplit('\r').next().unwrap_or_default();
        assert!(question.chars().count() <= 80, "{question}");
    }
}

#[test]
fn wizard_validates_each_answer() {
    for terminal in ["xterm", "dumb"] {
        let folder = TestFolder::new();
        let mut terminal = start(&folder, terminal, "");
        answer_prompt(&mut terminal, "Model of the Hugging Face Hub", "a/b/c");
        terminal.wait_for("invalid answer").expect("a reason");
        terminal.type_keys("\u{3}").expect("a keyboard");
        let (status, screen) = terminal.finish().expect("the wizard exits");
        assert_eq!(status.code(), Some(130), "{screen}");
        assert_eq!(folder.read("objects.yaml"), "");
    }
}

#[test]
fn saved_request_renders_the_same_objects() {
    let folder = TestFolder::new();
    let mut terminal = start(&folder, "dumb", "--mode disagg");
    for (question, line) in [
        ("Model of the Hugging Face Hub", "Qwen/Qwen3-32B"),
        ("Tensor parallelism of prefill", "2"),
        ("Pipeline parallelism of prefill", ""),
        ("Tensor parallelism of decode", "4"),
        ("Pipeline parallelism of decode", ""),
        ("Expert parallelism, for mixture-of-experts models [y/N] ", "no"),
        ("KV-aware routing [y/N] ", "yes"),
        ("Router temperature (Dynamo's default is 0, the starter kit used 0.5) [0]", "0.5"),
        ("Offload KV cache to CPU memory [y/N] ", "perhaps"),
        ("invalid answer: \"perhaps\" is not yes or no", "yes"),
        ("CPU memory per worker", ""),
        ("Add a disk tier", "y"),
        ("Size of the disk tier", ""),
        ("Disk volume", ""),
        ("PVC that holds models", "models"),
        ("Replicas of prefill", "1"),
        ("Replicas of decode", "2"),
        ("More engine flags", "none"),
        ("Name of the deployment", ""),
        ("What now (print, review, save, quit) [print]: ", "delete"),
        ("invalid answer: \"delete\" is not one of print, review, save, quit", "save"),
        ("File", "request.yaml"),
    ] {
        answer_prompt(&mut terminal, question, line);
    }
    let (status, screen) = terminal.finish().expect("the wizard exits");
    assert!(status.success(), "{screen}");
    for totals in [
        "GPUs: prefill 1 × 2 = 2, decode 1 × 1 = 1, total 3",
        "GPUs: prefill 1 × 2 = 2, decode 2 × 4 = 8, total 10",
    ] {
        assert!(screen.contains(totals), "{screen}");
    }
    let command = printed_command(&screen, "print");
    let arguments: Vec<&str> = command.iter().map(String::as_str).collect();
    let from_file = folder.run_successfully(&[&RENDER_ARGS[..], &["-f", "request.yaml"]].concat());
    assert_eq!(folder.run_successfully(&arguments), from_file, "{screen}");
    assert!(!screen.contains("again"), "nothing was printed that can be repeated: {screen}");
    assert!(from_file.contains("DYN_ROUTER_TEMPERATURE"), "{from_file}");
    assert!(!screen.contains('\u{1b}'), "a plain terminal gets no control sequence: {screen}");
}

#[test]
fn wizard_review_shows_diff_and_objects() {
    let folder = TestFolder::new();
    let flags = "--progress plain --mode agg --tp 1 --pp 1 --router-mode round-robin --cache models --replicas 1 \
                 --enable-expert-parallel=false";
    let mut terminal = start(&folder, "xterm", flags);
    for (question, line) in [
        ("Model of the Hugging Face Hub", "Qwen/Qwen3-0.6B"),
        ("Offload KV cache", ""),
        ("More engine flags", "--max-model-length 8192"),
        ("did you mean --max-model-len", "--max-model-len 8192"),
        ("Name of the deployment", "mine"),
        ("What now", "review"),
        ("# deployment \"mine\" will be created", ""),
    ] {
        answer_prompt(&mut terminal, question, line);
    }
    let (status, screen) = terminal.finish().expect("the wizard exits");
    assert!(status.success(), "{screen}");
    assert!(screen.contains("kind: DynamoGraphDeployment"), "{screen}");
    assert!(folder.read("objects.yaml").contains("--max-model-len"), "{screen}");
    assert!(!screen.contains('\u{1b}'), "--progress plain redraws nothing: {screen}");
}

/// Starts the wizard and answers the first question.
fn start_with_model(folder: &TestFolder, flags: &str) -> TestTerminal {
    let mut terminal = start(folder, "xterm", flags);
    answer_prompt(&mut terminal, "Model of the Hugging Face Hub", "Qwen/Qwen3-0.6B");
    terminal
}

#[test]
fn closed_choices_are_selected_with_arrow_keys_or_first_letters() {
    // The last two type a letter that starts no choice, which does not stay, and letters of two choices.
    for (keys, mode) in [
        ("\u{1b}[B\r", "disagg"),
        ("\u{1b}[B\u{1b}[B\u{1b}[A\r", "disagg"),
        ("di\r", "disagg"),
        ("xd\r", "disagg"),
        ("da\r", "agg"),
    ] {
        let folder = TestFolder::new();
        let flags = "--tp 1 --pp 1 --router-mode round-robin --cache models --enable-expert-parallel=false \
                     -- --max-num-seqs 8";
        let mut terminal = start_with_model(&folder, flags);
        press_keys(&mut terminal, "Mode: agg", keys);
        press_keys(&mut terminal, "Offload KV cache to CPU memory [y/N] ", "n");
        press_keys(&mut terminal, "Replicas", "\r");
        if mode == "disagg" {
            press_keys(&mut terminal, "Replicas of decode workers", "\r");
        }
        press_keys(&mut terminal, "Name of the deployment", "\r");
        press_keys(&mut terminal, "What now: print", "q\r");
        let (status, screen) = terminal.finish().expect("the wizard exits");
        assert!(status.success(), "{keys:?}: {screen}");
        let command = printed_command(&screen, "print").join(" ");
        assert_eq!(command.contains("--mode disagg"), mode == "disagg", "{keys:?}: {command}");
        assert_eq!(folder.read("objects.yaml"), "");
    }
}

#[test]
fn a_wrong_value_is_cleared_and_gpu_totals_follow_the_typed_digits() {
    let folder = TestFolder::new();
    let mut terminal = start_with_model(&folder, "--mode disagg --pp 1 --decode-replicas 3");
    for (expected, keys) in [
        ("Tensor parallelism of prefill workers [1]: ", "x\r"),
        ("invalid answer: ", "4"),
        ("GPUs: prefill 1 × 4 = 4, decode 3 × 1 = 3, total 7", "\u{7f}8"),
        ("GPUs: prefill 1 × 8 = 8, decode 3 × 1 = 3, total 11", "\r"),
        ("Tensor parallelism of decode workers [1]: ", "2"),
        ("GPUs: prefill 1 × 8 = 8, decode 3 × 2 = 6, total 14", "\r"),
        ("Expert parallelism", "q"),
        ("Press y for yes, or n or Enter for no.", "n"),
        ("KV-aware routing", "n"),
        ("Offload KV cache", "n"),
        ("PVC that holds models", "models\r"),
        ("Replicas of prefill workers [1]: ", "2"),
        ("GPUs: prefill 2 × 8 = 16, decode 3 × 2 = 6, total 22", "\r"),
        ("More engine flags", "\r"),
        ("Name of the deployment", "\r"),
        ("What now: print", "\r"),
    ] {
        press_keys(&mut terminal, expected, keys);
    }
    let (status, screen) = terminal.finish().expect("the wizard exits");
    assert!(status.success(), "{screen}");
    let command = printed_command(&screen, "again").join(" ");
    assert!(command.contains("--prefill-tp 8") && command.contains("--decode-tp 2"), "{command}");
}

#[test]
fn keys_that_cancel_end_the_wizard_at_each_kind_of_question() {
    for answers in [0, 1, 2] {
        for key in ["\u{3}", "\u{4}", "\u{1b}"] {
            let folder = TestFolder::new();
            let mut terminal = start(&folder, "xterm", "--tp 1 --pp 1");
            let questions = [
                ("Model of the Hugging Face Hub", "Qwen/Qwen3-0.6B\r"),
                ("Mode: agg", "\r"),
                ("Expert parallelism", "n"),
            ];
            for (question, keys) in &questions[..answers] {
                press_keys(&mut terminal, question, keys);
            }
            press_keys(&mut terminal, questions[answers].0, key);
            let (status, screen) = terminal.finish().expect("the wizard exits");
            assert_eq!(status.code(), Some(130), "{key:?}: {screen}");
            assert!(screen.contains("aborted; nothing was changed"), "{key:?}: {screen}");
            assert!(screen.contains("\u{1b}[?2004l"), "marks around pasted text stay on: {screen:?}");
        }
    }
}

#[test]
fn progress_variable_selects_plain_lines() {
    let folder = TestFolder::new();
    let program = programs::kubectl_dynamo();
    let line = format!("{} render --release 1.6.1 --graph-api v1beta1", program.display());
    let home = folder.path().display().to_string();
    let variables = [("HOME", home.as_str()), ("TERM", "xterm"), ("KUBECTL_DYNAMO_PROGRESS", "plain")];
    let mut terminal = TestTerminal::start(&line, folder.path(), &variables).expect("script is installed");
    answer_prompt(&mut terminal, "Model of the Hugging Face Hub", "Qwen/Qwen3-0.6B");
    answer_prompt(&mut terminal, "Mode (agg, disagg) [agg]: ", "both");
    press_keys(&mut terminal, "invalid answer: \"both\" is not one of agg, disagg", "\u{4}");
    let (status, screen) = terminal.finish().expect("the wizard exits");
    assert_eq!(status.code(), Some(130), "{screen}");
    assert!(!screen.contains('\u{1b}'), "{screen:?}");
}
