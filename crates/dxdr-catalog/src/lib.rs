//! What there is: recovery points, and the one that an instant means
