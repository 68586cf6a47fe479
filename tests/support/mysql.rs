//! What only a server far away can do.
