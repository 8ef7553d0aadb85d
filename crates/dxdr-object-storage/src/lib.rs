//! Directories and S3 buckets as object stores
