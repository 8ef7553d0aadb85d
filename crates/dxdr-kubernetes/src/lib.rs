//! The Kubernetes API as dxdr uses it
