//! The output of the programs for arm64, byte for byte the same as the output of the programs for this machine.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use kubectl_dynamo_tests::model::{QWEN3_32B_CONFIG as CONFIG, QWEN3_32B_WEIGHTS as WEIGHTS};
use kubectl_dynamo_tests::programs::{kubectl_dynamo, model_fetcher};
use kubectl_dynamo_tests::{Outcome, ensure};

use crate::Shared;

/// Number of the program header of the dynamic linker's path.
const PT_INTERP: u32 = 3;

pub(crate) async fn programs_are_static_and_for_arm64(shared: Arc<Shared>) -> Outcome {
    for name in ["kubectl-dynamo", "model-fetcher"] {
        let content = fs::read(shared.program(name))?;
        let number = |offset: usize, length: usize| -> Outcome<u64> {
            let bytes = content.get(offset..offset + length).ok_or("the file is too short")?;
            Ok(bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
        };
        // 64 bits, little-endian, and the machine.
        ensure!(content.starts_with(&[0x7f, b'E', b'L', b'F', 2, 1]), "{name} is not a 64-bit ELF program");
        ensure!(number(18, 2)? == 183, "{name} is for the machine {}", number(18, 2)?);
        let (headers, size, count) = (number(32, 8)?, number(54, 2)?, number(56, 2)?);
        for header in 0..count {
            let kind = number(usize::try_from(headers + header * size)?, 4)?;
            ensure!(kind != u64::from(PT_INTERP), "{name} is not static");
        }
    }
    Ok(())
}

pub(crate) async fn version_and_help_are_the_same(shared: Arc<Shared>) -> Outcome {
    let folder = tempfile::tempdir()?;
    for arguments in
        ["version", "version -o json", "--help", "up --help", "explain KD0105", "completion bash"]
    {
        let output = same_output(&shared, "kubectl-dynamo", arguments, folder.path())?;
        ensure!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
    }
    for arguments in ["--version", "--help"] {
        let output = same_output(&shared, "model-fetcher", arguments, folder.path())?;
        ensure!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}

pub(crate) async fn rendered_objects_are_the_same(shared: Arc<Shared>) -> Outcome {
    let folder = tempfile::tempdir()?;
    let releases = ["0.9.1", "1.0.2", "1.1.1", "1.2.1", "1.3.1", "1.4.2", "1.5.1", "1.6.1"];
    let shapes = [
        "Qwen/Qwen3-0.6B",
        "Qwen/Qwen3-32B-FP8 --mode disagg --router-mode kv --prefill-replicas 2 --prefill-tp 2 --decode-tp 4",
        "meta-llama/Llama-3.1-8B-Instruct --cache models --hf-token-secret hf -o json -- --max-model-len 8192",
    ];
    for release in releases {
        for (shape, api) in shapes.iter().flat_map(|shape| [(shape, "v1alpha1"), (shape, "v1beta1")]) {
            let arguments = format!("render --release {release} --graph-api {api} -n serving {shape}");
            let output = same_output(&shared, "kubectl-dynamo", &arguments, folder.path())?;
            ensure!(output.status.success(), "{arguments}: {}", String::from_utf8_lossy(&output.stderr));
            let objects = String::from_utf8(output.stdout)?;
            ensure!(objects.contains("DynamoGraphDeployment"), "{arguments} does not print a graph");
        }
    }
    Ok(())
}

pub(crate) async fn messages_are_the_same(shared: Arc<Shared>) -> Outcome {
    let folder = tempfile::tempdir()?;
    let render = "render Qwen/Qwen3-0.6B --release 1.6.1 --graph-api v1beta1";
    for flags in ["--replicas 0", "--mode disagg --replicas 2", "--cache-size 1Zi", "--set unknown.field=1"] {
        let output = same_output(&shared, "kubectl-dynamo", &format!("{render} {flags}"), folder.path())?;
        ensure!(output.status.code() == Some(2), "{flags}: {}", output.status);
        ensure!(!output.stderr.is_empty(), "{flags} does not print a message");
    }
    Ok(())
}

pub(crate) async fn fit_of_a_local_model_is_the_same(shared: Arc<Shared>) -> Outcome {
    let folder = tempfile::tempdir()?;
    let model = folder.path().join("model");
    fs::create_dir(&model)?;
    fs::write(model.join("config.json"), CONFIG)?;
    File::create(model.join("model.safetensors"))?.set_len(WEIGHTS)?;
    let deployment =
        "--gpu h100-80g:8x4 --mode disagg --prefill-tp 2 --decode-tp 4 --kv-offload cpu=100Gi,disk=1Ti";
    for flags in ["", "-o json", "--tp 2 --pp 1 --max-model-len 8K -o json", deployment] {
        let output = same_output(&shared, "kubectl-dynamo", &format!("fit ./model {flags}"), folder.path())?;
        ensure!(output.status.success(), "{flags}: {}", String::from_utf8_lossy(&output.stderr));
        ensure!(!output.stdout.is_empty(), "{flags} does not print anything");
    }
    Ok(())
}

/// Runs a program for this machine and for arm64 and returns the output, which must be the same.
fn same_output(shared: &Shared, name: &str, arguments: &str, folder: &Path) -> Outcome<Output> {
    let native = if name == "model-fetcher" { model_fetcher() } else { kubectl_dynamo() };
    let (native, arm64) = (run(&native, arguments, folder)?, run(&shared.command(name), arguments, folder)?);
    ensure!(native.status == arm64.status, "{name} {arguments}: {} and {}", native.status, arm64.status);
    for (stream, expected, actual) in
        [("stdout", &native.stdout, &arm64.stdout), ("stderr", &native.stderr, &arm64.stderr)]
    {
        let (text, other) = (String::from_utf8_lossy(expected), String::from_utf8_lossy(actual));
        ensure!(expected == actual, "{name} {arguments}: {stream} differs:\n{text}\nand for arm64:\n{other}");
    }
    Ok(arm64)
}

fn run(program: &Path, arguments: &str, folder: &Path) -> Outcome<Output> {
    Ok(Command::new(program)
        .args(arguments.split_whitespace())
        .env_clear()
        .env("HOME", folder)
        .env("PATH", "/usr/bin:/bin")
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()?)
}
