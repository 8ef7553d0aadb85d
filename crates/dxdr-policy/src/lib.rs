//! What is promised: objectives, schedules, retention, stores
