//! Carrying out plans: execution, journal, resuming
