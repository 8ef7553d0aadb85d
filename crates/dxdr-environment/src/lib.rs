//! What exists: environments, Kubernetes objects, and what an environment compiles to
