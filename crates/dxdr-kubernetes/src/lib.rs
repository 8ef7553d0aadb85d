//! The Kubernetes API as dxdr uses it: [`connect`] finds a cluster in a kubeconfig or around the Pod, and a [`KubernetesCluster`]
//! carries single requests and lists of raw objects to its API server.
//!
//! ```text
//!   call (path, body, time limit) ──► exchange (send, collect, try again) ──► answer: bytes of the server, never copied
//!                                            │
//!                                            └── failure: Status or broken connection ──► ClusterErrorKind, words for people
//! ```
//!
//! Objects pass through as the bytes the server sent: typed structs would drop the fields they do not know. Everything is bounded:
//! connecting, answering, the size of an answer, the number of tries.
//!
//! Architecture invariant: knows no environment, policy or recovery point, and no other outside system; never prints a credential,
//! neither one it was given nor one that stands in a file it could not read.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod call;
mod cluster;
mod connect;
mod connect_error;
mod denied;
mod discovery;
mod exchange;
mod execute;
mod failure;
mod hint;
mod kubeconfig;
mod page;
mod proxy;
mod retry;
mod service;
mod watch;

pub use cluster::KubernetesCluster;
pub use connect::{ConnectOptions, Timeouts, connect, connect_from};
pub use connect_error::ConnectError;
pub use denied::Denied;
pub use hint::hints;
pub use kubeconfig::Surroundings;
pub use retry::RetryPolicy;
pub use service::{ServiceProxy, context_namespace, plain_server};
