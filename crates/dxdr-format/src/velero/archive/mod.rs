//! The archive of a backup: `NAME.tar.gz`, one JSON file per object.
//!
//! ```text
//! metadata/version                                                          1.1.0
//! resources/configmaps/namespaces/staging/settings.json                     the object
//! resources/configmaps/v1-preferredversion/namespaces/staging/settings.json the same bytes
//! resources/clusterroles.rbac.authorization.k8s.io/cluster/view.json        …
//! ```
//!
//! Velero's reader takes the first style, and the second one where it runs with `EnableAPIGroupVersions`; an archive that has only
//! one of them breaks one of the two. So [`ArchiveWriter`] writes both, as Velero does, and [`ArchiveReader`] takes either.
//!
//! ```text
//! items ─► ArchiveWriter ─► tar ─► gzip ─► any Write        any Read ─► gunzip ─► tar ─► ArchiveReader ─► items
//! ```
//!
//! Both stream: one object at a time is in memory, and of the others 16 bytes each while reading.

mod error;
mod header;
mod item;
mod limits;
mod reader;
mod tape;
mod writer;

pub use error::ArchiveError;
pub use item::ItemPath;
pub use limits::Limits;
pub use reader::{ArchiveReader, Item, Summary};
pub use writer::{ArchiveWriter, Compression};
