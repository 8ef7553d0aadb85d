//! What to do: plans of backups and restores, as data
