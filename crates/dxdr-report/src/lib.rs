//! Saying what happened: plans, points and events as text and JSON
