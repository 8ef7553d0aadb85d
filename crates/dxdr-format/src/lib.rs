//! What machines write: recovery point manifests, journals, and Velero's backup format
