//! kubectl-dynamo.
