//! Hands the arguments to the library and returns its exit code.

fn main() -> std::process::ExitCode {
    kubectl_dynamo::main(std::env::args_os())
}
