//! What people write: the manifests of dxdr.io/v1alpha1
