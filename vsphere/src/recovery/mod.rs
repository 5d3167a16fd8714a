//! Bringing a VM back: first a decision, then a specification, then the deed.
