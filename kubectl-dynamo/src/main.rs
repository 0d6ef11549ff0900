//! The `kubectl-dynamo` binary: passes the arguments to the library and returns its exit code.
//! All logic is in the library.

fn main() -> std::process::ExitCode {
    kubectl_dynamo::main(std::env::args_os())
}
