//! How much an archive may hold before it is taken for an attack.

/// What the reader takes. The defaults are far above any environment and far below what hurts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Entries of any kind. Default 20 million: ten million objects in both styles.
    pub entries: u64,
    /// Bytes of one object. Default 16 MiB: etcd takes 1.5 MiB, an aggregated API may return more.
    pub entry_bytes: u64,
    /// Decompressed bytes altogether. Default 16 GiB: where Velero's own extraction stops.
    pub total_bytes: u64,
    /// Bytes of a path. Default 2 KiB: the longest that Kubernetes' names allow is about 700.
    pub path_bytes: u64,
    /// Decompressed bytes for each compressed one, counted from 64 MiB of content on. Default 500: objects that differ in nothing but
    /// name, uid and time reach 100, deflate's own end is 1032.
    pub ratio: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { entries: 20_000_000, entry_bytes: 16 << 20, total_bytes: 16 << 30, path_bytes: 2048, ratio: 500 }
    }
}

/// Below this much content a ratio means nothing, and harm is not possible.
pub(super) const RATIO_FROM: u64 = 64 << 20;
